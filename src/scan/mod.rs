//! Walks feature directories; stats, hashes and reads artifacts. The only module that opens
//! artifact files.
//!
//! A scan reports what exists; it knows no manifest and evaluates nothing. Directories are opened
//! one component at a time, relative to the parent's descriptor and without following links, so
//! that neither a name nor a replaced directory leads outside of the feature.

mod check_path;
mod content;
mod entry;
mod hash;
mod limits;
mod list;
mod mount_table;
mod remote_fs;
mod walker;

pub use check_path::{PathState, ReadLimit, check_path, read_path};
pub use content::{read_content, read_file};
pub use hash::{is_not_a_directory, is_resource_exhausted, is_stale};
pub use limits::{
    LimitExceeded, ScanLimits, raise_descriptor_limit, with_original_descriptor_limit,
};
pub use list::{FileSelection, ListedFile, Listing, UnreadableDir, list_tree};
pub use mount_table::MountTable;
pub use remote_fs::remote_fs_name;
pub use walker::{FeatureScan, OpenedFeature, Progress, ScanOptions, scan};

//! Walk, stat, hash: the only code that opens artifact files.
//!
//! A scan looks at feature directories and says what is there: no manifest, no verdict. Directories
//! are opened one component at a time from their parent's descriptor and never through a link, so
//! nothing a name or a swapped directory does leads outside. Work is a stack of small tasks, taken by
//! as many threads as there are cores; the top of the stack is the deepest directory, so few
//! descriptors are open at a time however wide the tree is.

mod check_path;
mod content;
mod entry;
mod hash;
mod limits;
mod list;
mod remote_fs;
mod walker;

pub use check_path::{PathState, ReadLimit, check_path};
pub use content::read_content;
pub use hash::is_resource_exhausted;
pub use limits::{LimitExceeded, ScanLimits, raise_descriptor_limit};
pub use list::{ListedFile, Listing, UnreadableDir, list_tree};
pub use remote_fs::remote_fs_name;
pub use walker::{FeatureScan, OpenedFeature, Progress, ScanOptions, scan};

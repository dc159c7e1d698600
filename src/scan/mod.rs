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
pub(crate) mod remote_fs;
mod walker;

pub use check_path::{PathState, ReadLimit, check_path};
pub use content::read_content;
pub use hash::is_resource_exhausted;
pub use limits::{ScanLimits, raise_descriptor_limit};
pub use list::{ListedFile, Listing, list_tree};

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;

use crate::core::artifact::Observation;
use crate::core::content::StaticHash;
use crate::core::pattern::PatternSet;

/// How to scan.
#[derive(Debug)]
pub struct ScanOptions {
    /// Budgets.
    pub limits: ScanLimits,
    /// Paths that are passed over.
    pub ignore: PatternSet,
    /// How many threads work.
    pub threads: usize,
}

/// A feature directory, ready to be scanned.
#[derive(Debug)]
pub struct OpenedFeature {
    /// Its descriptor.
    pub descriptor: OwnedFd,
    /// Whether the static part of its work packages is hashed.
    pub static_part: StaticHash,
}

/// What a scan of one feature directory found.
#[derive(Debug, Default)]
pub struct FeatureScan {
    /// What is there, in no order.
    pub observations: Vec<Observation>,
    /// The budget that was met, in words; what was not looked at is then missing.
    pub limit_exceeded: Option<String>,
    /// Why the feature directory itself could not be read.
    pub unreadable: Option<String>,
}

/// How far scans have come, for who wants to show it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Artifacts looked at.
    pub files: AtomicU64,
    /// Bytes read.
    pub bytes: AtomicU64,
}

/// Scans `count` feature directories; `open` opens each when its turn comes.
/// `done` is called once for each, on the thread that finished it, in no order.
pub fn scan(
    count: usize,
    open: impl Fn(usize) -> io::Result<OpenedFeature> + Sync,
    options: &ScanOptions,
    progress: &Progress,
    done: impl Fn(usize, FeatureScan) + Sync,
) {
    walker::run(count, &open, options, progress, &done);
}

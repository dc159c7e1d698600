//! Watches directories. The only module that uses `notify`.
//!
//! Events are hints about what to check, never the truth. A watcher watches single directories, not
//! their subdirectories, and does not follow symbolic links. Callers must watch a directory
//! *before* they list it, so that no entry created in between is missed.

mod ancestors;
mod debounce;
#[cfg(test)]
pub(crate) mod fake;
mod inotify;
mod mounts;
mod removals;
mod shards;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use ancestors::AncestorWatcher;
pub use debounce::{DebounceTimes, Debouncer, ReadCost};
pub use inotify::{CALL_TIMEOUT, CALL_TIMEOUT_PER_DIR, NotifyWatcher};
pub use mounts::watch_mounts;
pub use removals::watch_removals;
pub use shards::{RootWatcher, ShardLimits, ShardPool, Share, WatchUsage};

/// What a watcher reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Something happened at a path.
    At(PathBuf, HintKind),
    /// The event queue overflowed and events were lost; the caller must rescan.
    Overflow,
    /// The same, but most of the events were of another root that shares the queue.
    OverflowByOthers,
    /// The watcher reported an error.
    Failed(String),
}

/// What happened at a path, as far as its event shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintKind {
    /// A file that was open for writing was closed.
    CloseWrite,
    /// A file or directory was moved to this path.
    MovedTo,
    /// The same, and it was modified afterwards: two hints in one.
    MovedToModified,
    /// A file was created or written to, or its metadata changed.
    Modified,
    /// A directory was created.
    DirCreated,
    /// A file or directory was deleted or moved away.
    Removed,
}

impl HintKind {
    /// Returns true if something was moved to the path.
    #[must_use]
    pub fn is_moved_to(self) -> bool {
        matches!(self, Self::MovedTo | Self::MovedToModified)
    }
}

/// Receives hints on a thread of the watcher; must not block.
pub type HintSink = Arc<dyn Fn(Hint) + Send + Sync>;

/// Why a directory is not watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The directory does not exist.
    #[error("cannot watch {0}: no such directory")]
    NotFound(PathBuf),
    /// The user's limit of inotify watches is reached.
    #[error("cannot watch {0}: no inotify watch left; raise fs.inotify.max_user_watches")]
    WatchLimit(PathBuf),
    /// The user's limit of inotify instances is reached.
    #[error(
        "cannot start the file watcher: no inotify instance left; raise \
         fs.inotify.max_user_instances"
    )]
    InstanceLimit,
    /// The watcher did not respond within its timeout. Which directories it watches is unknown, so
    /// it must be replaced.
    #[error("the file watcher does not respond")]
    Unresponsive,
    /// The watcher or its thread cannot be started.
    #[error("cannot start the file watcher: {0}")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Any other error of the watcher.
    #[error("cannot watch {path}: {source}")]
    Other {
        /// The directory.
        path: PathBuf,
        /// The error of the watcher.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A directory that is not watched.
#[derive(Debug)]
pub struct RefusedDir {
    /// The directory.
    pub path: PathBuf,
    /// Why it is not watched.
    pub error: WatchError,
}

/// Identifies a directory: its device and inode number.
pub type DirIdentity = (u64, u64);

/// A source of hints about single directories: one inotify instance. Its calls may be made on any
/// thread, and block for up to [`CALL_TIMEOUT`].
pub trait Watcher: Send + Sync {
    /// Watches one directory. If `renew` is true, a watch of its path is removed first, because it
    /// may be that of another directory.
    ///
    /// # Errors
    /// [`WatchError`].
    fn watch(&self, dir: &Path, renew: bool) -> Result<(), WatchError>;

    /// Watches several directories and returns those that are not watched. At the limit of watches
    /// the remaining ones are not tried.
    fn watch_all(&self, dirs: Vec<PathBuf>) -> Vec<RefusedDir>;

    /// Calls `unused` after all hints about what has happened until now were sent, and unwatches the
    /// directories that it returns. Does not wait for that.
    fn leave(&self, unused: Box<dyn FnOnce() -> Vec<PathBuf> + Send>);

    /// Returns the identity of the directory at a path, if it can be read.
    fn identity(&self, dir: &Path) -> Option<DirIdentity>;

    /// Returns true if something else than a directory is at a path. A link to one is something else.
    fn is_not_dir(&self, path: &Path) -> bool;
}

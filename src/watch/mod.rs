//! Watches directories. The only module that uses `notify`.
//!
//! Events are hints about what to check, never the truth. A backend watches single directories, not
//! their subdirectories, and does not follow symbolic links. Callers must watch a directory
//! *before* they list it, so that no entry created in between is missed.

mod ancestors;
mod debounce;
#[cfg(test)]
pub(crate) mod fake;
mod inotify;
mod mounts;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use ancestors::AncestorWatcher;
pub use debounce::{DebounceTimes, Debouncer};
pub use inotify::{CALL_TIMEOUT, CALL_TIMEOUT_PER_DIR, NotifyWatcher};
pub use mounts::watch_mounts;

/// What a backend reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Something happened at a path.
    At(PathBuf, HintKind),
    /// The event queue overflowed and events were lost; the caller must rescan.
    Overflow,
    /// The backend reported an error.
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

/// Receives hints on a thread of the backend; must not block.
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
    /// Any other error of the backend.
    #[error("cannot watch {path}: {source}")]
    Other {
        /// The directory.
        path: PathBuf,
        /// The error of the backend.
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

/// A source of hints about single directories.
pub trait Backend: Send {
    /// Watches one directory. `was_watched` is true if a directory at this path was watched before,
    /// which may have been another one; its watch is then removed first.
    ///
    /// # Errors
    /// [`WatchError`].
    fn watch(&mut self, dir: &Path, was_watched: bool) -> Result<(), WatchError>;

    /// Watches several directories and returns those that are not watched. At the limit of watches
    /// the remaining ones are not tried.
    fn watch_all(&mut self, dirs: Vec<PathBuf>) -> Vec<RefusedDir>;
}

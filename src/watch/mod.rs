//! Watching directories: the only code that names `notify`.
//!
//! The kernel's events are hints about where to look, never the truth. A backend watches single
//! directories, without their subdirectories and without following links; who watches a directory lists it
//! afterwards, so that nothing that comes into it goes unseen. Its callback only hands hints on.

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

/// Where to look, and what seems to have happened there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Something happened at a path.
    At(PathBuf, HintKind),
    /// Events were lost: look everywhere.
    Overflow,
    /// The backend failed, in words.
    Failed(String),
}

/// What seems to have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintKind {
    /// A file that was written to was closed.
    CloseWrite,
    /// Something was moved here.
    MovedTo,
    /// A file was made, written to, or its metadata changed.
    Modified,
    /// A directory was made.
    DirCreated,
    /// It was deleted or moved away.
    Removed,
}

/// Takes hints; called on the backend's own thread, and must not wait.
pub type HintSink = Arc<dyn Fn(Hint) + Send + Sync>;

/// Why a directory cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// It is not there.
    #[error("{0} is not there")]
    NotFound(PathBuf),
    /// The kernel has no more watches to give.
    #[error("no watch left for {0}; raise fs.inotify.max_user_watches")]
    WatchLimit(PathBuf),
    /// The kernel gives no watcher to this user any more.
    #[error("no watcher left; raise fs.inotify.max_user_instances")]
    InstanceLimit,
    /// The watcher does not answer: what it watches is not known, and another is needed.
    #[error("the watcher does not answer")]
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

/// Watches directories.
pub trait Backend: Send {
    /// Watches one directory; `again` where one was watched at that path, which may be another.
    ///
    /// # Errors
    /// [`WatchError`].
    fn watch(&mut self, dir: &Path, again: bool) -> Result<(), WatchError>;

    /// Watches many directories in one go; gives those that are not watched, and why. After the first
    /// for which the kernel has no watch left, the others are not tried.
    fn watch_all(&mut self, dirs: Vec<PathBuf>) -> Vec<RefusedDir>;
}

//! One daemon per state directory: a lock held for life, which the kernel releases however it ends.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why the lock is not held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon holds it.
    #[error("a daemon already runs over {}", .0.display())]
    Held(PathBuf),
    /// It cannot be taken.
    #[error("cannot lock {path}", path = path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The lock of a state directory; released when dropped.
#[derive(Debug)]
pub(crate) struct InstanceLock {
    _file: File,
}

/// Takes the lock of a state directory, which is made private if it is made.
pub(crate) fn acquire(state: &Path) -> Result<InstanceLock, LockError> {
    let path = state.join("dossierd.lock");
    let error = |source| LockError::Io { path: path.clone(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(error)?;
    let opened = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
    // A lock that is there holds on a file system that cannot be written, too.
    let opened = opened.or_else(|refused| match refused.kind() {
        io::ErrorKind::ReadOnlyFilesystem => File::open(&path).map_err(|_| refused),
        _ => Err(refused),
    });
    let file = opened.map_err(error)?;
    match file.try_lock() {
        Ok(()) => Ok(InstanceLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(LockError::Held(state.to_owned())),
        Err(TryLockError::Error(source)) => Err(error(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = acquire(&state).unwrap();
        assert!(matches!(acquire(&state), Err(LockError::Held(_))));
        drop(first);
        acquire(&state).unwrap();
    }
}

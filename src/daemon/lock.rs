//! The instance lock: at most one daemon per state directory. The kernel releases it when the
//! process ends, however it ends.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::config::LOCK_FILE;
use crate::ownership::{
    PrivateDirError, check_private_file, ensure_private_dir, private_open_options,
};

/// Why the instance lock cannot be acquired.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon holds it.
    #[error(
        "a daemon already runs with the state directory {}; stop it with `dossierd stop`, or set \
         XDG_STATE_HOME to another directory",
        .0.display()
    )]
    Held(PathBuf),
    /// The state directory is not private.
    #[error(transparent)]
    Directory(#[from] PrivateDirError),
    /// The lock file cannot be opened or locked.
    #[error("cannot lock {path}", path = path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The lock of a state directory; released when dropped.
#[derive(Debug)]
pub(crate) struct InstanceLock {
    file: File,
}

impl InstanceLock {
    /// Records the path of the socket in the lock file, where clients find it whose environment leads
    /// to another one ([`UserDirs::find_socket`](crate::config::UserDirs::find_socket)).
    pub(crate) fn record_socket(&self, socket: &Path) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(socket.as_os_str().as_bytes(), 0)
    }

    /// Returns true if the lock file is still at its path, so that another daemon finds it.
    pub(crate) fn is_in_place(&self, state: &Path) -> bool {
        let at_path = fs::symlink_metadata(state.join(LOCK_FILE));
        at_path
            .ok()
            .zip(self.file.metadata().ok())
            .is_some_and(|(found, own)| (found.dev(), found.ino()) == (own.dev(), own.ino()))
    }
}

/// Acquires the lock of a state directory, which is created with mode 0700 if it is missing.
pub(crate) fn acquire(state: &Path) -> Result<InstanceLock, LockError> {
    let path = state.join(LOCK_FILE);
    let error = |source| LockError::Io { path: path.clone(), source };
    ensure_private_dir(state)?;
    let opened = private_open_options().create(true).truncate(false).write(true).open(&path);
    // An existing lock file can be locked on a read-only file system too.
    let opened = opened.or_else(|refused| match refused.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            private_open_options().read(true).open(&path).map_err(|_| refused)
        }
        _ => Err(refused),
    });
    let file = opened.map_err(error)?;
    check_private_file(&file).map_err(error)?;
    match file.try_lock() {
        Ok(()) => Ok(InstanceLock { file }),
        Err(TryLockError::WouldBlock) => Err(LockError::Held(state.to_owned())),
        Err(TryLockError::Error(source)) => Err(error(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acquire_fails_while_the_lock_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = acquire(&state).unwrap();
        assert!(matches!(acquire(&state), Err(LockError::Held(_))));
        drop(first);
        acquire(&state).unwrap();
    }
}

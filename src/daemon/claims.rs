//! What shows other processes that this daemon runs: the lock and the sockets at which it listens. Released
//! at the very end, when nothing uses them any more.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::lock::InstanceLock;
use crate::core::sync::lock;

/// Device, inode, and time of creation: the inode of a removed file is used again.
type FileId = (u64, u64, (i64, i64));

/// The claims of this daemon. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Claims(Arc<Mutex<Claimed>>);

#[derive(Debug)]
struct Claimed {
    lock: InstanceLock,
    /// The sockets that this daemon created. One that was hidden or moved away may return.
    sockets: Vec<FileId>,
}

impl Claims {
    pub(super) fn new(lock: InstanceLock) -> Self {
        Self(Arc::new(Mutex::new(Claimed { lock, sockets: Vec::new() })))
    }

    /// Returns true if others find the lock of this daemon in the state directory.
    pub(super) fn has_lock_in(&self, state_dir: &Path) -> bool {
        lock(&self.0).lock.is_in_place(state_dir)
    }

    /// Holds another lock from now on.
    pub(super) fn set_lock(&self, new: InstanceLock) {
        lock(&self.0).lock = new;
    }

    /// Records the socket at a path, which this daemon has just created.
    pub(super) fn add_socket(&self, path: &Path) {
        let id = file_id(path);
        lock(&self.0).sockets.extend(id);
    }

    /// Returns true if the socket at a path is one of this daemon.
    pub(super) fn has_socket_at(&self, path: &Path) -> bool {
        file_id(path).is_some_and(|id| lock(&self.0).sockets.contains(&id))
    }

    /// Removes the socket at a path, unless it is that of another daemon.
    pub(super) fn remove_socket(&self, path: &Path) {
        if self.has_socket_at(path) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn file_id(path: &Path) -> Option<FileId> {
    let found = path.symlink_metadata().ok()?;
    Some((found.dev(), found.ino(), (found.mtime(), found.mtime_nsec())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::daemon::lock::acquire;

    #[test]
    fn only_own_sockets_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (own, moved, state) =
            (dir.path().join("own"), dir.path().join("moved"), dir.path().join("state"));
        let claims = Claims::new(acquire(&state).unwrap());
        assert!(claims.has_lock_in(&state) && !claims.has_socket_at(&own));
        fs::write(&own, "").unwrap();
        claims.add_socket(&own);
        fs::rename(&own, &moved).unwrap();
        fs::write(&own, "of another daemon").unwrap();
        claims.remove_socket(&own);
        assert!(own.exists() && claims.has_socket_at(&moved));
        claims.remove_socket(&moved);
        assert!(!moved.exists());
        fs::remove_dir_all(&state).unwrap();
        assert!(!claims.has_lock_in(&state));
        claims.set_lock(acquire(&state).unwrap());
        assert!(claims.has_lock_in(&state));
    }
}

//! Detects renames of the directories above a root; watches below them receive no event.
//!
//! `notify` would report each change in such a directory, which may be `/home` or `/tmp`. These
//! watches ask the kernel for `IN_MOVE_SELF` alone, so that other changes wake no thread.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::fs::inotify::{
    CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch,
};
use rustix::io::Errno;

use crate::core::progress::begin_step;
use crate::core::sync::lock;

/// inotify watches of the ancestors of project roots. Clones share them.
#[derive(Debug, Clone)]
pub struct AncestorWatcher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inotify: Arc<OwnedFd>,
    /// True once the thread must end. [`Drop`] sets it, then removes a watch, whose `IN_IGNORED`
    /// event wakes the thread.
    stopping: Arc<AtomicBool>,
    /// Watch descriptors by root id. The kernel returns the same descriptor for the same directory,
    /// so roots with common ancestors share them. Not locked during a system call, which can block.
    watches: Mutex<BTreeMap<usize, Vec<i32>>>,
}

impl AncestorWatcher {
    /// Starts a thread that calls `moved` each time a watched directory is moved, and `on_failure`
    /// if it can no longer read events.
    ///
    /// # Errors
    /// If the inotify instance or the thread cannot be created.
    pub fn start(
        moved: impl Fn() + Send + 'static,
        on_failure: impl FnOnce(io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let inotify = Arc::new(init(CreateFlags::CLOEXEC)?);
        let stopping = Arc::new(AtomicBool::new(false));
        let watcher = Self(Arc::new(Shared {
            inotify: Arc::clone(&inotify),
            stopping: Arc::clone(&stopping),
            watches: Mutex::default(),
        }));
        let read_events = move || {
            let mut buffer = [MaybeUninit::uninit(); 1024];
            let mut events = Reader::new(&*inotify, &mut buffer);
            loop {
                match events.next() {
                    _ if stopping.load(Ordering::Acquire) => return,
                    // Sent for each removed watch.
                    Ok(event) if event.events().contains(ReadFlags::IGNORED) => {}
                    Ok(_) => moved(),
                    Err(Errno::INTR) => {}
                    Err(error) => return on_failure(error.into()),
                }
            }
        };
        std::thread::Builder::new()
            .name("ancestors".to_owned())
            .stack_size(64 << 10)
            .spawn(read_events)?;
        Ok(watcher)
    }

    /// Watches all directories above `root`, which must be canonical, under `id`.
    ///
    /// # Errors
    /// If one of them cannot be watched; the others are watched nevertheless.
    pub fn watch(&self, id: usize, root: &Path) -> io::Result<()> {
        let mut result = Ok(());
        lock(&self.0.watches).entry(id).or_default();
        for dir in root.ancestors().skip(1) {
            begin_step();
            match add_watch(&self.0.inotify, dir, move_flags()) {
                Ok(watch) => self.0.record(id, watch),
                Err(error) => result = Err(error.into()),
            }
        }
        result
    }

    /// Removes the watches of `id` that no other id shares, also those of directories that were
    /// moved.
    pub fn unwatch(&self, id: usize) {
        let mut watches = lock(&self.0.watches);
        for watch in watches.remove(&id).unwrap_or_default() {
            self.0.remove_unshared(&watches, watch);
        }
    }
}

impl Shared {
    /// Records a watch, unless `id` was unwatched meanwhile.
    fn record(&self, id: usize, watch: i32) {
        let mut watches = lock(&self.watches);
        match watches.get_mut(&id) {
            Some(own) => own.push(watch),
            None => self.remove_unshared(&watches, watch),
        }
    }

    fn remove_unshared(&self, watches: &BTreeMap<usize, Vec<i32>>, watch: i32) {
        if !watches.values().any(|others| others.contains(&watch)) {
            // The kernel has already removed the watch of a deleted directory.
            let _ = remove_watch(&self.inotify, watch);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let watch = add_watch(&self.inotify, "/", move_flags());
        let _ = watch.and_then(|watch| remove_watch(&self.inotify, watch));
    }
}

fn move_flags() -> WatchFlags {
    WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_moves_of_ancestors_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        let above = dir.path().canonicalize().unwrap().join("above");
        let root = above.join("mid/root");
        fs::create_dir_all(&root).unwrap();
        let (send, moves) = mpsc::channel();
        let report = move || {
            let _ = send.send(());
        };
        let watcher = AncestorWatcher::start(report, |error| unreachable!("{error}")).unwrap();
        watcher.watch(1, &root).unwrap();
        watcher.watch(2, &root).unwrap();
        fs::write(above.join("file"), "x").unwrap();
        fs::rename(&root, above.join("mid/other")).unwrap();
        fs::create_dir(above.join("mid/root")).unwrap();
        fs::rename(&above, dir.path().join("moved")).unwrap();
        moves.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(moves.try_recv().is_err(), "one call per move");
        watcher.unwatch(1);
        fs::rename(dir.path().join("moved/mid"), dir.path().join("moved/there")).unwrap();
        moves.recv_timeout(Duration::from_secs(10)).unwrap();
        // The thread ends and drops the closure, which owns the sender.
        drop(watcher);
        assert_eq!(
            moves.recv_timeout(Duration::from_secs(10)),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
    }
}

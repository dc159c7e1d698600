//! Hears when a directory above a root is moved: of that no event tells below it.
//!
//! `notify` would watch all that happens in such a directory, which may be `/home` or `/tmp`. The kernel
//! can be asked for no more than the directory's own moves, so nobody is woken for anything else.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::inotify::{
    CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch,
};
use rustix::io::Errno;

/// Watches of the directories above roots.
#[derive(Debug)]
pub struct AncestorWatcher {
    inotify: Arc<OwnedFd>,
    /// Ended by taking away a watch, of which the kernel tells.
    stopping: Arc<AtomicBool>,
    /// By root; a directory has one number, however many roots lie below it.
    watches: BTreeMap<usize, Vec<i32>>,
}

impl AncestorWatcher {
    /// Calls `moved`, on a thread of its own, whenever a directory that is held was moved.
    ///
    /// # Errors
    /// Where the kernel has no queue, or the system no thread, to give.
    pub fn start(moved: impl Fn() + Send + 'static) -> io::Result<Self> {
        let inotify = Arc::new(init(CreateFlags::CLOEXEC)?);
        let stopping = Arc::new(AtomicBool::new(false));
        let watcher = Self {
            inotify: Arc::clone(&inotify),
            stopping: Arc::clone(&stopping),
            watches: BTreeMap::new(),
        };
        let read_events = move || {
            let mut buffer = [MaybeUninit::uninit(); 1024];
            let mut events = Reader::new(&*inotify, &mut buffer);
            loop {
                match events.next() {
                    _ if stopping.load(Ordering::Acquire) => return,
                    // Told of each watch that was let go of, too.
                    Ok(event) if event.events().contains(ReadFlags::IGNORED) => {}
                    Ok(_) => moved(),
                    Err(Errno::INTR) => {}
                    Err(_) => return,
                }
            }
        };
        std::thread::Builder::new()
            .name("ancestors".to_owned())
            .stack_size(64 << 10)
            .spawn(read_events)?;
        Ok(watcher)
    }

    /// Holds the directories above `root`, which is canonical, for whoever has that number.
    ///
    /// # Errors
    /// When one of them cannot be watched; the others are.
    pub fn watch(&mut self, id: usize, root: &Path) -> io::Result<()> {
        let mut result = Ok(());
        let watches = self.watches.entry(id).or_default();
        for dir in root.ancestors().skip(1) {
            match add_watch(&self.inotify, dir, move_flags()) {
                Ok(watch) => watches.push(watch),
                Err(error) => result = Err(error.into()),
            }
        }
        result
    }

    /// Lets go of what is held for that number, also of what was moved meanwhile.
    pub fn unwatch(&mut self, id: usize) {
        for watch in self.watches.remove(&id).unwrap_or_default() {
            if !self.watches.values().any(|others| others.contains(&watch)) {
                // One whose directory is gone went with it.
                let _ = remove_watch(&self.inotify, watch);
            }
        }
    }
}

impl Drop for AncestorWatcher {
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
        let mut watcher = AncestorWatcher::start(move || {
            let _ = send.send(());
        })
        .unwrap();
        watcher.watch(1, &root).unwrap();
        watcher.watch(2, &root).unwrap();
        fs::write(above.join("file"), "x").unwrap();
        fs::rename(&root, above.join("mid/other")).unwrap();
        fs::create_dir(above.join("mid/root")).unwrap();
        fs::rename(&above, dir.path().join("moved")).unwrap();
        moves.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(moves.try_recv().is_err(), "one move, one call");
        watcher.unwatch(1);
        fs::rename(dir.path().join("moved/mid"), dir.path().join("moved/there")).unwrap();
        moves.recv_timeout(Duration::from_secs(10)).unwrap();
        // The thread ends, and with it what it would call.
        drop(watcher);
        assert_eq!(
            moves.recv_timeout(Duration::from_secs(10)),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
    }
}

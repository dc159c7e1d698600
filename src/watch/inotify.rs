//! The inotify backend, on the `notify` crate.
//!
//! Its event mask includes `IN_CLOSE_WRITE` and leaves out reads, so that hashing causes no events.
//!
//! Properties of the `notify` version in use, found by measurement:
//!
//! - The watcher's table can keep the entry of a directory that was deleted and created again.
//!   Watching the path then has no effect, so a path that was watched before is unwatched first.
//! - After a queue overflow the table cannot be trusted; callers create a new watcher.
//! - Its loop ends only between two events, when its queue is empty, which may not be the case before the programs that
//!   write pause. So it is left by unwinding.
//! - For each removed directory the watcher scans its whole table, and it responds to no call until
//!   all removals are processed. So a thread makes the calls, and callers wait with a timeout.

use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use notify::Watcher as _;
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{
    Config, Error, ErrorKind, Event, EventHandler, EventKindMask, PathOp, RecommendedWatcher,
    RecursiveMode, WatchPathConfig,
};

use rustix::io::Errno;

use crate::watch::{DirIdentity, Hint, HintKind, HintSink, RefusedDir, WatchError, Watcher};

const EMFILE: i32 = Errno::MFILE.raw_os_error();

/// Timeout of one call to the watcher, which is unresponsive while it removes the watches of a
/// deleted tree. After it, callers abandon the watcher.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Time added to [`CALL_TIMEOUT`] for each directory of a call.
pub const CALL_TIMEOUT_PER_DIR: Duration = Duration::from_millis(1);

/// A `notify` watcher, called through a thread.
pub struct NotifyWatcher(mpsc::Sender<WatcherCall>);

type WatcherCall = Box<dyn FnOnce(&mut RecommendedWatcher) + Send>;

impl NotifyWatcher {
    /// Creates a watcher that sends its hints to `sink`.
    ///
    /// # Errors
    /// [`WatchError::InstanceLimit`] or [`WatchError::Start`].
    pub fn new(sink: HintSink) -> Result<Self, WatchError> {
        let mask = EventKindMask::CREATE
            | EventKindMask::REMOVE
            | EventKindMask::ALL_MODIFY
            | EventKindMask::ACCESS_CLOSE;
        let config = Config::default().with_event_kinds(mask).with_follow_symlinks(false);
        let stage = Arc::new(AtomicU8::new(stage::STARTING));
        let handler = Handler { sink, stage: Arc::clone(&stage) };
        let mut watcher =
            RecommendedWatcher::new(handler, config).map_err(|error| match &error.kind {
                // `inotify_init1` returns EMFILE at the limit of inotify instances or of
                // descriptors.
                ErrorKind::Io(io) if io.raw_os_error() == Some(EMFILE) => WatchError::InstanceLimit,
                _ => WatchError::Start(Box::new(error)),
            })?;
        let (calls, receiver) = mpsc::channel::<WatcherCall>();
        stage.store(stage::IN_USE, Ordering::Release);
        let run_calls = move || {
            for call in &receiver {
                call(&mut watcher);
            }
            stage.store(stage::ENDING, Ordering::Release);
            // It expects that its loop lives.
            drop(watcher);
            stage.store(stage::ENDED, Ordering::Release);
        };
        let thread = std::thread::Builder::new().name("watcher".to_owned()).spawn(run_calls);
        thread.map(|_| Self(calls)).map_err(|error| WatchError::Start(Box::new(error)))
    }

    /// Runs `function` on the watcher's thread and returns its result; `None` after `timeout`.
    fn call<T: Send + 'static>(
        &self,
        timeout: Duration,
        function: impl FnOnce(&mut RecommendedWatcher) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, result) = mpsc::channel();
        let call = move |watcher: &mut RecommendedWatcher| {
            // Fails if the caller has stopped waiting.
            let _ = reply.send(function(watcher));
        };
        self.0.send(Box::new(call)).ok()?;
        result.recv_timeout(timeout).ok()
    }
}

/// Receives the events of a watcher, whose loop owns it.
struct Handler {
    sink: HintSink,
    stage: Arc<AtomicU8>,
}

/// How far a watcher is; it only grows.
mod stage {
    /// It is not used yet.
    pub(super) const STARTING: u8 = 0;
    pub(super) const IN_USE: u8 = 1;
    /// Nothing uses it any more, and it is being dropped.
    pub(super) const ENDING: u8 = 2;
    /// It was dropped.
    pub(super) const ENDED: u8 = 3;
}

impl EventHandler for Handler {
    fn handle_event(&mut self, event: Result<Event, Error>) {
        match self.stage.load(Ordering::Acquire) {
            stage::IN_USE => match event {
                Ok(event) => send_hints(event, &*self.sink),
                Err(error) => (self.sink)(Hint::Failed(error.to_string())),
            },
            // It ends the thread of the loop, and with it the inotify instance, without a report: no hook is called.
            stage::ENDED => resume_unwind(Box::new(())),
            _ => {}
        }
    }
}

impl Drop for Handler {
    /// Reports the end of a loop that is still needed, as lost events: these have the watcher
    /// replaced.
    fn drop(&mut self) {
        if self.stage.load(Ordering::Acquire) == stage::IN_USE {
            (self.sink)(Hint::Failed("the loop of the watcher ended".to_owned()));
            (self.sink)(Hint::Overflow);
        }
    }
}

fn non_recursive() -> WatchPathConfig {
    WatchPathConfig::new(RecursiveMode::NonRecursive).with_dereference_symlinks(false)
}

impl Watcher for NotifyWatcher {
    fn watch(&self, dir: &Path, renew: bool) -> Result<(), WatchError> {
        let path = dir.to_owned();
        let result = self.call(CALL_TIMEOUT, move |watcher| {
            // Done only if necessary: the time of `unwatch` is proportional to the number of all
            // watches.
            if renew {
                let _ = watcher.unwatch(&path);
            }
            watcher.watch_with(&path, non_recursive()).map_err(|error| map_error(&path, error))
        });
        result.unwrap_or(Err(WatchError::Unresponsive))
    }

    fn watch_all(&self, dirs: Vec<PathBuf>) -> Vec<RefusedDir> {
        let count = u32::try_from(dirs.len()).unwrap_or(u32::MAX);
        let timeout = CALL_TIMEOUT.saturating_add(CALL_TIMEOUT_PER_DIR.saturating_mul(count));
        let requested = dirs.clone();
        let refused = self.call(timeout, move |watcher| watch_each(watcher, requested));
        refused.unwrap_or_else(|| {
            let unresponsive = |path| RefusedDir { path, error: WatchError::Unresponsive };
            dirs.into_iter().map(unresponsive).collect()
        })
    }

    fn leave(&self, unused: Box<dyn FnOnce() -> Vec<PathBuf> + Send>) {
        let call = move |watcher: &mut RecommendedWatcher| {
            // The first call has the queue read, the second one waits until what was read is sent.
            for _ in 0..2 {
                let _ = watcher.update_paths(Vec::new());
            }
            for path in unused() {
                // Fails if the directory is gone.
                let _ = watcher.unwatch(&path);
            }
        };
        // Fails if the thread has ended, and with it the watches.
        let _ = self.0.send(Box::new(call));
    }

    fn identity(&self, dir: &Path) -> Option<DirIdentity> {
        let found = dir.symlink_metadata().ok()?;
        Some((found.dev(), found.ino()))
    }

    fn is_not_dir(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok_and(|found| !found.is_dir())
    }
}

fn watch_each(watcher: &mut RecommendedWatcher, dirs: Vec<PathBuf>) -> Vec<RefusedDir> {
    let mut refused = Vec::new();
    let mut ops: Vec<PathOp> =
        dirs.into_iter().map(|dir| PathOp::Watch(dir, non_recursive())).collect();
    while let Err(failed) = watcher.update_paths(std::mem::take(&mut ops)) {
        let path = failed.origin.map(op_path).unwrap_or_default();
        let error = map_error(&path, failed.source);
        let is_limit = matches!(error, WatchError::WatchLimit(_));
        refused.push(RefusedDir { path, error });
        if is_limit {
            let rest = failed.remaining.into_iter().map(op_path);
            refused.extend(
                rest.map(|path| RefusedDir { error: WatchError::WatchLimit(path.clone()), path }),
            );
            break;
        }
        ops = failed.remaining;
    }
    refused
}

fn op_path(op: PathOp) -> PathBuf {
    match op {
        PathOp::Watch(path, _) | PathOp::Unwatch(path) => path,
    }
}

fn send_hints(event: Event, sink: &dyn Fn(Hint)) {
    if event.need_rescan() {
        return sink(Hint::Overflow);
    }
    let kind = match event.kind {
        EventKind::Create(CreateKind::Folder) => HintKind::DirCreated,
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => HintKind::CloseWrite,
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => HintKind::MovedTo,
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => {
            HintKind::Removed
        }
        // Both ends of a rename have events of their own.
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Access(_) => return,
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => {
            HintKind::Modified
        }
    };
    for path in event.paths {
        sink(Hint::At(path, kind));
    }
}

fn map_error(path: &Path, mut error: Error) -> WatchError {
    let path = path.to_owned();
    // Its text repeats the path, in the syntax of Rust.
    error.paths.clear();
    match &error.kind {
        ErrorKind::PathNotFound => WatchError::NotFound(path),
        ErrorKind::MaxFilesWatch => WatchError::WatchLimit(path),
        ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::NotFound => {
            WatchError::NotFound(path)
        }
        _ => WatchError::Other { path, source: Box::new(error) },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Returns the kind of the next hint about `path`; hints about other paths are dropped.
    fn next_kind(hints: &mpsc::Receiver<Hint>, path: &Path) -> HintKind {
        loop {
            match hints.recv_timeout(Duration::from_secs(10)).expect("a hint within 10 s") {
                Hint::At(at, kind) if at == path => return kind,
                _ => {}
            }
        }
    }

    #[test]
    fn end_of_the_loop_is_reported_as_lost_events_unless_the_watcher_was_dropped() {
        for (stage, passed_on, reported) in
            [(stage::STARTING, 0, 0), (stage::IN_USE, 1, 2), (stage::ENDING, 0, 0)]
        {
            let (send, hints) = mpsc::channel();
            let sink: HintSink = Arc::new(move |hint| send.send(hint).unwrap());
            let mut handler = Handler { sink, stage: Arc::new(AtomicU8::new(stage)) };
            handler.handle_event(Ok(Event::new(EventKind::Any).add_path("/a".into())));
            assert_eq!(hints.try_iter().count(), passed_on);
            drop(handler);
            assert_eq!(hints.iter().count(), reported);
        }
        let (send, hints) = mpsc::channel();
        let watcher = NotifyWatcher::new(Arc::new(move |hint| send.send(hint).unwrap())).unwrap();
        drop(watcher);
        // Ends when the handler, which owns the sender, is dropped.
        assert_eq!(hints.iter().count(), 0);
    }

    #[test]
    fn errors_name_the_path_once() {
        let path = Path::new("/a");
        let failed = || Error::io(std::io::Error::from_raw_os_error(5)).add_path(path.to_owned());
        assert!(failed().to_string().contains("about"), "notify names the path itself");
        let text = map_error(path, failed()).to_string();
        assert_eq!(text.matches("/a").count(), 1, "{text}");
        assert!(!text.contains("about"), "{text}");
    }

    #[test]
    fn a_root_leaves_after_the_hints_of_all_earlier_events() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (send, order) = mpsc::channel();
        let (resume, paused) = mpsc::channel::<()>();
        let (of_hints, paused) = (send.clone(), std::sync::Mutex::new(paused));
        // Each hint waits for a permission, so that later events stay in the kernel's queue.
        let sink: HintSink = Arc::new(move |hint| {
            let _ = paused.lock().unwrap().recv();
            if let Hint::At(path, HintKind::DirCreated) = hint {
                let _ = of_hints.send(Some(path));
            }
        });
        let watcher = NotifyWatcher::new(sink).unwrap();
        watcher.watch(&root, false).unwrap();
        let dirs = ["a", "b", "c"].map(|name| root.join(name));
        for dir in &dirs {
            fs::create_dir(dir).unwrap();
        }
        watcher.leave(Box::new(move || {
            let _ = send.send(None);
            vec![root]
        }));
        // The next call is made after the root has left, and that waits for the first hint.
        assert!(watcher.call(Duration::from_millis(100), |_| ()).is_none());
        drop(resume);
        let next = || order.recv_timeout(Duration::from_secs(10)).expect("within 10 s");
        for dir in dirs {
            assert_eq!(next(), Some(dir));
        }
        assert_eq!(next(), None);
    }

    #[test]
    fn inotify_events_become_hints() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (send, hints) = mpsc::channel();
        let sink: HintSink = Arc::new(move |hint| send.send(hint).unwrap());
        let watcher = NotifyWatcher::new(sink).unwrap();
        watcher.watch(&root, false).unwrap();
        assert!(matches!(watcher.watch(&root.join("none"), false), Err(WatchError::NotFound(_))));

        let file = root.join("file");
        fs::write(&file, "x").unwrap();
        assert_eq!(next_kind(&hints, &file), HintKind::Modified);
        while next_kind(&hints, &file) != HintKind::CloseWrite {}
        fs::read(&file).unwrap();
        fs::rename(&file, root.join("other")).unwrap();
        assert_eq!(next_kind(&hints, &file), HintKind::Removed, "the read causes no hint");
        assert_eq!(next_kind(&hints, &root.join("other")), HintKind::MovedTo);
        let dir = root.join("folder");
        for _ in 0..2 {
            fs::create_dir(&dir).unwrap();
            // Two hints report the removal of a directory: its own and that of its parent.
            while next_kind(&hints, &dir) != HintKind::DirCreated {}
            watcher.watch(&dir, true).unwrap();
            fs::write(dir.join("in"), "x").unwrap();
            assert_eq!(
                next_kind(&hints, &dir.join("in")),
                HintKind::Modified,
                "also after the directory was created again"
            );
            fs::remove_dir_all(&dir).unwrap();
            while next_kind(&hints, &dir) != HintKind::Removed {}
        }
        let requested = vec![root.join("none"), root.clone()];
        let refused = watcher.watch_all(requested);
        assert!(matches!(
            &*refused,
            [RefusedDir { path, error: WatchError::NotFound(_) }] if path.ends_with("none")
        ));
    }
}

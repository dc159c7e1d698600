//! The set of watched directories of a project, and of those that inotify refused.
//!
//! inotify removes the watch of a deleted or moved directory by itself; callers remove it from this
//! set with [`Watching::forget`]. When to retry or to replace the watcher is decided in `attend`.

use std::collections::BTreeSet;
use std::ops::Bound::{Included, Unbounded};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::watch::{Backend, CALL_TIMEOUT, CALL_TIMEOUT_PER_DIR, WatchError};

/// Maximum number of directories in the sample from which it is derived whether a tree is still
/// being removed.
const MAX_REMOVAL_SAMPLE: usize = 128;

/// Creates a watcher.
pub(in crate::engine) type MakeBackend =
    Box<dyn Fn() -> Result<Box<dyn Backend>, WatchError> + Send>;

/// The watched directories.
pub(super) struct Watching {
    make: MakeBackend,
    /// `None` if the kernel refused a watcher or it was dropped: then nothing is watched.
    backend: Option<Box<dyn Backend>>,
    watched: BTreeSet<PathBuf>,
    /// Directories that should be watched but are not.
    refused: BTreeSet<PathBuf>,
    /// Directories whose watch was renewed in this iteration. They are not renewed again for
    /// another feature that contains them, because events between two watches are lost.
    watched_this_iteration: BTreeSet<PathBuf>,
    /// The last error of the watcher.
    error: Option<String>,
    /// True if the watcher was dropped because it timed out.
    timed_out: bool,
    /// Time for which the engine waited for the watcher in this iteration.
    waited: Duration,
    /// Part of that time that the number of directories explains.
    expected: Duration,
}

impl Watching {
    pub(super) fn new(make: MakeBackend) -> Self {
        let mut watching = Self {
            make,
            backend: None,
            watched: BTreeSet::new(),
            refused: BTreeSet::new(),
            watched_this_iteration: BTreeSet::new(),
            error: None,
            timed_out: false,
            waited: Duration::ZERO,
            expected: Duration::ZERO,
        };
        watching.replace_watcher();
        watching
    }

    /// Creates a new watcher, which watches nothing.
    pub(super) fn replace_watcher(&mut self) {
        // Dropped first, because the number of inotify instances is limited.
        self.backend = None;
        self.watched.clear();
        self.refused.clear();
        self.watched_this_iteration.clear();
        self.error = None;
        self.timed_out = false;
        match (self.make)() {
            Ok(backend) => self.backend = Some(backend),
            Err(error) => self.error = Some(error.to_string()),
        }
    }

    /// Drops the watcher; there are no events until [`Watching::replace_watcher`]. Returns a sample
    /// of the watched directories, spread over the tree.
    pub(super) fn drop_watcher(&mut self) -> Vec<PathBuf> {
        self.backend = None;
        // Otherwise an earlier refusal would cause a retry before the removals have stopped.
        self.error = None;
        let step = self.watched.len() / MAX_REMOVAL_SAMPLE + 1;
        self.watched.iter().step_by(step).cloned().collect()
    }

    /// Ends an iteration. Returns true if the watcher was dropped because it timed out.
    pub(super) fn end_turn(&mut self) -> bool {
        (self.waited, self.expected) = (Duration::ZERO, Duration::ZERO);
        self.watched_this_iteration.clear();
        self.timed_out
    }

    /// Records the duration of a call for `count` directories. Drops a watcher that is too slow: it
    /// is busy removing the watches of a tree.
    fn record_latency(&mut self, started: Instant, count: usize) {
        self.waited += started.elapsed();
        self.expected += CALL_TIMEOUT_PER_DIR * u32::try_from(count).unwrap_or(u32::MAX);
        if self.waited > CALL_TIMEOUT + self.expected {
            self.abandon();
        }
    }

    fn abandon(&mut self) {
        self.backend = None;
        self.timed_out = true;
    }

    /// Returns why there is no watcher, if the kernel refused it.
    pub(super) fn unavailable_reason(&self) -> Option<&str> {
        self.error.as_deref().filter(|_| self.backend.is_none())
    }

    /// Watches a directory, and renews its watch if it has one.
    pub(super) fn watch(&mut self, dir: PathBuf) {
        if self.watched_this_iteration.contains(&dir) {
            return;
        }
        let Some(backend) = &mut self.backend else {
            self.refused.insert(dir);
            return;
        };
        let started = Instant::now();
        match backend.watch(&dir, self.watched.contains(&dir)) {
            Ok(()) => {
                self.refused.remove(&dir);
                self.watched_this_iteration.insert(dir.clone());
                self.watched.insert(dir);
            }
            Err(error) => self.refuse(dir, &error),
        }
        self.record_latency(started, 1);
    }

    /// Watches those directories that are not watched, in one call to the watcher thread. Returns
    /// true if at least one is newly watched.
    pub(super) fn watch_missing(&mut self, dirs: impl IntoIterator<Item = PathBuf>) -> bool {
        let dirs: BTreeSet<PathBuf> =
            dirs.into_iter().filter(|dir| !self.watched.contains(dir)).collect();
        if dirs.is_empty() {
            return false;
        }
        let (before, count, started) = (self.watched.len(), dirs.len(), Instant::now());
        match &mut self.backend {
            None => self.refused.extend(dirs),
            Some(backend) => {
                let refused = backend.watch_all(dirs.iter().cloned().collect());
                self.refused.retain(|dir| !dirs.contains(dir));
                self.watched.extend(dirs);
                for dir in refused {
                    self.watched.remove(&dir.path);
                    self.refuse(dir.path, &dir.error);
                }
                self.record_latency(started, count);
            }
        }
        self.watched.len() > before
    }

    fn refuse(&mut self, dir: PathBuf, error: &WatchError) {
        self.watched.remove(&dir);
        match error {
            WatchError::NotFound(_) => {
                self.refused.remove(&dir);
            }
            WatchError::Unresponsive => {
                self.abandon();
                self.refused.insert(dir);
            }
            error => {
                self.error = Some(error.to_string());
                self.refused.insert(dir);
            }
        }
    }

    /// Removes a directory that was deleted or replaced, and those below it. Returns true if one of
    /// them was watched or refused.
    pub(super) fn forget(&mut self, dir: &Path) -> bool {
        let watched = take_below(&mut self.watched, dir);
        let refused = take_below(&mut self.refused, dir);
        take_below(&mut self.watched_this_iteration, dir);
        watched || refused
    }

    pub(super) fn watched_dirs(&self) -> &BTreeSet<PathBuf> {
        &self.watched
    }

    pub(super) fn is_watched(&self, dir: &Path) -> bool {
        self.watched.contains(dir)
    }

    /// Returns true if a directory is watched or was refused.
    pub(super) fn is_wanted(&self, dir: &Path) -> bool {
        self.watched.contains(dir) || self.refused.contains(dir)
    }

    /// Retries refused directories until one is refused again.
    pub(super) fn retry(&mut self) {
        let before = self.refused.len();
        let dirs: Vec<PathBuf> = self.refused.iter().cloned().collect();
        for dir in dirs {
            self.watch(dir);
            if self.refused.len() == before {
                return;
            }
            if self.refused.is_empty() {
                self.error = None;
            }
        }
    }

    /// Returns the refused directories that are below no other refused one.
    pub(super) fn refused(&self) -> Vec<PathBuf> {
        let mut top: Vec<PathBuf> = Vec::new();
        for dir in &self.refused {
            if top.last().is_none_or(|parent| !dir.starts_with(parent)) {
                top.push(dir.clone());
            }
        }
        top
    }

    /// Returns why directories were refused, if some were.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.error.as_deref().filter(|_| !self.refused.is_empty())
    }

    pub(super) fn watched(&self) -> u64 {
        self.watched.len() as u64
    }

    /// Returns the number of directories that should be watched.
    pub(super) fn total(&self) -> u64 {
        (self.watched.len() + self.refused.len()) as u64
    }
}

/// Removes a directory and those below it: `Path` orders by components, so they are a range.
fn take_below(set: &mut BTreeSet<PathBuf>, dir: &Path) -> bool {
    let below =
        set.range::<Path, _>((Included(dir), Unbounded)).take_while(|path| path.starts_with(dir));
    let below: Vec<PathBuf> = below.cloned().collect();
    for path in &below {
        set.remove(path);
    }
    !below.is_empty()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::watch::fake::FakeControl;

    fn watching(control: &FakeControl) -> Watching {
        let backends = control.clone();
        Watching::new(Box::new(move || Ok(backends.backend(Arc::new(|_| {})))))
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn refused_dirs_are_reported_and_retried() {
        let control = FakeControl::default();
        control.set_limit(Some(2));
        let mut watching = watching(&control);
        assert!(watching.watch_missing(paths(&["/a", "/a/b", "/a/c", "/a/c/d"])));
        assert_eq!((watching.watched(), watching.total()), (2, 4));
        assert_eq!(watching.refused(), paths(&["/a/c"]));
        assert!(watching.refusal().unwrap().contains("max_user_watches"));
        watching.retry();
        assert_eq!(watching.watched(), 2);
        control.set_limit(None);
        watching.retry();
        assert_eq!((watching.watched(), watching.total()), (4, 4));
        assert_eq!(watching.refusal(), None);
    }

    #[test]
    fn forget_removes_a_dir_and_those_below_it_only() {
        let control = FakeControl::default();
        let mut watching = watching(&control);
        watching.watch_missing(paths(&["/a", "/a/b", "/a/b/c", "/a/b-c", "/a/c"]));
        assert!(watching.forget(Path::new("/a/b")));
        assert!(!watching.forget(Path::new("/a/b")));
        let left = paths(&["/a", "/a/b-c", "/a/c"]);
        assert_eq!(watching.watched.iter().cloned().collect::<Vec<_>>(), left);
    }

    #[test]
    fn watcher_that_is_too_slow_in_one_iteration_is_dropped() {
        let half_timeout = |watching: &mut Watching| {
            watching.record_latency(Instant::now().checked_sub(CALL_TIMEOUT / 2).unwrap(), 1);
        };
        let mut watching = watching(&FakeControl::default());
        half_timeout(&mut watching);
        assert!(!watching.end_turn());
        half_timeout(&mut watching);
        assert!(!watching.end_turn(), "each iteration has its own timeout");
        (0..3).for_each(|_| half_timeout(&mut watching));
        assert!(watching.end_turn());
        assert!(!watching.watch_missing(paths(&["/a"])));
        watching.replace_watcher();
        assert!(!watching.end_turn() && watching.watch_missing(paths(&["/a"])));
    }

    #[test]
    fn dirs_are_refused_without_a_watcher() {
        let mut watching = Watching::new(Box::new(|| Err(WatchError::InstanceLimit)));
        assert!(!watching.watch_missing(paths(&["/a"])));
        watching.watch("/b".into());
        assert_eq!((watching.watched(), watching.total()), (0, 2));
        assert!(watching.unavailable_reason().unwrap().contains("max_user_instances"));
    }
}

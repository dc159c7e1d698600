//! The set of watched directories of a project, and of those that inotify refused.
//!
//! inotify removes the watch of a deleted or moved directory by itself; callers remove it from this
//! set with [`WatchSet::forget`]. When to retry or to replace the watcher is decided in
//! `reconcile::watch_health`.

use std::collections::BTreeSet;
use std::ops::Bound::{Included, Unbounded};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::progress::begin_long_step;
use crate::engine::reconcile::event::WatchReport;
use crate::watch::{
    CALL_TIMEOUT, CALL_TIMEOUT_PER_DIR, RefusedDir, RootWatcher, Share, WatchError,
};

/// Maximum number of directories in the sample from which it is derived whether a tree is still
/// being removed.
const MAX_REMOVAL_SAMPLE: usize = 128;

/// Creates a watcher.
pub(in crate::engine) type MakeWatcher =
    dyn Fn(Share) -> Result<RootWatcher, WatchError> + Send + Sync;

/// The watched directories of one project.
pub(in crate::engine) struct WatchSet {
    make: Arc<MakeWatcher>,
    share: Share,
    /// `None` before the first one was created, if the kernel refused one, or it was dropped: then
    /// nothing is watched.
    watcher: Option<RootWatcher>,
    watched: BTreeSet<PathBuf>,
    /// Directories that should be watched but are not.
    refused: BTreeSet<PathBuf>,
    /// Directories whose watch was renewed in this iteration. They are not renewed again for
    /// another feature that contains them, because events between two watches are lost.
    watched_this_iteration: BTreeSet<PathBuf>,
    /// Why the kernel last refused a watch or a watcher; `None` after all refused ones succeeded.
    error: Option<String>,
    /// True if the watcher was dropped because it timed out.
    unresponsive: bool,
    /// True if the report may differ from the last one.
    changed: bool,
    /// Time for which the engine waited for the watcher in this iteration.
    waited: Duration,
    /// Maximum of that time; beyond it the watcher is dropped.
    allowed: Duration,
}

impl WatchSet {
    /// Creates a set without a watcher.
    pub(in crate::engine) fn new(make: Arc<MakeWatcher>) -> Self {
        Self {
            make,
            share: Share::Shared,
            watcher: None,
            watched: BTreeSet::new(),
            refused: BTreeSet::new(),
            watched_this_iteration: BTreeSet::new(),
            error: None,
            unresponsive: false,
            changed: true,
            waited: Duration::ZERO,
            allowed: CALL_TIMEOUT,
        }
    }

    /// Sets whether the next watcher may share an inotify instance with those of other roots.
    pub(in crate::engine) fn set_share(&mut self, share: Share) {
        self.share = share;
    }

    /// Creates a new watcher, which watches nothing.
    pub(in crate::engine) fn replace_watcher(&mut self) {
        // Dropped first, because the number of inotify instances is limited.
        self.changed = true;
        self.watcher = None;
        self.watched.clear();
        self.refused.clear();
        self.watched_this_iteration.clear();
        self.error = None;
        self.unresponsive = false;
        match (self.make)(self.share) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => self.error = Some(error.to_string()),
        }
    }

    /// Drops the watcher; there are no events until [`WatchSet::replace_watcher`]. Returns a sample
    /// of the watched directories, spread over the tree.
    pub(in crate::engine) fn drop_watcher(&mut self) -> Vec<PathBuf> {
        self.changed = true;
        self.give_up_watcher();
        // Otherwise an earlier refusal would cause a retry before the removals have stopped.
        self.error = None;
        let step = self.watched.len() / MAX_REMOVAL_SAMPLE + 1;
        self.watched.iter().step_by(step).cloned().collect()
    }

    /// Ends an iteration of the event loop: each has its own timeout for calls to the watcher.
    pub(in crate::engine) fn end_iteration(&mut self) {
        (self.waited, self.allowed) = (Duration::ZERO, CALL_TIMEOUT);
        self.watched_this_iteration.clear();
    }

    /// Returns true if the report may differ since the last call.
    pub(in crate::engine) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Returns the report of the watches for the reconciler.
    pub(in crate::engine) fn report(&self) -> WatchReport {
        WatchReport {
            watched: self.watched.len() as u64,
            total: (self.watched.len() + self.refused.len()) as u64,
            refused: self.uppermost_refused(),
            refusal: self.error.clone().filter(|_| !self.refused.is_empty()),
            on_instance: self.watcher.as_ref().map_or(0, |one| one.instance_watches() as u64),
            unavailable: self.error.clone().filter(|_| self.watcher.is_none()),
            unresponsive: self.unresponsive,
        }
    }

    /// Records the duration of a call for `dirs` directories. Drops a watcher that is too slow: it
    /// is busy removing the watches of a tree.
    fn record_latency(&mut self, begun: Instant, dirs: usize) {
        self.waited += begun.elapsed();
        self.allowed += CALL_TIMEOUT_PER_DIR * u32::try_from(dirs).unwrap_or(u32::MAX);
        if self.waited > self.allowed {
            self.abandon();
        }
    }

    fn abandon(&mut self) {
        self.changed = true;
        self.give_up_watcher();
        self.unresponsive = true;
    }

    /// Drops the watcher, and has the other roots of its instance replace theirs, too.
    fn give_up_watcher(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.give_up();
        }
    }

    /// Watches a directory, and renews its watch if it has one.
    pub(in crate::engine) fn watch(&mut self, dir: PathBuf) {
        if self.watched_this_iteration.contains(&dir) {
            return;
        }
        self.changed = true;
        let Some(watcher) = &mut self.watcher else {
            self.refused.insert(dir);
            return;
        };
        let begun = Instant::now();
        begin_long_step(2 * CALL_TIMEOUT);
        match watcher.watch(&dir, self.watched.contains(&dir)) {
            Ok(()) => {
                self.refused.remove(&dir);
                // No event has reported what was replaced below it until now.
                take_below(&mut self.watched_this_iteration, &dir);
                self.watched_this_iteration.insert(dir.clone());
                self.watched.insert(dir);
            }
            Err(error) => self.refuse(dir, &error),
        }
        self.record_latency(begun, 1);
    }

    /// Watches those directories that are not watched, in one call to the watcher thread. Returns
    /// true if at least one is newly watched.
    pub(in crate::engine) fn watch_missing(
        &mut self,
        dirs: impl IntoIterator<Item = PathBuf>,
    ) -> bool {
        let dirs: BTreeSet<PathBuf> =
            dirs.into_iter().filter(|dir| !self.watched.contains(dir)).collect();
        if dirs.is_empty() {
            return false;
        }
        self.changed = true;
        let (before, count, begun) = (self.watched.len(), dirs.len(), Instant::now());
        match &mut self.watcher {
            None => self.refused.extend(dirs),
            Some(watcher) => {
                let per_dir = CALL_TIMEOUT_PER_DIR * u32::try_from(count).unwrap_or(u32::MAX);
                begin_long_step(2 * CALL_TIMEOUT + per_dir);
                let refused = watcher.watch_all(dirs.iter().cloned().collect());
                self.refused.retain(|dir| !dirs.contains(dir));
                self.watched.extend(dirs);
                for RefusedDir { path, error } in refused {
                    self.watched.remove(&path);
                    self.refuse(path, &error);
                }
                self.record_latency(begun, count);
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
    pub(in crate::engine) fn forget(&mut self, dir: &Path) -> bool {
        let watched = take_below(&mut self.watched, dir);
        let refused = take_below(&mut self.refused, dir);
        take_below(&mut self.watched_this_iteration, dir);
        self.changed |= watched || refused;
        if watched && let Some(watcher) = &mut self.watcher {
            watcher.forget(dir);
        }
        watched || refused
    }

    pub(in crate::engine) fn watched_dirs(&self) -> &BTreeSet<PathBuf> {
        &self.watched
    }

    pub(in crate::engine) fn is_watched(&self, dir: &Path) -> bool {
        self.watched.contains(dir)
    }

    /// Returns true if a directory is watched or was refused.
    pub(in crate::engine) fn is_wanted(&self, dir: &Path) -> bool {
        self.watched.contains(dir) || self.refused.contains(dir)
    }

    /// Retries refused directories until one is refused again.
    pub(in crate::engine) fn retry(&mut self) {
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
    fn uppermost_refused(&self) -> Vec<PathBuf> {
        let mut top: Vec<PathBuf> = Vec::new();
        for dir in &self.refused {
            if top.last().is_none_or(|above| !dir.starts_with(above)) {
                top.push(dir.clone());
            }
        }
        top
    }
}

/// Removes a directory and those below it: `Path` orders by components, so they are a range.
/// Returns true if there were any.
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
    use super::*;
    use crate::watch::fake::FakeControl;

    fn watch_set(control: &FakeControl) -> WatchSet {
        let pool = control.pool();
        let join = move |share| RootWatcher::join(&pool, Path::new("/a"), share, Arc::new(|_| {}));
        let mut watches = WatchSet::new(Arc::new(join));
        watches.replace_watcher();
        watches
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn refused_directories_are_reported_and_retried() {
        let control = FakeControl::default();
        control.set_limit(Some(2));
        let mut watches = watch_set(&control);
        assert!(watches.watch_missing(paths(&["/a", "/a/b", "/a/c", "/a/c/d"])));
        let report = watches.report();
        assert_eq!((report.watched, report.total), (2, 4));
        assert_eq!(report.refused, paths(&["/a/c"]));
        assert!(report.refusal.unwrap().contains("max_user_watches"));
        watches.retry();
        assert_eq!(watches.report().watched, 2);
        control.set_limit(None);
        watches.retry();
        let report = watches.report();
        assert_eq!((report.watched, report.total, report.refusal), (4, 4, None));
    }

    #[test]
    fn forgetting_a_directory_forgets_those_below_it_and_no_others() {
        let mut watches = watch_set(&FakeControl::default());
        watches.watch_missing(paths(&["/a", "/a/b", "/a/b/c", "/a/b-c", "/a/c"]));
        assert!(watches.forget(Path::new("/a/b")));
        assert!(!watches.forget(Path::new("/a/b")));
        let left = paths(&["/a", "/a/b-c", "/a/c"]);
        assert_eq!(watches.watched.iter().cloned().collect::<Vec<_>>(), left);
    }

    #[test]
    fn a_directory_is_watched_again_after_one_above_it_in_the_same_iteration() {
        let control = FakeControl::default();
        let mut watches = watch_set(&control);
        for (dir, renewals) in [("/a/b", 0), ("/a/b", 0), ("/a", 0), ("/a/b", 1), ("/a", 1)] {
            watches.watch(dir.into());
            assert_eq!(control.renewals(), renewals, "{dir}");
        }
    }

    #[test]
    fn a_watcher_that_takes_too_long_in_one_iteration_is_dropped() {
        let half = |watches: &mut WatchSet| {
            watches.record_latency(Instant::now().checked_sub(CALL_TIMEOUT / 2).unwrap(), 1);
            watches.report().unresponsive
        };
        let mut watches = watch_set(&FakeControl::default());
        for _ in 0..3 {
            assert!(!half(&mut watches), "each iteration has its own timeout");
            watches.end_iteration();
        }
        assert!((0..3).any(|_| half(&mut watches)));
        assert!(!watches.watch_missing(paths(&["/a"])));
        watches.replace_watcher();
        assert!(!watches.report().unresponsive && watches.watch_missing(paths(&["/a"])));
    }

    #[test]
    fn without_a_watcher_every_directory_is_refused() {
        let mut watches = WatchSet::new(Arc::new(|_| Err(WatchError::InstanceLimit)));
        watches.replace_watcher();
        assert!(!watches.watch_missing(paths(&["/a"])));
        watches.watch("/b".into());
        let report = watches.report();
        assert_eq!((report.watched, report.total), (0, 2));
        assert!(report.unavailable.unwrap().contains("max_user_instances"));
    }
}

//! A scripted watcher for tests: it records the watched directories and sends the hints of the
//! test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{DirIdentity, Hint, HintSink, RefusedDir, ShardLimits, ShardPool, WatchError, Watcher};

/// Controls all fake watchers that were created from it.
#[derive(Clone, Default)]
pub(crate) struct FakeControl {
    watched: Arc<Mutex<BTreeSet<PathBuf>>>,
    sinks: Arc<Mutex<Vec<HintSink>>>,
    limit: Arc<Mutex<Option<usize>>>,
    unresponsive: Arc<Mutex<bool>>,
    /// Number of watches that were renewed.
    renewals: Arc<AtomicUsize>,
}

struct FakeWatcher(FakeControl);

impl FakeControl {
    /// Returns a pool whose watchers it controls. A new one has no watches and replaces the previous
    /// one.
    pub(crate) fn pool(&self) -> ShardPool {
        let control = self.clone();
        let make = move |sink: HintSink| {
            control.sinks.lock().unwrap().push(sink);
            control.watched.lock().unwrap().clear();
            *control.unresponsive.lock().unwrap() = false;
            Ok(Box::new(FakeWatcher(control.clone())) as Box<dyn Watcher>)
        };
        let limits = ShardLimits {
            max_instances: 8,
            unshared_instances: 8,
            max_shared_watches: 1_000,
            max_removed_dirs: 1_000,
        };
        ShardPool::new(make, limits)
    }

    /// Returns the number of watchers created so far.
    pub(crate) fn watcher_count(&self) -> usize {
        self.sinks.lock().unwrap().len()
    }

    /// Returns the number of watches that were renewed so far.
    pub(crate) fn renewals(&self) -> usize {
        self.renewals.load(Ordering::Relaxed)
    }

    /// Returns true if the newest watcher watches `dir`.
    pub(crate) fn is_watching(&self, dir: &Path) -> bool {
        self.watched.lock().unwrap().contains(dir)
    }

    /// Limits the number of directories that watchers watch; `None` removes the limit.
    pub(crate) fn set_limit(&self, limit: Option<usize>) {
        *self.limit.lock().unwrap() = limit;
    }

    /// Makes the current watcher unresponsive; the next one responds.
    pub(crate) fn stop_responding(&self) {
        *self.unresponsive.lock().unwrap() = true;
    }

    /// Sends a hint through the newest watcher.
    pub(crate) fn send_hint(&self, hint: Hint) {
        let sink = Arc::clone(self.sinks.lock().unwrap().last().unwrap());
        sink(hint);
    }
}

impl Watcher for FakeWatcher {
    fn watch(&self, dir: &Path, renew: bool) -> Result<(), WatchError> {
        self.0.renewals.fetch_add(usize::from(renew), Ordering::Relaxed);
        if *self.0.unresponsive.lock().unwrap() {
            return Err(WatchError::Unresponsive);
        }
        let mut watched = self.0.watched.lock().unwrap();
        let limit = *self.0.limit.lock().unwrap();
        if limit.is_some_and(|limit| watched.len() >= limit && !watched.contains(dir)) {
            return Err(WatchError::WatchLimit(dir.to_owned()));
        }
        watched.insert(dir.to_owned());
        Ok(())
    }

    fn watch_all(&self, dirs: Vec<PathBuf>) -> Vec<RefusedDir> {
        let refused = |path: PathBuf| {
            let error = self.watch(&path, false).err()?;
            Some(RefusedDir { path, error })
        };
        dirs.into_iter().filter_map(refused).collect()
    }

    fn leave(&self, unused: Box<dyn FnOnce() -> Vec<PathBuf> + Send>) {
        for path in unused() {
            self.0.watched.lock().unwrap().remove(&path);
        }
    }

    fn identity(&self, _: &Path) -> Option<DirIdentity> {
        None
    }

    fn is_not_dir(&self, _: &Path) -> bool {
        false
    }
}

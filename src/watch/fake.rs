//! A scripted backend for tests: it records the watched directories and sends the hints of the
//! test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{Backend, Hint, HintSink, RefusedDir, WatchError};

/// Controls all fake backends that were created from it.
#[derive(Clone, Default)]
pub(crate) struct FakeControl {
    watched: Arc<Mutex<BTreeSet<PathBuf>>>,
    sinks: Arc<Mutex<Vec<HintSink>>>,
    limit: Arc<Mutex<Option<usize>>>,
    unresponsive: Arc<Mutex<bool>>,
    /// Number of watches that were renewed.
    renewals: Arc<AtomicUsize>,
}

struct FakeBackend(FakeControl);

impl FakeControl {
    /// Creates a backend without watches, which replaces the previous one.
    pub(crate) fn backend(&self, sink: HintSink) -> Box<dyn Backend> {
        self.sinks.lock().unwrap().push(sink);
        self.watched.lock().unwrap().clear();
        *self.unresponsive.lock().unwrap() = false;
        Box::new(FakeBackend(self.clone()))
    }

    /// Returns the number of backends created so far.
    pub(crate) fn backend_count(&self) -> usize {
        self.sinks.lock().unwrap().len()
    }

    /// Returns the number of watches that were renewed so far.
    pub(crate) fn renewals(&self) -> usize {
        self.renewals.load(Ordering::Relaxed)
    }

    /// Returns true if the newest backend watches `dir`.
    pub(crate) fn is_watching(&self, dir: &Path) -> bool {
        self.watched.lock().unwrap().contains(dir)
    }

    /// Limits the number of directories that backends watch; `None` removes the limit.
    pub(crate) fn set_limit(&self, limit: Option<usize>) {
        *self.limit.lock().unwrap() = limit;
    }

    /// Makes the current backend unresponsive; the next one responds.
    pub(crate) fn stop_responding(&self) {
        *self.unresponsive.lock().unwrap() = true;
    }

    /// Sends a hint through the newest backend.
    pub(crate) fn send_hint(&self, hint: Hint) {
        let sink = Arc::clone(self.sinks.lock().unwrap().last().unwrap());
        sink(hint);
    }
}

impl Backend for FakeBackend {
    fn watch(&mut self, dir: &Path, was_watched: bool) -> Result<(), WatchError> {
        self.0.renewals.fetch_add(usize::from(was_watched), Ordering::Relaxed);
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

    fn watch_all(&mut self, dirs: Vec<PathBuf>) -> Vec<RefusedDir> {
        let refused = |path: PathBuf| {
            let error = self.watch(&path, false).err()?;
            Some(RefusedDir { path, error })
        };
        dirs.into_iter().filter_map(refused).collect()
    }
}

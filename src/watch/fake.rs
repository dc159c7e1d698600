//! A backend that does what a test's script says: it remembers what it was asked to watch, and
//! gives only the hints that the test gives.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Backend, Hint, HintSink, RefusedDir, WatchError};

/// The test's hand on all fake backends made from it.
#[derive(Clone, Default)]
pub(crate) struct FakeControl {
    watched: Arc<Mutex<BTreeSet<PathBuf>>>,
    sinks: Arc<Mutex<Vec<HintSink>>>,
    limit: Arc<Mutex<Option<usize>>>,
    unresponsive: Arc<Mutex<bool>>,
}

struct FakeBackend(FakeControl);

impl FakeControl {
    /// A backend as an engine would get one.
    pub(crate) fn backend(&self, sink: HintSink) -> Box<dyn Backend> {
        self.sinks.lock().unwrap().push(sink);
        self.watched.lock().unwrap().clear();
        *self.unresponsive.lock().unwrap() = false;
        Box::new(FakeBackend(self.clone()))
    }

    /// How many backends were made.
    pub(crate) fn backend_count(&self) -> usize {
        self.sinks.lock().unwrap().len()
    }

    /// Whether the newest backend watches a directory.
    pub(crate) fn is_watching(&self, dir: &Path) -> bool {
        self.watched.lock().unwrap().contains(dir)
    }

    /// Lets backends watch so many directories only.
    pub(crate) fn set_limit(&self, limit: Option<usize>) {
        *self.limit.lock().unwrap() = limit;
    }

    /// Lets the present backend answer no more; the next one does.
    pub(crate) fn stop_responding(&self) {
        *self.unresponsive.lock().unwrap() = true;
    }

    /// Gives a hint by the newest backend.
    pub(crate) fn send_hint(&self, hint: Hint) {
        let sink = Arc::clone(self.sinks.lock().unwrap().last().unwrap());
        sink(hint);
    }
}

impl Backend for FakeBackend {
    fn watch(&mut self, dir: &Path, _: bool) -> Result<(), WatchError> {
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

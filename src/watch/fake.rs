//! A backend that does what a test's script says: it remembers what it was asked to watch, and
//! gives only the hints that the test gives.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Backend, Hint, Sink, WatchError};

/// The test's hand on all fake backends made from it.
#[derive(Clone, Default)]
pub(crate) struct Script {
    watched: Arc<Mutex<BTreeSet<PathBuf>>>,
    sinks: Arc<Mutex<Vec<Sink>>>,
    limit: Arc<Mutex<Option<usize>>>,
    stuck: Arc<Mutex<bool>>,
}

struct Fake(Script);

impl Script {
    /// A backend as an engine would get one.
    pub(crate) fn backend(&self, sink: Sink) -> Box<dyn Backend> {
        self.sinks.lock().unwrap().push(sink);
        self.watched.lock().unwrap().clear();
        *self.stuck.lock().unwrap() = false;
        Box::new(Fake(self.clone()))
    }

    /// How many backends were made.
    pub(crate) fn made(&self) -> usize {
        self.sinks.lock().unwrap().len()
    }

    /// Whether the newest backend watches a folder.
    pub(crate) fn watches(&self, folder: &Path) -> bool {
        self.watched.lock().unwrap().contains(folder)
    }

    /// Lets backends watch so many folders only.
    pub(crate) fn set_limit(&self, limit: Option<usize>) {
        *self.limit.lock().unwrap() = limit;
    }

    /// Lets the present backend answer no more; the next one does.
    pub(crate) fn get_stuck(&self) {
        *self.stuck.lock().unwrap() = true;
    }

    /// Gives a hint by the newest backend.
    pub(crate) fn hint(&self, hint: Hint) {
        let sink = Arc::clone(self.sinks.lock().unwrap().last().unwrap());
        sink(hint);
    }
}

impl Backend for Fake {
    fn watch(&mut self, folder: &Path, _: bool) -> Result<(), WatchError> {
        if *self.0.stuck.lock().unwrap() {
            return Err(WatchError::Stuck);
        }
        let mut watched = self.0.watched.lock().unwrap();
        let limit = *self.0.limit.lock().unwrap();
        if limit.is_some_and(|limit| watched.len() >= limit && !watched.contains(folder)) {
            return Err(WatchError::Limit(folder.to_owned()));
        }
        watched.insert(folder.to_owned());
        Ok(())
    }

    fn watch_all(&mut self, folders: Vec<PathBuf>) -> Vec<(PathBuf, WatchError)> {
        let watch = |folder: PathBuf| Some((folder.clone(), self.watch(&folder, false).err()?));
        folders.into_iter().filter_map(watch).collect()
    }
}

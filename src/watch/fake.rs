//! A backend that does what a test's script says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Backend, WatchError};

/// Watches nothing, and remembers what it was asked to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fake {
    pub(crate) watched: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Backend for Fake {
    fn watch(&mut self, folder: &Path) -> Result<(), WatchError> {
        self.watched.lock().unwrap().insert(folder.to_owned());
        Ok(())
    }

    fn watch_all(&mut self, folders: Vec<PathBuf>) -> Result<usize, WatchError> {
        let count = folders.len();
        self.watched.lock().unwrap().extend(folders);
        Ok(count)
    }

    fn unwatch(&mut self, folder: &Path) {
        self.watched.lock().unwrap().remove(folder);
    }
}

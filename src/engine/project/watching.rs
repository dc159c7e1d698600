//! The watches of a project: which directories are watched, and which the kernel refused.
//!
//! The backend forgets by itself what is deleted or moved away; this table does when it is told.

use std::collections::BTreeSet;
use std::ops::Bound::{Included, Unbounded};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::watch::{Backend, CALL_TIMEOUT, CALL_TIMEOUT_PER_DIR, WatchError};

/// Directories that tell whether a tree is still being removed, at most.
const MAX_REMOVAL_SAMPLE: usize = 128;

/// Makes a watcher.
pub(in crate::engine) type MakeBackend =
    Box<dyn Fn() -> Result<Box<dyn Backend>, WatchError> + Send>;

/// The watches.
pub(super) struct Watching {
    make: MakeBackend,
    /// `None` where the kernel gives none, or it was let go of: then nothing is watched.
    backend: Option<Box<dyn Backend>>,
    watched: BTreeSet<PathBuf>,
    /// Directories that should be watched and are not.
    refused: BTreeSet<PathBuf>,
    /// Directories that were watched anew in this turn, and need not be again by another feature in which
    /// they lie: what happens between ending a watch and the next goes unheard.
    watched_this_iteration: BTreeSet<PathBuf>,
    why: Option<String>,
    /// Whether the watcher was let go of because it does not answer.
    stuck: bool,
    /// How long was waited for it in this turn, and how much of that was to be expected.
    waited: Duration,
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
            why: None,
            stuck: false,
            waited: Duration::ZERO,
            expected: Duration::ZERO,
        };
        watching.replace_watcher();
        watching
    }

    /// Goes on with a new watcher, which watches nothing yet.
    pub(super) fn replace_watcher(&mut self) {
        // Let go first: it may be what keeps the kernel from giving another.
        self.backend = None;
        self.watched.clear();
        self.refused.clear();
        self.watched_this_iteration.clear();
        self.why = None;
        self.stuck = false;
        match (self.make)() {
            Ok(backend) => self.backend = Some(backend),
            Err(error) => self.why = Some(error.to_string()),
        }
    }

    /// Lets go of the watcher; until [`Watching::renew`] nothing is heard. Gives some of the directories
    /// that were watched, from all over the tree.
    pub(super) fn drop_watcher(&mut self) -> Vec<PathBuf> {
        self.backend = None;
        // What was refused before is no reason to ask for another before its time.
        self.why = None;
        let step = self.watched.len() / MAX_REMOVAL_SAMPLE + 1;
        self.watched.iter().step_by(step).cloned().collect()
    }

    /// Ends a turn; says whether there is no watcher because one did not answer in time.
    pub(super) fn end_turn(&mut self) -> bool {
        (self.waited, self.expected) = (Duration::ZERO, Duration::ZERO);
        self.watched_this_iteration.clear();
        self.stuck
    }

    /// Takes how long an answer about so many directories took.
    fn record_latency(&mut self, begun: Instant, folders: usize) {
        self.waited += begun.elapsed();
        self.expected += CALL_TIMEOUT_PER_DIR * u32::try_from(folders).unwrap_or(u32::MAX);
        if self.waited > CALL_TIMEOUT + self.expected {
            self.abandon();
        }
    }

    fn abandon(&mut self) {
        self.backend = None;
        self.stuck = true;
    }

    /// Whether the kernel gives no watcher, and why.
    pub(super) fn unavailable_reason(&self) -> Option<&str> {
        self.why.as_deref().filter(|_| self.backend.is_none())
    }

    /// Watches a directory, also one that is in the table.
    pub(super) fn watch(&mut self, folder: PathBuf) {
        if self.watched_this_iteration.contains(&folder) {
            return;
        }
        let Some(backend) = &mut self.backend else {
            self.refused.insert(folder);
            return;
        };
        let begun = Instant::now();
        match backend.watch(&folder, self.watched.contains(&folder)) {
            Ok(()) => {
                self.refused.remove(&folder);
                self.watched_this_iteration.insert(folder.clone());
                self.watched.insert(folder);
            }
            Err(error) => self.refuse(folder, &error),
        }
        self.record_latency(begun, 1);
    }

    /// Watches those of the directories that are not watched, in one go: each by itself is a way to the
    /// watcher's thread and back. Says whether one is watched now that was not.
    pub(super) fn watch_missing(&mut self, folders: impl IntoIterator<Item = PathBuf>) -> bool {
        let folders: BTreeSet<PathBuf> =
            folders.into_iter().filter(|folder| !self.watched.contains(folder)).collect();
        if folders.is_empty() {
            return false;
        }
        let (before, count, begun) = (self.watched.len(), folders.len(), Instant::now());
        match &mut self.backend {
            None => self.refused.extend(folders),
            Some(backend) => {
                let refused = backend.watch_all(folders.iter().cloned().collect());
                self.refused.retain(|folder| !folders.contains(folder));
                self.watched.extend(folders);
                for dir in refused {
                    self.watched.remove(&dir.path);
                    self.refuse(dir.path, &dir.error);
                }
                self.record_latency(begun, count);
            }
        }
        self.watched.len() > before
    }

    fn refuse(&mut self, folder: PathBuf, error: &WatchError) {
        self.watched.remove(&folder);
        match error {
            WatchError::NotFound(_) => {
                self.refused.remove(&folder);
            }
            WatchError::Unresponsive => {
                self.abandon();
                self.refused.insert(folder);
            }
            error => {
                self.why = Some(error.to_string());
                self.refused.insert(folder);
            }
        }
    }

    /// Takes that a directory is not there any more, or another lies there. Says whether one at or
    /// below that path was to be watched.
    pub(super) fn forget(&mut self, folder: &Path) -> bool {
        let watched = take_below(&mut self.watched, folder);
        let refused = take_below(&mut self.refused, folder);
        take_below(&mut self.watched_this_iteration, folder);
        watched || refused
    }

    pub(super) fn watched_dirs(&self) -> &BTreeSet<PathBuf> {
        &self.watched
    }

    pub(super) fn is_watched(&self, folder: &Path) -> bool {
        self.watched.contains(folder)
    }

    /// Whether it is watched, or should be.
    pub(super) fn is_wanted(&self, folder: &Path) -> bool {
        self.watched.contains(folder) || self.refused.contains(folder)
    }

    /// Tries again to watch what was refused, until the kernel refuses again.
    pub(super) fn retry(&mut self) {
        let before = self.refused.len();
        let folders: Vec<PathBuf> = self.refused.iter().cloned().collect();
        for folder in folders {
            self.watch(folder);
            if self.refused.len() == before {
                return;
            }
            if self.refused.is_empty() {
                self.why = None;
            }
        }
    }

    /// The uppermost of the directories that are not watched though they should be.
    pub(super) fn refused(&self) -> Vec<PathBuf> {
        let mut top: Vec<PathBuf> = Vec::new();
        for folder in &self.refused {
            if top.last().is_none_or(|above| !folder.starts_with(above)) {
                top.push(folder.clone());
            }
        }
        top
    }

    /// Why some directories are not watched, if that is so.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.why.as_deref().filter(|_| !self.refused.is_empty())
    }

    pub(super) fn watched(&self) -> u64 {
        self.watched.len() as u64
    }

    /// How many directories there are to watch.
    pub(super) fn total(&self) -> u64 {
        (self.watched.len() + self.refused.len()) as u64
    }
}

/// Takes out what is at or below a directory: paths are in order of components, so that is a range.
fn take_below(set: &mut BTreeSet<PathBuf>, folder: &Path) -> bool {
    let below = set
        .range::<Path, _>((Included(folder), Unbounded))
        .take_while(|path| path.starts_with(folder));
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

    fn watching(script: &FakeControl) -> Watching {
        let backends = script.clone();
        Watching::new(Box::new(move || Ok(backends.backend(Arc::new(|_| {})))))
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn what_is_refused_is_known_and_tried_again() {
        let script = FakeControl::default();
        script.set_limit(Some(2));
        let mut watching = watching(&script);
        assert!(watching.watch_missing(paths(&["/a", "/a/b", "/a/c", "/a/c/d"])));
        assert_eq!((watching.watched(), watching.total()), (2, 4));
        assert_eq!(watching.refused(), paths(&["/a/c"]));
        assert!(watching.refusal().unwrap().contains("max_user_watches"));
        watching.retry();
        assert_eq!(watching.watched(), 2);
        script.set_limit(None);
        watching.retry();
        assert_eq!((watching.watched(), watching.total()), (4, 4));
        assert_eq!(watching.refusal(), None);
    }

    #[test]
    fn a_folder_that_goes_takes_those_below_it_along_and_no_others() {
        let script = FakeControl::default();
        let mut watching = watching(&script);
        watching.watch_missing(paths(&["/a", "/a/b", "/a/b/c", "/a/b-c", "/a/c"]));
        assert!(watching.forget(Path::new("/a/b")));
        assert!(!watching.forget(Path::new("/a/b")));
        let left = paths(&["/a", "/a/b-c", "/a/c"]);
        assert_eq!(watching.watched.iter().cloned().collect::<Vec<_>>(), left);
    }

    #[test]
    fn a_watcher_that_takes_too_long_in_one_turn_is_given_up() {
        let half = |watching: &mut Watching| {
            watching.record_latency(Instant::now().checked_sub(CALL_TIMEOUT / 2).unwrap(), 1);
        };
        let mut watching = watching(&FakeControl::default());
        half(&mut watching);
        assert!(!watching.end_turn());
        half(&mut watching);
        assert!(!watching.end_turn(), "each turn has its own time");
        (0..3).for_each(|_| half(&mut watching));
        assert!(watching.end_turn());
        assert!(!watching.watch_missing(paths(&["/a"])));
        watching.replace_watcher();
        assert!(!watching.end_turn() && watching.watch_missing(paths(&["/a"])));
    }

    #[test]
    fn without_a_watcher_everything_is_refused() {
        let mut watching = Watching::new(Box::new(|| Err(WatchError::InstanceLimit)));
        assert!(!watching.watch_missing(paths(&["/a"])));
        watching.watch("/b".into());
        assert_eq!((watching.watched(), watching.total()), (0, 2));
        assert!(watching.unavailable_reason().unwrap().contains("max_user_instances"));
    }
}

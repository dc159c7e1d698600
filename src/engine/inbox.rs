//! Messages to the engine: hints, results of file checks, commands. Other threads add them; the
//! engine thread takes all of them in each iteration. It handles none of them.
//!
//! # Bounds
//! Hints are coalesced by path. Above 65,536 paths of a project they collapse into one full rescan,
//! so a burst costs a rescan and not memory. Above 1,024 commands the sender gets [`Full`]. Results
//! are bounded by the checks that the engine has in flight.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::outbox::SinkCommand;
use super::pool::Done;
use super::run::{ITERATION_TIMEOUT, PROJECT_CHANGE_TIMEOUT, SYNC_TIMEOUT};
use super::view::SyncKind;
use crate::config::Config;
use crate::core::path::FeatureSlug;
use crate::core::sync::lock;
use crate::store::StoreError;
use crate::watch::{Hint, HintKind};

/// Maximum number of distinct pending paths per project; beyond it they collapse into one full
/// rescan.
const MAX_PENDING_PATHS: usize = 65_536;
/// Maximum number of pending commands; beyond it the sender gets [`Full`].
const MAX_PENDING_COMMANDS: usize = 1024;

/// Number of a watched project; numbers are not reused.
pub type ProjectId = usize;

/// A project could not be added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The root cannot be opened.
    #[error("cannot watch {path}", path = path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The project could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A project could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The project is listed in the configuration.
    #[error("cannot remove {}: it is listed in the configuration; remove it there", .0.display())]
    Configured(PathBuf),
    /// The removal could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A request to the engine.
#[derive(Debug)]
pub enum Command {
    /// Reply when every earlier change, of one feature or of all, has settled and is published.
    Sync {
        /// The feature; `None` for all features.
        feature: Option<(ProjectId, FeatureSlug)>,
        /// Receives how this was ensured.
        reply: oneshot::Sender<SyncKind>,
    },
    /// Rescan a feature, a project, or everything.
    Rescan {
        /// The project; `None` for all projects.
        project: Option<ProjectId>,
        /// The feature, in each of these projects; `None` for all features.
        feature: Option<FeatureSlug>,
        /// Notified when the rescan has started; use [`Command::Sync`] to wait for its end.
        reply: oneshot::Sender<()>,
    },
    /// Watch a project.
    AddProject {
        /// The root.
        root: PathBuf,
        /// True to store the project, so that it is watched after a restart, too.
        keep: bool,
        /// Receives its number. A project that is watched already keeps its number.
        reply: oneshot::Sender<Result<ProjectId, AddError>>,
    },
    /// Stop watching a project and remove its stored state.
    RemoveProject {
        /// The project.
        id: ProjectId,
        /// Notified when the project is removed.
        reply: oneshot::Sender<Result<(), RemoveError>>,
    },
    /// Apply a new configuration.
    Reload {
        /// The whole configuration.
        config: Box<Config>,
        /// Receives a description of each change.
        reply: oneshot::Sender<Vec<String>>,
    },
    /// Check that the event loop is running.
    Ping {
        /// Notified when the event loop handles the command.
        reply: oneshot::Sender<()>,
    },
    /// A command of a sink, or about one.
    Sink(SinkCommand),
    /// Commit pending changes, close the store and end the engine thread.
    Stop,
}

impl Command {
    /// Returns the timeout for a reply; after it the engine is considered hung.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        match self {
            Self::Sync { .. } => SYNC_TIMEOUT,
            // Handled within one iteration.
            Self::Rescan { .. } | Self::Ping { .. } | Self::Stop => ITERATION_TIMEOUT,
            // These list a whole project, delete one from the store, or sync the store to disk.
            Self::AddProject { .. }
            | Self::RemoveProject { .. }
            | Self::Reload { .. }
            | Self::Sink(_) => PROJECT_CHANGE_TIMEOUT,
        }
    }
}

/// As many commands are pending as the queue may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine's command queue is full; retry in 1 s")]
pub struct Full;

/// The queue of messages.
#[derive(Debug, Default)]
pub struct Inbox {
    letters: Mutex<Letters>,
    wake: Condvar,
}

/// The messages that arrived since the last iteration.
#[derive(Debug, Default)]
pub(super) struct Letters {
    pub(super) hints: HashMap<ProjectId, Hints>,
    pub(super) done: Vec<Done>,
    pub(super) commands: VecDeque<Command>,
    /// True if something was mounted or unmounted, or a parent directory of a root was moved.
    pub(super) mounts: bool,
    /// Results of writing snapshot files.
    pub(super) projected: Vec<Projected>,
    /// An error of another connection to the store.
    pub(super) store: Option<StoreError>,
}

/// The result of writing the snapshot file of a feature.
#[derive(Debug)]
pub(super) struct Projected {
    pub(super) root_id: String,
    pub(super) slug: FeatureSlug,
    /// Why the file could not be written; `None` if it was.
    pub(super) error: Option<String>,
}

/// Pending hints of one project.
#[derive(Debug, Default)]
pub(super) struct Hints {
    pub(super) at: HashMap<PathBuf, HintKind>,
    /// True if events were lost or the paths exceeded their maximum, so a rescan is needed.
    pub(super) lost: bool,
    /// The last error of the watcher.
    pub(super) failed: Option<String>,
}

impl Inbox {
    /// Adds a hint. Called on the watcher thread.
    pub fn hint(&self, project: ProjectId, hint: Hint) {
        let mut letters = self.lock();
        let hints = letters.hints.entry(project).or_default();
        match hint {
            Hint::At(..) if hints.lost => {}
            Hint::At(path, kind) => {
                if hints.at.len() >= MAX_PENDING_PATHS && !hints.at.contains_key(&path) {
                    hints.lost = true;
                    hints.at = HashMap::new();
                } else {
                    let known = hints.at.entry(path).or_insert(kind);
                    *known = merge(*known, kind);
                }
            }
            Hint::Overflow => hints.lost = true,
            Hint::Failed(error) => hints.failed = Some(error),
        }
        drop(letters);
        self.wake.notify_one();
    }

    /// Adds a command. [`Command::Stop`] is accepted even if the queue is full.
    ///
    /// # Errors
    /// [`Full`] if too many commands are pending.
    pub fn command(&self, command: Command) -> Result<(), Full> {
        let mut letters = self.lock();
        let is_stop = matches!(command, Command::Stop);
        if letters.commands.len() >= MAX_PENDING_COMMANDS && !is_stop {
            return Err(Full);
        }
        letters.commands.push_back(command);
        drop(letters);
        self.wake.notify_one();
        Ok(())
    }

    /// Reports a disk failure or a corrupt store.
    pub(super) fn store_failed(&self, error: StoreError) {
        self.lock().store = Some(error);
        self.wake.notify_one();
    }

    /// Reports a mount or unmount, or a move of a parent directory of a root.
    pub(super) fn mounts_changed(&self) {
        self.lock().mounts = true;
        self.wake.notify_one();
    }

    /// Reports the result of writing a snapshot file.
    pub(super) fn projected(&self, projected: Projected) {
        self.lock().projected.push(projected);
        self.wake.notify_one();
    }

    /// Reports the result of a file check.
    pub(super) fn done(&self, done: Done) {
        self.lock().done.push(done);
        self.wake.notify_one();
    }

    /// Waits for a message or until `until`, and takes all messages.
    pub(super) fn take(&self, until: Option<Instant>) -> Letters {
        let mut letters = self.lock();
        while letters.is_empty() {
            let Some(until) = until else {
                letters = self.wake.wait(letters).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                break;
            };
            let waited = self.wake.wait_timeout(letters, left);
            letters = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut letters)
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        lock(&self.letters)
    }
}

impl Letters {
    fn is_empty(&self) -> bool {
        self.hints.is_empty()
            && self.done.is_empty()
            && self.commands.is_empty()
            && !self.mounts
            && self.projected.is_empty()
            && self.store.is_none()
    }
}

/// Merges two consecutive hints about one path.
///
/// `DirCreated` is kept, because the directory has to be watched whatever followed; watching it
/// shows whether it still exists. `MovedTo` is kept over `Removed`, because inotify reports a
/// rename over an existing file before the removal of that file.
fn merge(known: HintKind, new: HintKind) -> HintKind {
    match (known, new) {
        (HintKind::DirCreated, _) => HintKind::DirCreated,
        (HintKind::MovedTo, HintKind::Removed) => HintKind::MovedTo,
        (_, new) => new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_coalesced_by_path_and_too_many_become_a_rescan() {
        let inbox = Inbox::default();
        for what in [HintKind::DirCreated, HintKind::Modified, HintKind::Removed] {
            inbox.hint(0, Hint::At("/a".into(), what));
        }
        let letters = inbox.take(None);
        assert_eq!(letters.hints[&0].at, HashMap::from([("/a".into(), HintKind::DirCreated)]));
        for number in 0..=MAX_PENDING_PATHS {
            inbox.hint(0, Hint::At(format!("/{number}").into(), HintKind::Modified));
        }
        let letters = inbox.take(None);
        assert!(letters.hints[&0].lost && letters.hints[&0].at.is_empty());
    }

    #[test]
    fn full_queue_refuses_commands_except_stop() {
        let inbox = Inbox::default();
        let rescan = || {
            let reply = oneshot::channel().0;
            Command::Rescan { project: None, feature: None, reply }
        };
        for _ in 0..MAX_PENDING_COMMANDS {
            inbox.command(rescan()).unwrap();
        }
        assert_eq!(inbox.command(rescan()), Err(Full));
        inbox.command(Command::Stop).unwrap();
        assert_eq!(inbox.take(None).commands.len(), MAX_PENDING_COMMANDS + 1);
    }

    #[test]
    fn take_returns_nothing_at_its_deadline() {
        let inbox = Inbox::default();
        assert!(inbox.take(Some(Instant::now())).is_empty());
    }
}

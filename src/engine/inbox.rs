//! What reaches the engine: hints, finished looks, commands.
//!
//! Hints are a set, not a queue: many about one path are one. Above 65,536 paths of a
//! project they collapse to "look everywhere", so a storm costs a rescan and no memory. Commands
//! are few; above 1,024 the sender is told to come again.

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

/// Most paths of a project that are kept apart.
const MAX_PENDING_PATHS: usize = 65_536;
/// Most commands that wait.
const MAX_PENDING_COMMANDS: usize = 1024;

/// Number of a project in the engine, for as long as it is watched.
pub type ProjectId = usize;

/// Why a project cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// Its root cannot be used.
    #[error("cannot watch {path}", path = path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It cannot be remembered.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a project cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The configuration names it.
    #[error("{} is named in the configuration; take it out there", .0.display())]
    Configured(PathBuf),
    /// That cannot be remembered.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What clients ask of the engine.
#[derive(Debug)]
pub enum Command {
    /// Answer when every change made before is seen and settled, of one feature or of all.
    Sync {
        /// Whose changes; `None` for all.
        feature: Option<(ProjectId, FeatureSlug)>,
        /// Where to answer.
        reply: oneshot::Sender<SyncKind>,
    },
    /// Compare with the disk: a feature, a project, or everything.
    Rescan {
        /// Only this project.
        project: Option<ProjectId>,
        /// Only features of that name.
        feature: Option<FeatureSlug>,
        /// Told when it has begun; [`Command::Sync`] waits for its end.
        reply: oneshot::Sender<()>,
    },
    /// Watch a project.
    AddProject {
        /// Its root.
        root: PathBuf,
        /// Also after a restart.
        keep: bool,
        /// Told its number; that of one that was watched already stays.
        reply: oneshot::Sender<Result<ProjectId, AddError>>,
    },
    /// Do not watch a project any more, and forget what is known of it.
    RemoveProject {
        /// Which.
        id: ProjectId,
        /// Told when that is done.
        reply: oneshot::Sender<Result<(), RemoveError>>,
    },
    /// Go on with another configuration.
    Reload {
        /// All of it.
        config: Box<Config>,
        /// Told what changed, in words.
        reply: oneshot::Sender<Vec<String>>,
    },
    /// Say that the loop turns.
    Ping {
        /// Told when the loop has come to it.
        reply: oneshot::Sender<()>,
    },
    /// Of a sink, or about one.
    Sink(SinkCommand),
    /// Commit, close and end.
    Stop,
}

impl Command {
    /// The longest that an engine that is well takes to answer it: one that has not by then hangs.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self {
            Self::Sync { .. } => SYNC_TIMEOUT,
            // Answered in the turn that they come in.
            Self::Rescan { .. } | Self::Ping { .. } | Self::Stop => ITERATION_TIMEOUT,
            // A whole project is listed, or all of one forgotten, and the store waits for the disk.
            Self::AddProject { .. }
            | Self::RemoveProject { .. }
            | Self::Reload { .. }
            | Self::Sink(_) => PROJECT_CHANGE_TIMEOUT,
        }
    }
}

/// Too many commands wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine has too much to do; ask again in a second")]
pub struct Full;

/// Where all of it is put.
#[derive(Debug, Default)]
pub struct Inbox {
    letters: Mutex<Letters>,
    wake: Condvar,
}

/// All that has come since the engine last looked.
#[derive(Debug, Default)]
pub(super) struct Letters {
    pub(super) hints: HashMap<ProjectId, Hints>,
    pub(super) done: Vec<Done>,
    pub(super) commands: VecDeque<Command>,
    /// Whether something was mounted or unmounted.
    pub(super) mounts: bool,
    /// How writing snapshot files went.
    pub(super) projected: Vec<Projected>,
    /// What another connection to the store met.
    pub(super) store: Option<StoreError>,
}

/// How the last try to write the snapshot file of a feature went.
#[derive(Debug)]
pub(super) struct Projected {
    pub(super) root_id: String,
    pub(super) slug: FeatureSlug,
    /// Why it could not be written, if so.
    pub(super) fault: Option<String>,
}

/// Hints of one project.
#[derive(Debug, Default)]
pub(super) struct Hints {
    pub(super) at: HashMap<PathBuf, HintKind>,
    pub(super) lost: bool,
    pub(super) failed: Option<String>,
}

impl Inbox {
    /// Takes a hint. Called on the watcher's thread.
    pub fn hint(&self, project: ProjectId, hint: Hint) {
        let mut letters = self.lock();
        let hints = letters.hints.entry(project).or_default();
        match hint {
            Hint::At(..) if hints.lost => {}
            Hint::At(path, what) => {
                if hints.at.len() >= MAX_PENDING_PATHS && !hints.at.contains_key(&path) {
                    hints.lost = true;
                    hints.at = HashMap::new();
                } else {
                    let known = hints.at.entry(path).or_insert(what);
                    *known = merge(*known, what);
                }
            }
            Hint::Overflow => hints.lost = true,
            Hint::Failed(why) => hints.failed = Some(why),
        }
        drop(letters);
        self.wake.notify_one();
    }

    /// Takes a command.
    ///
    /// # Errors
    /// [`Full`] when too many wait.
    pub fn command(&self, command: Command) -> Result<(), Full> {
        let mut letters = self.lock();
        let urgent = matches!(command, Command::Stop);
        if letters.commands.len() >= MAX_PENDING_COMMANDS && !urgent {
            return Err(Full);
        }
        letters.commands.push_back(command);
        drop(letters);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes that the disk failed the store.
    pub(super) fn store_failed(&self, error: StoreError) {
        self.lock().store = Some(error);
        self.wake.notify_one();
    }

    /// Takes that something was mounted or unmounted somewhere, or a directory above a root was moved.
    pub(super) fn mounts_changed(&self) {
        self.lock().mounts = true;
        self.wake.notify_one();
    }

    /// Takes how writing a snapshot file went.
    pub(super) fn projected(&self, projected: Projected) {
        self.lock().projected.push(projected);
        self.wake.notify_one();
    }

    pub(super) fn done(&self, done: Done) {
        self.lock().done.push(done);
        self.wake.notify_one();
    }

    /// Waits until something comes or `until` passes, and takes it all.
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

/// Two hints about one path, in order. A directory that was made must be watched whatever came after,
/// and looking at it tells whether it is still there; what arrived over something else comes before
/// the word that the other is gone.
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
    fn many_hints_about_one_path_are_one_and_a_storm_is_a_rescan() {
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
    fn commands_are_bounded_but_for_the_last() {
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
    fn waiting_ends_at_its_time() {
        let inbox = Inbox::default();
        assert!(inbox.take(Some(Instant::now())).is_empty());
    }
}

//! Messages to the engine: hints, results of helper threads, commands. Other threads add them; the
//! engine thread takes all of them in each iteration. It handles none of them.
//!
//! # Bounds
//! Hints are merged by path. Above 65,536 paths of a project they collapse into one full rescan, so
//! a burst costs a rescan and not memory. Above 1,024 commands the sender gets [`QueueFull`].
//! Results are bounded by the checks that the engine has in flight.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::command::Command;
use super::ids::ProjectId;
use super::messages::{EffectResult, FileResult, SnapshotWritten};
use crate::core::sync::lock;
use crate::store::StoreError;
use crate::watch::{Hint, HintKind};

/// Maximum number of distinct pending paths per project; beyond it they collapse into one full
/// rescan.
const MAX_PENDING_PATHS: usize = 65_536;
/// Maximum number of pending commands; beyond it the sender gets [`QueueFull`].
const MAX_PENDING_COMMANDS: usize = 1024;

/// As many commands are pending as the queue may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine's command queue is full; retry in 1 s")]
pub struct QueueFull;

/// The queue of messages from all threads to the engine thread.
#[derive(Debug, Default)]
pub struct Inbox {
    messages: Mutex<Messages>,
    wake: Condvar,
}

/// The messages that arrived since the last iteration.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) hints: HashMap<ProjectId, PendingHints>,
    pub(super) file_results: Vec<FileResult>,
    pub(super) effect_results: Vec<EffectResult>,
    pub(super) commands: VecDeque<Command>,
    /// True if something was mounted or unmounted, or a parent directory of a root was moved.
    pub(super) mounts_changed: bool,
    pub(super) snapshots_written: Vec<SnapshotWritten>,
    /// An error of another connection to the store.
    pub(super) store_error: Option<StoreError>,
    /// Why a helper thread ended that must not.
    pub(super) failed_thread: Option<String>,
}

/// Pending hints of one project.
#[derive(Debug, Default)]
pub(super) struct PendingHints {
    pub(super) paths: HashMap<PathBuf, HintKind>,
    /// True if events were lost or the paths exceeded their maximum, so a rescan is needed.
    pub(super) overflow: bool,
    /// The last error of the watcher.
    pub(super) failed: Option<String>,
}

impl Inbox {
    /// Adds a hint. Called on the watcher thread.
    pub fn hint(&self, project: ProjectId, hint: Hint) {
        let mut messages = self.lock();
        let is_first = !messages.hints.contains_key(&project);
        let pending = messages.hints.entry(project).or_default();
        match hint {
            Hint::At(..) if pending.overflow => {}
            Hint::At(path, kind) => {
                let is_full = pending.paths.len() >= MAX_PENDING_PATHS;
                if is_full && !pending.paths.contains_key(&path) {
                    pending.overflow = true;
                    pending.paths = HashMap::new();
                } else {
                    let known = pending.paths.entry(path).or_insert(kind);
                    *known = merge(*known, kind);
                }
            }
            Hint::Overflow => pending.overflow = true,
            Hint::Failed(error) => pending.failed = Some(error),
        }
        drop(messages);
        // Each call costs a system call, and hints arrive by the thousand.
        if is_first {
            self.wake.notify_one();
        }
    }

    /// Adds a command. [`Command::Stop`] is accepted even if the queue is full.
    ///
    /// # Errors
    /// [`QueueFull`] if too many commands are pending.
    pub fn command(&self, command: Command) -> Result<(), QueueFull> {
        let mut messages = self.lock();
        let is_stop = matches!(command, Command::Stop);
        if messages.commands.len() >= MAX_PENDING_COMMANDS && !is_stop {
            return Err(QueueFull);
        }
        messages.commands.push_back(command);
        drop(messages);
        self.wake.notify_one();
        Ok(())
    }

    /// Reports a mount or unmount, or a move of a parent directory of a root.
    pub(super) fn mounts_changed(&self) {
        self.add(|messages| messages.mounts_changed = true);
    }

    /// Reports a disk failure or a corrupt store.
    pub(super) fn store_failed(&self, error: StoreError) {
        self.add(|messages| messages.store_error = Some(error));
    }

    /// Reports that a thread ended that must not.
    pub(super) fn thread_failed(&self, name: &str, error: &io::Error) {
        self.add(|messages| messages.failed_thread = Some(format!("`{name}`: {error}")));
    }

    /// Reports the result of writing a snapshot file.
    pub(super) fn snapshot_written(&self, written: SnapshotWritten) {
        self.add(|messages| messages.snapshots_written.push(written));
    }

    /// Reports the result of a file check.
    pub(super) fn file_result(&self, result: FileResult) {
        self.add(|messages| messages.file_results.push(result));
    }

    /// Reports the result of an effect.
    pub(super) fn effect_result(&self, result: EffectResult) {
        self.add(|messages| messages.effect_results.push(result));
    }

    /// Waits for a message or until `until`, and takes all messages.
    pub(super) fn take(&self, until: Option<Instant>) -> Messages {
        let mut messages = self.lock();
        while messages.is_empty() {
            let Some(until) = until else {
                messages = self.wake.wait(messages).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                break;
            };
            let waited = self.wake.wait_timeout(messages, left);
            messages = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut messages)
    }

    fn add(&self, add: impl FnOnce(&mut Messages)) {
        add(&mut self.lock());
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Messages> {
        lock(&self.messages)
    }
}

impl Messages {
    fn is_empty(&self) -> bool {
        self.hints.is_empty()
            && self.file_results.is_empty()
            && self.effect_results.is_empty()
            && self.commands.is_empty()
            && !self.mounts_changed
            && self.snapshots_written.is_empty()
            && self.store_error.is_none()
            && self.failed_thread.is_none()
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
        (known, HintKind::Removed) if known.is_moved_to() => HintKind::MovedTo,
        (known, HintKind::Modified) if known.is_moved_to() => HintKind::MovedToModified,
        (_, new) => new,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn hints_about_one_path_merge_and_too_many_become_an_overflow() {
        let (inbox, id) = (Inbox::default(), ProjectId::FIRST);
        for kind in [HintKind::DirCreated, HintKind::Modified, HintKind::Removed] {
            inbox.hint(id, Hint::At("/a".into(), kind));
        }
        let messages = inbox.take(None);
        let merged = HashMap::from([("/a".into(), HintKind::DirCreated)]);
        assert_eq!(messages.hints[&id].paths, merged);
        for number in 0..=MAX_PENDING_PATHS {
            inbox.hint(id, Hint::At(format!("/{number}").into(), HintKind::Modified));
        }
        let messages = inbox.take(None);
        assert!(messages.hints[&id].overflow && messages.hints[&id].paths.is_empty());
    }

    #[test]
    fn commands_beyond_the_limit_are_rejected_but_for_stop() {
        let inbox = Inbox::default();
        let rescan = || {
            let reply = oneshot::channel().0;
            Command::Rescan { project: None, feature: None, reply }
        };
        for _ in 0..MAX_PENDING_COMMANDS {
            inbox.command(rescan()).unwrap();
        }
        assert_eq!(inbox.command(rescan()), Err(QueueFull));
        inbox.command(Command::Stop).unwrap();
        assert_eq!(inbox.take(None).commands.len(), MAX_PENDING_COMMANDS + 1);
    }

    #[test]
    fn take_returns_at_its_deadline() {
        let inbox = Inbox::default();
        assert!(inbox.take(Some(Instant::now())).is_empty());
    }
}

//! Messages to the engine: hints, results of helper threads, commands. Other threads add them; the
//! engine thread takes all of them in each iteration. It handles none of them.
//!
//! # Bounds
//! At most 128 hints of a project are taken at once, and a project that has many rests before the next
//! are, for 50 ms at most: others are served meanwhile, and more of its hints merge.
//!
//! Hints are merged by path. Above 65,536 paths of a project they collapse into one full rescan, so
//! a burst costs a rescan and not memory. Above 1,024 commands the sender gets [`QueueFull`].
//! Results are bounded by the checks that the engine has in flight.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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

/// A project whose hints have been taken rests for some time before the next ones are, so that one
/// that raises them all the time has them merged, and takes less of the time of others.
const REST_PER_HINT: Duration = Duration::from_micros(250);
const MAX_REST: Duration = Duration::from_millis(50);
/// Maximum number of paths of a project that are taken at once: others wait while they are handled.
const MAX_TAKEN_PATHS: usize = 128;
/// Rest of a project of which not all hints were taken.
const PARTIAL_REST: Duration = Duration::from_millis(1);
/// So many hints at once cause no rest: an edit is noticed at once, and so is the next one.
const HINTS_WITHOUT_REST: u32 = 16;

/// How long a result that is not urgent waits for others.
const DEFERRAL: Duration = Duration::from_millis(100);

/// How long the engine looks for a message that is awaited before it waits.
const MAX_POLL: Duration = Duration::from_micros(200);

/// The projects that rest, and until when. More hints of them may be pending.
#[derive(Debug, Default)]
pub(super) struct HintRests(HashMap<ProjectId, Instant>);

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
    /// By when the results that are not urgent are taken.
    deferred_until: Option<Instant>,
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
    /// Events were lost because of those of another project.
    pub(super) overflow_by_others: bool,
    /// The last error of the watcher.
    pub(super) failed: Option<String>,
    /// More paths are pending, so no sync cookie among these counts yet.
    pub(super) is_partial: bool,
}

impl PendingHints {
    /// Returns true if a few paths changed, and a file was closed, or moved to its place.
    pub(super) fn have_closed_file(&self) -> bool {
        let is_closed = |kind: &HintKind| matches!(kind, HintKind::CloseWrite | HintKind::MovedTo);
        self.paths.len() <= 2 && self.paths.values().any(is_closed)
    }

    /// Takes as many paths as are taken at once. The rest stays where it is: the threads that add to it wait
    /// meanwhile.
    fn take(&mut self) -> Self {
        if self.paths.len() <= MAX_TAKEN_PATHS {
            return std::mem::take(self);
        }
        Self {
            paths: self.paths.extract_if(|_, _| true).take(MAX_TAKEN_PATHS).collect(),
            overflow: std::mem::take(&mut self.overflow),
            overflow_by_others: std::mem::take(&mut self.overflow_by_others),
            failed: self.failed.take(),
            is_partial: true,
        }
    }
}

impl Inbox {
    /// Adds a hint. Called on the watcher thread.
    pub fn hint(&self, project: ProjectId, hint: Hint) {
        let mut messages = self.lock();
        let is_first = !messages.hints.contains_key(&project);
        let pending = messages.hints.entry(project).or_default();
        match hint {
            Hint::At(..) if pending.overflow || pending.overflow_by_others => {}
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
            Hint::OverflowByOthers => pending.overflow_by_others = true,
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

    /// Reports the result of an effect. One that is not urgent is taken with the next message, and with others
    /// that arrive soon after it.
    pub(super) fn effect_result(&self, result: EffectResult) {
        if result.event.is_urgent() {
            self.add(|messages| messages.effect_results.push(result));
            return;
        }
        let mut messages = self.lock();
        messages.effect_results.push(result);
        let is_first = messages.deferred_until.is_none();
        messages.deferred_until.get_or_insert_with(|| Instant::now() + DEFERRAL);
        drop(messages);
        if is_first {
            // It waits for a shorter time now.
            self.wake.notify_one();
        }
    }

    /// Returns true if hints are pending, maybe of a project that rests.
    pub(super) fn has_hints(&self) -> bool {
        !self.lock().hints.is_empty()
    }

    /// Waits for a message, the end of a rest, or until `until`, and takes all messages, except for
    /// hints of projects that rest. If a message is awaited, it does not wait for a moment.
    pub(super) fn take(
        &self,
        until: Option<Instant>,
        rests: &mut HintRests,
        is_awaited: bool,
    ) -> Messages {
        let mut messages = self.lock();
        let awaited_until = Instant::now() + if is_awaited { MAX_POLL } else { Duration::ZERO };
        loop {
            let now = Instant::now();
            if now < awaited_until && messages.is_empty_but_for(rests) {
                drop(messages);
                std::thread::yield_now();
                messages = self.lock();
                continue;
            }
            let rest_ended = rests.end(now);
            let deferred_until = messages.deferred_until;
            let is_due = deferred_until.is_some_and(|until| until <= now);
            if !messages.is_empty_but_for(rests) || rest_ended || is_due {
                break;
            }
            let others = rests.first_end().into_iter().chain(deferred_until);
            let Some(until) = until.into_iter().chain(others).min() else {
                messages = self.wake.wait(messages).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let Some(left) = until.checked_duration_since(now) else {
                break;
            };
            let waited = self.wake.wait_timeout(messages, left);
            messages = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut hints = std::mem::take(&mut messages.hints);
        let mut taken = std::mem::take(&mut *messages);
        hints.retain(|id, pending| {
            if rests.contains(*id) {
                return true;
            }
            let part = pending.take();
            rests.begin(*id, &part, Instant::now());
            taken.hints.insert(*id, part);
            !pending.paths.is_empty()
        });
        messages.hints = hints;
        taken
    }

    fn add(&self, add: impl FnOnce(&mut Messages)) {
        add(&mut self.lock());
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Messages> {
        lock(&self.messages)
    }
}

impl HintRests {
    /// Lets a project rest whose hints were taken.
    fn begin(&mut self, project: ProjectId, taken: &PendingHints, now: Instant) {
        let hints = u32::try_from(taken.paths.len()).unwrap_or(u32::MAX);
        if taken.is_partial {
            self.0.insert(project, now + PARTIAL_REST);
        } else if hints > HINTS_WITHOUT_REST {
            let rest = REST_PER_HINT.saturating_mul(hints).min(MAX_REST);
            self.0.insert(project, now + rest);
        }
    }

    /// Ends the rests that are over. Returns true if there was one.
    fn end(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|_, until| *until > now);
        self.0.len() != before
    }

    pub(super) fn contains(&self, project: ProjectId) -> bool {
        self.0.contains_key(&project)
    }

    fn first_end(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }
}

impl Messages {
    fn is_empty_but_for(&self, rests: &HintRests) -> bool {
        self.hints.keys().all(|id| rests.contains(*id))
            && self.file_results.is_empty()
            && !self.effect_results.iter().any(|result| result.event.is_urgent())
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
/// rename over an existing file before the removal of that file. What follows a removal is another file,
/// as after a rename.
fn merge(known: HintKind, new: HintKind) -> HintKind {
    match (known, new) {
        (HintKind::DirCreated, _) => HintKind::DirCreated,
        (known, HintKind::Removed) if known.is_moved_to() => HintKind::MovedTo,
        (known, HintKind::Modified) if known.is_moved_to() => HintKind::MovedToModified,
        (known, HintKind::CloseWrite) if known.is_moved_to() => HintKind::MovedTo,
        (HintKind::Removed, HintKind::Modified) => HintKind::MovedToModified,
        (HintKind::Removed, HintKind::CloseWrite) => HintKind::MovedTo,
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
        let messages = inbox.take(None, &mut HintRests::default(), false);
        let merged = HashMap::from([("/a".into(), HintKind::DirCreated)]);
        assert_eq!(messages.hints[&id].paths, merged);
        for (known, new, merged) in [
            (HintKind::Removed, HintKind::Modified, HintKind::MovedToModified),
            (HintKind::Removed, HintKind::CloseWrite, HintKind::MovedTo),
            (HintKind::MovedTo, HintKind::Removed, HintKind::MovedTo),
            (HintKind::MovedToModified, HintKind::CloseWrite, HintKind::MovedTo),
            (HintKind::Modified, HintKind::CloseWrite, HintKind::CloseWrite),
            (HintKind::CloseWrite, HintKind::Removed, HintKind::Removed),
        ] {
            assert_eq!(merge(known, new), merged, "{known:?}, {new:?}");
        }
        for number in 0..=MAX_PENDING_PATHS {
            inbox.hint(id, Hint::At(format!("/{number}").into(), HintKind::Modified));
        }
        let messages = inbox.take(None, &mut HintRests::default(), false);
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
        assert_eq!(
            inbox.take(None, &mut HintRests::default(), false).commands.len(),
            MAX_PENDING_COMMANDS + 1
        );
    }

    #[test]
    fn take_returns_at_its_deadline() {
        let inbox = Inbox::default();
        let messages = inbox.take(Some(Instant::now()), &mut HintRests::default(), false);
        assert!(messages.is_empty_but_for(&HintRests::default()));
    }

    #[test]
    fn results_that_are_not_urgent_are_taken_in_time() {
        let inbox = Inbox::default();
        let until = Instant::now() + Duration::from_millis(20);
        inbox.lock().deferred_until = Some(until);
        assert!(inbox.lock().is_empty_but_for(&HintRests::default()));
        let messages = inbox.take(None, &mut HintRests::default(), false);
        assert!(Instant::now() >= until && messages.deferred_until.is_some());
        assert_eq!(inbox.lock().deferred_until, None, "they are taken once");
    }

    #[test]
    fn project_with_many_hints_rests_while_others_are_served() {
        let (inbox, busy, mut rests) = (Inbox::default(), ProjectId::FIRST, HintRests::default());
        let other = busy.next();
        let hint = |id, path: &str| inbox.hint(id, Hint::At(path.into(), HintKind::Modified));
        let now = Instant::now();
        let taken = |count: usize| PendingHints {
            paths: (0..count).map(|n| (format!("/{n}").into(), HintKind::Modified)).collect(),
            ..PendingHints::default()
        };
        rests.begin(busy, &taken(16), now);
        assert!(!rests.contains(busy), "few hints cause no rest");
        rests.begin(busy, &taken(17), now + Duration::from_mins(1));
        hint(busy, "/a");
        assert!(inbox.take(Some(now), &mut rests, false).hints.is_empty());
        hint(other, "/b");
        let taken = inbox.take(None, &mut rests, false).hints;
        assert_eq!(taken.keys().collect::<Vec<_>>(), [&other]);
        hint(busy, "/c");
        rests.end(now + Duration::from_mins(2));
        assert_eq!(inbox.take(None, &mut rests, false).hints[&busy].paths.len(), 2, "none is lost");
        for number in 0..=MAX_TAKEN_PATHS {
            hint(busy, &format!("/{number}"));
        }
        for (count, is_partial) in [(MAX_TAKEN_PATHS, true), (1, false)] {
            let taken = inbox.take(None, &mut rests, false).hints.remove(&busy).unwrap();
            assert_eq!((taken.paths.len(), taken.is_partial), (count, is_partial));
        }
    }
}

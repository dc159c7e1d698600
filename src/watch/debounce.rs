//! When a hint counts (contract, section 5, "Settling").
//!
//! Pure: times come in as durations since some start. A closed write to, or a rename over, a path
//! that is indexed counts at once; a path that is not counts when nothing has happened to it for a
//! while, however it came; a file still being written when it rests, but not later than a maximum;
//! one that vanished after a pause in which it may come back. A path that comes and goes before it
//! counted leaves no trace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::path::RelPath;
use crate::watch::HintKind;

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebounceTimes {
    /// For a path that is not indexed, without an event on it.
    pub new_file_delay: Duration,
    /// For an indexed file that is being written, without an event on it.
    pub quiet_period: Duration,
    /// For an indexed file that is being written, at most.
    pub max_wait: Duration,
    /// For a path that vanished.
    pub deletion_grace: Duration,
    /// Longest wait for git to be done with a work tree.
    pub git_lock_timeout: Duration,
}

impl Default for DebounceTimes {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            new_file_delay: ms(50),
            quiet_period: ms(50),
            max_wait: ms(500),
            deletion_grace: ms(100),
            git_lock_timeout: ms(2000),
        }
    }
}

/// The paths of a feature that have not counted yet.
#[derive(Debug, Default)]
pub struct Debouncer {
    times: DebounceTimes,
    /// Ordered, as is all that is large for a moment: a hash table would keep its room.
    pending: BTreeMap<RelPath, PendingPath>,
    /// The same by when they count.
    due_queue: BTreeSet<(Duration, RelPath)>,
}

#[derive(Debug, Clone, Copy)]
struct PendingPath {
    due: Duration,
    /// When the write that is waited for was first seen.
    write_started_at: Option<Duration>,
}

impl Debouncer {
    /// With these times.
    #[must_use]
    pub fn new(times: DebounceTimes) -> Self {
        Self { times, ..Self::default() }
    }

    /// Takes a hint about a path that is indexed or not.
    pub fn on_hint(&mut self, path: &RelPath, kind: HintKind, indexed: bool, now: Duration) {
        let previous = self.pending.get(path).copied();
        let mut write_started_at = None;
        let due = match (kind, indexed) {
            (HintKind::Removed, true) => now + self.times.deletion_grace,
            (HintKind::CloseWrite | HintKind::MovedTo, true) => now,
            (HintKind::Modified | HintKind::DirCreated, true) => {
                let started_at =
                    previous.and_then(|pending| pending.write_started_at).unwrap_or(now);
                write_started_at = Some(started_at);
                (now + self.times.quiet_period).min(started_at + self.times.max_wait)
            }
            // Also one that was removed: the kernel's word may be about what lay there before.
            (_, false) => now + self.times.new_file_delay,
        };
        self.insert(path, PendingPath { due, write_started_at });
    }

    /// Looks at a path again at `due`, whatever happens to it.
    pub fn schedule_at(&mut self, path: &RelPath, due: Duration) {
        self.insert(path, PendingPath { due, write_started_at: None });
    }

    /// Whether a path waits to count.
    #[must_use]
    pub fn is_pending(&self, path: &RelPath) -> bool {
        self.pending.contains_key(path)
    }

    /// Forgets a path.
    pub fn remove(&mut self, path: &RelPath) {
        if let Some(pending) = self.pending.remove(path) {
            self.due_queue.remove(&(pending.due, path.clone()));
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.due_queue.clear();
    }

    /// Takes out what counts by `now`.
    pub fn take_due(&mut self, now: Duration) -> Vec<RelPath> {
        let mut due = Vec::new();
        while let Some((at, _)) = self.due_queue.first()
            && *at <= now
            && let Some((_, path)) = self.due_queue.pop_first()
        {
            self.pending.remove(&path);
            due.push(path);
        }
        due
    }

    /// When the next path counts.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.due_queue.first().map(|(due, _)| *due)
    }

    /// Whether nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    fn insert(&mut self, path: &RelPath, pending: PendingPath) {
        self.remove(path);
        self.due_queue.insert((pending.due, path.clone()));
        self.pending.insert(path.clone(), pending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Hints `(at, what, indexed)` about one path, and when it counts.
    fn due_at(hints: &[(u64, HintKind, bool)]) -> u64 {
        let path = RelPath::new(&b"spec.md"[..]).unwrap();
        let mut debouncer = Debouncer::default();
        for (at, kind, indexed) in hints {
            debouncer.on_hint(&path, *kind, *indexed, ms(*at));
        }
        let due = debouncer.next_due().unwrap();
        if let Some(before) = due.checked_sub(ms(1)) {
            assert!(debouncer.take_due(before).is_empty());
        }
        assert_eq!(debouncer.take_due(due), [path]);
        assert!(debouncer.is_empty());
        u64::try_from(due.as_millis()).unwrap()
    }

    #[test]
    fn hint_is_due_after_the_delay_of_its_kind() {
        use HintKind::{CloseWrite, DirCreated, Modified, MovedTo, Removed};
        for (hints, at) in [
            (vec![(7, CloseWrite, true)], 7),
            (vec![(7, MovedTo, true)], 7),
            (vec![(0, Modified, true)], 50),
            (vec![(0, Modified, true), (40, Modified, true)], 90),
            (vec![(0, Modified, true), (5, CloseWrite, true)], 5),
            (vec![(0, CloseWrite, false)], 50),
            (vec![(0, MovedTo, false), (30, Modified, false)], 80),
            (vec![(0, DirCreated, false)], 50),
            (vec![(0, Removed, true)], 100),
            (vec![(0, Removed, true), (20, MovedTo, true)], 20),
            (vec![(0, Removed, true), (20, Modified, true)], 70),
            (vec![(0, Modified, false), (10, Removed, false)], 60),
        ] {
            assert_eq!(due_at(&hints), at, "{hints:?}");
        }
    }

    #[test]
    fn file_written_continuously_is_due_at_max_wait() {
        let hints: Vec<(u64, HintKind, bool)> =
            (0..=48).map(|step| (step * 10, HintKind::Modified, true)).collect();
        assert_eq!(due_at(&hints), 500);
    }
}

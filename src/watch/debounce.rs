//! Debounces hints per path: decides when a hint takes effect (`docs/specification.md#settling`).
//!
//! Pure: times are durations since a common start. A file that is created and deleted within the
//! debounce time produces no event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::path::RelPath;
use crate::watch::HintKind;

/// Debounce times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebounceTimes {
    /// Wait after the last event of a path that is not indexed.
    pub new_file_delay: Duration,
    /// Wait after the last event of an indexed file that is being written.
    pub quiet_period: Duration,
    /// Maximum wait after the first write to an indexed file, however many writes follow.
    pub max_wait: Duration,
    /// Wait after the removal of an indexed path, in which it may be created again.
    pub deletion_grace: Duration,
    /// Maximum wait for git to release the lock of a work tree.
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

/// The paths of a feature whose hints have not taken effect yet.
#[derive(Debug, Default)]
pub struct Debouncer {
    times: DebounceTimes,
    /// A `BTreeMap`, since a hash table would keep the memory of its largest size.
    pending: BTreeMap<RelPath, PendingPath>,
    /// The same paths, ordered by due time.
    due_queue: BTreeSet<(Duration, RelPath)>,
}

#[derive(Debug, Clone, Copy)]
struct PendingPath {
    due: Duration,
    /// Time of the first hint about the write in progress, if there is one.
    write_started_at: Option<Duration>,
}

impl Debouncer {
    /// Creates a debouncer without pending paths.
    #[must_use]
    pub fn new(times: DebounceTimes) -> Self {
        Self { times, ..Self::default() }
    }

    /// Records a hint about a path; `indexed` is true if the path is in the index.
    pub fn on_hint(&mut self, path: &RelPath, kind: HintKind, indexed: bool, now: Duration) {
        let previous = self.pending.get(path).copied();
        let mut write_started_at = None;
        let due = match (kind, indexed) {
            (HintKind::Removed, true) => now + self.times.deletion_grace,
            (HintKind::CloseWrite | HintKind::MovedTo, true) => now,
            (HintKind::Modified | HintKind::MovedToModified | HintKind::DirCreated, true) => {
                let started_at =
                    previous.and_then(|pending| pending.write_started_at).unwrap_or(now);
                write_started_at = Some(started_at);
                (now + self.times.quiet_period).min(started_at + self.times.max_wait)
            }
            // Also for a removal: the hint may be about an earlier file at this path.
            (_, false) => now + self.times.new_file_delay,
        };
        self.insert(path, PendingPath { due, write_started_at });
    }

    /// Schedules a check of `path` at `due`, replacing its pending hint. A later hint replaces it
    /// in turn.
    pub fn schedule_at(&mut self, path: &RelPath, due: Duration) {
        self.insert(path, PendingPath { due, write_started_at: None });
    }

    /// Returns true if a hint about `path` has not taken effect yet.
    #[must_use]
    pub fn is_pending(&self, path: &RelPath) -> bool {
        self.pending.contains_key(path)
    }

    /// Removes the pending hint about `path`.
    pub fn remove(&mut self, path: &RelPath) {
        if let Some(pending) = self.pending.remove(path) {
            self.due_queue.remove(&(pending.due, path.clone()));
        }
    }

    /// Removes all pending hints.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.due_queue.clear();
    }

    /// Removes and returns the paths that are due by `now`, the earliest first.
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

    /// Returns when the next path is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.due_queue.first().map(|(due, _)| *due)
    }

    /// Returns true if no path is pending.
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

    /// Sends hints `(at, kind, indexed)` about one path; returns when the path is due.
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

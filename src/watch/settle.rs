//! When a hint counts (contract, section 5, "Settling").
//!
//! Pure: times come in as durations since some start. A closed write to, or a rename over, a path
//! that is indexed counts at once; a path that is not counts when nothing has happened to it for a
//! while, however it came; a file still being written when it rests, but not later than a maximum;
//! one that vanished after a pause in which it may come back. A path that comes and goes before it
//! counted leaves no trace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::What;
use crate::core::path::RelPath;

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettleTimes {
    /// For a path that is not indexed, without an event on it.
    pub appear: Duration,
    /// For an indexed file that is being written, without an event on it.
    pub quiet: Duration,
    /// For an indexed file that is being written, at most.
    pub max: Duration,
    /// For a path that vanished.
    pub vanish: Duration,
    /// Longest wait for git to be done with a work tree.
    pub git: Duration,
}

impl Default for SettleTimes {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self { appear: ms(50), quiet: ms(50), max: ms(500), vanish: ms(100), git: ms(2000) }
    }
}

/// The paths of a feature that have not counted yet.
#[derive(Debug, Default)]
pub struct Settle {
    times: SettleTimes,
    /// Ordered, as is all that is large for a moment: a hash table would keep its room.
    waiting: BTreeMap<RelPath, Waiting>,
    /// The same by when they count.
    queue: BTreeSet<(Duration, RelPath)>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    due: Duration,
    /// When the write that is waited for was first seen.
    writing_since: Option<Duration>,
}

impl Settle {
    /// With these times.
    #[must_use]
    pub fn new(times: SettleTimes) -> Self {
        Self { times, ..Self::default() }
    }

    /// Takes a hint about a path that is indexed or not.
    pub fn hint(&mut self, path: &RelPath, what: What, indexed: bool, now: Duration) {
        let before = self.waiting.get(path).copied();
        let mut writing_since = None;
        let due = match (what, indexed) {
            (What::Removed, true) => now + self.times.vanish,
            (What::Closed | What::Arrived, true) => now,
            (What::Touched | What::Folder, true) => {
                let since = before.and_then(|waiting| waiting.writing_since).unwrap_or(now);
                writing_since = Some(since);
                (now + self.times.quiet).min(since + self.times.max)
            }
            // Also one that was removed: the kernel's word may be about what lay there before.
            (_, false) => now + self.times.appear,
        };
        self.put(path, Waiting { due, writing_since });
    }

    /// Looks at a path again at `due`, whatever happens to it.
    pub fn again(&mut self, path: &RelPath, due: Duration) {
        self.put(path, Waiting { due, writing_since: None });
    }

    /// Whether a path waits to count.
    #[must_use]
    pub fn awaits(&self, path: &RelPath) -> bool {
        self.waiting.contains_key(path)
    }

    /// Forgets a path.
    pub fn forget(&mut self, path: &RelPath) {
        if let Some(waiting) = self.waiting.remove(path) {
            self.queue.remove(&(waiting.due, path.clone()));
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.queue.clear();
    }

    /// Takes out what counts by `now`.
    pub fn take_due(&mut self, now: Duration) -> Vec<RelPath> {
        let mut due = Vec::new();
        while let Some((at, _)) = self.queue.first()
            && *at <= now
            && let Some((_, path)) = self.queue.pop_first()
        {
            self.waiting.remove(&path);
            due.push(path);
        }
        due
    }

    /// When the next path counts.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// Whether nothing is waiting.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    fn put(&mut self, path: &RelPath, waiting: Waiting) {
        self.forget(path);
        self.queue.insert((waiting.due, path.clone()));
        self.waiting.insert(path.clone(), waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Hints `(at, what, indexed)` about one path, and when it counts.
    fn counts_at(hints: &[(u64, What, bool)]) -> u64 {
        let path = RelPath::new(&b"spec.md"[..]).unwrap();
        let mut settle = Settle::default();
        for (at, what, indexed) in hints {
            settle.hint(&path, *what, *indexed, ms(*at));
        }
        let due = settle.next_due().unwrap();
        if let Some(before) = due.checked_sub(ms(1)) {
            assert!(settle.take_due(before).is_empty());
        }
        assert_eq!(settle.take_due(due), [path]);
        assert!(settle.is_settled());
        u64::try_from(due.as_millis()).unwrap()
    }

    #[test]
    fn rules() {
        use What::{Arrived, Closed, Folder, Removed, Touched};
        for (hints, at) in [
            (vec![(7, Closed, true)], 7),
            (vec![(7, Arrived, true)], 7),
            (vec![(0, Touched, true)], 50),
            (vec![(0, Touched, true), (40, Touched, true)], 90),
            (vec![(0, Touched, true), (5, Closed, true)], 5),
            (vec![(0, Closed, false)], 50),
            (vec![(0, Arrived, false), (30, Touched, false)], 80),
            (vec![(0, Folder, false)], 50),
            (vec![(0, Removed, true)], 100),
            (vec![(0, Removed, true), (20, Arrived, true)], 20),
            (vec![(0, Removed, true), (20, Touched, true)], 70),
            (vec![(0, Touched, false), (10, Removed, false)], 60),
        ] {
            assert_eq!(counts_at(&hints), at, "{hints:?}");
        }
    }

    #[test]
    fn a_file_that_is_written_without_end_counts_at_the_maximum() {
        let hints: Vec<(u64, What, bool)> =
            (0..=48).map(|step| (step * 10, What::Touched, true)).collect();
        assert_eq!(counts_at(&hints), 500);
    }
}

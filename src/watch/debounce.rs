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
    /// Files that were read a short time ago and had changed.
    pauses: BTreeMap<RelPath, ReadPause>,
    /// Number of pending paths that wait for the end of a pause.
    paused: usize,
    /// Number of pauses at which those that are over are dropped next.
    max_pauses: usize,
}

/// Minimum pause after a read that found new bytes, and its length as a multiple of what the read
/// cost: a file that keeps changing takes a fiftieth of a core. For n of them in a project it is n² times as long,
/// so that all of them take less than one does: their events cost time as well.
const MIN_READ_PAUSE: Duration = Duration::from_millis(500);
const MAX_READ_PAUSE: Duration = Duration::from_mins(1);
const PAUSE_PER_COST: u32 = 50;
/// A read that costs less is worth it whenever the file has been quiet.
const CHEAP_READ: Duration = Duration::from_millis(1);
/// A read that takes less is made when a client asks.
const SHORT_READ: Duration = Duration::from_secs(1);
/// Minimum number of pauses at which those that are over are dropped. It grows with the number that is left,
/// so that a burst does not examine all of them for each.
const MIN_DROPPED_PAUSES: usize = 64;

/// What a read of a file that keeps changing has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadCost {
    /// The time that it took.
    pub time: Duration,
    /// The number of such files, this one included, that share the time for reading them.
    pub sharing: u32,
}

impl ReadCost {
    /// Returns the cost of a read that took `time`, while `others()` other files wait whose reads are not cheap.
    /// One that is cheap shares with none.
    #[must_use]
    pub fn new(time: Duration, others: impl FnOnce() -> usize) -> Self {
        let mut cost = Self { time, sharing: 1 };
        if !cost.is_cheap() {
            cost.sharing += u32::try_from(others()).unwrap_or(u32::MAX - 1);
        }
        cost
    }

    /// Returns true if it is worth it whenever the file has been quiet.
    #[must_use]
    pub fn is_cheap(self) -> bool {
        self.time < CHEAP_READ
    }
}

/// The pause between reads of a file that keeps changing.
#[derive(Debug, Clone, Copy)]
struct ReadPause {
    until: Duration,
    /// Time that the last read took.
    cost: Duration,
    /// When a closed write or a rename last ended it.
    ended_at: Option<Duration>,
}

impl ReadPause {
    /// Returns true if a closed write or a rename may end the pause.
    fn may_end(&self, now: Duration) -> bool {
        let next = self.ended_at.map(|at| at + self.cost.saturating_mul(PAUSE_PER_COST));
        next.is_none_or(|next| next <= now)
    }
}

#[derive(Debug, Clone, Copy)]
struct PendingPath {
    due: Duration,
    /// Time of the first hint about the write in progress, if there is one.
    write_started_at: Option<Duration>,
    /// It is due when the pause of a file ends whose reads are not cheap.
    is_paused: bool,
}

impl PendingPath {
    fn new(due: Duration, write_started_at: Option<Duration>) -> Self {
        Self { due, write_started_at, is_paused: false }
    }
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
        let pause = self.pauses.get(path).copied().filter(|pause| pause.until > now);
        let quiet = now + self.times.quiet_period;
        let mut write_started_at = None;
        let due = match (kind, indexed) {
            (HintKind::Removed, true) => now + self.times.deletion_grace,
            (HintKind::CloseWrite | HintKind::MovedTo, true) => match pause {
                Some(pause) if !pause.may_end(now) => pause.until,
                Some(pause) => {
                    self.pauses.insert(path.clone(), ReadPause { ended_at: Some(now), ..pause });
                    now
                }
                None => now,
            },
            (HintKind::Modified | HintKind::MovedToModified | HintKind::DirCreated, true) => {
                let started_at =
                    previous.and_then(|pending| pending.write_started_at).unwrap_or(now);
                write_started_at = Some(started_at);
                let latest = started_at + self.times.max_wait;
                match pause {
                    Some(pause) if pause.cost < CHEAP_READ => quiet.min(latest.max(pause.until)),
                    Some(pause) => quiet.min(latest).max(pause.until),
                    None => quiet.min(latest),
                }
            }
            // Also for a removal: the hint may be about an earlier file at this path.
            (kind, false) => {
                // A temporary name that is used again and again is another file each time.
                let is_same_file = kind != HintKind::Removed && !kind.is_moved_to();
                let previous = previous.filter(|_| is_same_file);
                let started_at =
                    previous.and_then(|pending| pending.write_started_at).unwrap_or(now);
                write_started_at = Some(started_at);
                let due = (now + self.times.new_file_delay).min(started_at + self.times.max_wait);
                due.max(pause.map_or(Duration::ZERO, |pause| pause.until))
            }
        };
        self.insert(path, PendingPath::new(due, write_started_at));
    }

    /// Records that a read of `path` found new bytes, or that the file changed meanwhile. Returns the pause until
    /// the next read.
    pub fn pause_reads(&mut self, path: &RelPath, cost: ReadCost, now: Duration) -> Duration {
        if self.pauses.len() >= self.max_pauses {
            self.pauses.retain(|_, pause| pause.until > now);
            self.max_pauses = MIN_DROPPED_PAUSES.max(2 * self.pauses.len());
        }
        let ReadCost { time: cost, sharing } = cost;
        let per_cost = sharing.saturating_mul(sharing).saturating_mul(PAUSE_PER_COST);
        let length = cost.saturating_mul(per_cost);
        let length = length.clamp(MIN_READ_PAUSE, MAX_READ_PAUSE);
        let ended_at = self.pauses.get(path).and_then(|pause| pause.ended_at);
        let until = now + length;
        self.pauses.insert(path.clone(), ReadPause { until, cost, ended_at });
        // A write that began meanwhile waits as well, unless its end has been reported.
        let pending = self.pending.get(path).copied();
        if let Some(pending) = pending.filter(|one| one.write_started_at.is_some())
            && cost >= CHEAP_READ
        {
            self.insert(path, PendingPath { due: pending.due.max(until), ..pending });
        }
        length
    }

    /// Returns until when a file pauses whose read is not cheap.
    #[must_use]
    pub fn costly_pause(&self, path: &RelPath, now: Duration) -> Option<Duration> {
        let pause = self.pauses.get(path).filter(|pause| pause.until > now);
        pause.filter(|pause| pause.cost >= CHEAP_READ).map(|pause| pause.until)
    }

    /// Returns the number of files that have changed again, and wait for the end of their pause because reading them is
    /// not cheap.
    #[must_use]
    pub fn paused(&self) -> usize {
        self.paused
    }

    /// Frees the memory of what is done, except for pauses of files whose reads are not cheap: a log that
    /// grows slowly is at rest between two lines.
    #[must_use]
    pub fn rest(self) -> Self {
        let pauses = self.pauses.into_iter().filter(|(_, pause)| pause.cost >= CHEAP_READ);
        Self { times: self.times, pauses: pauses.collect(), ..Self::default() }
    }

    /// Has the files read now that would wait longer than others, and are read in less than a second.
    pub fn end_short_pauses(&mut self, now: Duration) {
        let soon = now + self.times.max_wait;
        let waits = |path: &RelPath| self.pending.get(path).is_some_and(|one| one.due > soon);
        let short = self.pauses.iter().filter(|(_, pause)| pause.cost < SHORT_READ);
        let short: Vec<RelPath> =
            short.map(|(path, _)| path).filter(|path| waits(path)).cloned().collect();
        for path in short {
            self.schedule_at(&path, now);
        }
    }

    /// Schedules a check of `path` at `due`, replacing its pending hint. A later hint replaces it
    /// in turn.
    pub fn schedule_at(&mut self, path: &RelPath, due: Duration) {
        self.insert(path, PendingPath::new(due, None));
    }

    /// Returns true if a hint about `path` has not taken effect yet.
    #[must_use]
    pub fn is_pending(&self, path: &RelPath) -> bool {
        self.pending.contains_key(path)
    }

    /// Returns the paths with a hint that has not taken effect yet.
    pub fn pending_paths(&self) -> impl Iterator<Item = &RelPath> {
        self.pending.keys()
    }

    /// Returns true if a hint about `path` has not taken effect yet, or its next read waits because it keeps
    /// changing.
    #[must_use]
    pub fn is_restless(&self, path: &RelPath) -> bool {
        self.is_pending(path) || self.pauses.contains_key(path)
    }

    /// Removes the pending hint about `path`.
    pub fn remove(&mut self, path: &RelPath) {
        if let Some(pending) = self.pending.remove(path) {
            self.paused -= usize::from(pending.is_paused);
            self.due_queue.remove(&(pending.due, path.clone()));
        }
    }

    /// Removes all pending hints.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.paused = 0;
        self.due_queue.clear();
        self.pauses.clear();
    }

    /// Removes and returns the paths that are due by `now`, the earliest first.
    pub fn take_due(&mut self, now: Duration) -> Vec<RelPath> {
        let mut due = Vec::new();
        while let Some((at, path)) = self.due_queue.first().cloned()
            && at <= now
        {
            self.remove(&path);
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

    fn insert(&mut self, path: &RelPath, mut pending: PendingPath) {
        self.remove(path);
        let pause = self.pauses.get(path).filter(|pause| pause.cost >= CHEAP_READ);
        pending.is_paused = pause.is_some_and(|pause| pause.until == pending.due);
        self.paused += usize::from(pending.is_paused);
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

    fn alone(time: Duration) -> ReadCost {
        ReadCost::new(time, || 0)
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
        for indexed in [true, false] {
            let hints: Vec<(u64, HintKind, bool)> =
                (0..=48).map(|step| (step * 10, HintKind::Modified, indexed)).collect();
            assert_eq!(due_at(&hints), 500, "indexed: {indexed}");
        }
    }

    #[test]
    fn temporary_name_that_is_used_again_and_again_is_never_due() {
        let path = RelPath::new(&b"spec.md.new"[..]).unwrap();
        for removal in [HintKind::Removed, HintKind::MovedTo, HintKind::MovedToModified] {
            let mut debouncer = Debouncer::default();
            for now in (0..2_000).step_by(40) {
                for kind in [HintKind::Modified, HintKind::CloseWrite, removal] {
                    debouncer.on_hint(&path, kind, false, ms(now));
                }
                assert!(debouncer.take_due(ms(now + 39)).is_empty(), "{removal:?} at {now}");
            }
        }
    }

    #[test]
    fn reads_of_a_file_that_keeps_changing_pause_in_proportion_to_their_cost() {
        use HintKind::{CloseWrite, Modified, MovedTo};
        // The cost of a read at 0 ms that found new bytes, in microseconds; hints, in milliseconds;
        // when the file is read again.
        for (cost_us, hints, at) in [
            (100, vec![(10, Modified)], 60),
            (100, vec![(10, Modified), (40, Modified)], 90),
            (100, (1..=60).map(|step| (step * 10, Modified)).collect(), 510),
            (999, vec![(10, Modified)], 60),
            (1_000, vec![(10, Modified)], 500),
            (20_000, vec![(10, Modified)], 1_000),
            (20_000, vec![(990, Modified)], 1_040),
            (2_000_000, vec![(10, Modified)], 60_000),
            (20_000, vec![(1_010, Modified)], 1_060),
            // A closed write or a rename ends the pause, but not one after the other.
            (20_000, vec![(10, CloseWrite)], 10),
            (20_000, vec![(10, MovedTo)], 10),
        ] {
            let path = RelPath::new(&b"log.md"[..]).unwrap();
            let mut debouncer = Debouncer::default();
            debouncer.pause_reads(&path, alone(Duration::from_micros(cost_us)), ms(0));
            for (at, kind) in &hints {
                debouncer.on_hint(&path, *kind, true, ms(*at));
            }
            assert_eq!(debouncer.next_due(), Some(ms(at)), "{cost_us} us, {hints:?}");
        }
    }

    #[test]
    fn closed_writes_end_a_pause_once_within_fifty_times_the_cost() {
        let path = RelPath::new(&b"log.md"[..]).unwrap();
        let mut debouncer = Debouncer::default();
        let cost = ms(20);
        let mut reads = Vec::new();
        debouncer.pause_reads(&path, alone(cost), ms(0));
        for now in (100..=3_000).step_by(100) {
            debouncer.on_hint(&path, HintKind::CloseWrite, true, ms(now));
            if !debouncer.take_due(ms(now)).is_empty() {
                reads.push(now);
                debouncer.pause_reads(&path, alone(cost), ms(now));
            }
        }
        // At 1,100 and 2,200 ms the pause was over.
        assert_eq!(reads, [100, 1_100, 1_200, 2_200, 2_300]);
        // It is at rest between two of them.
        let mut debouncer = debouncer.rest();
        debouncer.on_hint(&path, HintKind::Modified, true, ms(3_010));
        assert_eq!(debouncer.next_due(), Some(ms(3_300)));
        // A request has it read at once, unless that takes a second.
        for (cost, at) in [(ms(20), 3_000), (ms(1_000), 53_000)] {
            let mut debouncer = Debouncer::default();
            debouncer.pause_reads(&path, alone(cost), ms(3_000));
            debouncer.on_hint(&path, HintKind::Modified, true, ms(3_000));
            debouncer.end_short_pauses(ms(3_000));
            assert_eq!(debouncer.next_due(), Some(ms(at)));
        }
    }

    #[test]
    fn files_that_keep_changing_share_the_time_for_reading_them() {
        let paths =
            ["a.log", "b.log", "spec.md"].map(|path| RelPath::new(path.as_bytes()).unwrap());
        let mut debouncer = Debouncer::default();
        // (cost, others, pause)
        for (cost, others, pause) in
            [(20_000, 0, 1_000), (20_000, 3, 16_000), (900, 3, 500), (2_000_000, 1, 60_000)]
        {
            let cost = ReadCost::new(Duration::from_micros(cost), || others);
            assert_eq!(debouncer.pause_reads(&paths[0], cost, ms(0)), ms(pause));
        }
        // A file that has changed once keeps nothing waiting; one that changes again is counted until it is read.
        for (path, cost_us, paused) in [(&paths[1], 10_000, 1), (&paths[2], 10, 1)] {
            debouncer.pause_reads(path, alone(Duration::from_micros(cost_us)), ms(0));
            debouncer.on_hint(path, HintKind::Modified, true, ms(1));
            debouncer.on_hint(path, HintKind::Modified, true, ms(2));
            assert_eq!(debouncer.paused(), paused);
        }
        assert_eq!(debouncer.take_due(ms(500)).len(), 2);
        assert_eq!(debouncer.paused(), 0);
    }
}

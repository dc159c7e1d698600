//! When snapshot files are written: pure, for `snapshot_writer`.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Minimum time between two writes of the same file.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Time for which a feature's state has not changed before its file is written.
const QUIET_PERIOD: Duration = Duration::from_millis(250);
/// Maximum time by which changes delay a write.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Which files wait to be written, and until when. Of each only the newest job is kept.
#[derive(Debug)]
pub(super) struct SnapshotSchedule<K, J> {
    pending: HashMap<K, Pending<J>>,
    written_at: HashMap<K, Instant>,
}

#[derive(Debug)]
struct Pending<J> {
    job: J,
    changed_first: Instant,
    changed_last: Instant,
}

impl<K, J> Default for SnapshotSchedule<K, J> {
    fn default() -> Self {
        Self { pending: HashMap::new(), written_at: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash, J> SnapshotSchedule<K, J> {
    /// Adds a file that is to be written because the feature changed.
    pub(super) fn add(&mut self, file: K, job: J, now: Instant) {
        let changed_first = self.pending.get(&file).map_or(now, |pending| pending.changed_first);
        self.pending.insert(file, Pending { job, changed_first, changed_last: now });
    }

    /// Has a file written again after a pause, unless a newer job waits.
    pub(super) fn postpone(&mut self, file: K, job: J, now: Instant) {
        self.written_at.insert(file.clone(), now);
        let pending = Pending { job, changed_first: now, changed_last: now };
        self.pending.entry(file).or_insert(pending);
    }

    /// Returns when the next file is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.pending.iter().map(|(file, pending)| self.due(file, pending)).min()
    }

    /// Takes the jobs that are due, which counts as writing their files.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<J> {
        let due = self.pending.iter().filter(|(file, pending)| self.due(file, pending) <= now);
        let due: Vec<K> = due.map(|(file, _)| file.clone()).collect();
        // What is older does not affect when a file may be written.
        self.written_at.retain(|_, at| now.duration_since(*at) < WRITE_INTERVAL);
        let mut jobs = Vec::new();
        for file in due {
            jobs.extend(self.pending.remove(&file).map(|pending| pending.job));
            self.written_at.insert(file, now);
        }
        jobs
    }

    /// Returns all jobs that wait.
    pub(super) fn into_jobs(self) -> impl Iterator<Item = J> {
        self.pending.into_values().map(|pending| pending.job)
    }

    fn due(&self, file: &K, pending: &Pending<J>) -> Instant {
        let quiet = pending.changed_last + QUIET_PERIOD;
        let changes = quiet.min(pending.changed_first + MAX_DELAY);
        let written = self.written_at.get(file).map(|at| *at + WRITE_INTERVAL);
        written.map_or(changes, |written| written.max(changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a job `a` at each of the times in milliseconds, and returns when which of them is written.
    fn writes(times: &[u64]) -> Vec<(u64, u64)> {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut schedule = SnapshotSchedule::default();
        let mut written = Vec::new();
        let mut take = |schedule: &mut SnapshotSchedule<&str, u64>, until: Option<u64>| {
            while let Some(due) =
                schedule.next_due().filter(|due| until.is_none_or(|t| *due < at(t)))
            {
                let millis = u64::try_from((due - start).as_millis()).unwrap();
                written.extend(schedule.take_due(due).into_iter().map(|job| (millis, job)));
            }
        };
        for time in times {
            take(&mut schedule, Some(*time));
            schedule.add("a", *time, at(*time));
        }
        take(&mut schedule, None);
        written
    }

    #[test]
    fn file_is_written_after_a_quiet_period_and_at_most_once_a_second() {
        let busy: Vec<u64> = (0..30).map(|n| n * 100).collect();
        for (times, expected) in [
            (vec![0], vec![(250, 0)]),
            (vec![0, 100, 200], vec![(450, 200)]),
            // The interval counts from the last write.
            (vec![0, 300], vec![(250, 0), (1_250, 300)]),
            (vec![0, 2_000], vec![(250, 0), (2_250, 2_000)]),
            // Changes without a pause do not delay it for longer.
            (busy, vec![(1_000, 1_000), (2_100, 2_100), (3_150, 2_900)]),
        ] {
            assert_eq!(writes(&times), expected, "{times:?}");
        }
    }

    #[test]
    fn postponed_file_is_written_after_a_second_unless_a_newer_state_waits() {
        let now = Instant::now();
        let mut schedule = SnapshotSchedule::default();
        schedule.postpone("a", 1, now);
        assert_eq!(schedule.next_due(), Some(now + WRITE_INTERVAL));
        schedule.add("b", 2, now);
        schedule.postpone("b", 1, now);
        assert_eq!(schedule.take_due(now + WRITE_INTERVAL).into_iter().sum::<i32>(), 3);
        assert_eq!(schedule.into_jobs().count(), 0);
    }
}

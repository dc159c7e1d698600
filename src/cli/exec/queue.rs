//! Decides which command runs next. Pure: the runner starts and ends the commands.

use std::collections::VecDeque;

use crate::cli::exec::job::ExecJob;

/// Maximum number of commands that run at a time.
pub(super) const MAX_RUNNING: usize = 4;
/// Maximum number of events that wait; then the oldest is skipped.
pub(super) const MAX_WAITING: usize = 1_000;

/// The events whose commands wait or run.
#[derive(Debug, Default)]
pub(super) struct ExecQueue {
    waiting: VecDeque<ExecJob>,
    /// The features whose command runs.
    running: Vec<(String, String)>,
}

impl ExecQueue {
    /// Adds an event; returns the one that is skipped for it.
    pub(super) fn push(&mut self, job: ExecJob) -> Option<ExecJob> {
        let skipped = if self.is_full() { self.waiting.pop_front() } else { None };
        self.waiting.push_back(job);
        skipped
    }

    /// Returns true if another event would have one skipped.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING
    }

    /// Returns true if nothing waits or runs.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Returns true if nothing waits.
    pub(super) fn has_drained(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the oldest event whose command may start, which then counts as running.
    pub(super) fn start_next(&mut self) -> Option<ExecJob> {
        if self.running.len() >= MAX_RUNNING {
            return None;
        }
        let is_free = |job: &ExecJob| !self.running.contains(&job.feature);
        let index = self.waiting.iter().position(is_free)?;
        let job = self.waiting.remove(index)?;
        self.running.push(job.feature.clone());
        Some(job)
    }

    /// Records that the command of a feature has ended.
    pub(super) fn finish(&mut self, feature: &(String, String)) {
        self.running.retain(|running| running != feature);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(feature: &str, seq: u64) -> ExecJob {
        ExecJob {
            feature: ("r".to_owned(), feature.to_owned()),
            seq,
            variables: std::array::from_fn(|_| ("X", String::new())),
            input: Vec::new(),
        }
    }

    fn start_all(queue: &mut ExecQueue) -> Vec<u64> {
        std::iter::from_fn(|| queue.start_next().map(|job| job.seq)).collect()
    }

    #[test]
    fn one_command_of_a_feature_and_four_in_all_run_in_the_order_of_events() {
        let mut queue = ExecQueue::default();
        for (feature, seq) in [("a", 1), ("a", 2), ("b", 3), ("c", 4), ("d", 5), ("e", 6), ("b", 7)]
        {
            assert_eq!(queue.push(job(feature, seq)), None);
        }
        assert_eq!(start_all(&mut queue), [1, 3, 4, 5]);
        queue.finish(&("r".to_owned(), "d".to_owned()));
        assert_eq!(start_all(&mut queue), [6], "those of `a` and `b` wait for their features");
        queue.finish(&("r".to_owned(), "a".to_owned()));
        assert_eq!(start_all(&mut queue), [2]);
        for feature in ["a", "b", "c", "e"] {
            queue.finish(&("r".to_owned(), feature.to_owned()));
        }
        assert!(!queue.is_idle());
        assert_eq!(start_all(&mut queue), [7]);
        queue.finish(&("r".to_owned(), "b".to_owned()));
        assert!(queue.is_idle());
    }

    #[test]
    fn the_oldest_waiting_event_is_skipped_beyond_the_limit() {
        let mut queue = ExecQueue::default();
        queue.push(job("a", 0));
        assert_eq!(start_all(&mut queue), [0]);
        let limit = MAX_WAITING as u64;
        let skipped = |queue: &mut ExecQueue, seq| queue.push(job("a", seq)).map(|job| job.seq);
        for seq in 1..=limit {
            assert_eq!(skipped(&mut queue, seq), None);
        }
        assert!(queue.is_full());
        assert_eq!(skipped(&mut queue, limit + 1), Some(1), "the one that runs is kept");
        assert_eq!(skipped(&mut queue, limit + 2), Some(2));
    }
}

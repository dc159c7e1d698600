//! When directories without events are listed again: every two seconds, but for no more than a
//! twentieth of the time.

use std::time::Duration;

/// Interval between polls.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// The pause is at least this many times as long as the poll took.
const PAUSE_PER_COST: u32 = 20;
/// Pause before the next attempt where results of the poll before are still being checked.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// The schedule of one project.
#[derive(Debug, Default)]
pub(super) struct PollSchedule {
    due_at: Option<Duration>,
    /// Since when a poll that is due waits.
    waits_since: Option<Duration>,
    /// Time that the listings of the poll under way took, if one is.
    running_cost: Option<Duration>,
}

impl PollSchedule {
    /// Returns true if a poll is to start now. `needed` is false where everything is watched, and
    /// `busy` true while results of the poll before are checked.
    pub(super) fn start_if_due(&mut self, needed: bool, busy: bool, now: Duration) -> bool {
        if !needed {
            (self.due_at, self.waits_since) = (None, None);
            return false;
        }
        if self.running_cost.is_some() || *self.due_at.get_or_insert(now + POLL_INTERVAL) > now {
            return false;
        }
        // Files may be written all the time: what is not watched is examined nevertheless.
        if busy && *self.waits_since.get_or_insert(now) + POLL_INTERVAL > now {
            self.due_at = Some(now + BUSY_PAUSE);
            return false;
        }
        self.waits_since = None;
        self.running_cost = Some(Duration::ZERO);
        true
    }

    /// Adds the time that one listing took.
    pub(super) fn add_cost(&mut self, cost: Duration) {
        if let Some(running) = &mut self.running_cost {
            *running += cost;
        }
    }

    /// Ends a poll, if one is under way.
    pub(super) fn finish(&mut self, now: Duration) {
        if let Some(cost) = self.running_cost.take() {
            self.due_at = Some(now + POLL_INTERVAL.max(cost * PAUSE_PER_COST));
        }
    }

    /// Polls as soon as possible, if polling at all.
    pub(super) fn hurry(&mut self, now: Duration) {
        self.due_at = self.due_at.map(|_| now);
    }

    pub(super) fn is_running(&self) -> bool {
        self.running_cost.is_some()
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due_at.filter(|_| self.running_cost.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn polls_take_at_most_a_twentieth_of_the_time() {
        for (cost, next) in [(0, 4_000), (100, 4_000), (500, 12_000)] {
            let mut poll = PollSchedule::default();
            assert!(!poll.start_if_due(true, false, ms(0)));
            assert_eq!(poll.next_due(), Some(ms(2_000)));
            assert!(!poll.start_if_due(true, true, ms(2_000)), "busy");
            assert_eq!(poll.next_due(), Some(ms(2_100)));
            poll.hurry(ms(2_000));
            assert!(poll.start_if_due(true, false, ms(2_000)));
            assert!(!poll.start_if_due(true, false, ms(3_000)) && poll.next_due().is_none());
            poll.add_cost(ms(cost / 2));
            poll.add_cost(ms(cost / 2));
            poll.finish(ms(2_000));
            assert_eq!(poll.next_due(), Some(ms(next)), "cost {cost} ms");
        }
    }

    #[test]
    fn a_poll_waits_for_checks_no_longer_than_its_interval() {
        let mut poll = PollSchedule::default();
        assert!(!poll.start_if_due(true, true, ms(0)));
        let mut now = ms(2_000);
        while !poll.start_if_due(true, true, now) {
            now = poll.next_due().unwrap();
        }
        assert_eq!(now, ms(4_000));
        poll.finish(now);
        assert!(!poll.start_if_due(true, true, ms(6_000)), "it waits again");
    }

    #[test]
    fn a_project_that_is_watched_is_not_polled() {
        let mut poll = PollSchedule::default();
        assert!(!poll.start_if_due(true, false, ms(0)));
        assert!(!poll.start_if_due(false, false, ms(5_000)));
        assert_eq!(poll.next_due(), None);
        poll.hurry(ms(5_000));
        poll.finish(ms(5_000));
        assert_eq!(poll.next_due(), None);
    }
}

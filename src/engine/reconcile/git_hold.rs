//! Whether git is rewriting the work tree. Files are missing then that return in a moment, so
//! deletions and evaluations wait until it is done (docs/specification.md#git-hold).

use std::time::Duration;

use super::effect::EffectId;
use super::event::GitLock;
use super::planted::{Bug, is_planted};

/// A lock file that is older was left behind by a git process that died.
const MAX_LOCK_AGE: Duration = Duration::from_secs(10);

/// The hold of one project.
#[derive(Debug, Default)]
pub(super) struct GitHold {
    /// When waiting for git ends, even if it still has its lock; the time may have passed.
    until: Option<Duration>,
    /// The stamp of the lock that was found last, if it was found in the last probe.
    lock_stamp_ns: Option<i128>,
    /// The newest effect when it was noticed that the wait is over.
    over_since: Option<EffectId>,
    /// The last probe found the lock, but looked before the wait was over: the result came late.
    is_outdated: bool,
    /// Hints are on their way, maybe of what git changed.
    hints_pending: bool,
}

impl GitHold {
    /// Records whether hints are on their way. Returns true if that is another state than before.
    pub(super) fn set_hints_pending(&mut self, are_pending: bool) -> bool {
        std::mem::replace(&mut self.hints_pending, are_pending) != are_pending
    }

    /// Records that time passed; `newest` is the newest effect.
    pub(super) fn advance(&mut self, now: Duration, newest: EffectId) {
        if self.until.is_some_and(|until| until <= now) {
            self.over_since.get_or_insert(newest);
        }
    }

    /// Records what a probe found. `busy` is true while changes that git made are still being
    /// checked; the hold then continues without a lock.
    ///
    /// Nothing waits for one lock longer than `timeout` and the first probe that begins after it. Another lock is
    /// another hold.
    pub(super) fn observe(
        &mut self,
        probe: EffectId,
        lock: Option<GitLock>,
        busy: bool,
        timeout: Duration,
        now: Duration,
    ) {
        let busy = busy || self.hints_pending;
        let stamp = lock.filter(|lock| lock.age < MAX_LOCK_AGE).map(|lock| lock.stamp_ns);
        let is_new = stamp.is_some() && stamp != self.lock_stamp_ns;
        self.lock_stamp_ns = stamp;
        if is_new && !(is_planted(Bug::HoldOnce) && self.until.is_some()) {
            (self.until, self.over_since) = (Some(now + timeout), None);
        } else if stamp.is_none() && !busy && !is_planted(Bug::HoldOnce) {
            (self.until, self.over_since) = (None, None);
        }
        self.is_outdated = stamp.is_some() && self.over_since.is_none_or(|newest| probe <= newest);
    }

    /// Returns until when deletions and evaluations wait, if they do.
    pub(super) fn active(&self, now: Duration) -> Option<Duration> {
        self.until.filter(|until| now < *until || self.is_outdated)
    }

    /// Returns true if the lock was found when it was last looked for.
    pub(super) fn is_held(&self) -> bool {
        self.until.is_some()
    }

    /// Returns true if the lock was there when it was last looked for, not only what git changed.
    pub(super) fn is_locked(&self) -> bool {
        self.lock_stamp_ns.is_some()
    }

    pub(super) fn until(&self) -> Option<Duration> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn deletions_wait_while_the_lock_is_fresh_and_never_longer_than_the_timeout() {
        // The lock, whether its changes are being checked, time; until when deletions wait then.
        let lock = |age, stamp_ns| Some(GitLock { age: ms(age), stamp_ns });
        let (fresh, other) = (lock(1, 7), lock(1, 8));
        for (observations, waits_until) in [
            (vec![(None, false, 0)], None),
            (vec![(None, true, 0)], None),
            (vec![(fresh, false, 100)], Some(2100)),
            (vec![(lock(10_000, 7), false, 100)], None),
            (vec![(fresh, false, 100), (None, false, 300)], None),
            (vec![(fresh, false, 100), (None, true, 300)], Some(2100)),
            (vec![(fresh, false, 100), (fresh, false, 900)], Some(2100)),
            (vec![(fresh, false, 100), (fresh, false, 2100)], None),
            (vec![(fresh, false, 100), (None, false, 2100), (fresh, false, 2200)], Some(4200)),
            // Files that are written all the time keep a project busy.
            (vec![(fresh, false, 100), (None, true, 2100), (other, true, 2200)], Some(4200)),
            (vec![(fresh, false, 100), (other, true, 1000)], Some(3000)),
        ] {
            let mut hold = GitHold::default();
            let mut last = 0;
            for (number, (lock, busy, at)) in (0..).zip(&observations) {
                hold.advance(ms(*at), EffectId(number));
                hold.observe(EffectId(number + 1), *lock, *busy, TIMEOUT, ms(*at));
                last = *at;
            }
            assert_eq!(hold.active(ms(last)), waits_until.map(ms), "{observations:?}");
        }
    }

    #[test]
    fn a_probe_that_found_the_lock_before_the_end_does_not_end_the_wait() {
        let lock = Some(GitLock { age: ms(1), stamp_ns: 7 });
        let mut hold = GitHold::default();
        hold.observe(EffectId(1), lock, false, TIMEOUT, ms(0));
        // The second began before the end, and its result comes after it.
        hold.advance(ms(2_100), EffectId(2));
        hold.observe(EffectId(2), lock, false, TIMEOUT, ms(2_100));
        assert_eq!(hold.active(ms(2_100)), Some(TIMEOUT));
        hold.advance(ms(2_200), EffectId(3));
        hold.observe(EffectId(3), lock, false, TIMEOUT, ms(2_200));
        assert_eq!(hold.active(ms(2_200)), None);
    }

    #[test]
    fn the_hold_lasts_until_the_hints_of_what_git_changed_have_arrived() {
        let mut hold = GitHold::default();
        let lock = Some(GitLock { age: ms(1), stamp_ns: 7 });
        hold.observe(EffectId(1), lock, false, TIMEOUT, ms(0));
        assert!(hold.set_hints_pending(true));
        hold.observe(EffectId(2), None, false, TIMEOUT, ms(100));
        assert!(hold.is_held());
        assert!(!hold.set_hints_pending(true) && hold.set_hints_pending(false));
        hold.observe(EffectId(3), None, false, TIMEOUT, ms(200));
        assert!(!hold.is_held());
    }
}

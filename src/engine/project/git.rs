//! While git rewrites a work tree, files are missing that will be there in a moment: deletions and
//! verdicts wait until it is done (contract, section 5, "Settling").

use std::time::{Duration, SystemTime};

use super::{LiveProject, Now};
use crate::engine::feature::LiveFeature;

/// A lock that is older was left behind.
const MAX_LOCK_AGE: Duration = Duration::from_secs(10);

impl LiveProject {
    /// Looks whether git holds the work tree, and lets go of what waited for it when it does not.
    pub(in crate::engine) fn update_git_hold(&mut self, now: Now) {
        let waits = self.git.is_some()
            || !self.missing.is_empty()
            || self.active().any(LiveFeature::may_wait_for_git);
        if !waits {
            return;
        }
        // What git did is not seen before it is looked at.
        let busy = self.git.is_some() && !self.active().all(LiveFeature::is_checked);
        self.set_git_hold(busy, now);
        let hold = self.git_hold_until(now);
        for slug in &self.active {
            let Some(feature) = self.features.get_mut(slug) else {
                continue;
            };
            if hold.is_none() && (feature.git_hold_until.is_some() || feature.waits_for_git()) {
                feature.release_git_hold(now.elapsed);
            }
            feature.git_hold_until = hold;
        }
        if hold.is_none() && self.active().any(|feature| feature.feature_deletion_held) {
            self.refresh_due = Some(now.elapsed);
        }
    }

    /// Takes whether git has the work tree, or what it did is not seen yet.
    pub(super) fn set_git_hold(&mut self, busy: bool, now: Now) {
        let taken = self.project.git_locked_at();
        // One of the future was taken just now, by another clock.
        let age = |taken| SystemTime::now().duration_since(taken).unwrap_or_default();
        let fresh = taken.is_some_and(|taken| age(taken) < MAX_LOCK_AGE);
        // Locks that follow each other are one wait, so nothing waits for ever.
        self.git = match (fresh || busy, self.git) {
            (false, _) => None,
            (true, None) => Some(now.elapsed + self.setup.times.git_lock_timeout),
            (true, known) => known,
        };
    }

    /// Until when git holds the work tree.
    pub(super) fn git_hold_until(&self, now: Now) -> Option<Duration> {
        self.git.filter(|until| now.elapsed < *until)
    }

    /// When to look again without a new hint.
    pub(super) fn git_due(&self) -> Option<Duration> {
        self.git.filter(|_| self.active().any(|feature| feature.git_hold_until.is_some()))
    }
}

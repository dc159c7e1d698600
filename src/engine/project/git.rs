//! The git hold: while git rewrites the work tree, files are missing that it is about to write, so
//! deletions and evaluations wait until it has finished; see `docs/specification.md#git-hold`.

use std::time::{Duration, SystemTime};

use super::{LiveProject, Now};
use crate::engine::feature::LiveFeature;

/// Maximum age of a git lock file; an older one was left behind by a git process that was killed.
const MAX_LOCK_AGE: Duration = Duration::from_secs(10);

impl LiveProject {
    /// Checks whether git is changing the work tree. If it is not, releases what waited for it.
    pub(in crate::engine) fn update_git_hold(&mut self, now: Now) {
        let needs_check = self.git.is_some()
            || !self.missing.is_empty()
            || self.active().any(LiveFeature::may_wait_for_git);
        if !needs_check {
            return;
        }
        // The hold lasts until the files that git changed have been checked.
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

    /// Starts, keeps or ends the hold. `busy` is true if changes by git have not been checked.
    pub(super) fn set_git_hold(&mut self, busy: bool, now: Now) {
        let locked_at = self.project.git_locked_at();
        // A lock from the future has a time stamp of another clock: it was just taken.
        let age = |at| SystemTime::now().duration_since(at).unwrap_or_default();
        let is_locked = locked_at.is_some_and(|at| age(at) < MAX_LOCK_AGE);
        // Consecutive locks are one hold with one deadline, so nothing is held indefinitely.
        self.git = match (is_locked || busy, self.git) {
            (false, _) => None,
            (true, None) => Some(now.elapsed + self.setup.times.git_lock_timeout),
            (true, known) => known,
        };
    }

    /// Returns the end of the hold, if it has not passed.
    pub(super) fn git_hold_until(&self, now: Now) -> Option<Duration> {
        self.git.filter(|until| now.elapsed < *until)
    }

    /// Returns when the hold has to be checked without a new hint.
    pub(super) fn git_due(&self) -> Option<Duration> {
        self.git.filter(|_| self.active().any(|feature| feature.git_hold_until.is_some()))
    }
}

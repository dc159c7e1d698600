//! Decides when `sync=true` requests are answered: once every change before the request is seen.
//!
//! Each request has cookies: files in directories that are watched on the same kernel queues as the
//! projects. The event of a cookie is behind those of all earlier changes.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::command::{FeatureRef, SyncKind};
use crate::engine::ids::ProjectId;
use crate::engine::timeouts::{COOKIE_TIMEOUT, RESCAN_TIMEOUT};

/// Number of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engine) struct SyncId(pub(in crate::engine) u64);

/// The condition under which all earlier changes are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum SyncGoal {
    /// No event is lost, and all that is seen is committed.
    Quiescent,
    /// A rescan is done that makes up for lost events.
    Compared,
}

/// An answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct SyncAnswer {
    pub(in crate::engine) id: SyncId,
    pub(in crate::engine) kind: SyncKind,
    /// False if the rescan did not end in time: the state may be older than the request.
    pub(in crate::engine) is_complete: bool,
}

/// The requests that wait.
#[derive(Debug, Default)]
pub(in crate::engine) struct SyncRequests {
    waiting: BTreeMap<SyncId, SyncRequest>,
}

#[derive(Debug)]
struct SyncRequest {
    /// The feature whose changes are waited for; `None` for all.
    feature: Option<FeatureRef>,
    /// Cookies whose event has not arrived.
    cookies: HashSet<PathBuf>,
    deadline: Duration,
    /// A rescan was started because a cookie did not arrive in time.
    is_rescanned: bool,
}

impl SyncRequests {
    /// Adds a request whose cookies are written.
    pub(in crate::engine) fn start(
        &mut self,
        id: SyncId,
        feature: Option<FeatureRef>,
        cookies: HashSet<PathBuf>,
        now: Duration,
    ) {
        let deadline = now + COOKIE_TIMEOUT;
        let request = SyncRequest { feature, cookies, deadline, is_rescanned: false };
        self.waiting.insert(id, request);
    }

    /// Records that the event of a cookie arrived.
    pub(in crate::engine) fn on_cookie(&mut self, cookie: &Path) {
        for request in self.waiting.values_mut() {
            request.cookies.remove(cookie);
        }
    }

    /// Forgets the cookies of a project whose changes are not waited for.
    pub(in crate::engine) fn forget_cookies(&mut self, dir: &Path) {
        for request in self.waiting.values_mut() {
            request.cookies.retain(|cookie| !cookie.starts_with(dir));
        }
    }

    /// Removes the requests that are answered now and returns their answers. `is_reached` returns
    /// true if a goal is reached for a feature, or for all, and `is_away` if the root of its
    /// project, or of one of all, is away.
    pub(in crate::engine) fn take_answers(
        &mut self,
        is_reached: impl Fn(Option<&FeatureRef>, SyncGoal) -> bool,
        is_away: impl Fn(Option<&FeatureRef>) -> bool,
        now: Duration,
    ) -> Vec<SyncAnswer> {
        let mut answers = Vec::new();
        self.waiting.retain(|id, request| {
            let goal = if request.is_rescanned { SyncGoal::Compared } else { SyncGoal::Quiescent };
            let is_complete =
                request.cookies.is_empty() && is_reached(request.feature.as_ref(), goal);
            let is_over = request.is_rescanned && request.deadline <= now;
            if is_complete || is_over {
                let kind = match request.is_rescanned {
                    _ if is_away(request.feature.as_ref()) => SyncKind::None,
                    true => SyncKind::Scan,
                    false => SyncKind::Cookie,
                };
                answers.push(SyncAnswer { id: *id, kind, is_complete });
            }
            !(is_complete || is_over)
        });
        answers
    }

    /// Returns what is to be rescanned for requests whose cookies did not arrive in time, each once.
    pub(in crate::engine) fn take_rescans(&mut self, now: Duration) -> Vec<Option<FeatureRef>> {
        let late = self.waiting.values_mut().filter(|request| request.deadline <= now);
        late.map(|request| {
            request.cookies.clear();
            request.is_rescanned = true;
            request.deadline = now + RESCAN_TIMEOUT;
            request.feature.clone()
        })
        .collect()
    }

    /// Returns true if a request waits for a project.
    pub(in crate::engine) fn waits_for(&self, project: ProjectId) -> bool {
        let mut waiting = self.waiting.values();
        waiting.any(|request| request.feature.as_ref().is_none_or(|one| one.project == project))
    }

    pub(in crate::engine) fn next_deadline(&self) -> Option<Duration> {
        self.waiting.values().map(|request| request.deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_answered_after_its_cookie_or_after_a_rescan() {
        let ms = Duration::from_millis;
        let cookie = PathBuf::from("/cookies/1");
        let mut requests = SyncRequests::default();
        let id = SyncId(1);
        requests.start(id, None, HashSet::from([cookie.clone()]), ms(0));
        assert_eq!(requests.take_answers(|_, _| true, |_| false, ms(1)), []);
        requests.on_cookie(&cookie);
        assert_eq!(requests.take_answers(|_, _| false, |_| false, ms(2)), []);
        assert!(requests.take_rescans(ms(999)).is_empty());
        let answer = SyncAnswer { id, kind: SyncKind::Cookie, is_complete: true };
        let is_quiescent = |_: Option<&FeatureRef>, goal| goal == SyncGoal::Quiescent;
        assert_eq!(requests.take_answers(is_quiescent, |_| false, ms(3)), [answer]);
        assert_eq!(requests.next_deadline(), None);

        for (reached, at, is_complete) in [(true, 1_001, true), (false, 3_000, false)] {
            requests.start(id, None, HashSet::from([cookie.clone()]), ms(0));
            assert_eq!(requests.take_rescans(ms(1_000)), [None]);
            assert!(requests.take_rescans(ms(1_000)).is_empty(), "once");
            let goal = |_: Option<&FeatureRef>, goal| reached && goal == SyncGoal::Compared;
            let answer = SyncAnswer { id, kind: SyncKind::Scan, is_complete };
            assert_eq!(requests.take_answers(goal, |_| false, ms(at)), [answer]);
        }
    }

    #[test]
    fn request_does_not_wait_for_a_project_whose_root_is_away() {
        let ms = Duration::from_millis;
        let cookies = ["/cookies/1/7", "/cookies/2/8"].map(PathBuf::from);
        let mut requests = SyncRequests::default();
        requests.start(SyncId(1), None, HashSet::from(cookies.clone()), ms(0));
        requests.forget_cookies(Path::new("/cookies/1"));
        assert_eq!(requests.take_answers(|_, _| true, |_| true, ms(1)), []);
        requests.on_cookie(&cookies[1]);
        let answer = SyncAnswer { id: SyncId(1), kind: SyncKind::None, is_complete: true };
        assert_eq!(requests.take_answers(|_, _| true, |_| true, ms(1)), [answer]);
    }
}

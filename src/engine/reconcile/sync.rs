//! Decides when `sync=true` requests are answered: once every change before the request is seen.
//!
//! Each request has cookies: files in directories that are watched on the same kernel queues as the
//! projects. The event of a cookie is behind those of all earlier changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::effect::EffectId;
use crate::core::path::FeatureSlug;
use crate::engine::command::{NotSynced, ProjectSync};
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

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Awaited {
    pub(in crate::engine) goal: SyncGoal,
    /// The newest effect at the request: a file that is written all the time is seen when a later check has
    /// read it.
    pub(in crate::engine) since: EffectId,
}

/// What a request begins with in one project.
#[derive(Debug)]
pub(in crate::engine) struct SyncStart {
    /// The cookie that was written, or `None` if a rescan was started.
    pub(in crate::engine) cookie: Option<PathBuf>,
    pub(in crate::engine) since: EffectId,
}

/// How far a project is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum SyncProgress {
    /// The goal is reached.
    Reached,
    /// It is not.
    Pending,
    /// The root is away, so nothing can be seen.
    RootAway,
    /// The project is no longer watched.
    Removed,
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct SyncAnswer {
    pub(in crate::engine) id: SyncId,
    pub(in crate::engine) projects: BTreeMap<ProjectId, ProjectSync>,
}

/// The requests that wait.
#[derive(Debug, Default)]
pub(in crate::engine) struct SyncRequests {
    waiting: BTreeMap<SyncId, SyncRequest>,
}

#[derive(Debug)]
struct SyncRequest {
    /// The feature whose changes are waited for; `None` for all of each project.
    slug: Option<FeatureSlug>,
    projects: BTreeMap<ProjectId, WaitingProject>,
}

/// A project that a request waits for.
#[derive(Debug)]
struct WaitingProject {
    /// The cookie whose event has not arrived.
    cookie: Option<PathBuf>,
    since: EffectId,
    deadline: Duration,
    /// A rescan was started: the cookie did not arrive in time, or events need not report every
    /// change.
    is_rescanned: bool,
    result: Option<ProjectSync>,
}

impl WaitingProject {
    fn advance(&mut self, progress: SyncProgress, now: Duration) {
        let is_late = self.is_rescanned && self.deadline <= now;
        self.result = match progress {
            SyncProgress::RootAway => Some(ProjectSync::None(NotSynced::RootAway)),
            SyncProgress::Reached if self.cookie.is_none() && self.is_rescanned => {
                Some(ProjectSync::Scan)
            }
            SyncProgress::Reached if self.cookie.is_none() => Some(ProjectSync::Cookie),
            _ if is_late => Some(ProjectSync::None(NotSynced::TimedOut)),
            _ => None,
        };
    }

    fn awaited(&self) -> Awaited {
        let goal = if self.is_rescanned { SyncGoal::Compared } else { SyncGoal::Quiescent };
        Awaited { goal, since: self.since }
    }
}

impl SyncRequests {
    /// Adds a request, with what it begins with in each project.
    pub(in crate::engine) fn start(
        &mut self,
        id: SyncId,
        slug: Option<FeatureSlug>,
        projects: BTreeMap<ProjectId, SyncStart>,
        now: Duration,
    ) {
        let projects = projects.into_iter().map(|(project, SyncStart { cookie, since })| {
            let is_rescanned = cookie.is_none();
            let deadline = now + if is_rescanned { RESCAN_TIMEOUT } else { COOKIE_TIMEOUT };
            (project, WaitingProject { cookie, since, deadline, is_rescanned, result: None })
        });
        self.waiting.insert(id, SyncRequest { slug, projects: projects.collect() });
    }

    /// Records that the event of a project's cookie arrived.
    pub(in crate::engine) fn on_cookie(&mut self, project: ProjectId, cookie: &Path) {
        for request in self.waiting.values_mut() {
            if let Some(waiting) = request.projects.get_mut(&project) {
                waiting.cookie.take_if(|own| own == cookie);
            }
        }
    }

    /// Removes the requests that are answered now and returns their answers. `progress` returns how
    /// far a project is with what is awaited, of one of its features or of all.
    pub(in crate::engine) fn take_answers(
        &mut self,
        progress: impl Fn(ProjectId, Option<&FeatureSlug>, Awaited) -> SyncProgress,
        now: Duration,
    ) -> Vec<SyncAnswer> {
        let mut answers = Vec::new();
        self.waiting.retain(|id, SyncRequest { slug, projects }| {
            projects.retain(|project, waiting| {
                let progress = progress(*project, slug.as_ref(), waiting.awaited());
                if waiting.result.is_none() {
                    waiting.advance(progress, now);
                }
                progress != SyncProgress::Removed
            });
            let results = projects.iter().map(|(id, project)| Some((*id, project.result?)));
            let Some(projects) = results.collect() else {
                return true;
            };
            answers.push(SyncAnswer { id: *id, projects });
            false
        });
        answers
    }

    /// Returns what is to be rescanned because cookies did not arrive in time, each once.
    pub(in crate::engine) fn take_rescans(
        &mut self,
        now: Duration,
    ) -> Vec<(ProjectId, Option<FeatureSlug>)> {
        let mut rescans = Vec::new();
        for SyncRequest { slug, projects } in self.waiting.values_mut() {
            for (id, project) in projects {
                if project.result.is_none() && project.deadline <= now {
                    project.cookie = None;
                    project.is_rescanned = true;
                    project.deadline = now + RESCAN_TIMEOUT;
                    rescans.push((*id, slug.clone()));
                }
            }
        }
        rescans
    }

    /// Returns true if a request waits for a project.
    pub(in crate::engine) fn waits_for(&self, project: ProjectId) -> bool {
        let mut waiting = self.waiting.values().filter_map(|one| one.projects.get(&project));
        waiting.any(|one| one.result.is_none())
    }

    pub(in crate::engine) fn next_deadline(&self) -> Option<Duration> {
        let projects = self.waiting.values().flat_map(|request| request.projects.values());
        projects.filter(|one| one.result.is_none()).map(|one| one.deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::reconcile::effect::EffectQueue;

    const ONE: ProjectId = ProjectId::FIRST;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn start(projects: &[(ProjectId, &str)]) -> SyncRequests {
        let since = EffectQueue::default().newest_id();
        let projects = projects.iter().map(|(id, cookie)| {
            let cookie = (!cookie.is_empty()).then(|| PathBuf::from(cookie));
            (*id, SyncStart { cookie, since })
        });
        let mut requests = SyncRequests::default();
        requests.start(SyncId(1), None, projects.collect(), ms(0));
        requests
    }

    fn answer(projects: &[(ProjectId, ProjectSync)]) -> SyncAnswer {
        SyncAnswer { id: SyncId(1), projects: projects.iter().copied().collect() }
    }

    #[test]
    fn request_is_answered_after_its_cookie_or_after_a_rescan() {
        use SyncProgress::{Pending, Reached};
        let mut requests = start(&[(ONE, "/cookies/1")]);
        assert_eq!(requests.take_answers(|_, _, _| Reached, ms(1)), []);
        requests.on_cookie(ONE, Path::new("/cookies/1"));
        assert_eq!(requests.take_answers(|_, _, _| Pending, ms(2)), []);
        assert!(requests.take_rescans(ms(999)).is_empty());
        let when = |wanted| {
            move |_, _: Option<&_>, is: Awaited| if is.goal == wanted { Reached } else { Pending }
        };
        let answers = requests.take_answers(when(SyncGoal::Quiescent), ms(3));
        assert_eq!(answers, [answer(&[(ONE, ProjectSync::Cookie)])]);
        assert_eq!(requests.next_deadline(), None);

        let late = ProjectSync::None(NotSynced::TimedOut);
        for (goal, at, result) in
            [(SyncGoal::Compared, 1_001, ProjectSync::Scan), (SyncGoal::Quiescent, 3_000, late)]
        {
            let mut requests = start(&[(ONE, "/cookies/1")]);
            assert_eq!(requests.take_rescans(ms(1_000)), [(ONE, None)]);
            assert!(requests.take_rescans(ms(1_000)).is_empty(), "once");
            assert_eq!(requests.take_answers(when(SyncGoal::Quiescent), ms(1_001)), []);
            assert_eq!(requests.take_answers(when(goal), ms(at)), [answer(&[(ONE, result)])]);
        }
    }

    #[test]
    fn request_waits_for_a_rescan_where_events_need_not_report_every_change() {
        use SyncProgress::{Pending, Reached};
        let late = ProjectSync::None(NotSynced::TimedOut);
        for (at, progress, result) in
            [(1, Reached, ProjectSync::Scan), (RESCAN_TIMEOUT.as_millis(), Pending, late)]
        {
            let mut requests = start(&[(ONE, "")]);
            assert_eq!(requests.take_answers(|_, _, _| Pending, ms(0)), []);
            assert!(requests.take_rescans(ms(1)).is_empty(), "it has begun");
            let at = ms(u64::try_from(at).unwrap());
            let progress = |_, _: Option<&_>, awaited: Awaited| {
                assert_eq!(awaited.goal, SyncGoal::Compared);
                progress
            };
            assert_eq!(requests.take_answers(progress, at), [answer(&[(ONE, result)])]);
        }
    }

    #[test]
    fn each_project_has_its_own_result() {
        let two = ONE.next();
        let three = two.next();
        let mut requests =
            start(&[(ONE, "/cookies/1"), (two, "/cookies/2"), (three, "/cookies/3")]);
        // The first root is away, and at the end the third project is removed.
        let progress = |removed: bool| {
            move |id, _: Option<&_>, _| match id {
                id if id == ONE => SyncProgress::RootAway,
                id if id == three && removed => SyncProgress::Removed,
                id if id == three => SyncProgress::Pending,
                _ => SyncProgress::Reached,
            }
        };
        requests.on_cookie(two, Path::new("/cookies/2"));
        assert_eq!(requests.take_answers(progress(false), ms(1)), []);
        assert!(!requests.waits_for(ONE) && !requests.waits_for(two) && requests.waits_for(three));
        assert_eq!(requests.take_rescans(ms(1_000)), [(three, None)], "no other project is late");
        let away = ProjectSync::None(NotSynced::RootAway);
        let expected = answer(&[(ONE, away), (two, ProjectSync::Cookie)]);
        assert_eq!(requests.take_answers(progress(true), ms(1_001)), [expected]);
    }
}

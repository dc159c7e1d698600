//! Serves `sync=true` requests: writes their cookies, starts their rescans and sends their answers.
//! When a request is answered is decided in `reconcile::sync`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::debug;

use super::watched_project::WatchedProject;
use crate::engine::clock::Tick;
use crate::engine::command::{FeatureRef, SyncKind};
use crate::engine::ids::ProjectId;
use crate::engine::io::call_pool::CallPool;
use crate::engine::reconcile::effect::RescanMode;
use crate::engine::reconcile::sync::{SyncGoal, SyncId, SyncRequests};

type Projects = BTreeMap<ProjectId, WatchedProject>;

/// The requests that wait, and how they are answered.
#[derive(Debug, Default)]
pub(super) struct SyncWaiters {
    requests: SyncRequests,
    replies: HashMap<SyncId, oneshot::Sender<SyncKind>>,
    /// Number of requests so far.
    request_count: u64,
    /// Number of cookie files so far; the next one is named after it.
    cookie_count: u64,
}

impl SyncWaiters {
    /// Writes a cookie for every project that a client waits for.
    pub(super) fn start(
        &mut self,
        feature: Option<FeatureRef>,
        reply: oneshot::Sender<SyncKind>,
        projects: &mut Projects,
        pool: &CallPool,
        now: Tick,
    ) {
        // The client stopped waiting while the engine was busy.
        if reply.is_closed() {
            return;
        }
        let mut cookies = HashSet::new();
        for project in projects.values_mut() {
            if feature.as_ref().is_some_and(|feature| feature.project != project.id) {
                continue;
            }
            if project.state.is_root_away() {
                continue;
            }
            project.state.probe_root();
            project.run_effects(pool);
            self.cookie_count += 1;
            let cookie = project.cookies().join(self.cookie_count.to_string());
            if let Err(error) = std::fs::write(&cookie, b"") {
                debug!(path = %cookie.display(), %error, "cannot create the sync cookie");
            }
            cookies.insert(cookie);
        }
        self.request_count += 1;
        let id = SyncId(self.request_count);
        self.requests.start(id, feature, cookies, now.monotonic);
        self.replies.insert(id, reply);
    }

    /// Records that the events of cookies arrived, and removes their files.
    pub(super) fn on_cookies(&mut self, arrived: &HashSet<PathBuf>) {
        for cookie in arrived {
            self.requests.on_cookie(cookie);
            let _ = std::fs::remove_file(cookie);
        }
    }

    /// Answers the requests whose changes are seen and committed. While the store cannot be
    /// written, it is enough that they are seen.
    pub(super) fn resolve(
        &mut self,
        projects: &mut Projects,
        store_works: bool,
        pool: &CallPool,
        now: Tick,
    ) {
        for project in projects.values().filter(|project| project.state.is_root_away()) {
            self.requests.forget_cookies(project.cookies());
        }
        for project in projects.values_mut() {
            if self.requests.waits_for(project.id) {
                project.state.hurry_metadata(now.monotonic);
            }
        }
        let is_reached =
            |feature: Option<&FeatureRef>, goal| is_reached(projects, feature, goal, store_works);
        let is_away = |feature: Option<&FeatureRef>| {
            let mut selected = projects
                .values()
                .filter(|project| feature.is_none_or(|feature| feature.project == project.id));
            selected.any(|project| project.state.is_root_away())
        };
        for answer in self.requests.take_answers(is_reached, is_away, now.monotonic) {
            if let Some(reply) = self.replies.remove(&answer.id) {
                // Fails if the client stopped waiting.
                let _ = reply.send(answer.kind);
            }
        }
        for feature in self.requests.take_rescans(now.monotonic) {
            rescan_for(feature.as_ref(), projects, pool, now);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.requests.next_deadline()
    }
}

fn is_reached(
    projects: &Projects,
    feature: Option<&FeatureRef>,
    goal: SyncGoal,
    store_works: bool,
) -> bool {
    projects.values().all(|project| {
        let slug = match feature {
            Some(feature) if feature.project != project.id => return true,
            Some(feature) => Some(&feature.slug),
            None => None,
        };
        project.state.is_synced(slug, goal, store_works)
    })
}

fn rescan_for(feature: Option<&FeatureRef>, projects: &mut Projects, pool: &CallPool, now: Tick) {
    match feature {
        Some(feature) => {
            if let Some(project) = projects.get_mut(&feature.project) {
                project.state.rescan_feature(&feature.slug, RescanMode::POLL, now);
                project.run_effects(pool);
            }
        }
        None => {
            for project in projects.values_mut() {
                project.state.rescan(RescanMode::POLL, now);
                project.run_effects(pool);
            }
        }
    }
}

//! Serves `sync=true` requests: writes their cookies, starts their rescans and sends their answers.
//! When a request is answered is decided in `reconcile::sync`.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::debug;

use super::watched_project::WatchedProject;
use crate::core::path::FeatureSlug;
use crate::engine::clock::Tick;
use crate::engine::command::{FeatureRef, ProjectSync};
use crate::engine::ids::ProjectId;
use crate::engine::io::call_pool::CallPool;
use crate::engine::reconcile::effect::RescanMode;
use crate::engine::reconcile::sync::{SyncId, SyncProgress, SyncRequests, SyncStart};

type Projects = BTreeMap<ProjectId, WatchedProject>;
/// Receives how each project was synchronised.
type Reply = oneshot::Sender<BTreeMap<ProjectId, ProjectSync>>;

/// The requests that wait, and how they are answered.
#[derive(Debug, Default)]
pub(super) struct SyncWaiters {
    requests: SyncRequests,
    replies: HashMap<SyncId, Reply>,
    /// Number of requests so far.
    request_count: u64,
    /// Number of cookie files so far; the next one is named after it.
    cookie_count: u64,
}

impl SyncWaiters {
    /// Writes a cookie for every project that a client waits for. Where events need not report every
    /// change, a rescan is started instead.
    pub(super) fn start(
        &mut self,
        feature: Option<FeatureRef>,
        reply: Reply,
        projects: &mut Projects,
        pool: &CallPool,
        now: Tick,
    ) {
        // The client stopped waiting while the engine was busy.
        if reply.is_closed() {
            return;
        }
        let (only, slug) = feature.map(|one| (one.project, one.slug)).unzip();
        let mut starts = BTreeMap::new();
        for (id, project) in
            projects.iter_mut().filter(|(id, _)| only.is_none_or(|only| only == **id))
        {
            self.cookie_count += 1;
            let cookie = project.cookies().join(self.cookie_count.to_string());
            let is_compared = project.state.prepare_sync(slug.as_ref(), now);
            if !project.state.is_root_away() {
                project.state.probe_root();
                project.run_effects(pool);
                if !is_compared && let Err(error) = create_cookie(&cookie) {
                    debug!(path = %cookie.display(), %error, "cannot create the sync cookie");
                }
            }
            let since = project.state.newest_effect();
            starts.insert(*id, SyncStart { cookie: (!is_compared).then_some(cookie), since });
        }
        self.request_count += 1;
        let id = SyncId(self.request_count);
        self.requests.start(id, slug, starts, now.monotonic);
        self.replies.insert(id, reply);
    }

    /// Records that the events of cookies arrived, and removes their files.
    pub(super) fn on_cookies(&mut self, arrived: &[(ProjectId, PathBuf)]) {
        for (project, cookie) in arrived {
            self.requests.on_cookie(*project, cookie);
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
        for project in projects.values_mut() {
            if self.requests.waits_for(project.id) {
                project.state.hurry_metadata(now.monotonic);
            }
        }
        let progress = |id: ProjectId, slug: Option<&FeatureSlug>, awaited| match projects.get(&id)
        {
            None => SyncProgress::Removed,
            Some(project) => project.state.sync_progress(slug, awaited, store_works),
        };
        for answer in self.requests.take_answers(progress, now.monotonic) {
            if let Some(reply) = self.replies.remove(&answer.id) {
                // Fails if the client stopped waiting.
                let _ = reply.send(answer.projects);
            }
        }
        for (id, slug) in self.requests.take_rescans(now.monotonic) {
            if let Some(project) = projects.get_mut(&id) {
                match &slug {
                    Some(slug) => project.state.rescan_feature(slug, RescanMode::POLL, now),
                    None => project.state.rescan(RescanMode::POLL, now),
                }
                project.run_effects(pool);
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.requests.next_deadline()
    }
}

fn create_cookie(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map(drop)
}

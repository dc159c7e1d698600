//! The event loop on the engine thread, the only owner of live state.
//!
//! Each iteration drains the inbox, starts the file checks that are due, commits all pending
//! changes in one transaction, and only then publishes the new state and answers the clients that
//! wait for it.
//!
//! Files are hashed by `pool`, snapshot files written by `projector` and the WAL checkpointed by
//! `upkeep`, each on threads of their own. The engine thread itself waits for the disk when it
//! lists directories, reads metadata (`meta.json`, manifests, baselines, git state), stats paths,
//! creates cookie files and commits, and for the watcher thread when directories are added to
//! inotify.

mod commit;
mod letters;
mod plan;
mod projects;
mod sinks;
mod waiters;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::warn;

use super::feature::LiveFeature;
use super::inbox::{Inbox, Letters, ProjectId};
use super::pool::Pool;
use super::project::{LiveProject, Now};
use super::projector::{Page, Projector};
use super::upkeep::Upkeep;
use super::view::{Views, World};
use crate::core::path::FeatureSlug;
use crate::core::time::Timestamp;
use crate::store::Store;
use crate::watch::AncestorWatcher;
use commit::Commits;
use projects::Grounds;
use waiters::Waiter;

use plan::Begun;
pub(super) use plan::boot_id;
pub use plan::{EngineError, Plan, Running, start};

/// Timeout for a sync cookie. After it the engine falls back to a rescan.
const COOKIE_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeout for that rescan. After it the client is answered with the state so far.
const RESCAN_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for pending changes at shutdown. After it the daemon stops without them; the next start
/// finds them.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for one iteration of a working engine, which may list a whole project. After it the
/// engine is considered hung.
pub(super) const ITERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for a sync request: the current iteration, its cookie, and the rescan.
pub(super) const SYNC_TIMEOUT: Duration =
    ITERATION_TIMEOUT.saturating_add(COOKIE_TIMEOUT).saturating_add(RESCAN_TIMEOUT);
/// Timeout for adding or removing a project, chosen for slow disks.
pub(super) const PROJECT_CHANGE_TIMEOUT: Duration = Duration::from_secs(45);

struct Engine {
    inbox: Arc<Inbox>,
    views: Arc<Views>,
    pool: Pool,
    projector: Projector,
    upkeep: Upkeep,
    store: Store,
    grounds: Grounds,
    /// `None` if inotify refused it. Then a root that was moved together with a parent directory is
    /// noticed only when a client requests the project.
    ancestor_watcher: Option<AncestorWatcher>,
    projects: BTreeMap<ProjectId, LiveProject>,
    started: Instant,
    waiters: Vec<Waiter>,
    /// Cookie files created so far; the next one is named after it.
    cookie_count: u64,
    commits: Commits,
}

impl Engine {
    fn new(
        grounds: Grounds,
        opened: Begun,
        inbox: Arc<Inbox>,
        views: Arc<Views>,
    ) -> Result<Self, EngineError> {
        let Begun { store, quarantined, load_error } = opened;
        let weak_inbox = Arc::downgrade(&inbox);
        let ancestor_watcher = AncestorWatcher::start(move || {
            if let Some(inbox) = weak_inbox.upgrade() {
                inbox.mounts_changed();
            }
        });
        let ancestor_watcher = ancestor_watcher.inspect_err(
            |error| warn!(%error, "cannot watch the parent directories of project roots"),
        );
        let mut engine = Self {
            pool: Pool::start(&inbox).map_err(EngineError::Thread)?,
            projector: Projector::start(Arc::clone(&inbox)).map_err(EngineError::Thread)?,
            upkeep: Upkeep::start(store.checkpointer(), Arc::clone(&inbox))
                .map_err(EngineError::Thread)?,
            inbox,
            views,
            store,
            grounds,
            ancestor_watcher: ancestor_watcher.ok(),
            projects: BTreeMap::new(),
            started: Instant::now(),
            waiters: Vec::new(),
            cookie_count: 0,
            commits: Commits::new(quarantined.as_deref()),
        };
        if let Some(error) = &load_error {
            engine.on_store_error(error, engine.now());
        }
        engine.start_projects();
        Ok(engine)
    }

    fn run(mut self) -> Result<(), EngineError> {
        let mut stop_deadline = None;
        // The first iteration does not wait: the start of the projects left changes to commit.
        let mut letters = Letters::default();
        loop {
            #[cfg(debug_assertions)]
            super::failpoint::hang_while_requested();
            let now = self.now();
            if self.process_messages(letters, now) {
                stop_deadline.get_or_insert(now.elapsed + SHUTDOWN_TIMEOUT);
            }
            self.turn(now);
            let is_idle = || self.projects.values().all(LiveProject::is_idle);
            if stop_deadline.is_some_and(|deadline| deadline <= now.elapsed || is_idle()) {
                break;
            }
            let due = self.next_due().into_iter().chain(stop_deadline).min();
            letters = self.inbox.take(due.map(|due| self.started + due));
        }
        self.pool.stop();
        self.projector.stop();
        self.upkeep.stop();
        Ok(self.store.close()?)
    }

    /// Runs what is due: file checks, commits, pruning, publishing, answers to sync requests.
    fn turn(&mut self, now: Now) {
        for project in self.projects.values_mut() {
            project.turn(&self.pool, now);
        }
        self.restart_returned();
        for project in self.projects.values_mut() {
            project.for_each_active(|_, feature| feature.mark_indexed_if_complete(now.elapsed));
        }
        self.commit(now);
        self.prune(now);
        self.publish(now);
        self.resolve_syncs(now);
    }

    fn now(&self) -> Now {
        Now { elapsed: self.started.elapsed(), at: Timestamp::from(SystemTime::now()) }
    }

    fn next_due(&self) -> Option<Duration> {
        let projects = self.projects.values().filter_map(LiveProject::next_due);
        // After a failed commit nothing is tried before `retry_at`.
        let projects = projects.map(|due| due.max(self.commits.retry_at));
        let waiters = self.waiters.iter().map(|waiter| waiter.deadline);
        projects.chain(waiters).chain([self.commits.next_due()]).min()
    }

    fn feature(&mut self, id: ProjectId, slug: &FeatureSlug) -> Option<&mut LiveFeature> {
        self.projects.get_mut(&id)?.activate(slug)
    }

    /// Publishes the new state if it changed, and queues the snapshot files that may be stale.
    fn publish(&mut self, now: Now) {
        let mut projects = Vec::with_capacity(self.projects.len());
        let projector = &self.projector;
        for project in self.projects.values_mut() {
            projects.push(project.view(now.at, |project, feature, view| {
                if feature.take_stale_snapshot() {
                    projector.write(Page { project: Arc::clone(project), view: Arc::clone(view) });
                }
            }));
        }
        let (seq, degraded) = (self.store.seq(), self.commits.degraded.clone());
        let published = self.views.world();
        let is_unchanged = published.seq == seq
            && published.degraded == degraded
            && published.projects.len() == projects.len()
            && published.projects.iter().zip(&projects).all(|(old, new)| Arc::ptr_eq(old, new));
        if !is_unchanged || published.instance.is_empty() {
            let instance = self.store.instance().to_owned();
            let quarantined = self.commits.quarantined.clone();
            let durable_seq = self.store.durable_seq();
            let world = World { instance, seq, durable_seq, degraded, quarantined, projects };
            self.views.publish(world);
        }
    }
}

#[cfg(test)]
mod tests;

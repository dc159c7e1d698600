//! The loop: the one owner of all live state.
//!
//! A turn takes everything that has come, looks where it must, commits what is due in one
//! transaction, and only then shows it to anyone. It never waits for a file to be read.

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

/// How long an answer waits for its cookie before the disk is compared.
const COOKIE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it waits for that comparison.
const RESCAN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a stop waits for what has not settled.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that one turn takes of an engine that is well: one may list a whole project.
pub(super) const ITERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that it takes until a waiter is answered: the turn that it came in, its cookie, and
/// the comparison.
pub(super) const SYNC_TIMEOUT: Duration =
    ITERATION_TIMEOUT.saturating_add(COOKIE_TIMEOUT).saturating_add(RESCAN_TIMEOUT);
/// The longest that it takes to begin with a project or forget all of one, on a slow disk.
pub(super) const PROJECT_CHANGE_TIMEOUT: Duration = Duration::from_secs(45);

struct Engine {
    inbox: Arc<Inbox>,
    views: Arc<Views>,
    pool: Pool,
    projector: Projector,
    upkeep: Upkeep,
    store: Store,
    grounds: Grounds,
    /// `None` where the kernel has none: then a root that is moved with a directory above it is missed
    /// when someone asks for it.
    ancestor_watcher: Option<AncestorWatcher>,
    projects: BTreeMap<ProjectId, LiveProject>,
    started: Instant,
    waiters: Vec<Waiter>,
    cookie_count: u64,
    commits: Commits,
}

impl Engine {
    fn new(grounds: Grounds, begun: Begun, inbox: Arc<Inbox>, views: Arc<Views>) -> Self {
        let Begun { store, set_aside, load_error } = begun;
        let for_ancestors = Arc::downgrade(&inbox);
        let ancestor_watcher = AncestorWatcher::start(move || {
            if let Some(inbox) = for_ancestors.upgrade() {
                inbox.mounts_changed();
            }
        });
        let ancestor_watcher = ancestor_watcher
            .inspect_err(|error| warn!(%error, "moves above a root are not heard of"));
        let mut engine = Self {
            pool: Pool::start(&inbox),
            projector: Projector::start(Arc::clone(&inbox)),
            upkeep: Upkeep::start(store.checkpointer(), Arc::clone(&inbox)),
            inbox,
            views,
            store,
            grounds,
            ancestor_watcher: ancestor_watcher.ok(),
            projects: BTreeMap::new(),
            started: Instant::now(),
            waiters: Vec::new(),
            cookie_count: 0,
            commits: Commits::new(set_aside.as_deref()),
        };
        if let Some(error) = &load_error {
            engine.on_store_error(error, engine.now());
        }
        engine.start_projects();
        engine
    }

    fn run(mut self) -> Result<(), EngineError> {
        let mut stop_by = None;
        // Nothing may have come, and much be due: all that the projects' start found.
        let mut letters = Letters::default();
        loop {
            #[cfg(debug_assertions)]
            super::failpoint::hang_while_requested();
            let now = self.now();
            if self.process_messages(letters, now) {
                stop_by.get_or_insert(now.elapsed + SHUTDOWN_TIMEOUT);
            }
            self.turn(now);
            let at_rest = || self.projects.values().all(LiveProject::is_idle);
            if stop_by.is_some_and(|by| by <= now.elapsed || at_rest()) {
                break;
            }
            let due = self.next_due().into_iter().chain(stop_by).min();
            letters = self.inbox.take(due.map(|due| self.started + due));
        }
        self.pool.stop();
        self.projector.stop();
        self.upkeep.stop();
        Ok(self.store.close()?)
    }

    /// Looks, commits, shows and answers.
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
        // What could not be committed is not tried before its time.
        let projects = projects.map(|due| due.max(self.commits.retry_at));
        let waiters = self.waiters.iter().map(|waiter| waiter.deadline);
        projects.chain(waiters).chain([self.commits.next_due()]).min()
    }

    fn feature(&mut self, id: ProjectId, slug: &FeatureSlug) -> Option<&mut LiveFeature> {
        self.projects.get_mut(&id)?.activate(slug)
    }

    /// Shows what changed, and has the snapshots written that are announced and may be new.
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
        let shown = self.views.world();
        let same = shown.seq == seq
            && shown.degraded == degraded
            && shown.projects.len() == projects.len()
            && shown.projects.iter().zip(&projects).all(|(old, new)| Arc::ptr_eq(old, new));
        if !same || shown.instance.is_empty() {
            let instance = self.store.instance().to_owned();
            let set_aside = self.commits.set_aside.clone();
            let durable_seq = self.store.durable_seq();
            let world = World { instance, seq, durable_seq, degraded, set_aside, projects };
            self.views.publish(world);
        }
    }
}

#[cfg(test)]
mod tests;

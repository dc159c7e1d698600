//! The loop: the one owner of all live state.
//!
//! A turn takes everything that has come, looks where it must, commits what is due in one
//! transaction, and only then shows it to anyone. It never waits for a file to be read.

mod plan;
mod waiters;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info, warn};

use super::feature::{Due, LiveFeature, Stored};
use super::inbox::{Command, Inbox, Letters, ProjectId};
use super::pool::Pool;
use super::project::{Counting, LiveProject, Now, Setup};
use super::projector::{Page, Projector};
use super::survey::{limits, settings};
use super::upkeep::Upkeep;
use super::view::{Views, World};
use crate::core::path::FeatureSlug;
use crate::core::time::Timestamp;
use crate::project::Machine;
use crate::store::{FeatureChange, Origin, Store};
use crate::watch::{Backend, WatchError};
use plan::{Watchers, empty_folder, times};
use waiters::Waiter;

pub use plan::{EngineError, Plan, Running, start};

/// How long an answer waits for its cookie before the disk is compared.
const COOKIE_WAIT: Duration = Duration::from_secs(1);
/// How long it waits for that comparison.
const SCAN_WAIT: Duration = Duration::from_secs(2);
/// How long a stop waits for what has not settled.
const STOP_WAIT: Duration = Duration::from_secs(2);
/// After a commit that failed, the next try.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// Events are kept this long, and this many bytes of them.
const JOURNAL_MAX_AGE: Duration = Duration::from_hours(30 * 24);
const JOURNAL_MAX_BYTES: u64 = 256 << 20;
/// How often the journal is looked at, and how soon again while there is something to drop.
const PRUNE_PAUSE: Duration = Duration::from_hours(1);
const PRUNE_STEP: Duration = Duration::from_millis(100);
/// Watchers are made anew at most this often.
const REWATCH_PAUSE: Duration = Duration::from_millis(200);

struct Engine {
    inbox: Arc<Inbox>,
    views: Arc<Views>,
    pool: Pool,
    projector: Projector,
    upkeep: Upkeep,
    store: Store,
    projects: Vec<LiveProject>,
    started: Instant,
    waiters: Vec<Waiter>,
    cookies_made: u64,
    /// Why what is shown is not durable.
    degraded: Option<String>,
    commit_after: Duration,
    prune_at: Duration,
    rewatch: HashMap<ProjectId, Duration>,
    projected: HashMap<(ProjectId, FeatureSlug), String>,
    watchers: Watchers,
}

impl Engine {
    fn new(
        plan: Plan,
        roots: Vec<PathBuf>,
        store: Store,
        inbox: Arc<Inbox>,
        views: Arc<Views>,
    ) -> Self {
        let mut engine = Self {
            pool: Pool::start(&inbox),
            projector: Projector::start(),
            upkeep: Upkeep::start(store.checkpointer()),
            inbox,
            views,
            store,
            projects: Vec::new(),
            started: Instant::now(),
            waiters: Vec::new(),
            cookies_made: 0,
            degraded: None,
            commit_after: Duration::ZERO,
            prune_at: PRUNE_PAUSE,
            rewatch: HashMap::new(),
            projected: HashMap::new(),
            watchers: plan.watchers,
        };
        let machine = Machine::this();
        for root in roots {
            let id = engine.projects.len();
            let setup = Setup {
                id,
                cookies: plan.state.join("cookies").join(id.to_string()),
                settings: settings(&plan.config, &root),
                root,
                machine: machine.clone(),
                user_missions: plan.user_missions.clone(),
                limits: limits(&plan.config.limits),
                times: times(&plan.config.settle),
            };
            engine.add_project(setup);
        }
        engine
    }

    fn add_project(&mut self, setup: Setup) {
        let root = setup.root.clone();
        if let Err(error) = empty_folder(&setup.cookies) {
            warn!(path = %setup.cookies.display(), %error, "answers cannot wait for cookies");
        }
        let backend = match self.backend(setup.id) {
            Ok(backend) => backend,
            Err(error) => {
                error!(root = %root.display(), %error, "the project is not watched");
                return;
            }
        };
        let stored = self.stored(&setup);
        let now = self.now();
        match LiveProject::start(setup, backend, stored, &self.pool, now) {
            Ok(project) => {
                info!(root = %root.display(), features = project.feature_count(), "watching");
                self.projects.push(project);
            }
            Err(error) => error!(root = %root.display(), %error, "the project is not watched"),
        }
    }

    fn backend(&self, id: ProjectId) -> Result<Box<dyn Backend>, WatchError> {
        let inbox = Arc::clone(&self.inbox);
        (self.watchers)(Arc::new(move |hint| inbox.hint(id, hint)))
    }

    fn stored(&mut self, setup: &Setup) -> BTreeMap<FeatureSlug, Stored> {
        let root = std::os::unix::ffi::OsStrExt::as_bytes(setup.root.as_os_str());
        let root_id = crate::core::identity::root_id(&setup.machine.id, root);
        let features = match self.store.load_features(&root_id) {
            Ok(features) => features,
            Err(error) => {
                error!(%error, "the stored index cannot be read; everything is read anew");
                Vec::new()
            }
        };
        features
            .into_iter()
            .map(|stored| {
                let known = Stored {
                    entries: stored.entries,
                    absent: stored.absent,
                    tombstones: stored.tombstones,
                    announced: stored.announced,
                };
                (stored.slug, known)
            })
            .collect()
    }

    fn run(mut self) -> Result<(), EngineError> {
        let mut stop_by = None;
        // Nothing may have come, and much be due: all that the projects' start found.
        let mut letters = Letters::default();
        loop {
            let now = self.now();
            if self.open_letters(letters, now) {
                stop_by.get_or_insert(now.elapsed + STOP_WAIT);
            }
            self.turn(now);
            let at_rest = || self.projects.iter().all(LiveProject::is_at_rest);
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
        for project in &mut self.projects {
            project.turn(&self.pool, now);
        }
        self.commit(now);
        self.prune(now);
        self.publish(now);
        self.answer(now);
    }

    fn now(&self) -> Now {
        Now { elapsed: self.started.elapsed(), at: Timestamp::from(SystemTime::now()) }
    }

    fn next_due(&self) -> Option<Duration> {
        let projects = self.projects.iter().filter_map(LiveProject::next_due);
        // What could not be committed is not tried before its time.
        let projects = projects.map(|due| due.max(self.commit_after));
        let waiters = self.waiters.iter().map(|waiter| waiter.deadline);
        let rewatch = self.rewatch.values().copied();
        projects.chain(waiters).chain(rewatch).chain([self.prune_at]).min()
    }

    /// Takes what has come. Says whether the engine is to stop.
    fn open_letters(&mut self, letters: Letters, now: Now) -> bool {
        let mut cookies = HashSet::new();
        for (id, hints) in letters.hints {
            if let Some(why) = hints.failed {
                warn!(project = id, why, "the watcher failed at something");
            }
            if hints.lost {
                self.rewatch.entry(id).or_insert(now.elapsed + REWATCH_PAUSE);
            }
            let Some(project) = self.projects.get_mut(id) else {
                continue;
            };
            for (path, what) in hints.at {
                if project.hint(&path, what, &self.pool, now) {
                    cookies.insert(path);
                }
            }
        }
        for done in letters.done {
            if let Some(project) = self.projects.get_mut(done.id) {
                project.landed(&done.slug, &done.path, done.look, &self.pool, now);
            }
        }
        for waiter in &mut self.waiters {
            waiter.cookies.retain(|cookie| !cookies.contains(cookie));
        }
        for cookie in cookies {
            let _ = std::fs::remove_file(cookie);
        }
        self.rewatch_due(now);
        let mut stop = false;
        for command in letters.commands {
            match command {
                Command::Sync { feature, reply } => self.wait(feature, reply, now),
                Command::Rescan => {
                    for project in &mut self.projects {
                        project.compare_all(Counting::Settled, &self.pool, now);
                    }
                }
                Command::Stop => stop = true,
            }
        }
        stop
    }

    /// Makes the watchers anew that lost events.
    fn rewatch_due(&mut self, now: Now) {
        let due: Vec<ProjectId> = self
            .rewatch
            .iter()
            .filter(|(_, due)| **due <= now.elapsed)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.rewatch.remove(&id);
            match self.backend(id) {
                Ok(backend) => {
                    warn!(project = id, "events were lost; everything is compared with the disk");
                    if let Some(project) = self.projects.get_mut(id) {
                        project.rewatch(backend, &self.pool, now);
                    }
                }
                Err(error) => {
                    error!(project = id, %error, "events were lost, and no watcher can be made");
                    self.rewatch.insert(id, now.elapsed + COOKIE_WAIT);
                }
            }
        }
    }

    /// Commits all that is due: what changed in one transaction, and once that is told the verdicts
    /// on it in another. Working these out can take longer than anything else here.
    fn commit(&mut self, now: Now) {
        self.commit_each(now, |feature| feature.due(now.elapsed, now.at));
        self.views.announce(self.store.seq());
        self.commit_each(now, |feature| feature.due_verdict(now.elapsed));
    }

    fn commit_each(&mut self, now: Now, due: impl Fn(&mut LiveFeature) -> Option<Due>) {
        if now.elapsed < self.commit_after {
            return;
        }
        let mut dues = Vec::new();
        let mut changes = Vec::new();
        for (id, project) in self.projects.iter_mut().enumerate() {
            let origin = Arc::new(Origin {
                project: project.project.name.clone(),
                root_id: project.project.root_id.clone(),
                project_uuid: project.project.project_uuid.clone(),
                node_id: project.project.node_id.clone(),
            });
            let steered_at = project.refresh_due;
            project.each_awake(|slug, feature| {
                feature.steered_at = steered_at;
                if let Some(due) = due(feature) {
                    changes.push(change(&origin, slug, &due));
                    dues.push((id, slug.clone(), due));
                }
            });
        }
        if changes.is_empty() {
            return;
        }
        match self.store.commit(changes, now.at) {
            Ok(_) => {
                self.upkeep.committed();
                if self.degraded.take().is_some() {
                    info!("the store can be written again");
                }
                for (id, slug, due) in dues {
                    if let Some(feature) = self.feature(id, &slug) {
                        feature.committed(due, now.elapsed);
                    }
                }
            }
            Err(error) => {
                if self.degraded.is_none() {
                    error!(%error, "the store cannot be written; what is shown is not durable");
                }
                self.degraded = Some(error.to_string());
                self.commit_after = now.elapsed + STORE_RETRY;
            }
        }
    }

    /// Drops what the journal keeps no longer, a step at a time.
    fn prune(&mut self, now: Now) {
        if now.elapsed < self.prune_at {
            return;
        }
        self.prune_at = now.elapsed + PRUNE_PAUSE;
        match self.store.prune(JOURNAL_MAX_AGE, JOURNAL_MAX_BYTES, now.at) {
            Ok(pruned) if pruned.events == 0 => {}
            Ok(pruned) => {
                info!(events = pruned.events, "the journal was shortened");
                self.prune_at = now.elapsed + PRUNE_STEP;
                for retired in pruned.tombstones {
                    for project in &mut self.projects {
                        if project.project.root_id == retired.root_id
                            && let Some(feature) = project.wake(&retired.slug)
                        {
                            feature.retire_tombstone(&retired.path);
                        }
                    }
                }
            }
            Err(error) => warn!(%error, "the journal cannot be shortened"),
        }
    }

    fn feature(&mut self, id: ProjectId, slug: &FeatureSlug) -> Option<&mut LiveFeature> {
        self.projects.get_mut(id)?.wake(slug)
    }

    /// Shows what changed, and has the snapshots written that were announced.
    fn publish(&mut self, now: Now) {
        let mut projects = Vec::with_capacity(self.projects.len());
        for (id, project) in self.projects.iter_mut().enumerate() {
            let (projected, projector) = (&mut self.projected, &self.projector);
            projects.push(project.view(now.at, |project, feature, view| {
                let Some(snapshot) = feature.announced_snapshot() else {
                    return;
                };
                let place = (id, view.slug().clone());
                if projected.get(&place).is_none_or(|written| written != snapshot) {
                    projected.insert(place, snapshot.to_owned());
                    projector.write(Page { project: Arc::clone(project), view: Arc::clone(view) });
                }
            }));
        }
        let (seq, degraded) = (self.store.seq(), self.degraded.clone());
        let shown = self.views.world();
        let same = shown.seq == seq
            && shown.degraded == degraded
            && shown.projects.len() == projects.len()
            && shown.projects.iter().zip(&projects).all(|(old, new)| Arc::ptr_eq(old, new));
        if !same || shown.instance.is_empty() {
            let instance = self.store.instance().to_owned();
            self.views.publish(World { instance, seq, degraded, projects });
        }
    }
}

fn change(origin: &Arc<Origin>, slug: &FeatureSlug, due: &Due) -> FeatureChange {
    FeatureChange {
        set: due.set.clone(),
        removed: due.removed.clone(),
        absent: due.absent.clone(),
        tombstones: due.tombstones.clone(),
        tombstones_gone: due.tombstones_gone.clone(),
        announced: due.announced.clone(),
        events: due.events.clone(),
        ..FeatureChange::new(Arc::clone(origin), slug.clone())
    }
}

#[cfg(test)]
mod tests;

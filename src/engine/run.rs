//! The loop: the one owner of all live state.
//!
//! A turn takes everything that has come, looks where it must, commits what is due in one
//! transaction, and only then shows it to anyone. It never waits for a file to be read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};

use super::feature::{Due, LiveFeature, Stored};
use super::inbox::{Command, Inbox, Letters, ProjectId};
use super::pool::Pool;
use super::project::{Counting, LiveProject, Now, Setup};
use super::projector::{Page, Projector};
use super::survey::{limits, settings};
use super::upkeep::Upkeep;
use super::view::{SyncKind, Views, World};
use crate::config::{Config, SettleConfig};
use crate::core::path::FeatureSlug;
use crate::core::time::Timestamp;
use crate::project::Machine;
use crate::store::{FeatureChange, Journal, Origin, Store, StoreError};
use crate::watch::{Backend, Kernel, SettleTimes, Sink, WatchError};

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

/// Makes a watcher that hands its hints to a sink.
type Watchers = Box<dyn Fn(Sink) -> Result<Box<dyn Backend>, WatchError> + Send>;

/// What to watch.
pub struct Plan {
    /// The configuration, whose projects are watched.
    pub config: Config,
    /// Roots to watch beside those and the ones that the store remembers.
    pub roots: Vec<PathBuf>,
    /// The user's own missions.
    pub user_missions: Option<PathBuf>,
    /// Folder of the daemon's own files.
    pub state: PathBuf,
    watchers: Watchers,
}

impl Plan {
    /// A plan by that configuration, with the kernel's events.
    #[must_use]
    pub fn new(config: Config, state: PathBuf) -> Self {
        let kernel = |sink| Ok(Box::new(Kernel::new(sink)?) as Box<dyn Backend>);
        Self { config, roots: Vec::new(), user_missions: None, state, watchers: Box::new(kernel) }
    }
}

/// What keeps an engine from starting, or ends it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A project's root cannot be reached.
    #[error("cannot watch {path}", path = path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A running engine.
#[derive(Debug)]
pub struct Running {
    /// Where to put commands.
    pub inbox: Arc<Inbox>,
    /// Where to take pictures.
    pub views: Arc<Views>,
    /// Reads the journal.
    pub journal: Journal,
    /// The store's file.
    pub store: PathBuf,
    /// Its thread, which gives the fault that ended it.
    pub thread: JoinHandle<Result<(), EngineError>>,
}

/// Opens the store and starts an engine over it.
///
/// # Errors
/// [`EngineError`] when the store cannot be used, or a root cannot be reached.
pub fn start(plan: Plan) -> Result<Running, EngineError> {
    let store = Store::open(&plan.state, &boot_id())?.store;
    let (path, instance, seq) = (store.path().to_owned(), store.instance(), store.seq());
    info!(store = %path.display(), instance, seq, "store opened");
    let journal = store.journal();
    let roots = roots(&plan, &store)?;
    let (inbox, views) = (Arc::new(Inbox::default()), Arc::new(Views::default()));
    let (for_engine, its_views) = (Arc::clone(&inbox), Arc::clone(&views));
    let thread =
        std::thread::spawn(move || Engine::new(plan, roots, store, for_engine, its_views).run());
    Ok(Running { inbox, views, journal, store: path, thread })
}

/// Canonical roots, each once: of the configuration, of the store, of this life.
fn roots(plan: &Plan, store: &Store) -> Result<Vec<PathBuf>, EngineError> {
    let mut roots = Vec::new();
    let configured = plan.config.projects.iter().map(|project| project.path.clone());
    for path in configured.chain(store.projects()?) {
        match path.canonicalize() {
            Ok(root) => roots.push(root),
            Err(error) => error!(root = %path.display(), %error, "the project is not watched"),
        }
    }
    for path in &plan.roots {
        let canonical = path.canonicalize();
        roots.push(canonical.map_err(|source| EngineError::Root { path: path.clone(), source })?);
    }
    let mut seen = HashSet::new();
    roots.retain(|root| seen.insert(root.clone()));
    Ok(roots)
}

/// What tells this start of the machine from others.
fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

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

/// A client that waits until its own changes are seen.
struct Waiter {
    feature: Option<(ProjectId, FeatureSlug)>,
    /// Cookie files that have not come back.
    cookies: HashSet<PathBuf>,
    deadline: Duration,
    scanned: bool,
    reply: oneshot::Sender<SyncKind>,
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

    /// Puts a cookie on the queue of every project that a client waits for.
    fn wait(
        &mut self,
        feature: Option<(ProjectId, FeatureSlug)>,
        reply: oneshot::Sender<SyncKind>,
        now: Now,
    ) {
        let mut cookies = HashSet::new();
        for project in &self.projects {
            if feature.as_ref().is_some_and(|(id, _)| *id != project.setup.id) {
                continue;
            }
            self.cookies_made += 1;
            let cookie = project.setup.cookies.join(self.cookies_made.to_string());
            if let Err(error) = std::fs::write(&cookie, b"") {
                debug!(path = %cookie.display(), %error, "a cookie cannot be written");
            }
            cookies.insert(cookie);
        }
        let deadline = now.elapsed + COOKIE_WAIT;
        self.waiters.push(Waiter { feature, cookies, deadline, scanned: false, reply });
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

    /// Answers the clients whose changes are seen and settled.
    fn answer(&mut self, now: Now) {
        let mut waiting = Vec::new();
        for mut waiter in std::mem::take(&mut self.waiters) {
            let settled = self.projects.iter().all(|project| match &waiter.feature {
                Some((id, _)) if *id != project.setup.id => true,
                Some((_, slug)) => project.is_settled(Some(slug)),
                None => project.is_settled(None),
            });
            let late = waiter.deadline <= now.elapsed;
            if waiter.cookies.is_empty() && settled {
                let kind = if waiter.scanned { SyncKind::Scan } else { SyncKind::Cookie };
                let _ = waiter.reply.send(kind);
            } else if late && waiter.scanned {
                let _ = waiter.reply.send(SyncKind::Scan);
            } else {
                if late {
                    self.compare_for(waiter.feature.as_ref(), now);
                    waiter.cookies.clear();
                    waiter.scanned = true;
                    waiter.deadline = now.elapsed + SCAN_WAIT;
                }
                waiting.push(waiter);
            }
        }
        self.waiters = waiting;
    }

    fn compare_for(&mut self, feature: Option<&(ProjectId, FeatureSlug)>, now: Now) {
        match feature {
            Some((id, slug)) => {
                if let Some(project) = self.projects.get_mut(*id) {
                    project.compare(slug, None, Counting::AtOnce, &self.pool, now);
                }
            }
            None => {
                for project in &mut self.projects {
                    project.compare_all(Counting::AtOnce, &self.pool, now);
                }
            }
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

/// The settling that the configuration sets.
fn times(said: &SettleConfig) -> SettleTimes {
    let default = SettleTimes::default();
    let or = |said: Option<u64>, default| said.map_or(default, Duration::from_millis);
    SettleTimes {
        appear: or(said.appear_ms, default.appear),
        quiet: or(said.quiet_ms, default.quiet),
        max: or(said.max_ms, default.max),
        vanish: or(said.vanish_ms, default.vanish),
    }
}

/// An empty private folder.
fn empty_folder(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let _ = std::fs::remove_dir_all(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::watch::fake::Script;
    use crate::watch::{Hint, What};

    struct Fixture {
        /// Removed at the end.
        dir: tempfile::TempDir,
        root: PathBuf,
        script: Script,
        running: Running,
    }

    impl Fixture {
        fn start() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().canonicalize().unwrap().join("p");
            fs::create_dir_all(root.join("kitty-specs/001-x/tasks")).unwrap();
            fs::create_dir(root.join(".kittify")).unwrap();
            fs::write(root.join("kitty-specs/001-x/spec.md"), "one").unwrap();
            let script = Script::default();
            let running = Self::run(&root, dir.path().join("state"), &script);
            let fixture = Self { dir, root, script, running };
            fixture.wait(|world| world.projects.first().is_some_and(|project| project.ready));
            fixture
        }

        /// Stops, and starts again over the same state.
        fn restart(self) -> Self {
            let state = self.running.store.parent().unwrap().to_owned();
            let Self { dir, root, script, running } = self;
            running.inbox.command(Command::Stop).unwrap();
            running.thread.join().unwrap().unwrap();
            let running = Self::run(&root, state, &script);
            Self { dir, root, script, running }
        }

        fn run(root: &std::path::Path, state: PathBuf, script: &Script) -> Running {
            let mut plan = Plan::new(Config::default(), state);
            plan.roots = vec![root.to_owned()];
            let backends = script.clone();
            plan.watchers = Box::new(move |sink| Ok(backends.backend(sink)));
            start(plan).unwrap()
        }

        fn feature(&self) -> PathBuf {
            self.root.join("kitty-specs/001-x")
        }

        fn wait(&self, done: impl Fn(&World) -> bool) {
            let deadline = Instant::now() + Duration::from_secs(20);
            while !done(&self.running.views.world()) {
                assert!(Instant::now() < deadline, "{:?}", self.running.views.world());
                std::thread::yield_now();
            }
        }

        fn wait_for(&self, paths: &[&str]) {
            self.wait(|world| {
                let feature = &world.projects[0].features[0];
                let present = feature.entries.iter().filter(|entry| entry.artifact.is_present());
                present.map(|entry| entry.artifact.relative_path.text()).eq(paths.iter().copied())
            });
        }

        fn stop(self) {
            self.running.inbox.command(Command::Stop).unwrap();
            self.running.thread.join().unwrap().unwrap();
        }
    }

    #[test]
    fn a_lost_event_makes_a_new_watcher_and_everything_is_compared() {
        let fixture = Fixture::start();
        fixture.wait_for(&["spec.md"]);
        assert!(fixture.script.watches(&fixture.feature().join("tasks")), "also empty folders");
        fs::write(fixture.feature().join("unseen.md"), "x").unwrap();
        fs::remove_file(fixture.feature().join("spec.md")).unwrap();
        fixture.script.hint(Hint::Lost);
        fixture.wait_for(&["unseen.md"]);
        assert_eq!(fixture.script.made(), 2);
        assert!(fixture.script.watches(&fixture.feature().join("tasks")));
        fixture.stop();
    }

    #[test]
    fn a_folder_that_comes_is_watched_before_it_is_listed() {
        let fixture = Fixture::start();
        let folder = fixture.feature().join("contracts");
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::write(folder.join("deep/api.yaml"), "x").unwrap();
        fixture.script.hint(Hint::At(folder.clone(), What::Folder));
        fixture.wait_for(&["contracts/deep/api.yaml", "spec.md"]);
        assert!(fixture.script.watches(&folder.join("deep")));
        fs::rename(&folder, fixture.root.join("elsewhere")).unwrap();
        fixture.script.hint(Hint::At(folder, What::Removed));
        fixture.wait_for(&["spec.md"]);
        fixture.stop();
    }

    #[test]
    fn a_restart_over_what_is_unchanged_is_ready_without_a_hint() {
        let fixture = Fixture::start();
        fixture.wait_for(&["spec.md"]);
        // The verdict on it is announced, too.
        fixture.wait(|world| world.seq >= 2);
        let fixture = fixture.restart();
        fixture.wait(|world| world.projects.first().is_some_and(|project| project.ready));
        fixture.wait_for(&["spec.md"]);
        fixture.stop();
    }

    #[test]
    fn a_wrong_hint_leads_to_a_look_and_nothing_else() {
        let fixture = Fixture::start();
        fixture.wait_for(&["spec.md"]);
        let seq = fixture.running.views.world().seq;
        let spec = fixture.feature().join("spec.md");
        for what in [What::Touched, What::Closed, What::Arrived, What::Removed] {
            fixture.script.hint(Hint::At(spec.clone(), what));
            fixture.script.hint(Hint::At(fixture.feature().join("never-there.md"), what));
        }
        fs::write(fixture.feature().join("mark.md"), "x").unwrap();
        fixture.script.hint(Hint::At(fixture.feature().join("mark.md"), What::Closed));
        fixture.wait_for(&["mark.md", "spec.md"]);
        fixture.wait(|world| world.seq == seq + 2);
        fixture.stop();
    }
}

//! Runs a history: the engine's loop as `runtime::event_loop` has it, on a modelled disk, kernel,
//! clock and store.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::checks::{Checks, SyncWindow, Violation, is_root_away};
use super::disk::{COOKIES, Disk, Inode, ModelWatcher, SharedDisk};
use super::history::{At, Close, History, Op, PROJECTS, Size, Step, Then, Written, root, slug};
use super::io::{ModelIo, Running, Step as IoStep};
use super::store::Store;
use crate::core::ignore::{DefaultNames, IgnoreRules};
use crate::core::path::FeatureSlug;
use crate::core::pattern::Pattern;
use crate::core::sync::lock;
use crate::core::time::Timestamp;
use crate::engine::clock::Tick;
use crate::engine::command::ProjectSync;
use crate::engine::ids::ProjectId;
use crate::engine::inbox::{HintRests, Inbox};
use crate::engine::reconcile::effect::{Effect, RescanMode};
use crate::engine::reconcile::event::Event;
use crate::engine::reconcile::pending::FeatureCommit;
use crate::engine::reconcile::planted::{Bug, is_planted};
use crate::engine::reconcile::project::ProjectState;
use crate::engine::reconcile::project_view::ProjectSummary;
use crate::engine::reconcile::settings::ReconcileSettings;
use crate::engine::reconcile::sync::{SyncId, SyncProgress, SyncRequests, SyncStart};
use crate::project::FeaturePatterns;
use crate::scan::ScanLimits;
use crate::watch::{DebounceTimes, HintSink, RootWatcher, ShardLimits, ShardPool, Watcher};

/// Number of iterations of the loop at one moment after which it is taken to spin.
const MAX_ITERATIONS: usize = 2_000;
/// The wall clock at the start, in milliseconds since 1970.
const START_MS: i64 = 1_800_000_000_000;
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// As many as all projects and those that are replaced need.
const MAX_INSTANCES: usize = 16;
/// By then all retries have run, the longest of which pause for a minute.
const CALM_TIME: Duration = Duration::from_secs(100);
/// The time in which a quiet project is observed.
const QUIET_TIME: Duration = Duration::from_secs(130);

/// A watched project and what waits for it.
pub(super) struct SimProject {
    pub(super) id: ProjectId,
    pub(super) state: ProjectState,
    pub(super) io: ModelIo,
    inbox: Arc<Inbox>,
    /// Effects that are not finished, in the order in which they were emitted.
    running: VecDeque<Running>,
    /// Events that are not delivered.
    results: VecDeque<Event>,
    pub(super) status: ProjectSummary,
    /// The root that is hidden by a mount.
    hidden: Option<Inode>,
    /// A mount below the root, and what it hides.
    mounted: Option<(PathBuf, Inode)>,
    is_moved: bool,
    /// The last effect closed the root.
    has_closed_root: bool,
}

/// A simulated daemon.
pub(super) struct Machine {
    pub(super) disk: SharedDisk,
    shards: ShardPool,
    pub(super) projects: Vec<SimProject>,
    pub(super) store: Store,
    sync: SyncRequests,
    pub(super) checks: Checks,
    now: Duration,
    next_project: ProjectId,
    next_uuid: u128,
    next_sync: u64,
    faults: Faults,
    /// Since the last commit failed.
    degraded: bool,
    retry_at: Duration,
}

/// What happens to the effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum EffectFault {
    #[default]
    None,
    /// They wait until an operation lets them go on.
    Held,
    /// The process is out of descriptors: those that open something fail.
    NoDescriptors,
}

/// The faults that are present.
#[derive(Debug, Default)]
struct Faults {
    holds_events: bool,
    effects: EffectFault,
    is_store_broken: bool,
    crash_at_commit: Option<Written>,
}

/// Runs a history to its end and checks it.
pub(super) fn run(history: &History) -> Result<(), Violation> {
    let mut machine = Machine::start(history);
    machine.run_due()?;
    for step in &history.steps {
        machine.apply(step)?;
    }
    machine.calm_down()
}

/// Runs a history, after which the process is out of descriptors for `time`. Returns the largest
/// number of attempts at one path, directory or the metadata in that time.
pub(super) fn count_attempts(history: &History, time: Duration) -> Result<usize, Violation> {
    let mut machine = Machine::start(history);
    machine.run_due()?;
    machine.faults.effects = EffectFault::NoDescriptors;
    for step in &history.steps {
        machine.apply(step)?;
    }
    machine.checks.start_quiet_time();
    machine.pass(time)?;
    let attempts = machine.checks.max_attempts();
    machine.faults.effects = EffectFault::None;
    machine.calm_down()?;
    Ok(attempts)
}

impl SimProject {
    fn handle(&mut self, event: Event, now: Tick) {
        trace(|| format!("{:?} {} event {event:?}", now.monotonic, self.id));
        self.state.handle(event, now);
    }
}

impl Machine {
    fn start(history: &History) -> Self {
        let mut disk = Disk::new(PROJECTS, START_MS * 1_000_000);
        for project in 0..PROJECTS {
            disk.create_dir(&root(project).join("kitty-specs/a/d"));
            // A root that is empty looks like one that is not mounted.
            disk.write(&root(project).join("README.md"), 10, true, false);
            disk.create_dir(&cookies(project));
        }
        disk.silent[PROJECTS - 1] = history.is_second_silent;
        let disk = Arc::new(Mutex::new(disk));
        let kernel = Arc::clone(&disk);
        let make = move |sink| Ok(Box::new(ModelWatcher::new(&kernel, sink)) as Box<dyn Watcher>);
        let unshared_instances = if history.shares_instance { 1 } else { MAX_INSTANCES };
        // So few that projects often move.
        let (max_shared_watches, max_removed_dirs) = (6, 3);
        let limits = ShardLimits {
            max_instances: MAX_INSTANCES,
            unshared_instances,
            max_shared_watches,
            max_removed_dirs,
        };
        let mut machine = Self {
            disk,
            shards: ShardPool::new(make, limits),
            projects: Vec::new(),
            store: Store::default(),
            sync: SyncRequests::default(),
            checks: Checks::new(PROJECTS),
            now: Duration::from_secs(1),
            next_project: ProjectId::FIRST,
            next_uuid: 1,
            next_sync: 0,
            faults: Faults::default(),
            degraded: false,
            retry_at: Duration::ZERO,
        };
        for project in 0..PROJECTS {
            let project = machine.start_project(project, None);
            machine.projects.push(project);
        }
        machine
    }

    fn start_project(&mut self, index: usize, before: Option<SimProject>) -> SimProject {
        let id = self.next_project;
        self.next_project = id.next();
        let mounted = before.as_ref().and_then(|before| before.mounted.clone());
        let (hidden, is_moved, git_lock_ns) = before.map_or((None, false, None), |before| {
            (before.hidden, before.is_moved, before.io.git_lock_ns)
        });
        let inbox = Arc::new(Inbox::default());
        let mut io = self.new_io(index, id, &inbox);
        io.git_lock_ns = git_lock_ns;
        let (info, stored) = (Arc::clone(&io.info), self.store.rows(index));
        let state = ProjectState::start(settings(index), info, stored, self.tick());
        let status = state.status();
        self.checks.on_restart(index, &self.store, self.now);
        SimProject {
            id,
            state,
            io,
            inbox,
            running: VecDeque::new(),
            results: VecDeque::new(),
            status,
            hidden,
            mounted,
            is_moved,
            has_closed_root: false,
        }
    }

    fn tick(&self) -> Tick {
        let ms = lock(&self.disk).clock_ns / 1_000_000;
        Tick { monotonic: self.now, wall: Timestamp::from_millis(ms).unwrap_or_default() }
    }

    // --- Operations ---

    fn apply(&mut self, step: &Step) -> Result<(), Violation> {
        let Step(op, then) = step;
        let version = lock(&self.disk).version;
        trace(|| format!("{:?} operation {op:?}", self.now));
        self.operate(op)?;
        if lock(&self.disk).version != version {
            self.checks.on_disk_changed(&lock(&self.disk));
        }
        if let Then::Run(ms) = then {
            self.run_due()?;
            self.pass(Duration::from_millis(*ms))?;
        }
        Ok(())
    }

    /// Returns true if changes of a path raise events, and its project gets them.
    fn is_watched(&self, at: &At) -> bool {
        let path = at.path();
        let dir = path.parent().unwrap_or(&path);
        self.projects[at.0].io.watches(dir) && lock(&self.disk).is_watched(at.0, dir)
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each operation")]
    fn operate(&mut self, op: &Op) -> Result<(), Violation> {
        let now = self.now;
        match op {
            Op::Pass => {}
            Op::Write(at, size, close) => {
                let (size, closes) =
                    (if *size == Size::Small { 10 } else { 20 }, *close == Close::Yes);
                let is_watched = !self.faults.holds_events && self.is_watched(at);
                let mut disk = lock(&self.disk);
                disk.write(&at.path(), size, closes, false);
                self.checks.on_write(at, closes, is_watched, now);
            }
            Op::WriteKeepingTime(at) => {
                lock(&self.disk).write(&at.path(), 10, true, true);
                self.checks.on_write(at, true, true, now);
            }
            Op::Close(at) => {
                lock(&self.disk).close(&at.path());
                self.checks.on_write(at, true, true, now);
            }
            Op::Replace(at) => {
                lock(&self.disk).replace(&at.path(), 10);
                self.checks.on_write(at, true, true, now);
            }
            Op::Symlink(at) => lock(&self.disk).symlink(&at.path()),
            Op::CreateDir(at) => lock(&self.disk).create_dir(&at.path()),
            Op::Remove(at) => lock(&self.disk).remove(&at.path()),
            Op::Rename(at, to) => {
                lock(&self.disk).rename(&at.path(), &at.sibling(*to));
                self.checks.on_rename(now);
            }
            Op::Deny(at) => {
                let is_above = at.path().ends_with("kitty-specs");
                lock(&self.disk).set_readable(&at.path(), is_above);
            }
            Op::Allow(at) => lock(&self.disk).set_readable(&at.path(), true),
            Op::LockGit(project) => {
                let clock = lock(&self.disk).clock_ns;
                self.projects[*project].io.git_lock_ns.get_or_insert(clock);
                self.checks.on_git(*project, true, now);
            }
            Op::UnlockGit(project) => {
                self.projects[*project].io.git_lock_ns = None;
                self.checks.on_git(*project, false, now);
            }
            Op::Mount(project) => self.mount(*project, true),
            Op::Unmount(project) => self.mount(*project, false),
            Op::MountBelow(at) => self.mount_below(at),
            Op::UnmountBelow(project) => self.unmount_below(*project),
            Op::MoveRoot(project) => self.move_root(*project, true),
            Op::ReturnRoot(project) => self.move_root(*project, false),
            Op::SetClock(seconds) => {
                lock(&self.disk).set_clock(seconds * 1_000_000_000);
                self.checks.on_clock_set(now);
            }
            Op::LimitWatches(limit) => lock(&self.disk).watch_limit = *limit,
            Op::UnlimitWatches => lock(&self.disk).watch_limit = usize::MAX,
            Op::Overflow(project) => {
                lock(&self.disk).overflow(&root(*project));
                self.checks.on_disturbed(now);
            }
            Op::HoldEvents => {
                self.faults.holds_events = true;
                self.checks.on_disturbed(now);
            }
            Op::ReleaseEvents => {
                self.faults.holds_events = false;
                self.checks.on_disturbed(now);
            }
            Op::HoldEffects | Op::ReleaseEffects => {
                let is_held = *op == Op::HoldEffects;
                self.faults.effects = if is_held { EffectFault::Held } else { EffectFault::None };
                self.checks.on_disturbed(now);
            }
            Op::StepEffect(number) => {
                self.checks.on_disturbed(now);
                self.step_effect(*number)?;
            }
            Op::DeliverResult(number) => self.deliver_result(*number)?,
            Op::TimeOutEffect(number) => self.time_out(*number)?,
            Op::FailEffect(number) => self.fail_effect(*number)?,
            Op::BreakStore => self.faults.is_store_broken = true,
            Op::RepairStore => self.faults.is_store_broken = false,
            Op::Crash => self.crash(),
            Op::CrashAtCommit(written) => self.faults.crash_at_commit = Some(*written),
            Op::Sync(project) => self.request_sync(*project)?,
            Op::Rescan(project) => {
                self.checks.on_disturbed(now);
                let tick = self.tick();
                self.projects[*project].state.rescan(RescanMode::REWATCH, tick);
                self.run_effects(*project)?;
                self.projects[*project].io.end_iteration();
            }
        }
        Ok(())
    }

    fn mount(&mut self, project: usize, mounts: bool) {
        let one = &mut self.projects[project];
        let mut disk = lock(&self.disk);
        match one.hidden.take() {
            None if mounts && !one.is_moved && one.mounted.is_none() => {
                one.hidden = disk.mount_over(&root(project));
            }
            Some(hidden) if !mounts => disk.unmount(&root(project), hidden),
            hidden => {
                one.hidden = hidden;
                return;
            }
        }
        one.inbox.mounts_changed();
    }

    fn mount_below(&mut self, at: &At) {
        let one = &mut self.projects[at.0];
        let mut disk = lock(&self.disk);
        let path = at.path();
        let dir = if disk.is_dir(&path) { Some(&*path) } else { path.parent() };
        let Some(dir) = dir.filter(|dir| disk.is_dir(dir)) else {
            return;
        };
        if one.hidden.is_some() || one.mounted.is_some() || one.is_moved {
            return;
        }
        self.checks.on_mount_below(at.0, dir, &disk);
        if let Some(hidden) = disk.mount_over(dir) {
            one.mounted = Some((dir.to_owned(), hidden));
        }
        one.inbox.mounts_changed();
    }

    fn unmount_below(&mut self, project: usize) {
        let one = &mut self.projects[project];
        if let Some((dir, hidden)) = one.mounted.take() {
            lock(&self.disk).unmount(&dir, hidden);
            self.checks.on_unmount_below(project);
            one.inbox.mounts_changed();
        }
    }

    fn move_root(&mut self, project: usize, away: bool) {
        let one = &mut self.projects[project];
        if one.hidden.is_some() || one.mounted.is_some() || one.is_moved == away {
            return;
        }
        let elsewhere = PathBuf::from(format!("/moved{project}"));
        let mut disk = lock(&self.disk);
        if away {
            disk.rename(&root(project), &elsewhere);
        } else {
            disk.remove(&root(project));
            disk.rename(&elsewhere, &root(project));
        }
        one.is_moved = away;
        // The watcher of the directories above the root.
        one.inbox.mounts_changed();
    }

    fn request_sync(&mut self, project: usize) -> Result<(), Violation> {
        let now = self.now;
        self.next_sync += 1;
        let id = SyncId(self.next_sync);
        let cookie = cookies(project).join(self.next_sync.to_string());
        let (tick, slug) = (self.tick(), slug("a"));
        let is_compared = self.projects[project].state.prepare_sync(Some(&slug), tick);
        if !self.projects[project].state.is_root_away() {
            self.projects[project].state.probe_root();
            self.run_effects(project)?;
            if !is_compared {
                lock(&self.disk).write(&cookie, 0, true, false);
            }
        }
        let cookie = (!is_compared).then_some(cookie);
        let since = self.projects[project].state.newest_effect();
        let start = SyncStart { cookie, since };
        self.sync.start(id, Some(slug), BTreeMap::from([(self.projects[project].id, start)]), now);
        let is_git_locked = self.projects[project].io.git_lock_ns.is_some();
        let window = SyncWindow::open(id, project, is_git_locked, &lock(&self.disk));
        self.checks.windows.push(window);
        Ok(())
    }

    fn crash(&mut self) {
        self.sync = SyncRequests::default();
        self.checks.windows.clear();
        self.degraded = false;
        self.retry_at = Duration::ZERO;
        for (index, before) in std::mem::take(&mut self.projects).into_iter().enumerate() {
            let project = self.start_project(index, Some(before));
            self.projects.push(project);
        }
    }

    // --- Effects ---

    /// Takes the effects that a project emitted, and executes them unless they are held.
    fn run_effects(&mut self, project: usize) -> Result<(), Violation> {
        let tick = self.tick();
        let holds = self.faults.effects == EffectFault::Held;
        for _ in 0..MAX_ITERATIONS {
            let one = &mut self.projects[project];
            while let Some(effect) = one.state.next_effect() {
                // One that follows another changes nothing, and would only hide others.
                let closes = matches!(effect, Effect::CloseRoot);
                if std::mem::replace(&mut one.has_closed_root, closes) && closes {
                    continue;
                }
                self.checks.on_effect(project, &effect);
                trace(|| format!("{:?} p{project} effect {effect:?}", tick.monotonic));
                one.running.push_back(Running::new(effect));
            }
            if holds {
                if let Some(report) = one.io.take_watch_report() {
                    one.handle(report, tick);
                    continue;
                }
                return Ok(());
            }
            // Effects are executed on other threads, so their results come in another iteration.
            if let Some(running) = one.running.pop_front() {
                let lacks_descriptors = self.faults.effects == EffectFault::NoDescriptors;
                let failed = lacks_descriptors.then(|| ModelIo::fail(&running.effect)).flatten();
                let event = failed.or_else(|| self.finish(project, running));
                let one = &mut self.projects[project];
                one.results.extend(event);
            } else if let Some(report) = one.io.take_watch_report() {
                one.handle(report, tick);
            } else {
                return Ok(());
            }
        }
        Err(Violation::new(format!("effects of project {project} cause each other for ever")))
    }

    /// Executes an effect to its end.
    fn finish(&mut self, project: usize, running: Running) -> Option<Event> {
        let mut running = running;
        loop {
            match self.step_one(project, running) {
                IoStep::Continue(next) => running = next,
                IoStep::Finished(event) => return event,
            }
        }
    }

    fn step_one(&mut self, project: usize, running: Running) -> IoStep {
        let one = &mut self.projects[project];
        let step = one.io.step(running);
        self.checks.on_seen(project, std::mem::take(&mut one.io.seen), self.now);
        step
    }

    /// Returns the project and position of an effect that can be executed next: calls to the watcher
    /// keep their order, the others do not.
    fn choose_effect(&self, number: usize) -> Option<(usize, usize)> {
        let mut eligible = Vec::new();
        for (index, project) in self.projects.iter().enumerate() {
            let mut is_watcher_blocked = false;
            for (position, running) in project.running.iter().enumerate() {
                let is_free = matches!(
                    running.effect,
                    Effect::CheckFile { .. }
                        | Effect::CheckFeatureDir { .. }
                        | Effect::ProbeRoot { .. }
                        | Effect::SearchRoot { .. }
                        | Effect::Report(_)
                );
                if is_free || !is_watcher_blocked {
                    eligible.push((index, position));
                }
                is_watcher_blocked |= !is_free;
            }
        }
        (!eligible.is_empty()).then(|| eligible[number % eligible.len()])
    }

    fn step_effect(&mut self, number: usize) -> Result<(), Violation> {
        let Some((project, position)) = self.choose_effect(number) else {
            return Ok(());
        };
        let Some(running) = self.projects[project].running.remove(position) else {
            return Ok(());
        };
        match self.step_one(project, running) {
            IoStep::Continue(next) => self.projects[project].running.insert(position, next),
            IoStep::Finished(Some(event)) => self.projects[project].results.push_back(event),
            IoStep::Finished(None) => {}
        }
        self.projects[project].io.end_iteration();
        self.run_effects(project)
    }

    fn deliver_result(&mut self, number: usize) -> Result<(), Violation> {
        let tick = self.tick();
        let waiting: Vec<usize> =
            (0..PROJECTS).filter(|index| !self.projects[*index].results.is_empty()).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let project = waiting[number % waiting.len()];
        let one = &mut self.projects[project];
        let position = number / waiting.len() % one.results.len();
        if let Some(event) = one.results.remove(position) {
            one.handle(event, tick);
        }
        self.run_effects(project)
    }

    fn time_out(&mut self, number: usize) -> Result<(), Violation> {
        let tick = self.tick();
        self.checks.on_disturbed(self.now);
        let running = self.projects.iter().enumerate().flat_map(|(index, project)| {
            (0..project.running.len()).map(move |position| (index, position))
        });
        let running: Vec<_> = running.collect();
        if running.is_empty() {
            return Ok(());
        }
        let (index, position) = running[number % running.len()];
        let (id, inbox) = (self.projects[index].id, Arc::clone(&self.projects[index].inbox));
        let mut io = self.new_io(index, id, &inbox);
        let project = &mut self.projects[index];
        if let Effect::CheckFile { tag, .. } = project.running[position].effect
            && !project.state.is_under_way(tag.id)
        {
            project.running.remove(position);
            return Ok(());
        }
        // The thread is written off with what it works on, and what waits for it is dropped.
        io.git_lock_ns = project.io.git_lock_ns;
        project.io = io;
        project.running.clear();
        project.handle(Event::ExecutorReplaced, tick);
        self.run_effects(index)
    }

    fn new_io(&self, index: usize, id: ProjectId, inbox: &Arc<Inbox>) -> ModelIo {
        let (shards, inbox) = (self.shards.clone(), Arc::clone(inbox));
        let hints: HintSink = Arc::new(move |hint| inbox.hint(id, hint));
        let join = move |share| RootWatcher::join(&shards, &root(index), share, Arc::clone(&hints));
        ModelIo::new(index, root(index), cookies(index), &self.disk, Arc::new(join))
    }

    fn fail_effect(&mut self, number: usize) -> Result<(), Violation> {
        self.checks.on_disturbed(self.now);
        let Some((project, position)) = self.choose_effect(number) else {
            return Ok(());
        };
        let one = &mut self.projects[project];
        let failed = one.running.get(position).and_then(|running| ModelIo::fail(&running.effect));
        if let Some(event) = failed {
            one.running.remove(position);
            one.results.push_back(event);
        }
        self.run_effects(project)
    }

    // --- The loop ---

    /// Runs iterations until there is nothing more to do at this moment.
    fn run_due(&mut self) -> Result<(), Violation> {
        for _ in 0..MAX_ITERATIONS {
            self.iterate()?;
            let has_events = !self.faults.holds_events && lock(&self.disk).has_events();
            let runs_effects = self.faults.effects != EffectFault::Held;
            let mut projects = self.projects.iter();
            let is_waiting =
                has_events || runs_effects && projects.any(|one| !one.results.is_empty());
            let is_due = self.next_deadline().is_some_and(|due| due <= self.now);
            if !is_waiting && !is_due {
                return Ok(());
            }
        }
        Err(Violation::new(format!("the engine spins at {:?}: {}", self.now, self.describe_due())))
    }

    fn describe_due(&self) -> String {
        let due: Vec<String> = self
            .projects
            .iter()
            .map(|project| format!("{:?}", project.state.next_deadline()))
            .collect();
        format!("projects {due:?}, sync {:?}", self.sync.next_deadline())
    }

    fn next_deadline(&self) -> Option<Duration> {
        let projects = self.projects.iter().filter_map(|project| project.state.next_deadline());
        // What could not be committed is not tried before its time.
        let projects = projects.map(|due| due.max(self.retry_at));
        let store = self.degraded.then_some(self.retry_at);
        projects.chain(self.sync.next_deadline()).chain(store).min()
    }

    /// Lets time pass, and runs what becomes due.
    fn pass(&mut self, time: Duration) -> Result<(), Violation> {
        let until = self.now + time;
        while self.now < until {
            let next = self.next_deadline().map_or(until, |due| due.max(self.now)).min(until);
            let step = next.saturating_sub(self.now);
            self.now = next;
            lock(&self.disk).clock_ns += i64::try_from(step.as_nanos()).unwrap_or_default();
            self.run_due()?;
        }
        Ok(())
    }

    fn iterate(&mut self) -> Result<(), Violation> {
        let tick = self.tick();
        if !self.faults.holds_events {
            lock(&self.disk).send_events();
        }
        for project in 0..self.projects.len() {
            self.take_messages(project)?;
        }
        for project in 0..self.projects.len() {
            self.projects[project].state.on_deadline(tick);
            self.run_effects(project)?;
            self.projects[project].io.end_iteration();
        }
        for index in 0..self.projects.len() {
            if self.projects[index].state.needs_restart() {
                let stopped = self.projects.remove(index);
                self.fail_syncs_of(index);
                let started = self.start_project(index, Some(stopped));
                self.projects.insert(index, started);
                self.run_effects(index)?;
            }
            self.projects[index].state.finish_initial(tick);
        }
        if self.now >= self.retry_at {
            self.commit()?;
        }
        self.publish()?;
        self.answer_syncs()
    }

    /// A request for a project that is restarted is not checked.
    fn fail_syncs_of(&mut self, project: usize) {
        self.checks.windows.retain(|window| window.project != project);
    }

    fn take_messages(&mut self, project: usize) -> Result<(), Violation> {
        let tick = self.tick();
        let one = &mut self.projects[project];
        let mut messages = one.inbox.take(Some(Instant::now()), &mut HintRests::default(), false);
        let hints = messages.hints.remove(&one.id).unwrap_or_default();
        let is_lost = hints.overflow || hints.overflow_by_others;
        if is_lost && !is_planted(Bug::IgnoreOverflow) {
            one.handle(Event::Overflow { by_others: !hints.overflow }, tick);
        }
        let mut paths: Vec<_> = hints.paths.into_iter().collect();
        paths.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (path, kind) in paths {
            if path.starts_with(COOKIES) {
                self.sync.on_cookie(self.projects[project].id, &path);
            } else {
                self.projects[project].handle(Event::Hint { path, kind }, tick);
                self.run_effects(project)?;
            }
        }
        if self.faults.effects != EffectFault::Held {
            for _ in 0..self.projects[project].results.len() {
                if let Some(event) = self.projects[project].results.pop_front() {
                    self.projects[project].handle(event, tick);
                    self.run_effects(project)?;
                }
            }
        }
        if messages.mounts_changed {
            self.projects[project].handle(Event::MountsChanged, tick);
        }
        self.run_effects(project)
    }

    fn commit(&mut self) -> Result<(), Violation> {
        let tick = self.tick();
        let degraded = std::mem::replace(&mut self.degraded, self.faults.is_store_broken);
        if self.faults.is_store_broken && degraded {
            // The barrier that is tried first fails.
            self.retry_at = self.now + STORE_RETRY_INTERVAL;
            return Ok(());
        }
        self.degraded = false;
        self.commit_each(|project| project.state.take_changes(tick))?;
        for project in 0..self.projects.len() {
            self.projects[project].state.prepare_evaluations();
            self.run_effects(project)?;
        }
        let mut next_uuid = self.next_uuid;
        self.commit_each(|project| {
            let new_id = || {
                next_uuid += 1;
                Uuid::from_u128(next_uuid)
            };
            project.state.take_evaluations(new_id, tick)
        })?;
        self.next_uuid = next_uuid;
        Ok(())
    }

    fn commit_each(
        &mut self,
        mut take: impl FnMut(&mut SimProject) -> Vec<(FeatureSlug, FeatureCommit)>,
    ) -> Result<(), Violation> {
        let tick = self.tick();
        if self.now < self.retry_at {
            return Ok(());
        }
        let mut commits = Vec::new();
        let mut is_empty = true;
        for (index, project) in self.projects.iter_mut().enumerate() {
            let taken = take(project);
            is_empty &= taken.is_empty() && project.state.forgotten().is_empty();
            commits.extend(taken.into_iter().map(|(slug, commit)| (index, slug, commit)));
        }
        if is_empty {
            return Ok(());
        }
        if self.faults.is_store_broken {
            self.degraded = true;
            self.retry_at = self.now + STORE_RETRY_INTERVAL;
            return Ok(());
        }
        let crash = self.faults.crash_at_commit.take();
        if crash == Some(Written::No) {
            self.crash();
            return Ok(());
        }
        for index in 0..self.projects.len() {
            for slug in self.projects[index].state.forgotten().to_vec() {
                self.store.forget(index, &slug);
                self.checks.on_forgotten(index, &slug);
            }
            self.projects[index].state.on_forgotten();
        }
        for (index, slug, commit) in &commits {
            let payloads = self.store.apply(*index, slug, commit);
            self.checks.on_committed(*index, slug, &self.store);
            for payload in payloads {
                trace(|| format!("{:?} p{index} commit {payload:?}", self.now));
                self.checks.on_event(*index, &payload, self.now)?;
            }
        }
        if crash == Some(Written::Yes) {
            self.crash();
            return Ok(());
        }
        for (index, slug, commit) in commits {
            self.projects[index].state.on_committed(&slug, commit, tick);
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<(), Violation> {
        let tick = self.tick();
        let works = !self.degraded;
        for index in 0..self.projects.len() {
            let mut next_uuid = self.next_uuid;
            let project = &mut self.projects[index];
            let new_id = || {
                next_uuid += 1;
                Uuid::from_u128(next_uuid)
            };
            let update = project.state.update(new_id, works, tick);
            self.next_uuid = next_uuid;
            for view in update.stale_snapshot_files {
                self.checks.snapshot_files.insert((index, view.slug().clone()), view.snapshot_id);
            }
            if let Some(status) = update.status {
                project.status = status;
                if works {
                    self.checks.check_published(index, &project.status.features)?;
                } else {
                    self.checks.on_published_degraded(index, &project.status.features);
                }
            }
            if is_root_away(&project.status) {
                Checks::check_root_away(index, &project.status.features)?;
            }
            self.run_effects(index)?;
        }
        Ok(())
    }

    fn answer_syncs(&mut self) -> Result<(), Violation> {
        let works = !self.degraded;
        for project in &mut self.projects {
            if self.sync.waits_for(project.id) {
                project.state.hurry_metadata(self.now);
            }
        }
        let projects = &self.projects;
        let progress = |id, slug: Option<&FeatureSlug>, awaited| {
            let project = projects.iter().find(|project| project.id == id);
            project
                .map_or(SyncProgress::Removed, |one| one.state.sync_progress(slug, awaited, works))
        };
        for answer in self.sync.take_answers(progress, self.now) {
            let window = self.checks.windows.iter().position(|window| window.id == answer.id);
            let Some(window) = window.map(|at| self.checks.windows.swap_remove(at)) else {
                continue;
            };
            let project = &self.projects[window.project];
            let is_synced = |result: &ProjectSync| !matches!(result, ProjectSync::None(_));
            if answer.projects.values().all(is_synced) {
                Checks::check_answer(&window, &project.status)?;
            }
        }
        for (id, slug) in self.sync.take_rescans(self.now) {
            let tick = self.tick();
            let index = self.projects.iter().position(|project| project.id == id);
            if let (Some(index), Some(slug)) = (index, slug) {
                let state = &mut self.projects[index].state;
                state.rescan_feature(&slug, RescanMode::POLL, tick);
                self.run_effects(index)?;
            }
        }
        Ok(())
    }

    // --- The end ---

    /// Ends all faults, lets the engine come to rest, and compares its state with the disk.
    fn calm_down(&mut self) -> Result<(), Violation> {
        for project in 0..PROJECTS {
            self.operate(&Op::Unmount(project))?;
            self.operate(&Op::UnmountBelow(project))?;
            self.operate(&Op::ReturnRoot(project))?;
            self.operate(&Op::UnlockGit(project))?;
        }
        for op in [Op::ReleaseEvents, Op::ReleaseEffects, Op::RepairStore, Op::UnlimitWatches] {
            self.operate(&op)?;
        }
        self.faults.crash_at_commit = None;
        self.checks.on_disk_changed(&lock(&self.disk));
        for project in 0..PROJECTS {
            self.run_effects(project)?;
        }
        self.run_due()?;
        self.pass(CALM_TIME)?;
        for (index, project) in self.projects.iter().enumerate() {
            let disk = lock(&self.disk);
            self.checks.check_final(index, &project.state, &project.status, &disk, &self.store)?;
        }
        self.checks.start_quiet_time();
        self.pass(QUIET_TIME)?;
        for (index, project) in self.projects.iter().enumerate() {
            self.checks.check_quiet_time(index, &project.status)?;
        }
        Ok(())
    }
}

/// Prints what happens if `DOSSIERD_SIMULATION_TRACE` is set.
fn trace(line: impl FnOnce() -> String) {
    static IS_ON: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os("DOSSIERD_SIMULATION_TRACE").is_some());
    #[allow(clippy::print_stdout, reason = "printed for a person who looks for a fault")]
    if *IS_ON {
        println!("{}", line().replace('\n', " ").chars().take(300).collect::<String>());
    }
}

fn cookies(project: usize) -> PathBuf {
    Path::new(COOKIES).join(project.to_string())
}

fn settings(index: usize) -> Arc<ReconcileSettings> {
    // Compiling the patterns takes longer than a short history.
    static SETTINGS: LazyLock<Vec<Arc<ReconcileSettings>>> =
        LazyLock::new(|| (0..PROJECTS).map(make_settings).collect());
    Arc::clone(&SETTINGS[index])
}

fn make_settings(index: usize) -> Arc<ReconcileSettings> {
    let pattern = Pattern::new("kitty-specs/*").expect("a valid pattern");
    Arc::new(ReconcileSettings {
        root: root(index),
        user_dirs: Vec::new(),
        probe_paths: vec![root(index).join("probe")],
        limits: ScanLimits::default(),
        times: DebounceTimes::default(),
        scrub: None,
        ignore: IgnoreRules::default(),
        ignore_patterns: Vec::new(),
        ignore_defaults: DefaultNames::default(),
        patterns: Arc::new(FeaturePatterns::new(&[pattern])),
        problem: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_snapshot_file_leaves_no_descriptor_of_the_root_open() {
        let nothing = History::new(Vec::new());
        let mut machine = Machine::start(&nothing);
        machine.run_due().unwrap();
        machine.pass(Duration::from_secs(5)).unwrap();
        let tick = machine.tick();
        let state = &mut machine.projects[0].state;
        assert!(state.is_at_rest());
        // Writing it has opened the root again.
        state.handle(Event::SnapshotWritten { slug: slug("a"), error: None }, tick);
        state.update(Uuid::nil, true, tick);
        assert!(matches!(state.next_effect(), Some(Effect::CloseRoot)));
    }
}

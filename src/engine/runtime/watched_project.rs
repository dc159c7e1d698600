//! A watched project: its pure state, the executor of its effects, and its published view. It
//! passes values between these and decides nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use uuid::Uuid;

use crate::core::path::FeatureSlug;
use crate::core::sync::lock;
use crate::engine::clock::Tick;
use crate::engine::ids::ProjectId;
use crate::engine::inbox::Inbox;
use crate::engine::io::call_pool::{CallPool, Lane, Overdue};
use crate::engine::io::executor::{ProjectContext, ProjectIo, log_report};
use crate::engine::io::file_checks::submit_file_check;
use crate::engine::io::snapshot_writer::SnapshotWriter;
use crate::engine::messages::{EffectResult, FileJob, SnapshotJob};
use crate::engine::read_model::ProjectView;
use crate::engine::reconcile::effect::{Effect, EffectId};
use crate::engine::reconcile::event::Event;
use crate::engine::reconcile::feature::StoredFeature;
use crate::engine::reconcile::project::ProjectState;
use crate::engine::reconcile::project_view::ProjectSummary;
use crate::engine::reconcile::settings::ReconcileSettings;
use crate::project::{Project, ProjectSettings, SnapshotDirs, probe_paths, user_layouts_dir};
use crate::scan::ScanLimits;
use crate::watch::DebounceTimes;

/// Settings of a watched project; a change restarts the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WatchSettings {
    pub(super) root: PathBuf,
    pub(super) user_missions: Option<PathBuf>,
    pub(super) project: ProjectSettings,
    pub(super) limits: ScanLimits,
    pub(super) times: DebounceTimes,
    /// Time in which the scrub reads all files once; `None` disables it.
    pub(super) scrub: Option<Duration>,
}

impl WatchSettings {
    /// Returns them in the form that the reconciler needs.
    pub(super) fn for_reconciler(&self) -> ReconcileSettings {
        let missions = self.user_missions.iter();
        let user_dirs = missions.flat_map(|dir| [dir.clone(), user_layouts_dir(dir)]).collect();
        ReconcileSettings::new(
            self.root.clone(),
            user_dirs,
            probe_paths(&self.root).to_vec(),
            &self.project,
            self.limits,
            self.times,
            self.scrub,
        )
    }
}

/// A watched project.
pub(super) struct WatchedProject {
    pub(super) id: ProjectId,
    pub(super) settings: WatchSettings,
    pub(super) state: ProjectState,
    context: ProjectContext,
    inbox: Arc<Inbox>,
    /// Executes the effects, on one thread at a time. A thread that is written off keeps the one that
    /// it has, and the project gets another.
    io: Arc<Mutex<ProjectIo>>,
    executor: u32,
    /// The project with the metadata that was read last.
    project: Arc<Project>,
    /// What is known of the directories of its snapshot files.
    snapshot_dirs: Arc<SnapshotDirs>,
    /// Identity of the root whose worktree it is; `None` if it is none of a watched project.
    pub(super) main: Option<Arc<str>>,
    /// It is watched only as a worktree.
    is_only_followed: bool,
    /// Number of the iteration of the event loop.
    iteration: u64,
    /// The view that was published last.
    view: Option<Arc<ProjectView>>,
}

impl WatchedProject {
    /// Starts to watch a project; `stored` are its features in the store.
    pub(super) fn start(
        settings: WatchSettings,
        context: ProjectContext,
        inbox: Arc<Inbox>,
        stored: BTreeMap<FeatureSlug, StoredFeature>,
        pool: &CallPool,
        now: Tick,
    ) -> Self {
        let io = ProjectIo::new(context.clone());
        let project = Arc::clone(io.project());
        let pure = Arc::clone(&context.settings);
        let state = ProjectState::start(pure, Arc::new(io.info()), stored, now);
        let mut project = Self {
            id: context.id,
            settings,
            state,
            context,
            inbox,
            io: Arc::new(Mutex::new(io)),
            executor: 0,
            project,
            snapshot_dirs: Arc::default(),
            main: None,
            is_only_followed: false,
            iteration: 0,
            view: None,
        };
        project.run_effects(pool);
        project
    }

    /// Records whose worktree it is, and whether it is watched only because of that.
    pub(super) fn set_main(&mut self, main: Option<Arc<str>>, is_only_followed: bool) {
        self.is_only_followed = is_only_followed;
        if self.main != main {
            let of_main = main.clone();
            self.view = self
                .view
                .take()
                .map(|view| Arc::new(ProjectView { worktree_of: of_main, ..(*view).clone() }));
            self.main = main;
        }
    }

    /// Returns true for a worktree that is followed and whose root does not exist.
    pub(super) fn is_removed_worktree(&self) -> bool {
        self.is_only_followed && self.state.is_root_missing()
    }

    /// Returns the directory for sync cookies, which is watched by the same inotify instance.
    pub(super) fn cookies(&self) -> &Path {
        &self.context.cookies
    }

    /// Applies an event and executes the effects that follow from it.
    pub(super) fn handle(&mut self, event: Event, pool: &CallPool, now: Tick) {
        self.state.handle(event, now);
        self.run_effects(pool);
    }

    /// Applies the result of an effect. One of a former executor is of no use, but the file system
    /// responds again.
    pub(super) fn on_effect_result(&mut self, result: EffectResult, pool: &CallPool, now: Tick) {
        if result.executor == self.executor {
            self.project = result.project;
            self.handle(result.event, pool, now);
        } else {
            self.handle(Event::MountsChanged, pool, now);
        }
    }

    /// Gives up what is under way, because a call of this project does not return. It continues with
    /// another executor: the call may keep the present one, with its watcher, until it returns.
    pub(super) fn on_overdue(&mut self, overdue: Overdue, pool: &CallPool, now: Tick) {
        let is_current = match (overdue.lane, overdue.effect) {
            (Lane::Project, _) => true,
            (_, Some(effect)) => self.state.is_under_way(effect),
            // A snapshot file, or for a client: a probe decides whether the file system responds.
            (_, None) => {
                self.state.probe_root();
                return self.run_effects(pool);
            }
        };
        if is_current {
            pool.clear(self.id);
            self.replace_executor();
            self.handle(Event::ExecutorReplaced, pool, now);
        }
    }

    fn replace_executor(&mut self) {
        self.executor += 1;
        let io = ProjectIo::new(self.context.clone());
        self.project = Arc::clone(io.project());
        self.io = Arc::new(Mutex::new(io));
    }

    /// Runs what is due, and ends the iteration of the event loop for this project.
    pub(super) fn on_deadline(&mut self, pool: &CallPool, now: Tick) {
        self.state.on_deadline(now);
        self.run_effects(pool);
        self.iteration += 1;
    }

    /// Has the effects executed that the reconciler has emitted.
    pub(super) fn run_effects(&mut self, pool: &CallPool) {
        while let Some(effect) = self.state.next_effect() {
            match effect {
                Effect::Report(report) => log_report(&self.settings.root, &report),
                Effect::CheckFile { tag, feature, path, expected, verify_only } => {
                    let (id, project) = (self.id, Arc::clone(&self.project));
                    let limits = self.settings.limits;
                    let job =
                        FileJob { id, tag, project, feature, path, expected, limits, verify_only };
                    let inbox = Arc::clone(&self.inbox);
                    submit_file_check(pool, job, move |result| inbox.file_result(result));
                }
                // A search that may hang waits until a thread that hangs returns.
                Effect::SearchRoot { tag } if !pool.may_hang() => {
                    let event = Event::RootSearched { tag, found: None };
                    self.report(event);
                }
                Effect::CloseRoot if !self.project.holds_root_fd() => {}
                effect => {
                    let id = effect.tag().map(|tag| tag.id);
                    self.submit(pool, id, |io| io.execute(effect));
                }
            }
        }
    }

    fn submit(
        &self,
        pool: &CallPool,
        effect: Option<EffectId>,
        call: impl FnOnce(&mut ProjectIo) -> Option<Event> + Send + 'static,
    ) {
        let (id, executor, iteration) = (self.id, self.executor, self.iteration);
        let (io, inbox) = (Arc::clone(&self.io), Arc::clone(&self.inbox));
        let call = move |_: &mut Vec<u8>| {
            let mut io = lock(&io);
            io.begin_iteration(iteration);
            let completion = call(&mut io);
            // Before the completion, so that nothing is shown as watched that is not.
            let events: Vec<Event> = io.take_watch_report().into_iter().chain(completion).collect();
            let project = Arc::clone(io.project());
            drop(io);
            for event in events {
                let project = Arc::clone(&project);
                inbox.effect_result(EffectResult { id, executor, event, project });
            }
        };
        pool.submit(Lane::Project, id, effect, Box::new(call));
    }

    fn report(&self, event: Event) {
        let (id, executor, project) = (self.id, self.executor, Arc::clone(&self.project));
        self.inbox.effect_result(EffectResult { id, executor, event, project });
    }

    /// Returns the current view, the same as before if nothing changed, and queues the snapshot
    /// files that may be stale. Until the features are listed, it is the one before a restart, and
    /// without that none, unless the file system does not respond.
    pub(super) fn publish(
        &mut self,
        writer: &SnapshotWriter,
        pool: &CallPool,
        store_works: bool,
        now: Tick,
    ) -> Option<Arc<ProjectView>> {
        if self.state.is_starting() && (self.view.is_some() || !self.state.is_started_or_late()) {
            return self.view.clone();
        }
        let update = self.state.update(Uuid::new_v4, store_works, now);
        for view in update.stale_snapshot_files {
            let (project, dirs) = (Arc::clone(&self.project), Arc::clone(&self.snapshot_dirs));
            writer.write(SnapshotJob { id: self.id, project, view, dirs });
        }
        self.run_effects(pool);
        let view = match (update.status, self.view.take()) {
            (None, Some(view)) => view,
            (Some(status), _) => self.to_view(status),
            (None, None) => self.to_view(self.state.status()),
        };
        self.view = Some(Arc::clone(&view));
        Some(view)
    }

    /// Shows what was published of `former`, the same project before a restart, until the features
    /// are listed again.
    pub(super) fn continue_view(&mut self, former: Self) {
        self.view = former.view.map(|view| {
            Arc::new(ProjectView { id: self.id, listed: false, ready: false, ..(*view).clone() })
        });
    }

    /// Builds the view from the summary of the reconciler.
    fn to_view(&self, status: ProjectSummary) -> Arc<ProjectView> {
        let info = &status.info;
        Arc::new(ProjectView {
            id: self.id,
            name: Arc::clone(&info.name),
            root_id: info.root_id.clone(),
            project_uuid: info.project_uuid.clone(),
            node_id: info.node_id.clone(),
            errors: info.errors.clone(),
            warnings: info.warnings.clone(),
            worktree_of: self.main.clone(),
            root: status.root,
            skipped: status.skipped,
            watched: status.watched,
            total: status.total,
            watch: status.watch,
            rescans: status.rescans,
            scrub_detected: status.scrub_detected,
            listed: status.listed,
            ready: status.ready,
            features: status.features,
            project: Arc::clone(&self.project),
        })
    }
}

//! A watched project: its pure state, the executor of its effects, and its published view. It
//! passes values between these and decides nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::core::path::FeatureSlug;
use crate::engine::clock::Tick;
use crate::engine::ids::ProjectId;
use crate::engine::io::executor::ProjectIo;
use crate::engine::io::hash_pool::HashPool;
use crate::engine::io::snapshot_writer::SnapshotWriter;
use crate::engine::io::watch_set::MakeBackend;
use crate::engine::messages::SnapshotJob;
use crate::engine::read_model::ProjectView;
use crate::engine::reconcile::event::Event;
use crate::engine::reconcile::feature::StoredFeature;
use crate::engine::reconcile::project::ProjectState;
use crate::engine::reconcile::project_view::ProjectSummary;
use crate::engine::reconcile::settings::ReconcileSettings;
use crate::project::{Machine, ProjectSettings, probe_path};
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

/// A watched project.
pub(super) struct WatchedProject {
    pub(super) id: ProjectId,
    pub(super) settings: WatchSettings,
    pub(super) state: ProjectState,
    /// Directory for sync cookies, watched by the same inotify instance.
    pub(super) cookies: PathBuf,
    io: ProjectIo,
    /// The view that was published last.
    view: Option<Arc<ProjectView>>,
}

impl WatchedProject {
    /// Starts to watch a project; `stored` are its features in the store.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is used once, and a struct would only move them"
    )]
    pub(super) fn start(
        id: ProjectId,
        settings: WatchSettings,
        machine: Machine,
        cookies: PathBuf,
        make_backend: MakeBackend,
        stored: BTreeMap<FeatureSlug, StoredFeature>,
        pool: &HashPool,
        now: Tick,
    ) -> Self {
        let pure = Arc::new(ReconcileSettings::new(
            settings.root.clone(),
            settings.user_missions.clone(),
            probe_path(&settings.root),
            &settings.project,
            settings.limits,
            settings.times,
            settings.scrub,
        ));
        let io = ProjectIo::new(
            id,
            Arc::clone(&pure),
            settings.project.clone(),
            machine,
            cookies.clone(),
            make_backend,
        );
        let state = ProjectState::start(pure, stored, now);
        let mut project = Self { id, settings, state, cookies, io, view: None };
        project.run_effects(pool, now);
        project
    }

    /// Applies an event and executes the effects that follow from it.
    pub(super) fn handle(&mut self, event: Event, pool: &HashPool, now: Tick) {
        self.state.handle(event, now);
        self.run_effects(pool, now);
    }

    /// Runs what is due, and ends the iteration of the event loop for this project.
    pub(super) fn on_deadline(&mut self, pool: &HashPool, now: Tick) {
        self.state.on_deadline(now);
        self.run_effects(pool, now);
        self.io.end_iteration();
    }

    /// Executes effects, and those that their completions cause, until none is left. The watches are
    /// reported once after them: a report of many refused directories is large.
    pub(super) fn run_effects(&mut self, pool: &HashPool, now: Tick) {
        loop {
            let event = match self.state.next_effect() {
                Some(effect) => self.io.execute(effect, pool),
                None => match self.io.take_watch_report() {
                    Some(report) => Some(report),
                    None => return,
                },
            };
            if let Some(event) = event {
                self.state.handle(event, now);
            }
        }
    }

    /// Returns the current view, the same as before if nothing changed, and queues the snapshot
    /// files that may be stale.
    pub(super) fn publish(
        &mut self,
        writer: &SnapshotWriter,
        pool: &HashPool,
        store_works: bool,
        now: Tick,
    ) -> Arc<ProjectView> {
        let update = self.state.update(Uuid::new_v4, store_works, now);
        for view in update.stale_snapshot_files {
            writer.write(SnapshotJob { id: self.id, project: Arc::clone(self.io.project()), view });
        }
        self.run_effects(pool, now);
        let view = match (update.status, self.view.take()) {
            (None, Some(view)) => view,
            (Some(status), _) => self.to_view(status),
            (None, None) => self.to_view(self.state.status()),
        };
        self.view = Some(Arc::clone(&view));
        view
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
            root: status.root,
            skipped: status.skipped,
            watched: status.watched,
            total: status.total,
            watch: status.watch,
            rescans: status.rescans,
            scrub_detected: status.scrub_detected,
            ready: status.ready,
            features: status.features,
            project: Arc::clone(self.io.project()),
        })
    }
}

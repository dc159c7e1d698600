//! What is committed of a project, and what readers see of it.

use std::sync::Arc;

use uuid::Uuid;

use super::feature::FeatureState;
use super::pending::FeatureCommit;
use super::project::ProjectState;
use super::root::LossKind;
use crate::core::diagnostics::SkippedDir;
use crate::core::path::{FeatureSlug, RelPath, escape_bytes};
use crate::engine::clock::Tick;
use crate::engine::read_model::{FeatureView, ProjectWatchStatus, WatchState};
use crate::engine::reconcile::effect::Effect;
use crate::engine::reconcile::event::ProjectInfo;

/// What the status reports while the process has nothing left to open files with.
const OUT_OF_RESOURCES: &str =
    "out of file descriptors or memory; files are checked again later (raise `ulimit -n`)";

/// What the status reports of a root whose file system did not respond at first.
const NOT_RESPONDED: &str = "the file system has not responded yet";

/// What changed for readers.
#[derive(Debug, Default)]
pub(in crate::engine) struct ProjectUpdate {
    /// The project's state, if it is another one than before.
    pub(in crate::engine) status: Option<ProjectSummary>,
    /// Features whose snapshot file is to be written.
    pub(in crate::engine) stale_snapshot_files: Vec<Arc<FeatureView>>,
}

/// The state of a project, for readers.
#[derive(Debug)]
pub(in crate::engine) struct ProjectSummary {
    pub(in crate::engine) info: Arc<ProjectInfo>,
    /// The root, as text.
    pub(in crate::engine) root: String,
    pub(in crate::engine) skipped: Vec<SkippedDir>,
    pub(in crate::engine) watched: u64,
    pub(in crate::engine) total: u64,
    pub(in crate::engine) watch: ProjectWatchStatus,
    pub(in crate::engine) rescans: u64,
    pub(in crate::engine) scrub_detected: u64,
    /// The first scan has listed the features.
    pub(in crate::engine) listed: bool,
    /// All features are indexed.
    pub(in crate::engine) ready: bool,
    /// In the order of slug.
    pub(in crate::engine) features: Vec<Arc<FeatureView>>,
}

impl ProjectState {
    pub(in crate::engine) fn info(&self) -> &Arc<ProjectInfo> {
        &self.info
    }

    /// Returns true if the root was lost and is present again: the project is to be restarted.
    pub(in crate::engine) fn needs_restart(&self) -> bool {
        self.root.has_returned()
    }

    /// Ends the first comparison of the features for which it is done.
    pub(in crate::engine) fn finish_initial(&mut self, now: Tick) {
        self.features.for_each_active(|_, feature| feature.finish_initial(now.monotonic));
    }

    /// Returns the changes that are to be committed now.
    pub(in crate::engine) fn take_changes(
        &mut self,
        now: Tick,
    ) -> Vec<(FeatureSlug, FeatureCommit)> {
        self.take_commits(now, |feature| feature.take_changes(now))
    }

    /// Returns the evaluations that are to be committed now, of what is committed.
    pub(in crate::engine) fn take_evaluations(
        &mut self,
        mut new_id: impl FnMut() -> Uuid,
        now: Tick,
    ) -> Vec<(FeatureSlug, FeatureCommit)> {
        let metadata = self.metadata_read();
        self.take_commits(now, |feature| feature.take_evaluation(metadata, &mut new_id, now))
    }

    fn take_commits(
        &mut self,
        now: Tick,
        mut take: impl FnMut(&mut FeatureState) -> Option<FeatureCommit>,
    ) -> Vec<(FeatureSlug, FeatureCommit)> {
        let newest = self.effects.newest_id();
        let mut commits = Vec::new();
        self.features.for_each_active(|slug, feature| {
            let Some(commit) = take(feature) else {
                return;
            };
            if feature.is_no_change(&commit) {
                feature.on_committed(commit, newest, now);
            } else {
                commits.push((slug.clone(), commit));
            }
        });
        commits
    }

    /// Records that a commit was written.
    pub(in crate::engine) fn on_committed(
        &mut self,
        slug: &FeatureSlug,
        commit: FeatureCommit,
        now: Tick,
    ) {
        let newest = self.effects.newest_id();
        if let Some(feature) = self.features.activate(slug) {
            feature.on_committed(commit, newest, now);
        }
    }

    /// Returns the features that the store is to forget.
    pub(in crate::engine) fn forgotten(&self) -> &[FeatureSlug] {
        &self.published.forgotten
    }

    /// Records that the store forgot them.
    pub(in crate::engine) fn on_forgotten(&mut self) {
        self.published.forgotten.clear();
    }

    /// Returns what changed for readers since the last call, and deactivates features at rest. While
    /// `store_works`, only what is committed is shown.
    pub(in crate::engine) fn update(
        &mut self,
        mut new_id: impl FnMut() -> Uuid,
        store_works: bool,
        now: Tick,
    ) -> ProjectUpdate {
        let mut changed = std::mem::take(&mut self.published.changed);
        let mut stale_snapshot_files = Vec::new();
        let views = &mut self.published.features;
        if changed {
            views.retain(|view| self.features.contains(view.slug()));
        }
        let name = Arc::clone(&self.info.name);
        self.features.for_each_active(|slug, feature| {
            let view = feature.view(&name, &mut new_id, store_works, now.wall);
            if feature.take_stale_snapshot_file() {
                stale_snapshot_files.push(Arc::clone(&view));
            }
            match views.binary_search_by(|known| known.slug().cmp(slug)) {
                Ok(at) if Arc::ptr_eq(&views[at], &view) => return,
                Ok(at) => views[at] = view,
                Err(at) => views.insert(at, view),
            }
            changed = true;
        });
        let ready = self.features.active().all(FeatureState::is_shown_as_indexed);
        let ready = ready && self.is_started_or_late();
        let rests = self.features.deactivate_resting() && self.effects.is_idle();
        if rests {
            // Nothing keeps its file system from being unmounted.
            self.effects.emit_untracked(Effect::CloseRoot);
        }
        changed |= ready != self.published.ready;
        self.published.ready = ready;
        let status = changed.then(|| self.status());
        ProjectUpdate { status, stale_snapshot_files }
    }

    pub(in crate::engine) fn status(&self) -> ProjectSummary {
        let report = self.health.report();
        ProjectSummary {
            info: Arc::clone(&self.info),
            root: escape_bytes(std::os::unix::ffi::OsStrExt::as_bytes(
                self.settings.root.as_os_str(),
            ))
            .into_owned(),
            skipped: self.skipped.clone(),
            watched: report.watched,
            total: report.total,
            watch: self.watch(),
            rescans: self.health.rescans(),
            scrub_detected: self.scrub.detected_changes(),
            listed: !self.is_starting(),
            ready: self.published.ready,
            features: self.published.features.clone(),
        }
    }

    /// Returns how well the project is watched, the worst first.
    fn watch(&self) -> ProjectWatchStatus {
        let state = |state, detail| ProjectWatchStatus { state, detail };
        if self.is_starting() {
            return state(WatchState::Unresponsive, Some(NOT_RESPONDED.to_owned()));
        }
        if let Some(away) = self.root.away() {
            let lost = match away.loss.kind {
                LossKind::Unavailable => WatchState::RootUnavailable,
                LossKind::Unreadable => WatchState::Unreadable,
                LossKind::Unresponsive => WatchState::Unresponsive,
            };
            return state(lost, Some(away.loss.error.clone()));
        }
        if let Some(message) = self.health.rescan_message() {
            return state(WatchState::Rescanning, Some(message));
        }
        if let Some(reason) = self.polls_all() {
            return state(WatchState::Polling, Some(reason));
        }
        let report = self.health.report();
        if let (Some(refusal), false) = (&report.refusal, report.refused.is_empty()) {
            let (watched, total) = (report.watched, report.total);
            let detail =
                format!("watching {watched} of {total} directories, polling the others: {refusal}");
            return state(WatchState::Degraded, Some(detail));
        }
        let remote: Vec<_> = self.remote_mounts().map(RelPath::text).collect();
        if !remote.is_empty() {
            let remote = remote.join(", ");
            let detail = format!("polling {remote}: files there can change without an event");
            return state(WatchState::Degraded, Some(detail));
        }
        if self.out_of_resources {
            return state(WatchState::Degraded, Some(OUT_OF_RESOURCES.to_owned()));
        }
        match &self.settings.problem {
            Some(problem) => state(WatchState::Degraded, Some(problem.clone())),
            None => state(WatchState::Live, self.snapshots.message()),
        }
    }
}

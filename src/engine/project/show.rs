//! Builds the published view of a project. It publishes nothing itself.

use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use super::LiveProject;
use super::hints::OUT_OF_RESOURCES;
use crate::core::path::escape_bytes;
use crate::core::time::Timestamp;
use crate::engine::feature::LiveFeature;
use crate::engine::view::{FeatureView, ProjectView, ProjectWatchStatus, WatchState};
use crate::project::Project;

impl LiveProject {
    /// Returns the current view, the same as before if nothing changed, and deactivates idle
    /// features. Calls `on_change` with each feature whose view changed.
    pub(in crate::engine) fn view(
        &mut self,
        at: Timestamp,
        mut on_change: impl FnMut(&Arc<Project>, &mut LiveFeature, &Arc<FeatureView>),
    ) -> Arc<ProjectView> {
        let name = Arc::clone(&self.project.name);
        let mut changed = std::mem::take(&mut self.changed);
        let published = self.published.take();
        let mut features = published.as_ref().map(|view| view.features.clone()).unwrap_or_default();
        if changed {
            features.retain(|feature| self.features.contains_key(feature.slug()));
        }
        for slug in &self.active {
            let Some(feature) = self.features.get_mut(slug) else {
                continue;
            };
            let view = feature.view(&name, at);
            match features.binary_search_by(|known| known.slug().cmp(slug)) {
                Ok(index) if Arc::ptr_eq(&features[index], &view) => continue,
                Ok(index) => features[index] = Arc::clone(&view),
                Err(index) => features.insert(index, Arc::clone(&view)),
            }
            changed = true;
            on_change(&self.project, feature, &view);
        }
        let ready = self.active().all(|feature| feature.indexed);
        self.active.retain(|slug| {
            self.features.get_mut(slug).is_some_and(|feature| !feature.try_deactivate())
        });
        if self.active.is_empty() {
            // An open root would keep its file system from being unmounted.
            self.project.close_root_fd();
        }
        let view = match published {
            Some(view) if !changed && view.ready == ready => view,
            _ => Arc::new(ProjectView {
                id: self.setup.id,
                root: escape_bytes(self.setup.root.as_os_str().as_bytes()).into_owned(),
                root_id: self.project.root_id.clone(),
                project_uuid: self.project.project_uuid.clone(),
                node_id: self.project.node_id.clone(),
                errors: self.project.errors.iter().chain(&self.findings.errors).cloned().collect(),
                warnings: self.findings.warnings.clone(),
                skipped: self.skipped.clone(),
                watched: self.watching.watched(),
                total: self.watching.total(),
                watch: self.watch_state(),
                resyncs: self.care.resyncs,
                scrub_detected: self.scrub.detected,
                ready,
                features,
                name,
                project: Arc::clone(&self.project),
            }),
        };
        self.published = Some(Arc::clone(&view));
        view
    }

    /// Returns how well the project is watched, with the reason; the worst problem first.
    fn watch_state(&self) -> ProjectWatchStatus {
        if let Some(away) = &self.root.away {
            let state =
                if away.unreadable { WatchState::Unreadable } else { WatchState::RootUnavailable };
            return ProjectWatchStatus::new(state, Some(away.reason.clone()));
        }
        if let Some(reason) = self.care.rescan_reason() {
            return ProjectWatchStatus::new(WatchState::Rescanning, Some(reason));
        }
        if let Some(reason) = self.poll_reason() {
            return ProjectWatchStatus::new(WatchState::Polling, Some(reason));
        }
        if let Some(reason) = self.watching.refusal() {
            let (watched, total) = (self.watching.watched(), self.watching.total());
            let reason =
                format!("watching {watched} of {total} directories, polling the others: {reason}");
            return ProjectWatchStatus::new(WatchState::Degraded, Some(reason));
        }
        if self.out_of_resources {
            return ProjectWatchStatus::new(
                WatchState::Degraded,
                Some(OUT_OF_RESOURCES.to_owned()),
            );
        }
        match &self.fault {
            Some(fault) => ProjectWatchStatus::new(WatchState::Degraded, Some(fault.clone())),
            None => ProjectWatchStatus::new(WatchState::Live, self.unwritten.message()),
        }
    }
}

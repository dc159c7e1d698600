//! What a project shows.

use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use super::LiveProject;
use super::hints::OUT_OF_RESOURCES;
use crate::core::path::escape_bytes;
use crate::core::time::Timestamp;
use crate::engine::feature::LiveFeature;
use crate::engine::view::{FeatureView, ProjectView, WatchState};
use crate::project::Project;

impl LiveProject {
    /// The present picture, the same as before where nothing changed; features with nothing left to
    /// do sleep from then on. `news` is called with each that was shown anew.
    pub(in crate::engine) fn view(
        &mut self,
        at: Timestamp,
        mut news: impl FnMut(&Arc<Project>, &mut LiveFeature, &Arc<FeatureView>),
    ) -> Arc<ProjectView> {
        let name = Arc::clone(&self.project.name);
        let mut changed = std::mem::take(&mut self.changed);
        let shown = self.published.take();
        let mut features = shown.as_ref().map(|shown| shown.features.clone()).unwrap_or_default();
        if changed {
            features.retain(|shown| self.features.contains_key(shown.slug()));
        }
        for slug in &self.active {
            let Some(feature) = self.features.get_mut(slug) else {
                continue;
            };
            let view = feature.view(&name, at);
            match features.binary_search_by(|known| known.slug().cmp(slug)) {
                Ok(place) if Arc::ptr_eq(&features[place], &view) => continue,
                Ok(place) => features[place] = Arc::clone(&view),
                Err(place) => features.insert(place, Arc::clone(&view)),
            }
            changed = true;
            news(&self.project, feature, &view);
        }
        let ready = self.active().all(|feature| feature.indexed);
        self.active.retain(|slug| {
            self.features.get_mut(slug).is_some_and(|feature| !feature.try_deactivate())
        });
        if self.active.is_empty() {
            // Nothing keeps its file system from being unmounted.
            self.project.close_root_fd();
        }
        let view = match shown {
            Some(shown) if !changed && shown.ready == ready => shown,
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
                caught: self.scrub.caught,
                ready,
                features,
                name,
                project: Arc::clone(&self.project),
            }),
        };
        self.published = Some(Arc::clone(&view));
        view
    }

    /// How well the project is watched, worst first.
    fn watch_state(&self) -> (WatchState, Option<String>) {
        if let Some(away) = &self.root.away {
            let state =
                if away.unreadable { WatchState::Unreadable } else { WatchState::RootUnavailable };
            return (state, Some(away.why.clone()));
        }
        if let Some(why) = self.care.rescan_reason() {
            return (WatchState::Rescanning, Some(why));
        }
        if let Some(why) = self.poll_reason() {
            return (WatchState::Polling, Some(why));
        }
        if let Some(why) = self.watching.refusal() {
            let (watched, total) = (self.watching.watched(), self.watching.total());
            let why = format!("watching {watched} of {total} folders, polling the rest: {why}");
            return (WatchState::Degraded, Some(why));
        }
        if self.out_of_resources {
            return (WatchState::Degraded, Some(OUT_OF_RESOURCES.to_owned()));
        }
        match &self.fault {
            Some(fault) => (WatchState::Degraded, Some(fault.clone())),
            None => (WatchState::Live, self.unwritten.message()),
        }
    }
}

//! Waits until the engine has seen all changes made before a request: `sync=true`.

use std::collections::BTreeMap;

use crate::api::request::engine_call::call_engine;
use crate::api::state::ApiState;
use crate::core::path::FeatureSlug;
use crate::engine::command::{Command, FeatureRef, NotSynced, ProjectSync};
use crate::engine::ids::ProjectId;
use crate::engine::read_model::{EngineState, ProjectView};
use crate::wire::problem::Problem;
use crate::wire::status::{SyncStatus, Synced};

/// How each project was synchronised.
#[derive(Debug, Clone)]
pub(crate) struct SyncReport(BTreeMap<ProjectId, ProjectSync>);

/// Waits until the engine has seen all changes of a feature, or of everything.
pub(crate) async fn wait_synced(
    api: &ApiState,
    feature: Option<(ProjectId, FeatureSlug)>,
) -> Result<SyncReport, Problem> {
    let feature = feature.map(|(project, slug)| FeatureRef { project, slug });
    call_engine(api, |reply| Command::Sync { feature, reply }).await.map(SyncReport)
}

impl SyncReport {
    /// Returns true if a project was waited for. One that was added or restarted meanwhile was not.
    pub(crate) fn covers(&self, project: ProjectId) -> bool {
        self.0.contains_key(&project)
    }

    /// Returns how a project was synchronised.
    pub(crate) fn project(&self, project: &ProjectView) -> SyncStatus {
        let none =
            |reason: String| SyncStatus { synced: Synced::None, synced_reason: Some(reason) };
        match self.0.get(&project.id) {
            Some(ProjectSync::Cookie) => SyncStatus::from(Synced::Cookie),
            Some(ProjectSync::Scan) => SyncStatus::from(Synced::Scan),
            Some(ProjectSync::None(NotSynced::RootAway)) => {
                let detail = project.watch.detail.as_deref();
                none(detail.unwrap_or("the root is unavailable").to_owned())
            }
            Some(ProjectSync::None(NotSynced::TimedOut)) => {
                none("the comparison with the disk has not ended in time".to_owned())
            }
            None => none("the project was started during the request".to_owned()),
        }
    }

    /// Returns the weakest of all projects, with the root that it concerns in the reason.
    pub(crate) fn weakest<'w>(
        &self,
        projects: impl IntoIterator<Item = &'w ProjectView>,
    ) -> SyncStatus {
        let all = projects.into_iter().map(|project| (self.project(project), project));
        let weakest = all.max_by_key(|(status, _)| status.synced);
        let Some((SyncStatus { synced, synced_reason }, project)) = weakest else {
            return SyncStatus::from(Synced::Cookie);
        };
        let with_root = |reason| format!("{}: {reason}", project.root);
        SyncStatus { synced, synced_reason: synced_reason.map(with_root) }
    }

    /// Returns the weakest of all projects in a state.
    pub(crate) fn of_state(&self, world: &EngineState) -> SyncStatus {
        self.weakest(world.projects.iter().map(|project| &**project))
    }
}

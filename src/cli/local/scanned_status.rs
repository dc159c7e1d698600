//! The status of a project that was scanned once, in the form that the daemon has for those it watches.

use crate::cli::local::diagnostics::ProjectDiagnostics;
use crate::cli::local::target::LocalTarget;
use crate::cli::scope::root_text;
use crate::core::feature::Feature;
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, Synced, WatchStatus};

/// Returns the status of the scanned `features` of a project.
pub(crate) fn project_status<'a>(
    target: &'a LocalTarget,
    features: &'a [Feature],
    diagnostics: &'a ProjectDiagnostics,
) -> ProjectStatus<'a> {
    let project = &target.project;
    ProjectStatus {
        project: (&*project.name).into(),
        root: root_text(&project.root).into(),
        root_id: project.root_id.as_str().into(),
        worktree_of: None,
        project_uuid: project.project_uuid.as_str().into(),
        node_id: project.node_id.as_str().into(),
        sync: Some(Synced::Scan.into()),
        watch: WatchStatus::unwatched(),
        manifest_errors: diagnostics.errors.as_slice().into(),
        manifest_warnings: diagnostics.warnings.as_slice().into(),
        skipped: target.skipped.as_slice().into(),
        features: features.iter().map(Overview::from).collect(),
    }
}

//! Makes the overview of a published feature: that of a scan, and what only the daemon knows.

use crate::core::artifact::RequiredStatus;
use crate::core::feature::Feature;
use crate::engine::read_model::{EngineState, FeatureView, ProjectView};
use crate::wire::overview::Overview;

/// Returns the overview of `view`, whose complete state is `feature`.
pub(crate) fn overview<'a>(
    world: &'a EngineState,
    project: &ProjectView,
    view: &'a FeatureView,
    feature: &'a Feature,
) -> Overview<'a> {
    let required =
        view.tombstones.iter().filter(|dead| dead.required_status == RequiredStatus::Required);
    let mut deleted: Vec<_> = required.map(|dead| (&*dead.artifact_key).into()).collect();
    deleted.sort();
    let differs_in = project.differs_in(view, &world.projects);
    let differs_in = differs_in.into_iter().map(Into::into).collect();
    Overview { deleted_required: deleted, differs_in, ..Overview::from(feature) }
}

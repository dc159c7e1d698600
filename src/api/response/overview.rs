//! Makes the overview of a published feature: that of a scan, and what only the daemon knows.

use crate::core::artifact::RequiredStatus;
use crate::core::feature::Feature;
use crate::engine::read_model::FeatureView;
use crate::wire::overview::Overview;

/// Returns the overview of `view`, whose complete state is `feature`.
pub(crate) fn overview<'a>(view: &'a FeatureView, feature: &'a Feature) -> Overview<'a> {
    let required =
        view.tombstones.iter().filter(|dead| dead.required_status == RequiredStatus::Required);
    let mut deleted: Vec<_> = required.map(|dead| (&*dead.artifact_key).into()).collect();
    deleted.sort();
    Overview { deleted_required: deleted, ..Overview::from(feature) }
}

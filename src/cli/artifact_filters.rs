//! Filters of artifact lists whose values are data of the feature: a value that no artifact has is a mistake, not an
//! empty list.

use std::collections::BTreeSet;

use crate::cli::render::labels;
use crate::wire::artifacts::ArtifactList;

/// A step or work package that no artifact of the feature has.
#[derive(Debug, thiserror::Error)]
#[error("no artifact of {feature} has the {name} `{value}`; {known}")]
pub(crate) struct UnknownFilterValue {
    feature: String,
    name: &'static str,
    value: String,
    known: String,
}

/// Fails for a step or a work package that no artifact of the feature has, and names those that there are. `all` is
/// the list without filters.
pub(crate) fn check_filter_values(
    feature: &str,
    step: Option<&str>,
    work_package: Option<&str>,
    all: &ArtifactList<'_>,
) -> Result<(), UnknownFilterValue> {
    let check = |name, value: Option<&str>, known: BTreeSet<&str>| match value {
        Some(value) if !known.contains(value) => {
            let known: Vec<&str> = known.into_iter().collect();
            let known = if known.is_empty() {
                "none of them has one".to_owned()
            } else {
                format!("there are {}", labels::join_truncated(&known))
            };
            let (feature, value) = (feature.to_owned(), value.to_owned());
            Err(UnknownFilterValue { feature, name, value, known })
        }
        _ => Ok(()),
    };
    let steps = all.artifacts.iter().filter_map(|one| one.step_id.as_deref());
    let packages = all.artifacts.iter().filter_map(|one| one.wp_id.as_deref());
    check("step", step, steps.collect())?;
    check("work package", work_package, packages.collect())
}

//! The order of listed artifacts, and which of them are required.

use std::collections::HashMap;
use std::sync::Arc;

use super::artifact::{ArtifactKey, ArtifactRef, RequiredStatus};
use super::key::disambiguate_key;

/// Returns the artifacts in byte order of key. Keys that files of crafted names share are made
/// unique (`docs/specification.md#artifact-keys`).
pub fn sorted_artifacts(
    artifacts: impl Iterator<Item = Arc<ArtifactRef>>,
) -> Arc<[Arc<ArtifactRef>]> {
    let mut artifacts: Vec<Arc<ArtifactRef>> = artifacts.collect();
    sort_and_disambiguate(&mut artifacts);
    artifacts.into()
}

/// Sorts by key and makes all keys unique.
fn sort_and_disambiguate(artifacts: &mut [Arc<ArtifactRef>]) {
    let order = |a: &Arc<ArtifactRef>, b: &Arc<ArtifactRef>| {
        (&a.artifact_key, &a.relative_path).cmp(&(&b.artifact_key, &b.relative_path))
    };
    artifacts.sort_unstable_by(order);
    if !artifacts.windows(2).any(|pair| pair[0].artifact_key == pair[1].artifact_key) {
        return;
    }
    let mut count = HashMap::<ArtifactKey, usize>::new();
    for artifact in artifacts.iter() {
        *count.entry(artifact.artifact_key.clone()).or_default() += 1;
    }
    for artifact in artifacts.iter_mut() {
        if count.get(&artifact.artifact_key).is_some_and(|count| *count > 1) {
            let key = disambiguate_key(&artifact.artifact_key, &artifact.relative_path);
            Arc::make_mut(artifact).artifact_key = key;
        }
    }
    artifacts.sort_unstable_by(order);
}

/// Returns true if the artifact is required.
pub(super) fn is_required(artifact: &ArtifactRef) -> bool {
    artifact.required_status == RequiredStatus::Required
}

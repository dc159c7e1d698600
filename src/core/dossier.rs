//! The dossier of one feature: its files and the expected artifacts that are absent. It is made by
//! an inventory.

use std::sync::Arc;

use super::artifact::ArtifactRef;
use super::artifact_list::is_required;
use super::feature_context::{Completeness, FeatureContext};

/// The artifacts of a feature at one time (`docs/specification.md#terms`).
#[derive(Debug, Clone)]
pub struct MissionDossier {
    /// The feature, and the rules by which it is evaluated.
    pub context: Arc<FeatureContext>,
    /// All files and absent specs, in byte order of key.
    pub artifacts: Arc<[Arc<ArtifactRef>]>,
}

impl MissionDossier {
    /// Returns the required artifacts (`docs/specification.md#required-status`): of
    /// `required_always` and of the step `step_id`; all of them without a step; none without a
    /// manifest.
    #[must_use]
    pub fn required_artifacts(&self, step_id: Option<&str>) -> Vec<&ArtifactRef> {
        let Some(mission) = &self.context.mission else {
            return Vec::new();
        };
        let all = self.artifacts.iter().map(Arc::as_ref);
        let required = all.filter(|artifact| is_required(artifact));
        let Some(step_id) = step_id else {
            return required.collect();
        };
        let specs = mission.manifest.required_for_step(step_id);
        required
            .filter(|artifact| {
                specs.iter().any(|spec| {
                    let rest = artifact.artifact_key.strip_prefix(spec.artifact_key.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
            })
            .collect()
    }

    /// Returns the required artifacts that are not present, of the step `step_id` as in
    /// [`Self::required_artifacts`].
    #[must_use]
    pub fn missing_required_artifacts(&self, step_id: Option<&str>) -> Vec<&ArtifactRef> {
        let mut missing = self.required_artifacts(step_id);
        missing.retain(|artifact| !artifact.is_present());
        missing
    }

    /// Returns whether all required artifacts are present.
    #[must_use]
    pub fn completeness_status(&self) -> Completeness {
        let missing = self.artifacts.iter().filter(|a| is_required(a) && !a.is_present());
        Completeness::of(&self.context, missing.count() as u64)
    }

    /// Returns the artifact with the key.
    #[must_use]
    pub fn find_artifact(&self, key: &str) -> Option<&ArtifactRef> {
        let index = self.artifacts.binary_search_by(|a| a.artifact_key.as_ref().cmp(key)).ok()?;
        self.artifacts.get(index).map(Arc::as_ref)
    }

    /// Returns the artifact with a key, else the one at a path in the feature.
    #[must_use]
    pub fn find_by_name(&self, name: &str) -> Option<&ArtifactRef> {
        self.find_artifact(name).or_else(|| find_by_path(&self.artifacts, name).map(Arc::as_ref))
    }
}

/// Returns the artifact at a path in the feature; of several, such as a file and the tombstone of its
/// former key, one that is present.
#[must_use]
pub fn find_by_path<'a>(
    artifacts: &'a [Arc<ArtifactRef>],
    path: &str,
) -> Option<&'a Arc<ArtifactRef>> {
    let at_path = artifacts.iter().filter(|artifact| artifact.relative_path.text() == path);
    at_path.min_by_key(|artifact| !artifact.is_present())
}

#[cfg(test)]
mod tests;

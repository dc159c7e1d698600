//! The dossier of one feature: what was observed, put beside what its mission expects.

use std::sync::Arc;

use super::artifact::ArtifactRef;
use super::artifact_list::is_required;
use super::feature_context::{Completeness, FeatureContext};

/// Complete artifact inventory of a feature (seed: `MissionDossier`).
#[derive(Debug, Clone)]
pub struct MissionDossier {
    /// What it is of, and by what it is judged.
    pub context: Arc<FeatureContext>,
    /// All artifacts and absent specs, in byte order of key.
    pub artifacts: Arc<[Arc<ArtifactRef>]>,
}

impl MissionDossier {
    /// The seed's `get_required_artifacts`: those of `required_always` and of that one step; all
    /// required ones without a step; none without a manifest.
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

    /// The required artifacts that are not present.
    #[must_use]
    pub fn missing_required_artifacts(&self, step_id: Option<&str>) -> Vec<&ArtifactRef> {
        let mut missing = self.required_artifacts(step_id);
        missing.retain(|artifact| !artifact.is_present());
        missing
    }

    /// Whether all that is required is there.
    #[must_use]
    pub fn completeness_status(&self) -> Completeness {
        let missing = self.artifacts.iter().filter(|a| is_required(a) && !a.is_present());
        Completeness::of(&self.context, missing.count() as u64)
    }

    /// The artifact with that key.
    #[must_use]
    pub fn find_artifact(&self, key: &str) -> Option<&ArtifactRef> {
        let place = self.artifacts.binary_search_by(|a| a.artifact_key.as_ref().cmp(key)).ok()?;
        self.artifacts.get(place).map(Arc::as_ref)
    }
}

#[cfg(test)]
mod tests;

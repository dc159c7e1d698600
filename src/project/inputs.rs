//! All that a feature's dossier depends on beside its artifacts: mission, step, run, baseline.

use super::step::StepFault;
use super::{FeatureDir, Project, baseline, meta};
use crate::core::dossier::{Doubt, Terms};
use crate::core::feature::{Bearings, StepSource};
use crate::core::identity::{self as ids, BaselineKey, NO_MANIFEST};

/// What is read of one feature beside its artifacts.
#[derive(Debug)]
pub struct Inputs {
    /// What its dossier is of, and by what it is judged.
    pub terms: Terms,
    /// What else is known of it.
    pub bearings: Bearings,
}

impl Project {
    /// Reads all that a feature's dossier depends on beside its artifacts.
    #[must_use]
    pub fn inputs(&self, feature: &FeatureDir) -> Inputs {
        let slug = feature.slug.as_str();
        let meta = meta::read(&self.folder, feature, self.settings.mission.as_ref());
        let loaded = self.missions.load(&self.folder, &meta.mission);
        let (step, step_source, fault) = self.step(slug);
        let step_unseen = fault.as_ref().is_some_and(|fault| fault.unseen);
        let mut step_error = fault.map(|fault| fault.text);
        if let (Some(step), Some(mission)) = (&step, &loaded.mission)
            && !mission.knows_step(step)
        {
            let text =
                format!("step `{step}` is not one of the mission's; all that it requires counts");
            step_error.get_or_insert(text);
        }
        let doubt = if meta.error.is_some() {
            Some(Doubt::MissionUnreadable)
        } else if loaded.broken {
            Some(Doubt::ManifestBroken)
        } else {
            None
        };
        let manifest_version = loaded
            .mission
            .as_ref()
            .map_or(NO_MANIFEST, |mission| mission.manifest.manifest_version.as_str());
        let key = BaselineKey {
            project_uuid: self.project_uuid.clone(),
            node_id: self.node_id.clone(),
            feature_slug: slug.to_owned(),
            target_branch: meta.target_branch.unwrap_or_else(|| self.branch.clone()),
            mission_key: meta.mission.as_str().to_owned(),
            manifest_version: manifest_version.to_owned(),
        };
        let run_id = self.runs.run_id(slug);
        Inputs {
            terms: Terms {
                feature_slug: feature.slug.clone(),
                feature_dir: self.feature_path(feature),
                mission_type: meta.mission,
                mission_run_id: run_id.unwrap_or_else(|| ids::derived_run_id(&self.root_id, slug)),
                mission: loaded.mission,
                step: step.map(Into::into),
                doubt,
            },
            bearings: Bearings {
                step_source,
                step_error,
                step_unseen,
                meta_error: meta.error,
                key,
                baseline: baseline::read(&self.folder, &feature.slug),
            },
        }
    }

    fn step(&self, slug: &str) -> (Option<String>, StepSource, Option<StepFault>) {
        let (issued, error) = match self.runs.step(&self.folder, &self.root, slug) {
            Ok(issued) => (issued, None),
            Err(error) => (None, Some(error)),
        };
        if issued.is_some() {
            return (issued, StepSource::Runtime, error);
        }
        match self.settings.step.get(slug) {
            Some(step) => (Some(step.clone()), StepSource::Config, error),
            None => (None, StepSource::None, error),
        }
    }
}

//! Reads the inputs of a feature's dossier other than its artifacts: mission, step, run, baseline.

use super::feature_dir::FeatureDir;
use super::meta::FeatureMeta;
use super::step::StepError;
use super::{Project, baseline, meta};
use crate::core::digest::Digest;
use crate::core::feature::{FeatureMetadata, MetaFields, StepSource};
use crate::core::feature_context::{FeatureContext, UnknownReason};
use crate::core::identity::{self as ids, BaselineKey, NO_MANIFEST_VERSION};

/// The inputs of a feature's dossier other than its artifacts.
#[derive(Debug)]
pub struct FeatureInputs {
    /// The feature, and what its completeness is evaluated against.
    pub context: FeatureContext,
    /// The source of its step, errors in its files, and its baseline.
    pub metadata: FeatureMetadata,
    /// Hash of the `meta.json` that they were read from; `None` if there is none, or it cannot be
    /// read.
    pub meta_hash: Option<Digest>,
}

/// The current step of a feature.
struct ResolvedStep {
    step: Option<String>,
    source: StepSource,
    error: Option<StepError>,
}

impl Project {
    /// Reads the inputs of a feature's dossier other than its artifacts. While `meta.json` cannot be
    /// used, what it contained when it was valid last counts.
    #[must_use]
    pub fn read_feature_inputs(&self, feature: &FeatureDir) -> FeatureInputs {
        let FeatureMeta { fields, hash } = meta::read(&self.root_dir, feature);
        self.metas.record(feature, &fields);
        self.read_other_inputs(feature, fields.err().map(|error| error.to_string()), hash)
    }

    /// Reads what is left of the inputs of a feature whose directory does not exist; of its
    /// `meta.json`, what it contained last counts.
    #[must_use]
    pub fn read_gone_feature_inputs(&self, feature: &FeatureDir) -> FeatureInputs {
        self.read_other_inputs(feature, None, None)
    }

    fn read_other_inputs(
        &self,
        feature: &FeatureDir,
        meta_error: Option<String>,
        meta_hash: Option<Digest>,
    ) -> FeatureInputs {
        let slug = feature.slug.as_str();
        let last_valid_meta = self.metas.last_valid(&feature.slug);
        let MetaFields { mission, target_branch } = last_valid_meta.clone().unwrap_or_default();
        let mission_type = mission.or_else(|| self.settings.mission.clone()).unwrap_or_default();
        let loaded = self.missions.load(&self.root_dir, &mission_type);
        let ResolvedStep { step, source: step_source, error: step_error } = self.resolve_step(slug);
        let step_unreadable = step_error.as_ref().is_some_and(|error| error.unreadable);
        let mut step_error = step_error.map(|error| error.message);
        if let (Some(step), Some(mission)) = (&step, &loaded.mission)
            && !mission.has_step(step)
        {
            let message = format!("the mission has no step `{step}`; the specs of all steps apply");
            step_error.get_or_insert(message);
        }
        let unknown_reason = if meta_error.is_some() {
            Some(UnknownReason::UnreadableMeta)
        } else if loaded.invalid {
            Some(UnknownReason::InvalidManifest)
        } else {
            None
        };
        let manifest_version = loaded
            .mission
            .as_ref()
            .map_or(NO_MANIFEST_VERSION, |mission| mission.manifest.manifest_version.as_str());
        let baseline_key = BaselineKey {
            project_uuid: self.project_uuid.clone(),
            node_id: self.node_id.clone(),
            feature_slug: slug.to_owned(),
            target_branch: target_branch.unwrap_or_else(|| self.branch.clone()),
            mission_key: mission_type.as_str().to_owned(),
            manifest_version: manifest_version.to_owned(),
        };
        let run_id = self.runs.run_id(slug);
        FeatureInputs {
            context: FeatureContext {
                feature_slug: feature.slug.clone(),
                feature_dir: self.feature_path(feature),
                mission_type,
                mission_run_id: run_id.unwrap_or_else(|| ids::derived_run_id(&self.root_id, slug)),
                mission: loaded.mission,
                step: step.map(Into::into),
                unknown_reason,
            },
            metadata: FeatureMetadata {
                step_source,
                step_error,
                step_unreadable,
                meta_error,
                last_valid_meta,
                baseline_key,
                baseline: baseline::read(&self.root_dir, &feature.slug),
            },
            meta_hash,
        }
    }

    fn resolve_step(&self, slug: &str) -> ResolvedStep {
        let (issued, error) = match self.runs.issued_step(&self.root_dir, &self.root, slug) {
            Ok(issued) => (issued, None),
            Err(error) => (None, Some(error)),
        };
        let (step, source) = match (issued, self.settings.step.get(slug)) {
            (Some(step), _) => (Some(step), StepSource::Runtime),
            (None, Some(step)) => (Some(step.clone()), StepSource::Config),
            (None, None) => (None, StepSource::None),
        };
        ResolvedStep { step, source, error }
    }
}

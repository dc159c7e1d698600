//! Constructors of sample values for unit tests.

use std::sync::Arc;

use super::artifact::{Absence, ArtifactState, ErrorReason, Observation};
use super::current_step::{CurrentStep, StepInputs, StepSource};
use super::digest::Digest;
use super::feature_context::FeatureContext;
use super::manifest::{Mission, MissionType};
use super::path::{FeatureSlug, RelPath};
use super::pattern::PatternSet;

/// Returns a present file with the content.
pub(crate) fn observed(path: &str, content: &str) -> Observation {
    Observation {
        path: RelPath::new(path.as_bytes()).unwrap(),
        size_bytes: content.len() as u64,
        state: ArtifactState::Present { hash: Digest::of(content.as_bytes()), static_hash: None },
        wp_id: None,
        signature: None,
        racy: false,
        is_linked: false,
    }
}

/// Returns a file that cannot be read.
pub(crate) fn unreadable(path: &str) -> Observation {
    let detail = Some("Permission denied (os error 13)".into());
    let state = ArtifactState::Absent(Absence { reason: ErrorReason::Unreadable, detail });
    Observation { state, size_bytes: 0, ..observed(path, "") }
}

/// Returns the context of a feature `001-x`.
pub(crate) fn feature_context(mission: Option<Mission>, step: Option<&str>) -> FeatureContext {
    FeatureContext {
        feature_slug: FeatureSlug::new(b"001-x").unwrap(),
        feature_dir: "/p/kitty-specs/001-x".into(),
        mission_type: MissionType::default(),
        mission_run_id: "run".to_owned(),
        mission: mission.map(Arc::new),
        state_files: PatternSet::default(),
        named_step: step.map(|step| (Arc::from(step), StepSource::Config)),
        step_inputs: StepInputs::default(),
        step: CurrentStep::default(),
        unknown_reason: None,
    }
}

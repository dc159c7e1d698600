//! The inputs of a dossier apart from files: the feature, its mission and its step. Reading them is
//! the task of `project`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::current_step::{CurrentStep, StepInputs, StepSource};
use super::manifest::{Mission, MissionType};
use super::path::{FeatureSlug, RelPath};
use super::pattern::PatternSet;

/// The feature of a dossier, and the rules by which it is evaluated.
#[derive(Debug, Clone)]
pub struct FeatureContext {
    /// Slug of the feature.
    pub feature_slug: FeatureSlug,
    /// Absolute path of its directory.
    pub feature_dir: PathBuf,
    /// Mission type.
    pub mission_type: MissionType,
    /// Id of the run of the mission.
    pub mission_run_id: String,
    /// Expected artifacts; `None` if there is no manifest.
    pub mission: Option<Arc<Mission>>,
    /// Files that are metadata of the feature by its layout, and never artifacts.
    pub state_files: PatternSet,
    /// Step that a runtime or the configuration names, and which of them.
    pub named_step: Option<(Arc<str>, StepSource)>,
    /// What decides the step without one.
    pub step_inputs: StepInputs,
    /// The current step, as far as the context was evaluated together with files.
    pub step: CurrentStep,
    /// Why completeness is unknown, whatever the artifacts are.
    pub unknown_reason: Option<UnknownReason>,
}

impl FeatureContext {
    /// Returns true if both contexts produce the same dossier from the same files.
    #[must_use]
    pub fn is_equivalent(&self, other: &Self) -> bool {
        let has_same_mission = match (&self.mission, &other.mission) {
            (Some(mine), Some(theirs)) => {
                Arc::ptr_eq(mine, theirs)
                    || (mine.manifest == theirs.manifest && mine.steps == theirs.steps)
            }
            (None, None) => true,
            _ => false,
        };
        has_same_mission
            && self.feature_slug == other.feature_slug
            && self.feature_dir == other.feature_dir
            && self.mission_type == other.mission_type
            && self.mission_run_id == other.mission_run_id
            && self.state_files == other.state_files
            && self.named_step == other.named_step
            && self.step_inputs == other.step_inputs
            && self.unknown_reason == other.unknown_reason
    }
}

/// Why completeness is unknown. An unknown feature is neither complete nor incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownReason {
    /// The manifest is invalid; another one is used for keys and classes. The text is the place of the error.
    InvalidManifest(String),
    /// `meta.json` cannot be read, so the mission is unknown.
    UnreadableMeta,
    /// The feature exceeds a limit; the text names it.
    LimitExceeded(String),
    /// The feature's directory cannot be read; the text is the error.
    Unreadable(String),
    /// A mount hides the feature's directory, or the file system that it was on is not mounted; the text is
    /// the reason.
    Unavailable(String),
    /// The file system of the feature's directory does not respond; the text is the reason.
    Unresponsive(String),
    /// This path cannot be read, and a required file may be below it.
    UnreadableDir(RelPath),
    /// The feature's directory was deleted.
    Deleted,
}

/// Whether all required artifacts are present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Completeness {
    /// Every required artifact is present.
    Complete,
    /// At least one required artifact is not present.
    Incomplete,
    /// Completeness cannot be evaluated.
    Unknown,
}

impl fmt::Display for Completeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Unknown => "unknown",
        })
    }
}

impl Completeness {
    /// Returns the completeness of a feature with that many missing required artifacts
    /// (`docs/specification.md#completeness`): unknown without a manifest or with an
    /// [`UnknownReason`].
    #[must_use]
    pub fn of(context: &FeatureContext, required_missing: u64) -> Self {
        if context.mission.is_none() || context.unknown_reason.is_some() {
            Self::Unknown
        } else if required_missing == 0 {
            Self::Complete
        } else {
            Self::Incomplete
        }
    }
}

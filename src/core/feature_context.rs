//! What a dossier is of, and by what it is evaluated.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::manifest::{Mission, MissionType};
use super::path::FeatureSlug;

/// What a dossier is of, and by what it is judged.
#[derive(Debug, Clone)]
pub struct FeatureContext {
    /// The feature.
    pub feature_slug: FeatureSlug,
    /// Its absolute directory.
    pub feature_dir: PathBuf,
    /// Mission type.
    pub mission_type: MissionType,
    /// Run of the mission.
    pub mission_run_id: String,
    /// What the mission expects; `None` where no manifest is to be had.
    pub mission: Option<Arc<Mission>>,
    /// Current step, where one is known.
    pub step: Option<Arc<str>>,
    /// Why completeness cannot be judged whatever the artifacts are.
    pub unknown_reason: Option<UnknownReason>,
}

impl FeatureContext {
    /// Whether everything that a dossier depends on is the same.
    #[must_use]
    pub fn is_equivalent(&self, other: &Self) -> bool {
        let missions = match (&self.mission, &other.mission) {
            (Some(mine), Some(theirs)) => {
                Arc::ptr_eq(mine, theirs)
                    || (mine.manifest == theirs.manifest && mine.steps == theirs.steps)
            }
            (None, None) => true,
            _ => false,
        };
        missions
            && self.feature_slug == other.feature_slug
            && self.feature_dir == other.feature_dir
            && self.mission_type == other.mission_type
            && self.mission_run_id == other.mission_run_id
            && self.step == other.step
            && self.unknown_reason == other.unknown_reason
    }
}

/// What keeps a verdict from being given. Unknown is a state of its own, never "complete".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownReason {
    /// The manifest does not parse, and another stands in for it.
    InvalidManifest,
    /// `meta.json` does not say which mission this is.
    UnreadableMeta,
    /// The feature is beyond a budget, in words.
    LimitExceeded(String),
    /// The feature's directory cannot be read, in words.
    Unreadable(String),
    /// The feature's directory is not there any more.
    Deleted,
}

/// Whether all that is required is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Completeness {
    /// Every required artifact is present.
    Complete,
    /// At least one is not.
    Incomplete,
    /// It cannot be judged.
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
    /// Complete exactly when nothing required is missing; unknown without a manifest, or where
    /// something keeps us from judging.
    #[must_use]
    pub fn of(terms: &FeatureContext, required_missing: u64) -> Self {
        if terms.mission.is_none() || terms.unknown_reason.is_some() {
            Self::Unknown
        } else if required_missing == 0 {
            Self::Complete
        } else {
            Self::Incomplete
        }
    }
}

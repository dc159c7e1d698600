//! All that is known of one feature at one time: what every command and every answer is made of.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::baseline::BaselineFile;
use super::dossier::MissionDossier;
use super::drift::Drift;
use super::feature_context::UnknownReason;
use super::identity::BaselineKey;
use super::snapshot::MissionDossierSnapshot;
use super::time::Timestamp;

/// Where the current step comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepSource {
    /// A runtime issued it.
    Runtime,
    /// The configuration names it.
    Config,
    /// There is none.
    None,
}

impl fmt::Display for StepSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Runtime => "runtime",
            Self::Config => "config",
            Self::None => "none",
        })
    }
}

/// How well a feature is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureWatchState {
    /// What is shown is what is there.
    Live,
    /// Something is being written; the last state stands.
    Settling,
    /// The directory cannot be read.
    Unreadable,
    /// The directory is not there any more.
    Gone,
    /// A budget is exceeded.
    Degraded,
}

impl FeatureWatchState {
    /// What the doubt about a feature says of how well it is seen.
    #[must_use]
    pub fn from_unknown_reason(doubt: Option<&UnknownReason>) -> Self {
        match doubt {
            Some(UnknownReason::Deleted) => Self::Gone,
            Some(UnknownReason::Unreadable(_)) => Self::Unreadable,
            Some(UnknownReason::LimitExceeded(_)) => Self::Degraded,
            Some(UnknownReason::InvalidManifest | UnknownReason::UnreadableMeta) | None => {
                Self::Live
            }
        }
    }
}

/// What is known of a feature beside its terms and artifacts.
#[derive(Debug, Clone)]
pub struct FeatureMetadata {
    /// Where its step comes from.
    pub step_source: StepSource,
    /// What is wrong with the step: an unknown id, or a file that cannot be used.
    pub step_error: Option<String>,
    /// Whether a step may be there that could not be seen.
    pub step_unreadable: bool,
    /// What is wrong with `meta.json`.
    pub meta_error: Option<String>,
    /// What a baseline of it is bound to.
    pub baseline_key: BaselineKey,
    /// The baseline that is there.
    pub baseline: BaselineFile,
}

/// One feature, seen once.
#[derive(Debug, Clone)]
pub struct Feature {
    /// Last component of the project's root.
    pub project: Arc<str>,
    /// The inventory.
    pub dossier: MissionDossier,
    /// Its snapshot.
    pub snapshot: Arc<MissionDossierSnapshot>,
    /// What is known of it beside its terms and artifacts.
    pub metadata: Arc<FeatureMetadata>,
    /// How it compares.
    pub drift: Drift,
    /// How well it is seen.
    pub watch: FeatureWatchState,
    /// Artifacts written so shortly before they were read that another write may look the same.
    pub racy_count: u64,
    /// When something of it was last compared with the disk; `None` where that is not known.
    pub last_scanned_at: Option<Timestamp>,
}

impl Feature {
    /// `manifest_version` as the baseline's key and the overview have it.
    #[must_use]
    pub fn manifest_version(&self) -> &str {
        &self.metadata.baseline_key.manifest_version
    }
}

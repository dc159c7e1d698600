//! The complete state of one feature at one time, from which all responses and outputs are made.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::artifact::{DevIno, RequiredStatus};
use super::baseline::{Baseline, BaselineFile, BaselineScope};
use super::churn::ChurnRules;
use super::dossier::MissionDossier;
use super::drift::Drift;
use super::feature_context::UnknownReason;
use super::identity::BaselineKey;
use super::inventory::InventoryEntry;
use super::layout::DOCUMENTS_MISSION;
use super::manifest::{EMBEDDED_MISSIONS, MissionType};
use super::path::{FeatureSlug, RelPath};
use super::provenance::{FileOrigins, ProvenanceRules};
use super::snapshot::MissionDossierSnapshot;
use super::sorted_chunks::SortedChunks;
use super::suggest::nearest;
use super::task_progress::TaskProgress;
use super::time::Timestamp;

/// Whether a feature's published state is current (`docs/specification.md#feature-watch-states`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureWatchState {
    /// The published state is current.
    Live,
    /// Files are being written; the published state is the last stable one.
    Settling,
    /// The directory cannot be read.
    Unreadable,
    /// A mount hides the directory or files in it, or their file system is not mounted.
    Unavailable,
    /// The file system does not respond.
    Unresponsive,
    /// The directory was deleted.
    Gone,
    /// A limit is exceeded, so the state is incomplete.
    Degraded,
}

impl FeatureWatchState {
    /// Returns the watch state that follows from the reason why completeness is unknown.
    #[must_use]
    pub fn from_unknown_reason(reason: Option<&UnknownReason>) -> Self {
        match reason {
            Some(UnknownReason::Deleted) => Self::Gone,
            Some(UnknownReason::Unreadable(_)) => Self::Unreadable,
            Some(UnknownReason::Unavailable(_)) => Self::Unavailable,
            Some(UnknownReason::Unresponsive(_)) => Self::Unresponsive,
            Some(UnknownReason::LimitExceeded(_)) => Self::Degraded,
            Some(
                UnknownReason::InvalidManifest(_)
                | UnknownReason::UnreadableMeta
                | UnknownReason::UnreadableDir(_),
            )
            | None => Self::Live,
        }
    }
}

/// The fields of a feature's `meta.json` that dossierd uses; `None` is what is not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaFields {
    /// Type of the mission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mission: Option<MissionType>,
    /// Branch of the baseline key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_branch: Option<String>,
}

/// Metadata of a feature that does not affect its artifacts.
#[derive(Debug, Clone)]
pub struct FeatureMetadata {
    /// Error of the step: an unknown id, or an invalid file.
    pub step_error: Option<String>,
    /// True if a step may exist that could not be read.
    pub step_unreadable: bool,
    /// Error of `meta.json`.
    pub meta_error: Option<String>,
    /// Fields of `meta.json` when it was valid last; `None` if it never was.
    pub last_valid_meta: Option<MetaFields>,
    /// The feature's directory; `None` if it is not there, and of the documents of a project.
    pub dir: Option<DevIno>,
    /// Progress that is counted in files; `None` if there is none.
    pub progress: Option<TaskProgress>,
    /// Why progress cannot be counted.
    pub progress_error: Option<String>,
    /// Key of the feature, which a baseline must have to be compared.
    pub baseline_key: BaselineKey,
    /// Content of the baseline file.
    pub baseline: BaselineFile,
    /// What is bookkeeping in its files by its layout.
    pub churn: Arc<ChurnRules>,
    /// True if another program has a baseline of the feature in a format of its own.
    pub baseline_foreign: bool,
    /// For whom the baseline counts that is in `baseline`, or would be.
    pub baseline_scope: BaselineScope,
    /// Slug under which the baseline was accepted, before the feature was moved to an archive.
    pub former_slug: Option<FeatureSlug>,
}

impl FeatureMetadata {
    /// Returns the key that the baseline is compared with. Of a shared one only feature, mission and
    /// manifest count: it is for all machines and branches.
    #[must_use]
    pub fn compared_key(&self) -> BaselineKey {
        let mut key = self.baseline_key.clone();
        if let Some(former) = &self.former_slug {
            former.as_str().clone_into(&mut key.feature_slug);
        }
        match (&self.baseline, self.baseline_scope) {
            (BaselineFile::Valid(baseline), BaselineScope::Shared) => BaselineKey {
                project_uuid: baseline.baseline_key.project_uuid.clone(),
                node_id: baseline.baseline_key.node_id.clone(),
                target_branch: baseline.baseline_key.target_branch.clone(),
                ..key
            },
            _ => key,
        }
    }

    /// Returns the paths of the artifacts that the baseline requires, if it is compared.
    pub fn required_by_baseline(&self) -> impl Iterator<Item = RelPath> {
        let counts = |baseline: &&Baseline| baseline.baseline_key == self.compared_key();
        let baseline = match &self.baseline {
            BaselineFile::Valid(baseline) => Some(&**baseline).filter(counts),
            BaselineFile::Absent | BaselineFile::Corrupt(_) => None,
        };
        let artifacts = baseline.and_then(|baseline| baseline.artifacts.as_deref());
        let required = artifacts.into_iter().flatten();
        let required = required.filter(|one| one.required_status == RequiredStatus::Required);
        required.map(|one| one.relative_path.clone())
    }
}

/// When a feature was seen first and changed last; `None` where nothing is remembered, as in a scan
/// without a daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DossierTimes {
    /// Time of its first commit.
    pub created_at: Option<Timestamp>,
    /// Time of its last commit with an event.
    pub updated_at: Option<Timestamp>,
}

/// The state of one feature at one time.
#[derive(Debug, Clone)]
pub struct Feature {
    /// Last component of the project's root.
    pub project: Arc<str>,
    /// All artifacts.
    pub dossier: MissionDossier,
    /// Snapshot of `dossier`.
    pub snapshot: Arc<MissionDossierSnapshot>,
    /// The files, with their signatures.
    pub entries: SortedChunks<InventoryEntry>,
    /// Metadata that does not affect the artifacts.
    pub metadata: Arc<FeatureMetadata>,
    /// Comparison with the baseline.
    pub drift: Drift,
    /// Whether this state is current.
    pub watch: FeatureWatchState,
    /// Number of artifacts for which [`Observation::racy`] is true.
    ///
    /// [`Observation::racy`]: super::artifact::Observation::racy
    pub racy_count: u64,
    /// Time at which any part of the feature was last compared with the disk; `None` if it is
    /// unknown.
    pub last_scanned_at: Option<Timestamp>,
    /// When it was seen first and changed last.
    pub times: DossierTimes,
}

impl Feature {
    /// Returns why completeness is unknown, as a part of a sentence about the feature.
    #[must_use]
    pub fn unknown_reason(&self) -> Option<String> {
        let context = &self.dossier.context;
        let reason = match &context.unknown_reason {
            Some(
                UnknownReason::Unreadable(why)
                | UnknownReason::Unavailable(why)
                | UnknownReason::Unresponsive(why),
            ) => format!("cannot be read: {why}"),
            Some(UnknownReason::LimitExceeded(why)) => format!("exceeds a limit: {why}"),
            Some(UnknownReason::UnreadableDir(dir)) => {
                format!("`{}` cannot be read, and a required file may be below it", dir.text())
            }
            Some(UnknownReason::InvalidManifest(place)) => {
                let fallback = match &context.mission {
                    Some(_) => "the last valid or embedded one is used instead",
                    None => "there is no embedded one",
                };
                format!("the manifest of its mission is invalid ({place}); {fallback}")
            }
            Some(UnknownReason::Deleted) => "was removed".to_owned(),
            Some(UnknownReason::UnreadableMeta) => self.metadata.meta_error.clone()?,
            None if context.mission.is_none() => {
                let mission = context.mission_type.as_str();
                let embedded = EMBEDDED_MISSIONS.iter().map(|one| one.mission_type);
                let hint = nearest(mission, embedded)
                    .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
                format!("no manifest for mission `{mission}`{hint}")
            }
            None => return None,
        };
        Some(reason)
    }

    /// Returns the progress of the work.
    #[must_use]
    pub fn progress(&self) -> Option<TaskProgress> {
        self.dossier.context.step.file_progress.or(self.metadata.progress)
    }

    /// Returns true for the documents of the project: it is none of the features that are counted.
    #[must_use]
    pub fn is_documents(&self) -> bool {
        self.dossier.context.mission_type.as_str() == DOCUMENTS_MISSION
    }

    /// Returns true if the feature is archived: its completeness is shown and does not count.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        self.dossier.context.step_inputs.is_archived
    }

    /// Returns what the provenance of its artifacts depends on, of which `origins` is a part.
    #[must_use]
    pub fn provenance_rules<'a>(&'a self, origins: &'a FileOrigins) -> ProvenanceRules<'a> {
        let mission = self.dossier.context.mission.as_deref();
        ProvenanceRules::new(mission, &self.metadata.baseline_key.node_id, origins)
    }

    /// Returns the `manifest_version` of the baseline key.
    #[must_use]
    pub fn manifest_version(&self) -> &str {
        &self.metadata.baseline_key.manifest_version
    }
}

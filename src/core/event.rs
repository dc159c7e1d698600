//! The four events and their envelope (`docs/specification.md#events`). Which events follow from a
//! change is decided in `transition`.

use serde::{Deserialize, Serialize};

use super::artifact::{ArtifactClass, ErrorReason, RequiredStatus};
use super::counts::Counts;
use super::digest::Digest;
use super::drift::{DriftState, Severity};
use super::feature_context::Completeness;
use super::path::{FeatureSlug, RelPath};
use super::task_progress::TaskProgress;
use super::time::Timestamp;

/// Payload of an event.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Payload {
    /// An artifact is present with new content or metadata.
    ArtifactIndexed(ArtifactIndexed),
    /// An artifact is not present.
    ArtifactMissing(ArtifactMissing),
    /// A snapshot of a feature's state was computed.
    SnapshotComputed(SnapshotComputed),
    /// A feature's state differs from its baseline.
    ParityDriftDetected(ParityDriftDetected),
}

impl Payload {
    /// Returns the `event_type` of the envelope.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        let [indexed, missing, snapshot, drift] = EVENT_TYPES;
        match self {
            Self::ArtifactIndexed(_) => indexed,
            Self::ArtifactMissing(_) => missing,
            Self::SnapshotComputed(_) => snapshot,
            Self::ParityDriftDetected(_) => drift,
        }
    }

    /// Returns true if it reports that a file with the key is missing.
    #[must_use]
    pub fn is_missing_file_of(&self, key: &str) -> bool {
        matches!(self, Self::ArtifactMissing(event) if event.artifact_key == key && event.relative_path.is_some())
    }
}

/// Values of `event_type`, in the order of the variants of [`Payload`].
pub const EVENT_TYPES: [&str; 4] = [
    "mission_dossier_artifact_indexed",
    "mission_dossier_artifact_missing",
    "mission_dossier_snapshot_computed",
    "mission_dossier_parity_drift_detected",
];
/// Common prefix of all event types.
pub const EVENT_TYPE_PREFIX: &str = "mission_dossier_";

/// Parses an event type, which may be written without [`EVENT_TYPE_PREFIX`]; returns `None` if it
/// is unknown.
#[must_use]
pub fn parse_event_type(text: &str) -> Option<&'static str> {
    let is_match =
        |known: &&str| *known == text || known.strip_prefix(EVENT_TYPE_PREFIX) == Some(text);
    EVENT_TYPES.into_iter().find(is_match)
}

/// Why an artifact was indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// Its content changed.
    Modified,
    /// It was missing or unreadable before.
    Restored,
    /// Its key, class, work package, step or required status changed; its content did not.
    Reclassified,
}

/// Payload of `mission_dossier_artifact_indexed`: an artifact is present with new content or
/// metadata.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ArtifactIndexed {
    /// Slug of the feature.
    pub feature_slug: FeatureSlug,
    /// Key of the artifact.
    pub artifact_key: String,
    /// Class of the artifact.
    pub artifact_class: ArtifactClass,
    /// Path of the artifact, relative to the feature's directory.
    pub relative_path: RelPath,
    /// SHA-256 of the file's bytes.
    pub content_hash_sha256: Digest,
    /// Size of the file in bytes.
    pub size_bytes: u64,
    /// Id of the work package that it belongs to, or null.
    pub wp_id: Option<String>,
    /// Id of the mission step whose list contains its spec, or null.
    pub step_id: Option<String>,
    /// Whether the feature is incomplete without it.
    pub required_status: RequiredStatus,
    /// Why it was indexed.
    pub change: Change,
    /// Previous key of the artifact, if the key changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_artifact_key: Option<String>,
}

/// Payload of `mission_dossier_artifact_missing`: an artifact is not present.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ArtifactMissing {
    /// Slug of the feature.
    pub feature_slug: FeatureSlug,
    /// Key of the artifact.
    pub artifact_key: String,
    /// Class of the artifact.
    pub artifact_class: ArtifactClass,
    /// Pattern of its spec; without a spec, its last path.
    pub expected_path_pattern: String,
    /// Why it is not present.
    pub reason_code: ErrorReason,
    /// Error of the operating system or of dossierd, or null.
    pub reason_detail: Option<String>,
    /// True if a blocking spec is unsatisfied that applies, or applied before the deletion.
    pub blocking: bool,
    /// Last path of the artifact; null for a spec that no file matches.
    pub relative_path: Option<RelPath>,
}

/// Payload of `mission_dossier_snapshot_computed`: a snapshot of a feature's state was computed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SnapshotComputed {
    /// Slug of the feature.
    pub feature_slug: FeatureSlug,
    /// Parity hash of the present artifacts.
    pub parity_hash_sha256: Digest,
    /// Numbers of listed, required and present artifacts.
    pub artifact_counts: ArtifactCounts,
    /// Whether all required artifacts are present.
    pub completeness_status: Completeness,
    /// UUID of the snapshot.
    pub snapshot_id: String,
    /// Tree hash of the present artifacts.
    pub tree_hash_sha256: Digest,
    /// Comparison with the baseline; null if the feature cannot be compared.
    pub drift_state: Option<DriftState>,
    /// Severity of drift; null without drift or key mismatch.
    pub drift_severity: Option<Severity>,
    /// Keys of the required artifacts that are not present.
    pub missing_required: Vec<String>,
    /// Progress of the work, or null.
    #[serde(default)]
    pub progress: Option<TaskProgress>,
    /// Former slug of a feature that was moved to an archive, in its first snapshot after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_feature_slug: Option<FeatureSlug>,
}

/// Payload of `mission_dossier_parity_drift_detected`: a feature's state differs from its baseline.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ParityDriftDetected {
    /// Slug of the feature.
    pub feature_slug: FeatureSlug,
    /// Current parity hash.
    pub local_parity_hash: Digest,
    /// Parity hash of the baseline.
    pub baseline_parity_hash: Digest,
    /// Keys of artifacts that are in the baseline and not present.
    pub missing_in_local: Vec<String>,
    /// Keys of artifacts that are present and not in the baseline.
    pub missing_in_baseline: Vec<String>,
    /// Severity of the drift.
    pub severity: Severity,
    /// Keys of artifacts whose content differs.
    pub changed: Vec<String>,
    /// Keys of artifacts of which only runtime bookkeeping differs.
    pub churn: Vec<String>,
    /// Names of the fields in which the baseline's key differs from the feature's.
    pub key_mismatch: Vec<String>,
    /// Summary in one sentence.
    pub detail: String,
}

/// Numbers of listed, required and present artifacts, with the names of events and overviews.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ArtifactCounts {
    /// All listed artifacts, including specs that no file matches.
    pub total: u64,
    /// Required artifacts.
    pub required: u64,
    /// Required artifacts that are present.
    pub required_present: u64,
    /// Required artifacts that are not present.
    pub required_missing: u64,
    /// Optional artifacts.
    pub optional: u64,
    /// Optional artifacts that are present.
    pub optional_present: u64,
}

impl From<Counts> for ArtifactCounts {
    fn from(counts: Counts) -> Self {
        Self {
            total: counts.total_artifacts,
            required: counts.required_artifacts,
            required_present: counts.required_present,
            required_missing: counts.required_missing,
            optional: counts.optional_artifacts,
            optional_present: counts.optional_present,
        }
    }
}

/// One event of the journal.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Envelope {
    /// ULID of the event; it is never reused.
    #[cfg_attr(test, schemars(regex(pattern = "^[0-9A-HJKMNP-TV-Z]{26}$")))]
    pub event_id: String,
    /// Position in the journal, from 1, without gaps.
    pub seq: u64,
    /// One of [`EVENT_TYPES`].
    pub event_type: &'static str,
    /// Last component of the project's root.
    pub project: String,
    /// Identity of that root on this machine.
    pub root_id: String,
    /// Identity of the project.
    pub project_uuid: String,
    /// Identity of the machine and the user.
    pub node_id: String,
    /// Slug of the feature.
    pub feature_slug: FeatureSlug,
    /// Time at which the event was emitted.
    pub emitted_at: Timestamp,
    /// Payload of this type.
    #[cfg_attr(test, schemars(with = "serde_json::Value"))]
    pub payload: Payload,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_the_specified_fields() {
        let slug = FeatureSlug::new(b"042-x").unwrap();
        let digest = Digest::of(b"");
        let counts = ArtifactCounts::from(Counts::default());
        let payloads = [
            Payload::ArtifactIndexed(ArtifactIndexed {
                feature_slug: slug.clone(),
                artifact_key: "k".into(),
                artifact_class: ArtifactClass::Input,
                relative_path: RelPath::new(&b"spec.md"[..]).unwrap(),
                content_hash_sha256: digest,
                size_bytes: 0,
                wp_id: None,
                step_id: None,
                required_status: RequiredStatus::Required,
                change: Change::Added,
                previous_artifact_key: None,
            }),
            Payload::ArtifactMissing(ArtifactMissing {
                feature_slug: slug.clone(),
                artifact_key: "k".into(),
                artifact_class: ArtifactClass::Input,
                expected_path_pattern: "spec.md".into(),
                reason_code: ErrorReason::DeletedAfterScan,
                reason_detail: None,
                blocking: true,
                relative_path: None,
            }),
            Payload::SnapshotComputed(SnapshotComputed {
                previous_feature_slug: None,
                progress: Some(TaskProgress {
                    done: 1,
                    total: 3,
                    in_progress: 1,
                    optional_open: 2,
                }),
                feature_slug: slug.clone(),
                parity_hash_sha256: digest,
                artifact_counts: counts,
                completeness_status: Completeness::Unknown,
                snapshot_id: "id".into(),
                tree_hash_sha256: digest,
                drift_state: None,
                drift_severity: None,
                missing_required: vec![],
            }),
            Payload::ParityDriftDetected(ParityDriftDetected {
                feature_slug: slug.clone(),
                local_parity_hash: digest,
                baseline_parity_hash: digest,
                missing_in_local: vec![],
                missing_in_baseline: vec![],
                severity: Severity::Info,
                changed: vec![],
                churn: vec![],
                key_mismatch: vec![],
                detail: "why".into(),
            }),
        ];
        let envelopes: Vec<Envelope> = payloads
            .into_iter()
            .zip(1..)
            .map(|(payload, seq)| Envelope {
                event_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".into(),
                seq,
                event_type: payload.event_type(),
                project: "p".into(),
                root_id: "r".into(),
                project_uuid: "u".into(),
                node_id: "n".into(),
                feature_slug: slug.clone(),
                emitted_at: Timestamp::parse("2026-02-21T10:00:00.123Z").unwrap(),
                payload,
            })
            .collect();
        insta::assert_snapshot!(serde_json::to_string_pretty(&envelopes).unwrap());
    }
}

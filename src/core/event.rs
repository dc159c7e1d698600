//! The four events and their envelope (seed: "Dossier Event Schemas"; contract, section 6).
//!
//! These are the shapes. Which events a change owes is decided where two states are compared.

use serde::{Deserialize, Serialize};

use super::artifact::{ArtifactClass, ErrorReason, RequiredStatus};
use super::counts::Counts;
use super::digest::Digest;
use super::drift::{DriftState, Severity};
use super::feature_context::Completeness;
use super::path::{FeatureSlug, RelPath};
use super::time::Timestamp;

/// What happened, as one of the four payloads.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Payload {
    /// An artifact is present with this content.
    ArtifactIndexed(ArtifactIndexed),
    /// An artifact is not present.
    ArtifactMissing(ArtifactMissing),
    /// A state was computed.
    SnapshotComputed(SnapshotComputed),
    /// The state differs from the baseline.
    ParityDriftDetected(ParityDriftDetected),
}

impl Payload {
    /// `parse_event_type` of the envelope.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::ArtifactIndexed(_) => "mission_dossier_artifact_indexed",
            Self::ArtifactMissing(_) => "mission_dossier_artifact_missing",
            Self::SnapshotComputed(_) => "mission_dossier_snapshot_computed",
            Self::ParityDriftDetected(_) => "mission_dossier_parity_drift_detected",
        }
    }
}

/// The event types, as envelopes have them.
pub const EVENT_TYPES: [&str; 4] = [
    "mission_dossier_artifact_indexed",
    "mission_dossier_artifact_missing",
    "mission_dossier_snapshot_computed",
    "mission_dossier_parity_drift_detected",
];
/// What all of them begin with.
pub const EVENT_TYPE_PREFIX: &str = "mission_dossier_";

/// The event type that is written so: whole, or without what all begin with.
#[must_use]
pub fn parse_event_type(text: &str) -> Option<&'static str> {
    let known = |kind: &&str| *kind == text || kind.strip_prefix(EVENT_TYPE_PREFIX) == Some(text);
    EVENT_TYPES.into_iter().find(known)
}

/// In what way an indexed artifact is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was not known.
    Added,
    /// Its content changed.
    Modified,
    /// It was not present.
    Restored,
    /// Its key, class, ids or status changed.
    Reclassified,
}

/// `mission_dossier_artifact_indexed`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ArtifactIndexed {
    /// The feature.
    pub feature_slug: FeatureSlug,
    /// Its key.
    pub artifact_key: String,
    /// Its class.
    pub artifact_class: ArtifactClass,
    /// Where it is.
    pub relative_path: RelPath,
    /// Hash of its bytes.
    pub content_hash_sha256: Digest,
    /// Their number.
    pub size_bytes: u64,
    /// Work package.
    pub wp_id: Option<String>,
    /// Step.
    pub step_id: Option<String>,
    /// Whether it is required.
    pub required_status: RequiredStatus,
    /// In what way it is new.
    pub change: Change,
    /// Its key before, where that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_artifact_key: Option<String>,
}

/// `mission_dossier_artifact_missing`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ArtifactMissing {
    /// The feature.
    pub feature_slug: FeatureSlug,
    /// Its key.
    pub artifact_key: String,
    /// Its class.
    pub artifact_class: ArtifactClass,
    /// The spec's pattern, or the last path.
    pub expected_path_pattern: String,
    /// Why.
    pub reason_code: ErrorReason,
    /// Why, in words.
    pub reason_detail: Option<String>,
    /// Whether this leaves a blocking spec that applies now unsatisfied.
    pub blocking: bool,
    /// Where it was; `None` for an absent spec.
    pub relative_path: Option<RelPath>,
}

/// `mission_dossier_snapshot_computed`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SnapshotComputed {
    /// The feature.
    pub feature_slug: FeatureSlug,
    /// Parity hash.
    pub parity_hash_sha256: Digest,
    /// The six counts.
    pub artifact_counts: ArtifactCounts,
    /// Whether all that is required is there.
    pub completeness_status: Completeness,
    /// UUID of the snapshot.
    pub snapshot_id: String,
    /// Tree hash.
    pub tree_hash_sha256: Digest,
    /// How it compares to the baseline; `None` where it cannot be judged.
    pub drift_state: Option<DriftState>,
    /// How bad that is.
    pub drift_severity: Option<Severity>,
    /// Keys of the required artifacts that are not present.
    pub missing_required: Vec<String>,
}

/// `mission_dossier_parity_drift_detected`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ParityDriftDetected {
    /// The feature.
    pub feature_slug: FeatureSlug,
    /// Parity hash now.
    pub local_parity_hash: Digest,
    /// Parity hash of the baseline.
    pub baseline_parity_hash: Digest,
    /// Keys in the baseline that are not present.
    pub missing_in_local: Vec<String>,
    /// Keys present that are not in the baseline.
    pub missing_in_baseline: Vec<String>,
    /// How bad.
    pub severity: Severity,
    /// Keys with other content.
    pub changed: Vec<String>,
    /// Keys of differences that are runtime bookkeeping.
    pub churn: Vec<String>,
    /// Fields in which the keys differ.
    pub key_mismatch: Vec<String>,
    /// One sentence.
    pub detail: String,
}

/// The six counts under the names that events and overviews use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ArtifactCounts {
    /// All listed.
    pub total: u64,
    /// Required.
    pub required: u64,
    /// Required and present.
    pub required_present: u64,
    /// Required and not present.
    pub required_missing: u64,
    /// Optional.
    pub optional: u64,
    /// Optional and present.
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
    /// ULID, unique for good.
    #[cfg_attr(test, schemars(regex(pattern = "^[0-9A-HJKMNP-TV-Z]{26}$")))]
    pub event_id: String,
    /// Place in the journal, from 1, without holes.
    pub seq: u64,
    /// One of the four types.
    pub event_type: &'static str,
    /// Last component of the project's root.
    pub project: String,
    /// Identity of that root on that machine.
    pub root_id: String,
    /// Identity of the project.
    pub project_uuid: String,
    /// Identity of machine and user.
    pub node_id: String,
    /// The feature.
    pub feature_slug: FeatureSlug,
    /// When.
    pub emitted_at: Timestamp,
    /// What.
    #[cfg_attr(test, schemars(with = "serde_json::Value"))]
    pub payload: Payload,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_the_seeds_fields_and_the_contracts() {
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

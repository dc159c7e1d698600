//! Models of `GET`, `POST` and `DELETE /api/dossier/baseline`, and of
//! `dossierd baseline show|accept|clear --json`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::baseline::{Baseline, BaselineFile, BaselineScope};
use crate::core::digest::Digest;
use crate::core::drift::{DriftState, Severity};
use crate::core::feature::Feature;
use crate::core::identity::BaselineKey;
use crate::wire::overview::{Overview, borrow_all};
use crate::wire::status::SyncStatus;

/// Body of `POST /api/dossier/baseline`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AcceptRequest {
    /// Tree hash of the reviewed state. If it is not the current one, nothing is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree_hash_sha256: Option<Digest>,
    /// Also replace a baseline that cannot be parsed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replace_corrupt: bool,
    /// For whom the baseline is; without it, for whom that of the feature counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<BaselineScope>,
}

/// The body of `DELETE /api/dossier/baseline`, which may be absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClearRequest {
    /// Which baseline is cleared; without it, the one that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<BaselineScope>,
}

/// A baseline that was accepted, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedBaseline<'a> {
    /// Slug of the feature.
    pub feature_slug: Cow<'a, str>,
    /// Hash of the baseline key.
    pub baseline_key_hash: Digest,
    /// Parity hash of the accepted state.
    pub parity_hash_sha256: Digest,
    /// Tree hash of the accepted state.
    pub tree_hash_sha256: Option<Digest>,
    /// Number of present artifacts.
    pub artifacts: usize,
    /// Time of the acceptance (RFC 3339).
    pub captured_at: Cow<'a, str>,
    /// `node_id` of the machine and user that accepted the state.
    pub captured_by: Option<Cow<'a, str>>,
    /// Why the replaced baseline could not be parsed, if it could not.
    #[serde(default)]
    pub replaced_corrupt: Option<Cow<'a, str>>,
}

/// Response to `POST`.
#[derive(Debug, Serialize, Deserialize)]
pub struct AcceptResponse<'a> {
    /// The feature after the change.
    #[serde(flatten)]
    pub overview: Overview<'a>,
    /// Whether the response includes all earlier changes; absent in one-shot commands.
    #[serde(flatten)]
    pub sync: Option<SyncStatus>,
    /// The accepted baseline.
    pub accepted: AcceptedBaseline<'a>,
}

/// Response to `DELETE`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClearResponse<'a> {
    /// The feature after the change.
    #[serde(flatten)]
    pub overview: Overview<'a>,
    /// Same as in [`AcceptResponse`].
    #[serde(flatten)]
    pub sync: Option<SyncStatus>,
    /// True if there was a baseline.
    pub cleared: bool,
}

/// Response to `GET`: the baseline, and how the feature compares with it.
#[derive(Debug, Serialize, Deserialize)]
pub struct BaselineDetail<'a> {
    /// Slug of the feature.
    pub feature_slug: Cow<'a, str>,
    /// Result of the comparison; `None` if the feature cannot be evaluated.
    pub drift_state: Option<DriftState>,
    /// Severity of the worst difference.
    pub drift_severity: Option<Severity>,
    /// One sentence about the result.
    pub detail: Cow<'a, str>,
    /// Names of the fields in which the baseline key differs.
    pub key_mismatch: Vec<Cow<'a, str>>,
    /// Baseline key of the feature now.
    pub local_key: Cow<'a, BaselineKey>,
    /// The baseline, if there is one that can be parsed.
    pub baseline: Option<Cow<'a, Baseline>>,
}

impl<'a> From<&'a Feature> for BaselineDetail<'a> {
    fn from(feature: &'a Feature) -> Self {
        let drift = &feature.drift;
        let baseline = match &feature.metadata.baseline {
            BaselineFile::Valid(baseline) => Some(Cow::Borrowed(&**baseline)),
            BaselineFile::Absent | BaselineFile::Corrupt(_) => None,
        };
        Self {
            feature_slug: feature.dossier.context.feature_slug.as_str().into(),
            drift_state: drift.state,
            drift_severity: drift.severity,
            detail: Cow::Borrowed(&drift.detail),
            key_mismatch: borrow_all(drift.key_mismatch.clone()),
            local_key: Cow::Borrowed(&feature.metadata.baseline_key),
            baseline,
        }
    }
}

impl<'a> AcceptedBaseline<'a> {
    /// Returns the summary of `baseline`, which replaced `before`.
    #[must_use]
    pub fn replacing(before: &BaselineFile, baseline: &'a Baseline) -> Self {
        let replaced_corrupt = match before {
            BaselineFile::Corrupt(why) => Some(why.to_string().into()),
            BaselineFile::Absent | BaselineFile::Valid(_) => None,
        };
        Self { replaced_corrupt, ..Self::from(baseline) }
    }
}

impl<'a> From<&'a Baseline> for AcceptedBaseline<'a> {
    fn from(baseline: &'a Baseline) -> Self {
        Self {
            feature_slug: baseline.baseline_key.feature_slug.as_str().into(),
            baseline_key_hash: baseline.baseline_key_hash,
            parity_hash_sha256: baseline.parity_hash_sha256,
            tree_hash_sha256: baseline.tree_hash_sha256,
            artifacts: baseline.artifacts.as_ref().map_or(0, Vec::len),
            captured_at: baseline.captured_at.as_str().into(),
            captured_by: baseline.captured_by.as_deref().map(Cow::from),
            replaced_corrupt: None,
        }
    }
}

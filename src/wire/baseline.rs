//! What showing, accepting and clearing a baseline answer: `/api/dossier/baseline`, and the same of
//! `dossierd baseline show|accept|clear --json`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::baseline::{Baseline, BaselineFile};
use crate::core::digest::Digest;
use crate::core::drift::{DriftState, Severity};
use crate::core::feature::Feature;
use crate::core::identity::BaselineKey;
use crate::wire::overview::{Overview, borrow_all};
use crate::wire::status::Synced;

/// What `POST /api/dossier/baseline` may say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AcceptRequest {
    /// The tree hash that was looked at: nothing else is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree_hash_sha256: Option<Digest>,
    /// Whether a baseline that cannot be understood is replaced.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replace_corrupt: bool,
}

/// A baseline that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedBaseline<'a> {
    /// The feature.
    pub feature_slug: Cow<'a, str>,
    /// What it is bound to.
    pub baseline_key_hash: Digest,
    /// Parity hash of the accepted state.
    pub parity_hash_sha256: Digest,
    /// Its tree hash.
    pub tree_hash_sha256: Option<Digest>,
    /// Number of present artifacts.
    pub artifacts: usize,
    /// When.
    pub captured_at: Cow<'a, str>,
    /// `node_id` at capture.
    pub captured_by: Option<Cow<'a, str>>,
    /// What was wrong with the baseline that it replaced, where that could not be understood.
    #[serde(default)]
    pub replaced_corrupt: Option<Cow<'a, str>>,
}

/// What `POST` answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct AcceptResponse<'a> {
    /// The feature as it is now.
    #[serde(flatten)]
    pub overview: Overview<'a>,
    /// How the answer came to include every earlier change; a scan says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<Synced>,
    /// What was accepted.
    pub accepted: AcceptedBaseline<'a>,
}

/// What `DELETE` answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClearResponse<'a> {
    /// The feature as it is now.
    #[serde(flatten)]
    pub overview: Overview<'a>,
    /// As in [`AcceptResponse`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<Synced>,
    /// Whether there was one.
    pub cleared: bool,
}

/// What `GET` answers: the baseline, and how the feature compares.
#[derive(Debug, Serialize, Deserialize)]
pub struct BaselineDetail<'a> {
    /// The feature.
    pub feature_slug: Cow<'a, str>,
    /// In what relation feature and baseline are; `null` where it cannot be judged.
    pub drift_state: Option<DriftState>,
    /// How bad.
    pub drift_severity: Option<Severity>,
    /// One sentence.
    pub detail: Cow<'a, str>,
    /// Fields in which the baseline's key is not the feature's.
    pub key_mismatch: Vec<Cow<'a, str>>,
    /// What a baseline of the feature is bound to now.
    pub local_key: Cow<'a, BaselineKey>,
    /// The baseline, if there is one that can be understood.
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
    /// As [`AcceptedBaseline::from`], of a baseline that took the place of what `before` could not be
    /// understood.
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

//! What accepting and clearing a baseline answer: `POST` and `DELETE /api/dossier/baseline`, and
//! the same of `dossierd baseline accept|clear --json`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::baseline::Baseline;
use crate::core::digest::Digest;

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
pub struct Accepted<'a> {
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
}

impl<'a> From<&'a Baseline> for Accepted<'a> {
    fn from(baseline: &'a Baseline) -> Self {
        Self {
            feature_slug: baseline.baseline_key.feature_slug.as_str().into(),
            baseline_key_hash: baseline.baseline_key_hash,
            parity_hash_sha256: baseline.parity_hash_sha256,
            tree_hash_sha256: baseline.tree_hash_sha256,
            artifacts: baseline.artifacts.as_ref().map_or(0, Vec::len),
            captured_at: baseline.captured_at.as_str().into(),
            captured_by: baseline.captured_by.as_deref().map(Cow::from),
        }
    }
}

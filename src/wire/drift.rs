//! Drift in detail: `GET /api/dossier/drift`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::baseline::BaselineFile;
use crate::core::digest::Digest;
use crate::core::drift::{Difference, DriftState, Severity};
use crate::core::feature::Feature;
use crate::core::identity::BaselineKey;
use crate::wire::overview::{BaselineSummary, DriftLists, borrow_all};

/// How a feature differs from its baseline, artifact by artifact.
#[derive(Debug, Serialize, Deserialize)]
pub struct DriftDetail<'a> {
    /// The feature.
    pub feature_slug: Cow<'a, str>,
    /// In what relation feature and baseline are; `null` where it cannot be judged.
    pub state: Option<DriftState>,
    /// How bad.
    pub severity: Option<Severity>,
    /// One sentence.
    pub detail: Cow<'a, str>,
    /// The lists of an overview: keys by kind of difference.
    #[serde(flatten)]
    pub lists: DriftLists<'a>,
    /// What differs, by key.
    pub differences: Cow<'a, [Difference]>,
    /// Parity hash now.
    pub local_parity_hash: Digest,
    /// Tree hash now.
    pub local_tree_hash: Digest,
    /// The baseline, if it can be read.
    pub baseline: Option<BaselineSummary<'a>>,
    /// What the feature's key is now, and what the baseline's is.
    pub key: KeyComparison<'a>,
}

/// The two keys side by side.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeyComparison<'a> {
    /// The feature's.
    pub local: Cow<'a, BaselineKey>,
    /// Its hash.
    pub local_hash: Digest,
    /// The baseline's.
    pub baseline: Option<Cow<'a, BaselineKey>>,
    /// Its hash.
    pub baseline_hash: Option<Digest>,
    /// Names of the fields that differ.
    pub mismatch: Vec<Cow<'a, str>>,
}

impl<'a> From<&'a Feature> for DriftDetail<'a> {
    fn from(feature: &'a Feature) -> Self {
        let drift = &feature.drift;
        let baseline = match &feature.metadata.baseline {
            BaselineFile::Valid(baseline) => Some(baseline),
            BaselineFile::Absent | BaselineFile::Corrupt(_) => None,
        };
        Self {
            feature_slug: feature.dossier.context.feature_slug.as_str().into(),
            state: drift.state,
            severity: drift.severity,
            detail: Cow::Borrowed(&drift.detail),
            lists: DriftLists::from(drift),
            differences: Cow::Borrowed(&drift.differences),
            local_parity_hash: feature.snapshot.parity_hash_sha256,
            local_tree_hash: feature.snapshot.tree_hash_sha256,
            baseline: BaselineSummary::from_feature(feature),
            key: KeyComparison {
                local: Cow::Borrowed(&feature.metadata.baseline_key),
                local_hash: feature.metadata.baseline_key.hash(),
                baseline: baseline.map(|baseline| Cow::Borrowed(&baseline.baseline_key)),
                baseline_hash: baseline.map(|baseline| baseline.baseline_key_hash),
                mismatch: borrow_all(drift.key_mismatch.clone()),
            },
        }
    }
}

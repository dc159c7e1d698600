//! Models of `GET /api/dossier/drift`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::baseline::BaselineFile;
use crate::core::digest::Digest;
use crate::core::drift::{Difference, DriftState, Severity};
use crate::core::feature::Feature;
use crate::core::identity::BaselineKey;
use crate::wire::overview::{BaselineSummary, DriftLists, borrow_all};

/// Differences between a feature and its baseline.
#[derive(Debug, Serialize, Deserialize)]
pub struct DriftDetail<'a> {
    /// Slug of the feature.
    pub feature_slug: Cow<'a, str>,
    /// Result of the comparison; `None` if the feature cannot be evaluated.
    pub state: Option<DriftState>,
    /// Severity of the worst difference.
    pub severity: Option<Severity>,
    /// One sentence about the result.
    pub detail: Cow<'a, str>,
    /// Keys by kind of difference, as in the overview.
    #[serde(flatten)]
    pub lists: DriftLists<'a>,
    /// All differences, sorted by key.
    pub differences: Cow<'a, [Difference]>,
    /// Current parity hash of the feature.
    pub local_parity_hash: Digest,
    /// Current tree hash of the feature.
    pub local_tree_hash: Digest,
    /// The baseline, if there is one that can be parsed.
    pub baseline: Option<BaselineSummary<'a>>,
    /// The baseline keys of the feature and of the baseline.
    pub key: KeyComparison<'a>,
}

/// Comparison of two baseline keys.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeyComparison<'a> {
    /// Current key of the feature.
    pub local: Cow<'a, BaselineKey>,
    /// Hash of the current key.
    pub local_hash: Digest,
    /// Key of the baseline.
    pub baseline: Option<Cow<'a, BaselineKey>>,
    /// Hash of the key of the baseline.
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

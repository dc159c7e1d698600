//! One feature at a glance: `GET /api/dossier/overview`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::baseline::BaselineFile;
use crate::core::digest::Digest;
use crate::core::drift::{DifferenceKind, Drift, DriftState, Severity};
use crate::core::event::ArtifactCounts;
use crate::core::feature::{Feature, FeatureWatchState, StepSource};
use crate::core::feature_context::Completeness;
use crate::core::time::Timestamp;

/// The seed's `DossierOverviewResponse` and what the contract adds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Overview<'a> {
    /// The feature.
    pub feature_slug: Cow<'a, str>,
    /// Whether all that is required is there.
    pub completeness_status: Completeness,
    /// Parity hash.
    pub parity_hash_sha256: Digest,
    /// The six counts.
    pub artifact_counts: ArtifactCounts,
    /// Required artifacts that are not present.
    pub missing_required_count: u64,
    /// Last comparison with the disk; `None` where it was not seen since the daemon began.
    pub last_scanned_at: Option<Timestamp>,
    /// Last component of the project's root.
    pub project: Cow<'a, str>,
    /// Mission type.
    pub mission: Cow<'a, str>,
    /// Run of the mission.
    pub mission_run_id: Cow<'a, str>,
    /// Version of the manifest, or `none`.
    pub manifest_version: Cow<'a, str>,
    /// Current step.
    pub step: Option<Cow<'a, str>>,
    /// Where it comes from.
    pub step_source: StepSource,
    /// What is wrong with it.
    pub step_error: Option<Cow<'a, str>>,
    /// Tree hash.
    pub tree_hash_sha256: Digest,
    /// How well the feature is seen.
    pub watch: FeatureWatchState,
    /// Artifacts whose bytes are not yet trusted.
    pub racy: u64,
    /// What is wrong with `meta.json`.
    pub meta_error: Option<Cow<'a, str>>,
    /// How it compares to its baseline.
    pub drift: DriftSummary<'a>,
    /// The baseline, if one was accepted and can be read.
    pub baseline: Option<BaselineSummary<'a>>,
}

/// Drift in an overview.
#[derive(Debug, Serialize, Deserialize)]
pub struct DriftSummary<'a> {
    /// In what relation feature and baseline are; `null` where it cannot be judged.
    pub state: Option<DriftState>,
    /// How bad.
    pub severity: Option<Severity>,
    /// What differs.
    #[serde(flatten)]
    pub lists: DriftLists<'a>,
}

/// Keys of what differs, sorted.
#[derive(Debug, Serialize, Deserialize)]
pub struct DriftLists<'a> {
    /// Keys in the baseline that are not present.
    pub missing_in_local: Vec<Cow<'a, str>>,
    /// Keys present that are not in the baseline.
    pub missing_in_baseline: Vec<Cow<'a, str>>,
    /// Keys with other content.
    pub changed: Vec<Cow<'a, str>>,
    /// Keys of differences that are runtime bookkeeping.
    pub churn: Vec<Cow<'a, str>>,
}

pub(super) fn borrow_all(texts: Vec<&str>) -> Vec<Cow<'_, str>> {
    texts.into_iter().map(Cow::Borrowed).collect()
}

impl<'a> From<&'a Drift> for DriftLists<'a> {
    fn from(drift: &'a Drift) -> Self {
        Self {
            missing_in_local: borrow_all(drift.keys(DifferenceKind::MissingInLocal)),
            missing_in_baseline: borrow_all(drift.keys(DifferenceKind::MissingInBaseline)),
            changed: borrow_all(drift.keys(DifferenceKind::Changed)),
            churn: borrow_all(drift.churn_keys()),
        }
    }
}

/// A baseline in an overview.
#[derive(Debug, Serialize, Deserialize)]
pub struct BaselineSummary<'a> {
    /// Parity hash of the accepted state.
    pub parity_hash_sha256: Digest,
    /// When it was accepted.
    pub captured_at: Cow<'a, str>,
    /// `node_id` at capture.
    pub captured_by: Option<Cow<'a, str>>,
    /// Fields in which its key is not the feature's.
    pub key_mismatch: Vec<Cow<'a, str>>,
}

impl<'a> From<&'a Feature> for Overview<'a> {
    fn from(feature: &'a Feature) -> Self {
        let terms = &feature.dossier.context;
        let (snapshot, bearings) = (&feature.snapshot, &feature.metadata);
        Self {
            feature_slug: terms.feature_slug.as_str().into(),
            completeness_status: snapshot.completeness_status,
            parity_hash_sha256: snapshot.parity_hash_sha256,
            artifact_counts: snapshot.counts.into(),
            missing_required_count: snapshot.counts.required_missing,
            last_scanned_at: feature.last_scanned_at,
            project: Cow::Borrowed(&feature.project),
            mission: terms.mission_type.as_str().into(),
            mission_run_id: Cow::Borrowed(&terms.mission_run_id),
            manifest_version: feature.manifest_version().into(),
            step: terms.step.as_deref().map(Cow::Borrowed),
            step_source: bearings.step_source,
            step_error: bearings.step_error.as_deref().map(Cow::Borrowed),
            tree_hash_sha256: snapshot.tree_hash_sha256,
            watch: feature.watch,
            racy: feature.racy_count,
            meta_error: bearings.meta_error.as_deref().map(Cow::Borrowed),
            drift: DriftSummary::from(feature),
            baseline: BaselineSummary::from_feature(feature),
        }
    }
}

impl<'a> From<&'a Feature> for DriftSummary<'a> {
    fn from(feature: &'a Feature) -> Self {
        let drift = &feature.drift;
        Self { state: drift.state, severity: drift.severity, lists: DriftLists::from(drift) }
    }
}

impl<'a> BaselineSummary<'a> {
    /// The summary of the feature's baseline, if it has one that can be read.
    #[must_use]
    pub fn from_feature(feature: &'a Feature) -> Option<Self> {
        let BaselineFile::Valid(baseline) = &feature.metadata.baseline else {
            return None;
        };
        let captured_at = Timestamp::parse(&baseline.captured_at);
        Some(Self {
            parity_hash_sha256: baseline.parity_hash_sha256,
            captured_at: captured_at
                .map_or_else(|| Cow::Borrowed(&*baseline.captured_at), |at| at.to_string().into()),
            captured_by: baseline.captured_by.as_deref().map(Cow::Borrowed),
            key_mismatch: borrow_all(feature.drift.key_mismatch.clone()),
        })
    }
}

//! One feature at a glance: `GET /api/dossier/overview`.

use serde::Serialize;

use crate::core::baseline::BaselineFile;
use crate::core::digest::Digest;
use crate::core::dossier::Completeness;
use crate::core::drift::{DifferenceKind, Drift, DriftState, Severity};
use crate::core::event::ArtifactCounts;
use crate::core::feature::{Feature, StepSource, Watch};
use crate::core::time::Timestamp;

/// The seed's `DossierOverviewResponse` and what the contract adds.
#[derive(Debug, Serialize)]
pub struct Overview<'a> {
    /// The feature.
    pub feature_slug: &'a str,
    /// Whether all that is required is there.
    pub completeness_status: Completeness,
    /// Parity hash.
    pub parity_hash_sha256: Digest,
    /// The six counts.
    pub artifact_counts: ArtifactCounts,
    /// Required artifacts that are not present.
    pub missing_required_count: u64,
    /// Last comparison with the disk.
    pub last_scanned_at: Timestamp,
    /// Last component of the project's root.
    pub project: &'a str,
    /// Mission type.
    pub mission: &'a str,
    /// Run of the mission.
    pub mission_run_id: &'a str,
    /// Version of the manifest, or `none`.
    pub manifest_version: &'a str,
    /// Current step.
    pub step: Option<&'a str>,
    /// Where it comes from.
    pub step_source: StepSource,
    /// What is wrong with it.
    pub step_error: Option<&'a str>,
    /// Tree hash.
    pub tree_hash_sha256: Digest,
    /// How well the feature is seen.
    pub watch: Watch,
    /// Artifacts whose bytes are not yet trusted.
    pub racy: u64,
    /// What is wrong with `meta.json`.
    pub meta_error: Option<&'a str>,
    /// How it compares to its baseline.
    pub drift: DriftSummary<'a>,
    /// The baseline, if one was accepted and can be read.
    pub baseline: Option<BaselineSummary<'a>>,
}

/// Drift in an overview.
#[derive(Debug, Serialize)]
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
#[derive(Debug, Serialize)]
pub struct DriftLists<'a> {
    /// Keys in the baseline that are not present.
    pub missing_in_local: Vec<&'a str>,
    /// Keys present that are not in the baseline.
    pub missing_in_baseline: Vec<&'a str>,
    /// Keys with other content.
    pub changed: Vec<&'a str>,
    /// Keys of differences that are runtime bookkeeping.
    pub churn: Vec<&'a str>,
}

impl<'a> From<&'a Drift> for DriftLists<'a> {
    fn from(drift: &'a Drift) -> Self {
        Self {
            missing_in_local: drift.keys(DifferenceKind::MissingInLocal),
            missing_in_baseline: drift.keys(DifferenceKind::MissingInBaseline),
            changed: drift.keys(DifferenceKind::Changed),
            churn: drift.churn(),
        }
    }
}

/// A baseline in an overview.
#[derive(Debug, Serialize)]
pub struct BaselineSummary<'a> {
    /// Parity hash of the accepted state.
    pub parity_hash_sha256: Digest,
    /// When it was accepted.
    pub captured_at: String,
    /// `node_id` at capture.
    pub captured_by: Option<&'a str>,
    /// Fields in which its key is not the feature's.
    pub key_mismatch: &'a [&'static str],
}

impl<'a> From<&'a Feature> for Overview<'a> {
    fn from(feature: &'a Feature) -> Self {
        let terms = &feature.dossier.terms;
        let snapshot = &feature.snapshot;
        Self {
            feature_slug: terms.feature_slug.as_str(),
            completeness_status: snapshot.completeness_status,
            parity_hash_sha256: snapshot.parity_hash_sha256,
            artifact_counts: snapshot.counts.into(),
            missing_required_count: snapshot.counts.required_missing,
            last_scanned_at: feature.last_scanned_at,
            project: &feature.project,
            mission: terms.mission_type.as_str(),
            mission_run_id: &terms.mission_run_id,
            manifest_version: feature.manifest_version(),
            step: terms.step.as_deref(),
            step_source: feature.step_source,
            step_error: feature.step_error.as_deref(),
            tree_hash_sha256: snapshot.tree_hash_sha256,
            watch: feature.watch,
            racy: feature.racy,
            meta_error: feature.meta_error.as_deref(),
            drift: DriftSummary::from(feature),
            baseline: BaselineSummary::of(feature),
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
    pub fn of(feature: &'a Feature) -> Option<Self> {
        let BaselineFile::Sound(baseline) = &feature.baseline else {
            return None;
        };
        let captured_at = Timestamp::parse(&baseline.captured_at);
        Some(Self {
            parity_hash_sha256: baseline.parity_hash_sha256,
            captured_at: captured_at
                .map_or_else(|| baseline.captured_at.clone(), |at| at.to_string()),
            captured_by: baseline.captured_by.as_deref(),
            key_mismatch: &feature.drift.key_mismatch,
        })
    }
}

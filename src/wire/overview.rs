//! Models of `GET /api/dossier/overview`; the status and baseline responses contain them too.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::artifact::{ArtifactRef, ErrorReason};
use crate::core::baseline::{BaselineFile, BaselineScope};
use crate::core::current_step::StepSource;
use crate::core::digest::Digest;
use crate::core::drift::{DifferenceKind, Drift, DriftState, Severity};
use crate::core::event::ArtifactCounts;
use crate::core::feature::{Feature, FeatureWatchState};
use crate::core::feature_context::Completeness;
use crate::core::path::escape_bytes;
use crate::core::task_progress::TaskProgress;
use crate::core::time::Timestamp;

/// Summary of a feature: `docs/specification.md#overview`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Overview<'a> {
    /// Slug of the feature.
    pub feature_slug: Cow<'a, str>,
    /// Whether all required artifacts are present.
    pub completeness_status: Completeness,
    /// Why it is unknown whether all are; absent in responses of older versions.
    #[serde(default)]
    pub unknown_reason: Option<Cow<'a, str>>,
    /// Parity hash of the current state.
    pub parity_hash_sha256: Digest,
    /// `root_id` of the other work trees of the repository in which the feature has another tree hash, sorted;
    /// empty after a scan without a daemon.
    #[serde(default)]
    pub differs_in: Vec<Cow<'a, str>>,
    /// Numbers of artifacts.
    pub artifact_counts: ArtifactCounts,
    /// Number of required artifacts that are not present.
    pub missing_required_count: u64,
    /// Keys of the required artifacts that were deleted, sorted, until they return or a baseline is
    /// accepted; empty after a scan without a daemon.
    #[serde(default)]
    pub deleted_required: Vec<Cow<'a, str>>,
    /// Number of artifacts that exist and cannot be read.
    #[serde(default)]
    pub unreadable: u64,
    /// Absolute path of the feature's directory; empty in responses of older versions.
    #[serde(default)]
    pub feature_dir: Cow<'a, str>,
    /// Time at which the daemon saw the feature first; `None` if nothing is remembered.
    #[serde(default)]
    pub dossier_created_at: Option<Timestamp>,
    /// Time of its last committed change; `None` if nothing is remembered.
    #[serde(default)]
    pub dossier_updated_at: Option<Timestamp>,
    /// Time of the last comparison with the disk; `None` before the first since the daemon started.
    pub last_scanned_at: Option<Timestamp>,
    /// Last component of the project's root.
    pub project: Cow<'a, str>,
    /// Type of the mission.
    pub mission: Cow<'a, str>,
    /// Identity of the run of the mission.
    pub mission_run_id: Cow<'a, str>,
    /// Version of the manifest; `none` without one.
    pub manifest_version: Cow<'a, str>,
    /// Current step.
    pub step: Option<Cow<'a, str>>,
    /// Source of the current step.
    pub step_source: StepSource,
    /// In what the sources of the step contradict each other; absent in responses of older versions.
    #[serde(default)]
    pub step_warning: Option<Cow<'a, str>>,
    /// The next step with a blocking spec that is not satisfied.
    #[serde(default)]
    pub next_step: Option<Cow<'a, str>>,
    /// The first keys that it needs.
    #[serde(default)]
    pub next_missing: Vec<Cow<'a, str>>,
    /// Progress of the work; `None` if there is none.
    #[serde(default)]
    pub progress: Option<TaskProgress>,
    /// Why progress cannot be counted.
    #[serde(default)]
    pub progress_error: Option<Cow<'a, str>>,
    /// True if another program has a baseline of the feature in a format of its own, which is not read.
    #[serde(default)]
    pub baseline_foreign: bool,
    /// True for a feature that is finished and archived: its completeness does not count.
    #[serde(default)]
    pub archived: bool,
    /// Why the current step is unknown.
    pub step_error: Option<Cow<'a, str>>,
    /// Tree hash of the current state.
    pub tree_hash_sha256: Digest,
    /// State of watching the feature.
    pub watch: FeatureWatchState,
    /// Number of artifacts that may have changed since they were hashed; they are read again soon.
    pub racy: u64,
    /// Why `meta.json` cannot be used.
    pub meta_error: Option<Cow<'a, str>>,
    /// Comparison with the baseline.
    pub drift: DriftSummary<'a>,
    /// The baseline, if there is one that can be parsed.
    pub baseline: Option<BaselineSummary<'a>>,
}

/// Comparison with the baseline, in short.
#[derive(Debug, Serialize, Deserialize)]
pub struct DriftSummary<'a> {
    /// Result of the comparison; `None` if the feature cannot be evaluated.
    pub state: Option<DriftState>,
    /// Severity of the worst difference.
    pub severity: Option<Severity>,
    /// Keys by kind of difference.
    #[serde(flatten)]
    pub lists: DriftLists<'a>,
}

/// Sorted keys by kind of difference.
#[derive(Debug, Serialize, Deserialize)]
pub struct DriftLists<'a> {
    /// Keys that are in the baseline, and not present in the feature.
    pub missing_in_local: Vec<Cow<'a, str>>,
    /// Keys that are present in the feature, and not in the baseline.
    pub missing_in_baseline: Vec<Cow<'a, str>>,
    /// Keys whose content differs.
    pub changed: Vec<Cow<'a, str>>,
    /// Keys of differences that are only runtime bookkeeping. The other lists contain them too.
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

/// A baseline, in short.
#[derive(Debug, Serialize, Deserialize)]
pub struct BaselineSummary<'a> {
    /// Parity hash of the accepted state.
    pub parity_hash_sha256: Digest,
    /// Time of the acceptance (RFC 3339).
    pub captured_at: Cow<'a, str>,
    /// `node_id` of the machine and user that accepted the state.
    pub captured_by: Option<Cow<'a, str>>,
    /// Names of the fields in which its key differs from that of the feature.
    pub key_mismatch: Vec<Cow<'a, str>>,
    /// For whom it counts.
    #[serde(default)]
    pub scope: BaselineScope,
}

impl<'a> From<&'a Feature> for Overview<'a> {
    fn from(feature: &'a Feature) -> Self {
        let context = &feature.dossier.context;
        let (snapshot, metadata) = (&feature.snapshot, &feature.metadata);
        let next = context.step.next.as_ref();
        Self {
            feature_slug: context.feature_slug.as_str().into(),
            completeness_status: snapshot.completeness_status,
            unknown_reason: feature.unknown_reason().map(Cow::Owned),
            parity_hash_sha256: snapshot.parity_hash_sha256,
            artifact_counts: snapshot.counts.into(),
            missing_required_count: snapshot.counts.required_missing,
            deleted_required: Vec::new(),
            differs_in: Vec::new(),
            unreadable: count_unreadable(feature),
            feature_dir: escape_bytes(context.feature_dir.as_os_str().as_bytes()),
            dossier_created_at: feature.times.created_at,
            dossier_updated_at: feature.times.updated_at,
            last_scanned_at: feature.last_scanned_at,
            project: Cow::Borrowed(&feature.project),
            mission: context.mission_type.as_str().into(),
            mission_run_id: Cow::Borrowed(&context.mission_run_id),
            manifest_version: feature.manifest_version().into(),
            step: context.step.id.as_deref().map(Cow::Borrowed),
            step_source: context.step.source,
            step_warning: context.step.warning.as_deref().map(Cow::Borrowed),
            next_step: next.map(|next| Cow::Borrowed(&*next.id)),
            next_missing: next.map_or_else(Vec::new, |next| {
                next.missing.iter().map(|key| Cow::Borrowed(key.as_str())).collect()
            }),
            progress: feature.progress(),
            progress_error: metadata.progress_error.as_deref().map(Cow::Borrowed),
            baseline_foreign: metadata.baseline_foreign,
            archived: feature.is_archived(),
            step_error: metadata.step_error.as_deref().map(Cow::Borrowed),
            tree_hash_sha256: snapshot.tree_hash_sha256,
            watch: feature.watch,
            racy: feature.racy_count,
            meta_error: metadata.meta_error.as_deref().map(Cow::Borrowed),
            drift: DriftSummary::from(feature),
            baseline: BaselineSummary::from_feature(feature),
        }
    }
}

fn count_unreadable(feature: &Feature) -> u64 {
    let artifacts = feature.dossier.artifacts.iter();
    let is_unreadable =
        |one: &&Arc<ArtifactRef>| one.error_reason() == Some(ErrorReason::Unreadable);
    u64::try_from(artifacts.filter(is_unreadable).count()).unwrap_or(u64::MAX)
}

impl<'a> From<&'a Feature> for DriftSummary<'a> {
    fn from(feature: &'a Feature) -> Self {
        let drift = &feature.drift;
        Self { state: drift.state, severity: drift.severity, lists: DriftLists::from(drift) }
    }
}

impl<'a> BaselineSummary<'a> {
    /// Returns the summary of the baseline of `feature`, if it has one that can be parsed.
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
            scope: feature.metadata.baseline_scope,
        })
    }
}

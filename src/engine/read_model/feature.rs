//! The published state of one feature. It is built in `reconcile`.

use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use crate::core::artifact::ArtifactRef;
use crate::core::artifact_list::sorted_artifacts;
use crate::core::baseline::{BaselineFile, BaselineScope};
use crate::core::dossier::MissionDossier;
use crate::core::drift::Drift;
use crate::core::feature::{DossierTimes, Feature, FeatureMetadata, FeatureWatchState};
use crate::core::feature_context::{FeatureContext, UnknownReason};
use crate::core::inventory::InventoryEntry;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::snapshot::MissionDossierSnapshot;
use crate::core::sorted_chunks::SortedChunks;
use crate::core::time::Timestamp;
use crate::core::transition::Evaluation;
use crate::project::FeatureDir;

/// The state of a feature at one time. Views of a feature share what did not change between them.
#[derive(Debug)]
pub struct FeatureView {
    /// Last component of the project's root.
    pub project: Arc<str>,
    /// The feature's directory.
    pub(in crate::engine) dir: FeatureDir,
    /// True if the initial scan is complete.
    pub indexed: bool,
    /// The mission, step and manifest by which the feature is evaluated.
    pub context: Arc<FeatureContext>,
    /// The files, ordered by path.
    pub entries: SortedChunks<InventoryEntry>,
    /// Specs without a matching file.
    pub absent: Vec<Arc<ArtifactRef>>,
    /// Files that were deleted after a scan.
    pub tombstones: Vec<Arc<ArtifactRef>>,
    /// Hashes, counts, completeness and drift; `None` if they are computed only on request.
    pub evaluation: Option<Evaluation>,
    /// Identity of the snapshot.
    pub snapshot_id: Uuid,
    /// Metadata and baseline.
    pub metadata: Arc<FeatureMetadata>,
    /// Whether the state is current.
    pub watch: FeatureWatchState,
    /// When the snapshot was computed.
    pub computed_at: Timestamp,
    /// When the feature was last checked on disk; `None` if it was not since the daemon started.
    pub last_scanned_at: Option<Timestamp>,
    /// When the feature was seen first and changed last.
    pub times: DossierTimes,
    /// Cache of [`FeatureView::feature`].
    pub(in crate::engine) cached_feature: OnceLock<Arc<Feature>>,
}

impl FeatureView {
    /// Returns the slug.
    #[must_use]
    pub fn slug(&self) -> &FeatureSlug {
        &self.context.feature_slug
    }

    /// Returns the feature's directory below the root; `None` if it is the root.
    #[must_use]
    pub fn relative_dir(&self) -> Option<&RelPath> {
        self.dir.path.as_ref()
    }

    /// Returns the feature as a one-time scan would return it; computed at the first call.
    pub fn feature(&self) -> &Arc<Feature> {
        self.cached_feature.get_or_init(|| Arc::new(self.make_feature()))
    }

    /// Computes what [`FeatureView::feature`] returns, without caching it.
    pub(in crate::engine) fn make_feature(&self) -> Feature {
        let at = self.computed_at;
        let files = self.entries.iter().map(|entry| Arc::clone(&entry.artifact));
        let dossier = MissionDossier {
            context: Arc::clone(&self.context),
            artifacts: sorted_artifacts(files.chain(self.absent.iter().cloned())),
        };
        let (snapshot, drift) = match &self.evaluation {
            Some(evaluation) => (self.snapshot(evaluation, &dossier), evaluation.drift.clone()),
            None => {
                let snapshot = MissionDossierSnapshot::compute(&dossier, self.snapshot_id, at);
                let drift = evaluate_drift(&self.context, &self.metadata, || snapshot.clone());
                (snapshot, drift)
            }
        };
        Feature {
            project: Arc::clone(&self.project),
            dossier,
            snapshot: Arc::new(snapshot),
            entries: self.entries.clone(),
            metadata: Arc::clone(&self.metadata),
            drift,
            watch: self.watch,
            racy_count: self.entries.iter().filter(|entry| entry.racy).count() as u64,
            last_scanned_at: self.last_scanned_at,
            times: self.times,
        }
    }

    /// Returns the same state, watched otherwise.
    pub(in crate::engine) fn with_watch(&self, watch: FeatureWatchState) -> Self {
        Self {
            project: Arc::clone(&self.project),
            dir: self.dir.clone(),
            indexed: self.indexed,
            context: Arc::clone(&self.context),
            entries: self.entries.clone(),
            absent: self.absent.clone(),
            tombstones: self.tombstones.clone(),
            evaluation: self.evaluation.clone(),
            snapshot_id: self.snapshot_id,
            metadata: Arc::clone(&self.metadata),
            watch,
            computed_at: self.computed_at,
            last_scanned_at: self.last_scanned_at,
            times: self.times,
            cached_feature: OnceLock::new(),
        }
    }

    fn snapshot(
        &self,
        evaluation: &Evaluation,
        dossier: &MissionDossier,
    ) -> MissionDossierSnapshot {
        MissionDossierSnapshot {
            feature_slug: self.slug().clone(),
            snapshot_id: self.snapshot_id,
            counts: evaluation.counts,
            completeness_status: evaluation.completeness,
            parity_hash_sha256: evaluation.parity_hash_sha256,
            artifact_summaries: Arc::clone(&dossier.artifacts),
            computed_at: self.computed_at,
            tree_hash_sha256: evaluation.tree_hash_sha256,
        }
    }
}

/// Returns the drift of a feature from its baseline; calls `snapshot` only if there is a valid
/// baseline.
#[must_use]
pub fn evaluate_drift(
    context: &FeatureContext,
    metadata: &FeatureMetadata,
    snapshot: impl FnOnce() -> MissionDossierSnapshot,
) -> Drift {
    let baseline = &metadata.baseline;
    match &context.unknown_reason {
        Some(
            UnknownReason::Unreadable(reason)
            | UnknownReason::Unavailable(reason)
            | UnknownReason::Unresponsive(reason)
            | UnknownReason::LimitExceeded(reason),
        ) => Drift::indeterminate(reason),
        // What a team accepted is missing for everyone.
        Some(UnknownReason::Deleted)
            if metadata.baseline_scope == BaselineScope::Shared
                && *baseline != BaselineFile::Absent =>
        {
            Drift::of_missing_feature(baseline)
        }
        Some(UnknownReason::Deleted) => Drift::indeterminate("the feature was deleted"),
        Some(UnknownReason::UnreadableMeta) => Drift::indeterminate("cannot read meta.json"),
        _ if matches!(baseline, BaselineFile::Valid(_)) => {
            let key = metadata.compared_key();
            Drift::compare_with(baseline, &key, &snapshot(), &metadata.churn)
        }
        _ => Drift::without_baseline(baseline),
    }
}

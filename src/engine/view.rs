//! The published state: immutable views of all projects and features, which readers share without
//! holding a lock. It contains no file content.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tokio::sync::watch;
use uuid::Uuid;

use super::counters::Counters;
use super::inbox::ProjectId;
use super::outbox::Board;
use crate::core::artifact::ArtifactRef;
use crate::core::artifact_list::sorted_artifacts;
use crate::core::baseline::BaselineFile;
use crate::core::diagnostics::{FileError, SkippedDir};
use crate::core::dossier::MissionDossier;
use crate::core::drift::Drift;
use crate::core::feature::{Feature, FeatureMetadata, FeatureWatchState};
use crate::core::feature_context::{FeatureContext, UnknownReason};
use crate::core::inventory::InventoryEntry;
use crate::core::path::FeatureSlug;
use crate::core::snapshot::MissionDossierSnapshot;
use crate::core::sorted_chunks::SortedChunks;
use crate::core::time::Timestamp;
use crate::core::transition::Evaluation;
use crate::project::{FeatureDir, Project};

/// How a response was made to include every earlier change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncKind {
    /// The inotify event of a cookie file arrived.
    Cookie,
    /// The projects were rescanned.
    Scan,
}

/// The state of all projects at one time.
#[derive(Debug, Default)]
pub struct World {
    /// Identity of the store.
    pub instance: String,
    /// Sequence number of the last event that this state includes.
    pub seq: u64,
    /// Sequence number of the last event that is synced to disk.
    pub durable_seq: u64,
    /// Why this state is not durable; `None` if it is.
    pub degraded: Option<String>,
    /// Message about a corrupt store that was quarantined.
    pub quarantined: Option<String>,
    /// The projects.
    pub projects: Vec<Arc<ProjectView>>,
}

/// Whether file events of a project are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchState {
    /// Every directory is watched.
    Live,
    /// Events were lost and the project is being rescanned.
    Rescanning,
    /// Events are not reliable or not available, so the whole project is polled.
    Polling,
    /// Some directories cannot be watched and are polled, or another error limits the project.
    Degraded,
    /// The root exists and cannot be read.
    Unreadable,
    /// The root is missing.
    RootUnavailable,
}

/// Whether file events of a project are complete, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectWatchStatus {
    /// The state.
    pub state: WatchState,
    /// The reason of the state, or another problem of a live project.
    pub detail: Option<String>,
}

impl ProjectWatchStatus {
    pub(super) fn new(state: WatchState, detail: Option<String>) -> Self {
        Self { state, detail }
    }
}

/// The state of a project at one time.
#[derive(Debug)]
pub struct ProjectView {
    /// Number of the project in the engine.
    pub id: ProjectId,
    /// Last component of the root.
    pub name: Arc<str>,
    /// Canonical root, as text.
    pub root: String,
    /// Identity of the root on this machine.
    pub root_id: String,
    /// Identity of the project.
    pub project_uuid: String,
    /// Identity of machine and user.
    pub node_id: String,
    /// Errors in metadata files.
    pub errors: Vec<FileError>,
    /// Warnings about manifests.
    pub warnings: Vec<String>,
    /// Directories that match a feature pattern and are not features.
    pub skipped: Vec<SkippedDir>,
    /// Number of watched directories.
    pub watched: u64,
    /// Number of directories that should be watched.
    pub total: u64,
    /// Whether events are complete.
    pub watch: ProjectWatchStatus,
    /// Number of rescans after lost events.
    pub resyncs: u64,
    /// Number of changes that only the scrub found.
    pub scrub_detected: u64,
    /// True if the initial scan of every feature is complete.
    pub ready: bool,
    /// The features, ordered by slug.
    pub features: Vec<Arc<FeatureView>>,
    /// Access to the project's files.
    pub(super) project: Arc<Project>,
}

/// The state of a feature at one time.
#[derive(Debug)]
pub struct FeatureView {
    /// Last component of the project's root.
    pub project: Arc<str>,
    /// The feature's directory.
    pub(super) dir: FeatureDir,
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
    /// When the feature was last checked on disk.
    pub last_scanned_at: Option<Timestamp>,
    /// Cache of [`FeatureView::feature`].
    pub cached_feature: OnceLock<Arc<Feature>>,
}

impl FeatureView {
    /// Returns the slug.
    #[must_use]
    pub fn slug(&self) -> &FeatureSlug {
        &self.context.feature_slug
    }

    /// Returns the feature as a one-time scan would return it; computed at the first call.
    pub fn feature(&self) -> &Arc<Feature> {
        self.cached_feature.get_or_init(|| Arc::new(self.make_feature()))
    }

    /// Computes what [`FeatureView::feature`] returns, without caching it.
    pub(super) fn make_feature(&self) -> Feature {
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
        let snapshot = Arc::new(snapshot);
        Feature {
            project: Arc::clone(&self.project),
            dossier,
            snapshot,
            metadata: Arc::clone(&self.metadata),
            drift,
            watch: self.watch,
            racy_count: self.entries.iter().filter(|entry| entry.racy).count() as u64,
            last_scanned_at: self.last_scanned_at,
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
    let FeatureMetadata { baseline, baseline_key: key, .. } = metadata;
    match &context.unknown_reason {
        Some(UnknownReason::Unreadable(reason) | UnknownReason::LimitExceeded(reason)) => {
            Drift::indeterminate(reason)
        }
        Some(UnknownReason::Deleted) => Drift::indeterminate("the feature was deleted"),
        Some(UnknownReason::UnreadableMeta) => Drift::indeterminate("cannot read meta.json"),
        _ if matches!(baseline, BaselineFile::Valid(_)) => {
            Drift::compare(baseline, key, &snapshot())
        }
        _ => Drift::without_baseline(baseline),
    }
}

/// Publishes the state to readers.
#[derive(Debug)]
pub struct Views {
    world: RwLock<Arc<World>>,
    seq: watch::Sender<u64>,
    counters: Counters,
    board: Board,
}

impl Default for Views {
    fn default() -> Self {
        Self {
            world: RwLock::default(),
            seq: watch::Sender::new(0),
            counters: Counters::default(),
            board: Board::default(),
        }
    }
}

impl Views {
    /// Returns the current state.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a channel that receives the sequence number of the last event, at every new event
    /// and at every new state.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.seq.subscribe()
    }

    /// Returns the counters since the daemon started.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the status of the sinks.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Publishes a new state.
    pub(super) fn publish(&self, world: World) {
        let seq = world.seq;
        *self.world.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(world);
        self.seq.send_replace(seq);
    }

    /// Notifies readers of the journal of new events; the state is published afterwards.
    pub(super) fn notify_seq(&self, seq: u64) {
        self.seq.send_if_modified(|known| std::mem::replace(known, seq) != seq);
    }
}

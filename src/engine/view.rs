//! What readers see: immutable pictures of all features, shared without locks being held.

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

/// How an answer came to include every earlier change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncKind {
    /// A cookie file came back on the kernel's queue.
    Cookie,
    /// Everything was compared with the disk.
    Scan,
}

/// All that is watched, at one time.
#[derive(Debug, Default)]
pub struct World {
    /// Identity of the store.
    pub instance: String,
    /// Last event that this picture includes.
    pub seq: u64,
    /// Last event that a power cut cannot take back.
    pub durable_seq: u64,
    /// Why what is shown is not durable.
    pub degraded: Option<String>,
    /// Where a store is that was corrupt, in words.
    pub set_aside: Option<String>,
    /// The projects.
    pub projects: Vec<Arc<ProjectView>>,
}

/// How well a project is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchState {
    /// Every directory is watched.
    Live,
    /// Events were lost, and everything is being compared with the disk.
    Rescanning,
    /// Events do not tell of everything; all of it is looked at again and again.
    Polling,
    /// Not every directory is watched; the others are looked at again and again.
    Degraded,
    /// The root cannot be read.
    Unreadable,
    /// The root is not there.
    RootUnavailable,
}

/// A project, at one time.
#[derive(Debug)]
pub struct ProjectView {
    /// Its number in the engine.
    pub id: ProjectId,
    /// Last component of its root.
    pub name: Arc<str>,
    /// Canonical root, as text.
    pub root: String,
    /// Identity of the root on this machine.
    pub root_id: String,
    /// Identity of the project.
    pub project_uuid: String,
    /// Identity of machine and user.
    pub node_id: String,
    /// Files that cannot be used.
    pub errors: Vec<FileError>,
    /// What is odd in manifests.
    pub warnings: Vec<String>,
    /// Directories that are no features.
    pub skipped: Vec<SkippedDir>,
    /// Directories under watch.
    pub watched: u64,
    /// Directories there are to watch.
    pub total: u64,
    /// How well it is watched, and what is wrong.
    pub watch: (WatchState, Option<String>),
    /// How often events were lost and everything was looked at.
    pub resyncs: u64,
    /// Changes that only reading everything again found.
    pub caught: u64,
    /// Features whose first index stands, of those there are.
    pub ready: bool,
    /// The features, in order of slug.
    pub features: Vec<Arc<FeatureView>>,
    /// Its files.
    pub(super) project: Arc<Project>,
}

/// A feature, at one time.
#[derive(Debug)]
pub struct FeatureView {
    /// Last component of its project's root.
    pub project: Arc<str>,
    /// Where it lies.
    pub(super) dir: FeatureDir,
    /// Whether its first index stands.
    pub indexed: bool,
    /// What it is of, and by what it is judged.
    pub terms: Arc<FeatureContext>,
    /// The files, in order of path.
    pub entries: SortedChunks<InventoryEntry>,
    /// The absent specs that are listed.
    pub absent: Vec<Arc<ArtifactRef>>,
    /// What was deleted after a scan.
    pub tombstones: Vec<Arc<ArtifactRef>>,
    /// Hashes, counts, completeness, drift; `None` where only a reader needs them, who then works
    /// them out.
    pub verdict: Option<Evaluation>,
    /// Identity of its snapshot.
    pub snapshot_id: Uuid,
    /// What is known of it beside its terms and artifacts.
    pub bearings: Arc<FeatureMetadata>,
    /// How well it is seen.
    pub watch: FeatureWatchState,
    /// When that was computed.
    pub computed_at: Timestamp,
    /// When something of it was last compared with the disk.
    pub last_scanned_at: Option<Timestamp>,
    /// The same as the one-shot commands have it, made when first asked for.
    pub whole: OnceLock<Arc<Feature>>,
}

impl FeatureView {
    /// The feature.
    #[must_use]
    pub fn slug(&self) -> &FeatureSlug {
        &self.terms.feature_slug
    }

    /// The feature as the one-shot commands have it.
    pub fn feature(&self) -> &Arc<Feature> {
        self.whole.get_or_init(|| Arc::new(self.make_feature()))
    }

    /// The same, made anew and not kept.
    pub(super) fn make_feature(&self) -> Feature {
        let at = self.computed_at;
        let files = self.entries.iter().map(|entry| Arc::clone(&entry.artifact));
        let dossier = MissionDossier {
            context: Arc::clone(&self.terms),
            artifacts: sorted_artifacts(files.chain(self.absent.iter().cloned())),
        };
        let (snapshot, drift) = match &self.verdict {
            Some(verdict) => (self.snapshot(verdict, &dossier), verdict.drift.clone()),
            None => {
                let snapshot = MissionDossierSnapshot::compute(&dossier, self.snapshot_id, at);
                let drift = judge_drift(&self.terms, &self.bearings, || snapshot.clone());
                (snapshot, drift)
            }
        };
        let snapshot = Arc::new(snapshot);
        Feature {
            project: Arc::clone(&self.project),
            dossier,
            snapshot,
            metadata: Arc::clone(&self.bearings),
            drift,
            watch: self.watch,
            racy_count: self.entries.iter().filter(|entry| entry.racy).count() as u64,
            last_scanned_at: self.last_scanned_at,
        }
    }

    fn snapshot(&self, verdict: &Evaluation, dossier: &MissionDossier) -> MissionDossierSnapshot {
        MissionDossierSnapshot {
            feature_slug: self.slug().clone(),
            snapshot_id: self.snapshot_id,
            counts: verdict.counts,
            completeness_status: verdict.completeness,
            parity_hash_sha256: verdict.parity_hash_sha256,
            artifact_summaries: Arc::clone(&dossier.artifacts),
            computed_at: self.computed_at,
            tree_hash_sha256: verdict.tree_hash_sha256,
        }
    }
}

/// How a feature compares to its baseline; `now` is asked for only where that decides.
#[must_use]
pub fn judge_drift(
    terms: &FeatureContext,
    bearings: &FeatureMetadata,
    now: impl FnOnce() -> MissionDossierSnapshot,
) -> Drift {
    let FeatureMetadata { baseline, baseline_key: key, .. } = bearings;
    match &terms.unknown_reason {
        Some(UnknownReason::Unreadable(why) | UnknownReason::LimitExceeded(why)) => {
            Drift::indeterminate(why)
        }
        Some(UnknownReason::Deleted) => Drift::indeterminate("the feature is gone"),
        Some(UnknownReason::UnreadableMeta) => Drift::indeterminate("meta.json cannot be read"),
        _ if matches!(baseline, BaselineFile::Valid(_)) => Drift::compare(baseline, key, &now()),
        _ => Drift::without_baseline(baseline),
    }
}

/// Where the engine puts its picture, and readers take it.
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
    /// The picture now.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells of every new event, by its number, and of every new picture.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.seq.subscribe()
    }

    /// What was done in this life.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How the sinks do.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Shows a new picture.
    pub(super) fn publish(&self, world: World) {
        let seq = world.seq;
        *self.world.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(world);
        self.seq.send_replace(seq);
    }

    /// Tells who reads the journal how far it goes; the picture follows.
    pub(super) fn announce(&self, seq: u64) {
        self.seq.send_if_modified(|known| std::mem::replace(known, seq) != seq);
    }
}

//! Jobs of the engine thread for its helper threads, and their results: file checks and snapshot
//! files. It starts no thread.

use std::sync::Arc;
use std::time::Duration;

use super::ids::ProjectId;
use super::read_model::FeatureView;
use super::reconcile::effect::EffectTag;
use super::reconcile::event::Event;
use crate::core::artifact::FileSignature;
use crate::core::path::{FeatureSlug, RelPath};
use crate::project::{FeatureDir, Project, SnapshotDirs};
use crate::scan::{PathState, ScanLimits};

/// A path to check.
#[derive(Debug, Clone)]
pub(super) struct FileJob {
    pub(super) id: ProjectId,
    /// The effect that the result completes.
    pub(super) tag: EffectTag,
    pub(super) project: Arc<Project>,
    pub(super) feature: FeatureDir,
    pub(super) path: RelPath,
    /// Signature at the last read. The file is not read if it still matches; `None` forces a read.
    pub(super) expected: Option<FileSignature>,
    pub(super) limits: ScanLimits,
    /// True if the read only verifies known content; no client waits for it.
    pub(super) verify_only: bool,
}

/// The result of a check.
#[derive(Debug)]
pub(super) struct FileResult {
    pub(super) id: ProjectId,
    /// The effect that the result completes.
    pub(super) tag: EffectTag,
    pub(super) slug: FeatureSlug,
    pub(super) path: RelPath,
    pub(super) state: PathState,
    /// Time that the check took.
    pub(super) cost: Duration,
    /// True if the read only verified known content.
    pub(super) verify_only: bool,
}

/// The result of executing an effect.
#[derive(Debug)]
pub(super) struct EffectResult {
    pub(super) id: ProjectId,
    /// Which executor of the project it comes from; results of an earlier one count no more.
    pub(super) executor: u32,
    pub(super) event: Event,
    /// The project with the metadata that was read last.
    pub(super) project: Arc<Project>,
}

/// A snapshot to write.
#[derive(Debug)]
pub(super) struct SnapshotJob {
    pub(super) id: ProjectId,
    pub(super) project: Arc<Project>,
    pub(super) view: Arc<FeatureView>,
    /// What is known of the directories of the project's snapshot files.
    pub(super) dirs: Arc<SnapshotDirs>,
}

/// The result of writing the snapshot file of a feature.
#[derive(Debug)]
pub(super) struct SnapshotWritten {
    pub(super) id: ProjectId,
    pub(super) slug: FeatureSlug,
    /// Why the file could not be written; `None` if it was.
    pub(super) error: Option<String>,
}

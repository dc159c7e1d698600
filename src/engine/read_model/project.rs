//! The published state of one project. It is built in `reconcile` and `runtime`.

use std::sync::Arc;

use super::feature::FeatureView;
use crate::core::diagnostics::{FileError, SkippedDir};
use crate::engine::ids::ProjectId;
use crate::project::Project;

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
    /// The root's file system does not respond.
    Unresponsive,
}

/// Whether file events of a project are complete, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectWatchStatus {
    /// The state.
    pub state: WatchState,
    /// The reason of the state, or another problem of a live project.
    pub detail: Option<String>,
}

/// The state of a project at one time.
#[derive(Debug, Clone)]
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
    /// Number of rescans after lost events or with a new watcher.
    pub rescans: u64,
    /// Number of changes that only the scrub found.
    pub scrub_detected: u64,
    /// True once its features are listed, or it is known that they cannot be. Until then these are
    /// the features of its former configuration, or none.
    pub listed: bool,
    /// True if the initial scan of every feature is complete.
    pub ready: bool,
    /// The features, ordered by slug.
    pub features: Vec<Arc<FeatureView>>,
    /// Access to the project's files.
    pub(in crate::engine) project: Arc<Project>,
}

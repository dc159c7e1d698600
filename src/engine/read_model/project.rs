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

impl ProjectView {
    /// Returns true if both are work trees of one repository.
    fn is_related(&self, other: &Self) -> bool {
        (self.worktree_of.is_some() || other.worktree_of.is_some())
            && self.main_id() == other.main_id()
    }

    /// Returns the identity of the main root of its repository, as far as that is watched.
    fn main_id(&self) -> &str {
        self.worktree_of.as_deref().unwrap_or(&self.root_id)
    }

    /// Returns the identities of the roots among `projects` that are work trees of the same repository and have
    /// the feature with another tree hash, sorted.
    #[must_use]
    pub fn differs_in<'p>(&self, feature: &FeatureView, projects: &'p [Arc<Self>]) -> Vec<&'p str> {
        let differs = |other: &&'p Arc<Self>| {
            let found = other.features.binary_search_by(|one| one.slug().cmp(feature.slug()));
            let same = found.ok().and_then(|at| other.features.get(at));
            let tree_hash = |one: &FeatureView| one.feature().snapshot.tree_hash_sha256;
            let is_known = |one: &FeatureView| one.indexed;
            let same = same.filter(|same| is_known(same) && is_known(feature));
            same.is_some_and(|same| tree_hash(same) != tree_hash(feature))
        };
        let related = projects.iter().filter(|other| other.id != self.id && self.is_related(other));
        let mut ids: Vec<&str> =
            related.filter(differs).map(|other| other.root_id.as_str()).collect();
        ids.sort_unstable();
        ids
    }
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
    /// Identity of the main root, if it is that of a worktree of a watched project.
    pub worktree_of: Option<Arc<str>>,
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

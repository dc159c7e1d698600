//! Commands of clients to the engine, with the errors and values of its replies. It handles none of
//! them.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;

use super::ids::ProjectId;
use super::sinks::SinkCommand;
use super::timeouts::{ITERATION_TIMEOUT, PROJECT_CHANGE_TIMEOUT, SYNC_TIMEOUT};
use crate::config::Config;
use crate::config::ProjectListError;
use crate::core::path::FeatureSlug;
use crate::store::StoreError;

/// A feature of a watched project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureRef {
    /// The project.
    pub project: ProjectId,
    /// The feature's name.
    pub slug: FeatureSlug,
}

/// How the published state of a project was made to include every earlier change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectSync {
    /// The inotify event of a cookie file arrived.
    Cookie,
    /// It was rescanned.
    Scan,
    /// It was not.
    None(NotSynced),
}

/// Why the published state of a project may not include every earlier change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSynced {
    /// The root is away, or its file system does not respond.
    RootAway,
    /// The rescan did not end in time.
    TimedOut,
}

/// A project could not be added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The root cannot be opened, or is not a directory.
    #[error("cannot watch {path}", path = path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The project could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A project could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The project is listed in the configuration.
    #[error("cannot remove {}: it is listed in the configuration; remove it there", .0.display())]
    Configured(PathBuf),
    /// The project is watched as a worktree of another one.
    #[error(
        "cannot remove {}: it is a worktree of a watched project; write `worktrees: ignore` to \
         `.dossierd/config.yaml` of that project", .0.display()
    )]
    Worktree(PathBuf),
    /// The removal could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The list of projects could not be changed.
    #[error(transparent)]
    List(#[from] ProjectListError),
}

/// A request to the engine. The reply is dropped if the client has stopped waiting for it.
#[derive(Debug)]
pub enum Command {
    /// Reply when every earlier change, of one feature or of all, has settled and is published.
    Sync {
        /// The feature; `None` for all features.
        feature: Option<FeatureRef>,
        /// Receives how this was ensured for each project.
        reply: oneshot::Sender<BTreeMap<ProjectId, ProjectSync>>,
    },
    /// Rescan a feature, a project, or everything.
    Rescan {
        /// The project; `None` for all projects.
        project: Option<ProjectId>,
        /// The feature, in each of these projects; `None` for all features.
        feature: Option<FeatureSlug>,
        /// Notified when the rescan has started; use [`Command::Sync`] to wait for its end.
        reply: oneshot::Sender<()>,
    },
    /// Watch a project.
    AddProject {
        /// The root.
        root: PathBuf,
        /// True to store the project, so that it is watched after a restart, too.
        keep: bool,
        /// Receives its number. A project that is watched already keeps its number.
        reply: oneshot::Sender<Result<ProjectId, AddError>>,
    },
    /// Stop watching a project and remove its stored state. Its events stay in the journal.
    RemoveProject {
        /// The project.
        id: ProjectId,
        /// Notified when the project is removed.
        reply: oneshot::Sender<Result<(), RemoveError>>,
    },
    /// Apply a new configuration.
    Reload {
        /// The whole configuration.
        config: Box<Config>,
        /// Receives a description of each change.
        reply: oneshot::Sender<Vec<String>>,
    },
    /// Write the store's file again if it was removed.
    RestoreStore {
        /// Receives true if it is in its place.
        reply: oneshot::Sender<bool>,
    },
    /// Check that the event loop is running.
    Ping {
        /// Notified when the event loop handles the command.
        reply: oneshot::Sender<()>,
    },
    /// A command of a sink, or about one.
    Sink(SinkCommand),
    /// Commit pending changes, close the store and end the engine thread.
    Stop,
}

impl Command {
    /// Returns the timeout for a reply; after it the engine is considered hung.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        match self {
            Self::Sync { .. } => SYNC_TIMEOUT,
            // Handled within one iteration.
            Self::Rescan { .. } | Self::Ping { .. } | Self::Stop => ITERATION_TIMEOUT,
            // These list a whole project, delete one from the store, or sync the store to disk.
            Self::AddProject { .. }
            | Self::RemoveProject { .. }
            | Self::Reload { .. }
            | Self::RestoreStore { .. }
            | Self::Sink(_) => PROJECT_CHANGE_TIMEOUT,
        }
    }
}

//! Models of `GET /api/status` and `GET /healthz`, and of `dossierd status --json`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::diagnostics::{FileError, SkippedDir};
use crate::core::time::Timestamp;
use crate::wire::delivery::SinkStatus;
use crate::wire::overview::Overview;

/// State of the daemon and of all that it watches: `docs/specification.md#status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status<'a> {
    /// Version of the daemon.
    pub version: Cow<'a, str>,
    /// Process id of the daemon.
    pub pid: u32,
    /// Time at which the daemon started.
    pub started_at: Timestamp,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// Identity of the store.
    pub instance: Cow<'a, str>,
    /// Sequence number of the last event that the response includes.
    pub seq: u64,
    /// The weakest of all projects; present with `sync=true`.
    #[serde(flatten)]
    pub sync: Option<SyncStatus>,
    /// State of the store.
    pub store: StoreStatus<'a>,
    /// State of the configuration; absent in responses of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigStatus<'a>>,
    /// Use of inotify; absent in responses of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inotify: Option<InotifyStatus>,
    /// State of all sinks.
    #[serde(default)]
    pub delivery: Vec<SinkStatus<'a>>,
    /// All projects.
    pub projects: Vec<ProjectStatus<'a>>,
}

/// Use of inotify by the watched projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InotifyStatus {
    /// Number of inotify instances.
    pub instances: u64,
    /// Number of instances that the daemon uses at most. Projects for which none is left are polled.
    pub max_instances: u64,
    /// Number of instances that several projects share.
    pub shared_instances: u64,
    /// Number of watched directories.
    pub watches: u64,
}

/// State of the configuration file.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConfigStatus<'a> {
    /// Path of the file, whether or not it exists.
    pub path: Cow<'a, str>,
    /// Whether the file is in use.
    pub state: ConfigHealth,
    /// Errors in the file.
    pub errors: Cow<'a, [FileError]>,
}

/// Whether the configuration file is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfigHealth {
    /// The file is valid and in use, or does not exist.
    Ok,
    /// The file is invalid; the previous configuration is in use.
    Broken,
}

/// Whether a response with `sync=true` includes all earlier changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// How it came to include them.
    pub synced: Synced,
    /// Why it may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_reason: Option<String>,
}

impl From<Synced> for SyncStatus {
    fn from(synced: Synced) -> Self {
        Self { synced, synced_reason: None }
    }
}

/// How a response with `sync=true` came to include all earlier changes, the weakest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synced {
    /// The event of a cookie file has arrived, after all events before it.
    Cookie,
    /// The feature, or everything, was compared with the disk.
    Scan,
    /// It may not: the root is unavailable, its file system does not respond, or the comparison took
    /// too long.
    None,
}

impl Synced {
    /// Returns its name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Scan => "scan",
            Self::None => "none",
        }
    }
}

/// State of the store.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoreStatus<'a> {
    /// Path of the store.
    pub path: Cow<'a, str>,
    /// Whether the state that is served is durable.
    pub state: StoreState,
    /// Why the store cannot be written, or that a corrupt store was quarantined.
    pub detail: Option<Cow<'a, str>>,
}

/// Whether the store can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreState {
    /// The store can be written.
    Ok,
    /// The store cannot be written. The state is served, but is not durable.
    Degraded,
}

/// State of a project and its features.
#[derive(Debug, Serialize, Deserialize)]
pub struct ProjectStatus<'a> {
    /// Last component of the root.
    pub project: Cow<'a, str>,
    /// Canonical absolute root.
    pub root: Cow<'a, str>,
    /// Identity of the root on this machine.
    pub root_id: Cow<'a, str>,
    /// `root_id` of the main root, if this is a worktree of a watched project.
    #[serde(default)]
    pub worktree_of: Option<Cow<'a, str>>,
    /// Identity of the project, from its metadata.
    pub project_uuid: Cow<'a, str>,
    /// Identity of machine and user.
    pub node_id: Cow<'a, str>,
    /// Whether the response includes all earlier changes of the project; present with `sync=true`.
    #[serde(flatten)]
    pub sync: Option<SyncStatus>,
    /// State of watching the project.
    pub watch: WatchStatus<'a>,
    /// Errors in manifests and project files.
    pub manifest_errors: Cow<'a, [FileError]>,
    /// Warnings about manifests.
    pub manifest_warnings: Cow<'a, [String]>,
    /// Directories that are not features, with the reason.
    pub skipped: Cow<'a, [SkippedDir]>,
    /// The features, sorted by slug.
    pub features: Vec<Overview<'a>>,
}

/// State of watching a project.
#[derive(Debug, Serialize, Deserialize)]
pub struct WatchStatus<'a> {
    /// State, as one word.
    pub state: ProjectWatchState,
    /// Number of directories that are watched.
    pub watched: u64,
    /// Number of directories to watch.
    pub total: u64,
    /// Why the project is not watched completely.
    pub detail: Option<Cow<'a, str>>,
}

impl<'a> ConfigStatus<'a> {
    /// Returns the state of a file that is in use, or that does not exist.
    #[must_use]
    pub fn valid(path: impl Into<Cow<'a, str>>) -> Self {
        Self { path: path.into(), state: ConfigHealth::Ok, errors: Cow::Borrowed(&[]) }
    }
}

impl WatchStatus<'_> {
    /// Returns the state of a project that was scanned once.
    #[must_use]
    pub fn unwatched() -> Self {
        Self { state: ProjectWatchState::Unwatched, watched: 0, total: 0, detail: None }
    }
}

/// `status --json` of projects that no daemon watches: a [`Status`] whose fields about the daemon
/// are `null`.
#[derive(Debug, Serialize)]
pub struct OneShotStatus<'a> {
    version: &'a str,
    pid: (),
    started_at: (),
    uptime_s: (),
    instance: (),
    seq: (),
    #[serde(flatten)]
    sync: SyncStatus,
    store: (),
    config: ConfigStatus<'a>,
    inotify: (),
    delivery: (),
    projects: Vec<ProjectStatus<'a>>,
}

impl<'a> OneShotStatus<'a> {
    /// Returns the status that `version` of the program found by a scan of `projects`, with the
    /// configuration `config`.
    #[must_use]
    pub fn new(
        version: &'a str,
        config: ConfigStatus<'a>,
        projects: Vec<ProjectStatus<'a>>,
    ) -> Self {
        let (pid, started_at, uptime_s, instance, seq) = ((), (), (), (), ());
        let (store, inotify, delivery) = ((), (), ());
        Self {
            version,
            pid,
            started_at,
            uptime_s,
            instance,
            seq,
            sync: Synced::Scan.into(),
            store,
            config,
            inotify,
            delivery,
            projects,
        }
    }
}

/// State of watching a project, as one word: `docs/specification.md#project-watch-states`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectWatchState {
    /// All directories are watched.
    Live,
    /// The project is being compared with the disk.
    Rescanning,
    /// The file system delivers no events; the project is scanned periodically.
    Polling,
    /// Some directories could not be watched; they are scanned periodically.
    Degraded,
    /// The root cannot be read.
    Unreadable,
    /// The root does not exist, or is not mounted.
    RootUnavailable,
    /// The root's file system does not respond; what was known is shown.
    Unresponsive,
    /// No daemon watches the project; it was scanned once.
    Unwatched,
}

/// Response to `GET /healthz`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Health {
    /// The first index of every reachable project is complete, or was.
    Ok,
    /// The first index is not complete.
    Starting {
        /// Number of features that are indexed.
        indexed: u64,
        /// Number of features.
        of: u64,
    },
    /// The configuration is invalid, so that nothing is watched; the daemon waits until it is corrected.
    Configuration,
}

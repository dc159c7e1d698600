//! Everything at a glance: `GET /api/status` and `GET /healthz`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::diagnostics::{FileError, SkippedDir};
use crate::core::time::Timestamp;
use crate::wire::delivery::SinkStatus;
use crate::wire::overview::Overview;

/// The daemon and all that it watches.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status<'a> {
    /// Version of the program.
    pub version: Cow<'a, str>,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// Seconds since.
    pub uptime_s: u64,
    /// Identity of the store.
    pub instance: Cow<'a, str>,
    /// Last event.
    pub seq: u64,
    /// How the answer was made to include every earlier change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<Synced>,
    /// The store.
    pub store: StoreStatus<'a>,
    /// The configuration; not said by versions before it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigStatus<'a>>,
    /// Where events are delivered to.
    #[serde(default)]
    pub delivery: Vec<SinkStatus<'a>>,
    /// The projects.
    pub projects: Vec<ProjectStatus<'a>>,
}

/// The configuration file.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConfigStatus<'a> {
    /// The file, whether or not it is there.
    pub path: Cow<'a, str>,
    /// Whether it is in use as it stands.
    pub state: ConfigHealth,
    /// What is wrong with it.
    pub errors: Cow<'a, [FileError]>,
}

/// Whether the configuration file is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfigHealth {
    /// It is.
    Ok,
    /// It cannot be used; the configuration before it is.
    Broken,
}

/// How an answer with `sync=true` came to include every earlier change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synced {
    /// A cookie file came back on the kernel's queue.
    Cookie,
    /// The feature was compared with the disk.
    Scan,
}

/// The store.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoreStatus<'a> {
    /// Its file.
    pub path: Cow<'a, str>,
    /// Whether what is acknowledged is durable.
    pub state: StoreState,
    /// What is wrong.
    pub detail: Option<Cow<'a, str>>,
}

/// Whether the store can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreState {
    /// It can.
    Ok,
    /// It cannot; queries go on.
    Degraded,
}

/// One project.
#[derive(Debug, Serialize, Deserialize)]
pub struct ProjectStatus<'a> {
    /// Last component of its root.
    pub project: Cow<'a, str>,
    /// Canonical absolute root.
    pub root: Cow<'a, str>,
    /// Identity of that root on this machine.
    pub root_id: Cow<'a, str>,
    /// Identity of the project.
    pub project_uuid: Cow<'a, str>,
    /// Identity of machine and user.
    pub node_id: Cow<'a, str>,
    /// How well it is watched.
    pub watch: WatchStatus<'a>,
    /// Manifests and project files that cannot be used.
    pub manifest_errors: Cow<'a, [FileError]>,
    /// What is odd in manifests.
    pub manifest_warnings: Cow<'a, [String]>,
    /// Directories that are no features, and why.
    pub skipped: Cow<'a, [SkippedDir]>,
    /// The features.
    pub features: Vec<Overview<'a>>,
}

/// How well a project is watched.
#[derive(Debug, Serialize, Deserialize)]
pub struct WatchStatus<'a> {
    /// The state.
    pub state: ProjectWatchState,
    /// Directories under watch.
    pub watched: u64,
    /// Directories there are.
    pub total: u64,
    /// What is wrong.
    pub detail: Option<Cow<'a, str>>,
}

impl WatchStatus<'_> {
    /// Of a project that was looked at once.
    #[must_use]
    pub fn unwatched() -> Self {
        Self { state: ProjectWatchState::Unwatched, watched: 0, total: 0, detail: None }
    }
}

/// `status --json` of a project that no daemon watches: a [`Status`] whose daemon is `null`.
#[derive(Debug, Serialize)]
pub struct OneShotStatus<'a> {
    version: &'a str,
    pid: (),
    started_at: (),
    uptime_s: (),
    instance: (),
    seq: (),
    store: (),
    projects: [ProjectStatus<'a>; 1],
}

impl<'a> OneShotStatus<'a> {
    /// What `version` of the program saw of `project`.
    #[must_use]
    pub fn new(version: &'a str, project: ProjectStatus<'a>) -> Self {
        let (pid, started_at, uptime_s, instance, seq, store) = ((), (), (), (), (), ());
        Self { version, pid, started_at, uptime_s, instance, seq, store, projects: [project] }
    }
}

/// How well a project is watched, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectWatchState {
    /// Every directory is watched.
    Live,
    /// Everything is being compared with the disk.
    Rescanning,
    /// The file system gives no events; it is looked at again and again.
    Polling,
    /// Not every directory could be watched.
    Degraded,
    /// The root cannot be read.
    Unreadable,
    /// The root is not there.
    RootUnavailable,
    /// No daemon watches it; it was looked at once.
    Unwatched,
}

/// `GET /healthz`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Health {
    /// The first index of every project that can be reached stands.
    Ok,
    /// It does not yet.
    Starting {
        /// Features indexed.
        indexed: u64,
        /// Features there are.
        of: u64,
    },
}

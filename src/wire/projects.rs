//! Models of `POST` and `DELETE /api/projects`, and of `POST /api/rescan`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::wire::status::SyncStatus;

/// Body of `POST /api/projects`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddProjectRequest {
    /// Absolute path of the root, escaped as in responses.
    pub path: String,
    /// True if the project is also watched after a restart of the daemon.
    #[serde(default = "default_true")]
    pub keep: bool,
}

fn default_true() -> bool {
    true
}

/// The project that was added or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRef<'a> {
    /// Last component of the root.
    pub project: Cow<'a, str>,
    /// Canonical absolute root.
    pub root: Cow<'a, str>,
    /// Identity of the root on this machine.
    pub root_id: Cow<'a, str>,
}

/// Response to `POST /api/rescan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RescanResponse {
    /// Number of features that are rescanned.
    pub features: usize,
    /// How the rescan was awaited; present with `sync=true`.
    #[serde(flatten)]
    pub sync: Option<SyncStatus>,
}

//! Watching more and less: `POST /api/rescan`, `POST` and `DELETE /api/projects`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::wire::status::Synced;

/// What `POST /api/projects` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddProjectRequest {
    /// Absolute path of the root.
    pub path: String,
    /// Whether it is watched also after a restart.
    #[serde(default = "default_true")]
    pub keep: bool,
}

fn default_true() -> bool {
    true
}

/// A project that is watched from now on, or no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRef<'a> {
    /// Last component of its root.
    pub project: Cow<'a, str>,
    /// Canonical absolute root.
    pub root: Cow<'a, str>,
    /// Identity of that root on this machine.
    pub root_id: Cow<'a, str>,
}

/// A comparison with the disk that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RescanResponse {
    /// How many features are compared.
    pub features: usize,
    /// How it was waited for, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced: Option<Synced>,
}

//! Models of `/api/dashboard` and of its sessions.

use serde::{Deserialize, Serialize};

use crate::core::time::Timestamp;

/// Response to `POST`: the address of the dashboard, and access to it.
#[derive(Debug, Serialize, Deserialize)]
pub struct DashboardOpened {
    /// One-time URL that starts a session of one browser; valid for five minutes.
    pub url: String,
    /// URL of the page, for browsers that have a session.
    pub address: String,
    /// Token for programs, sent as `Authorization: Bearer TOKEN`.
    pub token: String,
}

/// Response to `DELETE`.
#[derive(Debug, Serialize, Deserialize)]
pub struct DashboardClosed {
    /// True if the dashboard was open.
    pub closed: bool,
}

/// Response to `GET`: whether the dashboard is open, and who uses it.
#[derive(Debug, Serialize, Deserialize)]
pub struct DashboardState {
    /// URL of the page; `None` while the dashboard is closed.
    pub address: Option<String>,
    /// How the user of each connection is found.
    pub peer_check: PeerCheck,
    /// The sessions of browsers, oldest first.
    pub sessions: Vec<DashboardSession>,
}

/// A session of one browser.
#[derive(Debug, Serialize, Deserialize)]
pub struct DashboardSession {
    /// Name of the session for people. It opens nothing.
    pub id: String,
    /// When a ticket started it.
    pub started_at: Timestamp,
    /// Time of its last request.
    pub last_used_at: Timestamp,
    /// When it ends by its age.
    pub expires_at: Timestamp,
    /// What the browser calls itself, at most 256 bytes.
    pub user_agent: String,
}

/// Response to `DELETE` of a session.
#[derive(Debug, Serialize, Deserialize)]
pub struct DashboardSessionRevoked {
    /// The session that ended.
    pub id: String,
}

/// How the user of a connection to the dashboard is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerCheck {
    /// The kernel is asked for the one socket.
    SockDiag,
    /// The kernel's tables of all sockets are read.
    ProcNet,
    /// Not at all: the dashboard is not opened.
    None,
}

//! Models of `POST` and `DELETE /api/dashboard`.

use serde::{Deserialize, Serialize};

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

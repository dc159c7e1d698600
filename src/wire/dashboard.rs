//! Opening and closing the dashboard: `POST` and `DELETE /api/dashboard`.

use serde::{Deserialize, Serialize};

/// Where the dashboard is, and how to get in.
#[derive(Debug, Serialize, Deserialize)]
pub struct DashboardOpened {
    /// The address to open in a browser: it lets one browser in, once, within five minutes.
    pub url: String,
    /// The address of the page, for a browser that was let in.
    pub address: String,
    /// For programs: `Authorization: Bearer TOKEN`.
    pub token: String,
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct DashboardClosed {
    /// Whether it was open.
    pub closed: bool,
}

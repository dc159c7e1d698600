//! The dashboard's state: whether it is open, its settings, and what the service manager keeps of it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use crate::api::dashboard::guard::AccessGuard;
use crate::api::dashboard::kept::{KeepRequest, KeptDashboard};
use crate::config::HttpConfig;

/// Settings of the dashboard.
pub struct DashboardConfig {
    /// The `http` setting.
    pub http: watch::Receiver<HttpConfig>,
    /// What the service manager has kept of the dashboard of the last daemon.
    pub kept: std::sync::Mutex<Option<KeptDashboard>>,
    /// Has the service manager keep an open dashboard; does nothing without one.
    pub keep: Box<dyn Fn(KeepRequest<'_>) + Send + Sync>,
    /// File in which older versions stored a token; removed at the start.
    pub former_state_file: PathBuf,
    /// Turns true when the daemon stops.
    pub stop: watch::Receiver<bool>,
}

impl fmt::Debug for DashboardConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DashboardConfig").field("http", &self.http).finish_non_exhaustive()
    }
}

/// The dashboard, open or closed.
#[derive(Debug)]
pub(crate) struct Dashboard {
    pub(crate) config: DashboardConfig,
    pub(crate) open: Mutex<Option<OpenDashboard>>,
}

/// A dashboard that accepts connections.
pub(crate) struct OpenDashboard {
    pub(crate) address: SocketAddr,
    pub(crate) guard: Arc<AccessGuard>,
    /// Closes the listener and its connections when set to true or dropped.
    pub(crate) close: watch::Sender<bool>,
}

impl fmt::Debug for OpenDashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenDashboard").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Dashboard {
    pub(crate) fn new(config: DashboardConfig) -> Self {
        Self { config, open: Mutex::default() }
    }

    /// Closes the dashboard, which ends its sessions; returns true if it was open.
    pub(crate) async fn close(&self) -> bool {
        let mut open = self.open.lock().await;
        (self.config.keep)(KeepRequest::Remove);
        open.take().is_some_and(|open| open.close.send(true).is_ok())
    }
}

//! The dashboard's state: whether it is open, and what is kept of it for the next daemon.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, fs};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::api::dashboard::guard::{AccessGuard, RandomToken};

/// Where the dashboard is to listen, and what it keeps.
#[derive(Debug)]
pub struct DashboardConfig {
    /// Where the configuration has it listen; `None` where it waits to be asked for.
    pub listen: watch::Receiver<Option<SocketAddr>>,
    /// Where port and token are kept.
    pub state_file: PathBuf,
    /// Turns true when the daemon stops.
    pub stop: watch::Receiver<bool>,
}

/// The dashboard, open or not.
#[derive(Debug)]
pub(crate) struct Dashboard {
    pub(crate) config: DashboardConfig,
    pub(crate) open: Mutex<Option<OpenDashboard>>,
}

pub(crate) struct OpenDashboard {
    pub(crate) address: SocketAddr,
    pub(crate) guard: Arc<AccessGuard>,
    /// Ends the listener and its connections when it turns true or is dropped.
    pub(crate) close: watch::Sender<bool>,
}

impl fmt::Debug for OpenDashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What is kept from one daemon to the next.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersistedDashboard {
    pub(crate) listen: SocketAddr,
    pub(crate) token: String,
}

impl Dashboard {
    pub(crate) fn new(plan: DashboardConfig) -> Self {
        Self { config: plan, open: Mutex::default() }
    }

    /// Closes the dashboard and forgets its token; whether it was open.
    pub(crate) async fn close(&self) -> io::Result<bool> {
        let mut open = self.open.lock().await;
        let closed = open.take().is_some_and(|open| open.close.send(true).is_ok());
        match fs::remove_file(&self.config.state_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(closed),
        }
    }
}

impl DashboardConfig {
    pub(crate) fn configured_address(&self) -> Option<SocketAddr> {
        *self.listen.borrow()
    }

    /// What was kept; `None` where there is nothing, or nothing that can be used.
    pub(crate) fn load_persisted(&self) -> Option<PersistedDashboard> {
        let kept: PersistedDashboard =
            serde_json::from_slice(&fs::read(&self.state_file).ok()?).ok()?;
        (kept.listen.ip().is_loopback() && RandomToken::parse(kept.token.clone()).is_some())
            .then_some(kept)
    }

    pub(crate) fn persist(&self, kept: &PersistedDashboard) -> io::Result<()> {
        let fresh = self.state_file.with_extension("new");
        let _ = fs::remove_file(&fresh);
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.state_file)
    }
}

//! The dashboard's state: whether it is open, and the file that stores its address and token, so
//! that pages stay connected over a restart of the daemon.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, fs};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::api::dashboard::guard::{AccessGuard, RandomToken};
use crate::config::read_private_file;

/// Maximum size in bytes of the file; a larger one is ignored.
const MAX_FILE_BYTES: u64 = 4 << 10;

/// Settings of the dashboard.
#[derive(Debug)]
pub struct DashboardConfig {
    /// Address in the configuration; `None` if the dashboard is opened by a request only.
    pub listen: watch::Receiver<Option<SocketAddr>>,
    /// File that stores the address and the token, mode 0600.
    pub state_file: PathBuf,
    /// Turns true when the daemon stops.
    pub stop: watch::Receiver<bool>,
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

/// Content of `state_file`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersistedDashboard {
    pub(crate) listen: SocketAddr,
    pub(crate) token: String,
}

impl Dashboard {
    pub(crate) fn new(config: DashboardConfig) -> Self {
        Self { config, open: Mutex::default() }
    }

    /// Closes the dashboard and deletes its token; returns true if it was open.
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
    /// Returns the address in the configuration.
    pub(crate) fn configured_address(&self) -> Option<SocketAddr> {
        *self.listen.borrow()
    }

    /// Reads the stored address and token; returns `None` if the file is absent or invalid.
    pub(crate) fn load_persisted(&self) -> Option<PersistedDashboard> {
        let persisted: PersistedDashboard =
            serde_json::from_slice(&read_private_file(&self.state_file, MAX_FILE_BYTES).ok()?)
                .ok()?;
        let is_valid = persisted.listen.ip().is_loopback()
            && RandomToken::parse(persisted.token.clone()).is_some();
        is_valid.then_some(persisted)
    }

    /// Replaces the state file atomically.
    pub(crate) fn persist(&self, persisted: &PersistedDashboard) -> io::Result<()> {
        let temporary = self.state_file.with_extension("new");
        // `create_new` fails if an earlier attempt left the file.
        let _ = fs::remove_file(&temporary);
        let mut options = fs::File::options();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(persisted)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.state_file)
    }
}

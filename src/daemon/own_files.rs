//! Keeps the lock file, the store and the socket where others find them: what is removed while the daemon
//! runs is created again, with its content.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::lock::{InstanceLock, LockError, acquire};
use crate::api::{ApiState, bind, serve};
use crate::engine::command::Command;
use crate::engine::inbox::Inbox;
use crate::engine::read_model::EngineState;
use crate::watch::watch_removals;

/// A directory is removed entry by entry: what is created meanwhile would be in the way.
const REMOVAL_TIME: Duration = Duration::from_millis(500);
/// How long the start of the projects is waited for.
const MAX_START_TIME: Duration = Duration::from_mins(1);
/// Pause after an attempt that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// What belongs to this daemon alone.
pub(super) struct OwnFiles {
    lock: InstanceLock,
    state_dir: PathBuf,
    /// `None` if the service manager created it.
    socket: Option<PathBuf>,
    inbox: Arc<Inbox>,
    api: Arc<ApiState>,
    stop: watch::Receiver<bool>,
}

impl OwnFiles {
    /// `socket` is `None` if the service manager created it, which also removes it.
    pub(super) fn new(
        lock: InstanceLock,
        state_dir: PathBuf,
        socket: Option<PathBuf>,
        inbox: &Arc<Inbox>,
        api: &Arc<ApiState>,
        stop: &watch::Receiver<bool>,
    ) -> Self {
        let (inbox, api) = (Arc::clone(inbox), Arc::clone(api));
        Self { lock, state_dir, socket, inbox, api, stop: stop.clone() }
    }

    /// Watches them until the daemon stops. Returns an error if another daemon has taken the state
    /// directory meanwhile.
    pub(super) async fn keep(mut self) -> Result<(), LockError> {
        // The projects need the watches more if few are left.
        let _ = tokio::time::timeout(MAX_START_TIME, self.wait_until_ready()).await;
        let (send, mut changes) = mpsc::channel(1);
        let socket_dir = self.socket.as_ref().and_then(|socket| socket.parent());
        let dirs = [Some(&*self.state_dir), socket_dir];
        let dirs = dirs.into_iter().flatten().map(Path::to_owned).collect();
        let mut listening = self.socket.as_deref().and_then(identity);
        let watched = watch_removals(dirs, move || {
            !matches!(send.try_send(()), Err(mpsc::error::TrySendError::Closed(())))
        });
        if let Err(error) = watched {
            warn!(%error, "it would go unnoticed if the state directory or the socket were removed");
            return std::future::pending().await;
        }
        while changes.recv().await.is_some() {
            tokio::time::sleep(REMOVAL_TIME).await;
            while changes.try_recv().is_ok() {}
            while !self.restore(&mut listening).await? {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
        // The lock is held until the daemon ends.
        std::future::pending().await
    }

    async fn wait_until_ready(&self) {
        let views = &self.api.views;
        let mut updates = views.subscribe();
        let is_ready = |state: &EngineState| {
            !state.instance.is_empty() && state.projects.iter().all(|project| project.ready)
        };
        while !is_ready(&views.load()) && updates.changed().await.is_ok() {}
    }

    /// Creates again what is missing. Returns false if that did not succeed.
    async fn restore(&mut self, listening: &mut Option<(u64, u64)>) -> Result<bool, LockError> {
        let mut is_complete = true;
        if !self.lock.is_in_place(&self.state_dir) {
            error!(path = %self.state_dir.display(), "the state directory was removed; creating it again");
            let state_dir = self.state_dir.clone();
            match spawn_blocking(move || acquire(&state_dir)).await {
                Ok(Ok(lock)) => {
                    let socket = self.socket.as_ref();
                    let _ = socket.map(|socket| lock.record_socket(socket));
                    self.lock = lock;
                }
                Ok(Err(held @ LockError::Held(_))) => return Err(held),
                Ok(Err(error)) => {
                    warn!(%error, "cannot create the state directory; will retry");
                    is_complete = false;
                }
                Err(_) => is_complete = false,
            }
        }
        // The store may be missing by itself.
        let _ = self.inbox.command(Command::RestoreStore);
        if let Some(socket) = &self.socket
            && *listening != identity(socket)
        {
            match bind(socket) {
                Ok(listener) => {
                    *listening = identity(socket);
                    info!(socket = %socket.display(), "the socket was removed; listening again");
                    // The listener before has clients; nobody connects to it any more.
                    tokio::spawn(serve(listener, Arc::clone(&self.api), self.stop.clone()));
                }
                Err(error) => {
                    warn!(%error, "the socket was removed, and cannot be created; will retry");
                    is_complete = false;
                }
            }
        }
        Ok(is_complete)
    }
}

/// Device and inode of what is at a path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = path.symlink_metadata().ok()?;
    Some((found.dev(), found.ino()))
}

//! Keeps the lock file, the store and the socket where others find them: what is removed while the daemon
//! runs is created again, with its content.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{error, info, warn};

use super::claims::Claims;
use super::lock::{LockError, acquire};
use crate::api::{ApiState, bind, serve};
use crate::config::LOCK_FILE;
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
/// Number of removed sockets that are still served, in case that they return.
const MAX_FORMER_SOCKETS: usize = 4;

/// Has what belongs to this daemon alone created again.
pub(super) struct OwnFiles {
    claims: Claims,
    state_dir: PathBuf,
    store: PathBuf,
    /// `None` if the service manager created it.
    socket: Option<PathBuf>,
    inbox: Arc<Inbox>,
    api: Arc<ApiState>,
    stop: watch::Receiver<bool>,
    /// The tasks that accept connections at the sockets that were created again.
    serving: VecDeque<JoinHandle<()>>,
}

impl OwnFiles {
    /// `socket` is `None` if the service manager created it, which also removes it.
    pub(super) fn new(
        claims: Claims,
        (state_dir, store): (PathBuf, PathBuf),
        socket: Option<PathBuf>,
        inbox: &Arc<Inbox>,
        api: &Arc<ApiState>,
        stop: &watch::Receiver<bool>,
    ) -> Self {
        let (inbox, api, stop) = (Arc::clone(inbox), Arc::clone(api), stop.clone());
        Self { claims, state_dir, store, socket, inbox, api, stop, serving: VecDeque::new() }
    }

    /// Watches them until the daemon stops. Returns an error if another daemon has taken the state
    /// directory meanwhile.
    pub(super) async fn keep(mut self) -> Result<(), LockError> {
        // The projects need the watches more if few are left.
        let _ = tokio::time::timeout(MAX_START_TIME, self.wait_until_ready()).await;
        let (send, mut changes) = mpsc::channel(1);
        let mut wal = self.store.clone().into_os_string();
        wal.push("-wal");
        let mut files = vec![self.state_dir.join(LOCK_FILE), self.store.clone(), wal.into()];
        files.extend(self.socket.clone());
        let watched = watch_removals(&files, move || {
            !matches!(send.try_send(()), Err(mpsc::error::TrySendError::Closed(())))
        });
        if let Err(error) = watched {
            warn!(%error, "it would go unnoticed if the state directory or the socket were removed");
            return std::future::pending().await;
        }
        // First for what was removed before it was watched.
        loop {
            while !self.restore().await? {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            if changes.recv().await.is_none() {
                return std::future::pending().await;
            }
            tokio::time::sleep(REMOVAL_TIME).await;
            while changes.try_recv().is_ok() {}
        }
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
    async fn restore(&mut self) -> Result<bool, LockError> {
        let (claims, dir, socket) =
            (self.claims.clone(), self.state_dir.clone(), self.socket.clone());
        // Their file system may not respond.
        let inspect = move || {
            (claims.has_lock_in(&dir), socket.is_none_or(|socket| claims.has_socket_at(&socket)))
        };
        let Ok((has_lock, has_socket)) = spawn_blocking(inspect).await else {
            return Ok(false);
        };
        let has_lock = has_lock || self.lock_again().await?;
        // The store may be missing by itself. Without the lock it may be that of another daemon.
        let has_store = has_lock && self.restore_store().await;
        let has_socket = has_socket || has_lock && self.listen_again().await;
        Ok(has_store && has_socket)
    }

    async fn lock_again(&self) -> Result<bool, LockError> {
        let (dir, socket) = (self.state_dir.clone(), self.socket.clone());
        error!(path = %dir.display(), "the state directory was removed; creating it again");
        let locked = spawn_blocking(move || {
            let lock = acquire(&dir)?;
            let _ = socket.map(|socket| lock.record_socket(&socket));
            Ok(lock)
        });
        match locked.await {
            Ok(Ok(lock)) => self.claims.set_lock(lock),
            Ok(Err(held @ LockError::Held(_))) => return Err(held),
            Ok(Err(error)) => {
                warn!(%error, "cannot create the state directory; will retry");
                return Ok(false);
            }
            Err(_) => return Ok(false),
        }
        Ok(true)
    }

    async fn restore_store(&self) -> bool {
        let (reply, restored) = oneshot::channel();
        self.inbox.command(Command::RestoreStore { reply }).is_ok() && restored.await == Ok(true)
    }

    async fn listen_again(&mut self) -> bool {
        let (Some(socket), claims) = (self.socket.clone(), self.claims.clone()) else {
            return true;
        };
        let bound = spawn_blocking(move || bind(&socket).inspect(|_| claims.add_socket(&socket)));
        match bound.await {
            Ok(Ok(listener)) => {
                info!("the socket was removed; listening again");
                let serving = serve(listener, Arc::clone(&self.api), self.stop.clone());
                self.serving.push_back(tokio::spawn(serving));
                if self.serving.len() > MAX_FORMER_SOCKETS
                    && let Some(oldest) = self.serving.pop_front()
                {
                    // Its connections have tasks of their own.
                    oldest.abort();
                }
                true
            }
            Ok(Err(error)) => {
                warn!(%error, "the socket was removed, and cannot be created; will retry");
                false
            }
            Err(_) => false,
        }
    }
}

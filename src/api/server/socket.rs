//! The local socket: made so that only its owner can reach it, and served with limits.
//!
//! A socket file that is there is never displaced on trust: whoever holds the daemon's lock asks
//! first whether someone answers, and takes away only a socket of its own user that no one serves.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName as _};
use interprocess::os::unix::local_socket::ListenerOptionsExt as _;
use interprocess::os::unix::uds_local_socket;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{debug, warn};

use crate::api::server::connection::{ConnectionService, ConnectionSlot, IdleConnections};
use crate::api::server::http_metrics::{HttpMetrics, OpenConnection};
use crate::api::server::write_timeout::{TimeoutStream, WriteDeadline, WriteTimeouts};
use crate::api::{ApiState, routes, unix_socket_router};

/// Connections at a time; for the next, one of which nothing is being answered makes room, or it
/// waits.
const MAX_CONNECTIONS: usize = 1_536;
/// Bytes of a request's head, and of what is buffered of an answer.
const MAX_BUFFER_BYTES: usize = 16 << 10;
/// A head must have come by then, and so must the next one on a connection that is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system refused something.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// Another daemon answers there.
    #[error(
        "a daemon already answers at {path}; end it with `dossierd stop --socket {path}`, or choose \
         another socket with --socket",
        path = .0.display()
    )]
    InUse(PathBuf),
    /// What is there is not ours to take away.
    #[error("{path} is {what}, and left as it is; remove it, or choose another with --socket", path = path.display())]
    NotReplaceable {
        /// The socket's path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Others could take the socket away, or could have put the directory there.
    #[error(
        "{path} is {what}, and left as it is; choose a socket in a folder of its own with --socket{mend}",
        path = path.display()
    )]
    UnsafeDirectory {
        /// The directory of the socket.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// What else helps.
        mend: &'static str,
    },
}

/// Makes the socket at `path`, whose lock the caller holds.
///
/// # Errors
/// [`SocketError`]; what is there is left as it was.
pub fn bind(path: &Path) -> Result<Listener, SocketError> {
    let error = |action, path: &Path| {
        let path = path.to_owned();
        move |source| SocketError::Io { action, path, source }
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    ensure_private_dir(folder)?;
    remove_stale_socket(path)?;
    let name = path.to_fs_name::<GenericFilePath>().map_err(error("name", path))?;
    ListenerOptions::new().name(name).mode(0o600).create_tokio().map_err(error("listen at", path))
}

/// Takes over a listener that the service manager made, and will make a new one of: its file is
/// left alone, now and at the end.
///
/// # Errors
/// When it cannot be used.
pub fn adopt_systemd_socket(listener: UnixListener) -> io::Result<Listener> {
    Ok(uds_local_socket::tokio::Listener::try_from(OwnedFd::from(listener))?.into())
}

/// Makes the socket's directory, or refuses one that others can enter.
fn ensure_private_dir(folder: &Path) -> Result<(), SocketError> {
    let error = |action| {
        let path = folder.to_owned();
        move |source| SocketError::Io { action, path, source }
    };
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(error("make the folder"))?;
    let metadata = fs::symlink_metadata(folder).map_err(error("look at"))?;
    let wrong = if metadata.is_symlink() {
        ("a symbolic link", "")
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        ("a folder of another user", "")
    } else if metadata.mode() & 0o077 != 0 {
        // With the sticky bit it is meant for all.
        let shared = metadata.mode() & 0o1000 != 0;
        let mend = if shared { "" } else { ", or, if it is yours alone, `chmod 700` it" };
        ("a folder that other users can enter", mend)
    } else {
        return Ok(());
    };
    let (what, mend) = wrong;
    Err(SocketError::UnsafeDirectory { path: folder.to_owned(), what, mend })
}

/// Takes away a socket that no one serves, and nothing else.
fn remove_stale_socket(path: &Path) -> Result<(), SocketError> {
    let foreign = |what| SocketError::NotReplaceable { path: path.to_owned(), what };
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(SocketError::Io { action: "look at", path: path.to_owned(), source });
        }
        Ok(metadata) => metadata,
    };
    if metadata.is_symlink() {
        return Err(foreign("a symbolic link"));
    }
    if !metadata.file_type().is_socket() {
        return Err(foreign("no socket"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(foreign("a socket of another user"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|source| SocketError::Io { action: "remove", path: path.to_owned(), source }),
        Err(source) => Err(SocketError::Io { action: "connect to", path: path.to_owned(), source }),
    }
}

/// Serves `api` until `stop` turns true. Connections that are open then are dropped.
pub async fn serve(listener: Listener, api: Arc<ApiState>, mut stop: watch::Receiver<bool>) {
    let traffic = Arc::clone(&api.http_metrics);
    let addresses = routes().into_iter().map(|(address, _)| address).collect();
    let server = Server::new(MAX_CONNECTIONS, traffic, addresses, unix_socket_router(api));
    let stopped = stop.clone();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = server.accept(listener.accept()) => accepted,
        };
        match accepted {
            Ok((stream, _)) if !is_own_user(&stream) => {
                server.metrics.refused.fetch_add(1, Ordering::Relaxed);
                warn!("a connection of another user is refused");
            }
            Ok((stream, permit)) => server.serve_connection(stream, permit, stopped.clone()),
            Err(error) => backoff_after_accept_error(&error).await,
        }
    }
}

/// After a connection that could not be accepted: out of descriptors, most likely, and others close
/// theirs meanwhile.
pub(crate) async fn backoff_after_accept_error(error: &io::Error) {
    warn!(%error, "a connection cannot be accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Connections of one listener, and what they are limited to.
pub(crate) struct Server {
    permits: Arc<Semaphore>,
    idle: Arc<IdleConnections>,
    pub(crate) metrics: Arc<HttpMetrics>,
    routes: Arc<[&'static str]>,
    router: Router,
    /// How slowly answers may be read.
    pub(crate) write_timeouts: WriteTimeouts,
}

impl Server {
    pub(crate) fn new(
        most: usize,
        traffic: Arc<HttpMetrics>,
        addresses: Arc<[&'static str]>,
        router: Router,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(most));
        Self {
            permits,
            idle: Arc::default(),
            metrics: traffic,
            routes: addresses,
            router,
            write_timeouts: WriteTimeouts::DEFAULT,
        }
    }

    /// The next connection, once there is a place for it.
    pub(crate) async fn accept<S>(
        &self,
        accepted: impl Future<Output = io::Result<S>>,
    ) -> io::Result<(S, OwnedSemaphorePermit)> {
        let stream = accepted.await?;
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Ok((stream, permit));
        }
        if self.idle.evict_oldest() {
            self.metrics.evicted.fetch_add(1, Ordering::Relaxed);
        }
        let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
        Ok((stream, permit))
    }

    /// Answers a connection's requests until it, or the listener, ends.
    pub(crate) fn serve_connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        stream: S,
        permit: OwnedSemaphorePermit,
        mut stopped: watch::Receiver<bool>,
    ) {
        let seat = Arc::new(ConnectionSlot::new(&self.idle));
        let patience = Arc::new(WriteDeadline::new(self.write_timeouts));
        let requests = ConnectionService {
            router: TowerToHyperService::new(self.router.clone()),
            metrics: Arc::clone(&self.metrics),
            slot: Arc::clone(&seat),
            write_deadline: Arc::clone(&patience),
            routes: Arc::clone(&self.routes),
        };
        let stream = TimeoutStream::new(stream, patience);
        let open = OpenConnection::new(&self.metrics);
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_BUFFER_BYTES)
                .serve_connection(stream, requests);
            tokio::select! {
                served = served => {
                    if let Err(error) = served {
                        debug!(%error, "a connection ended early");
                    }
                }
                () = seat.evicted() => debug!("a silent connection made room"),
                _ = stopped.wait_for(|stop| *stop) => {}
            }
            drop((seat, permit, open));
        });
    }
}

fn is_own_user(stream: &Stream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    // Not `peer_creds()`: that is an error where the client's process has no number here, as from
    // another PID namespace. Where there are no credentials the user is -1.
    let Stream::UdSocket(stream) = stream;
    stream.inner().peer_cred().is_ok_and(|peer| peer.uid() == own)
}

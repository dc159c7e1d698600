//! Connects to the daemon's socket, and only if a process of the same user listens there.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::client::error::ClientError;

/// Timeout for the daemon to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two attempts to connect while the socket's backlog is full.
const CONNECT_RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// Timeout for a complete response. The daemon itself may wait 10 s for the initial scan and
/// longer for the engine.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);

/// The process at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The process that created the socket: the daemon, or systemd with socket activation.
    pub pid: Option<i32>,
}

/// A connection to the daemon, reused for all requests.
#[derive(Debug)]
pub struct Client {
    pub(super) socket: PathBuf,
    pub(super) sender: http1::SendRequest<Full<Bytes>>,
    peer: Peer,
    /// The daemon's version, from the `Server` header of the last response.
    pub(super) version: Option<String>,
    /// Timeout for a response.
    pub(super) timeout: Duration,
}

impl Client {
    /// Connects to the daemon at `socket`.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`] if nothing listens, [`ClientError::WrongUser`] if a process of
    /// another user does.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let connection_failed = |action, source: Box<dyn std::error::Error + Send + Sync>| {
            ClientError::ConnectionFailed { action, socket: socket.to_owned(), source }
        };
        let stream = timeout(CONNECT_TIMEOUT, connect_with_retry(socket)).await;
        let timed_out =
            |_| ClientError::TimedOut { socket: socket.to_owned(), after: CONNECT_TIMEOUT };
        let stream = match stream.map_err(timed_out)? {
            Ok(stream) => stream,
            Err(error) if is_not_running(error.kind()) => {
                return Err(ClientError::NoDaemon(socket.to_owned()));
            }
            Err(source) => {
                return Err(ClientError::ConnectFailed { socket: socket.to_owned(), source });
            }
        };
        let peer =
            stream.peer_cred().map_err(|error| connection_failed("identify", error.into()))?;
        if peer.uid() != rustix::process::geteuid().as_raw() {
            return Err(ClientError::WrongUser { socket: socket.to_owned(), uid: peer.uid() });
        }
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| connection_failed("open HTTP to", error.into()))?;
        // When the connection ends, the next request reports the error.
        tokio::spawn(connection);
        let peer = Peer { pid: peer.pid() };
        let socket = socket.to_owned();
        Ok(Self { socket, sender, peer, version: None, timeout: RESPONSE_TIMEOUT })
    }

    /// Returns the path of the socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the process at the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Returns the daemon's version; `None` before the first response.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

/// Connects, and retries while the backlog is full: `connect(2)` on a Unix socket then fails with
/// `EAGAIN` at once instead of waiting.
async fn connect_with_retry(socket: &Path) -> io::Result<UnixStream> {
    let started = Instant::now();
    loop {
        match UnixStream::connect(socket).await {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && started.elapsed() < CONNECT_TIMEOUT =>
            {
                sleep(CONNECT_RETRY_INTERVAL).await;
            }
            result => return result,
        }
    }
}

/// Returns true if this error of `connect(2)` means that nothing listens at the socket.
fn is_not_running(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
    )
}

//! The connection: to a socket of the same user and to no other.

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

/// The longest that a daemon takes to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that an answer takes: it may wait 10 s for a first index, longer for the engine, and
/// as long to be read.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);

/// Who serves the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The process that made it.
    pub pid: Option<i32>,
}

/// One connection, kept from request to request.
#[derive(Debug)]
pub struct Client {
    pub(super) socket: PathBuf,
    pub(super) sender: http1::SendRequest<Full<Bytes>>,
    peer: Peer,
    /// The daemon's version, as its last answer said it.
    pub(super) version: Option<String>,
    /// How long an answer is waited for.
    pub(super) timeout: Duration,
}

impl Client {
    /// Connects to the daemon at `socket`.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`] where nothing answers, [`ClientError::WrongUser`] where another user
    /// does.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let broken = |action, source: Box<dyn std::error::Error + Send + Sync>| {
            ClientError::ConnectionFailed { action, socket: socket.to_owned(), source }
        };
        let stream = timeout(CONNECT_TIMEOUT, connect_with_retry(socket)).await;
        let late = |_| ClientError::TimedOut { socket: socket.to_owned(), after: CONNECT_TIMEOUT };
        let stream = match stream.map_err(late)? {
            Ok(stream) => stream,
            Err(error) if is_not_running(error.kind()) => {
                return Err(ClientError::NoDaemon(socket.to_owned()));
            }
            Err(source) => {
                return Err(ClientError::ConnectFailed { socket: socket.to_owned(), source });
            }
        };
        let peer = stream.peer_cred().map_err(|error| broken("identify", error.into()))?;
        if peer.uid() != rustix::process::geteuid().as_raw() {
            return Err(ClientError::WrongUser { socket: socket.to_owned(), uid: peer.uid() });
        }
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken("talk to", error.into()))?;
        // Its end is seen by whoever sends the next request.
        tokio::spawn(connection);
        let peer = Peer { pid: peer.pid() };
        let socket = socket.to_owned();
        Ok(Self { socket, sender, peer, version: None, timeout: RESPONSE_TIMEOUT })
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Who serves the socket.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The daemon's version, once it has answered.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

/// A socket with a full queue refuses at once, and has room a moment later.
async fn connect_with_retry(socket: &Path) -> io::Result<UnixStream> {
    let begun = Instant::now();
    loop {
        match UnixStream::connect(socket).await {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && begun.elapsed() < CONNECT_TIMEOUT =>
            {
                sleep(Duration::from_millis(10)).await;
            }
            result => return result,
        }
    }
}

/// Whether a refusal means that no one serves the socket.
fn is_not_running(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
    )
}

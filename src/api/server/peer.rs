//! Which user is at the other end of a connection, according to the kernel.
//!
//! For a Unix socket that is `SO_PEERCRED`. TCP has no such option: the owner of the client's socket
//! is looked up, and a connection whose owner is not found is refused.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use interprocess::local_socket::tokio::Stream;
use tokio::sync::OnceCell;
use tracing::warn;

use crate::api::server::client_shares::ClientId;
use crate::api::server::{sock_diag, tcp_table};
use crate::wire::dashboard::PeerCheck;

/// Returns true if the client's process runs as the daemon's user.
pub(crate) fn is_own_user(stream: &Stream) -> bool {
    // Not `peer_creds()`: it fails if the client's process has no id in this PID namespace. Without
    // credentials the kernel reports uid -1.
    let Stream::UdSocket(stream) = stream;
    stream.inner().peer_cred().is_ok_and(|peer| peer.uid() == own_uid())
}

/// Returns the process at the other end.
pub(crate) fn client_of(stream: &Stream) -> ClientId {
    let Stream::UdSocket(stream) = stream;
    let process = stream.inner().peer_cred().ok().and_then(|peer| peer.pid());
    process.map_or(ClientId::Unknown, ClientId::Process)
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Returns how connections to a listener at `ip` are checked: by the first way that finds the owner
/// of a connection of this process.
///
/// Without the modules of `sock_diag` the kernel answers that there is no such socket.
pub(crate) fn detect_peer_check(ip: IpAddr) -> io::Result<PeerCheck> {
    let listener = TcpListener::bind(SocketAddr::new(ip, 0))?;
    let to = listener.local_addr()?;
    let stream = TcpStream::connect(to)?;
    let from = stream.local_addr()?;
    let finds = |owner: io::Result<Option<u32>>| owner.is_ok_and(|uid| uid == Some(own_uid()));
    Ok(if finds(sock_diag::find_socket_owner(from, to)) {
        PeerCheck::SockDiag
    } else if finds(tcp_table::find_socket_owner(from, to)) {
        PeerCheck::ProcNet
    } else {
        PeerCheck::None
    })
}

/// The client of a TCP connection.
#[derive(Debug)]
pub(crate) struct TcpPeer {
    from: SocketAddr,
    to: SocketAddr,
    /// Uid of the client's process; `Some(None)` if it was not found. Empty until it is looked up.
    owner: OnceCell<Option<u32>>,
}

impl TcpPeer {
    /// Looks the client's user up if that takes no time, whatever others do; else
    /// [`is_admitted`](Self::is_admitted) does. `from` is the client's address.
    pub(crate) fn new(from: SocketAddr, to: SocketAddr, check: PeerCheck) -> Self {
        let owner = match check {
            PeerCheck::SockDiag => sock_diag::find_socket_owner(from, to)
                .inspect_err(|error| warn!(%error, "cannot ask the kernel who connected"))
                .ok(),
            PeerCheck::ProcNet => None,
            PeerCheck::None => Some(None),
        };
        Self { from, to, owner: OnceCell::new_with(owner) }
    }

    /// Returns true if the client may be served: its user is the daemon's, or root and
    /// `allow_root`. A client whose user is not found may not.
    ///
    /// Call it only for a request with valid credentials: reading the kernel's tables is costly.
    pub(crate) async fn is_admitted(&self, allow_root: bool) -> bool {
        let search = || async {
            tcp_table::search_socket_owner(self.from, self.to)
                .await
                .inspect_err(|error| warn!(%error, "cannot read who connected"))
                .unwrap_or_default()
        };
        is_admitted(*self.owner.get_or_init(search).await, own_uid(), allow_root)
    }

    /// Returns what [`is_admitted`](Self::is_admitted) would if the user is known; `None` if not.
    pub(crate) fn is_known_admitted(&self, allow_root: bool) -> Option<bool> {
        self.owner.get().map(|owner| is_admitted(*owner, own_uid(), allow_root))
    }

    /// Returns true if the user is known.
    pub(crate) fn is_known(&self) -> bool {
        self.owner.initialized()
    }
}

fn is_admitted(owner: Option<u32>, own: u32, allow_root: bool) -> bool {
    owner.is_some_and(|uid| uid == own || uid == 0 && allow_root)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn only_the_own_user_is_admitted_and_root_by_a_setting() {
        for (owner, own, allow_root, expected) in [
            (Some(1000), 1000, false, true),
            (Some(1001), 1000, false, false),
            (Some(1001), 1000, true, false),
            (Some(0), 1000, false, false),
            (Some(0), 1000, true, true),
            (Some(0), 0, false, true),
            (Some(1000), 0, false, false),
            (Some(1000), 0, true, false),
            (None, 1000, true, false),
            (None, 0, true, false),
        ] {
            assert_eq!(is_admitted(owner, own, allow_root), expected, "{owner:?} {own}");
        }
    }

    /// Connects to a listener; returns the ends of the connection and its listener.
    fn connect() -> (TcpListener, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener, stream)
    }

    #[tokio::test]
    async fn user_is_looked_up_by_each_check_and_unknown_without_one() {
        let (listener, stream) = connect();
        let (from, to) = (stream.local_addr().unwrap(), listener.local_addr().unwrap());
        let known = TcpPeer::new(from, to, PeerCheck::SockDiag);
        assert_eq!(known.is_known_admitted(false), Some(true));
        let later = TcpPeer::new(from, to, PeerCheck::ProcNet);
        assert_eq!(later.is_known_admitted(false), None, "no table is read at first");
        assert!(later.is_admitted(false).await && later.is_known());
        let never = TcpPeer::new(from, to, PeerCheck::None);
        assert_eq!(never.is_known_admitted(true), Some(false));
        assert!(!never.is_admitted(true).await);
    }

    #[tokio::test]
    async fn connection_that_is_not_found_is_refused() {
        let (listener, stream) = connect();
        let to = listener.local_addr().unwrap();
        let from = stream.local_addr().unwrap();
        let other = SocketAddr::new(from.ip(), from.port() ^ 1);
        assert!(!TcpPeer::new(other, to, PeerCheck::SockDiag).is_admitted(true).await);
        assert!(!TcpPeer::new(other, to, PeerCheck::ProcNet).is_admitted(true).await);
    }

    #[test]
    fn kernel_is_asked_for_one_socket() {
        // On kernels without `sock_diag` this would be `ProcNet`.
        assert_eq!(detect_peer_check(Ipv4Addr::LOCALHOST.into()).unwrap(), PeerCheck::SockDiag);
    }
}

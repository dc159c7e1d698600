//! Which user is at the other end of a connection, according to the kernel.
//!
//! For a Unix socket that is `SO_PEERCRED`. TCP has no such option: the owner of the client's socket
//! is looked up, and a connection whose owner is not found is refused.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use interprocess::local_socket::tokio::Stream;
use tokio::sync::OnceCell;

use crate::api::server::listener_log::ListenerLog;
use crate::ownership::socket_owner::{
    ask_socket_owner, search_socket_owner, search_socket_owner_blocking,
};
use crate::wire::dashboard::PeerCheck;

/// Returns true if the client's process runs as the daemon's user.
pub(crate) fn is_own_user(stream: &Stream) -> bool {
    // Not `peer_creds()`: it fails if the client's process has no id in this PID namespace. Without
    // credentials the kernel reports uid -1.
    let Stream::UdSocket(stream) = stream;
    stream.inner().peer_cred().is_ok_and(|peer| peer.uid() == own_uid())
}

/// The client of a connection.
#[derive(Debug, Clone)]
pub(crate) enum ApiClient {
    /// A process of the daemon's user at a Unix socket; `None` if it has no id in this PID namespace.
    Unix(Option<i32>),
    /// The client of a TCP connection.
    Tcp(Arc<TcpPeer>),
}

impl ApiClient {
    /// Returns the client at the other end of a Unix socket, whose user was checked.
    pub(crate) fn of_unix(stream: &Stream) -> Self {
        let Stream::UdSocket(stream) = stream;
        Self::Unix(stream.inner().peer_cred().ok().and_then(|peer| peer.pid()))
    }

    /// Returns the process that takes turns with others; `None` for those that are not known to be one, such
    /// as browsers.
    pub(crate) fn process(&self) -> Option<i32> {
        match self {
            Self::Unix(process) => *process,
            Self::Tcp(_) => None,
        }
    }

    /// Returns true if the last check of its user admitted the client.
    pub(crate) fn was_admitted(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(peer) => peer.was_admitted.load(Ordering::Relaxed),
        }
    }
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
    Ok(if finds(ask_socket_owner(from, to)) {
        PeerCheck::SockDiag
    } else if finds(search_socket_owner_blocking(from, to)) {
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
    was_admitted: AtomicBool,
}

impl TcpPeer {
    /// Looks the client's user up if that takes no time, whatever others do; else
    /// [`is_admitted`](Self::is_admitted) does. `from` is the client's address.
    pub(crate) fn new(
        from: SocketAddr,
        to: SocketAddr,
        check: PeerCheck,
        log: &ListenerLog,
    ) -> Self {
        let owner = match check {
            PeerCheck::SockDiag => {
                ask_socket_owner(from, to).inspect_err(|error| log.warn_of_lookup_error(error)).ok()
            }
            PeerCheck::ProcNet => None,
            PeerCheck::None => Some(None),
        };
        Self { from, to, owner: OnceCell::new_with(owner), was_admitted: AtomicBool::new(false) }
    }

    /// Returns true if the client may be served: its user is the daemon's, or root and
    /// `allow_root`. A client whose user is not found may not.
    ///
    /// Call it only for a request that opens more than the page without data: reading the kernel's tables
    /// is costly.
    pub(crate) async fn is_admitted(&self, allow_root: bool, log: &ListenerLog) -> bool {
        let search = || async {
            search_socket_owner(self.from, self.to)
                .await
                .inspect_err(|error| log.warn_of_lookup_error(error))
                .unwrap_or_default()
        };
        self.check(*self.owner.get_or_init(search).await, allow_root)
    }

    /// Returns what [`is_admitted`](Self::is_admitted) would if the user is known; `None` if not.
    pub(crate) fn is_known_admitted(&self, allow_root: bool) -> Option<bool> {
        self.owner.get().map(|owner| self.check(*owner, allow_root))
    }

    fn check(&self, owner: Option<u32>, allow_root: bool) -> bool {
        let is_admitted = is_admitted(owner, own_uid(), allow_root);
        self.was_admitted.store(is_admitted, Ordering::Relaxed);
        is_admitted
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
        let log = ListenerLog::new("test");
        let (listener, stream) = connect();
        let (from, to) = (stream.local_addr().unwrap(), listener.local_addr().unwrap());
        let later = TcpPeer::new(from, to, PeerCheck::ProcNet, &log);
        assert_eq!(later.is_known_admitted(false), None, "no table is read at first");
        assert!(later.is_admitted(false, &log).await);
        assert_eq!(later.is_known_admitted(false), Some(true));
        assert!(ApiClient::Tcp(Arc::new(later)).was_admitted());
        let never = TcpPeer::new(from, to, PeerCheck::None, &log);
        assert_eq!(never.is_known_admitted(true), Some(false));
        assert!(!never.is_admitted(true, &log).await);
        assert!(!ApiClient::Tcp(Arc::new(never)).was_admitted());
    }

    #[tokio::test]
    async fn connection_that_is_not_found_is_refused() {
        let log = ListenerLog::new("test");
        let (listener, stream) = connect();
        let to = listener.local_addr().unwrap();
        let from = stream.local_addr().unwrap();
        let other = SocketAddr::new(from.ip(), from.port() ^ 1);
        for check in [PeerCheck::SockDiag, PeerCheck::ProcNet] {
            assert!(!TcpPeer::new(other, to, check, &log).is_admitted(true, &log).await);
        }
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "tests report what was not run")]
    fn kernel_is_asked_for_one_socket_where_it_answers_that() {
        let (listener, stream) = connect();
        let (from, to) = (stream.local_addr().unwrap(), listener.local_addr().unwrap());
        let check = detect_peer_check(Ipv4Addr::LOCALHOST.into()).unwrap();
        if ask_socket_owner(from, to).is_ok_and(|owner| owner == Some(own_uid())) {
            assert_eq!(check, PeerCheck::SockDiag);
            let known = TcpPeer::new(from, to, check, &ListenerLog::new("test"));
            assert_eq!(known.is_known_admitted(false), Some(true), "without a search");
        } else {
            assert_eq!(check, PeerCheck::ProcNet);
            eprintln!("NOT RUN: connections by `sock_diag` (the kernel has none)");
        }
    }
}

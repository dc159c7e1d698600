//! The user whose process has the TCP socket at the other end of a connection. The kernel is asked for the one
//! socket where it answers that; else its tables are searched.
//!
//! A socket of no process has no owner: its memory may be listed as that of root.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::core::sync::lock;
use crate::ownership::tcp_table::{TcpSocket, read_tcp_tables};

pub use crate::ownership::sock_diag::find_socket_owner as ask_socket_owner;

/// Number of times that the tables are read for a socket: they change meanwhile, and one may be skipped.
const READS: usize = 2;

/// A socket by the addresses that it is bound and connected to.
pub type SocketPair = (SocketAddr, SocketAddr);

static SEARCHES: Searches = Searches::new();

/// Returns the uid of the process whose TCP socket is bound to `from` and connected to `to`; `None` if no
/// process has such a socket. Reads the kernel's tables on another thread; one read serves all that wait for
/// it.
///
/// # Errors
/// If the tables cannot be read.
pub async fn search_socket_owner(from: SocketAddr, to: SocketAddr) -> io::Result<Option<u32>> {
    SEARCHES.search((from, to)).await
}

/// Same as [`search_socket_owner`], on this thread.
///
/// # Errors
/// If the tables cannot be read.
pub fn search_socket_owner_blocking(from: SocketAddr, to: SocketAddr) -> io::Result<Option<u32>> {
    Ok(find_owners(&[(from, to)], &mut |each| read_tcp_tables(each))?[0])
}

/// Answer to a search.
type Reply = oneshot::Sender<io::Result<Option<u32>>>;

/// Searches that wait for the next read of the tables.
#[derive(Debug)]
struct Searches(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    /// At most one for each connection that is checked.
    searches: Vec<(SocketPair, Reply)>,
    /// True while a thread reads.
    is_read: bool,
}

impl Searches {
    const fn new() -> Self {
        Self(Mutex::new(Waiting { searches: Vec::new(), is_read: false }))
    }

    async fn search(&'static self, socket: SocketPair) -> io::Result<Option<u32>> {
        let (send, reply) = oneshot::channel();
        let starts_reader = {
            let mut waiting = lock(&self.0);
            waiting.searches.push((socket, send));
            !mem::replace(&mut waiting.is_read, true)
        };
        if starts_reader {
            spawn_blocking(|| self.read_while_searched(&mut |each| read_tcp_tables(each)));
        }
        reply.await.map_err(io::Error::other)?
    }

    /// Answers searches until none waits. Those that begin during a read wait for the next one.
    fn read_while_searched(&self, read: &mut ReadTables<'_>) {
        loop {
            let searches = {
                let mut waiting = lock(&self.0);
                waiting.is_read = !waiting.searches.is_empty();
                mem::take(&mut waiting.searches)
            };
            if searches.is_empty() {
                return;
            }
            let (sockets, replies): (Vec<_>, Vec<_>) = searches.into_iter().unzip();
            let found = find_owners(&sockets, read);
            for (at, reply) in replies.into_iter().enumerate() {
                let owner = match &found {
                    Ok(owners) => Ok(owners[at]),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                };
                // The request may not be waiting any more.
                let _ = reply.send(owner);
            }
        }
    }
}

/// Reads the tables and passes on each socket.
type ReadTables<'a> = dyn FnMut(&mut dyn FnMut(TcpSocket)) -> io::Result<()> + 'a;

/// Returns the owners of sockets, in their order.
fn find_owners(sockets: &[SocketPair], read: &mut ReadTables<'_>) -> io::Result<Vec<Option<u32>>> {
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let wanted: Vec<SocketPair> =
        sockets.iter().map(|(from, to)| (canonical(*from), canonical(*to))).collect();
    let mut owners = vec![None; wanted.len()];
    for _ in 0..READS {
        read(&mut |socket: TcpSocket| {
            if socket.is_listening || !socket.has_process {
                return;
            }
            for (wanted, owner) in wanted.iter().zip(&mut owners) {
                if *wanted == (socket.local, socket.remote) {
                    owner.get_or_insert(socket.uid);
                }
            }
        })?;
        if owners.iter().all(Option::is_some) {
            break;
        }
    }
    Ok(owners)
}

/// Returns the users of the sockets that may have accepted a connection from `local` to `remote`; none if
/// nothing listens there.
///
/// # Errors
/// If the tables cannot be read.
pub fn find_receivers(local: SocketAddr, remote: SocketAddr) -> io::Result<Vec<u32>> {
    let mut sockets = Vec::new();
    read_tcp_tables(|socket| {
        // Only these can be; the others may be many.
        let is_end = !socket.is_listening && (socket.local, socket.remote) == (remote, local);
        if is_end || socket.is_listening && socket.local.port() == remote.port() {
            sockets.push(socket);
        }
    })?;
    Ok(receivers_among(&sockets, local, remote))
}

/// See [`find_receivers`].
fn receivers_among(sockets: &[TcpSocket], local: SocketAddr, remote: SocketAddr) -> Vec<u32> {
    // The kernel prefers a socket at this address to one at all addresses, and IPv4 to both.
    let rank = |socket: &TcpSocket| match socket.local.ip() {
        _ if !socket.is_listening || socket.local.port() != remote.port() => None,
        ip if ip == remote.ip() => Some(0),
        IpAddr::V4(ip) if ip.is_unspecified() && remote.is_ipv4() => Some(1),
        IpAddr::V6(ip) if ip.is_unspecified() => Some(2),
        _ => None,
    };
    let Some(best) = sockets.iter().filter_map(rank).min() else { return Vec::new() };
    let listening = sockets.iter().filter(|socket| rank(socket) == Some(best));
    // The end of the connection itself belongs to no process until it is accepted.
    let accepted = sockets.iter().filter(|socket| {
        !socket.is_listening
            && (socket.local, socket.remote) == (remote, local)
            && socket.has_process
    });
    listening.chain(accepted).map(|socket| socket.uid).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Returns the owner of a socket by both ways, which must agree.
    fn owner(from: SocketAddr, to: SocketAddr) -> Option<u32> {
        let searched = search_socket_owner_blocking(from, to).unwrap();
        match ask_socket_owner(from, to) {
            Ok(asked) => assert_eq!(asked, searched, "{from} to {to}"),
            Err(error) => assert!(is_without_sock_diag(), "{error}"),
        }
        searched
    }

    /// Returns true, and reports it, where the kernel or a filter of system calls does not have `sock_diag`.
    #[expect(clippy::print_stderr, reason = "tests report what was not run")]
    fn is_without_sock_diag() -> bool {
        use rustix::net::{AddressFamily, SocketType, netlink, socket};
        let is_missing =
            socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::SOCK_DIAG)).is_err();
        if is_missing {
            eprintln!("NOT RUN: the owner of a socket by `sock_diag` (the kernel has none)");
        }
        is_missing
    }

    fn own_uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn other_port(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip(), address.port() ^ 1)
    }

    #[test]
    fn owner_of_a_connection_is_the_same_by_sock_diag_and_by_the_tables() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let local = listener.local_addr().unwrap();
            let stream = TcpStream::connect(local).unwrap();
            let peer = stream.local_addr().unwrap();
            assert_eq!(owner(peer, local), Some(own_uid()), "{address}");
            assert_eq!(owner(local, peer), None, "it is not accepted yet");
            let accepted = listener.accept().unwrap();
            assert_eq!(owner(local, peer), Some(own_uid()), "{address}");
            assert_eq!(owner(peer, other_port(local)), None, "{address}");
            // A listener at the port of the supposed client.
            assert_eq!(owner(local, other_port(local)), None, "{address}");
            // This end of the connection still exists, in FIN_WAIT2, and belongs to no process.
            drop(stream);
            assert_eq!(owner(peer, local), None, "{address}");
            drop(accepted);
        }
    }

    #[test]
    fn owner_of_an_ipv4_connection_of_an_ipv6_socket_is_the_same_both_ways() {
        let Ok(listener) = TcpListener::bind("127.0.0.1:0") else { return };
        let local = listener.local_addr().unwrap();
        let mapped = match local.ip() {
            IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), local.port()),
            IpAddr::V6(_) => local,
        };
        let Ok(_stream) = TcpStream::connect(mapped) else { return };
        let (_accepted, peer) = listener.accept().unwrap();
        assert_eq!(owner(peer, local), Some(own_uid()));
    }

    #[test]
    fn one_read_serves_all_searches_that_wait() {
        let searches = Searches::new();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let to = address(80);
        let mut replies = Vec::new();
        let mut search = |port| {
            let (send, reply) = oneshot::channel();
            lock(&searches.0).searches.push(((address(port), to), send));
            replies.push(reply);
        };
        (1..=100).for_each(&mut search);
        let mut reads = 0;
        let mut read = |each: &mut dyn FnMut(TcpSocket)| {
            reads += 1;
            if reads == 1 {
                // Its socket may have been passed by already.
                search(101);
            }
            for port in 1..=200 {
                let local = address(port);
                let uid = u32::from(port);
                each(TcpSocket { local, remote: to, is_listening: false, uid, has_process: true });
            }
            Ok(())
        };
        searches.read_while_searched(&mut read);
        assert_eq!(reads, 2);
        let owners = replies.into_iter().map(|mut reply| reply.try_recv().unwrap().unwrap());
        assert_eq!(owners.collect::<Vec<_>>(), (1..=101).map(Some).collect::<Vec<_>>());
        assert!(!lock(&searches.0).is_read, "the next search starts a reader");
    }

    #[test]
    fn socket_that_is_skipped_is_looked_for_again_and_an_error_is_one_for_all() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let sockets = [(address(1), address(2)), (address(3), address(2))];
        let mut reads = 0;
        let mut read = |each: &mut dyn FnMut(TcpSocket)| {
            reads += 1;
            let (local, remote) = sockets[reads - 1];
            each(TcpSocket { local, remote, is_listening: false, uid: 5, has_process: true });
            Ok(())
        };
        assert_eq!(find_owners(&sockets, &mut read).unwrap(), [Some(5), Some(5)]);
        assert_eq!(reads, READS);
        let mut fail = |_: &mut dyn FnMut(TcpSocket)| Err(io::Error::other("no table"));
        assert!(find_owners(&sockets, &mut fail).is_err());
    }

    #[test]
    fn receivers_are_those_of_the_socket_that_the_kernel_prefers() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let socket = |local: &str, is_listening, uid| TcpSocket {
            local: address(local),
            remote: address(if is_listening { "0.0.0.0:0" } else { "127.0.0.1:5000" }),
            is_listening,
            uid,
            has_process: uid != 0,
        };
        let all = [
            socket("127.0.0.1:80", true, 1),
            socket("0.0.0.0:80", true, 2),
            socket("[::]:80", true, 3),
            socket("127.0.0.1:81", true, 4),
            socket("127.0.0.1:80", false, 5),
            socket("127.0.0.1:80", false, 0),
        ];
        let receivers = |sockets: &[TcpSocket]| {
            receivers_among(sockets, address("127.0.0.1:5000"), address("127.0.0.1:80"))
        };
        assert_eq!(receivers(&all), [1, 5]);
        assert_eq!(receivers(&all[..4]), [1]);
        assert_eq!(receivers(&all[1..4]), [2]);
        assert_eq!(receivers(&all[2..4]), [3]);
        assert_eq!(receivers(&all[3..]), [] as [u32; 0], "nothing listens any more");
        assert_eq!(receivers(&[]), [] as [u32; 0]);
    }
}

//! The listener for browsers: on loopback, behind the guard, for this user.
//!
//! The same requests as at the local socket, but those that open the dashboard itself, and the
//! page. A process of another user reaches the port, and finds it closed to it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use crate::api::dashboard::guard::{AccessGuard, require_access};
use crate::api::dashboard::static_files;
use crate::api::server::socket::{Server, backoff_after_accept_error};
use crate::api::{ApiState, build_router, routes};

/// Connections at a time: some pages, each with six at most.
const MAX_CONNECTIONS: usize = 128;

/// Serves `api` and the page behind `door`, until it is closed or the daemon stops.
pub(crate) async fn serve(
    listener: TcpListener,
    api: Arc<ApiState>,
    door: Arc<AccessGuard>,
    mut closed: watch::Receiver<bool>,
    mut stop: watch::Receiver<bool>,
) {
    let traffic = Arc::clone(&api.http_metrics);
    let shared = routes().into_iter().filter(|(address, _)| *address != crate::api::DASHBOARD_PATH);
    let all: Vec<_> = shared.chain(static_files::page_routes()).collect();
    let addresses = all.iter().map(|(address, _)| *address).collect();
    let router = build_router(api, all).layer(from_fn_with_state(door, require_access));
    let server = Server::new(MAX_CONNECTIONS, traffic, addresses, router);
    let Ok(address) = listener.local_addr() else { return };
    let ending = closed.clone();
    loop {
        let accepted = tokio::select! {
            _ = closed.wait_for(|closed| *closed) => return,
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = server.accept(async { listener.accept().await }) => accepted,
        };
        match accepted {
            Ok(((_, peer), _)) if is_other_user(peer, address) => {
                server.metrics.refused.fetch_add(1, Ordering::Relaxed);
                warn!("a connection of another user to the dashboard is refused");
            }
            Ok(((stream, _), permit)) => {
                // Small answers to one page: each at once.
                let _ = stream.set_nodelay(true);
                server.serve_connection(stream, permit, ending.clone());
            }
            Err(error) => backoff_after_accept_error(&error).await,
        }
    }
}

/// Whether the kernel says that the other end of a connection is another user's; root could read
/// the token anyway, and forwards ports for users.
fn is_other_user(peer: SocketAddr, own: SocketAddr) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| find_socket_owner(&table, peer, own))
        .is_some_and(|uid| uid != ours && uid != 0)
}

/// Who owns the socket at `from` that is connected to `to`, by the kernel's table.
fn find_socket_owner(table: &str, from: SocketAddr, to: SocketAddr) -> Option<u32> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote) = (fields.next()?, fields.next()?);
        if !is_address(local, from) || !is_address(remote, to) {
            return None;
        }
        // After the two: state, queues, timer, retransmits.
        fields.nth(4)?.parse().ok()
    })
}

/// Whether an entry of the table is that address, also as IPv6 writes one of IPv4.
fn is_address(text: &str, address: SocketAddr) -> bool {
    let words = |bytes: &[u8]| -> String {
        let words = bytes.chunks_exact(4).map(|word| word.try_into().unwrap_or_default());
        words.map(|word| format!("{:08X}", u32::from_ne_bytes(word))).collect()
    };
    let Some((ip, port)) = text.split_once(':') else { return false };
    let is_ip = match address.ip() {
        IpAddr::V4(v4) => ip == words(&v4.octets()) || ip == words(&v4.to_ipv6_mapped().octets()),
        IpAddr::V6(v6) => ip == words(&v6.octets()),
    };
    is_ip && port == format!("{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_says_who_is_at_the_other_end() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(at) else { continue };
            let own = listener.local_addr().unwrap();
            let stream = TcpStream::connect(own).unwrap();
            let peer = stream.local_addr().unwrap();
            let file = if own.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
            let table = fs::read_to_string(file).unwrap();
            let ours = rustix::process::geteuid().as_raw();
            assert_eq!(find_socket_owner(&table, peer, own), Some(ours), "{table}");
            let other = SocketAddr::new(own.ip(), own.port() ^ 1);
            assert_eq!(find_socket_owner(&table, peer, other), None);
            assert!(!is_other_user(peer, own));
        }
    }

    #[test]
    fn another_user_is_seen() {
        if cfg!(target_endian = "big") {
            return;
        }
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let line = "   1: 0100007F:8235 0100007F:1D09 01 00000000:00000000 00:00000000 00000000  1000        0 1 1\n";
        let mapped = "   1: 0000000000000000FFFF00000100007F:8235 0000000000000000FFFF00000100007F:1D09 01 00000000:00000000 00:00000000 00000000  1001        0 1 1\n";
        let (from, to) = ("127.0.0.1:33333".parse().unwrap(), "127.0.0.1:7433".parse().unwrap());
        assert_eq!(find_socket_owner(&format!("{head}{line}"), from, to), Some(1000));
        assert_eq!(find_socket_owner(&format!("{head}{mapped}"), from, to), Some(1001));
        assert_eq!(find_socket_owner(&format!("{head}{line}"), to, from), None);
    }
}

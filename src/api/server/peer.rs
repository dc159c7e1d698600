//! Which user is at the other end of a connection, according to the kernel.
//!
//! For a Unix socket that is `SO_PEERCRED`. TCP has no such option, but `/proc/net/tcp` lists the
//! owner of each socket of this machine (`man 5 proc_pid_net`).

use std::fs;
use std::net::{IpAddr, SocketAddr};

use interprocess::local_socket::tokio::Stream;

use crate::api::server::client_shares::ClientId;

/// Returns true if the client's process runs as the daemon's user.
pub(crate) fn is_own_user(stream: &Stream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    // Not `peer_creds()`: it fails if the client's process has no id in this PID namespace. Without
    // credentials the kernel reports uid -1.
    let Stream::UdSocket(stream) = stream;
    stream.inner().peer_cred().is_ok_and(|peer| peer.uid() == own)
}

/// Returns the process at the other end.
pub(crate) fn client_of(stream: &Stream) -> ClientId {
    let Stream::UdSocket(stream) = stream;
    let process = stream.inner().peer_cred().ok().and_then(|peer| peer.pid());
    process.map_or(ClientId::Unknown, ClientId::Process)
}

/// Returns true if the kernel reports that the other end of a TCP connection belongs to another
/// user; false if it reports nothing.
///
/// Root is admitted: it can read the token anyway, and may forward ports for users.
pub(crate) fn is_other_user(peer: SocketAddr, local: SocketAddr) -> bool {
    let own = rustix::process::geteuid().as_raw();
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| find_socket_owner(&table, peer, local))
        .is_some_and(|uid| uid != own && uid != 0)
}

/// Returns the uid that owns the socket bound to `from` and connected to `to`, from the text of
/// `/proc/net/tcp` or `tcp6`.
fn find_socket_owner(table: &str, from: SocketAddr, to: SocketAddr) -> Option<u32> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote) = (fields.next()?, fields.next()?);
        if !is_address(local, from) || !is_address(remote, to) {
            return None;
        }
        // Between the addresses and the uid: state, queues, timer, retransmits.
        fields.nth(4)?.parse().ok()
    })
}

/// Returns true if an address of the table equals `address`, also as an IPv4-mapped IPv6 address.
///
/// The kernel prints addresses as 32-bit words in host byte order, ports in hexadecimal.
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
    fn socket_owner_of_a_local_connection_is_this_user() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let local = listener.local_addr().unwrap();
            let stream = TcpStream::connect(local).unwrap();
            let peer = stream.local_addr().unwrap();
            let file = if local.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
            let table = fs::read_to_string(file).unwrap();
            let own = rustix::process::geteuid().as_raw();
            assert_eq!(find_socket_owner(&table, peer, local), Some(own), "{table}");
            let other = SocketAddr::new(local.ip(), local.port() ^ 1);
            assert_eq!(find_socket_owner(&table, peer, other), None);
            assert!(!is_other_user(peer, local));
        }
    }

    #[test]
    fn socket_owner_is_found_for_ipv4_and_mapped_addresses() {
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

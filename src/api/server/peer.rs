//! Which user is at the other end of a connection.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use interprocess::local_socket::tokio::Stream;

pub(crate) fn is_own_user(stream: &Stream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    // Not `peer_creds()`: that is an error where the client's process has no number here, as from
    // another PID namespace. Where there are no credentials the user is -1.
    let Stream::UdSocket(stream) = stream;
    stream.inner().peer_cred().is_ok_and(|peer| peer.uid() == own)
}

/// Whether the kernel says that the other end of a connection is another user's; root could read
/// the token anyway, and forwards ports for users.
pub(crate) fn is_other_user(peer: SocketAddr, own: SocketAddr) -> bool {
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

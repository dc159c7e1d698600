//! Finds the owner of a TCP socket in `/proc/net/tcp` and `tcp6` (`man 5 proc_pid_net`), where the
//! kernel cannot be asked for one socket.
//!
//! The tables list the sockets of all users, who can make them long: they are read on another
//! thread, at most two at a time.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Maximum number of searches at a time; further ones wait.
static SEARCHES: Semaphore = Semaphore::const_new(2);

/// Number of times that a table is read: it changes meanwhile, and a socket may be skipped.
const READS: usize = 2;

/// As [`find_socket_owner`], on another thread, and after at most two others.
pub(crate) async fn search_socket_owner(
    from: SocketAddr,
    to: SocketAddr,
) -> io::Result<Option<u32>> {
    let _permit = SEARCHES.acquire().await.map_err(io::Error::other)?;
    spawn_blocking(move || find_socket_owner(from, to)).await.map_err(io::Error::other)?
}

/// Returns the uid of the process whose TCP socket is bound to `from` and connected to `to`; `None`
/// if no process has such a socket.
pub(crate) fn find_socket_owner(from: SocketAddr, to: SocketAddr) -> io::Result<Option<u32>> {
    for _ in 0..READS {
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let text = match fs::read_to_string(table) {
                Ok(text) => text,
                // A kernel without IPv6.
                Err(_) if table.ends_with('6') => continue,
                Err(error) => return Err(error),
            };
            let owner = find_in_table(&text, from, to);
            if owner.is_some() {
                return Ok(owner);
            }
        }
    }
    Ok(None)
}

fn find_in_table(table: &str, from: SocketAddr, to: SocketAddr) -> Option<u32> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote) = (fields.next()?, fields.next()?);
        if !is_address(local, from) || !is_address(remote, to) {
            return None;
        }
        // Between the addresses and the uid: state, queues, timer, retransmits.
        let uid = fields.nth(4)?.parse().ok()?;
        // A socket that no process has any longer has no inode, and may be listed as that of uid 0.
        (fields.nth(1)? != "0").then_some(uid)
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
    fn owner_of_a_local_connection_is_this_user() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let local = listener.local_addr().unwrap();
            let stream = TcpStream::connect(local).unwrap();
            let peer = stream.local_addr().unwrap();
            let own = rustix::process::geteuid().as_raw();
            assert_eq!(find_socket_owner(peer, local).unwrap(), Some(own), "{address}");
            let other = SocketAddr::new(local.ip(), local.port() ^ 1);
            assert_eq!(find_socket_owner(peer, other).unwrap(), None);
        }
    }

    #[test]
    fn owner_is_found_for_ipv4_and_mapped_addresses_unless_no_process_has_the_socket() {
        if cfg!(target_endian = "big") {
            return;
        }
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let line = "   1: 0100007F:8235 0100007F:1D09 01 00000000:00000000 00:00000000 00000000  1000        0 71 1\n";
        let mapped = "   1: 0000000000000000FFFF00000100007F:8235 0000000000000000FFFF00000100007F:1D09 01 00000000:00000000 00:00000000 00000000  1001        0 72 1\n";
        let orphan = "   1: 0100007F:8235 0100007F:1D09 05 00000000:00000000 00:00000000 00000000     0        0 0 1\n";
        let (from, to) = ("127.0.0.1:33333".parse().unwrap(), "127.0.0.1:7433".parse().unwrap());
        assert_eq!(find_in_table(&format!("{head}{line}"), from, to), Some(1000));
        assert_eq!(find_in_table(&format!("{head}{mapped}"), from, to), Some(1001));
        assert_eq!(find_in_table(&format!("{head}{orphan}"), from, to), None);
        assert_eq!(find_in_table(&format!("{head}{line}"), to, from), None);
    }
}

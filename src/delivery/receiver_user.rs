//! Checks whose receiver has been connected to. Plain HTTP does not show it: when the own receiver does not run,
//! another user of the machine can listen at its port, and would get the events and acknowledge them.
//!
//! A receiver of another user is refused, and so is one whose user cannot be determined.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::config::ReceiverUser;

/// State of a listening socket in the kernel's table.
const LISTEN: &str = "0A";

/// Why a receiver is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiverUserError {
    #[error(
        "the receiver belongs to user {uid}, who could read the events; name that user in \
         `webhook.receiver_user` if that is intended"
    )]
    Other { uid: u32 },
    #[error(
        "cannot determine the user of the receiver: {0}; use `unix:`, or `receiver_user: '*'` to accept \
         everybody"
    )]
    Unknown(io::Error),
    #[error("there is no user `{0}` in /etc/passwd; write the user id in `webhook.receiver_user`")]
    NoSuchUser(String),
}

/// Checks who listens at `remote`, to which a connection from `local` is open.
pub(crate) fn check_tcp(
    allowed: Option<&ReceiverUser>,
    local: SocketAddr,
    remote: SocketAddr,
) -> Result<(), ReceiverUserError> {
    if allowed == Some(&ReceiverUser::Any) {
        return Ok(());
    }
    let read = |table| match fs::read_to_string(table) {
        // Without IPv6 there is no such table.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result.map_err(ReceiverUserError::Unknown),
    };
    let sockets = parse_sockets(&(read("/proc/net/tcp")? + &read("/proc/net/tcp6")?));
    let owners = find_owners(&sockets, local, remote);
    if owners.is_empty() {
        let error = io::Error::other("the kernel lists no socket that listens at its address");
        return Err(ReceiverUserError::Unknown(error));
    }
    owners.into_iter().try_for_each(|uid| check_uid(allowed, uid))
}

/// Checks that a user is this one, or the one in the configuration.
pub(crate) fn check_uid(allowed: Option<&ReceiverUser>, uid: u32) -> Result<(), ReceiverUserError> {
    let is_allowed = uid == rustix::process::geteuid().as_raw()
        || match allowed {
            None => false,
            Some(ReceiverUser::Any) => true,
            Some(ReceiverUser::Id(allowed)) => uid == *allowed,
            Some(ReceiverUser::Name(name)) => uid == find_uid(name)?,
        };
    if is_allowed { Ok(()) } else { Err(ReceiverUserError::Other { uid }) }
}

fn find_uid(name: &str) -> Result<u32, ReceiverUserError> {
    let users = fs::read_to_string("/etc/passwd").map_err(ReceiverUserError::Unknown)?;
    let uid = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    uid.ok_or_else(|| ReceiverUserError::NoSuchUser(name.to_owned()))
}

/// A socket in the kernel's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TcpSocket {
    local: SocketAddr,
    remote: SocketAddr,
    is_listening: bool,
    uid: u32,
}

/// Returns the users of the sockets that may have accepted a connection from `local` to `remote`.
fn find_owners(sockets: &[TcpSocket], local: SocketAddr, remote: SocketAddr) -> Vec<u32> {
    // The kernel prefers a socket at this address to one at all addresses, and IPv4 to both.
    let rank = |socket: &TcpSocket| match socket.local.ip() {
        _ if !socket.is_listening || socket.local.port() != remote.port() => None,
        ip if ip == remote.ip() => Some(0),
        IpAddr::V4(ip) if ip.is_unspecified() && remote.is_ipv4() => Some(1),
        IpAddr::V6(ip) if ip.is_unspecified() => Some(2),
        _ => None,
    };
    let best = sockets.iter().filter_map(rank).min();
    let listening = sockets.iter().filter(|socket| best.is_some() && rank(socket) == best);
    // The end of the connection itself has no user until it is accepted, which older kernels show as root.
    let accepted = sockets.iter().filter(|socket| {
        !socket.is_listening
            && (socket.local, socket.remote) == (remote, local)
            && socket.uid != 0
            && best.is_some()
    });
    listening.chain(accepted).map(|socket| socket.uid).collect()
}

/// Parses the text of `/proc/net/tcp` and `tcp6` (`man 5 proc_pid_net`).
fn parse_sockets(table: &str) -> Vec<TcpSocket> {
    let parse = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote) = (parse_address(fields.next()?)?, parse_address(fields.next()?)?);
        let is_listening = fields.next()? == LISTEN;
        // In between: queues, timer, retransmits.
        let uid = fields.nth(3)?.parse().ok()?;
        Some(TcpSocket { local, remote, is_listening, uid })
    };
    table.lines().filter_map(parse).collect()
}

/// Parses an address: 32-bit words in host byte order and a port, in hexadecimal. An IPv4 address that is
/// mapped to IPv6 is one of IPv4.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = (0..ip.len() / 8)
        .map(|at| {
            let word = u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?;
            Some(word.to_ne_bytes())
        })
        .collect();
    let bytes = words?.concat();
    let ip = match <[u8; 4]>::try_from(&*bytes) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(&*bytes).ok()?).to_canonical(),
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn receiver_of_this_user_is_found_at_each_kind_of_address() {
        for (at, host) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.1"),
            ("[::1]:0", "[::1]"),
            ("[::]:0", "[::1]"),
            ("[::]:0", "127.0.0.1"),
        ] {
            let Ok(listener) = TcpListener::bind(at) else { continue };
            let port = listener.local_addr().unwrap().port();
            let Ok(stream) = TcpStream::connect(format!("{host}:{port}")) else { continue };
            let (local, remote) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
            check_tcp(None, local, remote).unwrap();
            drop(listener);
            let gone = check_tcp(None, local, remote).unwrap_err().to_string();
            assert!(gone.contains("lists no socket"), "{gone}");
            check_tcp(Some(&ReceiverUser::Any), local, remote).unwrap();
        }
    }

    #[test]
    fn owners_are_those_of_the_socket_that_the_kernel_prefers() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let socket = |local: &str, is_listening, uid| TcpSocket {
            local: address(local),
            remote: address(if is_listening { "0.0.0.0:0" } else { "127.0.0.1:5000" }),
            is_listening,
            uid,
        };
        let all = [
            socket("127.0.0.1:80", true, 1),
            socket("0.0.0.0:80", true, 2),
            socket("[::]:80", true, 3),
            socket("127.0.0.1:81", true, 4),
            socket("127.0.0.1:80", false, 5),
        ];
        let owners = |sockets: &[TcpSocket]| {
            find_owners(sockets, address("127.0.0.1:5000"), address("127.0.0.1:80"))
        };
        assert_eq!(owners(&all), [1, 5]);
        assert_eq!(owners(&all[..4]), [1]);
        assert_eq!(owners(&all[1..4]), [2]);
        assert_eq!(owners(&all[2..4]), [3]);
        assert_eq!(owners(&all[3..]), [] as [u32; 0], "nothing listens any more");
        assert_eq!(owners(&[]), [] as [u32; 0]);
    }

    #[test]
    fn user_is_accepted_by_name_or_number() {
        let own = rustix::process::geteuid().as_raw();
        check_uid(None, own).unwrap();
        assert!(matches!(check_uid(None, own + 1), Err(ReceiverUserError::Other { .. })));
        check_uid(Some(&ReceiverUser::Id(own + 1)), own + 1).unwrap();
        assert!(check_uid(Some(&ReceiverUser::Id(own + 1)), own + 2).is_err());
        check_uid(Some(&ReceiverUser::Name("root".to_owned())), 0).unwrap();
        let unknown = ReceiverUser::Name("no-such-user-x".to_owned());
        assert!(matches!(
            check_uid(Some(&unknown), own + 1),
            Err(ReceiverUserError::NoSuchUser(_))
        ));
    }
}

//! Asks the kernel for the owner of one TCP socket: `SOCK_DIAG_BY_FAMILY` of `sock_diag(7)`.
//!
//! The kernel finds the socket by its addresses in a hash table, so the number of sockets of this
//! machine does not matter. It needs no privilege, and no access to `/proc`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

// linux/netlink.h, linux/sock_diag.h, linux/in.h, linux/inet_diag.h, linux/tcp.h
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const INET_DIAG_NOCOOKIE: u32 = u32::MAX;
const ENOENT: i32 = 2;

/// Size of `struct nlmsghdr`, and of a request: with `struct inet_diag_req_v2`.
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: u32 = 72;
/// Size of a reply: `struct nlmsghdr` and `struct inet_diag_msg`.
const REPLY_BYTES: usize = 88;

/// Returns the uid of the process whose TCP socket is bound to `from` and connected to `to`; `None`
/// if no process has such a socket.
///
/// # Errors
/// If the kernel does not answer that.
pub fn find_socket_owner(from: SocketAddr, to: SocketAddr) -> io::Result<Option<u32>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(SOCK_DIAG),
    )?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &request(from, to), SendFlags::empty(), &kernel)?;
    let mut reply = [0; 512];
    // The kernel has processed the request when `sendto` returns.
    let (length, _) = recv(&socket, &mut reply, RecvFlags::DONTWAIT)?;
    parse_reply(&reply[..length.min(reply.len())], from, to)
}

/// Returns the request for one socket: `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut request = Vec::with_capacity(REQUEST_BYTES as usize);
    request.extend(REQUEST_BYTES.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and sender.
    request.extend([0; 8]);
    let family = if from.is_ipv4() { AF_INET } else { AF_INET6 };
    request.extend([family, IPPROTO_TCP, 0, 0]);
    // All states.
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(from.port().to_be_bytes());
    request.extend(to.port().to_be_bytes());
    request.extend(address_bytes(from.ip()));
    request.extend(address_bytes(to.ip()));
    // Any interface.
    request.extend([0; 4]);
    request.extend(INET_DIAG_NOCOOKIE.to_ne_bytes());
    request.extend(INET_DIAG_NOCOOKIE.to_ne_bytes());
    request
}

/// Returns an address as `struct inet_diag_sockid` has it.
fn address_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn parse_reply(reply: &[u8], from: SocketAddr, to: SocketAddr) -> io::Result<Option<u32>> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "invalid reply of sock_diag");
    let word = |at: usize| -> io::Result<u32> {
        let bytes = reply.get(at..at + 4).ok_or_else(invalid)?;
        Ok(u32::from_ne_bytes(bytes.try_into().map_err(|_| invalid())?))
    };
    let kind = reply.get(4..6).ok_or_else(invalid)?;
    if kind == NLMSG_ERROR.to_ne_bytes() {
        return match word(HEADER_BYTES)?.cast_signed().wrapping_neg() {
            ENOENT => Ok(None),
            // An acknowledgement, which was not requested.
            0 => Err(invalid()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        };
    }
    if kind != SOCK_DIAG_BY_FAMILY.to_ne_bytes() || reply.len() < REPLY_BYTES {
        return Err(invalid());
    }
    // Where no socket is connected so, the kernel returns one that listens at the port.
    let ports = HEADER_BYTES + 4;
    let is_connection = reply[ports..ports + 2] == from.port().to_be_bytes()
        && reply[ports + 2..ports + 4] == to.port().to_be_bytes();
    // A socket that no process has any longer has no inode, and may be reported as that of uid 0.
    let (uid, inode) = (word(HEADER_BYTES + 64)?, word(HEADER_BYTES + 68)?);
    Ok((is_connection && inode != 0).then_some(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_or_unknown_reply_is_an_error() {
        let (from, to) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        let with_kind = |kind: u16, length: usize| {
            let mut reply = vec![0; length];
            reply[4..6].copy_from_slice(&kind.to_ne_bytes());
            reply
        };
        for reply in [
            Vec::new(),
            with_kind(SOCK_DIAG_BY_FAMILY, REPLY_BYTES - 1),
            with_kind(NLMSG_ERROR, HEADER_BYTES + 3),
            with_kind(NLMSG_ERROR, HEADER_BYTES + 4),
            with_kind(3, REPLY_BYTES),
        ] {
            assert!(parse_reply(&reply, from, to).is_err(), "{reply:?}");
        }
        // An orphan: the ports are right, and there is no inode.
        let mut orphan = with_kind(SOCK_DIAG_BY_FAMILY, REPLY_BYTES);
        orphan[20..24].copy_from_slice(&[0, 1, 0, 2]);
        assert_eq!(parse_reply(&orphan, from, to).unwrap(), None);
        orphan[84] = 1;
        assert_eq!(parse_reply(&orphan, from, to).unwrap(), Some(0));
    }
}

//! Reads the kernel's tables of TCP sockets, `/proc/net/tcp` and `tcp6` (`man 5 proc_pid_net`).
//!
//! They list the sockets of all users, who can make them long: they are read line by line, up to a limit,
//! and it takes as long as it takes. Keep it off threads that serve others.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::net::{IpAddr, SocketAddr};

/// Maximum size of a table in bytes: about 400,000 sockets. A longer one is an error.
const MAX_TABLE_BYTES: u64 = 64 << 20;
/// Maximum length of a line in bytes: twice what the kernel prints.
const MAX_LINE_BYTES: u64 = 512;
/// State of a socket that listens.
const LISTEN: &[u8] = b"0A";

/// A socket in the kernel's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSocket {
    /// The address that it is bound to; one of IPv4 also if it is mapped to IPv6.
    pub local: SocketAddr,
    /// The address that it is connected to.
    pub remote: SocketAddr,
    /// True if it accepts connections.
    pub is_listening: bool,
    /// Id of the user who created it.
    pub uid: u32,
    /// True if a process has it. Others may be listed as those of root.
    pub has_process: bool,
}

/// Calls `each` with every socket of this network namespace.
///
/// # Errors
/// If a table cannot be read, or is too long.
pub fn read_tcp_tables(mut each: impl FnMut(TcpSocket)) -> io::Result<()> {
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match File::open(table) {
            Ok(file) => read_table(BufReader::new(file), MAX_TABLE_BYTES, &mut each)?,
            // A kernel without IPv6.
            Err(error) if table.ends_with('6') && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn read_table(
    table: impl BufRead,
    max_bytes: u64,
    each: &mut impl FnMut(TcpSocket),
) -> io::Result<()> {
    let mut table = table.take(max_bytes + 1);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = (&mut table).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if table.limit() == 0 {
            return Err(io::Error::other(format!("the table is longer than {max_bytes} bytes")));
        }
        if count == 0 {
            return Ok(());
        }
        if let Some(socket) = parse_socket(&line) {
            each(socket);
        }
    }
}

/// Parses a line; `None` for the heading.
fn parse_socket(line: &[u8]) -> Option<TcpSocket> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).skip(1);
    let (local, remote) = (parse_address(fields.next()?)?, parse_address(fields.next()?)?);
    let is_listening = fields.next()? == LISTEN;
    // Between the state and the uid: queues, timer, retransmits.
    let uid = std::str::from_utf8(fields.nth(3)?).ok()?.parse().ok()?;
    // And before the inode: a timeout.
    let has_process = fields.nth(1)? != b"0";
    Some(TcpSocket { local, remote, is_listening, uid, has_process })
}

/// Parses an address: 32-bit words in host byte order and a port, in hexadecimal.
fn parse_address(text: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = std::str::from_utf8(text).ok()?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = [0; 16];
    let (words, rest) = ip.as_bytes().as_chunks::<8>();
    if !rest.is_empty() || words.len() > 4 {
        return None;
    }
    for (word, bytes) in words.iter().zip(bytes.as_chunks_mut::<4>().0) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        *bytes = word.to_ne_bytes();
    }
    let ip = match words.len() {
        1 => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
        4 => IpAddr::from(bytes).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    /// Returns the sockets of a table, up to a limit of its size.
    fn parse(table: &str, max_bytes: u64) -> io::Result<Vec<TcpSocket>> {
        let mut sockets = Vec::new();
        read_table(table.as_bytes(), max_bytes, &mut |socket| sockets.push(socket))?;
        Ok(sockets)
    }

    #[test]
    fn sockets_are_parsed_for_ipv4_mapped_and_ipv6_addresses() {
        if cfg!(target_endian = "big") {
            return;
        }
        let rest = "00000000:00000000 00:00000000 00000000";
        let socket = |local: &str, remote: &str, is_listening, uid, has_process| TcpSocket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            is_listening,
            uid,
            has_process,
        };
        let v4 = "0100007F:8235 0100007F:1D09";
        let mapped = "0000000000000000FFFF00000100007F:8235 0000000000000000FFFF00000100007F:1D09";
        let v6 = "00000000000000000000000001000000:8235 00000000000000000000000000000000:0000";
        let both = ("127.0.0.1:33333", "127.0.0.1:7433");
        for (line, expected) in [
            (
                format!("{v4} 01 {rest} 1000 0 71 1"),
                Some(socket(both.0, both.1, false, 1000, true)),
            ),
            (format!("{mapped} 01 {rest} 9 0 7 1"), Some(socket(both.0, both.1, false, 9, true))),
            (format!("{v4} 05 {rest} 0 0 0 1"), Some(socket(both.0, both.1, false, 0, false))),
            (format!("{v6} 0A {rest} 7 0 7"), Some(socket("[::1]:33333", "[::]:0", true, 7, true))),
            (format!("{v4} 01 {rest} x 0 71 1"), None),
            (format!("{v4} 01 {rest} 1000 0"), None),
            (format!("0100007F0:8235 0100007F:1D09 01 {rest} 1 0 7"), None),
            (format!("{v6}{v6} 01 {rest} 1 0 7"), None),
            (String::new(), None),
        ] {
            let table = format!("{HEADING}   1: {line}\n");
            assert_eq!(parse(&table, 10_000).unwrap(), Vec::from_iter(expected), "{line}");
        }
    }

    #[test]
    fn table_above_its_limit_is_an_error_and_a_long_line_uses_no_memory() {
        let line =
            "   1: 0100007F:8235 0100007F:1D09 01 00000000:00000000 00:00000000 00000000 1 0 7\n";
        let table = format!("{HEADING}{}", line.repeat(100));
        assert_eq!(parse(&table, table.len() as u64).unwrap().len(), 100);
        let error = parse(&table, table.len() as u64 - 1).unwrap_err().to_string();
        assert!(error.contains("longer than"), "{error}");
        let long = format!("{HEADING}{}\n{line}", "x".repeat(10_000));
        assert_eq!(parse(&long, 100_000).unwrap().len(), 1);
    }
}

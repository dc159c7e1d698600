//! Calls of methods over D-Bus, as far as notifications need them
//! (<https://dbus.freedesktop.org/doc/dbus-specification.html>): one call at a time, with texts, numbers and
//! no file descriptors.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// Timeout for a reply: the bus may have to start the service.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of bytes of a message that is read; beyond it the connection fails.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DbusError {
    /// There is no session bus.
    #[error("there is no D-Bus session: neither DBUS_SESSION_BUS_ADDRESS nor {} names one", .0.display())]
    NoSession(PathBuf),
    /// The bus cannot be reached, or the connection broke.
    #[error("cannot reach the D-Bus session at {address}: {cause}")]
    ConnectionFailed {
        /// Address of the bus.
        address: String,
        /// The cause.
        cause: io::Error,
    },
    /// The service returned an error, or does not exist.
    #[error("{name}: {message}")]
    Refused {
        /// Name of the error.
        name: String,
        /// What it reports.
        message: String,
    },
}

/// A connection to a bus.
#[derive(Debug)]
pub(super) struct BusConnection {
    stream: UnixStream,
    address: String,
    serial: u32,
}

/// A method of a service.
#[derive(Debug, Clone, Copy)]
pub(super) struct BusMethod {
    pub(super) service: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
    pub(super) member: &'static str,
}

/// Arguments of a call, in their binary form and as a signature.
#[derive(Debug, Default)]
pub(super) struct BusArguments {
    bytes: Vec<u8>,
    signature: String,
}

const HELLO: BusMethod = BusMethod {
    service: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "Hello",
};

impl BusConnection {
    /// Connects to the bus of the user's session.
    pub(super) fn open_session() -> Result<Self, DbusError> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let runtime = set("XDG_RUNTIME_DIR").map(PathBuf::from);
        let default = runtime.unwrap_or_else(|| "/run/user".into()).join("bus");
        let Some(address) = set("DBUS_SESSION_BUS_ADDRESS") else {
            if !default.exists() {
                return Err(DbusError::NoSession(default));
            }
            return Self::open(&format!("unix:path={}", default.display()));
        };
        Self::open(&address)
    }

    /// Connects to the first bus of `addresses` that can be reached.
    fn open(addresses: &str) -> Result<Self, DbusError> {
        let mut failure = io::Error::from(io::ErrorKind::Unsupported);
        for address in addresses.split(';').filter_map(parse_address) {
            match UnixStream::connect_addr(&address).and_then(authenticate) {
                Ok(stream) => {
                    let mut bus = Self { stream, address: addresses.to_owned(), serial: 0 };
                    bus.call(HELLO, &BusArguments::default())?;
                    return Ok(bus);
                }
                Err(error) => failure = name_timeout(error),
            }
        }
        Err(DbusError::ConnectionFailed { address: addresses.to_owned(), cause: failure })
    }

    /// Calls a method and returns the first argument of the reply, if that is a number.
    pub(super) fn call(
        &mut self,
        method: BusMethod,
        arguments: &BusArguments,
    ) -> Result<Option<u32>, DbusError> {
        self.serial += 1;
        let message = call_message(self.serial, method, arguments);
        let reply = self.stream.write_all(&message).and_then(|()| self.read_reply());
        let reply = reply.map_err(|cause| DbusError::ConnectionFailed {
            address: self.address.clone(),
            cause: name_timeout(cause),
        })?;
        match reply.error_name {
            Some(name) => {
                let message = Reader::new(&reply.body).text().unwrap_or_default();
                Err(DbusError::Refused { name, message })
            }
            None if reply.signature.starts_with('u') => Ok(Reader::new(&reply.body).number()),
            None => Ok(None),
        }
    }

    /// Reads messages up to the reply of the last call; signals are dropped.
    fn read_reply(&mut self) -> io::Result<Reply> {
        loop {
            let mut head = [0; 16];
            self.stream.read_exact(&mut head)?;
            let number = |at: usize| {
                let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
                usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
            };
            if head[0] != b'l' {
                return Err(io::Error::other("a message has another byte order"));
            }
            let fields = number(12);
            let padded = fields.saturating_add(7) / 8 * 8;
            let rest = padded.saturating_add(number(4));
            if rest > MAX_MESSAGE_BYTES {
                return Err(io::Error::other("a message is too large"));
            }
            let mut bytes = vec![0; rest];
            self.stream.read_exact(&mut bytes)?;
            let body = bytes.split_off(padded);
            let reply = Reply { body, ..parse_fields(&bytes[..fields]) };
            if reply.serial == Some(self.serial) {
                return Ok(reply);
            }
        }
    }
}

/// Returns the address of a socket; `None` if it is one of another kind.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (kind, options) = text.split_once(':')?;
    if kind != "unix" {
        return None;
    }
    options.split(',').find_map(|option| {
        let (name, value) = option.split_once('=')?;
        let value: Vec<u8> = percent_encoding::percent_decode_str(value).collect();
        match name {
            "path" => SocketAddr::from_pathname(OsStr::from_bytes(&value)).ok(),
            "abstract" => SocketAddr::from_abstract_name(value).ok(),
            _ => None,
        }
    })
}

/// Authenticates as the user of this process, whom the kernel reports to the bus.
fn authenticate(mut stream: UnixStream) -> io::Result<UnixStream> {
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
    let uid = rustix::process::geteuid().as_raw().to_string();
    let uid: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
    stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
        if line.len() > 1_000 {
            return Err(io::Error::other("the bus does not answer as a bus"));
        }
    }
    if !line.starts_with(b"OK ") {
        return Err(io::Error::other("the bus refuses this user"));
    }
    stream.write_all(b"BEGIN\r\n")?;
    Ok(stream)
}

/// Names the error of a socket whose timeout has passed, which is that of one that is not ready.
fn name_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            let text = format!("no reply within {} s", REPLY_TIMEOUT.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, text)
        }
        _ => error,
    }
}

impl BusArguments {
    /// Adds a text.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.signature.push('s');
        push_text(&mut self.bytes, text);
        self
    }

    /// Adds an unsigned number.
    pub(super) fn number(mut self, number: u32) -> Self {
        self.signature.push('u');
        push_number(&mut self.bytes, number);
        self
    }

    /// Adds a signed number.
    pub(super) fn signed(mut self, number: i32) -> Self {
        self.signature.push('i');
        push_number(&mut self.bytes, number.cast_unsigned());
        self
    }

    /// Adds an empty list of texts.
    pub(super) fn no_texts(mut self) -> Self {
        self.signature.push_str("as");
        push_number(&mut self.bytes, 0);
        self
    }

    /// Adds a map with one byte by name.
    pub(super) fn map_of_byte(mut self, name: &str, value: u8) -> Self {
        self.signature.push_str("a{sv}");
        push_number(&mut self.bytes, 0);
        let length_at = self.bytes.len() - 4;
        // An entry is aligned to eight bytes; the length does not count that.
        pad(&mut self.bytes, 8);
        let begin = self.bytes.len();
        push_text(&mut self.bytes, name);
        push_signature(&mut self.bytes, "y");
        self.bytes.push(value);
        let length = u32::try_from(self.bytes.len() - begin).unwrap_or(u32::MAX);
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        self
    }
}

/// Returns the message of a call.
fn call_message(serial: u32, method: BusMethod, arguments: &BusArguments) -> Vec<u8> {
    let length = u32::try_from(arguments.bytes.len()).unwrap_or(u32::MAX);
    // Little endian, a call, no flags, version 1.
    let mut message = vec![b'l', 1, 0, 1];
    push_number(&mut message, length);
    push_number(&mut message, serial);
    push_number(&mut message, 0);
    for (code, kind, text) in [
        (1, "o", method.path),
        (2, "s", method.interface),
        (3, "s", method.member),
        (6, "s", method.service),
    ] {
        pad(&mut message, 8);
        message.push(code);
        push_signature(&mut message, kind);
        push_text(&mut message, text);
    }
    if !arguments.signature.is_empty() {
        pad(&mut message, 8);
        message.push(8);
        push_signature(&mut message, "g");
        push_signature(&mut message, &arguments.signature);
    }
    let fields = u32::try_from(message.len() - 16).unwrap_or(u32::MAX);
    message[12..16].copy_from_slice(&fields.to_le_bytes());
    pad(&mut message, 8);
    message.extend_from_slice(&arguments.bytes);
    message
}

fn pad(bytes: &mut Vec<u8>, alignment: usize) {
    bytes.resize(bytes.len().next_multiple_of(alignment), 0);
}

fn push_number(bytes: &mut Vec<u8>, number: u32) {
    pad(bytes, 4);
    bytes.extend_from_slice(&number.to_le_bytes());
}

/// Adds a text, which must not contain U+0000.
fn push_text(bytes: &mut Vec<u8>, text: &str) {
    let text = text.replace('\0', "\u{fffd}");
    push_number(bytes, u32::try_from(text.len()).unwrap_or(u32::MAX));
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

fn push_signature(bytes: &mut Vec<u8>, signature: &str) {
    bytes.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(signature.as_bytes());
    bytes.push(0);
}

/// The parts of a message that matter.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reply {
    /// Number of the call; `None` if it is not a reply.
    serial: Option<u32>,
    error_name: Option<String>,
    signature: String,
    body: Vec<u8>,
}

/// Parses the fields of a header; it ends at the first one that cannot be parsed.
fn parse_fields(bytes: &[u8]) -> Reply {
    let mut reply = Reply::default();
    let mut reader = Reader::new(bytes);
    while let Some(code) = reader.field_code() {
        let value = match reader.signature().as_deref() {
            Some("s" | "o") => reader.text(),
            Some("g") => reader.signature(),
            Some("u") => reader.number().map(|number| number.to_string()),
            _ => None,
        };
        let Some(value) = value else { break };
        match code {
            4 => reply.error_name = Some(value),
            5 => reply.serial = value.parse().ok(),
            8 => reply.signature = value,
            _ => {}
        }
    }
    reply
}

/// Reads values from bytes whose begin is aligned to eight bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn field_code(&mut self) -> Option<u8> {
        self.at = self.at.next_multiple_of(8);
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u32> {
        self.at = self.at.next_multiple_of(4);
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let text = self.take(length)?;
        self.take(1)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.take(1)?[0];
        let text = self.take(usize::from(length))?;
        self.take(1)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_is_encoded_as_the_specification_requires() {
        let arguments = BusArguments::default().text("a").map_of_byte("urgency", 2).signed(-1);
        assert_eq!(arguments.signature, "sa{sv}i");
        let expected: &[u8] =
            b"\x01\0\0\0a\0\0\0\x10\0\0\0\0\0\0\0\x07\0\0\0urgency\0\x01y\0\x02\xff\xff\xff\xff";
        assert_eq!(arguments.bytes, expected);
        let message = call_message(7, HELLO, &arguments);
        assert_eq!(message[..12], *b"l\x01\0\x01\x24\0\0\0\x07\0\0\0");
        assert_eq!(message.len() % 4, 0);
        assert!(message.ends_with(expected));
        let body = message.len() - expected.len();
        assert_eq!(body % 8, 0, "the body is aligned");
        let fields =
            usize::try_from(u32::from_le_bytes(message[12..16].try_into().unwrap())).unwrap();
        let parsed = parse_fields(&message[16..16 + fields]);
        assert_eq!(parsed.signature, "sa{sv}i");
    }

    #[test]
    fn replies_are_parsed_and_malformed_ones_end_early() {
        let mut fields = Vec::new();
        fields.push(5);
        push_signature(&mut fields, "u");
        push_number(&mut fields, 9);
        pad(&mut fields, 8);
        fields.push(4);
        push_signature(&mut fields, "s");
        push_text(&mut fields, "a.b.C");
        let expected =
            Reply { serial: Some(9), error_name: Some("a.b.C".to_owned()), ..Reply::default() };
        assert_eq!(parse_fields(&fields), expected);
        for end in 0..fields.len() {
            let _ = parse_fields(&fields[..end]);
        }
        assert_eq!(parse_fields(b"\x05\x01u\0\xff"), Reply::default());
        assert_eq!(parse_fields(b"\x04\x01s\0\xff\xff\xff\xff"), Reply::default());
    }

    #[test]
    fn addresses_of_sockets_are_parsed() {
        for (text, expected) in [
            ("unix:path=/run/user/1000/bus", Some("/run/user/1000/bus")),
            ("unix:guid=1,path=/tmp/a%20b", Some("/tmp/a b")),
            ("tcp:host=localhost", None),
            ("unix:tmpdir=/tmp", None),
            ("nonsense", None),
        ] {
            let address = parse_address(text);
            let path = address.as_ref().and_then(|one| one.as_pathname()?.to_str());
            assert_eq!(path, expected, "{text}");
        }
        let named = parse_address("unix:abstract=/tmp/x,guid=2").unwrap();
        assert_eq!(named.as_abstract_name(), Some(&b"/tmp/x"[..]));
    }
}

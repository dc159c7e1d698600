//! Sends log events to journald in its native protocol: the priority, the message, and each field of
//! its own (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
//!
//! The message also contains the fields, because `journalctl` shows only `MESSAGE`. That is why this
//! is not the crate `tracing-journald`: it writes the event's message alone into `MESSAGE` and has no
//! way to change it. Lines with sd-daemon(3) prefixes on standard error would lose the fields.

use std::fmt::{Debug, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Socket of journald's native protocol.
const JOURNALD_SOCKET: &str = "/run/systemd/journal/socket";
/// Maximum number of bytes of a value, because an entry must fit into one datagram; longer values are
/// cut.
const MAX_VALUE_BYTES: usize = 16 << 10;

/// A layer that sends each event to journald.
pub(crate) struct JournaldLayer(UnixDatagram);

impl JournaldLayer {
    /// Connects to journald.
    pub(crate) fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(JOURNALD_SOCKET)?;
        Ok(Self(socket))
    }
}

impl<S: Subscriber> Layer<S> for JournaldLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = JournalFields::default();
        event.record(&mut fields);
        // A failure cannot be logged, and logging must not stop the daemon.
        let _ = self.0.send(&fields.encode(*event.metadata().level(), event.metadata().target()));
    }
}

/// Message and fields of an event.
#[derive(Default)]
struct JournalFields {
    message: String,
    fields: Vec<(String, String)>,
}

impl JournalFields {
    /// Returns the entry in the native protocol.
    fn encode(&self, level: Level, target: &str) -> Vec<u8> {
        let fields = self.fields.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = write!(text, " {name}={value}");
            text
        });
        let mut entry = Vec::new();
        write_field(&mut entry, "MESSAGE", &format!("{}{fields}", self.message));
        write_field(&mut entry, "PRIORITY", priority(level));
        write_field(&mut entry, "SYSLOG_IDENTIFIER", "dossierd");
        write_field(&mut entry, "DOSSIERD_MODULE", target);
        for (name, value) in &self.fields {
            write_field(&mut entry, &format!("DOSSIERD_{}", name.to_ascii_uppercase()), value);
        }
        entry
    }

    fn record(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name.replace('.', "_"), value)),
        }
    }
}

impl Visit for JournalFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record(field, format!("{value:?}"));
    }
}

/// Returns the syslog priority of a level.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// Appends a field in the binary form with its length, so that no value can add another field.
fn write_field(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value.as_bytes()[..value.len().min(MAX_VALUE_BYTES)];
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encode_writes_values_that_cannot_add_fields() {
        let fields = JournalFields {
            message: "watching".to_owned(),
            fields: vec![("root".to_owned(), "/a\nPRIORITY=0".to_owned())],
        };
        let entry = fields.encode(Level::WARN, "dossierd::engine");
        let mut expected = Vec::new();
        for (name, value) in [
            ("MESSAGE", "watching root=/a\nPRIORITY=0"),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "dossierd"),
            ("DOSSIERD_MODULE", "dossierd::engine"),
            ("DOSSIERD_ROOT", "/a\nPRIORITY=0"),
        ] {
            expected.extend_from_slice(format!("{name}\n").as_bytes());
            expected.extend_from_slice(&(value.len() as u64).to_le_bytes());
            expected.extend_from_slice(format!("{value}\n").as_bytes());
        }
        assert_eq!(entry, expected);
    }
}

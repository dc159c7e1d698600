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

use crate::cli::commands::run::lost_lines::LostLines;
use crate::core::path::escape_unprintable;

/// Socket of journald's native protocol.
const JOURNALD_SOCKET: &str = "/run/systemd/journal/socket";
/// Maximum number of bytes of a value, because an entry must fit into one datagram; longer values are
/// cut.
const MAX_VALUE_BYTES: usize = 16 << 10;

/// A layer that sends each event to journald, or drops it if journald does not read.
pub(crate) struct JournaldLayer {
    socket: UnixDatagram,
    lost: LostLines,
}

impl JournaldLayer {
    /// Connects to journald.
    pub(crate) fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(JOURNALD_SOCKET)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, lost: LostLines::new() })
    }
}

impl<S: Subscriber> Layer<S> for JournaldLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = JournalFields::default();
        event.record(&mut fields);
        let entry = fields.encode(*event.metadata().level(), event.metadata().target());
        let render_notice = |notice: &str| {
            let fields = JournalFields { message: notice.to_owned(), fields: Vec::new() };
            fields.encode(Level::WARN, module_path!())
        };
        self.lost.write(&entry, render_notice, |entry| self.socket.send(entry).is_ok());
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

    fn record(&mut self, field: &Field, value: &str) {
        let value = escape_unprintable(value).into_owned();
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name.replace('.', "_"), value)),
        }
    }
}

impl Visit for JournalFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record(field, &format!("{value:?}"));
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
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn journald_that_does_not_read_loses_lines_which_are_counted() {
        let (socket, journald) = UnixDatagram::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let layer = JournaldLayer { socket, lost: LostLines::new() };
        let subscriber = tracing_subscriber::registry().with(layer);
        let mut entry = [0; MAX_VALUE_BYTES];
        journald.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut next = || journald.recv(&mut entry).map(|size| entry[..size].to_vec());
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..10_000 {
                tracing::info!(number, "nobody reads this");
            }
            while next().is_ok() {}
            tracing::info!("read again");
            let notice = String::from_utf8_lossy(&next().unwrap()).into_owned();
            assert!(notice.contains("lines lost: "), "{notice}");
            assert!(String::from_utf8_lossy(&next().unwrap()).contains("read again"));
        });
    }

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

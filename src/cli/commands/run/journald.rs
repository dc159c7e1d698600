//! Messages for systemd's journal, in its native protocol: priority, message, and each field by
//! itself.
//!
//! The message holds the fields, too, for people read nothing else; `tracing-journald` leaves them
//! out of it.

use std::fmt::{Debug, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where the journal takes messages (its native protocol).
const JOURNALD_SOCKET: &str = "/run/systemd/journal/socket";
/// Bytes of one value: a message must fit into a datagram.
const MAX_VALUE_BYTES: usize = 16 << 10;

/// A connection to the journal.
pub(crate) struct JournaldLayer(UnixDatagram);

impl JournaldLayer {
    pub(crate) fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(JOURNALD_SOCKET)?;
        Ok(Self(socket))
    }
}

impl<S: Subscriber> Layer<S> for JournaldLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut said = JournalFields::default();
        event.record(&mut said);
        // The log must not hold the daemon up, and there is no other place to complain.
        let _ = self.0.send(&said.encode(*event.metadata().level(), event.metadata().target()));
    }
}

/// What a message says.
#[derive(Default)]
struct JournalFields {
    message: String,
    fields: Vec<(String, String)>,
}

impl JournalFields {
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

/// As syslog numbers them.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// A value with its length, so that whatever it holds is no other field.
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
    fn what_a_value_holds_is_no_field() {
        let said = JournalFields {
            message: "watching".to_owned(),
            fields: vec![("root".to_owned(), "/a\nPRIORITY=0".to_owned())],
        };
        let entry = said.encode(Level::WARN, "dossierd::engine");
        let mut expect = Vec::new();
        for (name, value) in [
            ("MESSAGE", "watching root=/a\nPRIORITY=0"),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "dossierd"),
            ("DOSSIERD_MODULE", "dossierd::engine"),
            ("DOSSIERD_ROOT", "/a\nPRIORITY=0"),
        ] {
            expect.extend_from_slice(format!("{name}\n").as_bytes());
            expect.extend_from_slice(&(value.len() as u64).to_le_bytes());
            expect.extend_from_slice(format!("{value}\n").as_bytes());
        }
        assert_eq!(entry, expect);
    }
}

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
const SOCKET: &str = "/run/systemd/journal/socket";
/// Bytes of one value: a message must fit into a datagram.
const VALUE_MAX: usize = 16 << 10;

/// A connection to the journal.
pub(super) struct Journal(UnixDatagram);

impl Journal {
    pub(super) fn open() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(Self(socket))
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        // The log must not hold the daemon up, and there is no other place to complain.
        let _ = self.0.send(&said.entry(*event.metadata().level(), event.metadata().target()));
    }
}

/// What a message says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(String, String)>,
}

impl Said {
    fn entry(&self, level: Level, target: &str) -> Vec<u8> {
        let fields = self.fields.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = write!(text, " {name}={value}");
            text
        });
        let mut entry = Vec::new();
        put(&mut entry, "MESSAGE", &format!("{}{fields}", self.message));
        put(&mut entry, "PRIORITY", priority(level));
        put(&mut entry, "SYSLOG_IDENTIFIER", "dossierd");
        put(&mut entry, "DOSSIERD_MODULE", target);
        for (name, value) in &self.fields {
            put(&mut entry, &format!("DOSSIERD_{}", name.to_ascii_uppercase()), value);
        }
        entry
    }

    fn take(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name.replace('.', "_"), value)),
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, format!("{value:?}"));
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
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value.as_bytes()[..value.len().min(VALUE_MAX)];
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
        let said = Said {
            message: "watching".to_owned(),
            fields: vec![("root".to_owned(), "/a\nPRIORITY=0".to_owned())],
        };
        let entry = said.entry(Level::WARN, "dossierd::engine");
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

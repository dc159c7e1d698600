//! The journal as pages and as a stream: `GET /api/events`.

use std::io;

use serde::Serialize;

use crate::core::event::Envelope;
use crate::core::snapshot::MissionDossierSnapshot;
use crate::wire::cursor::Cursor;
use crate::wire::json;

/// A page of the journal.
#[derive(Debug, Serialize)]
pub struct EventsPage<'a> {
    /// The events, by `seq`.
    pub events: &'a [Envelope],
    /// Cursor to go on from; always set.
    pub next: String,
    /// Whether events between `since` and `next` are not to be had.
    pub gap: bool,
    /// After a gap, the present state of every feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<&'a [MissionDossierSnapshot]>,
}

/// `data:` of the stream's `gap`.
#[derive(Debug, Serialize)]
pub struct Gap<'a> {
    /// Why events are not to be had.
    pub reason: &'a str,
}

/// One message of a Server-Sent Events stream: `id`, `event`, `data`. The JSON is one line, as
/// the framing needs it to be.
///
/// # Errors
/// Those of `writer`.
pub fn write_message(
    writer: &mut impl io::Write,
    id: &Cursor,
    event: &str,
    data: &impl Serialize,
) -> io::Result<()> {
    write!(writer, "id: {id}\nevent: {event}\ndata: ")?;
    json::write(writer, data)?;
    writer.write_all(b"\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing() {
        let mut message = Vec::new();
        let id = Cursor { instance: "i".into(), seq: 3 };
        write_message(&mut message, &id, "gap", &Gap { reason: "line\nbreak" }).unwrap();
        let expect = "id: i:3\nevent: gap\ndata: {\"reason\":\"line\\nbreak\"}\n\n";
        assert_eq!(String::from_utf8(message).unwrap(), expect);
    }
}

//! The journal as pages and as a stream: `GET /api/events`.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::snapshot::MissionDossierSnapshot;
use crate::wire::cursor::Cursor;
use crate::wire::json;

/// Writes a page of the journal: `events` as they are stored, the cursor to go on from, and after a
/// gap the present state of every feature.
///
/// # Errors
/// Those of `writer`.
pub fn push_page(
    writer: &mut impl io::Write,
    events: &[&str],
    next: &str,
    snapshots: Option<&[Arc<MissionDossierSnapshot>]>,
) -> io::Result<()> {
    writer.write_all(b"{\"events\":[")?;
    for (place, event) in events.iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        write!(writer, "{comma}{event}")?;
    }
    writer.write_all(b"],\"next\":")?;
    json::write(writer, &next)?;
    write!(writer, ",\"gap\":{}", snapshots.is_some())?;
    if let Some(snapshots) = snapshots {
        writer.write_all(b",\"snapshots\":[")?;
        for (place, snapshot) in snapshots.iter().enumerate() {
            writer.write_all(if place > 0 { b"," } else { b"" })?;
            json::write(writer, &**snapshot)?;
        }
        writer.write_all(b"]")?;
    }
    writer.write_all(b"}\n")
}

/// `data:` of the stream's `gap`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Gap<'a> {
    /// Why events are not to be had.
    pub reason: Cow<'a, str>,
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

/// As [`write_message`], for an event as it is stored: one line of JSON.
///
/// # Errors
/// Those of `writer`.
pub fn write_stored(
    writer: &mut impl io::Write,
    id: &Cursor,
    event: &str,
    envelope: &str,
) -> io::Result<()> {
    write!(writer, "id: {id}\nevent: {event}\ndata: {envelope}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing() {
        let mut message = Vec::new();
        let id = Cursor { instance: "i".into(), seq: 3 };
        write_message(&mut message, &id, "gap", &Gap { reason: "line\nbreak".into() }).unwrap();
        let expect = "id: i:3\nevent: gap\ndata: {\"reason\":\"line\\nbreak\"}\n\n";
        assert_eq!(String::from_utf8(message).unwrap(), expect);
    }
}

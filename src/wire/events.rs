//! Pages and streams of `GET /api/events`: writing them, and reading pages and envelopes.
//!
//! Envelopes are written as they are stored, so an event has the same bytes everywhere. Messages of
//! a stream are parsed in `client`.

use std::borrow::Cow;
use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::core::event::Payload;
use crate::core::time::Timestamp;
use crate::wire::cursor::Cursor;
use crate::wire::json;
use crate::wire::status::SyncStatus;

/// Begin of a page of the journal; the events follow, separated by commas.
pub const PAGE_BEGIN: &str = "{\"events\":[";

/// What a page has after its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageState {
    /// The events are complete.
    Complete,
    /// Events are not available. Snapshots follow, separated by commas.
    Gap,
}

/// Writes what follows the events of a page: the cursor of the next page, and whether there is a gap.
///
/// # Errors
/// Errors of `writer`.
pub fn write_page_next(
    writer: &mut impl io::Write,
    next: &str,
    state: PageState,
) -> io::Result<()> {
    writer.write_all(b"],\"next\":")?;
    json::write(writer, &next)?;
    writer.write_all(match state {
        PageState::Complete => b",\"gap\":false",
        PageState::Gap => b",\"gap\":true,\"snapshots\":[",
    })
}

/// Writes the end of a page, with `sync=true` how it was synchronised.
///
/// # Errors
/// Errors of `writer`.
pub fn write_page_end(
    writer: &mut impl io::Write,
    state: PageState,
    sync: Option<&SyncStatus>,
) -> io::Result<()> {
    if state == PageState::Gap {
        writer.write_all(b"]")?;
    }
    if let Some(SyncStatus { synced, synced_reason }) = sync {
        writer.write_all(b",\"synced\":")?;
        json::write(writer, synced)?;
        if let Some(reason) = synced_reason {
            writer.write_all(b",\"synced_reason\":")?;
            json::write(writer, reason)?;
        }
    }
    writer.write_all(b"}\n")
}

/// A page of the journal as a client parses it.
#[derive(Debug, Deserialize)]
pub struct JournalPage {
    /// Envelopes of the events.
    pub events: Vec<Box<RawValue>>,
    /// Cursor of the next page.
    pub next: String,
    /// True if events between the cursor of the request and `next` are not available.
    pub gap: bool,
    /// After a gap, the current snapshots of the selected features.
    #[serde(default)]
    pub snapshots: Vec<Box<RawValue>>,
}

/// An envelope as a client parses it. The payload is parsed separately, so that one of an unknown
/// type does not hide the rest.
#[derive(Debug, Clone, Deserialize)]
pub struct ReceivedEvent {
    /// Number of the event.
    #[serde(default)]
    pub seq: u64,
    /// One of the four types, or one that a newer daemon has.
    pub event_type: String,
    /// Last component of the project's root.
    pub project: String,
    /// Identity of that root on that machine.
    pub root_id: String,
    /// Slug of the feature.
    pub feature_slug: String,
    /// Time at which the event was emitted.
    pub emitted_at: Timestamp,
    /// Payload; its fields depend on the type.
    payload: serde_json::Value,
}

impl ReceivedEvent {
    /// Returns the payload; `None` if this version does not know its type or cannot parse it.
    #[must_use]
    pub fn payload(&self) -> Option<Payload> {
        fn parse<T: DeserializeOwned>(value: &serde_json::Value) -> Option<T> {
            T::deserialize(value).ok()
        }
        let payload = &self.payload;
        match self.event_type.strip_prefix("mission_dossier_")? {
            "artifact_indexed" => parse(payload).map(Payload::ArtifactIndexed),
            "artifact_missing" => parse(payload).map(Payload::ArtifactMissing),
            "snapshot_computed" => parse(payload).map(Payload::SnapshotComputed),
            "parity_drift_detected" => parse(payload).map(Payload::ParityDriftDetected),
            _ => None,
        }
    }
}

/// Data of the `gap` message of a stream.
#[derive(Debug, Serialize, Deserialize)]
pub struct Gap<'a> {
    /// Why events are not available.
    pub reason: Cow<'a, str>,
}

/// End of a message of a Server-Sent Events stream.
pub const MESSAGE_END: &str = "\n\n";

/// Writes a message of a Server-Sent Events stream. Its JSON is one line, as the framing requires.
/// A message without `id` leaves the cursor of the client as it is.
///
/// # Errors
/// Errors of `writer`.
pub fn write_sse_message(
    writer: &mut impl io::Write,
    id: Option<&Cursor>,
    event: &str,
    data: &impl Serialize,
) -> io::Result<()> {
    write_message_begin(writer, id, event)?;
    json::write(writer, data)?;
    writer.write_all(MESSAGE_END.as_bytes())
}

/// Writes what precedes the data of a message; [`MESSAGE_END`] follows the data.
///
/// # Errors
/// Errors of `writer`.
pub fn write_message_begin(
    writer: &mut impl io::Write,
    id: Option<&Cursor>,
    event: &str,
) -> io::Result<()> {
    if let Some(id) = id {
        writeln!(writer, "id: {id}")?;
    }
    write!(writer, "event: {event}\ndata: ")
}

/// Writes a stored event as a message of a stream. The envelope must be one line of JSON.
///
/// # Errors
/// Errors of `writer`.
pub fn write_stored_event(
    writer: &mut impl io::Write,
    id: &Cursor,
    event: &str,
    envelope: &str,
) -> io::Result<()> {
    write_message_begin(writer, Some(id), event)?;
    write!(writer, "{}{MESSAGE_END}", json::escape_for_terminal(envelope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_has_an_optional_id_and_one_line_of_data() {
        let id = Cursor { instance: "i".into(), seq: 3 };
        for (id, first) in [(Some(&id), "id: i:3\n"), (None, "")] {
            let mut message = Vec::new();
            let gap = Gap { reason: "line\nbreak".into() };
            write_sse_message(&mut message, id, "gap", &gap).unwrap();
            let expected = format!("{first}event: gap\ndata: {{\"reason\":\"line\\nbreak\"}}\n\n");
            assert_eq!(String::from_utf8(message).unwrap(), expected);
        }
    }
}

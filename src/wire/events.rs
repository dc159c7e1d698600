//! Pages and streams of `GET /api/events`: writing them, and reading pages and envelopes.
//!
//! Envelopes are written as they are stored, so an event has the same bytes everywhere. Messages of
//! a stream are parsed in `client`.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::core::event::Payload;
use crate::core::snapshot::MissionDossierSnapshot;
use crate::core::time::Timestamp;
use crate::wire::cursor::Cursor;
use crate::wire::json;
use crate::wire::status::SyncStatus;

/// Writes a page of the journal: stored envelopes, the cursor of the next page, after a gap the
/// snapshots of the selected features, and with `sync=true` whether it was synchronised.
///
/// # Errors
/// Errors of `writer`.
pub fn write_page(
    writer: &mut impl io::Write,
    events: &[&str],
    next: &str,
    snapshots: Option<&[Arc<MissionDossierSnapshot>]>,
    sync: Option<&SyncStatus>,
) -> io::Result<()> {
    writer.write_all(b"{\"events\":[")?;
    for (index, event) in events.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(writer, "{comma}{}", json::escape_for_terminal(event))?;
    }
    writer.write_all(b"],\"next\":")?;
    json::write(writer, &next)?;
    write!(writer, ",\"gap\":{}", snapshots.is_some())?;
    if let Some(snapshots) = snapshots {
        writer.write_all(b",\"snapshots\":[")?;
        for (index, snapshot) in snapshots.iter().enumerate() {
            writer.write_all(if index > 0 { b"," } else { b"" })?;
            json::write(writer, &**snapshot)?;
        }
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
    if let Some(id) = id {
        writeln!(writer, "id: {id}")?;
    }
    write!(writer, "event: {event}\ndata: ")?;
    json::write(writer, data)?;
    writer.write_all(b"\n\n")
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
    write!(writer, "id: {id}\nevent: {event}\ndata: {}\n\n", json::escape_for_terminal(envelope))
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

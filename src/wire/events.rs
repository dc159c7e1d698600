//! The journal as pages and as a stream: `GET /api/events`.

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
use crate::wire::status::Synced;

/// Writes a page of the journal: `events` as they are stored, the cursor to go on from, after a gap the
/// present state of every feature, and where that was asked for how it includes every earlier change.
///
/// # Errors
/// Those of `writer`.
pub fn write_page(
    writer: &mut impl io::Write,
    events: &[&str],
    next: &str,
    snapshots: Option<&[Arc<MissionDossierSnapshot>]>,
    synced: Option<Synced>,
) -> io::Result<()> {
    writer.write_all(b"{\"events\":[")?;
    for (place, event) in events.iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        write!(writer, "{comma}{}", json::escape_for_terminal(event))?;
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
    if let Some(synced) = synced {
        writer.write_all(b",\"synced\":")?;
        json::write(writer, &synced)?;
    }
    writer.write_all(b"}\n")
}

/// A page of the journal, as a client reads it.
#[derive(Debug, Deserialize)]
pub struct JournalPage {
    /// The envelopes.
    pub events: Vec<Box<RawValue>>,
    /// The cursor to go on from.
    pub next: String,
    /// Whether events between the request's cursor and `next` are not to be had.
    pub gap: bool,
    /// After a gap, the present state of every feature.
    #[serde(default)]
    pub snapshots: Vec<Box<RawValue>>,
}

/// An envelope, as a client reads it: what it cannot read of it does not hide the rest.
#[derive(Debug, Clone, Deserialize)]
pub struct ReceivedEvent {
    /// One of the four types, or one that a newer daemon has.
    pub event_type: String,
    /// Last component of the project's root.
    pub project: String,
    /// Identity of that root on that machine.
    pub root_id: String,
    /// The feature.
    pub feature_slug: String,
    /// When.
    pub emitted_at: Timestamp,
    /// What, by type.
    payload: serde_json::Value,
}

impl ReceivedEvent {
    /// What happened; `None` for what this version cannot read.
    #[must_use]
    pub fn payload(&self) -> Option<Payload> {
        fn read<T: DeserializeOwned>(value: &serde_json::Value) -> Option<T> {
            T::deserialize(value).ok()
        }
        let payload = &self.payload;
        match self.event_type.strip_prefix("mission_dossier_")? {
            "artifact_indexed" => read(payload).map(Payload::ArtifactIndexed),
            "artifact_missing" => read(payload).map(Payload::ArtifactMissing),
            "snapshot_computed" => read(payload).map(Payload::SnapshotComputed),
            "parity_drift_detected" => read(payload).map(Payload::ParityDriftDetected),
            _ => None,
        }
    }
}

/// `data:` of the stream's `gap`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Gap<'a> {
    /// Why events are not to be had.
    pub reason: Cow<'a, str>,
}

/// One message of a Server-Sent Events stream: `id`, `event`, `data`. The JSON is one line, as
/// the framing needs it to be. Without an `id` a reader stays where it was.
///
/// # Errors
/// Those of `writer`.
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

/// As [`write_sse_message`], for an event as it is stored: one line of JSON.
///
/// # Errors
/// Those of `writer`.
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
    fn framing() {
        let id = Cursor { instance: "i".into(), seq: 3 };
        for (id, first) in [(Some(&id), "id: i:3\n"), (None, "")] {
            let mut message = Vec::new();
            let gap = Gap { reason: "line\nbreak".into() };
            write_sse_message(&mut message, id, "gap", &gap).unwrap();
            let expect = format!("{first}event: gap\ndata: {{\"reason\":\"line\\nbreak\"}}\n\n");
            assert_eq!(String::from_utf8(message).unwrap(), expect);
        }
    }
}

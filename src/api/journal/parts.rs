//! What a reader of the journal gets, made in parts while it reads: a large event or snapshot is never held
//! as a whole.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use axum::body::Bytes;

use crate::api::journal::reader_pool::ReaderPool;
use crate::api::response::byte_budget::without_spare_capacity;
use crate::api::response::problem::internal_error;
use crate::core::snapshot::MissionDossierSnapshot;
use crate::store::{JournalReader, LargeEvent, StoreError};
use crate::wire::json;
use crate::wire::problem::Problem;
use crate::wire::snapshot_parts::SnapshotParts;

/// Size in bytes after which a part ends.
const PART_BYTES: usize = 64 << 10;
/// Maximum number of bytes of an envelope that are read at a time.
const MAX_READ_BYTES: usize = 16 << 10;
/// Size in bytes that is reserved for a part. Escapes can make one a little larger.
pub(crate) const MAX_PART_BYTES: usize = PART_BYTES + 2 * MAX_READ_BYTES;
/// Lower bound for the bytes of an artifact in a snapshot.
const MIN_ARTIFACT_BYTES: usize = 200;

/// What is still to be sent, in order.
#[derive(Debug, Default)]
pub(crate) struct PartQueue(VecDeque<Piece>);

#[derive(Debug)]
enum Piece {
    Text(Bytes),
    Envelope(EnvelopeReader),
    Snapshot(SnapshotParts, usize),
}

/// The rest of an envelope in the journal.
#[derive(Debug)]
struct EnvelopeReader {
    seq: u64,
    offset: u64,
    length: u64,
}

impl PartQueue {
    pub(crate) fn push_text(&mut self, text: impl Into<Bytes>) {
        self.0.push_back(Piece::Text(text.into()));
    }

    /// Adds the envelope of an event.
    pub(crate) fn push_envelope(&mut self, event: &LargeEvent) {
        let envelope = EnvelopeReader { seq: event.seq, offset: 0, length: event.bytes };
        self.0.push_back(Piece::Envelope(envelope));
    }

    pub(crate) fn push_snapshot(&mut self, snapshot: Arc<MissionDossierSnapshot>) {
        let at_least = snapshot.artifact_summaries.len() * MIN_ARTIFACT_BYTES;
        self.0.push_back(Piece::Snapshot(SnapshotParts::new(snapshot), at_least));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all of it if it is text only, else itself.
    pub(crate) fn into_text(mut self) -> Result<Bytes, Self> {
        match (self.0.pop_front(), self.0.is_empty()) {
            (Some(Piece::Text(text)), true) => Ok(text),
            (Some(first), _) => {
                self.0.push_front(first);
                Err(self)
            }
            (None, _) => Ok(Bytes::new()),
        }
    }

    /// Returns the number of bytes that are held now.
    pub(crate) fn held_bytes(&self) -> usize {
        let held =
            self.0.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 });
        held.sum()
    }

    /// Returns a lower bound for the number of all bytes.
    pub(crate) fn min_bytes(&self) -> u64 {
        let bytes = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.len() as u64,
            Piece::Envelope(envelope) => envelope.length,
            Piece::Snapshot(_, at_least) => *at_least as u64,
        });
        bytes.sum()
    }

    /// Makes the next part, on a thread that may wait for the disk. The queue is not empty.
    ///
    /// # Errors
    /// If the journal cannot be read, or retention has deleted the event: the response ends early.
    pub(crate) async fn next(self, pool: &ReaderPool) -> Result<(Self, Bytes), Problem> {
        let mut parts = self;
        let made = pool
            .read(move |reader| {
                let part = parts.make_part(reader)?;
                Ok(part.map(|part| (parts, part)))
            })
            .await?;
        made.map_err(internal_error)
    }

    fn make_part(&mut self, reader: &mut JournalReader) -> Result<io::Result<Bytes>, StoreError> {
        let mut out = Vec::with_capacity(MAX_PART_BYTES);
        while out.len() < PART_BYTES
            && let Some(piece) = self.0.pop_front()
        {
            let rest = match piece {
                Piece::Text(mut text) => {
                    let length = text.len().min(PART_BYTES - out.len());
                    out.extend(text.split_to(length));
                    (!text.is_empty()).then_some(Piece::Text(text))
                }
                Piece::Envelope(mut envelope) => {
                    match envelope.read(reader, &mut out)? {
                        Ok(()) => {}
                        Err(error) => return Ok(Err(error)),
                    }
                    (envelope.offset < envelope.length).then_some(Piece::Envelope(envelope))
                }
                Piece::Snapshot(mut parts, at_least) => {
                    match parts.write_next(&mut out, PART_BYTES) {
                        Ok(has_more) => has_more.then_some(Piece::Snapshot(parts, at_least)),
                        Err(error) => return Ok(Err(error)),
                    }
                }
            };
            if let Some(rest) = rest {
                self.0.push_front(rest);
            }
        }
        Ok(Ok(without_spare_capacity(out)))
    }
}

impl EnvelopeReader {
    /// Appends the next characters to `out`.
    fn read(
        &mut self,
        reader: &mut JournalReader,
        out: &mut Vec<u8>,
    ) -> Result<io::Result<()>, StoreError> {
        let Some(bytes) = reader.envelope_part(self.seq, self.offset, MAX_READ_BYTES)? else {
            return Ok(Err(io::Error::other("retention deleted an event while it was being sent")));
        };
        // A character at the end may be incomplete; it is read again.
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        };
        if text.is_empty() {
            return Ok(Err(io::Error::other("the envelope of an event is not text")));
        }
        self.offset += text.len() as u64;
        out.extend(json::escape_for_terminal(text).as_bytes());
        Ok(Ok(()))
    }
}

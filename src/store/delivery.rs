//! Progress of sinks: cursors, and dead letters, which are the events that a sink could not deliver.
//! Sends nothing.
//!
//! A sink updates its cursor and adds the dead letters that the cursor passes in one transaction. The
//! transaction is not synced: delivery is at least once, so a power failure may repeat events.
//! A dead letter is a copy of its event, which retention does not delete.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::error::StoreError;
use super::journal::JournalReader;
use crate::core::time::Timestamp;

/// Progress of a sink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkProgress {
    /// Number up to which every event is delivered, dead-lettered, or deleted by retention.
    pub cursor: u64,
    /// Number of events that retention deleted before they were delivered.
    pub dropped: u64,
    /// Number of dead letters, including those to be delivered again.
    pub dead_letters: u64,
}

/// Progress of a sink since its last update.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CursorUpdate {
    /// New cursor.
    pub cursor: u64,
    /// Number of events that retention deleted before they were delivered, since the last update.
    pub dropped: u64,
    /// Events that the receiver rejected permanently.
    pub rejected: Vec<RejectedEvent>,
    /// Numbers of dead letters that were delivered.
    pub redelivered: Vec<u64>,
}

/// An event that the receiver rejected permanently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedEvent {
    /// Number of the event.
    pub seq: u64,
    /// Number of attempts.
    pub tries: u32,
    /// Time of the last rejection.
    pub rejected_at: Timestamp,
    /// The last error of the receiver.
    pub error: String,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Number of the event.
    pub seq: u64,
    /// Id of the event.
    pub event_id: String,
    /// Type of the event.
    pub event_type: String,
    /// Identity of the project's root.
    pub root_id: String,
    /// Slug of the feature.
    pub feature: String,
    /// Number of attempts.
    pub tries: u32,
    /// Time of the last rejection.
    pub rejected_at: Timestamp,
    /// The last error of the receiver.
    pub error: String,
    /// True if it is to be delivered again.
    pub retry: bool,
}

/// An event of the journal, without its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHeader {
    /// Number of the event.
    pub seq: u64,
    /// Time of the event in milliseconds since 1970.
    pub emitted_ms: i64,
    /// Identity of the project's root.
    pub root_id: String,
    /// Slug of the feature.
    pub feature: String,
    /// Size of its envelope in bytes.
    pub bytes: u64,
}

/// Selects dead letters of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterSelector {
    /// All.
    All,
    /// Those with these event ids; unknown ids are ignored.
    Ids(Vec<String>),
}

/// Returns the progress of a sink; `None` if it is not registered.
pub(super) fn sink_progress(
    connection: &Connection,
    sink: &str,
) -> rusqlite::Result<Option<SinkProgress>> {
    connection
        .prepare_cached(
            "SELECT seq, dropped, (SELECT count(*) FROM dead_letters WHERE sink = ?1)
             FROM cursor WHERE sink = ?1",
        )?
        .query_row([sink], |row| {
            Ok(SinkProgress {
                cursor: get_u64(row, 0)?,
                dropped: get_u64(row, 1)?,
                dead_letters: get_u64(row, 2)?,
            })
        })
        .optional()
}

/// Inserts a sink whose cursor is before the oldest event.
pub(super) fn insert_sink(connection: &mut Connection, sink: &str) -> rusqlite::Result<()> {
    in_transaction(connection, |transaction| {
        transaction.execute(
            "INSERT INTO cursor (sink, seq)
             SELECT ?1, coalesce((SELECT min(seq) - 1 FROM event), seq) FROM store",
            [sink],
        )?;
        Ok(())
    })
}

/// Applies an update in one transaction.
pub(super) fn update_cursor(
    connection: &mut Connection,
    sink: &str,
    update: &CursorUpdate,
) -> rusqlite::Result<()> {
    in_transaction(connection, |transaction| apply_update(transaction, sink, update))
}

/// Marks dead letters for another delivery. Returns how many were selected.
pub(super) fn retry_dead_letters(
    connection: &mut Connection,
    sink: &str,
    selector: &DeadLetterSelector,
) -> rusqlite::Result<u64> {
    let sql = "UPDATE dead_letters SET retry = 1 WHERE sink = ?1";
    change_dead_letters(connection, sql, sink, selector)
}

/// Deletes dead letters. Returns how many.
pub(super) fn delete_dead_letters(
    connection: &mut Connection,
    sink: &str,
    selector: &DeadLetterSelector,
) -> rusqlite::Result<u64> {
    change_dead_letters(connection, "DELETE FROM dead_letters WHERE sink = ?1", sink, selector)
}

impl JournalReader {
    /// Returns at most `limit` events after the number `after` up to `until`.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn event_headers(
        &mut self,
        after: u64,
        until: u64,
        limit: usize,
    ) -> Result<Vec<EventHeader>, StoreError> {
        self.read("read the journal", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, emitted_at, root_id, feature, octet_length(envelope) FROM event
                 WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(
                params![after.cast_signed(), until.cast_signed(), limit],
                |row| {
                    Ok(EventHeader {
                        seq: get_u64(row, 0)?,
                        emitted_ms: row.get(1)?,
                        root_id: row.get(2)?,
                        feature: row.get(3)?,
                        bytes: get_u64(row, 4)?,
                    })
                },
            )?;
            rows.collect()
        })
    }

    /// Returns the envelope of an event, from the journal or from the dead letters of `sink`; `None` if
    /// the event is in neither.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn envelope(&mut self, sink: &str, seq: u64) -> Result<Option<String>, StoreError> {
        self.read("read an event", |connection| {
            let seq = seq.cast_signed();
            let mut statement =
                connection.prepare_cached("SELECT envelope FROM event WHERE seq = ?1")?;
            if let Some(text) = statement.query_row([seq], |row| row.get(0)).optional()? {
                return Ok(Some(text));
            }
            connection
                .prepare_cached("SELECT envelope FROM dead_letters WHERE sink = ?1 AND seq = ?2")?
                .query_row(params![sink, seq], |row| row.get(0))
                .optional()
        })
    }

    /// Returns the dead letters of a sink, in order.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn dead_letters(&mut self, sink: &str) -> Result<Vec<DeadLetter>, StoreError> {
        self.read("read the dead letters", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, event_id, type, root_id, feature, tries, refused_at, error, retry
                 FROM dead_letters WHERE sink = ?1 ORDER BY seq",
            )?;
            let rows = statement.query_map([sink], |row| {
                let at = Timestamp::from_millis(row.get(6)?);
                Ok(DeadLetter {
                    seq: get_u64(row, 0)?,
                    event_id: row.get(1)?,
                    event_type: row.get(2)?,
                    root_id: row.get(3)?,
                    feature: row.get(4)?,
                    tries: row.get(5)?,
                    rejected_at: at.unwrap_or_default(),
                    error: row.get(7)?,
                    retry: row.get(8)?,
                })
            })?;
            rows.collect()
        })
    }
}

fn get_u64(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index).map(i64::cast_unsigned)
}

fn in_transaction<T>(
    connection: &mut Connection,
    write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = write(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

fn apply_update(
    transaction: &Transaction<'_>,
    sink: &str,
    update: &CursorUpdate,
) -> rusqlite::Result<()> {
    let mut dropped = update.dropped;
    for event in &update.rejected {
        dropped += store_dead_letter(transaction, sink, event)?;
    }
    let mut delete =
        transaction.prepare_cached("DELETE FROM dead_letters WHERE sink = ?1 AND seq = ?2")?;
    for seq in &update.redelivered {
        delete.execute(params![sink, seq.cast_signed()])?;
    }
    transaction
        .prepare_cached(
            "INSERT INTO cursor (sink, seq, dropped) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET seq = excluded.seq, dropped = dropped + excluded.dropped",
        )?
        .execute(params![sink, update.cursor.cast_signed(), dropped.cast_signed()])?;
    Ok(())
}

/// Inserts a dead letter, or updates one that was rejected again. Returns 1 if retention has deleted
/// the event, which is then counted as dropped, and else 0.
fn store_dead_letter(
    transaction: &Transaction<'_>,
    sink: &str,
    event: &RejectedEvent,
) -> rusqlite::Result<u64> {
    let RejectedEvent { seq, tries, rejected_at, error } = event;
    let values = params![sink, seq.cast_signed(), tries, rejected_at.as_millis(), error];
    let update = "
        UPDATE dead_letters SET tries = tries + ?3, refused_at = ?4, error = ?5, retry = 0
        WHERE sink = ?1 AND seq = ?2";
    if transaction.prepare_cached(update)?.execute(values)? > 0 {
        return Ok(0);
    }
    let insert = "
        INSERT INTO dead_letters (sink, seq, event_id, type, root_id, feature, tries, refused_at,
                                  error, retry, envelope)
        SELECT ?1, seq, json_extract(envelope, '$.event_id'), type, root_id, feature, ?3, ?4, ?5,
               0, envelope
        FROM event WHERE seq = ?2";
    let inserted = transaction.prepare_cached(insert)?.execute(values)?;
    Ok(u64::from(inserted == 0))
}

/// Executes `sql`, which has a condition on the sink, for the selected dead letters. Returns how many
/// rows it changed.
fn change_dead_letters(
    connection: &mut Connection,
    sql: &str,
    sink: &str,
    selector: &DeadLetterSelector,
) -> rusqlite::Result<u64> {
    in_transaction(connection, |transaction| {
        let changed = match selector {
            DeadLetterSelector::All => transaction.execute(sql, [sink])?,
            DeadLetterSelector::Ids(ids) => {
                let mut statement =
                    transaction.prepare_cached(&format!("{sql} AND event_id = ?2"))?;
                let mut changed = 0;
                for id in ids {
                    changed += statement.execute(params![sink, id])?;
                }
                changed
            }
        };
        Ok(changed as u64)
    })
}

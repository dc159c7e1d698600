//! How far each sink has delivered, and what it could not: cursors, and events set aside.
//!
//! A sink moves by [`Store::update_cursor`], one transaction: its cursor, and what it sets aside so that
//! the cursor can pass. That is not durable by itself, for a sink delivers at least once. What is
//! set aside is a copy, which retention does not drop.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::error::StoreError;
use super::journal::JournalReader;
use crate::core::time::Timestamp;

/// Where a sink is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkProgress {
    /// Every event up to this number is delivered, set aside, or dropped by retention.
    pub cursor: u64,
    /// Events that retention dropped before they were delivered.
    pub dropped: u64,
    /// Events that are set aside, those included that are to be tried again.
    pub dead_letters: u64,
}

/// How a sink has moved since it last said so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CursorUpdate {
    /// Its cursor now.
    pub cursor: u64,
    /// Events that retention dropped, since then.
    pub dropped: u64,
    /// Events that the receiver refused for good.
    pub rejected: Vec<RejectedEvent>,
    /// Numbers of events that were set aside and are delivered now.
    pub redelivered: Vec<u64>,
}

/// An event that a receiver refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedEvent {
    /// Its number.
    pub seq: u64,
    /// How often it was tried.
    pub tries: u32,
    /// When it was refused last.
    pub rejected_at: Timestamp,
    /// What the receiver said.
    pub error: String,
}

/// An event that is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub seq: u64,
    /// Its identity.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// Its project's root.
    pub root_id: String,
    /// Its feature.
    pub feature: String,
    /// How often it was tried.
    pub tries: u32,
    /// When it was refused last.
    pub rejected_at: Timestamp,
    /// What the receiver said.
    pub error: String,
    /// Whether it is to be tried again.
    pub retry: bool,
}

/// An event's place, without its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHeader {
    /// Its number.
    pub seq: u64,
    /// When it was emitted, in milliseconds since 1970.
    pub emitted_ms: i64,
    /// Its project's root.
    pub root_id: String,
    /// Its feature.
    pub feature: String,
    /// How long its envelope is.
    pub bytes: u64,
}

/// Which set-aside events are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterSelector {
    /// All.
    All,
    /// Those with these identities.
    Ids(Vec<String>),
}

/// Where a sink of that name is; `None` where it has never been.
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

/// Begins a sink with the oldest event that is kept.
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

/// Notes how a sink has moved: all of it or nothing.
pub(super) fn update_cursor(
    connection: &mut Connection,
    sink: &str,
    update: &CursorUpdate,
) -> rusqlite::Result<()> {
    in_transaction(connection, |transaction| apply_update(transaction, sink, update))
}

/// Lets a sink try again what is set aside; gives how many events that are.
pub(super) fn retry_dead_letters(
    connection: &mut Connection,
    sink: &str,
    selector: &DeadLetterSelector,
) -> rusqlite::Result<u64> {
    let sql = "UPDATE dead_letters SET retry = 1 WHERE sink = ?1";
    change_dead_letters(connection, sql, sink, selector)
}

/// Forgets what is set aside; gives how many events that were.
pub(super) fn delete_dead_letters(
    connection: &mut Connection,
    sink: &str,
    selector: &DeadLetterSelector,
) -> rusqlite::Result<u64> {
    change_dead_letters(connection, "DELETE FROM dead_letters WHERE sink = ?1", sink, selector)
}

impl JournalReader {
    /// The events after a number and up to another, at most `limit`, without their envelopes.
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
            let found = statement.query_map(
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
            found.collect()
        })
    }

    /// An event's envelope, as it is sent, from the journal or from what `sink_progress` has set aside;
    /// `None` where neither has it any more.
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

    /// What a sink has set aside, in order.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn dead_letters(&mut self, sink: &str) -> Result<Vec<DeadLetter>, StoreError> {
        self.read("read what is set aside", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, event_id, type, root_id, feature, tries, refused_at, error, retry
                 FROM dead_letters WHERE sink = ?1 ORDER BY seq",
            )?;
            let found = statement.query_map([sink], |row| {
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
            found.collect()
        })
    }
}

fn get_u64(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(i64::cast_unsigned)
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
    advance: &CursorUpdate,
) -> rusqlite::Result<()> {
    let mut dropped = advance.dropped;
    for refused in &advance.rejected {
        dropped += store_dead_letter(transaction, sink, refused)?;
    }
    let mut delete =
        transaction.prepare_cached("DELETE FROM dead_letters WHERE sink = ?1 AND seq = ?2")?;
    for seq in &advance.redelivered {
        delete.execute(params![sink, seq.cast_signed()])?;
    }
    transaction
        .prepare_cached(
            "INSERT INTO cursor (sink, seq, dropped) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET seq = excluded.seq, dropped = dropped + excluded.dropped",
        )?
        .execute(params![sink, advance.cursor.cast_signed(), dropped.cast_signed()])?;
    Ok(())
}

/// Sets an event aside, or back; gives 1 where retention was quicker.
fn store_dead_letter(
    transaction: &Transaction<'_>,
    sink: &str,
    refused: &RejectedEvent,
) -> rusqlite::Result<u64> {
    let RejectedEvent { seq, tries, rejected_at: at, error } = refused;
    let values = params![sink, seq.cast_signed(), tries, at.as_millis(), error];
    let again = "UPDATE dead_letters SET tries = tries + ?3, refused_at = ?4, error = ?5, retry = 0
                 WHERE sink = ?1 AND seq = ?2";
    if transaction.prepare_cached(again)?.execute(values)? > 0 {
        return Ok(0);
    }
    let first = "INSERT INTO dead_letters (sink, seq, event_id, type, root_id, feature, tries,
                                        refused_at, error, retry, envelope)
                 SELECT ?1, seq, json_extract(envelope, '$.event_id'), type, root_id, feature, ?3,
                        ?4, ?5, 0, envelope
                 FROM event WHERE seq = ?2";
    let set = transaction.prepare_cached(first)?.execute(values)?;
    Ok(u64::from(set == 0))
}

fn change_dead_letters(
    connection: &mut Connection,
    sql: &str,
    sink: &str,
    meant: &DeadLetterSelector,
) -> rusqlite::Result<u64> {
    in_transaction(connection, |transaction| {
        let changed = match meant {
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

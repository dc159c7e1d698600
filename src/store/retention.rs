//! Prunes the journal: deletes the oldest events, and tombstones with their events. The limits are the
//! caller's.

use rusqlite::{Connection, Row, TransactionBehavior};

use super::journal_age::{AgeLimit, EventTime};
use super::rows::invalid_column;
use crate::core::path::{FeatureSlug, RelPath};

/// Maximum number of events deleted in one transaction, so that commits do not wait for long.
const MAX_EVENTS_PER_PRUNE: usize = 500;

/// What was deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneResult {
    /// Number of events; unless it is 0, there may be more to delete.
    pub events: u64,
    /// Tombstones whose events were deleted.
    pub tombstones: Vec<PrunedTombstone>,
}

/// A tombstone that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedTombstone {
    /// Identity of the project's root.
    pub root_id: String,
    /// The feature.
    pub slug: FeatureSlug,
    /// Path of the deleted file in the feature.
    pub path: RelPath,
}

/// Returns the number of the oldest event; `None` if there is none.
pub(super) fn oldest(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    let oldest: Option<i64> =
        connection.prepare_cached("SELECT min(seq) FROM event")?.query_row([], |row| row.get(0))?;
    Ok(oldest.map(i64::cast_unsigned))
}

/// Returns the times of the events with these numbers.
pub(super) fn event_times(
    connection: &Connection,
    seqs: &[u64],
) -> rusqlite::Result<Vec<EventTime>> {
    let mut statement = connection.prepare_cached("SELECT emitted_at FROM event WHERE seq = ?1")?;
    let mut times = Vec::with_capacity(seqs.len());
    for seq in seqs {
        let mut rows = statement.query([seq.cast_signed()])?;
        if let Some(row) = rows.next()? {
            times.push(EventTime { seq: *seq, emitted_ms: row.get(0)? });
        }
    }
    Ok(times)
}

/// Deletes events up to [`MAX_EVENTS_PER_PRUNE`] from the oldest on: those that are too old, and more
/// until the remaining envelopes have at most `max_bytes`.
pub(super) fn prune(
    connection: &mut Connection,
    limit: AgeLimit,
    max_bytes: u64,
) -> rusqlite::Result<PruneResult> {
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let bytes: i64 =
        transaction.query_row("SELECT journal_bytes FROM store", [], |row| row.get(0))?;
    let (mut events, mut last_seq, mut deleted_bytes) = (0, 0_i64, 0_i64);
    {
        // SQLite reads `octet_length` from the header of the row, not the text itself.
        let mut statement = transaction.prepare_cached(
            "SELECT seq, emitted_at, octet_length(envelope) FROM event ORDER BY seq",
        )?;
        let mut rows = statement.query([])?;
        while events < MAX_EVENTS_PER_PRUNE
            && let Some(row) = rows.next()?
            && (is_expired(row, limit)? || bytes - deleted_bytes > max_bytes)
        {
            events += 1;
            last_seq = row.get(0)?;
            deleted_bytes += row.get::<_, i64>(2)?;
        }
    }
    if events == 0 {
        return Ok(PruneResult::default());
    }
    let tombstones = transaction
        .prepare_cached(
            "SELECT root_id, slug, path FROM tombstone JOIN feature ON feature.id = tombstone.feature
             WHERE seq <= ?1",
        )?
        .query_map([last_seq], |row| {
            let slug = FeatureSlug::new(row.get_ref(1)?.as_bytes()?);
            let path = RelPath::new(row.get_ref(2)?.as_blob()?);
            Ok(PrunedTombstone {
                root_id: row.get(0)?,
                slug: slug.ok_or_else(|| invalid_column(1, "invalid slug".to_owned()))?,
                path: path.map_err(|error| invalid_column(2, error.to_string()))?,
            })
        })?
        .collect::<Result<_, _>>()?;
    transaction.prepare_cached("DELETE FROM tombstone WHERE seq <= ?1")?.execute([last_seq])?;
    transaction.prepare_cached("DELETE FROM event WHERE seq <= ?1")?.execute([last_seq])?;
    transaction
        .prepare_cached("UPDATE store SET journal_bytes = journal_bytes - ?1")?
        .execute([deleted_bytes])?;
    transaction.commit()?;
    Ok(PruneResult { events: events as u64, tombstones })
}

fn is_expired(row: &Row<'_>, limit: AgeLimit) -> rusqlite::Result<bool> {
    let seq = row.get::<_, i64>(0)?.cast_unsigned();
    Ok(limit.is_expired(EventTime { seq, emitted_ms: row.get(1)? }))
}

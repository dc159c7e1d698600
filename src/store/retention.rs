//! How long the journal is kept.

use rusqlite::{Connection, TransactionBehavior};

use super::rows::invalid_column;
use crate::core::path::{FeatureSlug, RelPath};

/// Events that are dropped at a time, at most, so that no change waits for long.
const MAX_EVENTS_PER_PRUNE: usize = 500;

/// What was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneResult {
    /// How many events; more may have to go when it is not 0.
    pub events: u64,
    /// The tombstones whose events went.
    pub tombstones: Vec<PrunedTombstone>,
}

/// A tombstone that is kept no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedTombstone {
    /// Its project.
    pub root_id: String,
    /// Its feature.
    pub slug: FeatureSlug,
    /// Its path.
    pub path: RelPath,
}

/// Drops the oldest events, as [`Store::prune`](super::Store::prune) says.
pub(super) fn prune(
    connection: &mut Connection,
    oldest_ms: i64,
    max_bytes: u64,
) -> rusqlite::Result<PruneResult> {
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let bytes: i64 =
        transaction.query_row("SELECT journal_bytes FROM store", [], |row| row.get(0))?;
    let (mut events, mut last, mut dropped) = (0, 0_i64, 0_i64);
    {
        // `octet_length` is in the row's header: the text itself is not read.
        let mut statement = transaction.prepare_cached(
            "SELECT seq, emitted_at, octet_length(envelope) FROM event ORDER BY seq",
        )?;
        let mut rows = statement.query([])?;
        while events < MAX_EVENTS_PER_PRUNE
            && let Some(row) = rows.next()?
            && (row.get::<_, i64>(1)? < oldest_ms || bytes - dropped > max_bytes)
        {
            events += 1;
            last = row.get(0)?;
            dropped += row.get::<_, i64>(2)?;
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
        .query_map([last], |row| {
            let slug = FeatureSlug::new(row.get_ref(1)?.as_bytes()?);
            let path = RelPath::new(row.get_ref(2)?.as_blob()?);
            Ok(PrunedTombstone {
                root_id: row.get(0)?,
                slug: slug.ok_or_else(|| invalid_column(1, "no slug".to_owned()))?,
                path: path.map_err(|error| invalid_column(2, error.to_string()))?,
            })
        })?
        .collect::<Result<_, _>>()?;
    transaction.prepare_cached("DELETE FROM tombstone WHERE seq <= ?1")?.execute([last])?;
    transaction.prepare_cached("DELETE FROM event WHERE seq <= ?1")?.execute([last])?;
    transaction
        .prepare_cached("UPDATE store SET journal_bytes = journal_bytes - ?1")?
        .execute([dropped])?;
    transaction.commit()?;
    Ok(PruneResult { events: events as u64, tombstones })
}

//! Removes versions: those that thinning drops, those that a full store evicts, and those that a
//! person purges. Which ones is decided by `core::history::thinning`.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, params};

use super::ContentStore;
use super::model::{FILE_NAME, VersionedFile};
use super::reader::{self, file_id};
use crate::core::history::thinning::{
    EvictionCandidate, VersionTimes, eviction_key, kept_versions,
};
use crate::core::path::FeatureSlug;
use crate::core::time::Timestamp;
use crate::store::error::{StoreError, read_error, write_error};
use crate::store::open;

/// A full store is emptied to this part of its maximum, so that not every version evicts others.
const EVICTION_TARGET: (u64, u64) = (15, 16);
/// Number of versions without a content that are kept of one path.
const NOT_STORED_KEPT: i64 = 16;
/// Number of versions removed in one transaction, which bounds the WAL.
const REMOVALS_PER_COMMIT: usize = 500;

/// What was evicted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvictionResult {
    /// Versions whose content was removed.
    pub versions: u64,
    /// Those of them that a baseline names.
    pub named: u64,
}

/// What is purged.
#[derive(Debug, Clone, Copy)]
pub enum PurgeSelector<'a> {
    /// Everything.
    All,
    /// The versions of one feature.
    Feature(&'a str, &'a FeatureSlug),
}

/// What was purged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PurgeResult {
    /// Versions, with and without a content.
    pub versions: u64,
    /// Contents that no other version has.
    pub contents: u64,
}

/// A version that can be removed.
struct Candidate {
    id: i64,
    order: EvictionCandidate,
}

impl ContentStore {
    /// Removes the versions that are not kept of the files `after..`, at most `limit` files. Returns the
    /// last file that was examined; `None` after the last one.
    ///
    /// # Errors
    /// [`StoreError::Write`], [`StoreError::Corrupt`].
    pub fn thin(
        &mut self,
        after: i64,
        limit: u32,
        now: Timestamp,
        max_age: Duration,
    ) -> Result<Option<i64>, StoreError> {
        let thin = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let files: Vec<i64> = transaction
                .prepare_cached("SELECT id FROM file WHERE id > ?1 ORDER BY id LIMIT ?2")?
                .query_map(params![after, limit], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for file in &files {
                thin_file(&transaction, *file, now, max_age)?;
            }
            transaction.commit()?;
            Ok(files.last().copied())
        };
        thin(&mut self.connection).map_err(write_error("thin the history", &self.path))
    }

    /// Removes the versions of these files that are not kept.
    ///
    /// # Errors
    /// [`StoreError::Write`], [`StoreError::Corrupt`].
    pub fn thin_files<'f>(
        &mut self,
        files: impl Iterator<Item = &'f VersionedFile>,
        now: Timestamp,
        max_age: Duration,
    ) -> Result<(), StoreError> {
        let thin = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            for file in files {
                if let Some(id) = file_id(&transaction, file)? {
                    thin_file(&transaction, id, now, max_age)?;
                }
            }
            transaction.commit()
        };
        thin(&mut self.connection).map_err(write_error("thin the history", &self.path))
    }

    /// Removes versions until the used part of the file is below `max_bytes`, if it is not.
    ///
    /// # Errors
    /// [`StoreError::Write`], [`StoreError::Corrupt`].
    pub fn evict(&mut self, max_bytes: u64, now: Timestamp) -> Result<EvictionResult, StoreError> {
        // The WAL counts, too.
        let max_bytes =
            max_bytes.saturating_sub(u64::from(super::MAX_WAL_BYTES).min(max_bytes / 8));
        let used = reader::used_bytes(&self.connection)
            .map_err(read_error("measure the history", &self.path))?;
        if used <= max_bytes {
            return Ok(EvictionResult::default());
        }
        let (part, parts) = EVICTION_TARGET;
        let target = max_bytes / parts * part;
        let evict = |connection: &mut Connection| {
            let mut result = EvictionResult::default();
            let mut candidates = candidates(connection)?;
            candidates.sort_by_key(|candidate| eviction_key(&candidate.order));
            for batch in candidates.chunks(REMOVALS_PER_COMMIT / 10) {
                if reader::used_bytes(connection)? <= target {
                    break;
                }
                let transaction = connection.transaction()?;
                let named = batch.iter().filter(|one| one.order.is_named).count() as u64;
                let removed = batch.len() as u64;
                result.versions += removed;
                result.named += named;
                for candidate in batch {
                    evict_one(&transaction, candidate)?;
                }
                transaction.execute(
                    "UPDATE history SET evicted = evicted + ?1, evicted_named = evicted_named + ?2,
                                        evicted_ms = ?3",
                    params![removed.cast_signed(), named.cast_signed(), now.as_millis()],
                )?;
                transaction.commit()?;
            }
            Ok(result)
        };
        evict(&mut self.connection).map_err(write_error("evict versions", &self.path))
    }

    /// Removes versions and rebuilds the file, so that nothing of them is left in it. Files that were
    /// quarantined are removed, since what they hold is not known.
    ///
    /// # Errors
    /// [`StoreError::Write`], [`StoreError::Corrupt`].
    pub fn purge(&mut self, selector: PurgeSelector<'_>) -> Result<PurgeResult, StoreError> {
        let dir = self.path.parent().map(Path::to_path_buf).unwrap_or_default();
        let purge = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let count = |sql| transaction.query_row(sql, [], |row| row.get::<_, i64>(0));
            let contents = count("SELECT count(*) FROM content")?;
            let (root_id, feature) = match selector {
                PurgeSelector::All => (None, None),
                PurgeSelector::Feature(root_id, feature) => (Some(root_id), Some(feature.as_str())),
            };
            let of_feature = "(?1 IS NULL OR root_id = ?1) AND (?2 IS NULL OR feature = ?2)";
            let versions = transaction.execute(
                &format!(
                    "DELETE FROM version WHERE file IN (SELECT id FROM file WHERE {of_feature})"
                ),
                params![root_id, feature],
            )?;
            for table in ["file", "named", "restored"] {
                let sql = format!("DELETE FROM {table} WHERE {of_feature}");
                transaction.execute(&sql, params![root_id, feature])?;
            }
            drop_orphans(&transaction)?;
            let left = transaction
                .query_row("SELECT count(*) FROM content", [], |row| row.get::<_, i64>(0))?;
            transaction.commit()?;
            open::remove_quarantined(&dir, FILE_NAME).map_err(|error| {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_DELETE);
                let text = format!("cannot remove a quarantined file: {error}");
                rusqlite::Error::SqliteFailure(code, Some(text))
            })?;
            // A frame may still be in the WAL, and in parts of pages that are not in use.
            connection.execute_batch("VACUUM")?;
            let is_busy: bool =
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if is_busy {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                let text = "a reader uses the WAL, which holds contents; purge again";
                return Err(rusqlite::Error::SqliteFailure(busy, Some(text.to_owned())));
            }
            Ok(PurgeResult {
                versions: versions as u64,
                contents: contents.saturating_sub(left).cast_unsigned(),
            })
        };
        purge(&mut self.connection).map_err(write_error("purge the history", &self.path))
    }
}

/// Removes the versions of one file that are not kept.
fn thin_file(
    transaction: &Transaction<'_>,
    file: i64,
    now: Timestamp,
    max_age: Duration,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "SELECT id, from_ms, until_ms, EXISTS (SELECT 1 FROM named WHERE named.hash = version.hash)
         FROM version WHERE file = ?1 AND not_stored IS NULL ORDER BY id DESC",
    )?;
    let rows = statement.query_map([file], |row| {
        let times =
            VersionTimes { from_ms: row.get(1)?, until_ms: row.get(2)?, is_named: row.get(3)? };
        Ok((row.get::<_, i64>(0)?, times))
    })?;
    let (ids, times): (Vec<i64>, Vec<VersionTimes>) =
        rows.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let kept = kept_versions(&times, now.as_millis(), max_age);
    let mut has_removed = false;
    for (id, _) in ids.iter().zip(kept).filter(|(_, kept)| !kept) {
        remove_version(transaction, *id)?;
        has_removed = true;
    }
    let max_age = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
    let surplus: Vec<i64> = transaction
        .prepare_cached(
            "SELECT id FROM (SELECT id, until_ms, row_number() OVER (ORDER BY id DESC) AS number
                             FROM version WHERE file = ?1 AND not_stored IS NOT NULL)
             WHERE until_ms IS NOT NULL AND (number > ?2 OR until_ms < ?3)",
        )?
        .query_map(
            params![file, NOT_STORED_KEPT, now.as_millis().saturating_sub(max_age)],
            |row| row.get(0),
        )?
        .collect::<Result<_, _>>()?;
    for id in surplus {
        remove_version(transaction, id)?;
        has_removed = true;
    }
    if has_removed {
        for table in ["restored", "file"] {
            transaction
                .prepare_cached(&format!(
                    "DELETE FROM {table} WHERE (root_id, feature, path) =
                         (SELECT root_id, feature, path FROM file WHERE id = ?1
                          AND NOT EXISTS (SELECT 1 FROM version WHERE version.file = file.id))"
                ))?
                .execute([file])?;
        }
    }
    Ok(())
}

/// Removes a version. What was between its neighbours is not known any more, and the changed lines of the
/// next one are not those since the one that is now before it.
fn remove_version(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE version SET ended = 'lost' WHERE id =
                 (SELECT max(id) FROM version
                  WHERE file = (SELECT file FROM version WHERE id = ?1) AND id < ?1)",
        )?
        .execute([id])?;
    transaction
        .prepare_cached(
            "UPDATE version SET is_first = 0, added = NULL, removed = NULL WHERE id =
                 (SELECT min(id) FROM version
                  WHERE file = (SELECT file FROM version WHERE id = ?1) AND id > ?1)",
        )?
        .execute([id])?;
    let hash: Vec<u8> = transaction
        .prepare_cached("DELETE FROM version WHERE id = ?1 RETURNING hash")?
        .query_row([id], |row| row.get(0))?;
    drop_content(transaction, &hash)
}

/// Removes a content unless a version has it.
fn drop_content(transaction: &Transaction<'_>, hash: &[u8]) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM content WHERE hash = ?1 AND NOT EXISTS
                 (SELECT 1 FROM version WHERE version.hash = ?1 AND not_stored IS NULL)",
        )?
        .execute([hash])?;
    Ok(())
}

/// Removes contents that no version has.
fn drop_orphans(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM content WHERE NOT EXISTS
                 (SELECT 1 FROM version WHERE version.hash = content.hash AND not_stored IS NULL)",
        )?
        .execute([])?;
    Ok(())
}

fn candidates(connection: &Connection) -> rusqlite::Result<Vec<Candidate>> {
    let mut statement = connection.prepare(
        "SELECT id, row_number() OVER (PARTITION BY file ORDER BY id DESC) - 1, until_ms IS NULL,
                EXISTS (SELECT 1 FROM named WHERE named.hash = version.hash), from_ms
         FROM version WHERE not_stored IS NULL",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Candidate {
            id: row.get(0)?,
            order: EvictionCandidate {
                rank: row.get(1)?,
                is_current: row.get(2)?,
                is_named: row.get(3)?,
                from_ms: row.get(4)?,
            },
        })
    })?;
    rows.collect()
}

/// Removes the content of a version. One that is current or named stays listed as evicted.
fn evict_one(transaction: &Transaction<'_>, candidate: &Candidate) -> rusqlite::Result<()> {
    if !candidate.order.is_current && !candidate.order.is_named {
        return remove_version(transaction, candidate.id);
    }
    let hash: Vec<u8> = transaction
        .prepare_cached("UPDATE version SET not_stored = 'evicted' WHERE id = ?1 RETURNING hash")?
        .query_row([candidate.id], |row| row.get(0))?;
    drop_content(transaction, &hash)
}

//! What a restore wrote: the origin of a file as long as it has that content.

use std::collections::HashMap;

use rusqlite::{Transaction, params};

use super::model::VersionedFile;
use super::{ContentReader, ContentStore, VersionChange, VersionRecord, reader, schema};
use crate::core::digest::Digest;
use crate::core::path::{FeatureSlug, RelPath};
use crate::store::error::{StoreError, write_error};

impl ContentStore {
    /// Records that a restore wrote a content; `seq` is the number of an event before it.
    ///
    /// # Errors
    /// [`StoreError::Write`], [`StoreError::Corrupt`].
    pub fn record_restored(
        &mut self,
        file: &VersionedFile,
        hash: &Digest,
        seq: u64,
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO restored (root_id, feature, path, hash, after_seq)
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let VersionedFile { root_id, feature, path } = file;
        let values = params![
            root_id,
            feature.as_str(),
            path.as_bytes(),
            &hash.as_bytes()[..],
            seq.cast_signed()
        ];
        let written = self.connection.execute(sql, values);
        written.map_err(write_error("store what was restored", &self.path))?;
        Ok(())
    }
}

impl ContentReader {
    /// Returns the hashes of what was restored in a feature, by file. A file may have another content now.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn restored(
        &self,
        root_id: &str,
        feature: &FeatureSlug,
    ) -> Result<HashMap<RelPath, Digest>, StoreError> {
        let restored = self.read("read what was restored", |connection| {
            if !schema::has_restored(connection)? {
                return Ok(HashMap::new());
            }
            let sql = "SELECT path, hash FROM restored WHERE root_id = ?1 AND feature = ?2";
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([root_id, feature.as_str()], |row| {
                Ok((reader::path(row, 0)?, reader::digest(row, 1)?))
            })?;
            rows.collect()
        })?;
        Ok(restored.unwrap_or_default())
    }
}

/// Forgets what was restored to a file if `record` gives it another content later.
pub(super) fn forget_replaced(
    transaction: &Transaction<'_>,
    record: &VersionRecord,
) -> rusqlite::Result<()> {
    let hash = match &record.change {
        VersionChange::Current { hash, .. } => Some(hash),
        VersionChange::Deleted => None,
        VersionChange::Lost => return Ok(()),
    };
    let VersionedFile { root_id, feature, path } = &record.file;
    let sql = "DELETE FROM restored WHERE root_id = ?1 AND feature = ?2 AND path = ?3
               AND after_seq < ?4 AND hash IS NOT ?5";
    let hash = hash.map(|hash| &hash.as_bytes()[..]);
    transaction.prepare_cached(sql)?.execute(params![
        root_id,
        feature.as_str(),
        path.as_bytes(),
        record.seq.cast_signed(),
        hash
    ])?;
    Ok(())
}

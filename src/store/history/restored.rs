//! What a restore wrote: the origin of a file as long as it has that content.

use rusqlite::{Connection, Transaction, params};

use super::model::VersionedFile;
use crate::core::digest::Digest;

/// Records that a restore wrote a content after the event `after_seq`.
pub(super) fn insert(
    connection: &Connection,
    file: &VersionedFile,
    hash: &Digest,
    after_seq: u64,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO restored (root_id, feature, path, hash, after_seq)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let VersionedFile { root_id, feature, path } = file;
    connection.execute(
        sql,
        params![
            root_id,
            feature.as_str(),
            path.as_bytes(),
            &hash.as_bytes()[..],
            after_seq.cast_signed()
        ],
    )?;
    Ok(())
}

/// Forgets what was restored to a file if the event `seq` is later, and the file has another content since;
/// `hash` is `None` if it was deleted.
pub(super) fn forget_replaced(
    transaction: &Transaction<'_>,
    file: &VersionedFile,
    seq: u64,
    hash: Option<&Digest>,
) -> rusqlite::Result<()> {
    let VersionedFile { root_id, feature, path } = file;
    let sql = "DELETE FROM restored WHERE root_id = ?1 AND feature = ?2 AND path = ?3
               AND after_seq < ?4 AND hash IS NOT ?5";
    let hash = hash.map(|hash| &hash.as_bytes()[..]);
    transaction.prepare_cached(sql)?.execute(params![
        root_id,
        feature.as_str(),
        path.as_bytes(),
        seq.cast_signed(),
        hash
    ])?;
    Ok(())
}

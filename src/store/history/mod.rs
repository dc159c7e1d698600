//! The content store: the versions of text artifacts, in a file next to the store of events
//! (`docs/specification.md#content-store`). Losing it loses no event. What is stored, and when, is
//! decided in `history`; which versions are kept, in `core::history::thinning`.
//!
//! # Invariants
//! - There is one writer. Readers have their own connections, and read committed versions only.
//! - A content is removed with the last version that has it.
//! - A commit moves `stored_seq` together with the versions that it covers.
//! - `secure_delete` overwrites what is removed, and a purge truncates the WAL and rebuilds the file, so
//!   that nothing removed can be read from our files.

mod frame;
mod model;
mod reader;
mod remove;
mod restored;
mod schema;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use crate::core::digest::Digest;
use crate::core::path::FeatureSlug;
use crate::core::time::Timestamp;
use crate::store::error::{StoreError, read_error, write_error};
use crate::store::open;

pub use frame::FrameEncoder;
pub use model::{FILE_NAME, HistoryCounts, NotStored, VersionedFile};
pub use reader::{ContentReader, StoredVersion, VersionEnd};
pub use remove::{EvictionResult, PurgeResult, PurgeSelector};

/// Size in bytes to which the WAL is truncated after a checkpoint.
const MAX_WAL_BYTES: u32 = 4 << 20;
/// Size of a page in bytes. A compressed content has a few KiB, and its last page is half empty on average: with
/// 4,096 bytes the file has 11 percent more.
const PAGE_BYTES: u32 = 1_024;
/// Number of pages of the WAL from which a commit moves it into the file.
const WAL_PAGES: u32 = (2 << 20) / PAGE_BYTES;

/// The connection of the only writer.
pub struct ContentStore {
    connection: Connection,
    path: PathBuf,
    /// Number of the store of events whose numbers are recorded.
    epoch: i64,
}

/// An opened content store.
pub struct OpenedContentStore {
    /// The store.
    pub store: ContentStore,
    /// New path of a corrupt file that was replaced.
    pub quarantined: Option<PathBuf>,
}

/// What happened to a file.
#[derive(Debug)]
pub struct VersionRecord {
    /// The file.
    pub file: VersionedFile,
    /// Number of the event.
    pub seq: u64,
    /// Time of the event.
    pub at: Timestamp,
    /// What happened.
    pub change: VersionChange,
}

/// What happened to a file: the content of a [`VersionRecord`].
#[derive(Debug)]
pub enum VersionChange {
    /// It has this content now.
    Current {
        /// Key of the artifact.
        key: Box<str>,
        /// Hash of the content.
        hash: Digest,
        /// Size of the content in bytes.
        size: u64,
        /// Permissions; 0 if they are not known.
        mode: u32,
        /// True if the file did not exist just before.
        is_first: bool,
        /// The content, or why it is not stored.
        content: VersionContent,
    },
    /// It was deleted.
    Deleted,
    /// What it contains is not known any more.
    Lost,
}

/// The content of a version.
#[derive(Debug)]
pub enum VersionContent {
    /// Compressed by [`FrameEncoder`].
    Frame {
        /// The compressed bytes.
        frame: Vec<u8>,
        /// Lines added and removed since the version before; `None` if they were not compared.
        lines: Option<(u32, u32)>,
    },
    /// Not stored, unless the store has this content already.
    NotStored(NotStored),
}

impl VersionContent {
    /// Returns the number of compressed bytes.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        match self {
            Self::Frame { frame, .. } => frame.len(),
            Self::NotStored(_) => 0,
        }
    }
}

/// What becomes of the other contents that the baselines of a feature name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherNamed {
    /// They are not named any more.
    Forget,
    /// They stay.
    Keep,
}

/// The newest version of a file, as far as a writer needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatestVersion {
    /// Hash of its content.
    pub hash: Digest,
    /// True if it is current.
    pub is_current: bool,
    /// Why its content is not stored; `None` if it is.
    pub not_stored: Option<NotStored>,
}

impl LatestVersion {
    /// Returns true if its content is stored.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.not_stored.is_none()
    }
}

struct LatestRow {
    id: i64,
    version: LatestVersion,
    epoch: i64,
}

impl ContentStore {
    /// Opens the content store in a private directory; creates what does not exist, and quarantines a
    /// corrupt file under a name with the time.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Open`].
    pub fn open_or_recreate(dir: &Path, at: Timestamp) -> Result<OpenedContentStore, StoreError> {
        match Self::open(dir) {
            Err(error) if error.is_corrupt() => {
                let quarantined = Some(open::quarantine(dir, FILE_NAME, at)?);
                Ok(OpenedContentStore { store: Self::open(dir)?, quarantined })
            }
            opened => Ok(OpenedContentStore { store: opened?, quarantined: None }),
        }
    }

    /// Opens the content store in a private directory; creates what does not exist.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Corrupt`], [`StoreError::Open`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE_NAME);
        open::create_private_file(dir, &path).map_err(|error| StoreError::open(&path, error))?;
        let sql_error = |error| StoreError::sql_open(&path, error);
        let mut connection = open::connect(&path, PAGE_BYTES).map_err(sql_error)?;
        connection
            .pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))
            .map_err(sql_error)?;
        let wal = |connection: &Connection| {
            connection.pragma_update_and_check(
                None,
                "wal_autocheckpoint",
                WAL_PAGES,
                |_| Ok(()),
            )?;
            connection.pragma_update_and_check(
                None,
                "journal_size_limit",
                MAX_WAL_BYTES,
                |_| Ok(()),
            )?;
            // A power failure may lose the last versions, which the sweep at the next start finds.
            connection.pragma_update(None, "synchronous", "NORMAL")
        };
        wal(&connection).map_err(sql_error)?;
        schema::prepare(&mut connection, &path)?;
        let epoch = connection
            .query_row("SELECT epoch FROM history", [], |row| row.get(0))
            .map_err(sql_error)?;
        Ok(Self { connection, path, epoch })
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Continues with the store of events that has this instance. Returns the number of its last event
    /// whose version is recorded; 0 if it is another store than before.
    ///
    /// # Errors
    /// [`StoreError::Write`], [`StoreError::Corrupt`].
    pub fn begin(&mut self, instance: &str) -> Result<u64, StoreError> {
        let begin = |connection: &Connection| {
            let is_other = connection.execute(
                "UPDATE history SET instance = ?1, epoch = epoch + 1, stored_seq = 0
                 WHERE instance <> ?1",
                [instance],
            )? > 0;
            if is_other {
                connection.execute("UPDATE restored SET after_seq = 0", [])?;
            }
            connection.query_row("SELECT epoch, stored_seq FROM history", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
            })
        };
        let (epoch, seq) =
            begin(&self.connection).map_err(write_error("begin the history", &self.path))?;
        self.epoch = epoch;
        Ok(seq)
    }

    /// Returns the newest version of a file.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn latest(&self, file: &VersionedFile) -> Result<Option<LatestVersion>, StoreError> {
        let read = || match reader::file_id(&self.connection, file)? {
            Some(id) => Ok(latest_row(&self.connection, id)?.map(|row| row.version)),
            None => Ok(None),
        };
        read().map_err(read_error("read a version", &self.path))
    }

    /// Returns true if a content is stored.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn has_content(&self, hash: &Digest) -> Result<bool, StoreError> {
        let read =
            || self.connection.prepare_cached(reader::HAS_CONTENT)?.exists([&hash.as_bytes()[..]]);
        read().map_err(read_error("read a version", &self.path))
    }

    /// Returns a content; `None` if it is not stored.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn content(&self, hash: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        reader::content(&self.connection, hash).map_err(read_error("read a version", &self.path))
    }

    /// Returns the features of a root that have current versions.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn current_features(&self, root_id: &str) -> Result<Vec<FeatureSlug>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT DISTINCT feature FROM file JOIN version ON version.file = file.id
                 WHERE root_id = ?1 AND until_ms IS NULL",
            )?;
            let rows = statement.query_map([root_id], |row| reader::slug(row, 0))?;
            rows.collect::<Result<_, _>>()
        };
        read().map_err(read_error("read the versions", &self.path))
    }

    /// Returns the files of a feature that have a current version.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn current_files(
        &self,
        root_id: &str,
        feature: &FeatureSlug,
    ) -> Result<Vec<VersionedFile>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT DISTINCT path FROM file JOIN version ON version.file = file.id
                 WHERE root_id = ?1 AND feature = ?2 AND until_ms IS NULL",
            )?;
            let rows = statement.query_map([root_id, feature.as_str()], |row| {
                let (root_id, feature) = (root_id.to_owned(), feature.clone());
                Ok(VersionedFile { root_id, feature, path: reader::path(row, 0)? })
            })?;
            rows.collect::<Result<_, _>>()
        };
        read().map_err(read_error("read the versions", &self.path))
    }

    /// Returns true if a feature has versions.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn has_feature(&self, root_id: &str, feature: &FeatureSlug) -> Result<bool, StoreError> {
        let read = || {
            self.connection
                .prepare_cached("SELECT 1 FROM file WHERE root_id = ?1 AND feature = ?2 LIMIT 1")?
                .exists([root_id, feature.as_str()])
        };
        read().map_err(read_error("read the versions", &self.path))
    }

    /// Records what happened, in order, in one transaction; `stored_seq` is the number of the last event
    /// that is covered then.
    ///
    /// # Errors
    /// [`StoreError::Write`], which leaves everything unchanged; [`StoreError::Corrupt`].
    pub fn record(
        &mut self,
        records: Vec<VersionRecord>,
        stored_seq: u64,
    ) -> Result<(), StoreError> {
        let epoch = self.epoch;
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            for record in records {
                record_one(&transaction, epoch, record)?;
            }
            transaction
                .prepare_cached("UPDATE history SET stored_seq = max(stored_seq, ?1)")?
                .execute([stored_seq.cast_signed()])?;
            transaction.commit()
        };
        write(&mut self.connection).map_err(write_error("store versions", &self.path))
    }

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
        restored::insert(&self.connection, file, hash, seq)
            .map_err(write_error("store what was restored", &self.path))
    }

    /// Moves the versions of a feature to another slug; those of files that this has already come before
    /// them.
    ///
    /// # Errors
    /// [`StoreError::Write`], [`StoreError::Corrupt`].
    pub fn rename_feature(
        &mut self,
        root_id: &str,
        from: &FeatureSlug,
        to: &FeatureSlug,
    ) -> Result<(), StoreError> {
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let both: Vec<(i64, i64)> = transaction
                .prepare(
                    "SELECT former.id, present.id FROM file AS former JOIN file AS present
                     USING (root_id, path)
                     WHERE root_id = ?1 AND former.feature = ?2 AND present.feature = ?3",
                )?
                .query_map(params![root_id, from.as_str(), to.as_str()], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect::<Result<_, _>>()?;
            for (former, present) in both {
                merge_files(&transaction, former, present)?;
            }
            for table in ["file", "named", "restored"] {
                let sql = format!(
                    "UPDATE OR REPLACE {table} SET feature = ?3 WHERE root_id = ?1 AND feature = ?2"
                );
                transaction.execute(&sql, params![root_id, from.as_str(), to.as_str()])?;
            }
            transaction.commit()
        };
        write(&mut self.connection)
            .map_err(write_error("rename the history of a feature", &self.path))
    }

    /// Records contents that the baselines of a feature name, which are evicted last: these alone, or these
    /// as well.
    ///
    /// # Errors
    /// [`StoreError::Write`], [`StoreError::Corrupt`].
    pub fn name_contents(
        &mut self,
        root_id: &str,
        feature: &FeatureSlug,
        hashes: &[Digest],
        others: OtherNamed,
    ) -> Result<(), StoreError> {
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            if others == OtherNamed::Forget {
                transaction.execute(
                    "DELETE FROM named WHERE root_id = ?1 AND feature = ?2",
                    [root_id, feature.as_str()],
                )?;
            }
            let mut insert = transaction.prepare_cached(
                "INSERT OR IGNORE INTO named (root_id, feature, hash) VALUES (?1, ?2, ?3)",
            )?;
            for hash in hashes {
                insert.execute(params![root_id, feature.as_str(), &hash.as_bytes()[..]])?;
            }
            drop(insert);
            transaction.commit()
        };
        write(&mut self.connection).map_err(write_error("store what a baseline names", &self.path))
    }

    /// Returns true if the baselines of a feature name contents.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn has_named(&self, root_id: &str, feature: &FeatureSlug) -> Result<bool, StoreError> {
        let read = || {
            self.connection
                .prepare_cached("SELECT 1 FROM named WHERE root_id = ?1 AND feature = ?2 LIMIT 1")?
                .exists([root_id, feature.as_str()])
        };
        read().map_err(read_error("read the versions", &self.path))
    }

    /// Returns the numbers of the store.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn counts(&self) -> Result<HistoryCounts, StoreError> {
        reader::counts(&self.connection).map_err(read_error("count the versions", &self.path))
    }

    /// Creates a reader.
    #[must_use]
    pub fn reader(&self) -> ContentReader {
        ContentReader::at(self.path.clone())
    }

    /// Returns true if `error` may leave the connection in an unknown state, so that the store must be
    /// opened again.
    #[must_use]
    pub fn must_reopen(error: &StoreError) -> bool {
        error.is_corrupt() || error.is_disk_failure()
    }
}

fn latest_row(connection: &Connection, file: i64) -> rusqlite::Result<Option<LatestRow>> {
    let row = |row: &Row<'_>| {
        Ok(LatestRow {
            id: row.get(0)?,
            version: LatestVersion {
                hash: reader::digest(row, 1)?,
                is_current: row.get::<_, Option<i64>>(2)?.is_none(),
                not_stored: row.get::<_, Option<String>>(3)?.map(|text| NotStored::parse(&text)),
            },
            epoch: row.get(4)?,
        })
    };
    connection
        .prepare_cached(
            "SELECT id, hash, until_ms, not_stored, epoch FROM version WHERE file = ?1
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row([file], row)
        .optional()
}

fn record_one(
    transaction: &Transaction<'_>,
    epoch: i64,
    record: VersionRecord,
) -> rusqlite::Result<()> {
    let VersionRecord { file, seq, at, change } = record;
    let known = reader::file_id(transaction, &file)?;
    let latest = known.map(|id| latest_row(transaction, id)).transpose()?.flatten();
    let current = latest.filter(|latest| latest.version.is_current);
    let forget_replaced = |hash| restored::forget_replaced(transaction, &file, seq, hash);
    let end = |row: &LatestRow, ended: &str| {
        // Of an older store of events only the time counts.
        let seq = if row.epoch == epoch { seq } else { 0 };
        transaction
            .prepare_cached(
                "UPDATE version SET until_seq = ?2, until_ms = max(from_ms, ?3), ended = ?4
                 WHERE id = ?1",
            )?
            .execute(params![row.id, seq.cast_signed(), at.as_millis(), ended])
    };
    match change {
        VersionChange::Deleted => {
            forget_replaced(None)?;
            if let Some(row) = &current {
                end(row, "deleted")?;
            }
        }
        VersionChange::Lost => {
            if let Some(row) = &current {
                end(row, "lost")?;
            }
        }
        VersionChange::Current { key, hash, size, mode, is_first, content } => {
            forget_replaced(Some(&hash))?;
            let id = match known {
                Some(id) => {
                    transaction
                        .prepare_cached("UPDATE file SET key = ?2 WHERE id = ?1 AND key <> ?2")?
                        .execute(params![id, &*key])?;
                    id
                }
                None => insert_file(transaction, &file, &key)?,
            };
            let (not_stored, lines) = store_content(transaction, &hash, size, content)?;
            if let Some(row) = current.as_ref().filter(|row| row.version.hash == hash) {
                return confirm(transaction, row, epoch, seq, not_stored);
            }
            if let Some(row) = &current {
                end(row, "changed")?;
            }
            if not_stored.is_some_and(counts_as_lost) {
                transaction.execute("UPDATE history SET not_stored = not_stored + 1", [])?;
            }
            // What the file contained before is not known.
            let lines = lines.filter(|_| is_first || current.is_some());
            let (added, removed) = lines.unzip();
            transaction
                .prepare_cached(
                    "INSERT INTO version (file, hash, size, mode, epoch, from_seq, from_ms, is_first,
                                          added, removed, not_stored)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                )?
                .execute(params![
                    id,
                    &hash.as_bytes()[..],
                    size.cast_signed(),
                    mode,
                    epoch,
                    seq.cast_signed(),
                    at.as_millis(),
                    is_first,
                    added,
                    removed,
                    not_stored.map(NotStored::as_str),
                ])?;
        }
    }
    Ok(())
}

/// Returns true for a version that should have been stored.
fn counts_as_lost(reason: NotStored) -> bool {
    matches!(reason, NotStored::Replaced | NotStored::Unreadable)
}

/// Updates the current version of a file, which has the same content.
fn confirm(
    transaction: &Transaction<'_>,
    row: &LatestRow,
    epoch: i64,
    seq: u64,
    not_stored: Option<NotStored>,
) -> rusqlite::Result<()> {
    if not_stored.is_none() && !row.version.is_stored() {
        transaction.execute("UPDATE version SET not_stored = NULL WHERE id = ?1", [row.id])?;
    }
    if row.epoch != epoch {
        let sql = "UPDATE version SET epoch = ?2, from_seq = ?3 WHERE id = ?1";
        transaction.execute(sql, params![row.id, epoch, seq.cast_signed()])?;
    }
    Ok(())
}

/// Moves the versions of one file to another one, whose versions are later. If the content is the same
/// where they meet, that is one version.
fn merge_files(transaction: &Transaction<'_>, former: i64, present: i64) -> rusqlite::Result<()> {
    let last = latest_row(transaction, former)?.filter(|row| row.version.is_current);
    let sql = "SELECT id, hash FROM version WHERE file = ?1 ORDER BY id LIMIT 1";
    let first = transaction
        .query_row(sql, [present], |row| Ok((row.get::<_, i64>(0)?, reader::digest(row, 1)?)))
        .optional()?;
    if let (Some(last), Some((first, hash))) = (last, first) {
        let is_same = last.version.hash == hash;
        let end =
            if is_same { "until_seq, until_ms, ended" } else { "from_seq, from_ms, 'changed'" };
        transaction.execute(
            &format!(
                "UPDATE version SET (until_seq, until_ms, ended) =
                     (SELECT {end} FROM version WHERE id = ?2)
                 WHERE id = ?1"
            ),
            [last.id, first],
        )?;
        if is_same {
            transaction.execute("DELETE FROM version WHERE id = ?1", [first])?;
        }
    }
    transaction.execute("UPDATE version SET file = ?2 WHERE file = ?1", [former, present])?;
    transaction.execute("DELETE FROM file WHERE id = ?1", [former])?;
    Ok(())
}

fn insert_file(
    transaction: &Transaction<'_>,
    file: &VersionedFile,
    key: &str,
) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached("INSERT INTO file (root_id, feature, path, key) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![file.root_id, file.feature.as_str(), file.path.as_bytes(), key])?;
    Ok(transaction.last_insert_rowid())
}

/// Why a content is not stored, and its changed lines.
type StoredContent = (Option<NotStored>, Option<(u32, u32)>);

/// Stores a content unless it is stored already. Returns why it is not, and its changed lines.
fn store_content(
    transaction: &Transaction<'_>,
    hash: &Digest,
    size: u64,
    content: VersionContent,
) -> rusqlite::Result<StoredContent> {
    let is_stored =
        transaction.prepare_cached(reader::HAS_CONTENT)?.exists([&hash.as_bytes()[..]])?;
    match content {
        // What must not be stored is not stored, even if another file has the same content.
        VersionContent::NotStored(reason) if !is_stored || !counts_as_lost(reason) => {
            Ok((Some(reason), None))
        }
        VersionContent::NotStored(_) => Ok((None, None)),
        VersionContent::Frame { frame, lines } => {
            if !is_stored {
                transaction
                    .prepare_cached("INSERT INTO content (hash, size, frame) VALUES (?1, ?2, ?3)")?
                    .execute(params![&hash.as_bytes()[..], size.cast_signed(), frame])?;
            }
            Ok((None, lines))
        }
    }
}

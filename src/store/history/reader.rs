//! Reads versions and contents, from any thread. Never writes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};

use super::frame::decompress;
use super::model::{FILE_NAME, HistoryCounts, NotStored, VersionedFile};
use super::schema;
use crate::core::digest::Digest;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::time::Timestamp;
use crate::store::error::{StoreError, read_error};
use crate::store::open::BUSY_TIMEOUT;

/// Size of the page cache in KiB.
const CACHE_KIB: i32 = 256;

/// Selects a row if a content is stored.
pub(super) const HAS_CONTENT: &str = "SELECT 1 FROM content WHERE hash = ?1";

/// Opens the content store for each read, so that no reader holds a file that was replaced.
#[derive(Debug, Clone)]
pub struct ContentReader {
    path: PathBuf,
}

/// A version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVersion {
    /// Path of the file below the feature's directory.
    pub path: RelPath,
    /// Key of the artifact.
    pub key: Box<str>,
    /// Hash of the content.
    pub hash: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Permissions; 0 if they are not known.
    pub mode: u32,
    /// True if the numbers of events are those of the current store of events.
    pub is_of_instance: bool,
    /// Number of the event by which it became current.
    pub from_seq: u64,
    /// Time of that event.
    pub from_at: Timestamp,
    /// True if the file did not exist just before.
    pub is_first: bool,
    /// What ended it; `None` while it is current.
    pub end: Option<VersionEnd>,
    /// Lines added and removed since the version before; `None` if they are not known.
    pub lines: Option<(u32, u32)>,
    /// Why its content is not stored; `None` if it is.
    pub not_stored: Option<NotStored>,
}

/// The end of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionEnd {
    /// Number of the event.
    pub seq: u64,
    /// Time of the event.
    pub at: Timestamp,
    /// True if the file was deleted.
    pub is_deleted: bool,
    /// True if what followed is known: another version, or a deletion.
    pub is_known: bool,
}

impl ContentReader {
    /// Creates a reader of the content store in a state directory.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self::at(state.join(FILE_NAME))
    }

    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the versions of the files of a feature, of one file if `path` is given: by path, the
    /// oldest first.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn versions(
        &self,
        root_id: &str,
        feature: &FeatureSlug,
        path: Option<&RelPath>,
    ) -> Result<Vec<StoredVersion>, StoreError> {
        let versions = self.read("read the versions", |connection| {
            let mut statement = connection.prepare(
                "SELECT path, key, hash, size, mode, epoch = (SELECT epoch FROM history), from_seq,
                        from_ms, is_first, until_seq, until_ms, ended, added, removed, not_stored
                 FROM file JOIN version ON version.file = file.id
                 WHERE root_id = ?1 AND feature = ?2 AND (?3 IS NULL OR path = ?3)
                 ORDER BY path, version.id",
            )?;
            let path = path.map(RelPath::as_bytes);
            let rows = statement.query_map(params![root_id, feature.as_str(), path], version)?;
            rows.collect()
        })?;
        Ok(versions.unwrap_or_default())
    }

    /// Returns a content; `None` if it is not stored.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn content(&self, hash: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.read("read a version", |connection| content(connection, hash))?;
        Ok(found.flatten())
    }

    /// Returns true if a content is stored.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn has_content(&self, hash: &Digest) -> Result<bool, StoreError> {
        let found = self.read("read a version", |connection| {
            connection.prepare(HAS_CONTENT)?.exists([&hash.as_bytes()[..]])
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Returns the features of a root that have versions.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn features(&self, root_id: &str) -> Result<Vec<FeatureSlug>, StoreError> {
        let features = self.read("read the versions", |connection| {
            let sql = "SELECT DISTINCT feature FROM file WHERE root_id = ?1 ORDER BY feature";
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([root_id], |row| slug(row, 0))?;
            rows.collect()
        })?;
        Ok(features.unwrap_or_default())
    }

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
                Ok((path(row, 0)?, digest(row, 1)?))
            })?;
            rows.collect()
        })?;
        Ok(restored.unwrap_or_default())
    }

    /// Returns the numbers of the store; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn counts(&self) -> Result<Option<HistoryCounts>, StoreError> {
        self.read("count the versions", counts)
    }

    /// Runs a query; returns `None` if there is no store.
    fn read<T>(
        &self,
        action: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        if !self.path.exists() {
            return Ok(None);
        }
        let run = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            // The writer has created the file and not its tables yet.
            let format: u32 =
                connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if format == 0 { Ok(None) } else { read(&connection).map(Some) }
        };
        run().map_err(read_error(action, &self.path))
    }
}

/// Returns the number of a file; `None` if it has no versions.
pub(super) fn file_id(
    connection: &Connection,
    file: &VersionedFile,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM file WHERE root_id = ?1 AND feature = ?2 AND path = ?3")?
        .query_row(params![file.root_id, file.feature.as_str(), file.path.as_bytes()], |row| {
            row.get(0)
        })
        .optional()
}

/// Returns a content whose bytes have this hash.
pub(super) fn content(connection: &Connection, hash: &Digest) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement =
        connection.prepare_cached("SELECT size, frame FROM content WHERE hash = ?1")?;
    let found = statement.query_row([&hash.as_bytes()[..]], |row| {
        let size = row.get::<_, i64>(0)?.cast_unsigned();
        let frame = row.get_ref(1)?.as_blob().map_err(|error| invalid(1, Type::Blob, error))?;
        decompress(frame, size).map_err(|error| invalid(1, Type::Blob, error))
    });
    let found = found.optional()?;
    match found {
        Some(bytes) if Digest::of(&bytes) != *hash => {
            Err(invalid(1, Type::Blob, std::io::Error::from(std::io::ErrorKind::InvalidData)))
        }
        found => Ok(found),
    }
}

pub(super) fn counts(connection: &Connection) -> rusqlite::Result<HistoryCounts> {
    let number = |row: &Row<'_>, index| row.get::<_, i64>(index).map(i64::cast_unsigned);
    let time = |row: &Row<'_>, index| {
        let millis = row.get::<_, Option<i64>>(index)?;
        Ok::<_, rusqlite::Error>(millis.and_then(Timestamp::from_millis))
    };
    let used_bytes = used_bytes(connection)?;
    connection.query_row(
        "SELECT (SELECT count(*) FROM version WHERE not_stored IS NULL),
                (SELECT count(*) FROM content), (SELECT coalesce(sum(size), 0) FROM content),
                stored_seq, not_stored, evicted, evicted_named, evicted_ms,
                (SELECT min(from_ms) FROM version WHERE not_stored IS NULL)
         FROM history",
        [],
        |row| {
            Ok(HistoryCounts {
                versions: number(row, 0)?,
                contents: number(row, 1)?,
                content_bytes: number(row, 2)?,
                used_bytes,
                stored_seq: number(row, 3)?,
                not_stored: number(row, 4)?,
                evicted: number(row, 5)?,
                evicted_named: number(row, 6)?,
                evicted_at: time(row, 7)?,
                oldest_at: time(row, 8)?,
            })
        },
    )
}

/// Returns the size of the used part of the file.
pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map(i64::cast_unsigned)
    };
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(pages * pragma("page_size")?)
}

fn version(row: &Row<'_>) -> rusqlite::Result<StoredVersion> {
    let time = |index, millis| {
        Timestamp::from_millis(millis)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(index, millis))
    };
    let ended = row.get::<_, Option<String>>(11)?;
    let end = match row.get::<_, Option<i64>>(10)? {
        Some(until) => Some(VersionEnd {
            seq: row.get::<_, Option<i64>>(9)?.unwrap_or_default().cast_unsigned(),
            at: time(10, until)?,
            is_deleted: ended.as_deref() == Some("deleted"),
            is_known: ended.as_deref() != Some("lost"),
        }),
        None => None,
    };
    let lines = row.get::<_, Option<u32>>(12)?.zip(row.get::<_, Option<u32>>(13)?);
    Ok(StoredVersion {
        path: path(row, 0)?,
        key: row.get::<_, String>(1)?.into(),
        hash: digest(row, 2)?,
        size: row.get::<_, i64>(3)?.cast_unsigned(),
        mode: row.get(4)?,
        is_of_instance: row.get(5)?,
        from_seq: row.get::<_, i64>(6)?.cast_unsigned(),
        from_at: time(7, row.get(7)?)?,
        is_first: row.get(8)?,
        end,
        lines,
        not_stored: row.get::<_, Option<String>>(14)?.map(|text| NotStored::parse(&text)),
    })
}

pub(super) fn digest(row: &Row<'_>, index: usize) -> rusqlite::Result<Digest> {
    Ok(Digest::from_bytes(row.get(index)?))
}

pub(super) fn slug(row: &Row<'_>, index: usize) -> rusqlite::Result<FeatureSlug> {
    let text: String = row.get(index)?;
    let error = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    FeatureSlug::new(text.as_bytes()).ok_or_else(|| invalid(index, Type::Text, error()))
}

pub(super) fn path(row: &Row<'_>, index: usize) -> rusqlite::Result<RelPath> {
    let bytes: Vec<u8> = row.get(index)?;
    RelPath::new(bytes).map_err(|error| invalid(index, Type::Blob, error))
}

fn invalid(
    index: usize,
    kind: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, kind, error.into())
}

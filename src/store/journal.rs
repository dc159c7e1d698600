//! Reading the journal, page by page, from any thread.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};

use super::error::{StoreError, read_error};
use crate::store::open::BUSY_TIMEOUT;

/// Events that one page looks at, at most: a transaction that reads for long keeps the log from
/// being reused.
const MAX_SCANNED_EVENTS: u64 = 10_000;

/// SQLite's page cache of a reader, in KiB.
const READER_CACHE_KIB: i32 = 256;

/// Which events are wanted; an empty list wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Event types.
    pub types: Vec<String>,
    /// Slugs of features.
    pub features: Vec<String>,
    /// One project only.
    pub root_id: Option<String>,
    /// Nothing after that number.
    pub max_seq: Option<u64>,
}

/// A part of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The wanted events, in order.
    pub events: Vec<StoredEvent>,
    /// The last number that was looked at: go on after it. When it is the number that was given,
    /// there is nothing more; a page without events is not the end by itself.
    pub last_scanned: u64,
    /// Whether retention dropped events after the number that was given: they are passed over.
    pub has_gap: bool,
}

/// An event as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number.
    pub seq: u64,
    /// Its type.
    pub event_type: String,
    /// The envelope, as it is sent.
    pub envelope_json: String,
}

/// Where the journal is; gives readers of it.
#[derive(Debug, Clone)]
pub struct Journal(pub(super) Arc<Path>);

impl Journal {
    /// A reader of its own, for any thread.
    #[must_use]
    pub fn reader(&self) -> JournalReader {
        JournalReader { path: Arc::clone(&self.0), connection: None }
    }
}

/// A reader of the journal. Its connection is opened when it first reads, and anew after an error
/// or when another store has taken the place.
pub struct JournalReader {
    path: Arc<Path>,
    /// With the inode of the file that it is to.
    connection: Option<(u64, Connection)>,
}

impl JournalReader {
    /// At most `limit` wanted events after a number.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn page(
        &mut self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<EventPage, StoreError> {
        self.read("read the journal", |connection| page(connection, after, limit, filter))
    }

    /// Number of the oldest event that is kept; where there is none, of the one that comes next.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn oldest_seq(&mut self) -> Result<u64, StoreError> {
        self.read("read the journal's begin", |connection| {
            bounds(connection).map(|(oldest, _)| oldest)
        })
    }

    /// Numbers of the oldest event that is kept and of the last there is; where there is none, the
    /// last is one less.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn bounds(&mut self) -> Result<(u64, u64), StoreError> {
        self.read("read the journal's ends", |connection| bounds(connection))
    }

    pub(super) fn read<T>(
        &mut self,
        doing: &'static str,
        read: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let run = || {
            let inode = std::fs::metadata(&self.path).map_or(0, |found| found.ino());
            let (_, mut connection) = match self.connection.take() {
                Some(known) if known.0 == inode => known,
                _ => (inode, connect(&self.path)?),
            };
            let value = read(&mut connection)?;
            self.connection = Some((inode, connection));
            Ok(value)
        };
        run().map_err(read_error(doing, &self.path))
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Plans do not depend on the values that are bound: a statement is prepared once.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(connection)
}

/// Numbers of the oldest event and of the last, which is one less when there is none.
fn bounds(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let sql = "SELECT (SELECT min(seq) FROM event), seq FROM store";
    connection.prepare_cached(sql)?.query_row([], |row| {
        let last = row.get::<_, i64>(1)?.cast_unsigned();
        let oldest = row.get::<_, Option<i64>>(0)?.map(i64::cast_unsigned);
        Ok((oldest.unwrap_or(last + 1), last))
    })
}

fn page(
    connection: &mut Connection,
    after: u64,
    limit: usize,
    filter: &EventFilter,
) -> rusqlite::Result<EventPage> {
    // One state of the journal for both questions.
    let transaction = connection.transaction()?;
    let (oldest, last) = bounds(&transaction)?;
    let from = after.max(oldest.saturating_sub(1));
    let gap = after < from;
    let until =
        last.min(from.saturating_add(MAX_SCANNED_EVENTS)).min(filter.max_seq.unwrap_or(u64::MAX));
    if until <= from || limit == 0 {
        let last_scanned = if limit == 0 { after } else { after.max(from.min(until)) };
        return Ok(EventPage { events: Vec::new(), last_scanned, has_gap: gap });
    }
    let mut statement = transaction.prepare_cached(
        "SELECT seq, type, envelope FROM event
         WHERE seq > ?1 AND seq <= ?2
           AND (?3 IS NULL OR type IN (SELECT value FROM json_each(?3)))
           AND (?4 IS NULL OR feature IN (SELECT value FROM json_each(?4)))
           AND (?5 IS NULL OR root_id = ?5)
         ORDER BY seq LIMIT ?6",
    )?;
    let events: Vec<StoredEvent> = statement
        .query_map(
            params![
                from.cast_signed(),
                until.cast_signed(),
                json_list(&filter.types)?,
                json_list(&filter.features)?,
                filter.root_id,
                i64::try_from(limit).unwrap_or(i64::MAX),
            ],
            |row| {
                Ok(StoredEvent {
                    seq: row.get::<_, i64>(0)?.cast_unsigned(),
                    event_type: row.get(1)?,
                    envelope_json: row.get(2)?,
                })
            },
        )?
        .collect::<Result<_, _>>()?;
    let last_scanned = match events.last() {
        Some(event) if events.len() == limit => event.seq,
        _ => until,
    };
    Ok(EventPage { events, last_scanned, has_gap: gap })
}

/// A list as JSON, `None` for an empty one.
fn json_list(words: &[String]) -> rusqlite::Result<Option<String>> {
    let text = (!words.is_empty()).then(|| serde_json::to_string(words)).transpose();
    text.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

//! Reads the journal in pages, from any thread. Never writes.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};

use super::error::{StoreError, read_error};
use crate::core::path::FeatureSlug;
use crate::core::sync::lock;
use crate::store::open::BUSY_TIMEOUT;

/// Maximum number of events that one page examines, whether they match or not. A long read
/// transaction prevents the WAL from being reused, so that it grows.
const MAX_SCANNED_EVENTS: u64 = 10_000;

/// Size of a reader's page cache in KiB.
const READER_CACHE_KIB: i32 = 256;

/// Selects events. An empty list matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Event types.
    pub types: Vec<String>,
    /// Slugs of features.
    pub features: Vec<String>,
    /// Identity of the root of the only project that matches.
    pub root_id: Option<String>,
    /// Number of the last event that may match.
    pub max_seq: Option<u64>,
}

impl EventFilter {
    /// Returns true if an event passes, as in a query of the journal.
    #[must_use]
    pub fn matches(&self, event: &CommittedEvent) -> bool {
        let CommittedEvent { stored, root_id, feature } = event;
        let selects = |list: &[String], value: &str| {
            list.is_empty() || list.iter().any(|selected| selected == value)
        };
        selects(&self.types, &stored.event_type)
            && selects(&self.features, feature.as_str())
            && self.root_id.as_ref().is_none_or(|selected| selected == root_id)
            && self.max_seq.is_none_or(|max| stored.seq <= max)
    }
}

/// A part of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// Matching events, in order.
    pub events: Vec<StoredEvent>,
    /// Number of the last event examined, after which the next page begins. If it equals the number
    /// after which this page begins, there are no more events; a page without events need not be the
    /// last.
    pub last_scanned: u64,
    /// True if retention deleted events after the number with which the page begins. They are
    /// skipped.
    pub has_gap: bool,
}

/// How much of the journal one read returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// Maximum number of events.
    pub events: usize,
    /// Maximum size of their envelopes in bytes. The first event may be larger.
    pub bytes: u64,
    /// Maximum size in bytes of an envelope that is read with its event; larger ones are read in parts.
    pub whole_event: u64,
}

impl PageLimits {
    fn without_bytes(events: usize) -> Self {
        Self { events, bytes: u64::MAX, whole_event: u64::MAX }
    }
}

/// A part of the journal in which large events have no envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundedPage {
    /// Matching events, in order.
    pub events: Vec<EventRow>,
    /// As in [`EventPage`].
    pub last_scanned: u64,
    /// As in [`EventPage`].
    pub has_gap: bool,
}

/// An event of a [`BoundedPage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventRow {
    /// An event with its envelope.
    Whole(StoredEvent),
    /// An event whose envelope is read by [`JournalReader::envelope_part`].
    Large(LargeEvent),
}

/// An event without its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeEvent {
    /// Number of the event.
    pub seq: u64,
    /// Type of the event.
    pub event_type: String,
    /// Size of the envelope in bytes.
    pub bytes: u64,
}

impl From<EventPage> for BoundedPage {
    fn from(page: EventPage) -> Self {
        let events = page.events.into_iter().map(EventRow::Whole).collect();
        Self { events, last_scanned: page.last_scanned, has_gap: page.has_gap }
    }
}

impl EventRow {
    /// Returns the number of the event.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Whole(event) => event.seq,
            Self::Large(event) => event.seq,
        }
    }
}

/// Numbers of the oldest and the last event in the journal. If it is empty, `oldest` is that of the
/// next event, which is `last + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalBounds {
    /// Number of the oldest event.
    pub oldest: u64,
    /// Number of the last event.
    pub last: u64,
}

/// An event in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Number of the event.
    pub seq: u64,
    /// Type of the event.
    pub event_type: String,
    /// The envelope as it is sent.
    pub envelope_json: String,
}

/// An event that was committed, and what filters ask of it.
#[derive(Debug, Clone)]
pub struct CommittedEvent {
    /// The event, as the journal has it.
    pub stored: StoredEvent,
    /// Identity of the root of its project.
    pub root_id: String,
    /// Its feature.
    pub feature: FeatureSlug,
}

/// A handle that creates readers of the journal.
#[derive(Clone)]
pub struct Journal {
    path: Arc<Path>,
    readers: Arc<Readers>,
}

/// The connections of all readers. They are closed before the writer's, because only the last connection
/// that is closed moves the WAL into the file and removes it.
#[derive(Default)]
pub(super) struct Readers(Mutex<OpenReaders>);

#[derive(Default)]
struct OpenReaders {
    is_closed: bool,
    connections: Vec<Weak<Mutex<Option<ReaderConnection>>>>,
}

impl Readers {
    /// Waits for reads that are running, closes all connections, and has later reads fail.
    pub(super) fn close(&self) {
        let connections = {
            let mut readers = lock(&self.0);
            readers.is_closed = true;
            std::mem::take(&mut readers.connections)
        };
        for connection in connections.iter().filter_map(Weak::upgrade) {
            lock(&connection).take();
        }
    }

    fn is_closed(&self) -> bool {
        lock(&self.0).is_closed
    }

    fn add(&self) -> Arc<Mutex<Option<ReaderConnection>>> {
        let connection = Arc::default();
        let connections = &mut lock(&self.0).connections;
        connections.retain(|known| known.strong_count() > 0);
        connections.push(Arc::downgrade(&connection));
        connection
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Journal {
    pub(super) fn new(path: Arc<Path>, readers: Arc<Readers>) -> Self {
        Self { path, readers }
    }

    /// Creates a reader, for use on one thread at a time.
    #[must_use]
    pub fn reader(&self) -> JournalReader {
        JournalReader {
            path: Arc::clone(&self.path),
            readers: Arc::clone(&self.readers),
            connection: self.readers.add(),
        }
    }
}

/// A reader of the journal. It connects at the first read, and again after an error or if the file
/// was replaced. After the store was closed it fails.
pub struct JournalReader {
    path: Arc<Path>,
    readers: Arc<Readers>,
    connection: Arc<Mutex<Option<ReaderConnection>>>,
}

struct ReaderConnection {
    /// Inode of the file, by which a replaced file is noticed.
    inode: u64,
    connection: Connection,
}

impl JournalReader {
    /// Returns at most `limit` matching events after the number `after`.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn page(
        &mut self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<EventPage, StoreError> {
        let limits = PageLimits::without_bytes(limit);
        let page = self.bounded_page(after, limits, filter)?;
        let events = page.events.into_iter().filter_map(|row| match row {
            EventRow::Whole(event) => Some(event),
            EventRow::Large(_) => None,
        });
        let events = events.collect();
        Ok(EventPage { events, last_scanned: page.last_scanned, has_gap: page.has_gap })
    }

    /// Returns matching events after the number `after`, as many as the limits allow.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn bounded_page(
        &mut self,
        after: u64,
        limits: PageLimits,
        filter: &EventFilter,
    ) -> Result<BoundedPage, StoreError> {
        self.read("read the journal", |connection| page(connection, after, limits, filter))
    }

    /// Returns the bytes of an envelope from `offset` on, at most `max_bytes`; `None` if the event is
    /// not in the journal any more.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn envelope_part(
        &mut self,
        seq: u64,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.read("read an event", |connection| {
            // The event that was found is the one that is opened.
            let transaction = connection.transaction()?;
            let seq = seq.cast_signed();
            let found =
                transaction.prepare_cached("SELECT 1 FROM event WHERE seq = ?1")?.exists([seq])?;
            if !found {
                return Ok(None);
            }
            let envelope = transaction.blob_open("main", "event", "envelope", seq, true)?;
            let mut part = vec![0; max_bytes];
            let length =
                envelope.read_at(&mut part, usize::try_from(offset).unwrap_or(usize::MAX))?;
            part.truncate(length);
            Ok(Some(part))
        })
    }

    /// Returns the number of the oldest event; in an empty journal, that of the next event.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn oldest_seq(&mut self) -> Result<u64, StoreError> {
        self.bounds().map(|bounds| bounds.oldest)
    }

    /// Returns the numbers of the oldest and the last event.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn bounds(&mut self) -> Result<JournalBounds, StoreError> {
        self.read("read the bounds of the journal", |connection| bounds(connection))
    }

    /// Runs a query. The connection is closed after an error.
    pub(super) fn read<T>(
        &mut self,
        action: &'static str,
        read: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut open = lock(&self.connection);
        if self.readers.is_closed() {
            return Err(StoreError::Closed { path: self.path.to_path_buf() });
        }
        let run = || {
            let inode = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.ino());
            let mut connection = match open.take() {
                Some(open) if open.inode == inode => open.connection,
                _ => connect(&self.path)?,
            };
            let value = read(&mut connection)?;
            *open = Some(ReaderConnection { inode, connection });
            Ok(value)
        };
        run().map_err(read_error(action, &self.path))
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // With a stable plan, a prepared statement is not prepared again for other bound values.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(connection)
}

fn bounds(connection: &Connection) -> rusqlite::Result<JournalBounds> {
    let sql = "SELECT (SELECT min(seq) FROM event), seq FROM store";
    connection.prepare_cached(sql)?.query_row([], |row| {
        let last = row.get::<_, i64>(1)?.cast_unsigned();
        let oldest = row.get::<_, Option<i64>>(0)?.map(i64::cast_unsigned);
        Ok(JournalBounds { oldest: oldest.unwrap_or(last + 1), last })
    })
}

fn page(
    connection: &mut Connection,
    after: u64,
    limits: PageLimits,
    filter: &EventFilter,
) -> rusqlite::Result<BoundedPage> {
    // Both queries see the same state of the journal.
    let transaction = connection.transaction()?;
    let JournalBounds { oldest, last } = bounds(&transaction)?;
    let from = after.max(oldest.saturating_sub(1));
    let has_gap = after < from;
    let until =
        last.min(from.saturating_add(MAX_SCANNED_EVENTS)).min(filter.max_seq.unwrap_or(u64::MAX));
    if until <= from || limits.events == 0 {
        let last_scanned = if limits.events == 0 { after } else { after.max(from.min(until)) };
        return Ok(BoundedPage { events: Vec::new(), last_scanned, has_gap });
    }
    // SQLite reads `octet_length` from the header of the row, and a large text only if it is asked for.
    let mut statement = transaction.prepare_cached(
        "SELECT seq, type, octet_length(envelope),
                CASE WHEN octet_length(envelope) <= ?7 THEN envelope END
         FROM event
         WHERE seq > ?1 AND seq <= ?2
           AND (?3 IS NULL OR type IN (SELECT value FROM json_each(?3)))
           AND (?4 IS NULL OR feature IN (SELECT value FROM json_each(?4)))
           AND (?5 IS NULL OR root_id = ?5)
         ORDER BY seq LIMIT ?6",
    )?;
    let mut rows = statement.query(params![
        from.cast_signed(),
        until.cast_signed(),
        json_list(&filter.types)?,
        json_list(&filter.features)?,
        filter.root_id,
        i64::try_from(limits.events).unwrap_or(i64::MAX),
        i64::try_from(limits.whole_event).unwrap_or(i64::MAX),
    ])?;
    let (mut events, mut total, mut is_full) = (Vec::new(), 0_u64, false);
    while let Some(row) = rows.next()? {
        let bytes = row.get::<_, i64>(2)?.cast_unsigned();
        total = total.saturating_add(bytes);
        if total > limits.bytes && !events.is_empty() {
            is_full = true;
            break;
        }
        let (seq, event_type) = (row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?);
        events.push(match row.get(3)? {
            Some(envelope_json) => EventRow::Whole(StoredEvent { seq, event_type, envelope_json }),
            None => EventRow::Large(LargeEvent { seq, event_type, bytes }),
        });
    }
    is_full |= events.len() == limits.events;
    let last_scanned = match events.last() {
        Some(event) if is_full => event.seq(),
        _ => until,
    };
    Ok(BoundedPage { events, last_scanned, has_gap })
}

/// Returns a list as JSON; `None` if it is empty.
fn json_list(values: &[String]) -> rusqlite::Result<Option<String>> {
    let text = (!values.is_empty()).then(|| serde_json::to_string(values)).transpose();
    text.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

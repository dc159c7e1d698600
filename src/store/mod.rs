//! The store: one SQLite file with what was seen, what was announced, and the journal of events.
//!
//! # Constraints
//! - Rows and the events they owe are one transaction: an event is the difference between two
//!   committed states, so a kill at any point loses no change and repeats no event.
//! - `seq` starts at 1 and has no hole, over restarts too. Event ids are unique and increase, also
//!   when the clock is set back.
//! - `kill -9` loses nothing that was committed. A power cut may lose what came after
//!   [`Store::durable_seq`], and nothing before; then [`Store::instance`] is another one.
//! - One writer. Readers have connections of their own and never wait for it, nor it for them.
//! - Memory does not grow with the journal.
//!
//! # Format
//! SQLite in write-ahead mode; `application_id` says whose it is and `user_version` which format
//! (`schema`). Words and times in rows are the data model's own; paths are raw bytes.
//! The journal keeps each envelope as the JSON that is sent.
//!
//! # Operations
//! A commit writes the log without a sync. [`Store::barrier`] is a commit with one: it syncs the
//! log, and so all that was committed before. The log is moved into the file by a
//! [`Checkpointer`], elsewhere, so that no commit pays for it.
//!
//! What is written is decided by who calls: here are no rules about artifacts.

mod backup;
mod checkpoint;
mod commit;
mod delivery;
mod error;
mod event_id;
mod integrity;
mod journal;
mod load;
mod open;
mod retention;
mod rows;
mod schema;
#[cfg(test)]
mod tests;

pub use checkpoint::Checkpointer;
pub use commit::{EventOrigin, FeatureChange};
pub use delivery::{
    CursorUpdate, DeadLetter, DeadLetterSelector, EventHeader, RejectedEvent, SinkProgress,
};
pub use error::StoreError;
pub use integrity::{StoreSummary, check_integrity};
pub use journal::{EventFilter, EventPage, Journal, JournalBounds, JournalReader, StoredEvent};
pub use load::StoredFeature;
pub use open::FILE_NAME;
pub use retention::{PruneResult, PrunedTombstone};

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::core::time::Timestamp;
use error::{StorageFault, read_error, write_error};
use event_id::EventIdGenerator;

/// The store, as its one writer has it.
pub struct Store {
    connection: Connection,
    path: Arc<Path>,
    instance: String,
    seq: u64,
    durable_seq: u64,
    /// As of the last commit with an event in this life; 0 before.
    journal_bytes: u64,
    ids: EventIdGenerator,
    integrity: Integrity,
}

/// Whether what is in memory, in the kernel and on disk is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Integrity {
    /// It is.
    Trusted,
    /// The disk failed us, and it may differ: what the file says when opened anew is so.
    NeedsReopen,
    /// The file is not what was written.
    Corrupt,
}

/// A store that was opened.
pub struct OpenedStore {
    /// The store.
    pub store: Store,
    /// Whether numbers given out before, if any, may be given out again for other events.
    pub is_new_instance: bool,
    /// Where a file that was corrupt is now.
    pub quarantined: Option<PathBuf>,
}

impl Store {
    /// Opens the store in a private directory, making both where they are not. `boot_id` tells one
    /// run of the machine from the next (`/proc/sys/kernel/random/boot_id`).
    ///
    /// # Errors
    /// [`StoreError::Newer`], with the file untouched; [`StoreError::Corrupt`];
    /// [`StoreError::Open`].
    pub fn open(folder: &Path, boot_id: &str) -> Result<OpenedStore, StoreError> {
        let path: Arc<Path> = folder.join(FILE_NAME).into();
        let inode = open::create_private_file(folder, &path)
            .map_err(|error| StoreError::open(&path, error))?;
        schema::check_file_header(&path)?;
        let mut connection =
            open::connect(&path).map_err(|error| StoreError::sql_open(&path, error))?;
        let opened = schema::migrate(&mut connection, &path).and_then(|()| {
            open::begin_session(&mut connection, boot_id.trim(), inode)
                .map_err(|error| StoreError::sql_open(&path, error))
        })?;
        // What a failed sync left in the log is written anew with this, and only then trusted.
        checkpoint::checkpoint(&connection)
            .and_then(|_| connection.pragma_update(None, "synchronous", "NORMAL"))
            .map_err(|error| StoreError::sql_open(&path, error))?;
        let store = Self {
            connection,
            path,
            instance: opened.instance,
            seq: opened.seq,
            // The claim was a commit with a sync.
            durable_seq: opened.seq,
            journal_bytes: 0,
            ids: EventIdGenerator::starting_after(opened.last_event_ms),
            integrity: Integrity::Trusted,
        };
        Ok(OpenedStore { store, is_new_instance: opened.is_new_instance, quarantined: None })
    }

    /// As [`Store::open`]; a file that is corrupt is set aside, under a name with the time, and a
    /// new one begun.
    ///
    /// # Errors
    /// Those of [`Store::open`], and [`StoreError::Open`] when it cannot be set aside.
    pub fn open_or_recreate(
        folder: &Path,
        boot_id: &str,
        at: Timestamp,
    ) -> Result<OpenedStore, StoreError> {
        match Self::open(folder, boot_id) {
            Err(error) if error.is_corrupt() => {
                let aside = open::quarantine(folder, at)?;
                Ok(OpenedStore { quarantined: Some(aside), ..Self::open(folder, boot_id)? })
            }
            opened => opened,
        }
    }

    /// A store that cannot be opened yet: it refuses everything until [`Store::reopen`] could open
    /// it.
    ///
    /// # Errors
    /// [`StoreError::Open`] when there is no memory for it.
    pub fn unavailable(folder: &Path) -> Result<Self, StoreError> {
        let path: Arc<Path> = folder.join(FILE_NAME).into();
        let connection =
            Connection::open_in_memory().map_err(|error| StoreError::sql_open(&path, error))?;
        Ok(Self {
            connection,
            path,
            instance: Uuid::new_v4().to_string(),
            seq: 0,
            durable_seq: 0,
            journal_bytes: 0,
            ids: EventIdGenerator::starting_after(0),
            integrity: Integrity::NeedsReopen,
        })
    }

    /// Opens the file anew, after the disk failed or the file was found corrupt; what it then says
    /// is so. Gives where a corrupt one is now.
    ///
    /// # Errors
    /// Those of [`Store::open_or_recreate`]; the store can then not be used, but for trying again.
    pub fn reopen(&mut self, boot_id: &str, at: Timestamp) -> Result<Option<PathBuf>, StoreError> {
        let folder = self.path.parent().unwrap_or(&self.path).to_owned();
        let corrupt = self.integrity == Integrity::Corrupt && self.path.exists();
        // Closed first: closing a log that was moved would remove the one that is there then.
        let closed =
            Self { instance: self.instance.clone(), seq: self.seq, ..Self::unavailable(&folder)? };
        drop(std::mem::replace(self, closed));
        let aside = if corrupt { Some(open::quarantine(&folder, at)?) } else { None };
        let opened = Self::open_or_recreate(&folder, boot_id, at)?;
        *self = opened.store;
        Ok(aside.or(opened.quarantined))
    }

    /// Whether the store can be written, as far as is known; if not, it must be opened anew.
    pub fn is_trusted(&self) -> bool {
        self.integrity == Integrity::Trusted
    }

    /// Takes what another connection met: that the disk failed, or that the file is not what was
    /// written. The store must be opened anew then.
    pub fn record_error(&mut self, error: &StoreError) {
        if error.is_corrupt() {
            self.integrity = Integrity::Corrupt;
        } else if error.is_disk_failure() && self.is_trusted() {
            self.integrity = Integrity::NeedsReopen;
        }
    }

    /// Identity of this sequence of numbers, a UUID: renewed when the store is new, was put back
    /// from a copy, or was not closed before the machine stopped.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Number of the last event, 0 without one.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Number of the last event that a power cut cannot take.
    pub fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Size of the events' texts after the last commit, in bytes; 0 before the first of this life.
    pub fn journal_bytes(&self) -> u64 {
        self.journal_bytes
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes all that is committed durable; gives [`Store::durable_seq`].
    ///
    /// # Errors
    /// [`StoreError::Write`]. A sync that failed is not tried again, for the next would succeed
    /// without having written anything: the store refuses from then on and must be opened anew.
    pub fn barrier(&mut self) -> Result<u64, StoreError> {
        self.check_trusted()?;
        if self.durable_seq < self.seq {
            let seq = self.seq;
            self.with_full_sync("make the journal durable", |connection| {
                connection
                    .prepare_cached("UPDATE store SET durable_seq = ?1")?
                    .execute([seq.cast_signed()])?;
                Ok(())
            })?;
            self.durable_seq = seq;
        }
        Ok(self.durable_seq)
    }

    /// The projects that were added, by their canonical roots.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`], [`StoreError::NeedsReopen`].
    pub fn projects(&self) -> Result<Vec<PathBuf>, StoreError> {
        self.check_trusted()?;
        let read = || {
            let mut statement =
                self.connection.prepare_cached("SELECT root FROM project ORDER BY root")?;
            let roots = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
            roots.map(|root| Ok(OsString::from_vec(root?).into())).collect::<Result<_, _>>()
        };
        read().map_err(read_error("read the list of projects", &self.path))
    }

    /// Adds a project, durably; one that is there stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn add_project(&mut self, root: &Path, at: Timestamp) -> Result<(), StoreError> {
        let root = root.as_os_str().as_bytes();
        self.with_full_sync("add a project", |connection| {
            connection.execute(
                "INSERT INTO project (root, added_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![root, at.as_millis()],
            )?;
            Ok(())
        })
    }

    /// Takes a project out, and what was known of its features; its events stay in the journal.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn remove_project(&mut self, root: &Path, root_id: &str) -> Result<(), StoreError> {
        let root = root.as_os_str().as_bytes();
        self.with_full_sync("remove a project", |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM project WHERE root = ?1", [root])?;
            for table in ["artifact", "tombstone"] {
                let of_root = "feature IN (SELECT id FROM feature WHERE root_id = ?1)";
                transaction.execute(&format!("DELETE FROM {table} WHERE {of_root}"), [root_id])?;
            }
            transaction.execute("DELETE FROM feature WHERE root_id = ?1", [root_id])?;
            transaction.commit()
        })
    }

    /// Commits changes and gives the types of their events, the last of which has the number
    /// [`Store::seq`]: all of it or nothing. It survives the process at once, and a power cut after
    /// [`Store::barrier`].
    ///
    /// Of one feature, removals come before what is set, so a path may be in both.
    ///
    /// # Errors
    /// [`StoreError::Write`], and nothing is changed; [`StoreError::NeedsReopen`] when the store
    /// must be opened again first.
    pub fn commit(
        &mut self,
        changes: Vec<FeatureChange>,
        at: Timestamp,
    ) -> Result<Vec<&'static str>, StoreError> {
        self.check_trusted()?;
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let result = commit::commit(&mut self.connection, &mut self.ids, self.seq, changes, at);
        let committed = self.record_write_result("commit a change", result)?;
        self.seq += committed.types.len() as u64;
        self.journal_bytes = committed.journal_bytes.unwrap_or(self.journal_bytes);
        Ok(committed.types)
    }

    /// The features of a project, in order of slug.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`], [`StoreError::NeedsReopen`].
    pub fn load_features(&self, root_id: &str) -> Result<Vec<StoredFeature>, StoreError> {
        self.check_trusted()?;
        load::load_features(&self.connection, root_id)
            .map_err(read_error("read what was known", &self.path))
    }

    /// Drops events from the oldest on: those older than `max_age`, and while the envelopes that
    /// are left have more than `max_bytes`. A step at a time: call again until nothing was
    /// dropped. The file does not shrink, its room is used again.
    ///
    /// # Errors
    /// [`StoreError::Write`], and nothing is dropped.
    pub fn prune(
        &mut self,
        max_age: Duration,
        max_bytes: u64,
        now: Timestamp,
    ) -> Result<PruneResult, StoreError> {
        self.check_trusted()?;
        let age = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
        let oldest_ms = now.as_millis().saturating_sub(age);
        let result = retention::prune(&mut self.connection, oldest_ms, max_bytes);
        self.record_write_result("shorten the journal", result)
    }

    /// Where a sink of that name is; `None` where it has never been.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn sink_progress(&self, sink: &str) -> Result<Option<SinkProgress>, StoreError> {
        delivery::sink_progress(&self.connection, sink)
            .map_err(read_error("read how far a sink is", &self.path))
    }

    /// The same; one that has never been begins with the oldest event that is kept. What retention
    /// took before that is nothing that it lost.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`], [`StoreError::Write`].
    pub fn register_sink(&mut self, sink: &str) -> Result<SinkProgress, StoreError> {
        if let Some(known) = self.sink_progress(sink)? {
            return Ok(known);
        }
        self.check_trusted()?;
        let result = delivery::insert_sink(&mut self.connection, sink);
        self.record_write_result("note a new sink", result)?;
        Ok(self.sink_progress(sink)?.unwrap_or_default())
    }

    /// Notes how a sink has moved: all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn update_cursor(&mut self, sink: &str, update: &CursorUpdate) -> Result<(), StoreError> {
        self.check_trusted()?;
        let result = delivery::update_cursor(&mut self.connection, sink, update);
        self.record_write_result("note what was delivered", result)
    }

    /// Lets a sink try again what is set aside; gives how many events that are.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn retry_dead_letters(
        &mut self,
        sink: &str,
        selector: &DeadLetterSelector,
    ) -> Result<u64, StoreError> {
        self.check_trusted()?;
        let result = delivery::retry_dead_letters(&mut self.connection, sink, selector);
        self.record_write_result("let what is set aside be tried again", result)
    }

    /// Forgets what is set aside; gives how many events that were.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn delete_dead_letters(
        &mut self,
        sink: &str,
        selector: &DeadLetterSelector,
    ) -> Result<u64, StoreError> {
        self.check_trusted()?;
        let result = delivery::delete_dead_letters(&mut self.connection, sink, selector);
        self.record_write_result("drop what is set aside", result)
    }

    /// The journal, for readers on any thread.
    #[must_use]
    pub fn journal(&self) -> Journal {
        Journal(Arc::clone(&self.path))
    }

    /// What moves the log into the file, for a thread of its own.
    pub fn checkpointer(&self) -> Checkpointer {
        Checkpointer::new(Arc::clone(&self.path))
    }

    /// Closes the store, durably, with the mark that nothing was lost.
    ///
    /// # Errors
    /// [`StoreError::Write`]; the next start then takes it for a crash.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.check_trusted()?;
        self.with_full_sync("close the store", |connection| {
            connection.execute("UPDATE store SET clean = 1, durable_seq = seq", []).map(drop)
        })?;
        let path = self.path;
        self.connection.close().map_err(|(_, error)| write_error("close the store", &path)(error))
    }

    /// Runs `write` with a sync at its end.
    fn with_full_sync(
        &mut self,
        doing: &'static str,
        write: impl FnOnce(&mut Connection) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        self.check_trusted()?;
        let connection = &mut self.connection;
        let result =
            connection.pragma_update(None, "synchronous", "FULL").and_then(|()| write(connection));
        let back = connection.pragma_update(None, "synchronous", "NORMAL");
        self.record_write_result(doing, result.and(back))
    }

    fn check_trusted(&self) -> Result<(), StoreError> {
        if self.is_trusted() {
            return Ok(());
        }
        Err(StoreError::NeedsReopen { path: self.path.to_path_buf() })
    }

    /// Takes note of how a write ended. A disk that failed is one that may have kept a part.
    fn record_write_result<T>(
        &mut self,
        doing: &'static str,
        result: rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        result.map_err(|error| {
            match StorageFault::classify(&error) {
                StorageFault::DiskFailure => self.integrity = Integrity::NeedsReopen,
                StorageFault::CorruptFile => self.integrity = Integrity::Corrupt,
                StorageFault::Other => {}
            }
            write_error(doing, &self.path)(error)
        })
    }
}

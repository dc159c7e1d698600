//! The store: one SQLite file with the index, the state that was published, and the journal of
//! events. It has no rules about artifacts; callers decide what is written. The specification is
//! `docs/specification.md#store`.
//!
//! # Invariants
//! - Rows and the events about them are committed in one transaction: an event is the difference
//!   between two committed states, so a crash at any point loses no change and repeats no event.
//! - `seq` starts at 1 and has no gaps, also over restarts. Event ids are unique and increase, also
//!   if the clock is set back.
//! - `kill -9` loses nothing that was committed. A power failure can lose what was committed after
//!   [`Store::durable_seq`], and nothing before; then [`Store::instance`] changes.
//! - There is one writer. Readers have their own connections; neither waits for the other.
//! - Memory use does not grow with the journal.
//!
//! # Format
//! SQLite in write-ahead mode. `application_id` marks the file as a store and `user_version` is its
//! format, see `schema`. Enums and times are stored as the data model writes them, paths as bytes.
//! The journal stores each envelope as the JSON that is sent.
//!
//! # Durability
//! A commit writes to the write-ahead log (WAL) without a sync. [`Store::barrier`] is a commit with
//! a sync of the WAL, which makes everything committed before durable, too. A [`Checkpointer`] on
//! another thread moves the WAL into the file, so that commits do not pay for it.

mod backup;
mod checkpoint;
mod commit;
mod delivery;
mod error;
mod event_id;
pub mod history;
mod integrity;
mod journal;
mod journal_age;
mod last_seq;
mod load;
mod open;
mod retention;
mod rows;
mod schema;
#[cfg(test)]
mod tests;

pub use checkpoint::Checkpointer;
pub use commit::{Committed, EventOrigin, FeatureChange};
pub use delivery::{
    CursorUpdate, DeadLetter, DeadLetterSelector, EventHeader, RejectedEvent, SinkProgress,
};
pub use error::StoreError;
pub use integrity::{StoreSummary, check_integrity};
pub use journal::{
    BoundedPage, CommittedEvent, EventFilter, EventPage, EventRow, Journal, JournalBounds,
    JournalReader, LargeEvent, PageLimits, StoredEvent,
};
pub use load::LoadedFeature;
pub use open::{FILE_NAME, boot_id};
pub use retention::{PruneResult, PrunedTombstone};

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, params};
use rustix::time::ClockId;
use uuid::Uuid;

use crate::core::time::Timestamp;
use error::{StorageFault, read_error, write_error};
use event_id::EventIdGenerator;
use journal::Readers;
use journal_age::JournalAges;

/// The connection of the only writer of the store.
pub struct Store {
    connection: Connection,
    path: Arc<Path>,
    instance: String,
    seq: u64,
    durable_seq: u64,
    /// Size of all envelopes after the last commit with an event; 0 before the first of this run.
    journal_bytes: u64,
    ids: EventIdGenerator,
    ages: JournalAges,
    /// Of this store and, after it was reopened, of the former one.
    readers: Arc<Readers>,
    integrity: Integrity,
    /// Inode of the file.
    inode: u64,
    /// Size of the WAL at which it is moved by a commit.
    next_wal_bytes: u64,
    /// Held during a checkpoint: SQLite refuses a second one.
    checkpointing: Arc<Mutex<()>>,
}

/// The clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreTime {
    /// The wall clock, which can be set in either direction.
    pub wall: Timestamp,
    /// Time since the machine was started, also while it was suspended.
    pub uptime: Duration,
}

impl StoreTime {
    /// Reads the clocks.
    #[must_use]
    pub fn now() -> Self {
        Self::at(SystemTime::now().into())
    }

    /// Reads the clock that cannot be set; `wall` is the other one.
    #[must_use]
    pub fn at(wall: Timestamp) -> Self {
        let uptime = rustix::time::clock_gettime(ClockId::Boottime);
        Self { wall, uptime: uptime.try_into().unwrap_or_default() }
    }
}

/// Whether memory, the kernel's cache and the disk agree on the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Integrity {
    /// They agree.
    Trusted,
    /// They may differ after an I/O error. What is read after reopening is the content.
    NeedsReopen,
    /// The file is corrupt.
    Corrupt,
}

/// An opened store.
pub struct OpenedStore {
    /// The store.
    pub store: Store,
    /// True if event numbers may be assigned a second time, to other events than before.
    pub is_new_instance: bool,
    /// New path of a corrupt file that was replaced.
    pub quarantined: Option<PathBuf>,
}

/// What is at the path of a store's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePlace {
    /// The file that is open, as far as that matters.
    Own,
    /// Another file: it was replaced, or a mount hides it.
    Other,
    /// Nothing.
    Nothing,
}

impl Store {
    /// Opens the store in a private directory; creates what does not exist. `boot_id` identifies the
    /// run of the machine (`/proc/sys/kernel/random/boot_id`).
    ///
    /// # Errors
    /// [`StoreError::Newer`], with the file unchanged; [`StoreError::Corrupt`];
    /// [`StoreError::Open`].
    pub fn open(dir: &Path, boot_id: &str) -> Result<OpenedStore, StoreError> {
        let path: Arc<Path> = dir.join(FILE_NAME).into();
        let inode = open::create_private_file(dir, &path)
            .map_err(|error| StoreError::open(&path, error))?;
        schema::check_file_header(&path)?;
        let mut connection = open::connect(&path, open::PAGE_BYTES)
            .map_err(|error| StoreError::sql_open(&path, error))?;
        let opened = schema::migrate(&mut connection, &path).and_then(|()| {
            open::begin_session(&mut connection, &path, boot_id.trim(), inode)
                .map_err(|error| StoreError::sql_open(&path, error))
        })?;
        // Writes again what a failed sync may have left only in the kernel's cache.
        checkpoint::checkpoint(&connection)
            .and_then(|_| connection.pragma_update(None, "synchronous", "NORMAL"))
            .map_err(|error| StoreError::sql_open(&path, error))?;
        let store = Self {
            connection,
            path,
            instance: opened.instance,
            seq: opened.seq,
            // `begin_session` has committed with a sync.
            durable_seq: opened.seq,
            journal_bytes: 0,
            ids: EventIdGenerator::starting_after(opened.last_event_ms),
            ages: JournalAges::default(),
            readers: Arc::default(),
            integrity: Integrity::Trusted,
            inode,
            next_wal_bytes: checkpoint::MAX_WAL_BYTES,
            checkpointing: Arc::default(),
        };
        Ok(OpenedStore { store, is_new_instance: opened.is_new_instance, quarantined: None })
    }

    /// Opens the store like [`Store::open`]; quarantines a corrupt file under a name with the time,
    /// and creates a new one.
    ///
    /// # Errors
    /// Those of [`Store::open`], and [`StoreError::Open`] if a file cannot be quarantined.
    pub fn open_or_recreate(
        dir: &Path,
        boot_id: &str,
        at: Timestamp,
    ) -> Result<OpenedStore, StoreError> {
        match Self::open(dir, boot_id) {
            Err(error) if error.is_corrupt() => {
                let quarantined = Some(open::quarantine(dir, FILE_NAME, at)?);
                Ok(OpenedStore { quarantined, ..Self::open(dir, boot_id)? })
            }
            opened => opened,
        }
    }

    /// Creates the state of a store that cannot be opened yet. All operations fail until
    /// [`Store::reopen`] succeeds.
    ///
    /// # Errors
    /// [`StoreError::Open`] if there is not enough memory.
    pub fn unavailable(dir: &Path) -> Result<Self, StoreError> {
        let path: Arc<Path> = dir.join(FILE_NAME).into();
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
            ages: JournalAges::default(),
            readers: Arc::default(),
            integrity: Integrity::NeedsReopen,
            inode: 0,
            next_wal_bytes: checkpoint::MAX_WAL_BYTES,
            checkpointing: Arc::default(),
        })
    }

    /// Opens the file again after an I/O error, or after it was found corrupt; its content then
    /// replaces the state in memory. Returns the new path of a corrupt file.
    ///
    /// # Errors
    /// Those of [`Store::open_or_recreate`]; all operations but this one then fail.
    pub fn reopen(&mut self, boot_id: &str, at: Timestamp) -> Result<Option<PathBuf>, StoreError> {
        let dir = self.path.parent().unwrap_or(&self.path).to_owned();
        let is_corrupt = self.integrity == Integrity::Corrupt && self.path.exists();
        self.close_connection(&dir)?;
        let quarantined =
            if is_corrupt { Some(open::quarantine(&dir, FILE_NAME, at)?) } else { None };
        let opened = Self::open_or_recreate(&dir, boot_id, at)?;
        *self = Self { readers: Arc::clone(&self.readers), ..opened.store };
        Ok(quarantined.or(opened.quarantined))
    }

    /// Closes the connection; readers stay open.
    fn close_connection(&mut self, dir: &Path) -> Result<(), StoreError> {
        let closed = Self {
            instance: self.instance.clone(),
            seq: self.seq,
            readers: Arc::clone(&self.readers),
            ..Self::unavailable(dir)?
        };
        drop(std::mem::replace(self, closed));
        Ok(())
    }

    /// Writes the file again, with its content, after it was removed or its directory was. SQLite still
    /// has the removed one open. The new one is another instance, as one restored from a copy.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::Write`], [`StoreError::NeedsReopen`].
    pub fn restore_file(&mut self, boot_id: &str) -> Result<(), StoreError> {
        self.check_trusted()?;
        let (path, dir) = (Arc::clone(&self.path), self.path.parent().unwrap_or(&self.path));
        let dir = dir.to_owned();
        open::create_private_dir(&dir).map_err(|error| StoreError::open(&path, error))?;
        backup::write_copy(&self.connection, &path)?;
        // The removed file is the only other copy, so it is closed last. SQLite sees that its path has
        // another file now, and leaves that one's WAL alone.
        self.close_connection(&dir)?;
        let opened = Self::open(&dir, boot_id)?;
        *self = Self { readers: Arc::clone(&self.readers), ..opened.store };
        Ok(())
    }

    /// Returns what is at the path of the file that is open.
    pub fn file_place(&self) -> FilePlace {
        match self.path.symlink_metadata() {
            _ if !self.is_trusted() => FilePlace::Own,
            Ok(found) if found.ino() == self.inode => FilePlace::Own,
            Ok(_) => FilePlace::Other,
            Err(_) => FilePlace::Nothing,
        }
    }

    /// Returns true if no operation has failed in a way that requires to reopen the store.
    pub fn is_trusted(&self) -> bool {
        self.integrity == Integrity::Trusted
    }

    /// Records an error of another connection. After an I/O error, or if the file is corrupt, the
    /// store must be reopened.
    pub fn record_error(&mut self, error: &StoreError) {
        if error.is_corrupt() {
            self.integrity = Integrity::Corrupt;
        } else if error.is_disk_failure() && self.is_trusted() {
            self.integrity = Integrity::NeedsReopen;
        }
    }

    /// Returns the identity of this sequence of event numbers, a UUID. It changes when the store is
    /// new, was restored from a copy, or was not closed before the machine stopped.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Returns the number of the last event, 0 if there is none.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Returns the number of the last event that survives a power failure.
    pub fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Returns the size of all envelopes in bytes, after the last commit with an event; 0 before the
    /// first of this run.
    pub fn journal_bytes(&self) -> u64 {
        self.journal_bytes
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes everything committed durable. Returns [`Store::durable_seq`].
    ///
    /// # Errors
    /// [`StoreError::Write`]. A failed sync is not repeated: the kernel may report the next one as
    /// successful without having written the data (<https://lwn.net/Articles/752063/>). The store
    /// must be reopened.
    pub fn barrier(&mut self) -> Result<u64, StoreError> {
        self.check_trusted()?;
        if self.durable_seq < self.seq {
            let seq = self.seq;
            self.with_full_sync("sync the journal", |connection| {
                connection
                    .prepare_cached("UPDATE store SET durable_seq = ?1")?
                    .execute([seq.cast_signed()])?;
                Ok(())
            })?;
            self.durable_seq = seq;
        }
        Ok(self.durable_seq)
    }

    /// Returns the canonical roots of the projects that were added by command, in order.
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

    /// Adds a project durably; one that exists stays unchanged.
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

    /// Removes a project and the state of its features durably; its events stay in the journal.
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

    /// Commits changes and their events in one transaction. Returns the events, of which
    /// the last has the number [`Store::seq`]. The commit survives a crash of the process at once,
    /// and a power failure after [`Store::barrier`].
    ///
    /// Removals are applied before upserts, so a path may be in both.
    ///
    /// # Errors
    /// [`StoreError::Write`], and nothing is changed; [`StoreError::NeedsReopen`].
    pub fn commit(
        &mut self,
        changes: Vec<FeatureChange>,
        at: Timestamp,
    ) -> Result<Committed, StoreError> {
        self.check_trusted()?;
        if changes.is_empty() {
            return Ok(Committed::default());
        }
        let result = commit::commit(&mut self.connection, &mut self.ids, self.seq, changes, at);
        let committed = self.record_write_result("commit changes", result)?;
        self.seq += committed.types.len() as u64;
        self.journal_bytes = committed.journal_bytes.unwrap_or(self.journal_bytes);
        let bounded = checkpoint::bound_wal(
            &self.connection,
            &self.path,
            &mut self.next_wal_bytes,
            &self.checkpointing,
        );
        // The commit succeeded. After a failure of the disk the next one reopens the store.
        let _ = self.record_write_result("checkpoint the WAL", bounded);
        Ok(committed)
    }

    /// Returns the features of a project, in order of slug.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`], [`StoreError::NeedsReopen`].
    pub fn load_features(&self, root_id: &str) -> Result<Vec<LoadedFeature>, StoreError> {
        self.check_trusted()?;
        load::load_features(&self.connection, root_id)
            .map_err(read_error("read the features of a project", &self.path))
    }

    /// Records when events were committed, from which their age is known. To be called after a commit.
    pub fn note_time(&mut self, now: StoreTime) {
        self.ages.note(self.seq, now.wall.as_millis(), now.uptime);
    }

    /// Deletes the oldest events: those of which it is known that they are older than `max_age`
    /// (`docs/specification.md#age-of-events`), and more until the remaining envelopes have at most
    /// `max_bytes`. Deletes a limited number, so call it again until it deletes none.
    /// The file does not shrink; SQLite reuses its free pages.
    ///
    /// # Errors
    /// [`StoreError::Write`], and nothing is deleted.
    pub fn prune(
        &mut self,
        max_age: Duration,
        max_bytes: u64,
        now: StoreTime,
    ) -> Result<PruneResult, StoreError> {
        self.check_trusted()?;
        self.note_time(now);
        let examined = self.examine_ages(max_age);
        self.record_write_result("examine the journal", examined)?;
        let limit = self.ages.limit(max_age, now.uptime);
        let result = retention::prune(&mut self.connection, limit, max_bytes);
        self.record_write_result("prune the journal", result)
    }

    fn examine_ages(&mut self, max_age: Duration) -> rusqlite::Result<()> {
        let Some(oldest) = retention::oldest(&self.connection)? else {
            return Ok(());
        };
        let samples = self.ages.samples(oldest, max_age);
        if !samples.is_empty() {
            let times = retention::event_times(&self.connection, &samples)?;
            self.ages.set_earlier(&times, max_age);
        }
        Ok(())
    }

    /// Returns the progress of a sink; `None` if it is not registered.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`].
    pub fn sink_progress(&self, sink: &str) -> Result<Option<SinkProgress>, StoreError> {
        delivery::sink_progress(&self.connection, sink)
            .map_err(read_error("read the cursor of a sink", &self.path))
    }

    /// Returns the progress of a sink, and registers a new one. A new sink starts before the oldest
    /// event in the journal; events deleted before are not counted as dropped.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`], [`StoreError::Write`].
    pub fn register_sink(&mut self, sink: &str) -> Result<SinkProgress, StoreError> {
        if let Some(known) = self.sink_progress(sink)? {
            return Ok(known);
        }
        self.check_trusted()?;
        let result = delivery::insert_sink(&mut self.connection, sink);
        self.record_write_result("register a sink", result)?;
        Ok(self.sink_progress(sink)?.unwrap_or_default())
    }

    /// Updates the cursor and the dead letters of a sink in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn update_cursor(&mut self, sink: &str, update: &CursorUpdate) -> Result<(), StoreError> {
        self.check_trusted()?;
        let result = delivery::update_cursor(&mut self.connection, sink, update);
        self.record_write_result("update the cursor of a sink", result)
    }

    /// Marks dead letters for another delivery. Returns how many were selected.
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
        self.record_write_result("mark dead letters for another delivery", result)
    }

    /// Deletes dead letters. Returns how many.
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
        self.record_write_result("delete dead letters", result)
    }

    /// Returns a handle that creates readers of the journal on any thread.
    #[must_use]
    pub fn journal(&self) -> Journal {
        Journal::new(Arc::clone(&self.path), Arc::clone(&self.readers))
    }

    /// Returns a checkpointer, for use on another thread.
    pub fn checkpointer(&self) -> Checkpointer {
        Checkpointer::new(Arc::clone(&self.path), Arc::clone(&self.checkpointing))
    }

    /// Closes the store durably and marks it as closed cleanly.
    ///
    /// # Errors
    /// [`StoreError::Write`]; the next start then treats it as a crash.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.check_trusted()?;
        self.readers.close();
        self.with_full_sync("close the store", |connection| {
            connection.execute("UPDATE store SET clean = 1, durable_seq = seq", []).map(drop)
        })?;
        let Self { path, connection, instance, seq, .. } = self;
        connection.close().map_err(|(_, error)| write_error("close the store", &path)(error))?;
        // A number that is too low finds fewer copies.
        let _ = last_seq::write(&path, &instance, seq);
        Ok(())
    }

    /// Runs `write` so that its commit is synced.
    fn with_full_sync(
        &mut self,
        action: &'static str,
        write: impl FnOnce(&mut Connection) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        self.check_trusted()?;
        let connection = &mut self.connection;
        let result =
            connection.pragma_update(None, "synchronous", "FULL").and_then(|()| write(connection));
        let restored = connection.pragma_update(None, "synchronous", "NORMAL");
        self.record_write_result(action, result.and(restored))
    }

    fn check_trusted(&self) -> Result<(), StoreError> {
        if self.is_trusted() {
            return Ok(());
        }
        Err(StoreError::NeedsReopen { path: self.path.to_path_buf() })
    }

    /// Records the result of a write. After an I/O error a part of it may be on disk.
    fn record_write_result<T>(
        &mut self,
        action: &'static str,
        result: rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        result.map_err(|error| {
            match StorageFault::classify(&error) {
                StorageFault::DiskFailure => self.integrity = Integrity::NeedsReopen,
                StorageFault::CorruptFile => self.integrity = Integrity::Corrupt,
                StorageFault::Other => {}
            }
            write_error(action, &self.path)(error)
        })
    }
}

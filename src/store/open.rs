//! Creates and opens the file, quarantines a corrupt one, and decides whether event numbers continue
//! from the previous run. Knows the row of the table `store`, and no other table.

use std::fs::{DirBuilder, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use rustix::fs::OFlags;
use uuid::Uuid;

use crate::core::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::last_seq;

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "dossierd.sqlite3";

/// Timeout for a lock of SQLite; after it the operation fails. In write-ahead mode writer and readers
/// do not block each other, except while the WAL is recovered or deleted.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Size in bytes to which the WAL file is truncated after a checkpoint.
const MAX_WAL_BYTES: u32 = 8 << 20;

/// Size of a page of the store of events in bytes.
pub(super) const PAGE_BYTES: u32 = 4_096;

/// Size of the writer's page cache in KiB.
const WRITER_CACHE_KIB: u32 = 256;

/// Returns the identifier of this boot of the machine, or an empty string if it cannot be read.
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

pub(super) fn create_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Creates the directory and the file if they do not exist, accessible only to this user. Returns the
/// inode of the file. SQLite creates the WAL and its index with the mode of the file.
pub(super) fn create_private_file(dir: &Path, path: &Path) -> io::Result<u64> {
    create_private_dir(dir)?;
    // SQLite follows links, and opens the files next to this one by itself.
    for suffix in ["-wal", "-shm", "-journal"] {
        match with_suffix(path, suffix).symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            metadata => check_own_file(&metadata?, &with_suffix(path, suffix))?,
        }
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let metadata = options.open(path)?.metadata()?;
    check_own_file(&metadata, path)?;
    Ok(metadata.ino())
}

/// Returns an error unless the file at `path` is a regular one of this user.
fn check_own_file(metadata: &Metadata, path: &Path) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    if metadata.is_file() && metadata.uid() == own {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().display();
    Err(io::Error::other(format!("{name} is not a regular file of this user; remove it")))
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Renames a corrupt file of this name and its WAL, so that a new one can be created and this one be
/// examined. Returns its new path.
pub(super) fn quarantine(
    dir: &Path,
    file_name: &str,
    at: Timestamp,
) -> Result<PathBuf, StoreError> {
    let path = dir.join(file_name);
    let open_error = |error| StoreError::open(&path, error);
    let time = at.to_string().replace([':', '-'], "");
    let name = |number: u32| {
        let suffix = if number == 0 { String::new() } else { format!("-{number}") };
        dir.join(format!("{file_name}.corrupt-{time}{suffix}"))
    };
    let quarantined = (0..1000).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0));
    for suffix in ["-wal", "-shm", "-journal", ""] {
        let renamed = with_suffix(&quarantined, suffix);
        match std::fs::rename(with_suffix(&path, suffix), renamed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(open_error)?,
        }
    }
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(open_error)?;
    Ok(quarantined)
}

/// Removes the files of this name that were quarantined.
pub(super) fn remove_quarantined(dir: &Path, file_name: &str) -> io::Result<()> {
    let start = format!("{file_name}.corrupt-");
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(start.as_bytes()) {
            match std::fs::remove_file(entry.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }
    Ok(())
}

/// Opens a connection that can write; an empty file will have pages of `page_size` bytes.
pub(super) fn connect(path: &Path, page_size: u32) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(32);
    // With a stable plan, a prepared statement is not prepared again for other bound values.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cache_size", -i64::from(WRITER_CACHE_KIB))?;
    connection.pragma_update(None, "page_size", page_size)?;
    // Some file systems do not support the shared memory of the WAL; there SQLite keeps a rollback
    // journal, which is correct and slower.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", MAX_WAL_BYTES, |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// The state from which this run continues.
pub(super) struct StoreSession {
    /// Identity of the sequence of event numbers, a UUID.
    pub(super) instance: String,
    /// True if the instance differs from that of the previous run.
    pub(super) is_new_instance: bool,
    /// Number of the last event.
    pub(super) seq: u64,
    /// Time in the id of the last event, in milliseconds since 1970.
    pub(super) last_event_ms: u64,
}

/// Begins a run: decides whether event numbers continue, and clears the mark of a clean shutdown. See
/// `docs/specification.md#instance`.
///
/// Another inode, or a lower number than the last one, means that the file was restored from a copy, and
/// that numbers after it may have been assigned already.
pub(super) fn begin_session(
    connection: &mut Connection,
    path: &Path,
    boot_id: &str,
    inode: u64,
) -> rusqlite::Result<StoreSession> {
    let transaction = connection.transaction()?;
    let sql = "SELECT instance, boot_id, clean, inode, seq, last_event_ms FROM store";
    let previous = transaction.query_row(sql, [], |row| {
        let same_boot = row.get::<_, String>(1)? == boot_id;
        let same_file = row.get::<_, i64>(3)?.cast_unsigned() == inode;
        let is_clean: bool = row.get(2)?;
        let (instance, seq): (String, _) = (row.get(0)?, row.get::<_, i64>(4)?.cast_unsigned());
        let is_older = last_seq::read(path, &instance).is_some_and(|last| last > seq);
        let continues = same_file && !is_older && (same_boot || is_clean);
        Ok(StoreSession {
            instance,
            is_new_instance: !continues,
            seq,
            last_event_ms: row.get::<_, i64>(5)?.cast_unsigned(),
        })
    });
    let instance = || Uuid::new_v4().to_string();
    let session = match previous.optional()? {
        Some(session) if session.is_new_instance => {
            StoreSession { instance: instance(), ..session }
        }
        Some(session) => session,
        None => {
            let instance = instance();
            StoreSession { instance, is_new_instance: true, seq: 0, last_event_ms: 0 }
        }
    };
    transaction.execute(
        "INSERT INTO store (id, instance, boot_id, clean, inode, seq, durable_seq, last_event_ms,
                            journal_bytes)
         VALUES (1, ?1, ?2, 0, ?3, 0, 0, 0, 0)
         ON CONFLICT DO UPDATE SET instance = ?1, boot_id = ?2, clean = 0, inode = ?3,
                                   durable_seq = seq",
        params![session.instance, boot_id, inode.cast_signed()],
    )?;
    transaction.commit()?;
    Ok(session)
}

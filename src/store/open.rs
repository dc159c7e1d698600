//! How the file is made and opened, and whose numbers a run goes on with.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use uuid::Uuid;

use crate::core::time::Timestamp;
use crate::store::error::StoreError;

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "dossierd.sqlite3";

/// How long a connection waits for a lock. The writer and its readers never hold one against each
/// other; this is for the moments when the log is recovered or removed.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How far the log's file is cut back once its content has been moved.
const MAX_WAL_BYTES: u32 = 8 << 20;

/// SQLite's page cache of the writer, in KiB.
const WRITER_CACHE_KIB: u32 = 256;

/// Makes directory and file, for no one else's eyes; gives the file's inode. The log and its index
/// take the file's mode.
pub(super) fn create_private_file(folder: &Path, path: &Path) -> io::Result<u64> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    Ok(file.metadata()?.ino())
}

/// Moves a corrupt store out of the way, log and all, for someone to look at; gives its new path.
pub(super) fn quarantine(folder: &Path, at: Timestamp) -> Result<PathBuf, StoreError> {
    let path = folder.join(FILE_NAME);
    let error = |error| StoreError::open(&path, error);
    let time = at.to_string().replace([':', '-'], "");
    let named = |number: u32| {
        let again = if number == 0 { String::new() } else { format!("-{number}") };
        folder.join(format!("{FILE_NAME}.corrupt-{time}{again}"))
    };
    let aside = (0..1000).map(named).find(|aside| !aside.exists()).unwrap_or_else(|| named(0));
    for suffix in ["-wal", "-shm", "-journal", ""] {
        let with = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        match std::fs::rename(with(&path), with(&aside)) {
            Err(failed) if failed.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(error)?,
        }
    }
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(error)?;
    Ok(aside)
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(32);
    // Plans do not depend on the values that are bound: a statement is prepared once.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cache_size", -i64::from(WRITER_CACHE_KIB))?;
    // Where the file system cannot do that, the old mode stays and all still works, with syncs.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", MAX_WAL_BYTES, |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// What a run goes on from.
pub(super) struct StoreSession {
    pub(super) instance: String,
    pub(super) is_new_instance: bool,
    pub(super) seq: u64,
    pub(super) last_event_ms: u64,
}

/// Takes the store for this run: decides whose numbers follow, and takes the clean mark off.
///
/// An inode is another when the file was put back from a copy, whose numbers may have been given
/// out again since.
pub(super) fn begin_session(
    connection: &mut Connection,
    boot_id: &str,
    inode: u64,
) -> rusqlite::Result<StoreSession> {
    let transaction = connection.transaction()?;
    let sql = "SELECT instance, boot_id, clean, inode, seq, last_event_ms FROM store";
    let known = transaction.query_row(sql, [], |row| {
        let same_boot = row.get::<_, String>(1)? == boot_id;
        let same_file = row.get::<_, i64>(3)?.cast_unsigned() == inode;
        let goes_on = same_file && (same_boot || row.get(2)?);
        Ok(StoreSession {
            instance: row.get(0)?,
            is_new_instance: !goes_on,
            seq: row.get::<_, i64>(4)?.cast_unsigned(),
            last_event_ms: row.get::<_, i64>(5)?.cast_unsigned(),
        })
    });
    let fresh = || Uuid::new_v4().to_string();
    let claim = match known.optional()? {
        Some(known) if known.is_new_instance => StoreSession { instance: fresh(), ..known },
        Some(known) => known,
        None => StoreSession { instance: fresh(), is_new_instance: true, seq: 0, last_event_ms: 0 },
    };
    transaction.execute(
        "INSERT INTO store (id, instance, boot_id, clean, inode, seq, durable_seq, last_event_ms,
                            journal_bytes)
         VALUES (1, ?1, ?2, 0, ?3, 0, 0, 0, 0)
         ON CONFLICT DO UPDATE SET instance = ?1, boot_id = ?2, clean = 0, inode = ?3,
                                   durable_seq = seq",
        params![claim.instance, boot_id, inode.cast_signed()],
    )?;
    transaction.commit()?;
    Ok(claim)
}

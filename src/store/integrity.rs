//! Whether a store is sound: a look that changes nothing, also while the daemon has it open.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use super::open::{BUSY_TIMEOUT, FILE_NAME};
use super::schema;

/// What SQLite says of at most this many faults is enough.
const INTEGRITY_CHECK_SQL: &str = "PRAGMA integrity_check(3)";

/// What was found of a sound store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSummary {
    /// Events in the journal.
    pub events: u64,
    /// When the last one was, in milliseconds since 1970; 0 where there is none.
    pub last_event_ms: u64,
    /// Size of the file.
    pub bytes: u64,
    /// The roots that are kept.
    pub projects: Vec<PathBuf>,
}

/// Reads all of the store in that directory; `None` where there is none.
///
/// # Errors
/// [`StoreError::Newer`], [`StoreError::Corrupt`], [`StoreError::Open`].
pub fn check_integrity(folder: &Path) -> Result<Option<StoreSummary>, StoreError> {
    let path = folder.join(FILE_NAME);
    let bytes = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::open(&path, error)),
    };
    schema::check_file_header(&path)?;
    // While no one has it open nothing needs to lie beside it, and nothing is to be left there.
    if !wal_path(&path).exists()
        && let Ok(Ok(health)) = run_integrity_check(&immutable_uri(&path), bytes)
    {
        return Ok(Some(health));
    }
    match run_integrity_check(path.as_os_str(), bytes) {
        Ok(Ok(health)) => Ok(Some(health)),
        Ok(Err(detail)) => Err(StoreError::Corrupt { path, detail }),
        Err(error) => Err(StoreError::sql_open(&path, error)),
    }
}

/// What SQLite says: the store's figures, or its faults.
fn run_integrity_check(name: &OsStr, bytes: u64) -> rusqlite::Result<Result<StoreSummary, String>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(name, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mut faults = connection.prepare(INTEGRITY_CHECK_SQL)?;
    let faults = faults.query_map([], |row| row.get::<_, String>(0))?;
    let faults = faults.collect::<rusqlite::Result<Vec<_>>>()?;
    if faults != ["ok"] {
        return Ok(Err(faults.join("; ")));
    }
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let mut roots = connection.prepare("SELECT root FROM project ORDER BY root")?;
    let roots = roots.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    let roots = roots.map(|root| Ok(PathBuf::from(OsString::from_vec(root?))));
    Ok(Ok(StoreSummary {
        projects: roots.collect::<rusqlite::Result<_>>()?,
        events: number("SELECT count(*) FROM event")?.cast_unsigned(),
        last_event_ms: number("SELECT coalesce(max(last_event_ms), 0) FROM store")?.cast_unsigned(),
        bytes,
    }))
}

fn wal_path(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// The name by which SQLite takes a file for one that no one changes (sqlite.org/uri.html).
fn immutable_uri(path: &Path) -> OsString {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    let mut name = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if plain(byte) {
            name.push(char::from(*byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name.push_str("?immutable=1");
    name.into()
}

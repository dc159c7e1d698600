//! Checks whether a store is valid, without changing it, also while the daemon has it open.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use super::open::{BUSY_TIMEOUT, FILE_NAME};
use super::schema;

/// Checks the whole file; SQLite stops at the third problem.
const INTEGRITY_CHECK_SQL: &str = "PRAGMA integrity_check(3)";

/// Bytes of a path that are encoded in a URI.
const URI_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'_').remove(b'-');

/// Contents of a valid store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSummary {
    /// Number of events in the journal.
    pub events: u64,
    /// Time of the last event in milliseconds since 1970, 0 if there was none.
    pub last_event_ms: u64,
    /// Size of the file in bytes, without the WAL.
    pub bytes: u64,
    /// Roots of the projects that were added by command.
    pub projects: Vec<PathBuf>,
}

/// Result of SQLite's integrity check.
enum IntegrityCheck {
    Valid(StoreSummary),
    /// The problems that were found.
    Corrupt(String),
}

/// Reads the whole store in a directory. Returns `None` if there is none.
///
/// # Errors
/// [`StoreError::Newer`], [`StoreError::Corrupt`], [`StoreError::Open`].
pub fn check_integrity(dir: &Path) -> Result<Option<StoreSummary>, StoreError> {
    let path = dir.join(FILE_NAME);
    let bytes = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::open(&path, error)),
    };
    schema::check_file_header(&path)?;
    // Without a WAL no process has the store open, and an immutable connection creates no files.
    if !wal_path(&path).exists()
        && let Ok(IntegrityCheck::Valid(summary)) =
            run_integrity_check(&immutable_uri(&path), bytes)
    {
        return Ok(Some(summary));
    }
    match run_integrity_check(path.as_os_str(), bytes) {
        Ok(IntegrityCheck::Valid(summary)) => Ok(Some(summary)),
        Ok(IntegrityCheck::Corrupt(detail)) => Err(StoreError::Corrupt { path, detail }),
        Err(error) => Err(StoreError::sql_open(&path, error)),
    }
}

/// Opens the store by a path or URI and checks it.
fn run_integrity_check(name: &OsStr, bytes: u64) -> rusqlite::Result<IntegrityCheck> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(name, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mut statement = connection.prepare(INTEGRITY_CHECK_SQL)?;
    let problems = statement.query_map([], |row| row.get::<_, String>(0))?;
    let problems = problems.collect::<rusqlite::Result<Vec<_>>>()?;
    if problems != ["ok"] {
        return Ok(IntegrityCheck::Corrupt(problems.join("; ")));
    }
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let mut roots = connection.prepare("SELECT root FROM project ORDER BY root")?;
    let roots = roots.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    let roots = roots.map(|root| Ok(PathBuf::from(OsString::from_vec(root?))));
    Ok(IntegrityCheck::Valid(StoreSummary {
        projects: roots.collect::<rusqlite::Result<_>>()?,
        events: number("SELECT count(*) FROM event")?.cast_unsigned(),
        last_event_ms: number("SELECT coalesce(max(last_event_ms), 0) FROM store")?.cast_unsigned(),
        bytes,
    }))
}

fn wal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Returns the URI that opens a file which no process changes (<https://www.sqlite.org/uri.html>).
fn immutable_uri(path: &Path) -> OsString {
    let path = percent_encode(path.as_os_str().as_bytes(), URI_PATH);
    format!("file:{path}?immutable=1").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn immutable_uri_encodes_bytes_that_are_special_in_a_uri() {
        let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
        for (bytes, uri) in [
            (&b"/a/b_c-d.sqlite3"[..], "file:/a/b_c-d.sqlite3?immutable=1"),
            (b"/a b/?#%&=", "file:/a%20b/%3F%23%25%26%3D?immutable=1"),
            (b"/\xff~", "file:/%FF%7E?immutable=1"),
        ] {
            assert_eq!(immutable_uri(&path(bytes)), uri);
        }
    }
}

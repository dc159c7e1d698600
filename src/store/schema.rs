//! The format of the store: its tables, the migrations between formats, and the check that refuses
//! newer formats and other files. Reads and writes no rows.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::backup;
use super::error::StoreError;

/// `application_id` of a store: "doss".
const APPLICATION_ID: u32 = 0x646f_7373;

/// Migrations from each format to the next; the first creates the tables. A released one is never
/// changed: `tests/golden` has a store of each format.
pub(super) const MIGRATIONS: &[&str] = &[MIGRATION_1, MIGRATION_2, MIGRATION_3, MIGRATION_4];

/// The initial tables. `artifact` and `tombstone` have the same columns for an artifact. Times are
/// milliseconds since 1970; unsigned 64-bit numbers are stored as signed ones with the same bits.
const MIGRATION_1: &str = "
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    instance TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    clean INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    durable_seq INTEGER NOT NULL,
    last_event_ms INTEGER NOT NULL,
    journal_bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE project (
    root BLOB PRIMARY KEY,
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE feature (
    id INTEGER PRIMARY KEY,
    root_id TEXT NOT NULL,
    slug TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    absent TEXT,
    inputs TEXT,
    announced TEXT,
    written_snapshot_id TEXT,
    gone_since INTEGER,
    UNIQUE (root_id, slug)
) STRICT;
CREATE TABLE artifact (
    feature INTEGER NOT NULL,
    path BLOB NOT NULL,
    key TEXT NOT NULL,
    class TEXT NOT NULL,
    wp_id TEXT,
    step_id TEXT,
    status TEXT NOT NULL,
    size INTEGER NOT NULL,
    hash BLOB,
    static_hash BLOB,
    reason TEXT,
    detail TEXT,
    indexed_at INTEGER NOT NULL,
    file_size INTEGER,
    modified_ns INTEGER,
    changed_ns INTEGER,
    inode INTEGER,
    device INTEGER,
    racy INTEGER NOT NULL,
    PRIMARY KEY (feature, path)
) STRICT, WITHOUT ROWID;
CREATE TABLE tombstone (
    feature INTEGER NOT NULL,
    path BLOB NOT NULL,
    key TEXT NOT NULL,
    class TEXT NOT NULL,
    wp_id TEXT,
    step_id TEXT,
    status TEXT NOT NULL,
    size INTEGER NOT NULL,
    hash BLOB,
    static_hash BLOB,
    reason TEXT,
    detail TEXT,
    indexed_at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (feature, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstone_seq ON tombstone (seq);
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    emitted_at INTEGER NOT NULL,
    root_id TEXT NOT NULL,
    feature TEXT NOT NULL,
    type TEXT NOT NULL,
    envelope TEXT NOT NULL
) STRICT;
CREATE TABLE cursor (
    sink TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Adds dead letters, and the count of events that retention deleted.
const MIGRATION_2: &str = "
ALTER TABLE cursor ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;
CREATE TABLE set_aside (
    sink TEXT NOT NULL,
    seq INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    root_id TEXT NOT NULL,
    feature TEXT NOT NULL,
    tries INTEGER NOT NULL,
    refused_at INTEGER NOT NULL,
    error TEXT NOT NULL,
    retry INTEGER NOT NULL,
    envelope TEXT NOT NULL,
    PRIMARY KEY (sink, seq)
) STRICT, WITHOUT ROWID;
";

/// Adds the directory of a feature: its path below the root, empty if the root is the feature itself,
/// `NULL` if it is unknown, as for all features of older formats. Removes columns that were never
/// written.
const MIGRATION_3: &str = "
ALTER TABLE feature ADD COLUMN dir BLOB;
ALTER TABLE feature DROP COLUMN inputs;
ALTER TABLE feature DROP COLUMN written_snapshot_id;
";

/// Renames the table of dead letters to its usual name, and adds the mount points around a feature.
const MIGRATION_4: &str = "
ALTER TABLE set_aside RENAME TO dead_letters;
ALTER TABLE feature ADD COLUMN mounts TEXT;
";

/// Returns the newest format that this version knows.
pub(super) fn latest_format() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Checks the header of the file and refuses what must not be opened. SQLite cannot do this, because
/// opening a file in write-ahead mode creates others next to it.
pub(super) fn check_file_header(path: &Path) -> Result<(), StoreError> {
    let mut header = [0; 100];
    let result = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    match result {
        Ok(()) => {}
        // Empty or truncated, for instance by a crash while it was created: SQLite decides.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        Err(error) => return Err(StoreError::open(path, error)),
    }
    // https://www.sqlite.org/fileformat2.html#the_database_header
    let number = |at: usize| {
        header[at..at + 4].iter().fold(0, |number: u32, byte| number << 8 | u32::from(*byte))
    };
    if !header.starts_with(b"SQLite format 3\0") {
        return corrupt(path, "not an SQLite database");
    }
    check_format(path, number(68), number(60))
}

/// Migrates the file to the newest format, durably. The connection must sync at each commit.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    migrate_with(MIGRATIONS, connection, path)
}

/// Applies those of `migrations` that the file does not have. Copies a file of an older format first.
pub(super) fn migrate_with(
    migrations: &[&str],
    connection: &mut Connection,
    path: &Path,
) -> Result<(), StoreError> {
    let open_error = |error| StoreError::sql_open(path, error);
    let pragma = |connection: &Connection, name| {
        connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).map_err(open_error)
    };
    // Checked again, because the format that a newer version set may be only in the WAL.
    let found = pragma(connection, "user_version")?;
    check_format(path, pragma(connection, "application_id")?, found)?;
    if found > 0 && (found as usize) < migrations.len() {
        backup::create(connection, path, found)?;
    }
    for (version, migration) in (1..).zip(migrations).skip(found as usize) {
        let step = |connection: &mut Connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()
        };
        step(connection).map_err(open_error)?;
    }
    Ok(())
}

fn check_format(path: &Path, application_id: u32, found: u32) -> Result<(), StoreError> {
    let known = latest_format();
    match (application_id, found) {
        (0, 0) => Ok(()),
        (APPLICATION_ID, found) if found > known => {
            Err(StoreError::Newer { found, known, path: path.to_path_buf() })
        }
        (APPLICATION_ID, _) => Ok(()),
        _ => corrupt(path, "an SQLite database of another program"),
    }
}

fn corrupt(path: &Path, detail: &str) -> Result<(), StoreError> {
    Err(StoreError::Corrupt { path: path.to_path_buf(), detail: detail.to_owned() })
}

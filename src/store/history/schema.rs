//! The format of the content store: its tables, and the check that refuses newer formats and other
//! files. Unlike the store of events it is never migrated by guesses: what it holds can be lost.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::store::error::StoreError;

/// `application_id` of a content store: "dosh".
const APPLICATION_ID: u32 = 0x646f_7368;
/// The present format.
const FORMAT: u32 = 2;
/// The format without `restored`.
const FORMAT_WITHOUT_RESTORED: u32 = 1;

/// `content` is addressed by the SHA-256 of the bytes; `frame` is them, compressed. A row of `version`
/// without `not_stored` has a row of `content`. Numbers of events are those of one store of events, whose
/// number is `epoch`. Times are milliseconds since 1970.
///
/// `ended` is what followed a version: another one, a deletion, or what is not known.
/// `is_first` means that the file did not exist just before this version.
const TABLES: &str = "
CREATE TABLE history (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    instance TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    stored_seq INTEGER NOT NULL,
    evicted INTEGER NOT NULL,
    evicted_named INTEGER NOT NULL,
    evicted_ms INTEGER,
    not_stored INTEGER NOT NULL
) STRICT;
CREATE TABLE content (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    frame BLOB NOT NULL
) STRICT;
CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    root_id TEXT NOT NULL,
    feature TEXT NOT NULL,
    path BLOB NOT NULL,
    key TEXT NOT NULL,
    UNIQUE (root_id, feature, path)
) STRICT;
CREATE TABLE version (
    id INTEGER PRIMARY KEY,
    file INTEGER NOT NULL,
    hash BLOB NOT NULL,
    size INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    from_seq INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    is_first INTEGER NOT NULL,
    until_seq INTEGER,
    until_ms INTEGER,
    ended TEXT,
    added INTEGER,
    removed INTEGER,
    not_stored TEXT
) STRICT;
CREATE INDEX version_file ON version (file, id);
CREATE INDEX version_hash ON version (hash);
CREATE TABLE named (
    root_id TEXT NOT NULL,
    feature TEXT NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (root_id, feature, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX named_hash ON named (hash);
INSERT INTO history VALUES (1, '', 0, 0, 0, 0, NULL, 0);
";

/// What a restore wrote to a file last; `after_seq` is the number of an event before that.
const RESTORED: &str = "
CREATE TABLE restored (
    root_id TEXT NOT NULL,
    feature TEXT NOT NULL,
    path BLOB NOT NULL,
    hash BLOB NOT NULL,
    after_seq INTEGER NOT NULL,
    PRIMARY KEY (root_id, feature, path)
) STRICT, WITHOUT ROWID;
";

/// Creates the tables in an empty file, or checks that they are of this format.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let sql_error = |error| StoreError::sql_open(path, error);
    let pragma = |name| {
        connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).map_err(sql_error)
    };
    match (pragma("application_id")?, pragma("user_version")?) {
        (0, 0) => create(connection, &[TABLES, RESTORED]).map_err(sql_error),
        (APPLICATION_ID, FORMAT_WITHOUT_RESTORED) => {
            create(connection, &[RESTORED]).map_err(sql_error)
        }
        (APPLICATION_ID, FORMAT) => Ok(()),
        (APPLICATION_ID, found) => {
            Err(StoreError::Newer { found, known: FORMAT, path: path.to_path_buf() })
        }
        _ => Err(StoreError::Corrupt {
            path: path.to_path_buf(),
            detail: "an SQLite database of another program".to_owned(),
        }),
    }
}

/// Returns true if the file has the table of what was restored; a reader may find a former format.
pub(super) fn has_restored(connection: &Connection) -> rusqlite::Result<bool> {
    let format = connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))?;
    Ok(format > FORMAT_WITHOUT_RESTORED)
}

fn create(connection: &mut Connection, tables: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tables.iter().try_for_each(|sql| transaction.execute_batch(sql))?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

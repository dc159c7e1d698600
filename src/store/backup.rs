//! A copy of the store, made before its format changes: with it the version before can be gone back
//! to.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::error::StoreError;

/// Where the copy of a store of that format lies.
pub(super) fn backup_path(path: &Path, format: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".format-{format}"));
    name.into()
}

/// Copies the store with all that was committed, durably. A copy that was made before is replaced,
/// and only by a whole one.
pub(super) fn create(connection: &Connection, path: &Path, format: u32) -> Result<(), StoreError> {
    let copy = backup_path(path, format);
    let part = copy.with_extension("part");
    let open = |error| StoreError::open(&copy, error);
    // What is filled is in a directory that is private, and private itself from the start.
    let empty = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    drop(empty.map_err(open)?);
    let text = part.to_str().ok_or_else(|| open(std::io::ErrorKind::InvalidFilename.into()))?;
    connection
        .execute("VACUUM INTO ?1", [text])
        .map_err(|error| StoreError::sql_open(&copy, error))?;
    let durable = || {
        // SQLite gives an empty file its own mode.
        fs::set_permissions(&part, fs::Permissions::from_mode(0o600))?;
        File::open(&part)?.sync_all()?;
        fs::rename(&part, &copy)?;
        copy.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    durable().map_err(open)
}

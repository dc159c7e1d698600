//! Copies the store: before its format changes, so that the previous version can be installed again,
//! and to a new file when its own was removed.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::error::StoreError;

/// Returns the path of the copy of a store with this format.
pub(super) fn backup_path(path: &Path, format: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".format-{format}"));
    name.into()
}

/// Copies everything committed to [`backup_path`], durably. An earlier copy is replaced only by a
/// complete one.
pub(super) fn create(connection: &Connection, path: &Path, format: u32) -> Result<(), StoreError> {
    let copy = backup_path(path, format);
    write_copy(connection, &copy)
}

/// Writes everything that is committed to `copy`, durably and at once.
pub(super) fn write_copy(connection: &Connection, copy: &Path) -> Result<(), StoreError> {
    let part = copy.with_extension("part");
    let open_error = |error| StoreError::open(copy, error);
    // `VACUUM INTO` accepts an empty file, so the copy is private from the start.
    let created =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    drop(created.map_err(open_error)?);
    let text =
        part.to_str().ok_or_else(|| open_error(std::io::ErrorKind::InvalidFilename.into()))?;
    if let Err(error) = connection.execute("VACUUM INTO ?1", [text]) {
        // On a full disk it would take what is left.
        let _ = fs::remove_file(&part);
        return Err(StoreError::sql_open(copy, error));
    }
    let publish = || {
        // SQLite may change the mode of the file.
        fs::set_permissions(&part, fs::Permissions::from_mode(0o600))?;
        File::open(&part)?.sync_all()?;
        fs::rename(&part, copy)?;
        copy.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    publish().map_err(open_error)
}

//! Checkpoints: moves the WAL into the file on a connection of its own. Does not decide when.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::error::{StoreError, write_error};
use super::last_seq;
use crate::store::open::connect;

/// Size of the WAL above which a commit moves all of it.
const MAX_WAL_BYTES: u64 = 16 << 20;

/// A connection that runs checkpoints.
#[derive(Debug)]
pub struct Checkpointer {
    path: Arc<Path>,
    /// Opened at the first checkpoint, and again after an error.
    connection: Option<Connection>,
}

impl Checkpointer {
    pub(super) fn new(path: Arc<Path>) -> Self {
        Self { path, connection: None }
    }

    /// Moves the pages that no reader needs, without waiting for the writer or blocking it. Returns
    /// how many pages remain in the WAL.
    ///
    /// If none does, the next commit begins the WAL again, and syncs its header before it returns. So
    /// that it is not one of the writer's that waits for the disk, a commit of this connection
    /// follows, which changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Write`]; the store is unchanged.
    pub fn checkpoint(&mut self) -> Result<u32, StoreError> {
        let mut run = || {
            let connection = match self.connection.take() {
                Some(connection) => connection,
                None => connect(&self.path)?,
            };
            let remaining = checkpoint(&connection)?;
            if remaining == 0 {
                begin_wal_again(&connection)?;
            }
            write_last_seq(&connection, &self.path)?;
            self.connection = Some(connection);
            Ok(remaining)
        };
        run().map_err(write_error("checkpoint the WAL", &self.path))
    }
}

/// Runs a passive checkpoint. Returns how many pages remain in the WAL.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (pages, moved): (u32, u32) = (row.get(1)?, row.get(2)?);
        Ok(pages.saturating_sub(moved))
    })
}

/// Moves the whole WAL if it is large. Under steady commits there are always new pages when a checkpoint
/// of the [`Checkpointer`] ends, so the WAL would never begin again. This runs on the connection of the
/// writer, which does not commit meanwhile; what the checkpoint before left is little.
pub(super) fn bound_wal(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    if std::fs::metadata(wal).is_ok_and(|wal| wal.len() > MAX_WAL_BYTES) {
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
    }
    Ok(())
}

/// Writes the number of the last event next to the store, in case that the daemon is killed.
fn write_last_seq(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let (instance, seq) = connection.query_row("SELECT instance, seq FROM store", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    // A number that is too low finds fewer copies.
    let _ = last_seq::write(path, &instance, seq);
    Ok(())
}

/// Makes a commit without a change, the first in a WAL whose pages have all been moved.
fn begin_wal_again(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let written = connection.pragma_update(None, "user_version", version);
    connection.execute_batch(if written.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    written
}

//! Checkpoints: moves the WAL into the file on a connection of its own. Does not decide when.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;

use super::error::{StoreError, write_error};
use super::last_seq;
use crate::core::sync::lock;
use crate::store::open::{BUSY_TIMEOUT, PAGE_BYTES, connect};

/// Size of the WAL above which a commit moves all of it.
pub(super) const MAX_WAL_BYTES: u64 = 16 << 20;
/// How much the WAL grows before that is tried again.
const WAL_STEP_BYTES: u64 = 1 << 20;
/// Size of the WAL above which a commit waits until a checkpoint of the [`Checkpointer`] has ended.
const WAITING_WAL_BYTES: u64 = MAX_WAL_BYTES + 4 * WAL_STEP_BYTES;

/// A connection that runs checkpoints.
#[derive(Debug)]
pub struct Checkpointer {
    path: Arc<Path>,
    /// Opened at the first checkpoint, and again after an error.
    connection: Option<Connection>,
    checkpointing: Arc<Mutex<()>>,
}

impl Checkpointer {
    pub(super) fn new(path: Arc<Path>, checkpointing: Arc<Mutex<()>>) -> Self {
        Self { path, connection: None, checkpointing }
    }

    /// Moves the pages that no reader needs, without waiting for the writer or blocking it. Returns
    /// how many pages remain in the WAL; `None` if the writer moves them at this moment.
    ///
    /// If none does, the next commit begins the WAL again, and syncs its header before it returns. So
    /// that it is not one of the writer's that waits for the disk, a commit of this connection
    /// follows, which changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Write`]; the store is unchanged.
    pub fn checkpoint(&mut self) -> Result<Option<u64>, StoreError> {
        let mut run = || {
            let connection = match self.connection.take() {
                Some(connection) => connection,
                None => connect(&self.path, PAGE_BYTES)?,
            };
            let running = lock(&self.checkpointing);
            let remaining = checkpoint(&connection)?;
            if remaining == Some(0) {
                begin_wal_again(&connection)?;
            }
            drop(running);
            write_last_seq(&connection, &self.path)?;
            self.connection = Some(connection);
            Ok(remaining)
        };
        run().map_err(write_error("checkpoint the WAL", &self.path))
    }
}

/// Runs a passive checkpoint. Returns how many pages remain in the WAL; `None` if that is not known, because
/// another connection runs one, or there is no WAL.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (pages, moved): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(u64::try_from(pages).ok().map(|pages| pages.saturating_sub(moved.unsigned_abs())))
    })
}

/// Moves the whole WAL if it is large. Under steady commits there are always new pages when a checkpoint
/// of the [`Checkpointer`] ends, so the WAL would never begin again. This runs on the connection of the
/// writer, which does not commit meanwhile; what the checkpoint before left is little.
///
/// `next_bytes` is the size above which that is tried; it grows while a reader prevents it.
pub(super) fn bound_wal(
    connection: &Connection,
    path: &Path,
    next_bytes: &mut u64,
    checkpointing: &Mutex<()>,
) -> rusqlite::Result<()> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let bytes = std::fs::metadata(wal).map_or(0, |wal| wal.len());
    if bytes <= *next_bytes {
        *next_bytes = (*next_bytes).min(bytes + WAL_STEP_BYTES).max(MAX_WAL_BYTES);
        return Ok(());
    }
    *next_bytes = bytes + WAL_STEP_BYTES;
    let _running = match checkpointing.try_lock() {
        Ok(running) => running,
        Err(_) if bytes > WAITING_WAL_BYTES => lock(checkpointing),
        Err(_) => return Ok(()),
    };
    // Waits for no reader: a slow one must not stop commits. The file is truncated, so that its length is that
    // of the WAL.
    connection.busy_timeout(Duration::ZERO)?;
    let moved = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_timeout(BUSY_TIMEOUT)?;
    moved
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

//! Checkpoints: moves the WAL into the file on a connection of its own. Does not decide when.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::error::{StoreError, write_error};
use crate::store::open::connect;

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
    /// # Errors
    /// [`StoreError::Write`]; the WAL is unchanged.
    pub fn checkpoint(&mut self) -> Result<u32, StoreError> {
        let mut run = || {
            let connection = match self.connection.take() {
                Some(connection) => connection,
                None => connect(&self.path)?,
            };
            let remaining = checkpoint(&connection)?;
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

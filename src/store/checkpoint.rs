//! Moving the log into the file, apart from the writer.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::error::{StoreError, write_error};
use crate::store::open::connect;

/// Moves the log into the file.
#[derive(Debug)]
pub struct Checkpointer {
    path: Arc<Path>,
    connection: Option<Connection>,
}

impl Checkpointer {
    pub(super) fn new(path: Arc<Path>) -> Self {
        Self { path, connection: None }
    }

    /// Moves what no reader still needs; neither waits for the writer nor makes it wait. Gives how
    /// many pages of the log are left.
    ///
    /// # Errors
    /// [`StoreError::Write`]; the log stays as it is.
    pub fn checkpoint(&mut self) -> Result<u32, StoreError> {
        let mut run = || {
            let connection = match self.connection.take() {
                Some(connection) => connection,
                None => connect(&self.path)?,
            };
            let left = checkpoint(&connection)?;
            self.connection = Some(connection);
            Ok(left)
        };
        run().map_err(write_error("move the log into the file", &self.path))
    }
}

pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (pages, moved): (u32, u32) = (row.get(1)?, row.get(2)?);
        Ok(pages.saturating_sub(moved))
    })
}

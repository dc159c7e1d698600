//! Reading the journal for many: a few connections, lent in turn.
//!
//! A subscriber holds a connection only while it reads, so a thousand that wait cost nothing, and
//! a thousand that are told of the same news do not start a thousand threads.

use std::fmt;
use std::sync::Mutex;

use tokio::sync::Semaphore;

use crate::api::response::problem::internal_error;
use crate::api::response::render::run_blocking;
use crate::core::sync::lock;
use crate::store::{Journal, JournalReader, StoreError};
use crate::wire::problem::Problem;

/// Reads at a time; the next waits its turn.
const MAX_READERS: usize = 4;

/// The connections.
pub(crate) struct ReaderPool {
    journal: Journal,
    idle: Mutex<Vec<JournalReader>>,
    permits: Semaphore,
}

impl fmt::Debug for ReaderPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl ReaderPool {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal, idle: Mutex::default(), permits: Semaphore::new(MAX_READERS) }
    }

    /// Reads the journal on a thread that may wait for the disk.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut JournalReader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let _turn = self.permits.acquire().await.map_err(internal_error)?;
        let idle = lock(&self.idle).pop();
        let mut reader = idle.unwrap_or_else(|| self.journal.reader());
        let (reader, result) = run_blocking(move || {
            let result = read(&mut reader);
            (reader, result)
        })
        .await?;
        lock(&self.idle).push(reader);
        result.map_err(internal_error)
    }
}

//! A pool of connections that read the journal.
//!
//! A subscriber uses a connection only while it reads. So a thousand idle subscribers cost nothing,
//! and a thousand that are notified of the same event do not start a thousand threads.

use std::fmt;
use std::sync::Mutex;

use crate::api::response::problem::internal_error;
use crate::api::response::render::{run_in_background, too_busy};
use crate::api::server::client_shares::{FairPermits, TURN_TIMEOUT, TurnTimeout};
use crate::core::sync::lock;
use crate::store::{Journal, JournalReader, StoreError};
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};

/// Maximum number of concurrent reads; further ones wait for their turn.
const MAX_READERS: usize = 4;

/// Maximum number of waiting reads of a client: more than there are connections, since they are short.
const MAX_WAITING_READS: usize = 2_048;

static PERMITS: FairPermits = FairPermits::new(MAX_READERS, MAX_WAITING_READS, TURN_TIMEOUT);

/// Connections to the journal. They are opened on demand and kept.
pub(crate) struct ReaderPool {
    journal: Journal,
    idle: Mutex<Vec<JournalReader>>,
}

impl fmt::Debug for ReaderPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderPool").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl ReaderPool {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal, idle: Mutex::default() }
    }

    /// Runs `read` with a connection, on a thread that may wait for the disk.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut JournalReader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let _permit = PERMITS.acquire().await.map_err(|TurnTimeout| too_busy())?;
        let idle = lock(&self.idle).pop();
        let mut reader = idle.unwrap_or_else(|| self.journal.reader());
        let (reader, result) = run_in_background(move || {
            let result = read(&mut reader);
            (reader, result)
        })
        .await?;
        lock(&self.idle).push(reader);
        result.map_err(|error| match error {
            error if error.is_closed() => {
                let detail = "the daemon is stopping";
                Problem::new(ProblemCode::Unavailable, detail, HintCode::DaemonStopping)
            }
            error => internal_error(error),
        })
    }
}

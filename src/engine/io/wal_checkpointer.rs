//! Checkpoints SQLite's write-ahead log (WAL) on its own thread, so the engine does not wait for
//! it.
//!
//! It runs after commits and not periodically, so an idle daemon stays idle. It does not commit.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::store::{Checkpointer, StoreError};

/// Time without a commit before a checkpoint: while it begins the WAL again, a commit waits for the
/// disk.
const QUIET_TIME: Duration = Duration::from_millis(500);
/// Maximum time from a commit to the checkpoint, which bounds the WAL.
const MAX_CHECKPOINT_DELAY: Duration = Duration::from_secs(10);

/// Handle of the thread.
#[derive(Debug)]
pub(in crate::engine) struct WalCheckpointer {
    requests: mpsc::Sender<Request>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Request {
    Checkpoint,
    Replace(Checkpointer),
}

impl WalCheckpointer {
    /// Starts the thread. It reports a disk failure to the engine, because pages that were not
    /// synced then cannot be trusted afterwards: the store has to be reopened.
    ///
    /// # Errors
    /// The system refuses to create a thread.
    pub(in crate::engine) fn start(
        mut checkpointer: Checkpointer,
        report: impl Fn(StoreError) + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, received) = mpsc::channel();
        let work = move || {
            while let Ok(request) = received.recv() {
                let requested = match request {
                    Request::Checkpoint => coalesce(&received),
                    Request::Replace(new) => {
                        checkpointer = new;
                        continue;
                    }
                };
                #[cfg(debug_assertions)]
                crate::engine::failpoint::panic_if_requested();
                if let Err(error) = checkpointer.checkpoint() {
                    warn!(%error, "WAL checkpoint failed; retrying after the next commit");
                    if error.is_disk_failure() || error.is_corrupt() {
                        report(error);
                    }
                }
                match requested {
                    Coalesced::Timeout => {}
                    Coalesced::Replaced(new) => checkpointer = new,
                    Coalesced::Closed => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(work)?;
        Ok(Self { requests, thread })
    }

    /// Requests a checkpoint after a commit.
    pub(in crate::engine) fn committed(&self) {
        // Cannot fail: the thread runs until this sender is dropped.
        let _ = self.requests.send(Request::Checkpoint);
    }

    /// Uses the checkpointer of a store that was reopened.
    pub(in crate::engine) fn replace(&self, checkpointer: Checkpointer) {
        let _ = self.requests.send(Request::Replace(checkpointer));
    }

    /// Waits for the checkpoint of the last commit and ends the thread.
    pub(in crate::engine) fn stop(self) {
        drop(self.requests);
        let _ = self.thread.join();
    }
}

/// Why waiting for further commits ended.
enum Coalesced {
    Timeout,
    Replaced(Checkpointer),
    Closed,
}

/// Receives further requests until there is none for [`QUIET_TIME`].
fn coalesce(requests: &mpsc::Receiver<Request>) -> Coalesced {
    let latest = Instant::now() + MAX_CHECKPOINT_DELAY;
    loop {
        let left = latest.saturating_duration_since(Instant::now()).min(QUIET_TIME);
        match requests.recv_timeout(left) {
            Ok(Request::Checkpoint) if left < QUIET_TIME => return Coalesced::Timeout,
            Ok(Request::Checkpoint) => {}
            Ok(Request::Replace(new)) => return Coalesced::Replaced(new),
            Err(RecvTimeoutError::Timeout) => return Coalesced::Timeout,
            Err(RecvTimeoutError::Disconnected) => return Coalesced::Closed,
        }
    }
}

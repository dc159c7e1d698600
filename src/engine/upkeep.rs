//! Moves the store's log into its file, apart from the engine, which never waits for that.
//!
//! It runs after commits and not by the clock, so an idle daemon stays idle.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::warn;

use super::inbox::Inbox;
use crate::store::Checkpointer;

/// Commits are gathered for this long.
const CHECKPOINT_DELAY: Duration = Duration::from_secs(1);

/// The thread.
#[derive(Debug)]
pub(super) struct Upkeep {
    commits: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Upkeep {
    /// Starts the thread; a disk that failed is told to the engine: what was not synced then is
    /// never trusted again.
    pub(super) fn start(mut checkpointer: Checkpointer, inbox: Arc<Inbox>) -> Self {
        let (commits, committed) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            while committed.recv().is_ok() {
                let ended = coalesce_commits(&committed);
                if let Err(error) = checkpointer.checkpoint() {
                    warn!(%error, "the store's log stays as it is");
                    if error.is_disk_failure() || error.is_corrupt() {
                        inbox.store_failed(error);
                    }
                }
                if ended {
                    return;
                }
            }
        });
        Self { commits, thread }
    }

    /// Says that something was committed.
    pub(super) fn committed(&self) {
        // The thread ends only after this sender is gone.
        let _ = self.commits.send(());
    }

    pub(super) fn stop(self) {
        drop(self.commits);
        let _ = self.thread.join();
    }
}

/// Takes what comes for a while. Says whether nothing will come any more.
fn coalesce_commits(committed: &mpsc::Receiver<()>) -> bool {
    let until = std::time::Instant::now() + CHECKPOINT_DELAY;
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        match committed.recv_timeout(left) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
}

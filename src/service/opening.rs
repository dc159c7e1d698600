//! The store is being opened: the service manager is told again and again that this goes on, for it
//! may take longer than a start does otherwise.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use super::manager::Manager;

/// How much time is asked for at a time, and how often.
const MORE: Duration = Duration::from_mins(1);
const PERIOD: Duration = Duration::from_secs(20);
/// A disk that takes longer than 24 hours does not answer at all.
const MOST: u32 = 3 * 60 * 24;

/// Ends what is told when it is dropped.
pub(super) struct Opening {
    _ends: Sender<()>,
}

impl Opening {
    pub(super) fn begin(manager: Manager) -> Self {
        let (ends, ended) = mpsc::channel();
        manager.starting("opening the store", MORE);
        if manager.listens() {
            std::thread::spawn(move || {
                for _ in 0..MOST {
                    // Nothing is ever sent: it comes back early when the other end is gone.
                    if ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Disconnected) {
                        return;
                    }
                    manager.starting("opening the store", MORE);
                }
            });
        }
        Self { _ends: ends }
    }
}

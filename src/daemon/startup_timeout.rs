//! The store is being opened: the service manager is told again and again that this goes on, for it
//! may take longer than a start does otherwise.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use tracing::warn;

use crate::daemon::systemd_notify::{SystemdNotifier, TIMEOUT_EXTENSION};

const EXTENSION_INTERVAL: Duration = Duration::from_secs(20);
/// A disk that takes longer than 24 hours does not answer at all.
const MAX_EXTENSIONS: u32 = 3 * 60 * 24;

/// Ends what is told when it is dropped.
pub(crate) struct StartupTimeoutExtender {
    _stop: Sender<()>,
}

impl StartupTimeoutExtender {
    pub(crate) fn start(manager: SystemdNotifier) -> Self {
        let (ends, ended) = mpsc::channel();
        manager.extend_timeout("opening the store", TIMEOUT_EXTENSION);
        if manager.is_enabled() {
            let thread = thread::Builder::new().name("startup-timeout".to_owned());
            let spawned = thread.spawn(move || {
                for _ in 0..MAX_EXTENSIONS {
                    // Nothing is ever sent: it comes back early when the other end is gone.
                    if ended.recv_timeout(EXTENSION_INTERVAL) == Err(RecvTimeoutError::Disconnected)
                    {
                        return;
                    }
                    manager.extend_timeout("opening the store", TIMEOUT_EXTENSION);
                }
            });
            if let Err(error) = spawned {
                warn!(%error, "cannot extend systemd's start timeout while the store opens");
            }
        }
        Self { _stop: ends }
    }
}

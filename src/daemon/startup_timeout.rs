//! Extends systemd's start timeout (`EXTEND_TIMEOUT_USEC`) while the store opens, which may take
//! longer than `TimeoutStartSec` after a crash or for a migration.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use tracing::warn;

use crate::daemon::systemd_notify::{SystemdNotifier, TIMEOUT_EXTENSION};

/// Interval at which the timeout is extended; shorter than each extension.
const EXTENSION_INTERVAL: Duration = Duration::from_secs(20);
/// Maximum number of extensions, 24 hours: then systemd ends the start, because the disk does not
/// respond.
const MAX_EXTENSIONS: u32 = 3 * 60 * 24;

/// Extends the start timeout from a thread of its own until it is dropped.
pub(crate) struct StartupTimeoutExtender {
    _stop: Sender<()>,
}

impl StartupTimeoutExtender {
    pub(crate) fn start(notifier: SystemdNotifier) -> Self {
        let (stop, stopped) = mpsc::channel();
        notifier.extend_timeout("opening the store", TIMEOUT_EXTENSION);
        if notifier.is_enabled() {
            let thread = thread::Builder::new().name("startup-timeout".to_owned());
            let spawned = thread.spawn(move || {
                for _ in 0..MAX_EXTENSIONS {
                    // Nothing is sent; the channel is disconnected when the extender is dropped.
                    if stopped.recv_timeout(EXTENSION_INTERVAL)
                        == Err(RecvTimeoutError::Disconnected)
                    {
                        return;
                    }
                    notifier.extend_timeout("opening the store", TIMEOUT_EXTENSION);
                }
            });
            if let Err(error) = spawned {
                warn!(%error, "cannot extend systemd's start timeout while the store opens");
            }
        }
        Self { _stop: stop }
    }
}

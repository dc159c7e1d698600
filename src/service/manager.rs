//! What the service manager is told of this process, where one listens.
//!
//! Nothing here is needed for the daemon to work: a message that cannot be sent is noted, and all
//! goes on.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

use crate::core::path::printable;

/// The service manager that started this process, if any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manager {
    listens: bool,
}

impl Manager {
    /// Asks the environment.
    pub(super) fn of_process() -> Self {
        Self { listens: std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty()) }
    }

    /// Whether there is one.
    pub(super) fn listens(self) -> bool {
        self.listens
    }

    /// How often it wants to hear that this process lives, at least; it is ended otherwise.
    pub(super) fn watchdog(self) -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|period| self.listens && !period.is_zero())
    }

    /// What is going on, in words.
    pub(super) fn status(self, text: &str) {
        self.tell(&[NotifyState::Status(&printable(text))]);
    }

    /// The start goes on, and may take this long from now.
    pub(super) fn starting(self, text: &str, more: Duration) {
        let more = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
        let text = printable(text);
        self.tell(&[NotifyState::Status(&text), NotifyState::ExtendTimeoutUsec(more)]);
    }

    /// The start, or a reload, is done.
    pub(super) fn ready(self, text: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(&printable(text))]);
    }

    /// A reload has begun.
    pub(super) fn reloading(self) {
        let now = NotifyState::monotonic_usec_now().ok();
        let begun = [NotifyState::Reloading, NotifyState::Status("reading the configuration")];
        self.tell(&begun.into_iter().chain(now).collect::<Vec<_>>());
    }

    /// The stop has begun.
    pub(super) fn stopping(self) {
        self.tell(&[
            NotifyState::Stopping,
            NotifyState::Status("stopping: what has settled is written"),
        ]);
    }

    /// A sign of life.
    pub(super) fn lives(self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(self, states: &[NotifyState<'_>]) {
        if self.listens
            && let Err(error) = sd_notify::notify(states)
        {
            warn!(%error, "the service manager cannot be told");
        }
    }
}

//! What the service manager is told of this process, where one listens.
//!
//! Nothing here is needed for the daemon to work: a message that cannot be sent is noted, and all
//! goes on.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

use crate::core::path::escape_unprintable;

/// How much time is asked for at a time.
pub(crate) const TIMEOUT_EXTENSION: Duration = Duration::from_mins(1);

/// The service manager that started this process, if any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemdNotifier {
    enabled: bool,
}

impl SystemdNotifier {
    /// Asks the environment.
    pub(crate) fn from_env() -> Self {
        Self { enabled: std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty()) }
    }

    /// Whether there is one.
    pub(crate) fn is_enabled(self) -> bool {
        self.enabled
    }

    /// How often it wants to hear that this process lives, at least; it is ended otherwise.
    pub(crate) fn watchdog_timeout(self) -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|period| self.enabled && !period.is_zero())
    }

    /// What is going on, in words.
    pub(crate) fn set_status(self, text: &str) {
        self.send(&[NotifyState::Status(&escape_unprintable(text))]);
    }

    /// The start goes on, and may take this long from now.
    pub(crate) fn extend_timeout(self, text: &str, more: Duration) {
        let more = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
        let text = escape_unprintable(text);
        self.send(&[NotifyState::Status(&text), NotifyState::ExtendTimeoutUsec(more)]);
    }

    /// The start, or a reload, is done.
    pub(crate) fn notify_ready(self, text: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&escape_unprintable(text))]);
    }

    /// A reload has begun.
    pub(crate) fn notify_reloading(self) {
        let now = NotifyState::monotonic_usec_now().ok();
        let begun = [NotifyState::Reloading, NotifyState::Status("reading the configuration")];
        self.send(&begun.into_iter().chain(now).collect::<Vec<_>>());
    }

    /// The stop has begun.
    pub(crate) fn notify_stopping(self) {
        self.send(&[
            NotifyState::Stopping,
            NotifyState::Status("stopping: what has settled is written"),
        ]);
    }

    /// A sign of life.
    pub(crate) fn notify_watchdog(self) {
        self.send(&[NotifyState::Watchdog]);
    }

    fn send(self, states: &[NotifyState<'_>]) {
        if self.enabled
            && let Err(error) = sd_notify::notify(states)
        {
            warn!(%error, "the service manager cannot be told");
        }
    }
}

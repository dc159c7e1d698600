//! Notifications to systemd (`sd_notify(3)`): readiness, status, watchdog and timeouts, and descriptors
//! that it keeps over a restart.
//!
//! The daemon works without them: a notification that cannot be sent is logged and otherwise
//! ignored.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sd_notify::NotifyState;
use tracing::warn;

use crate::api::KeepRequest;
use crate::core::path::escape_unprintable;
use crate::daemon::socket_activation::{DASHBOARD_LISTENER, DASHBOARD_SESSIONS};

/// Duration by which one extension moves systemd's start timeout.
pub(crate) const TIMEOUT_EXTENSION: Duration = Duration::from_mins(1);

/// Sends notifications if systemd started this process; otherwise does nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemdNotifier {
    enabled: bool,
}

impl SystemdNotifier {
    /// Creates a notifier that is enabled if `NOTIFY_SOCKET` is set.
    pub(crate) fn from_env() -> Self {
        Self { enabled: std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty()) }
    }

    /// Returns true if systemd receives the notifications.
    pub(crate) fn is_enabled(self) -> bool {
        self.enabled
    }

    /// Returns `WatchdogSec=`: without a notification for this long, systemd kills the process.
    pub(crate) fn watchdog_timeout(self) -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|period| self.enabled && !period.is_zero())
    }

    /// Sets the status line.
    pub(crate) fn set_status(self, text: &str) {
        self.send(&[NotifyState::Status(&escape_unprintable(text))]);
    }

    /// Sets the status line and moves the start timeout to `more` from now.
    pub(crate) fn extend_timeout(self, text: &str, more: Duration) {
        let more = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
        let text = escape_unprintable(text);
        self.send(&[NotifyState::Status(&text), NotifyState::ExtendTimeoutUsec(more)]);
    }

    /// Reports that the start or a reload is complete.
    pub(crate) fn notify_ready(self, text: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&escape_unprintable(text))]);
    }

    /// Reports that a reload has started.
    pub(crate) fn notify_reloading(self) {
        let now = NotifyState::monotonic_usec_now().ok();
        let states = [NotifyState::Reloading, NotifyState::Status("reloading the configuration")];
        self.send(&states.into_iter().chain(now).collect::<Vec<_>>());
    }

    /// Reports that the process is stopping.
    pub(crate) fn notify_stopping(self) {
        self.send(&[
            NotifyState::Stopping,
            NotifyState::Status("stopping: committing pending changes"),
        ]);
    }

    /// Resets the watchdog's timeout.
    pub(crate) fn notify_watchdog(self) {
        self.send(&[NotifyState::Watchdog]);
    }

    /// Has systemd keep the dashboard over a restart, as far as the unit allows
    /// (`FileDescriptorStoreMax=`), or close what it keeps.
    pub(crate) fn keep_dashboard(self, request: &KeepRequest<'_>) {
        if !self.enabled {
            return;
        }
        let sent = match request {
            KeepRequest::Keep { listener, sessions } => {
                store_descriptor(DASHBOARD_LISTENER, *listener)
                    .and_then(|()| store_descriptor(DASHBOARD_SESSIONS, *sessions))
            }
            KeepRequest::Remove => remove_descriptor(DASHBOARD_LISTENER)
                .and_then(|()| remove_descriptor(DASHBOARD_SESSIONS)),
        };
        if let Err(error) = sent {
            warn!(%error, "cannot change what systemd keeps of the dashboard over a restart");
        }
    }

    fn send(self, states: &[NotifyState<'_>]) {
        if self.enabled
            && let Err(error) = sd_notify::notify(states)
        {
            warn!(%error, "cannot notify systemd");
        }
    }
}

/// Has systemd store a descriptor under a name.
fn store_descriptor(name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    notify_with_descriptors(&format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0\n"), &[descriptor])
}

/// Has systemd close what it has stored under a name.
fn remove_descriptor(name: &str) -> io::Result<()> {
    notify_with_descriptors(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), &[])
}

/// Sends a notification with at most one descriptor. `sd_notify` can do that only with another crate.
fn notify_with_descriptors(text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let path = std::env::var_os("NOTIFY_SOCKET").ok_or(io::ErrorKind::NotFound)?;
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let text = [IoSlice::new(text.as_bytes())];
    sendmsg(&socket, &text, &mut control, SendFlags::empty())?;
    Ok(())
}

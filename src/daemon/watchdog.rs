//! Sends systemd's watchdog notifications while the engine responds.
//!
//! A timer would only prove that the async runtime works. Here the engine's loop itself must take a
//! command from its inbox and reply.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::error;

use crate::daemon::systemd_notify::SystemdNotifier;
use crate::engine::command::Command;
use crate::engine::inbox::Inbox;

/// Returns true if the engine replies to a ping within `limit`.
pub(crate) async fn is_engine_responsive(inbox: &Inbox, limit: Duration) -> bool {
    let (reply, replied) = oneshot::channel();
    // A full inbox means that the engine does not process commands either.
    inbox.command(Command::Ping { reply }).is_ok()
        && matches!(timeout(limit, replied).await, Ok(Ok(())))
}

/// Resets systemd's watchdog while the engine responds. Returns only if the watchdog is disabled.
pub(crate) async fn feed_watchdog(notifier: SystemdNotifier, inbox: Arc<Inbox>) {
    let Some(period) = notifier.watchdog_timeout() else {
        return;
    };
    loop {
        if is_engine_responsive(&inbox, period).await {
            notifier.notify_watchdog();
        } else {
            error!("the engine does not respond; systemd will restart the daemon");
        }
        sleep(period / 4).await;
    }
}

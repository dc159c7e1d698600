//! Whether the engine lives, and what the service manager hears of it.
//!
//! A timer that fires proves only that the runtime lives. What is told here comes from the engine's
//! own loop: it takes a command and answers it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::error;

use crate::daemon::systemd_notify::SystemdNotifier;
use crate::engine::inbox::{Command, Inbox};

/// Whether the engine's loop comes to a command within this time.
pub(crate) async fn is_engine_responsive(inbox: &Inbox, patience: Duration) -> bool {
    let (reply, answered) = oneshot::channel();
    // An inbox that is full is not being emptied.
    inbox.command(Command::Ping { reply }).is_ok()
        && matches!(timeout(patience, answered).await, Ok(Ok(())))
}

/// Gives a sign of life for as long as the engine answers; without end.
pub(crate) async fn feed_watchdog(manager: SystemdNotifier, inbox: Arc<Inbox>) {
    let Some(period) = manager.watchdog_timeout() else {
        return;
    };
    loop {
        if is_engine_responsive(&inbox, period).await {
            manager.notify_watchdog();
        } else {
            error!("the engine does not answer; the service manager will start the daemon again");
        }
        sleep(period / 4).await;
    }
}

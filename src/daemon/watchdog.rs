//! Whether the engine lives, and what the service manager hears of it.
//!
//! A timer that fires proves only that the runtime lives. What is told here comes from the engine's
//! own loop: it takes a command and answers it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use tracing::error;

use crate::config::ConfigState;
use crate::daemon::status_line;
use crate::daemon::systemd_notify::SystemdNotifier;
use crate::engine::inbox::{Command, Inbox};
use crate::engine::view::Views;

/// Between two changes of what is shown in words.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

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

/// Keeps what is shown in words true; without end.
pub(crate) async fn update_status_line(
    manager: SystemdNotifier,
    views: Arc<Views>,
    mut config: watch::Receiver<ConfigState>,
) {
    let mut news = views.news();
    let mut shown = String::new();
    loop {
        let text = status_line::format_status(&views.world(), &config.borrow_and_update());
        if text != shown {
            manager.set_status(&text);
            shown = text;
        }
        sleep(STATUS_INTERVAL).await;
        let changed = tokio::select! {
            changed = news.changed() => changed,
            changed = config.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

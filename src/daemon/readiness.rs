//! Readiness: waits until the initial scan is complete and the socket accepts requests.
//!
//! The daemon asks its own socket, like any client: a socket that was replaced or removed is
//! noticed.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::daemon::systemd_notify::{SystemdNotifier, TIMEOUT_EXTENSION};
use crate::daemon::{status_line, watchdog};
use crate::engine::inbox::Inbox;
use crate::engine::read_model::StatePublisher;

/// Minimum pause between two health requests.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Timeout for a health request and for the engine's response to a ping. An engine that exceeds it
/// gets no more time from systemd.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

const HEALTH_REQUEST: &[u8] =
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Waits until the health request through `socket` succeeds. Extends systemd's start timeout while
/// the engine responds.
pub(crate) async fn wait_until_ready(
    notifier: SystemdNotifier,
    inbox: &Inbox,
    views: &StatePublisher,
    socket: &Path,
) {
    let mut world_changes = views.subscribe();
    let mut logged = false;
    loop {
        match timeout(PROBE_TIMEOUT, request_health(socket)).await {
            Ok(Ok(status)) if status == *b"HTTP/1.1 200" => return,
            // No extension: without its socket the daemon is of no use.
            Ok(Err(error)) => {
                let text = format!(
                    "cannot connect to the daemon's own socket {}: {error}",
                    socket.display()
                );
                if !std::mem::replace(&mut logged, true) {
                    warn!("{text}");
                }
                notifier.set_status(&text);
            }
            Ok(Ok(_)) | Err(_) => {
                if watchdog::is_engine_responsive(inbox, PROBE_TIMEOUT).await {
                    notifier.extend_timeout(
                        &status_line::format_indexing(&views.load()),
                        TIMEOUT_EXTENSION,
                    );
                }
            }
        }
        let _ = timeout(PROBE_TIMEOUT, world_changes.changed()).await;
        sleep(POLL_INTERVAL).await;
    }
}

/// Sends `GET /healthz` through `socket` and returns the first 12 bytes of the status line.
async fn request_health(socket: &Path) -> io::Result<[u8; 12]> {
    let stream = UnixStream::connect(socket).await?;
    stream.writable().await?;
    if stream.try_write(HEALTH_REQUEST)? != HEALTH_REQUEST.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let mut head = [0; 12];
    let mut read = 0;
    while read < head.len() {
        stream.readable().await?;
        match stream.try_read(&mut head[read..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(head)
}

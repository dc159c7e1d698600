//! Readiness: the first index stands, and the socket answers so.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::daemon::systemd_notify::{SystemdNotifier, TIMEOUT_EXTENSION};
use crate::daemon::{status_line, watchdog};
use crate::engine::inbox::Inbox;
use crate::engine::view::Views;

/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long the engine may be silent before the start is no longer held to go on.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

const HEALTH_REQUEST: &[u8] =
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Waits until a client of the socket is told that all is indexed.
pub(crate) async fn wait_until_ready(
    manager: SystemdNotifier,
    inbox: &Inbox,
    views: &Views,
    socket: &Path,
) {
    let mut news = views.news();
    let mut said = false;
    loop {
        match timeout(PROBE_TIMEOUT, request_health(socket)).await {
            Ok(Ok(status)) if status == *b"HTTP/1.1 200" => return,
            // No time is asked for: without its socket the daemon is of no use to anyone.
            Ok(Err(error)) => {
                let text = format!("nobody reaches it at {}: {error}", socket.display());
                if !std::mem::replace(&mut said, true) {
                    warn!("{text}");
                }
                manager.set_status(&text);
            }
            Ok(Ok(_)) | Err(_) => {
                if watchdog::is_engine_responsive(inbox, PROBE_TIMEOUT).await {
                    manager.extend_timeout(
                        &status_line::format_indexing(&views.world()),
                        TIMEOUT_EXTENSION,
                    );
                }
            }
        }
        let _ = timeout(PROBE_TIMEOUT, news.changed()).await;
        sleep(POLL_INTERVAL).await;
    }
}

/// What the socket answers, as it would anyone, to the question whether the first index stands.
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

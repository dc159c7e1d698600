//! Readiness: the first index stands, and the socket answers so.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::manager::Manager;
use super::{pulse, words};
use crate::engine::inbox::Inbox;
use crate::engine::view::Views;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the engine may be silent before the start is no longer held to go on.
const SILENCE: Duration = Duration::from_secs(20);
/// How much time is asked for at a time.
const MORE: Duration = Duration::from_mins(1);

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Waits until a client of the socket is told that all is indexed.
pub(super) async fn wait(manager: Manager, inbox: &Inbox, views: &Views, socket: &Path) {
    let mut news = views.news();
    let mut said = false;
    loop {
        match timeout(SILENCE, ask(socket)).await {
            Ok(Ok(status)) if status == *b"HTTP/1.1 200" => return,
            // No time is asked for: without its socket the daemon is of no use to anyone.
            Ok(Err(error)) => {
                let text = format!("nobody reaches it at {}: {error}", socket.display());
                if !std::mem::replace(&mut said, true) {
                    warn!("{text}");
                }
                manager.status(&text);
            }
            Ok(Ok(_)) | Err(_) => {
                if pulse::answers(inbox, SILENCE).await {
                    manager.starting(&words::indexing(&views.world()), MORE);
                }
            }
        }
        let _ = timeout(SILENCE, news.changed()).await;
        sleep(PAUSE).await;
    }
}

/// What the socket answers, as it would anyone, to the question whether the first index stands.
async fn ask(socket: &Path) -> io::Result<[u8; 12]> {
    let stream = UnixStream::connect(socket).await?;
    stream.writable().await?;
    if stream.try_write(REQUEST)? != REQUEST.len() {
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

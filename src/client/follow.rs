//! Follows the event stream across connections. After the daemon was unreachable the stream resumes
//! after the last returned message, so no message is lost or repeated.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use crate::client::connect::Client;
use crate::client::error::ClientError;
use crate::client::request::RequestPath;
use crate::client::sse::SseMessage;
use crate::client::stream::EventStream;
use crate::wire::hint::HintCode;

/// First pause between two attempts to reconnect; it doubles with each attempt.
const RECONNECT_BACKOFF_MIN: Duration = Duration::from_millis(20);
/// Longest pause between two attempts to reconnect.
const RECONNECT_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What [`Follower::next`] returns.
#[derive(Debug)]
pub enum FollowEvent {
    /// A message of the stream.
    Message(SseMessage),
    /// The connection was lost. Returned once; the follower reconnects until it succeeds.
    Disconnected(ClientError),
    /// The connection is open again; the messages sent meanwhile follow. A daemon that was
    /// restarted no longer watches projects that were added with `keep: false`.
    Reconnected,
}

/// A reader of the event stream that reconnects.
#[derive(Debug)]
pub struct Follower {
    socket: PathBuf,
    path: RequestPath,
    cursor: String,
    stream: Option<EventStream>,
    disconnected: bool,
    backoff: Duration,
}

impl Follower {
    /// Follows the daemon at `socket` from a cursor, `start` or `now`.
    #[must_use]
    pub fn new(socket: &Path, since: &str) -> Self {
        Self::with_path(socket, RequestPath::new("/api/events"), since)
    }

    /// Follows like [`Follower::new`], with the filters of `path`.
    #[must_use]
    pub fn with_path(socket: &Path, path: RequestPath, since: &str) -> Self {
        let (socket, since) = (socket.to_owned(), since.to_owned());
        Self {
            socket,
            path,
            cursor: since,
            stream: None,
            disconnected: false,
            backoff: RECONNECT_BACKOFF_MIN,
        }
    }

    /// Returns the cursor of the last message that had one.
    #[must_use]
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Waits for the next message or change of the connection. Cancel safe: dropping the future
    /// loses no message.
    ///
    /// # Errors
    /// [`ClientError::Problem`] if the daemon refuses the stream, except with status 503, which is
    /// retried; [`ClientError::WrongUser`].
    pub async fn next(&mut self) -> Result<FollowEvent, ClientError> {
        loop {
            let Some(stream) = &mut self.stream else {
                if let Some(event) = self.connect().await? {
                    return Ok(event);
                }
                continue;
            };
            match stream.next().await {
                Ok(Some(message)) => {
                    if !message.id.is_empty() {
                        self.cursor.clone_from(&message.id);
                    }
                    return Ok(FollowEvent::Message(message));
                }
                Ok(None) => {
                    return Ok(self.on_disconnect(ClientError::NoDaemon(self.socket.clone())));
                }
                Err(error) => return Ok(self.on_disconnect(error)),
            }
        }
    }

    fn on_disconnect(&mut self, error: ClientError) -> FollowEvent {
        self.stream = None;
        self.disconnected = true;
        FollowEvent::Disconnected(error)
    }

    async fn connect(&mut self) -> Result<Option<FollowEvent>, ClientError> {
        match self.open_stream().await {
            Ok(stream) => {
                self.stream = Some(stream);
                self.backoff = RECONNECT_BACKOFF_MIN;
                Ok(std::mem::take(&mut self.disconnected).then_some(FollowEvent::Reconnected))
            }
            Err(error @ (ClientError::Problem(_) | ClientError::WrongUser { .. })) => {
                let invalid = HintCode::InvalidConfiguration.as_str();
                let is_starting = matches!(&error, ClientError::Problem(problem)
                    if problem.status == 503 && problem.hint_code != invalid);
                if is_starting { self.wait_backoff(error).await } else { Err(error) }
            }
            Err(error) => self.wait_backoff(error).await,
        }
    }

    async fn wait_backoff(
        &mut self,
        error: ClientError,
    ) -> Result<Option<FollowEvent>, ClientError> {
        if !self.disconnected {
            return Ok(Some(self.on_disconnect(error)));
        }
        sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).min(RECONNECT_BACKOFF_MAX);
        Ok(None)
    }

    async fn open_stream(&self) -> Result<EventStream, ClientError> {
        let client = Client::connect(&self.socket).await?;
        EventStream::open(client, &self.path.clone().with("since", &self.cursor)).await
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Follows a daemon that sends each of `streams` on a connection of its own, until `count`
    /// messages were returned; returns the request lines.
    async fn request_lines(streams: &'static [&'static str], count: usize) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = std::thread::spawn(move || {
            let requests = streams.iter().map(|stream| {
                let mut connection = listener.accept().unwrap().0;
                let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                while !lines.next().unwrap().unwrap().is_empty() {}
                write!(connection, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{stream}").unwrap();
                request
            });
            requests.collect()
        });
        let mut follower = Follower::new(&socket, "i:1");
        let mut messages = 0;
        while messages < count {
            messages +=
                usize::from(matches!(follower.next().await.unwrap(), FollowEvent::Message(_)));
        }
        drop(follower);
        daemon.join().unwrap()
    }

    #[tokio::test]
    async fn follower_requests_a_gap_again_when_the_stream_ends_inside_it() {
        let streams = &[
            "event: gap\ndata: {}\n\nevent: snapshot\ndata: {}\n\n",
            "event: gap\ndata: {}\n\nid: i:9\nevent: snapshot\ndata: {}\n\n",
            "id: i:10\nevent: x\ndata: {}\n\n",
        ];
        let requests = request_lines(streams, 5).await;
        let since: Vec<_> =
            requests.iter().map(|line| line.split("since=").nth(1).unwrap()).collect();
        assert_eq!(since, ["i%3A1", "i%3A1", "i%3A9"].map(|since| format!("{since} HTTP/1.1")));
    }
}

//! The stream of events over any number of connections: after the daemon was away it goes on behind
//! the last message that was handed out, so none comes twice and none is lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use crate::client::connect::Client;
use crate::client::error::ClientError;
use crate::client::request::RequestPath;
use crate::client::sse::SseMessage;
use crate::client::stream::EventStream;

/// The first pause between two tries to reach a daemon that is away.
const RECONNECT_BACKOFF_MIN: Duration = Duration::from_millis(20);
/// The longest.
const RECONNECT_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What comes of following.
#[derive(Debug)]
pub enum FollowEvent {
    /// A message.
    Message(SseMessage),
    /// The daemon is away; this is said once.
    Disconnected(ClientError),
    /// It is there again, and what happened meanwhile follows. Projects that it watched for its
    /// life only are forgotten.
    Reconnected,
}

/// A reader of the journal that stays.
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

    /// As [`Follower::new`], with what `path` lets through.
    #[must_use]
    pub fn with_path(socket: &Path, wanted: RequestPath, since: &str) -> Self {
        let (socket, since) = (socket.to_owned(), since.to_owned());
        Self {
            socket,
            path: wanted,
            cursor: since,
            stream: None,
            disconnected: false,
            backoff: RECONNECT_BACKOFF_MIN,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The next news. Nothing is lost when it is not waited for to the end.
    ///
    /// # Errors
    /// [`ClientError::Problem`] when the daemon does not give a stream, [`ClientError::WrongUser`].
    pub async fn next(&mut self) -> Result<FollowEvent, ClientError> {
        loop {
            let Some(stream) = &mut self.stream else {
                if let Some(news) = self.connect().await? {
                    return Ok(news);
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
                let starting = matches!(&error, ClientError::Problem(why) if why.status == 503);
                if starting { self.wait_backoff(error).await } else { Err(error) }
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

    /// What is asked for, of a daemon that says each of `streams` and then goes away.
    async fn asked(streams: &'static [&'static str], heard: usize) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = std::thread::spawn(move || {
            let said = streams.iter().map(|stream| {
                let mut connection = listener.accept().unwrap().0;
                let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
                let asked = lines.next().unwrap().unwrap();
                while !lines.next().unwrap().unwrap().is_empty() {}
                write!(connection, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{stream}").unwrap();
                asked
            });
            said.collect()
        });
        let mut follower = Follower::new(&socket, "i:1");
        let mut messages = 0;
        while messages < heard {
            messages +=
                usize::from(matches!(follower.next().await.unwrap(), FollowEvent::Message(_)));
        }
        drop(follower);
        daemon.join().unwrap()
    }

    #[tokio::test]
    async fn what_breaks_off_within_a_gap_is_asked_for_again() {
        let streams = &[
            "event: gap\ndata: {}\n\nevent: snapshot\ndata: {}\n\n",
            "event: gap\ndata: {}\n\nid: i:9\nevent: snapshot\ndata: {}\n\n",
            "id: i:10\nevent: x\ndata: {}\n\n",
        ];
        let asked = asked(streams, 5).await;
        let since: Vec<_> = asked.iter().map(|line| line.split("since=").nth(1).unwrap()).collect();
        assert_eq!(since, ["i%3A1", "i%3A1", "i%3A9"].map(|since| format!("{since} HTTP/1.1")));
    }
}

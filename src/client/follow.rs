//! The stream of events over any number of connections: after the daemon was away it goes on behind
//! the last message that was handed out, so none comes twice and none is lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use super::{Client, ClientError, Message, Stream, Target};

/// The first pause between two tries to reach a daemon that is away, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What comes of following.
#[derive(Debug)]
pub enum News {
    /// A message.
    Message(Message),
    /// The daemon is away; this is said once.
    Away(ClientError),
    /// It is there again, and what happened meanwhile follows. Projects that it watched for its
    /// life only are forgotten.
    Back,
}

/// A reader of the journal that stays.
#[derive(Debug)]
pub struct Follower {
    socket: PathBuf,
    wanted: Target,
    since: String,
    stream: Option<Stream>,
    away: bool,
    pause: Duration,
}

impl Follower {
    /// Follows the daemon at `socket` from a cursor, `start` or `now`.
    #[must_use]
    pub fn new(socket: &Path, since: &str) -> Self {
        Self::of(socket, Target::new("/api/events"), since)
    }

    /// As [`Follower::new`], with what `wanted` lets through.
    #[must_use]
    pub fn of(socket: &Path, wanted: Target, since: &str) -> Self {
        let (socket, since) = (socket.to_owned(), since.to_owned());
        Self { socket, wanted, since, stream: None, away: false, pause: PAUSES.0 }
    }

    /// Where it stands.
    #[must_use]
    pub fn cursor(&self) -> &str {
        &self.since
    }

    /// The next news. Nothing is lost when it is not waited for to the end.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the daemon does not give a stream, [`ClientError::Foreign`].
    pub async fn next(&mut self) -> Result<News, ClientError> {
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
                        self.since.clone_from(&message.id);
                    }
                    return Ok(News::Message(message));
                }
                Ok(None) => return Ok(self.lost(ClientError::NoDaemon(self.socket.clone()))),
                Err(error) => return Ok(self.lost(error)),
            }
        }
    }

    fn lost(&mut self, error: ClientError) -> News {
        self.stream = None;
        self.away = true;
        News::Away(error)
    }

    async fn connect(&mut self) -> Result<Option<News>, ClientError> {
        match self.open().await {
            Ok(stream) => {
                self.stream = Some(stream);
                self.pause = PAUSES.0;
                Ok(std::mem::take(&mut self.away).then_some(News::Back))
            }
            Err(error @ (ClientError::Refused(_) | ClientError::Foreign { .. })) => {
                let starting = matches!(&error, ClientError::Refused(why) if why.status == 503);
                if starting { self.wait(error).await } else { Err(error) }
            }
            Err(error) => self.wait(error).await,
        }
    }

    async fn wait(&mut self, error: ClientError) -> Result<Option<News>, ClientError> {
        if !self.away {
            return Ok(Some(self.lost(error)));
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        Ok(None)
    }

    async fn open(&self) -> Result<Stream, ClientError> {
        let client = Client::connect(&self.socket).await?;
        client.stream(&self.wanted.clone().with("since", &self.since)).await
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
            messages += usize::from(matches!(follower.next().await.unwrap(), News::Message(_)));
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

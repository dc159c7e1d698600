//! How long a client may take to read an answer.
//!
//! One that reads nothing for a while is given up, and so is one that has not read all in the time
//! for an answer of that length, whatever it reads now and then: a large answer keeps its room until
//! it has left. Who reads a stream may rest as long as it likes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

/// How slowly an answer may be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// An answer of which nothing is read for so long is given up.
    pub(super) silence: Duration,
    /// Every answer has so much time, whatever its length.
    pub(super) least: Duration,
    /// And a second more for each so many bytes.
    pub(super) bytes: u64,
}

impl Pace {
    /// That of all clients.
    pub(super) const USUAL: Self =
        Self { silence: Duration::from_secs(10), least: Duration::from_secs(30), bytes: 64 << 10 };

    /// The time for an answer of that length.
    fn time_for(self, length: u64) -> Duration {
        self.least + Duration::from_secs(length / self.bytes)
    }
}

/// What is being written to a client, and how long that may take.
#[derive(Debug)]
pub(super) struct Patience {
    pace: Pace,
    writing: Mutex<Writing>,
}

#[derive(Debug, Clone, Copy)]
enum Writing {
    /// What is left of an answer, while the next is in the making.
    Rest,
    /// An answer that is to be read by then.
    Answer(Instant),
    Stream,
}

impl Patience {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, writing: Mutex::new(Writing::Rest) }
    }

    /// Takes that something was asked.
    pub(super) fn asked(&self) {
        self.set(Writing::Rest);
    }

    /// Takes that an answer of so many bytes begins.
    pub(super) fn answers(&self, length: u64, now: Instant) {
        self.set(Writing::Answer(now + self.pace.time_for(length)));
    }

    /// Takes that a stream begins.
    pub(super) fn streams(&self) {
        self.set(Writing::Stream);
    }

    /// How long a client that does not read now may go on so; `None` for as long as it likes.
    fn left(&self, now: Instant) -> Option<Duration> {
        let silence = self.pace.silence;
        match *self.writing.lock().unwrap_or_else(PoisonError::into_inner) {
            Writing::Rest => Some(silence),
            Writing::Answer(by) => Some(by.saturating_duration_since(now).min(silence)),
            Writing::Stream => None,
        }
    }

    fn set(&self, writing: Writing) {
        *self.writing.lock().unwrap_or_else(PoisonError::into_inner) = writing;
    }
}

/// A stream that gives up a client that does not read, or too slowly.
pub(super) struct Impatient<S> {
    stream: TokioIo<S>,
    patience: Arc<Patience>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    pub(super) fn new(stream: S, patience: Arc<Patience>) -> Self {
        Self { stream: TokioIo::new(stream), patience, stalled: None }
    }

    fn watch<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let left = if polled.is_ready() { None } else { self.patience.left(Instant::now()) };
        let Some(left) = left else {
            self.stalled = None;
            return polled;
        };
        let new = || Box::pin(sleep(left));
        match self.stalled.get_or_insert_with(new).as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> Read for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> Write for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(polled, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(polled, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.watch(polled, context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use axum::Router;
    use axum::response::IntoResponse;
    use axum::routing::get;
    use tokio::sync::watch;
    use tokio::task::spawn_blocking;

    use super::*;
    use crate::api::listen::Server;
    use crate::api::respond::large;

    /// Of two such answers only one has room.
    const LENGTH: usize = 70 << 20;

    #[test]
    fn an_answer_has_a_time_by_its_length_and_what_is_read_of_it_makes_that_no_longer() {
        let second = Duration::from_secs;
        let (patience, begun) = (Patience::new(Pace::USUAL), Instant::now());
        assert_eq!(patience.left(begun), Some(second(10)));
        patience.answers(5 << 20, begun);
        let left = |after| patience.left(begun + second(after));
        assert_eq!(
            [0, 99, 100, 105, 110, 4_000].map(left),
            [10, 10, 10, 5, 0, 0].map(|left| Some(second(left)))
        );
        // The next request has nothing to do with it.
        patience.asked();
        assert_eq!(left(4_000), Some(second(10)));
        patience.answers(100, begun);
        assert_eq!([25, 30].map(left), [5, 0].map(|left| Some(second(left))));
        patience.streams();
        assert_eq!(left(4_000), None);
    }

    /// A connection to a server that is read at that pace, on which a large answer is asked for.
    async fn asked(pace: Pace) -> (UnixStream, watch::Sender<bool>) {
        let answer = || async {
            let made = large(|| Ok((vec![b'x'; LENGTH], ()))).await;
            made.map_or_else(IntoResponse::into_response, |(answer, ())| answer)
        };
        let router = Router::new().route("/", get(answer));
        let mut server = Server::new(1, Arc::default(), Arc::new(["/"]), router);
        server.pace = pace;
        let (mut client, stream) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream);
        let (stream, permit) = server.accept(async { stream }).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        server.converse(stream, permit, stopped);
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        (client, stop)
    }

    #[tokio::test]
    async fn who_reads_a_large_answer_byte_by_byte_is_given_up_and_its_room_is_anothers() {
        // Reading a byte now and then, it would never be silent for so long.
        let pace = Pace { silence: Duration::MAX / 4, least: Duration::ZERO, bytes: u64::MAX };
        let (mut slow, _stop) = asked(pace).await;
        let read = spawn_blocking(move || {
            let mut byte = [0];
            (0..4 << 20).take_while(|_| slow.read(&mut byte).is_ok_and(|count| count > 0)).count()
        });
        let read = read.await.unwrap();
        assert!((1..4 << 20).contains(&read), "{read} bytes were read of it");
        let (mut other, _stop) = asked(Pace::USUAL).await;
        let answer = spawn_blocking(move || {
            let mut answer = Vec::new();
            other.read_to_end(&mut answer).map(|_| answer)
        });
        let answer = answer.await.unwrap().unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{} bytes", answer.len());
        assert!(answer.len() > LENGTH, "{} bytes", answer.len());
    }
}

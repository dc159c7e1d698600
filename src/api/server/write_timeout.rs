//! How long a client may take to read an answer.
//!
//! One that reads nothing for a while is given up, and so is one that has not read all in the time
//! for an answer of that length, whatever it reads now and then: a large answer keeps its room until
//! it has left. Who reads a stream may rest as long as it likes.

use crate::core::sync::lock;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

/// How slowly an answer may be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteTimeouts {
    /// An answer of which nothing is read for so long is given up.
    pub(crate) idle: Duration,
    /// Every answer has so much time, whatever its length.
    pub(crate) min_total: Duration,
    /// And a second more for each so many bytes.
    pub(crate) bytes_per_second: u64,
}

impl WriteTimeouts {
    /// That of all clients.
    pub(crate) const DEFAULT: Self = Self {
        idle: Duration::from_secs(10),
        min_total: Duration::from_secs(30),
        bytes_per_second: 64 << 10,
    };

    /// The time for an answer of that length.
    fn total_for(self, length: u64) -> Duration {
        self.min_total + Duration::from_secs(length / self.bytes_per_second)
    }
}

/// What is being written to a client, and how long that may take.
#[derive(Debug)]
pub(crate) struct WriteDeadline {
    timeouts: WriteTimeouts,
    phase: Mutex<WritePhase>,
}

#[derive(Debug, Clone, Copy)]
enum WritePhase {
    /// What is left of an answer, while the next is in the making.
    Idle,
    /// An answer that is to be read by then.
    Response(Instant),
    Stream,
}

impl WriteDeadline {
    pub(crate) fn new(pace: WriteTimeouts) -> Self {
        Self { timeouts: pace, phase: Mutex::new(WritePhase::Idle) }
    }

    /// Takes that something was asked.
    pub(crate) fn on_request(&self) {
        self.set_phase(WritePhase::Idle);
    }

    /// Takes that an answer of so many bytes begins.
    pub(crate) fn on_response(&self, length: u64, now: Instant) {
        self.set_phase(WritePhase::Response(now + self.timeouts.total_for(length)));
    }

    /// Takes that a stream begins.
    pub(crate) fn on_stream(&self) {
        self.set_phase(WritePhase::Stream);
    }

    /// How long a client that does not read now may go on so; `None` for as long as it likes.
    fn remaining(&self, now: Instant) -> Option<Duration> {
        let silence = self.timeouts.idle;
        match *lock(&self.phase) {
            WritePhase::Idle => Some(silence),
            WritePhase::Response(by) => Some(by.saturating_duration_since(now).min(silence)),
            WritePhase::Stream => None,
        }
    }

    fn set_phase(&self, writing: WritePhase) {
        *lock(&self.phase) = writing;
    }
}

/// A stream that gives up a client that does not read, or too slowly.
pub(crate) struct TimeoutStream<S> {
    stream: TokioIo<S>,
    deadline: Arc<WriteDeadline>,
    stall_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> TimeoutStream<S> {
    pub(crate) fn new(stream: S, patience: Arc<WriteDeadline>) -> Self {
        Self { stream: TokioIo::new(stream), deadline: patience, stall_timer: None }
    }

    fn poll_with_timeout<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let left = if polled.is_ready() { None } else { self.deadline.remaining(Instant::now()) };
        let Some(left) = left else {
            self.stall_timer = None;
            return polled;
        };
        let new = || Box::pin(sleep(left));
        match self.stall_timer.get_or_insert_with(new).as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> Read for TimeoutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> Write for TimeoutStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.poll_with_timeout(polled, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.poll_with_timeout(polled, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.poll_with_timeout(polled, context)
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
        self.poll_with_timeout(polled, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_time_by_its_length_and_what_is_read_of_it_makes_that_no_longer() {
        let second = Duration::from_secs;
        let (patience, begun) = (WriteDeadline::new(WriteTimeouts::DEFAULT), Instant::now());
        assert_eq!(patience.remaining(begun), Some(second(10)));
        patience.on_response(5 << 20, begun);
        let left = |after| patience.remaining(begun + second(after));
        assert_eq!(
            [0, 99, 100, 105, 110, 4_000].map(left),
            [10, 10, 10, 5, 0, 0].map(|left| Some(second(left)))
        );
        // The next request has nothing to do with it.
        patience.on_request();
        assert_eq!(left(4_000), Some(second(10)));
        patience.on_response(100, begun);
        assert_eq!([25, 30].map(left), [5, 0].map(|left| Some(second(left))));
        patience.on_stream();
        assert_eq!(left(4_000), None);
    }
}

//! Write timeouts: closes connections whose client reads too slowly.
//!
//! A client is too slow if it reads nothing for `idle`, or has not read the whole response within a
//! time proportional to its size: large responses hold memory until they are sent. A client of an event
//! stream may read as slowly as it likes, but not stop for `stream_idle`, and while it reads nothing its
//! stream may be closed to free memory. Limits: `docs/specification.md#limits`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use crate::api::server::stalled_streams::StalledStream;
use crate::core::sync::lock;

/// Limits for reading a response; a client beyond them is disconnected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteTimeouts {
    /// Maximum time without reading anything of a response.
    pub(crate) idle: Duration,
    /// Maximum time without reading anything of an event stream.
    pub(crate) stream_idle: Duration,
    /// Time for the whole of a response of any size.
    pub(crate) min_total: Duration,
    /// Required average rate: each of these many bytes adds one second to `min_total`.
    pub(crate) bytes_per_second: u64,
}

impl WriteTimeouts {
    /// The limits of both listeners.
    pub(crate) const DEFAULT: Self = Self {
        idle: Duration::from_secs(10),
        stream_idle: Duration::from_mins(5),
        min_total: Duration::from_secs(30),
        bytes_per_second: 64 << 10,
    };

    /// Returns the time for a response of `length` bytes.
    fn total_for(self, length: u64) -> Duration {
        self.min_total + Duration::from_secs(length / self.bytes_per_second)
    }
}

/// What is being written to a client, and until when it must be read.
#[derive(Debug)]
pub(crate) struct WriteDeadline {
    timeouts: WriteTimeouts,
    phase: Mutex<WritePhase>,
}

#[derive(Debug, Clone, Copy)]
enum WritePhase {
    /// No response is known: what is written is the rest of the previous one, if any.
    Idle,
    /// A response, and the deadline for reading all of it.
    Response(Instant),
    /// An event stream, which has no end.
    Stream,
}

impl WriteDeadline {
    pub(crate) fn new(timeouts: WriteTimeouts) -> Self {
        Self { timeouts, phase: Mutex::new(WritePhase::Idle) }
    }

    /// Records the arrival of a request.
    pub(crate) fn on_request(&self) {
        self.set_phase(WritePhase::Idle);
    }

    /// Records the start of a response of `length` bytes.
    pub(crate) fn on_response(&self, length: u64, now: Instant) {
        self.set_phase(WritePhase::Response(now + self.timeouts.total_for(length)));
    }

    /// Records the start of an event stream.
    pub(crate) fn on_stream(&self) {
        self.set_phase(WritePhase::Stream);
    }

    /// Returns how long the client may stall from `now` on.
    fn remaining(&self, now: Instant) -> Duration {
        let idle = self.timeouts.idle;
        match *lock(&self.phase) {
            WritePhase::Idle => idle,
            WritePhase::Response(deadline) => deadline.saturating_duration_since(now).min(idle),
            WritePhase::Stream => self.timeouts.stream_idle,
        }
    }

    fn is_stream(&self) -> bool {
        matches!(*lock(&self.phase), WritePhase::Stream)
    }

    fn set_phase(&self, phase: WritePhase) {
        *lock(&self.phase) = phase;
    }
}

/// A stream whose writes fail with `TimedOut` after the write deadline.
pub(crate) struct TimeoutStream<S> {
    stream: TokioIo<S>,
    deadline: Arc<WriteDeadline>,
    /// Closes the connection.
    eviction: Arc<Notify>,
    /// Present while a write is pending: from the moment at which the client stopped reading.
    stall: Option<Stall>,
}

/// A write that is pending.
struct Stall {
    timer: Pin<Box<Sleep>>,
    /// Only of an event stream.
    _stream: Option<StalledStream>,
}

impl<S> TimeoutStream<S> {
    /// `eviction` closes the connection.
    pub(crate) fn new(stream: S, deadline: Arc<WriteDeadline>, eviction: Arc<Notify>) -> Self {
        Self { stream: TokioIo::new(stream), deadline, eviction, stall: None }
    }

    /// Returns the result of a write, or an error if it has been pending for too long.
    fn poll_with_timeout<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stall = None;
            return polled;
        }
        let (deadline, eviction) = (&self.deadline, &self.eviction);
        let start = || Stall {
            timer: Box::pin(sleep(deadline.remaining(Instant::now()))),
            _stream: deadline.is_stream().then(|| StalledStream::new(eviction)),
        };
        match self.stall.get_or_insert_with(start).timer.as_mut().poll(context) {
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
    fn deadline_depends_on_the_response_length_and_not_on_what_was_read() {
        let second = Duration::from_secs;
        let (deadline, start) = (WriteDeadline::new(WriteTimeouts::DEFAULT), Instant::now());
        assert_eq!(deadline.remaining(start), second(10));
        deadline.on_response(5 << 20, start);
        let remaining = |after| deadline.remaining(start + second(after));
        assert_eq!([0, 99, 100, 105, 110, 4_000].map(remaining), [10, 10, 10, 5, 0, 0].map(second));
        // The next request resets the deadline.
        deadline.on_request();
        assert_eq!(remaining(4_000), second(10));
        deadline.on_response(100, start);
        assert_eq!([25, 30].map(remaining), [5, 0].map(second));
        deadline.on_stream();
        assert_eq!(remaining(4_000), second(300));
    }
}

//! One connection: what it may hold, and for how long.
//!
//! A client that does not send its head in time, or does not read its answer, is dropped; one that
//! reads a stream may rest as long as it likes. When all places are taken, the connection that has
//! been silent the longest makes room: so no number of idle ones keeps others out.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, header};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Sleep;

use super::traffic::Traffic;

/// An answer of which a client reads nothing for so long is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections of which nothing is being answered, the one that has been so for the longest first.
#[derive(Debug, Default)]
pub(super) struct Silent {
    number: AtomicU64,
    waiting: Mutex<BTreeMap<u64, Arc<Notify>>>,
}

impl Silent {
    /// Ends the oldest. Says whether there was one.
    pub(super) fn evict(&self) -> bool {
        let oldest = self.lock().pop_first();
        oldest.is_some_and(|(_, end)| {
            end.notify_one();
            true
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a connection; it begins silent, and is given up when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    silent: Arc<Silent>,
    number: AtomicU64,
    end: Arc<Notify>,
}

impl Seat {
    pub(super) fn take(silent: &Arc<Silent>) -> Self {
        let seat = Self {
            silent: Arc::clone(silent),
            number: AtomicU64::new(0),
            end: Arc::new(Notify::new()),
        };
        seat.rest();
        seat
    }

    /// Takes that nothing is being answered: silent from now on.
    fn rest(&self) {
        let number = self.silent.number.fetch_add(1, Ordering::Relaxed);
        self.number.store(number, Ordering::Relaxed);
        self.silent.lock().insert(number, Arc::clone(&self.end));
    }

    /// Takes that something was asked.
    fn rise(&self) {
        self.silent.lock().remove(&self.number.load(Ordering::Relaxed));
    }

    /// Waits until the place is wanted for another.
    pub(super) async fn wanted(&self) {
        self.end.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.rise();
    }
}

/// The requests of one connection.
pub(super) struct Requests {
    pub(super) router: TowerToHyperService<Router>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) seat: Arc<Seat>,
    /// Whether the answer that is being written is a stream.
    pub(super) patient: Arc<AtomicBool>,
    pub(super) addresses: Arc<[&'static str]>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.seat.rise();
        self.patient.store(false, Ordering::Relaxed);
        let method = method(request.method());
        let address = address(&self.addresses, request.uri().path());
        let (traffic, patient) = (Arc::clone(&self.traffic), Arc::clone(&self.patient));
        let seat = Arc::clone(&self.seat);
        let answered = self.router.call(request);
        Box::pin(async move {
            let answer = answered.await?;
            let kind = answer.headers().get(header::CONTENT_TYPE);
            let streams = kind.is_some_and(|kind| kind == "text/event-stream");
            patient.store(streams, Ordering::Relaxed);
            if !streams {
                seat.rest();
            }
            traffic.count((method, address, answer.status().as_u16()));
            Ok(answer)
        })
    }
}

/// A method's name, of those that anyone uses.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The router's address that a path is at.
fn address(addresses: &[&'static str], path: &str) -> &'static str {
    let is_at = |address: &&&str| match address.split_once('{') {
        None => **address == path,
        Some((before, _)) => path.strip_prefix(before).is_some_and(|rest| !rest.is_empty()),
    };
    addresses.iter().find(is_at).copied().unwrap_or("other")
}

/// A stream that gives up a client that does not read.
pub(super) struct Impatient<S> {
    pub(super) stream: TokioIo<S>,
    pub(super) patient: Arc<AtomicBool>,
    pub(super) stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    fn watch<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() || self.patient.load(Ordering::Relaxed) {
            self.stalled = None;
            return polled;
        }
        let new = || Box::pin(tokio::time::sleep(WRITE_TIMEOUT));
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
    use super::*;

    #[test]
    fn an_address_is_one_of_the_routers_or_other() {
        let known = ["/a", "/a/{key}", "/b"];
        for (path, expect) in [
            ("/a", "/a"),
            ("/a/x.y", "/a/{key}"),
            ("/a/", "other"),
            ("/b/x", "other"),
            ("/", "other"),
        ] {
            assert_eq!(address(&known, path), expect, "{path}");
        }
    }

    #[test]
    fn the_one_that_is_silent_the_longest_makes_room() {
        use futures_util::FutureExt as _;

        let silent = Arc::new(Silent::default());
        let seats: Vec<Seat> = (0..3).map(|_| Seat::take(&silent)).collect();
        let ended = |seat: &Seat| seat.wanted().now_or_never().is_some();
        // The first is busy; the second was, and is silent again.
        seats[0].rise();
        seats[1].rise();
        seats[1].rest();
        assert!(silent.evict());
        assert_eq!([0, 1, 2].map(|at: usize| ended(&seats[at])), [false, false, true]);
        assert!(silent.evict());
        assert!(ended(&seats[1]));
        assert!(!silent.evict(), "the first is busy");
        seats[0].rest();
        drop(seats);
        assert!(!silent.evict(), "no one is there");
    }
}

//! One connection: what it may hold, and for how long.
//!
//! A client that does not send its head in time, or does not read its answer (`patience`), is
//! dropped. When all places are taken, the connection that has been silent the longest makes room: so
//! no number of idle ones keeps others out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, header};
use hyper::body::{Body as _, Incoming};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;

use super::patience::Patience;
use super::traffic::Traffic;

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
    pub(super) patience: Arc<Patience>,
    pub(super) addresses: Arc<[&'static str]>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.seat.rise();
        self.patience.asked();
        let method = method(request.method());
        let address = address(&self.addresses, request.uri().path());
        let (traffic, patience) = (Arc::clone(&self.traffic), Arc::clone(&self.patience));
        let seat = Arc::clone(&self.seat);
        let answered = self.router.call(request);
        Box::pin(async move {
            let answer = answered.await?;
            let kind = answer.headers().get(header::CONTENT_TYPE);
            let streams = kind.is_some_and(|kind| kind == "text/event-stream");
            if streams {
                patience.streams();
            } else {
                patience.answers(answer.body().size_hint().lower(), Instant::now());
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

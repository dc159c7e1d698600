//! One connection: what it may hold, and for how long.
//!
//! A client that does not send its head in time, or does not read its answer (`write_deadline`), is
//! dropped. When all places are taken, the connection that has been silent the longest makes room: so
//! no number of idle ones keeps others out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, header};
use hyper::body::{Body as _, Incoming};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;

use crate::api::server::http_metrics::HttpMetrics;
use crate::api::server::write_timeout::WriteDeadline;
use crate::core::sync::lock;

/// Connections of which nothing is being answered, the one that has been so for the longest first.
#[derive(Debug, Default)]
pub(crate) struct IdleConnections {
    next_number: AtomicU64,
    connections: Mutex<BTreeMap<u64, Arc<Notify>>>,
}

impl IdleConnections {
    /// Ends the oldest. Says whether there was one.
    pub(crate) fn evict_oldest(&self) -> bool {
        let oldest = self.lock().pop_first();
        oldest.is_some_and(|(_, end)| {
            end.notify_one();
            true
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
        lock(&self.connections)
    }
}

/// The place of a connection; it begins silent, and is given up when this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    idle: Arc<IdleConnections>,
    number: AtomicU64,
    eviction: Arc<Notify>,
}

impl ConnectionSlot {
    pub(crate) fn new(silent: &Arc<IdleConnections>) -> Self {
        let seat = Self {
            idle: Arc::clone(silent),
            number: AtomicU64::new(0),
            eviction: Arc::new(Notify::new()),
        };
        seat.mark_idle();
        seat
    }

    /// Takes that nothing is being answered: silent from now on.
    fn mark_idle(&self) {
        let number = self.idle.next_number.fetch_add(1, Ordering::Relaxed);
        self.number.store(number, Ordering::Relaxed);
        self.idle.lock().insert(number, Arc::clone(&self.eviction));
    }

    /// Takes that something was asked.
    fn mark_busy(&self) {
        self.idle.lock().remove(&self.number.load(Ordering::Relaxed));
    }

    /// Waits until the place is wanted for another.
    pub(crate) async fn evicted(&self) {
        self.eviction.notified().await;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.mark_busy();
    }
}

/// The requests of one connection.
pub(crate) struct ConnectionService {
    pub(crate) router: TowerToHyperService<Router>,
    pub(crate) metrics: Arc<HttpMetrics>,
    pub(crate) slot: Arc<ConnectionSlot>,
    pub(crate) write_deadline: Arc<WriteDeadline>,
    pub(crate) routes: Arc<[&'static str]>,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.slot.mark_busy();
        self.write_deadline.on_request();
        let method = method_label(request.method());
        let address = route_label(&self.routes, request.uri().path());
        let (traffic, patience) = (Arc::clone(&self.metrics), Arc::clone(&self.write_deadline));
        let seat = Arc::clone(&self.slot);
        let answered = self.router.call(request);
        Box::pin(async move {
            let answer = answered.await?;
            let kind = answer.headers().get(header::CONTENT_TYPE);
            let streams = kind.is_some_and(|kind| kind == "text/event-stream");
            if streams {
                patience.on_stream();
            } else {
                patience.on_response(answer.body().size_hint().lower(), Instant::now());
                seat.mark_idle();
            }
            traffic.record_request((method, address, answer.status().as_u16()));
            Ok(answer)
        })
    }
}

/// A method's name, of those that anyone uses.
fn method_label(method: &Method) -> &'static str {
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
fn route_label(addresses: &[&'static str], path: &str) -> &'static str {
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
            assert_eq!(route_label(&known, path), expect, "{path}");
        }
    }

    #[test]
    fn the_one_that_is_silent_the_longest_makes_room() {
        use futures_util::FutureExt as _;

        let silent = Arc::new(IdleConnections::default());
        let seats: Vec<ConnectionSlot> = (0..3).map(|_| ConnectionSlot::new(&silent)).collect();
        let ended = |seat: &ConnectionSlot| seat.evicted().now_or_never().is_some();
        // The first is busy; the second was, and is silent again.
        seats[0].mark_busy();
        seats[1].mark_busy();
        seats[1].mark_idle();
        assert!(silent.evict_oldest());
        assert_eq!([0, 1, 2].map(|at: usize| ended(&seats[at])), [false, false, true]);
        assert!(silent.evict_oldest());
        assert!(ended(&seats[1]));
        assert!(!silent.evict_oldest(), "the first is busy");
        seats[0].mark_idle();
        drop(seats);
        assert!(!silent.evict_oldest(), "no one is there");
    }
}

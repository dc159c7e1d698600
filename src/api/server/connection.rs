//! Connection slots and the service that handles the requests of one connection.
//!
//! When all slots of a listener are taken, the connection that has been idle the longest is
//! evicted, so that idle clients cannot lock out others; first one whose user is not known yet. Timeouts are not here: `write_timeout`
//! ends slow responses, and hyper's `header_read_timeout` slow request heads.

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

use crate::api::server::client_shares::{ClientId, run_for};
use crate::api::server::http_metrics::{HttpMetrics, RequestLabels};
use crate::api::server::peer::TcpPeer;
use crate::api::server::write_timeout::WriteDeadline;
use crate::core::sync::lock;

/// Connections without a request in progress, in the order in which they are evicted.
#[derive(Debug, Default)]
pub(crate) struct IdleConnections {
    next_number: AtomicU64,
    /// Eviction signals: first those of clients whose user is not known, so that these evict each
    /// other, then by the number that a connection got when it became idle.
    connections: Mutex<BTreeMap<IdleKey, Arc<Notify>>>,
}

/// Whether the user of the client is known, and the number of an idle connection.
type IdleKey = (bool, u64);

impl IdleConnections {
    /// Evicts the connection that has been idle the longest; returns false if none is idle.
    pub(crate) fn evict_oldest(&self) -> bool {
        let oldest = self.lock().pop_first();
        oldest.is_some_and(|(_, eviction)| {
            eviction.notify_one();
            true
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<IdleKey, Arc<Notify>>> {
        lock(&self.connections)
    }
}

/// The slot of an open connection. A new connection is idle; dropping the slot unregisters it.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    idle: Arc<IdleConnections>,
    /// The client of a TCP connection; the user of another one is known.
    peer: Option<Arc<TcpPeer>>,
    /// Key in `IdleConnections` while the connection is idle.
    key: Mutex<IdleKey>,
    eviction: Arc<Notify>,
}

impl ConnectionSlot {
    pub(crate) fn new(idle: &Arc<IdleConnections>, peer: Option<Arc<TcpPeer>>) -> Self {
        let slot = Self {
            idle: Arc::clone(idle),
            peer,
            key: Mutex::default(),
            eviction: Arc::new(Notify::new()),
        };
        slot.mark_idle();
        slot
    }

    /// Registers the connection as idle from now on, so that it may be evicted.
    fn mark_idle(&self) {
        let number = self.idle.next_number.fetch_add(1, Ordering::Relaxed);
        let key = (self.peer.as_ref().is_none_or(|peer| peer.is_known()), number);
        *lock(&self.key) = key;
        self.idle.lock().insert(key, Arc::clone(&self.eviction));
    }

    /// Unregisters the connection while it processes a request.
    fn mark_busy(&self) {
        self.idle.lock().remove(&*lock(&self.key));
    }

    /// Returns the signal that closes the connection.
    pub(crate) fn eviction(&self) -> Arc<Notify> {
        Arc::clone(&self.eviction)
    }

    /// Waits until the slot is needed for another connection, or its memory.
    pub(crate) async fn evicted(&self) {
        self.eviction.notified().await;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.mark_busy();
    }
}

/// Hyper service of one connection: counts requests and updates the slot and the write deadline.
pub(crate) struct ConnectionService {
    pub(crate) router: TowerToHyperService<Router>,
    pub(crate) metrics: Arc<HttpMetrics>,
    pub(crate) slot: Arc<ConnectionSlot>,
    /// The client of a TCP connection, for the handlers.
    pub(crate) peer: Option<Arc<TcpPeer>>,
    pub(crate) write_deadline: Arc<WriteDeadline>,
    /// Paths of all routes, as labels of metrics.
    pub(crate) routes: Arc<[&'static str]>,
    /// Who makes the requests.
    pub(crate) client: ClientId,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.slot.mark_busy();
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(Arc::clone(peer));
        }
        self.write_deadline.on_request();
        let method = method_label(request.method());
        let route = route_label(&self.routes, request.uri().path());
        let (metrics, deadline) = (Arc::clone(&self.metrics), Arc::clone(&self.write_deadline));
        let slot = Arc::clone(&self.slot);
        let responding = run_for(self.client, self.router.call(request));
        Box::pin(async move {
            let response = responding.await?;
            let content_type = response.headers().get(header::CONTENT_TYPE);
            if content_type.is_some_and(|it| it == "text/event-stream") {
                // The slot stays busy: an open event stream is never evicted.
                deadline.on_stream();
            } else {
                deadline.on_response(response.body().size_hint().lower(), Instant::now());
                slot.mark_idle();
            }
            let status = response.status().as_u16();
            metrics.record_request(RequestLabels { method, route, status });
            Ok(response)
        })
    }
}

/// Returns the label of a method: clients can invent methods, so unknown ones are `other`.
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

/// Returns the route that a path matches, or `other`.
fn route_label(routes: &[&'static str], path: &str) -> &'static str {
    let matches = |route: &&&str| match route.split_once('{') {
        None => **route == path,
        Some((prefix, _)) => path.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()),
    };
    routes.iter().find(matches).copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dashboard::PeerCheck;

    #[test]
    fn route_label_of_a_path_is_its_route_or_other() {
        let routes = ["/a", "/a/{key}", "/b"];
        for (path, expect) in [
            ("/a", "/a"),
            ("/a/x.y", "/a/{key}"),
            ("/a/", "other"),
            ("/b/x", "other"),
            ("/", "other"),
        ] {
            assert_eq!(route_label(&routes, path), expect, "{path}");
        }
    }

    #[test]
    fn connection_idle_the_longest_is_evicted_first() {
        use futures_util::FutureExt as _;

        let idle = Arc::new(IdleConnections::default());
        let slots: Vec<ConnectionSlot> = (0..3).map(|_| ConnectionSlot::new(&idle, None)).collect();
        let is_evicted = |slot: &ConnectionSlot| slot.evicted().now_or_never().is_some();
        // The first is busy; the second was, and is idle again.
        slots[0].mark_busy();
        slots[1].mark_busy();
        slots[1].mark_idle();
        assert!(idle.evict_oldest());
        assert_eq!([0, 1, 2].map(|at: usize| is_evicted(&slots[at])), [false, false, true]);
        assert!(idle.evict_oldest());
        assert!(is_evicted(&slots[1]));
        assert!(!idle.evict_oldest(), "the first is busy");
        slots[0].mark_idle();
        drop(slots);
        assert!(!idle.evict_oldest(), "all connections are closed");
    }

    #[test]
    fn connection_of_an_unknown_user_is_evicted_before_older_ones_of_the_owner() {
        use futures_util::FutureExt as _;

        let idle = Arc::new(IdleConnections::default());
        let of_owner = ConnectionSlot::new(&idle, None);
        let (from, to) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        let unknown = Arc::new(TcpPeer::new(from, to, PeerCheck::ProcNet));
        let stranger = ConnectionSlot::new(&idle, Some(unknown));
        assert!(idle.evict_oldest());
        assert!(stranger.evicted().now_or_never().is_some());
        assert!(of_owner.evicted().now_or_never().is_none());
        assert!(idle.evict_oldest());
        assert!(of_owner.evicted().now_or_never().is_some());
    }
}

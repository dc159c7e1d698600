//! Connection slots and the service that handles the requests of one connection.
//!
//! When all slots of a listener are taken, the connection that has been idle the longest is
//! evicted, so that idle clients cannot lock out others; first those whose user was not admitted.
//! Timeouts are not here: `write_timeout` ends slow responses, and hyper's `header_read_timeout`
//! slow request heads.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response, header};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;

use crate::api::server::client_shares::run_for;
use crate::api::server::http_metrics::{HttpMetrics, RequestLabels};
use crate::api::server::peer::ApiClient;
use crate::api::server::write_timeout::WriteDeadline;
use crate::core::sync::lock;

/// Connections without a request in progress, in the order in which they are evicted.
#[derive(Debug, Default)]
pub(crate) struct IdleConnections {
    next_number: AtomicU64,
    /// Eviction signals: first those of clients whose user was not admitted, so that these evict each
    /// other, then by the number that a connection got when it became idle.
    connections: Mutex<BTreeMap<IdleKey, Arc<Notify>>>,
}

/// Whether the user of the client was admitted, and the number of an idle connection.
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
    client: ApiClient,
    /// Key in `IdleConnections` while the connection is idle.
    key: Mutex<IdleKey>,
    eviction: Arc<Notify>,
}

impl ConnectionSlot {
    pub(crate) fn new(idle: &Arc<IdleConnections>, client: ApiClient) -> Self {
        let slot = Self {
            idle: Arc::clone(idle),
            client,
            key: Mutex::default(),
            eviction: Arc::new(Notify::new()),
        };
        slot.mark_idle();
        slot
    }

    /// Registers the connection as idle from now on, so that it may be evicted.
    fn mark_idle(&self) {
        self.mark_busy();
        let number = self.idle.next_number.fetch_add(1, Ordering::Relaxed);
        let key = (self.client.was_admitted(), number);
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

/// The body of a request. Its connection counts as idle until the request has arrived completely: clients that
/// send the beginning only must not take all slots.
struct ArrivingBody {
    body: Incoming,
    slot: Arc<ConnectionSlot>,
}

impl ArrivingBody {
    fn new(body: Incoming, slot: &Arc<ConnectionSlot>) -> Self {
        let body = Self { body, slot: Arc::clone(slot) };
        body.check_end();
        body
    }

    fn check_end(&self) {
        if self.body.is_end_stream() {
            self.slot.mark_busy();
        }
    }
}

impl hyper::body::Body for ArrivingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.check_end();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Hyper service of one connection: counts requests and updates the slot and the write deadline.
pub(crate) struct ConnectionService {
    pub(crate) router: TowerToHyperService<Router>,
    pub(crate) metrics: Arc<HttpMetrics>,
    pub(crate) slot: Arc<ConnectionSlot>,
    pub(crate) write_deadline: Arc<WriteDeadline>,
    /// Paths of all routes, as labels of metrics.
    pub(crate) routes: Arc<[&'static str]>,
    /// Who makes the requests.
    pub(crate) client: ApiClient,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let ApiClient::Tcp(peer) = &self.client {
            // For the access guard.
            request.extensions_mut().insert(Arc::clone(peer));
        }
        self.write_deadline.on_request();
        let method = method_label(request.method());
        let route = route_label(&self.routes, request.uri().path());
        let (metrics, deadline) = (Arc::clone(&self.metrics), Arc::clone(&self.write_deadline));
        let slot = Arc::clone(&self.slot);
        let request = request.map(|body| Body::new(ArrivingBody::new(body, &slot)));
        let responding = run_for(self.client.process(), self.router.call(request));
        Box::pin(async move {
            let response = responding.await?;
            let content_type = response.headers().get(header::CONTENT_TYPE);
            if content_type.is_some_and(|it| it == "text/event-stream") {
                // An open event stream is never evicted.
                slot.mark_busy();
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
    use crate::api::server::listener_log::ListenerLog;
    use crate::api::server::peer::TcpPeer;
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
        let slots: Vec<ConnectionSlot> =
            (0..3).map(|_| ConnectionSlot::new(&idle, ApiClient::Unix(None))).collect();
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
    fn connections_that_were_not_admitted_are_evicted_before_older_ones_of_the_owner() {
        use futures_util::FutureExt as _;

        let idle = Arc::new(IdleConnections::default());
        let of_owner = ConnectionSlot::new(&idle, ApiClient::Unix(None));
        let (from, to) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        // Of an unknown user, and of one who is known and was refused.
        let strangers = [PeerCheck::ProcNet, PeerCheck::None].map(|check| {
            let peer = TcpPeer::new(from, to, check, &ListenerLog::new("test"));
            let _ = peer.is_known_admitted(true);
            ConnectionSlot::new(&idle, ApiClient::Tcp(Arc::new(peer)))
        });
        for stranger in strangers {
            assert!(idle.evict_oldest());
            assert!(stranger.evicted().now_or_never().is_some());
        }
        assert!(of_owner.evicted().now_or_never().is_none());
        assert!(idle.evict_oldest());
        assert!(of_owner.evicted().now_or_never().is_some());
    }
}

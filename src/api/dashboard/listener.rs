//! The listener for browsers: on loopback, behind the guard, for this user.
//!
//! The same requests as at the local socket, but those that open the dashboard itself, and the
//! page. A process of another user reaches the port, and finds it closed to it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use crate::api::dashboard::guard::{AccessGuard, require_access};
use crate::api::dashboard::static_files::{serve_asset, serve_index};
use crate::api::router::{Route, build_router, shared_routes};
use crate::api::server::http::{Server, backoff_after_accept_error};
use crate::api::server::peer::is_other_user;
use crate::api::state::ApiState;

/// Connections at a time: some pages, each with six at most.
const MAX_CONNECTIONS: usize = 128;

/// Serves `api` and the page behind `door`, until it is closed or the daemon stops.
pub(crate) async fn serve(
    listener: TcpListener,
    api: Arc<ApiState>,
    door: Arc<AccessGuard>,
    mut closed: watch::Receiver<bool>,
    mut stop: watch::Receiver<bool>,
) {
    let traffic = Arc::clone(&api.http_metrics);
    let all: Vec<Route> = shared_routes().into_iter().chain(page_routes()).collect();
    let addresses = all.iter().map(|(address, _)| *address).collect();
    let router = build_router(api, all).layer(from_fn_with_state(door, require_access));
    let server = Server::new(MAX_CONNECTIONS, traffic, addresses, router);
    let Ok(address) = listener.local_addr() else { return };
    let ending = closed.clone();
    loop {
        let accepted = tokio::select! {
            _ = closed.wait_for(|closed| *closed) => return,
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = server.accept(async { listener.accept().await }) => accepted,
        };
        match accepted {
            Ok(((_, peer), _)) if is_other_user(peer, address) => {
                server.metrics.refused.fetch_add(1, Ordering::Relaxed);
                warn!("a connection of another user to the dashboard is refused");
            }
            Ok(((stream, _), permit)) => {
                // Small answers to one page: each at once.
                let _ = stream.set_nodelay(true);
                server.serve_connection(stream, permit, ending.clone());
            }
            Err(error) => backoff_after_accept_error(&error).await,
        }
    }
}

/// The page's addresses.
fn page_routes() -> Vec<Route> {
    vec![("/", get(serve_index)), ("/assets/{name}", get(serve_asset))]
}

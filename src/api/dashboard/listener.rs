//! The dashboard's listener: accepts browsers on loopback, behind the access guard.
//!
//! It serves the routes of the local socket, except those that open and close the dashboard, and
//! the page. Other users' processes can reach a loopback port; their connections are closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::dashboard::guard::{AccessGuard, require_access};
use crate::api::dashboard::static_files::{serve_asset, serve_index};
use crate::api::router::{Route, build_router, shared_routes};
use crate::api::server::http::{Server, backoff_after_accept_error, warn_of_refused_user};
use crate::api::server::peer::is_other_user;
use crate::api::state::ApiState;

/// Maximum number of connections: about 20 pages, since a browser opens at most six per host. When
/// all are taken, the connection that has been idle the longest is closed.
const MAX_CONNECTIONS: usize = 128;

/// Serves the API and the page behind `guard` until `closed` or `stop` turns true.
pub(crate) async fn serve(
    listener: TcpListener,
    api: Arc<ApiState>,
    guard: Arc<AccessGuard>,
    mut closed: watch::Receiver<bool>,
    mut stop: watch::Receiver<bool>,
) {
    let metrics = Arc::clone(&api.http_metrics);
    let all_routes: Vec<Route> = shared_routes().into_iter().chain(page_routes()).collect();
    let route_paths = all_routes.iter().map(|route| route.path).collect();
    let router = build_router(api, all_routes).layer(from_fn_with_state(guard, require_access));
    let server = Server::new(MAX_CONNECTIONS, metrics, route_paths, router);
    let Ok(address) = listener.local_addr() else { return };
    let connection_stop = closed.clone();
    loop {
        let accepted = tokio::select! {
            _ = closed.wait_for(|closed| *closed) => return,
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = server.accept(async { listener.accept().await }) => accepted,
        };
        match accepted {
            Ok(((_, peer), _)) if is_other_user(peer, address) => {
                server.metrics.refused.fetch_add(1, Ordering::Relaxed);
                warn_of_refused_user("dashboard");
            }
            Ok(((stream, _), permit)) => {
                // Responses are small and events rare: Nagle's algorithm would only delay them.
                let _ = stream.set_nodelay(true);
                server.serve_connection(stream, permit, connection_stop.clone());
            }
            Err(error) => backoff_after_accept_error(&error).await,
        }
    }
}

/// Returns the routes of the page and its assets.
fn page_routes() -> Vec<Route> {
    vec![
        Route::with_any_query("/", get(serve_index)),
        Route::with_any_query("/assets/{name}", get(serve_asset)),
    ]
}

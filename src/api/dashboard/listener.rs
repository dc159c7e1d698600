//! The dashboard's listener: accepts browsers on loopback, behind the access guard.
//!
//! It serves the routes of the local socket, except those about the dashboard, and the page. Other
//! users' processes can reach a loopback port; their connections are closed, at once where that costs
//! no more than an own connection.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::api::dashboard::guard::{AccessGuard, require_access};
use crate::api::dashboard::static_files::{serve_asset, serve_index};
use crate::api::router::{Route, build_router, shared_routes};
use crate::api::server::http::Server;
use crate::api::server::peer::{ApiClient, TcpPeer};
use crate::api::state::ApiState;
use crate::wire::dashboard::PeerCheck;

/// Maximum number of connections: about 20 pages, since a browser opens at most six per host. When
/// all are taken, the connection that has been idle the longest is closed.
const MAX_CONNECTIONS: usize = 128;

/// Serves the API and the page behind `guard` until one of `ends` turns true; at the first one, open
/// connections are closed.
pub(crate) async fn serve(
    listener: TcpListener,
    api: Arc<ApiState>,
    guard: Arc<AccessGuard>,
    check: PeerCheck,
    ends: [watch::Receiver<bool>; 2],
) {
    let [mut closed, mut stop] = ends;
    let metrics = Arc::clone(&api.http_metrics);
    let all_routes: Vec<Route> = shared_routes().into_iter().chain(page_routes()).collect();
    let route_paths = all_routes.iter().map(|route| route.path).collect();
    let access = from_fn_with_state(Arc::clone(&guard), require_access);
    let router = build_router(api, all_routes).layer(access);
    let log = Arc::clone(&guard.log);
    let server = Server::new(MAX_CONNECTIONS, metrics, log, route_paths, router);
    let Ok(address) = listener.local_addr() else { return };
    let admit = |(stream, from): (TcpStream, SocketAddr)| {
        let peer = TcpPeer::new(from, address, check, &guard.log);
        // An unknown one is checked when it asks for more than the page without data.
        let is_admitted = peer.is_known_admitted(guard.allows_root()).unwrap_or(true);
        is_admitted.then_some((stream, peer))
    };
    let connection_stop = closed.clone();
    loop {
        let accepted = tokio::select! {
            _ = closed.wait_for(|closed| *closed) => return,
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = server.accept(async { listener.accept().await }, admit) => accepted,
        };
        match accepted {
            Ok(None) => {}
            Ok(Some(((stream, peer), permit))) => {
                // Responses are small and events rare: Nagle's algorithm would only delay them.
                let _: std::io::Result<()> = stream.set_nodelay(true);
                let client = ApiClient::Tcp(Arc::new(peer));
                server.serve_connection(client, stream, permit, connection_stop.clone());
            }
            Err(error) => server.backoff_after_accept_error(&error).await,
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

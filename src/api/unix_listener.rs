//! The listener of the local socket: its paths, and who may connect.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use interprocess::local_socket::tokio::Listener;
use interprocess::local_socket::traits::tokio::Listener as _;
use tokio::sync::watch;
use tracing::warn;

use crate::api::dashboard::control;
use crate::api::router::{Route, build_router, shared_routes};
use crate::api::server::http::{Server, backoff_after_accept_error};
use crate::api::server::peer::is_own_user;
use crate::api::state::ApiState;

/// Connections at a time; for the next, one of which nothing is being answered makes room, or it
/// waits.
const MAX_CONNECTIONS: usize = 1_536;

/// Serves `api` until `stop` turns true. Connections that are open then are dropped.
pub async fn serve(listener: Listener, api: Arc<ApiState>, mut stop: watch::Receiver<bool>) {
    let traffic = Arc::clone(&api.http_metrics);
    let all = routes();
    let addresses = all.iter().map(|(address, _)| *address).collect();
    let server = Server::new(MAX_CONNECTIONS, traffic, addresses, build_router(api, all));
    let stopped = stop.clone();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = server.accept(listener.accept()) => accepted,
        };
        match accepted {
            Ok((stream, _)) if !is_own_user(&stream) => {
                server.metrics.refused.fetch_add(1, Ordering::Relaxed);
                warn!("a connection of another user is refused");
            }
            Ok((stream, permit)) => server.serve_connection(stream, permit, stopped.clone()),
            Err(error) => backoff_after_accept_error(&error).await,
        }
    }
}

/// All addresses of the local socket.
fn routes() -> Vec<Route> {
    shared_routes().into_iter().chain(control::routes()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::handlers::openapi::render_document;

    #[test]
    fn it_has_the_routers_addresses_and_no_others() {
        let document: serde_json::Value =
            serde_json::from_slice(&render_document().unwrap()).unwrap();
        let written: BTreeSet<&str> =
            document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let served: BTreeSet<&str> = routes().into_iter().map(|(address, _)| address).collect();
        assert_eq!(written, served);
    }
}

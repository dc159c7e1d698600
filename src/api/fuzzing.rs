//! Fuzzing of HTTP requests: any bytes on a connection get valid responses, and none that blames the daemon.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::any;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::api::request::body::read_json;
use crate::api::request::query::{Parameters, parse_parameters, percent_decode};
use crate::api::response::problem::{method_not_allowed, not_found};
use crate::api::server::http::Server;
use crate::api::server::listener_log::ListenerLog;
use crate::api::server::peer::ApiClient;
use crate::wire::delivery::DeadLetterRequest;

/// Capacity of the connection in bytes.
const BUFFER_BYTES: usize = 1 << 20;

/// Sends one input to a server whose only handler parses everything that a request has.
///
/// # Panics
/// If a property does not hold.
pub fn run(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    let received = runtime.block_on(respond(bytes));
    let is_error = received
        .windows(12)
        .any(|text| text.starts_with(b"HTTP/1.1 5") && text.get(9..12) != Some(b"503"));
    assert!(!is_error, "{}", String::from_utf8_lossy(&received));
    assert!(received.is_empty() || received.starts_with(b"HTTP/1."));
}

async fn respond(bytes: &[u8]) -> Vec<u8> {
    let router: Router = Router::new()
        .route("/api/{*path}", any(handle))
        .route_layer(from_fn(|request, next| {
            parse_parameters(&["feature", "project", "sync"], request, next)
        }))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed);
    let log = Arc::new(ListenerLog::new("fuzzing"));
    let server = Server::new(1, Arc::default(), log, Arc::new(["/api/x"]), router);
    let (mut client, stream) = tokio::io::duplex(BUFFER_BYTES);
    let mut received = Vec::new();
    let Ok(Some((stream, permit))) = server.accept(async { Ok(stream) }, Some).await else {
        return received;
    };
    let (_stop, stopped) = watch::channel(false);
    server.serve_connection(ApiClient::Unix(None), stream, permit, stopped);
    let _ = client.write_all(bytes).await;
    let _ = client.shutdown().await;
    let _ = client.read_to_end(&mut received).await;
    received
}

/// Parses path, query and body.
async fn handle(request: Request<Body>) -> impl IntoResponse {
    let path = request.uri().path().to_owned();
    let _ = percent_decode(&path);
    if let Some(parameters) = request.extensions().get::<Parameters>() {
        let _ = parameters.flag("sync")?;
    }
    let body: Option<DeadLetterRequest> = read_json(request.into_body()).await?;
    Ok::<_, crate::wire::problem::Problem>(format!("{path}{body:?}"))
}

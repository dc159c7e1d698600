//! Responses of a daemon whose configuration is invalid and that waits until it is corrected: nothing is
//! watched, so every request but that for the health gets a problem with the error.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use interprocess::local_socket::tokio::Listener;
use tokio::sync::watch;

use crate::api::response::json::json_response;
use crate::api::router::with_server_header;
use crate::api::server::http::Server;
use crate::api::unix_listener::{MAX_CONNECTIONS, accept_connections, new_log, refuse_pages};
use crate::config::ConfigState;
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};
use crate::wire::status::Health;

const HEALTH_PATH: &str = "/healthz";

/// Serves requests until `stop` turns true, then drops all connections. `config` has the errors.
pub async fn serve_unconfigured(
    listener: &Listener,
    config: watch::Receiver<ConfigState>,
    stop: watch::Receiver<bool>,
) {
    let router = Router::new().route(HEALTH_PATH, get(get_health)).fallback(get_problem);
    let router = router.method_not_allowed_fallback(get_problem);
    let router = refuse_pages(with_server_header(router).with_state(config));
    let paths = Arc::new([HEALTH_PATH]);
    let server = Server::new(MAX_CONNECTIONS, Arc::default(), new_log(), paths, router);
    accept_connections(listener, &server, stop).await;
}

async fn get_health() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, json_response(&Health::Configuration)).into_response()
}

async fn get_problem(State(config): State<watch::Receiver<ConfigState>>) -> Problem {
    let errors = &config.borrow().errors;
    let error = errors.first().map(ToString::to_string).unwrap_or_default();
    let detail = format!("the configuration is invalid: {error}");
    Problem::new(ProblemCode::Unavailable, detail, HintCode::InvalidConfiguration)
}

//! Which handler serves which path, for both listeners.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};

use crate::api::handlers;
use crate::api::response::problem::{method_not_allowed, not_found};
use crate::api::state::ApiState;

/// An address, and what is done there.
pub(crate) type Route = (&'static str, MethodRouter<Arc<ApiState>>);

/// The addresses that both listeners serve.
pub(crate) fn shared_routes() -> Vec<Route> {
    vec![
        ("/healthz", get(handlers::status::get_health)),
        ("/metrics", get(handlers::metrics::get_metrics)),
        ("/api/openapi.json", get(handlers::openapi::get_openapi)),
        ("/api/status", get(handlers::status::get_status)),
        ("/api/events", get(handlers::events::get_events)),
        ("/api/rescan", post(handlers::projects::request_rescan)),
        ("/api/delivery", get(handlers::delivery::list_delivery)),
        ("/api/delivery/retry", post(handlers::delivery::retry_dead_letters)),
        ("/api/delivery/drop", post(handlers::delivery::drop_dead_letters)),
        (
            "/api/projects",
            post(handlers::projects::add_project).merge(delete(handlers::projects::remove_project)),
        ),
        ("/api/dossier/overview", get(handlers::dossier::get_overview)),
        ("/api/dossier/artifacts", get(handlers::artifacts::list_artifacts)),
        ("/api/dossier/artifacts/{artifact_key}", get(handlers::artifacts::get_artifact)),
        ("/api/dossier/snapshots/export", get(handlers::dossier::export_snapshot)),
        ("/api/dossier/drift", get(handlers::dossier::get_drift)),
        ("/api/dossier/baseline", baseline_methods()),
    ]
}

/// What is done with a baseline.
fn baseline_methods() -> MethodRouter<Arc<ApiState>> {
    get(handlers::baseline::get_baseline)
        .merge(post(handlers::baseline::accept_baseline))
        .merge(delete(handlers::baseline::clear_baseline))
}

/// The requests of those addresses.
pub(crate) fn build_router(api: Arc<ApiState>, all: Vec<Route>) -> Router {
    all.into_iter()
        .fold(Router::new(), |router, (path, at)| router.route(path, at))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(map_response(add_server_header))
        .with_state(api)
}

/// Says in every answer which version gave it.
async fn add_server_header(mut response: Response) -> Response {
    let name = HeaderValue::from_static(concat!("dossierd/", env!("CARGO_PKG_VERSION")));
    response.headers_mut().insert(header::SERVER, name);
    response
}

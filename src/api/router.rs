//! Maps paths to handlers. Both listeners serve these routes, each with a few of its own.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{from_fn, map_response};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::api::handlers::{
    artifacts, baseline, delivery, dossier, events, history, metrics, openapi, projects, status,
};
use crate::api::request::query::{ParameterNames, parse_parameters};
use crate::api::response::problem::{method_not_allowed, not_found};
use crate::api::state::ApiState;

/// A path and its handlers.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) path: &'static str,
    handlers: MethodRouter<Arc<ApiState>>,
    /// Query parameters that each method accepts; others are rejected.
    pub(crate) parameters: Vec<(Method, ParameterNames)>,
}

impl Route {
    /// Creates a route without handlers.
    pub(crate) fn new(path: &'static str) -> Self {
        Self { path, handlers: MethodRouter::new(), parameters: Vec::new() }
    }

    /// Creates a route that ignores its query.
    pub(crate) fn with_any_query(
        path: &'static str,
        handlers: MethodRouter<Arc<ApiState>>,
    ) -> Self {
        Self { handlers, ..Self::new(path) }
    }

    /// Adds a handler for `GET`, which accepts these query parameters.
    pub(crate) fn get<H, T: 'static>(self, handler: H, parameters: ParameterNames) -> Self
    where
        H: Handler<T, Arc<ApiState>>,
    {
        self.on(Method::GET, MethodFilter::GET, handler, parameters)
    }

    /// Adds a handler for `POST`, which accepts these query parameters.
    pub(crate) fn post<H, T: 'static>(self, handler: H, parameters: ParameterNames) -> Self
    where
        H: Handler<T, Arc<ApiState>>,
    {
        self.on(Method::POST, MethodFilter::POST, handler, parameters)
    }

    /// Adds a handler for `DELETE`, which accepts these query parameters.
    pub(crate) fn delete<H, T: 'static>(self, handler: H, parameters: ParameterNames) -> Self
    where
        H: Handler<T, Arc<ApiState>>,
    {
        self.on(Method::DELETE, MethodFilter::DELETE, handler, parameters)
    }

    fn on<H, T: 'static>(
        mut self,
        method: Method,
        filter: MethodFilter,
        handler: H,
        parameters: ParameterNames,
    ) -> Self
    where
        H: Handler<T, Arc<ApiState>>,
    {
        let parse = from_fn(move |request, next| parse_parameters(parameters, request, next));
        let handler = on(filter, handler).route_layer(parse);
        self.handlers = self.handlers.merge(handler);
        self.parameters.push((method, parameters));
        self
    }
}

/// Query parameters that select a feature.
const FEATURE_PARAMETERS: ParameterNames = &["feature", "project", "sync"];
const ARTIFACTS_PARAMETERS: ParameterNames =
    &["feature", "project", "sync", "class", "wp_id", "step_id", "required_only", "missing_only"];
const ARTIFACT_PARAMETERS: ParameterNames = &["feature", "project", "sync", "render"];
const VERSIONS_PARAMETERS: ParameterNames =
    &["feature", "project", "sync", "artifact_key", "limit"];
const CONTENT_PARAMETERS: ParameterNames =
    &["feature", "project", "sync", "hash", "artifact_key", "at"];
const DIFF_PARAMETERS: ParameterNames =
    &["feature", "project", "sync", "from", "to", "artifact_key", "stat"];
const EVENTS_PARAMETERS: ParameterNames = &["since", "type", "feature", "project", "limit", "sync"];

/// Returns the routes that both listeners serve.
pub(crate) fn shared_routes() -> Vec<Route> {
    vec![
        // Health checks and scrapers may append parameters of their own.
        Route::with_any_query("/healthz", axum::routing::get(status::get_health)),
        Route::with_any_query("/metrics", axum::routing::get(metrics::get_metrics)),
        Route::new("/api/openapi.json").get(openapi::get_openapi, &[]),
        Route::new("/api/status").get(status::get_status, &["sync"]),
        Route::new("/api/events").get(events::get_events, EVENTS_PARAMETERS),
        Route::new("/api/rescan").post(projects::request_rescan, FEATURE_PARAMETERS),
        Route::new("/api/delivery").get(delivery::list_delivery, &[]),
        Route::new("/api/delivery/retry").post(delivery::retry_dead_letters, &[]),
        Route::new("/api/delivery/drop").post(delivery::drop_dead_letters, &[]),
        Route::new("/api/projects")
            .post(projects::add_project, &[])
            .delete(projects::remove_project, &["project"]),
        Route::new("/api/dossier/overview").get(dossier::get_overview, FEATURE_PARAMETERS),
        Route::new("/api/dossier/artifacts").get(artifacts::list_artifacts, ARTIFACTS_PARAMETERS),
        Route::new("/api/dossier/artifacts/{artifact_key}")
            .get(artifacts::get_artifact, ARTIFACT_PARAMETERS),
        Route::new("/api/dossier/snapshots/export")
            .get(dossier::export_snapshot, FEATURE_PARAMETERS),
        Route::new("/api/dossier/drift").get(dossier::get_drift, FEATURE_PARAMETERS),
        Route::new("/api/dossier/baseline")
            .get(baseline::get_baseline, FEATURE_PARAMETERS)
            .post(baseline::accept_baseline, FEATURE_PARAMETERS)
            .delete(baseline::clear_baseline, FEATURE_PARAMETERS),
        Route::new("/api/dossier/versions")
            .get(history::list_feature_versions, VERSIONS_PARAMETERS),
        Route::new("/api/dossier/content").get(history::get_version_content, CONTENT_PARAMETERS),
        Route::new("/api/dossier/diff").get(history::get_diff, DIFF_PARAMETERS),
        Route::new("/api/dossier/restore").post(history::restore_files, FEATURE_PARAMETERS),
        Route::new("/api/history").get(history::get_history, &[]),
        Route::new("/api/history/purge").post(history::purge_history, &["feature", "project"]),
    ]
}

/// Builds the router of a listener.
pub(crate) fn build_router(api: Arc<ApiState>, routes: Vec<Route>) -> Router {
    let all = routes
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handlers));
    let all = all.fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    with_server_header(all).with_state(api)
}

/// Adds the program's name and version to all responses.
pub(crate) fn with_server_header<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(map_response(add_server_header))
}

/// Adds the program's name and version to a response.
async fn add_server_header(mut response: Response) -> Response {
    let name = HeaderValue::from_static(concat!("dossierd/", env!("CARGO_PKG_VERSION")));
    response.headers_mut().insert(header::SERVER, name);
    response
}

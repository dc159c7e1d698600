//! The API: requests of clients, answered from the engine's pictures and the journal.
//!
//! HTTP/1.1 with JSON over a local socket, and on loopback for the dashboard's page. A handler never touches live state: it takes the present
//! picture, or asks the engine by a command and waits for the reply. What waits for the disk, or is
//! long in the making, is done on threads of its own: one thread serves all connections.

mod dashboard;
mod handlers;
mod journal;
mod request;
mod response;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};
use tokio::sync::{Semaphore, watch};

use crate::config::ConfigState;
use crate::core::time::Timestamp;
use crate::engine::inbox::Inbox;
use crate::engine::view::Views;
use crate::store::Journal;
use dashboard::control::Dashboard;
use handlers::events::MAX_SUBSCRIBERS;
use journal::read_cache::LatestReadCache;
use journal::reader_pool::ReaderPool;
use server::http_metrics::HttpMetrics;

pub use dashboard::control::{DashboardConfig, run_dashboard};
pub use server::socket::{SocketError, adopt_systemd_socket, bind, serve};

/// What handlers work with.
#[derive(Debug)]
pub struct ApiState {
    /// Where to put commands.
    inbox: Arc<Inbox>,
    /// Where to take pictures.
    views: Arc<Views>,
    /// Reads the journal.
    reader_pool: ReaderPool,
    /// What was read of it last.
    read_cache: LatestReadCache,
    /// The store's file.
    store_path: PathBuf,
    /// How the configuration was read last.
    config: watch::Receiver<ConfigState>,
    /// When the daemon started, by both clocks.
    started_at: (Timestamp, Instant),
    /// Whether the first index of everything has stood once.
    initial_scan_done: AtomicBool,
    /// Places for streams of events.
    subscriber_permits: Arc<Semaphore>,
    http_metrics: Arc<HttpMetrics>,
    dashboard: Dashboard,
}

impl ApiState {
    /// Over that engine, whose store is `store_path`, and the state of its configuration; `started_at` is
    /// when the daemon did, by both clocks.
    #[must_use]
    pub fn new(
        inbox: Arc<Inbox>,
        views: Arc<Views>,
        journal: &Journal,
        store: PathBuf,
        config: watch::Receiver<ConfigState>,
        started: (Timestamp, Instant),
        dashboard: DashboardConfig,
    ) -> Self {
        Self {
            inbox,
            views,
            reader_pool: ReaderPool::new(journal.clone()),
            read_cache: LatestReadCache::default(),
            store_path: store,
            config,
            started_at: started,
            initial_scan_done: AtomicBool::new(false),
            subscriber_permits: Arc::new(Semaphore::new(MAX_SUBSCRIBERS)),
            http_metrics: Arc::default(),
            dashboard: Dashboard::new(dashboard),
        }
    }
}

/// An address, and what is done there.
type Route = (&'static str, MethodRouter<Arc<ApiState>>);

/// Where the dashboard is opened: at the local socket only.
const DASHBOARD_PATH: &str = "/api/dashboard";

/// All addresses of the local socket.
fn routes() -> Vec<Route> {
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
        (
            DASHBOARD_PATH,
            post(dashboard::control::open_dashboard)
                .merge(delete(dashboard::control::close_dashboard)),
        ),
        ("/api/dossier/overview", get(handlers::status::get_overview)),
        ("/api/dossier/artifacts", get(handlers::artifacts::list_artifacts)),
        ("/api/dossier/artifacts/{artifact_key}", get(handlers::artifacts::get_artifact)),
        ("/api/dossier/snapshots/export", get(handlers::status::export_snapshot)),
        ("/api/dossier/drift", get(handlers::status::get_drift)),
        ("/api/dossier/baseline", baseline_methods()),
    ]
}

/// What is done with a baseline.
fn baseline_methods() -> MethodRouter<Arc<ApiState>> {
    get(handlers::baseline::get_baseline)
        .merge(post(handlers::baseline::accept_baseline))
        .merge(delete(handlers::baseline::clear_baseline))
}

/// The requests of the local socket.
fn unix_socket_router(api: Arc<ApiState>) -> Router {
    build_router(api, routes())
}

/// Those requests.
fn build_router(api: Arc<ApiState>, all: Vec<Route>) -> Router {
    all.into_iter()
        .fold(Router::new(), |router, (path, at)| router.route(path, at))
        .fallback(handlers::status::not_found)
        .method_not_allowed_fallback(handlers::status::method_not_allowed)
        .layer(map_response(add_server_header))
        .with_state(api)
}

/// Says in every answer which version gave it.
async fn add_server_header(mut response: Response) -> Response {
    let name = HeaderValue::from_static(concat!("dossierd/", env!("CARGO_PKG_VERSION")));
    response.headers_mut().insert(header::SERVER, name);
    response
}

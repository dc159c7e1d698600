//! The API: requests of clients, answered from the engine's pictures and the journal.
//!
//! HTTP/1.1 with JSON over a local socket, and on loopback for the dashboard's page. A handler never touches live state: it takes the present
//! picture, or asks the engine by a command and waits for the reply. What waits for the disk, or is
//! long in the making, is done on threads of its own: one thread serves all connections.

mod accept;
mod answers;
mod artifacts;
mod ask;
mod baseline;
mod body;
mod connection;
mod dashboard;
mod delivery;
mod events;
mod guard;
mod listen;
mod loopback;
mod meant;
mod metrics;
mod openapi;
mod page;
mod patience;
mod projects;
mod query;
mod readers;
mod respond;
mod tail;
mod traffic;

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
use dashboard::Dashboard;
use events::SUBSCRIBERS_MAX;
use readers::Readers;
use tail::Tail;
use traffic::Traffic;

pub use dashboard::{DashboardPlan, keep_dashboard};
pub use listen::{SocketError, adopt, bind, serve};

/// What handlers work with.
#[derive(Debug)]
pub struct Api {
    /// Where to put commands.
    inbox: Arc<Inbox>,
    /// Where to take pictures.
    views: Arc<Views>,
    /// Reads the journal.
    readers: Readers,
    /// What was read of it last.
    tail: Tail,
    /// The store's file.
    store: PathBuf,
    /// How the configuration was read last.
    config: watch::Receiver<ConfigState>,
    /// When the daemon started, by both clocks.
    started: (Timestamp, Instant),
    /// Whether the first index of everything has stood once.
    healthy: AtomicBool,
    /// Places for streams of events.
    subscribers: Arc<Semaphore>,
    traffic: Arc<Traffic>,
    dashboard: Dashboard,
}

impl Api {
    /// Over that engine, whose store is `store`, and the state of its configuration; `started` is
    /// when the daemon did, by both clocks.
    #[must_use]
    pub fn new(
        inbox: Arc<Inbox>,
        views: Arc<Views>,
        journal: &Journal,
        store: PathBuf,
        config: watch::Receiver<ConfigState>,
        started: (Timestamp, Instant),
        dashboard: DashboardPlan,
    ) -> Self {
        Self {
            inbox,
            views,
            readers: Readers::new(journal.clone()),
            tail: Tail::default(),
            store,
            config,
            started,
            healthy: AtomicBool::new(false),
            subscribers: Arc::new(Semaphore::new(SUBSCRIBERS_MAX)),
            traffic: Arc::default(),
            dashboard: Dashboard::new(dashboard),
        }
    }
}

/// An address, and what is done there.
type Route = (&'static str, MethodRouter<Arc<Api>>);

/// Where the dashboard is opened: at the local socket only.
const DASHBOARD: &str = "/api/dashboard";

/// All addresses of the local socket.
fn routes() -> Vec<Route> {
    vec![
        ("/healthz", get(answers::health)),
        ("/metrics", get(metrics::metrics)),
        ("/api/openapi.json", get(openapi::openapi)),
        ("/api/status", get(answers::status)),
        ("/api/events", get(events::events)),
        ("/api/rescan", post(projects::rescan)),
        ("/api/delivery", get(delivery::list)),
        ("/api/delivery/retry", post(delivery::retry)),
        ("/api/delivery/drop", post(delivery::drop)),
        ("/api/projects", post(projects::add).merge(delete(projects::remove))),
        (DASHBOARD, post(dashboard::open).merge(delete(dashboard::close))),
        ("/api/dossier/overview", get(answers::overview)),
        ("/api/dossier/artifacts", get(artifacts::list)),
        ("/api/dossier/artifacts/{artifact_key}", get(artifacts::detail)),
        ("/api/dossier/snapshots/export", get(answers::export)),
        ("/api/dossier/drift", get(answers::drift)),
        ("/api/dossier/baseline", baseline_requests()),
    ]
}

/// What is done with a baseline.
fn baseline_requests() -> MethodRouter<Arc<Api>> {
    get(baseline::show).merge(post(baseline::accept)).merge(delete(baseline::clear))
}

/// The requests of the local socket.
fn router(api: Arc<Api>) -> Router {
    requests(api, routes())
}

/// Those requests.
fn requests(api: Arc<Api>, all: Vec<Route>) -> Router {
    all.into_iter()
        .fold(Router::new(), |router, (path, at)| router.route(path, at))
        .fallback(answers::unknown)
        .method_not_allowed_fallback(answers::not_allowed)
        .layer(map_response(named))
        .with_state(api)
}

/// Says in every answer which version gave it.
async fn named(mut response: Response) -> Response {
    let name = HeaderValue::from_static(concat!("dossierd/", env!("CARGO_PKG_VERSION")));
    response.headers_mut().insert(header::SERVER, name);
    response
}

//! What every handler shares: the engine's inbox and views, the journal, and the dashboard.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use tokio::sync::{Semaphore, watch};

use crate::api::dashboard::state::{Dashboard, DashboardConfig};
use crate::api::journal::read_cache::LatestReadCache;
use crate::api::journal::reader_pool::ReaderPool;
use crate::api::server::http_metrics::HttpMetrics;
use crate::config::ConfigState;
use crate::core::time::Timestamp;
use crate::engine::inbox::Inbox;
use crate::engine::read_model::StatePublisher;
use crate::engine::runtime::{EngineHandle, ProjectCalls, ShardPool};
use crate::history::ContentReader;
use crate::history::writer::HistoryWriter;

/// Maximum number of event streams; further ones are rejected with 503. It is below the maximum
/// number of connections, so other requests always find a free one.
pub(crate) const MAX_SUBSCRIBERS: usize = 1_280;

/// Time at which the daemon started, by two clocks.
#[derive(Debug, Clone, Copy)]
pub struct StartTime {
    /// Time of day. The wall clock can be set, so it is only displayed.
    pub(crate) wall: Timestamp,
    /// Monotonic time, from which the uptime is computed.
    pub(crate) monotonic: Instant,
}

impl StartTime {
    /// Returns the current time.
    #[must_use]
    pub fn now() -> Self {
        Self { wall: SystemTime::now().into(), monotonic: Instant::now() }
    }
}

/// State that all handlers share.
#[derive(Debug)]
pub struct ApiState {
    /// Command queue of the engine.
    pub(crate) inbox: Arc<Inbox>,
    /// Published state of the engine.
    pub(crate) views: Arc<StatePublisher>,
    /// Runs calls that access a project's files.
    pub(crate) calls: ProjectCalls,
    /// The inotify instances of the watched projects.
    pub(crate) shards: ShardPool,
    /// Connections that read the journal.
    pub(crate) reader_pool: ReaderPool,
    /// Latest read of the journal, shared among subscribers.
    pub(crate) read_cache: LatestReadCache,
    /// Path of the store, for the status.
    pub(crate) store_path: PathBuf,
    /// Result of the last attempt to load the configuration.
    pub(crate) config: watch::Receiver<ConfigState>,
    pub(crate) started_at: StartTime,
    /// True if the first index of every reachable project has been complete once.
    pub(crate) initial_scan_done: AtomicBool,
    /// One permit per event stream; see [`MAX_SUBSCRIBERS`].
    pub(crate) subscriber_permits: Arc<Semaphore>,
    pub(crate) http_metrics: Arc<HttpMetrics>,
    pub(crate) dashboard: Dashboard,
    pub(crate) history: HistoryAccess,
}

/// Access to the versions of artifacts.
#[derive(Debug)]
pub struct HistoryAccess {
    /// Stores and removes versions.
    pub writer: Arc<HistoryWriter>,
    /// Reads versions.
    pub reader: ContentReader,
    /// Path of the content store, for the status.
    pub path: PathBuf,
}

impl ApiState {
    /// Creates the state for a running engine.
    #[must_use]
    pub fn new(
        engine: &EngineHandle,
        config: watch::Receiver<ConfigState>,
        started_at: StartTime,
        dashboard: DashboardConfig,
        history: HistoryAccess,
    ) -> Self {
        Self {
            inbox: Arc::clone(&engine.inbox),
            views: Arc::clone(&engine.views),
            calls: engine.calls.clone(),
            shards: engine.shards.clone(),
            reader_pool: ReaderPool::new(engine.journal.clone()),
            read_cache: LatestReadCache::default(),
            store_path: engine.store.clone(),
            config,
            started_at,
            initial_scan_done: AtomicBool::new(false),
            subscriber_permits: Arc::new(Semaphore::new(MAX_SUBSCRIBERS)),
            http_metrics: Arc::default(),
            dashboard: Dashboard::new(dashboard),
            history,
        }
    }
}

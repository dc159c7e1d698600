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
use crate::engine::view::Views;
use crate::store::Journal;

/// Streams at a time: fewer than connections, so that there is always room for other requests.
pub(crate) const MAX_SUBSCRIBERS: usize = 1_280;

/// When the daemon started, by the wall clock and by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct StartTime {
    /// The time of day; it jumps when the clock is set.
    pub(crate) wall: Timestamp,
    /// The time from which the uptime counts.
    pub(crate) monotonic: Instant,
}

impl StartTime {
    /// Returns the current time.
    #[must_use]
    pub fn now() -> Self {
        Self { wall: SystemTime::now().into(), monotonic: Instant::now() }
    }
}

/// What handlers work with.
#[derive(Debug)]
pub struct ApiState {
    /// Where to put commands.
    pub(crate) inbox: Arc<Inbox>,
    /// Where to take pictures.
    pub(crate) views: Arc<Views>,
    /// Reads the journal.
    pub(crate) reader_pool: ReaderPool,
    /// What was read of it last.
    pub(crate) read_cache: LatestReadCache,
    /// The store's file.
    pub(crate) store_path: PathBuf,
    /// How the configuration was read last.
    pub(crate) config: watch::Receiver<ConfigState>,
    /// When the daemon started.
    pub(crate) started_at: StartTime,
    /// Whether the first index of everything has stood once.
    pub(crate) initial_scan_done: AtomicBool,
    /// Places for streams of events.
    pub(crate) subscriber_permits: Arc<Semaphore>,
    pub(crate) http_metrics: Arc<HttpMetrics>,
    pub(crate) dashboard: Dashboard,
}

impl ApiState {
    /// Over that engine, whose store is `store_path`, and the state of its configuration; `started` is
    /// when the daemon did.
    #[must_use]
    pub fn new(
        inbox: Arc<Inbox>,
        views: Arc<Views>,
        journal: &Journal,
        store: PathBuf,
        config: watch::Receiver<ConfigState>,
        started: StartTime,
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

//! Counters of connections and requests, for all listeners together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::core::sync::lock;

/// What the requests are counted by; the order is that of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestLabels {
    pub(crate) method: &'static str,
    pub(crate) route: &'static str,
    pub(crate) status: u16,
}

/// Counters since the daemon started. Routes, methods and statuses are few, so the map stays small.
#[derive(Debug, Default)]
pub(crate) struct HttpMetrics {
    /// Accepted connections.
    pub(crate) connections: AtomicU64,
    /// Connections that are open now.
    pub(crate) open: AtomicU64,
    /// Connections of other users, closed at once.
    pub(crate) refused: AtomicU64,
    /// Idle connections closed to admit others.
    pub(crate) evicted: AtomicU64,
    requests: Mutex<BTreeMap<RequestLabels, u64>>,
}

impl HttpMetrics {
    pub(crate) fn record_request(&self, request: RequestLabels) {
        let mut requests = lock(&self.requests);
        *requests.entry(request).or_default() += 1;
    }

    pub(crate) fn request_counts(&self) -> BTreeMap<RequestLabels, u64> {
        lock(&self.requests).clone()
    }
}

/// Counts a connection as open until dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Arc<HttpMetrics>);

impl OpenConnection {
    pub(crate) fn new(metrics: &Arc<HttpMetrics>) -> Self {
        metrics.connections.fetch_add(1, Ordering::Relaxed);
        metrics.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(metrics))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

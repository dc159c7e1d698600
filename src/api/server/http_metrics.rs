//! What came over the socket, counted.

use crate::core::sync::lock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Method, address and status of requests.
pub(crate) type RequestLabels = (&'static str, &'static str, u16);

/// Numbers of this life. Addresses are those of the router, so there are few.
#[derive(Debug, Default)]
pub(crate) struct HttpMetrics {
    pub(crate) connections: AtomicU64,
    pub(crate) open: AtomicU64,
    /// Of another user.
    pub(crate) refused: AtomicU64,
    /// Ended to make room for others.
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

/// A connection, for as long as it is open.
#[derive(Debug)]
pub(crate) struct OpenConnection(Arc<HttpMetrics>);

impl OpenConnection {
    pub(crate) fn new(traffic: &Arc<HttpMetrics>) -> Self {
        traffic.connections.fetch_add(1, Ordering::Relaxed);
        traffic.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(traffic))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

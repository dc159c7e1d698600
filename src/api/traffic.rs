//! What came over the socket, counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Method, address and status of requests.
pub(super) type Request = (&'static str, &'static str, u16);

/// Numbers of this life. Addresses are those of the router, so there are few.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) connections: AtomicU64,
    pub(super) open: AtomicU64,
    /// Of another user.
    pub(super) refused: AtomicU64,
    /// Ended to make room for others.
    pub(super) evicted: AtomicU64,
    requests: Mutex<BTreeMap<Request, u64>>,
}

impl Traffic {
    pub(super) fn count(&self, request: Request) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(request).or_default() += 1;
    }

    pub(super) fn requests(&self) -> BTreeMap<Request, u64> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A connection, for as long as it is open.
#[derive(Debug)]
pub(super) struct Open(Arc<Traffic>);

impl Open {
    pub(super) fn new(traffic: &Arc<Traffic>) -> Self {
        traffic.connections.fetch_add(1, Ordering::Relaxed);
        traffic.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(traffic))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

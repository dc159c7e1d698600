//! Waits for a condition, with a timeout.

use std::time::{Duration, Instant};

/// Maximum time to wait for a condition; after it the test fails.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Interval between two evaluations of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Waits until `condition` returns a value, and returns it. Fails after [`WAIT_TIMEOUT`].
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "timeout after {WAIT_TIMEOUT:?} waiting for {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

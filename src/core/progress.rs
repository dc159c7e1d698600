//! How far the call that a thread makes has got.
//!
//! A call that touches a file system can block for ever. Code that makes such calls one after the
//! other reports each step here, so that a supervisor can distinguish a call that is hung from
//! one that has much to do. On a thread without a supervisor a report has no effect.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time that a step may take: one directory or one small file.
const STEP_LIMIT: Duration = Duration::from_secs(2);

/// The steps of one thread.
#[derive(Debug, Default)]
pub struct CallProgress {
    steps: AtomicU64,
    /// In milliseconds; 0 for [`STEP_LIMIT`].
    limit_ms: AtomicU64,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<CallProgress>>> = const { RefCell::new(None) };
}

impl CallProgress {
    /// Returns the number of steps so far, and how long the present one may take.
    pub fn state(&self) -> (u64, Duration) {
        let limit = match self.limit_ms.load(Ordering::Relaxed) {
            0 => STEP_LIMIT,
            ms => Duration::from_millis(ms),
        };
        (self.steps.load(Ordering::Relaxed), limit)
    }

    /// Begins a step.
    pub fn begin_step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.limit_ms.store(0, Ordering::Relaxed);
    }
}

/// Has the steps of this thread counted in `progress`.
pub fn set_current(progress: Option<Arc<CallProgress>>) {
    CURRENT.with_borrow_mut(|current| *current = progress);
}

/// Returns where the steps of this thread are counted, for threads that work for it.
#[must_use]
pub fn current() -> Option<Arc<CallProgress>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Reports that a step begins.
pub fn begin_step() {
    CURRENT.with_borrow(|current| {
        if let Some(progress) = current {
            progress.begin_step();
        }
    });
}

/// Reports that a step begins that may take as long as `limit`.
pub fn begin_long_step(limit: Duration) {
    CURRENT.with_borrow(|current| {
        if let Some(progress) = current {
            progress.begin_step();
            let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            progress.limit_ms.store(ms, Ordering::Relaxed);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_with_their_limits() {
        let progress = Arc::new(CallProgress::default());
        begin_step();
        set_current(Some(Arc::clone(&progress)));
        assert_eq!(progress.state(), (0, STEP_LIMIT));
        begin_long_step(Duration::from_secs(10));
        assert_eq!(progress.state(), (1, Duration::from_secs(10)));
        begin_step();
        assert_eq!(progress.state(), (2, STEP_LIMIT));
        set_current(None);
        begin_step();
        assert_eq!(progress.state(), (2, STEP_LIMIT));
    }
}

//! Decides which failures of delivery are logged. A receiver can fail in another way each time, and succeed in
//! between: each kind of failure is logged when it follows another one, and at most one a minute.

use std::sync::Arc;
use std::time::Duration;

use crate::core::warning_limit::WarningLimit;

/// What the log has of the receiver's failures.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    limit: WarningLimit,
    /// The failure that was logged last, unless the receiver has accepted events since.
    logged: Option<Arc<str>>,
}

impl FailureLog {
    /// Returns whether a failure is to be logged, and how many others were left out. One that is not logged
    /// for the limit alone is logged when it happens again.
    pub(crate) fn on_failure(&mut self, error: &Arc<str>, now: Duration) -> Option<u64> {
        if self.logged.as_ref() == Some(error) {
            return None;
        }
        let suppressed = self.limit.admit(now)?;
        self.logged = Some(Arc::clone(error));
        Some(suppressed)
    }

    /// Returns whether it is to be logged that the receiver accepts events again.
    pub(crate) fn on_accepted(&mut self) -> bool {
        self.logged.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_is_logged_once_even_if_the_limit_holds_it_back_at_first() {
        let mut log = FailureLog::default();
        for (seconds, event, expected) in [
            (0, "refused", Some(0)),
            (1, "refused", None),
            (2, "status 500", None),
            (3, "status 500", None),
            (70, "status 500", Some(2)),
            (200, "status 500", None),
            (300, "refused", Some(0)),
        ] {
            let now = Duration::from_secs(seconds);
            assert_eq!(log.on_failure(&event.into(), now), expected, "{seconds}: {event}");
        }
        assert!(log.on_accepted());
        assert!(!log.on_accepted(), "once");
        assert_eq!(log.on_failure(&"refused".into(), Duration::from_secs(301)), None);
        assert!(!log.on_accepted(), "the log has no failure since");
        assert_eq!(log.on_failure(&"refused".into(), Duration::from_secs(400)), Some(1));
    }
}

//! Limits how often a warning is logged that somebody else can cause: another user, a client, a receiver.
//! Without it they could fill the disk through the log. The clock is the caller's.

use std::sync::Mutex;
use std::time::Duration;

use crate::core::sync::lock;

/// Minimum time between two lines of the same warning.
const INTERVAL: Duration = Duration::from_mins(1);

/// The limit of one warning. Those in between are counted.
#[derive(Debug)]
pub struct WarningLimit(Mutex<Option<Logged>>);

#[derive(Debug)]
struct Logged {
    at: Duration,
    /// Number of warnings since then.
    suppressed: u64,
}

impl WarningLimit {
    /// Creates a limit that admits the first warning.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns whether a warning is to be logged, and how many were left out since the last one. `now` is the
    /// time since any moment that is the same for all calls.
    #[must_use]
    pub fn admit(&self, now: Duration) -> Option<u64> {
        let mut logged = lock(&self.0);
        match &mut *logged {
            Some(last) if now.saturating_sub(last.at) < INTERVAL => {
                last.suppressed += 1;
                None
            }
            last => {
                let suppressed = last.as_ref().map_or(0, |last| last.suppressed);
                *last = Some(Logged { at: now, suppressed: 0 });
                Some(suppressed)
            }
        }
    }
}

impl Default for WarningLimit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_is_logged_once_a_minute_with_the_number_of_those_left_out() {
        let limit = WarningLimit::new();
        let admit = |seconds| limit.admit(Duration::from_secs(seconds));
        let times = [0, 0, 30, 59, 60, 61, 200, 200].map(admit);
        assert_eq!(times, [Some(0), None, None, None, Some(3), None, Some(1), None]);
    }
}

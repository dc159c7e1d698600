//! Exponential backoff with full jitter
//! (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). Pure: the random
//! number is an argument.

use std::time::Duration;

/// Maximum number of doublings, so that the factor does not overflow; the delay is limited by `max`
/// long before.
const MAX_DOUBLINGS: u32 = 30;
/// Minimum delay, whatever the jitter is.
const MIN_DELAY: Duration = Duration::from_millis(10);
/// Maximum delay that a receiver can request with `Retry-After`; a longer one is shortened to it.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// Limits of the delay between attempts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExponentialBackoff {
    /// Maximum delay after the first failure.
    pub(crate) initial: Duration,
    /// Maximum delay after any number of failures.
    pub(crate) max: Duration,
}

impl ExponentialBackoff {
    /// Returns the delay after `failures` in a row, at least 1. `jitter` is a random number from 0 to
    /// 1. A longer `retry_after`, which the receiver requested, is respected.
    pub(crate) fn delay(
        self,
        failures: u32,
        jitter: f64,
        retry_after: Option<Duration>,
    ) -> Duration {
        let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
        let limit = self.initial.saturating_mul(1 << doublings).min(self.max);
        let delay = limit.mul_f64(jitter.clamp(0.0, 1.0)).max(MIN_DELAY);
        delay.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_doubles_up_to_the_maximum_and_respects_retry_after() {
        let backoff =
            ExponentialBackoff { initial: Duration::from_secs(1), max: Duration::from_mins(5) };
        let delay_ms = |failures, jitter, retry_after: Option<u64>| {
            backoff.delay(failures, jitter, retry_after.map(Duration::from_secs)).as_millis()
        };
        for (failures, expected) in
            [(1, 1_000), (2, 2_000), (3, 4_000), (9, 256_000), (10, 300_000), (u32::MAX, 300_000)]
        {
            assert_eq!(delay_ms(failures, 1.0, None), expected, "{failures}");
        }
        assert_eq!(delay_ms(3, 0.5, None), 2_000);
        assert_eq!(delay_ms(3, 0.0, None), 10);
        assert_eq!(delay_ms(1, 1.0, Some(60)), 60_000);
        assert_eq!(delay_ms(10, 1.0, Some(60)), 300_000);
        assert_eq!(delay_ms(1, 1.0, Some(u64::MAX)), 86_400_000, "limited to one day");
    }
}

//! How long to wait after a failure: twice as long each time, and anywhere in between, so that many
//! senders do not come back at once (exponential backoff with full jitter). Chance comes in as an
//! argument.

use std::time::Duration;

/// Doublings, at most: more would only overflow.
const MAX_DOUBLINGS: u32 = 30;
/// No pause is shorter, whatever chance says.
const MIN_DELAY: Duration = Duration::from_millis(10);
/// What a receiver asks for is believed up to this.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// The first and the longest pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExponentialBackoff {
    pub(crate) initial: Duration,
    pub(crate) max: Duration,
}

impl ExponentialBackoff {
    /// The pause after that many failures in a row, at least 1; `chance` is from 0 to 1. What the
    /// receiver asked for counts where it is longer.
    pub(crate) fn delay(self, failures: u32, chance: f64, asked: Option<Duration>) -> Duration {
        let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
        let whole = self.initial.saturating_mul(1 << doublings).min(self.max);
        let pause = whole.mul_f64(chance.clamp(0.0, 1.0)).max(MIN_DELAY);
        pause.max(asked.unwrap_or_default().min(MAX_RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_what_is_asked_for_is_kept() {
        let backoff =
            ExponentialBackoff { initial: Duration::from_secs(1), max: Duration::from_mins(5) };
        let pause = |failures, chance, asked: Option<u64>| {
            backoff.delay(failures, chance, asked.map(Duration::from_secs)).as_millis()
        };
        for (failures, expect) in
            [(1, 1_000), (2, 2_000), (3, 4_000), (9, 256_000), (10, 300_000), (u32::MAX, 300_000)]
        {
            assert_eq!(pause(failures, 1.0, None), expect, "{failures}");
        }
        assert_eq!(pause(3, 0.5, None), 2_000);
        assert_eq!(pause(3, 0.0, None), 10);
        assert_eq!(pause(1, 1.0, Some(60)), 60_000);
        assert_eq!(pause(10, 1.0, Some(60)), 300_000);
        assert_eq!(pause(1, 1.0, Some(u64::MAX)), 86_400_000, "no receiver stops it for good");
    }
}

//! Growing pauses between attempts at what failed.

use std::time::Duration;

/// The attempts at one thing so far.
#[derive(Debug, Default, Clone, Copy)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Returns the pause before the next attempt: `min` before the first, and each further one is
    /// twice as long, up to `max`.
    pub fn next_pause(&mut self, min: Duration, max: Duration) -> Duration {
        let factor = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        min.saturating_mul(factor).min(max)
    }

    /// Returns the number of pauses since the last success.
    pub fn attempts(self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum() {
        let secs = Duration::from_secs;
        let mut backoff = Backoff::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pauses.push(backoff.next_pause(secs(1), secs(60)).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        for _ in 0..100 {
            assert_eq!(backoff.next_pause(secs(1), secs(60)), secs(60));
        }
    }
}

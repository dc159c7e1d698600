//! Generates event ids: ULIDs that are unique and increase, also if the clock is set back.

use std::time::{Duration, SystemTime};

use ulid::Ulid;

use crate::core::time::Timestamp;

/// Generator of the event ids of one run.
pub(super) struct EventIdGenerator {
    /// Minimum time of the next id, in milliseconds since 1970.
    floor_ms: u64,
    last: Option<Ulid>,
}

impl EventIdGenerator {
    /// Creates a generator whose ids are greater than those of an earlier run, of which `last_ms` is
    /// the time of the last known one.
    ///
    /// Ids begin in the next millisecond with new random bits: after a power failure the last known
    /// id may not be the last that was generated, so incrementing it could repeat one.
    pub(super) fn starting_after(last_ms: u64) -> Self {
        Self { floor_ms: if last_ms == 0 { 0 } else { last_ms + 1 }, last: None }
    }

    /// Returns the next id. Its time is `at` or later.
    pub(super) fn next(&mut self, at: Timestamp) -> Ulid {
        let ms = u64::try_from(at.as_millis()).unwrap_or(0).max(self.floor_ms);
        let next = match self.last {
            Some(last) if ms <= last.timestamp_ms() => {
                last.increment().unwrap_or_else(|_| random_ulid(last.timestamp_ms() + 1))
            }
            _ => random_ulid(ms),
        };
        self.last = Some(next);
        next
    }

    /// Returns the time of the last id in milliseconds since 1970, 0 if there is none.
    pub(super) fn last_ms(&self) -> u64 {
        self.last.map_or(0, |last| last.timestamp_ms())
    }
}

fn random_ulid(ms: u64) -> Ulid {
    Ulid::from_datetime(SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_if_the_clock_is_set_back() {
        let mut ids = EventIdGenerator::starting_after(0);
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        let mut generated: Vec<Ulid> = [50, 50, 40, 0, -7, 51].map(|ms| ids.next(at(ms))).into();
        let mut ids = EventIdGenerator::starting_after(ids.last_ms());
        generated.extend([20, 51, 60].map(|ms| ids.next(at(ms))));
        assert!(generated.is_sorted_by(|a, b| a < b), "{generated:?}");
        assert_eq!(generated[6].timestamp_ms(), 52);
    }
}

//! Event ids: ULIDs that are unique and increase, whatever the clock does.

use std::time::{Duration, SystemTime};

use ulid::Ulid;

use crate::core::time::Timestamp;

/// Gives out event ids.
pub(super) struct EventIdGenerator {
    /// Earliest time of the next id.
    floor_ms: u64,
    last: Option<Ulid>,
}

impl EventIdGenerator {
    /// Ids that come after all of an earlier run, whose last was of `last_ms`.
    ///
    /// They begin in a later millisecond with new random bits instead of counting on: after a
    /// power cut the last id that is known need not be the last that was given out.
    pub(super) fn starting_after(last_ms: u64) -> Self {
        Self { floor_ms: if last_ms == 0 { 0 } else { last_ms + 1 }, last: None }
    }

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

    /// Time of the last id, in milliseconds since 1970.
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
    fn ids_increase_when_the_clock_is_set_back() {
        let mut ids = EventIdGenerator::starting_after(0);
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        let mut given: Vec<Ulid> = [50, 50, 40, 0, -7, 51].map(|ms| ids.next(at(ms))).into();
        let mut ids = EventIdGenerator::starting_after(ids.last_ms());
        given.extend([20, 51, 60].map(|ms| ids.next(at(ms))));
        assert!(given.is_sorted_by(|a, b| a < b), "{given:?}");
        assert_eq!(given[6].timestamp_ms(), 52);
    }
}

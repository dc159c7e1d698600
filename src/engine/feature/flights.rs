//! The path checks of a feature that are in flight in the pool.

use std::collections::BTreeMap;

use crate::core::path::RelPath;

/// The kind of a check in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Flight {
    /// A repeated read of a file that may have changed without a new time stamp. The published
    /// entry stays meanwhile, and no client waits.
    Verify,
    /// The published entry may be stale.
    Check,
    /// The file changed during the check; it is checked again when this check has finished.
    CheckAgain,
}

/// The checks in flight.
#[derive(Debug, Default)]
pub(in crate::engine) struct Flights {
    /// A B-tree and not a hash table, which would keep its capacity after a large rescan.
    paths: BTreeMap<RelPath, Flight>,
    /// Number of checks that are not of the kind `Verify`.
    checks: usize,
}

impl Flights {
    /// Records a requested check. Returns true if it has to be started now; if one of the same path
    /// is in flight, another follows when it has finished.
    pub(in crate::engine) fn start(&mut self, path: &RelPath, flight: Flight) -> bool {
        let known = self.paths.get(path).copied();
        let flight = if known.is_some() { Flight::CheckAgain } else { flight };
        self.checks -= usize::from(known.is_some_and(is_check));
        self.checks += usize::from(is_check(flight));
        self.paths.insert(path.clone(), flight);
        known.is_none()
    }

    /// Removes a finished check; returns `None` if it was not in flight.
    pub(in crate::engine) fn finish(&mut self, path: &RelPath) -> Option<Flight> {
        let flight = self.paths.remove(path)?;
        self.checks -= usize::from(is_check(flight));
        Some(flight)
    }

    /// Makes the results of all checks in flight stale, so that each is repeated.
    pub(in crate::engine) fn invalidate_all(&mut self) {
        self.paths.values_mut().for_each(|flight| *flight = Flight::CheckAgain);
        self.checks = self.paths.len();
    }

    /// Removes all checks; their results are ignored.
    pub(in crate::engine) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns true if no check is in flight.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Returns true if a check is in flight that can change the published entry.
    pub(in crate::engine) fn has_checks(&self) -> bool {
        self.checks > 0
    }
}

fn is_check(flight: Flight) -> bool {
    flight != Flight::Verify
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_in_flight_counts_unless_it_only_verifies() {
        let [a, b] = [&b"a"[..], b"b"].map(|path| RelPath::new(path).unwrap());
        let mut flights = Flights::default();
        assert!(flights.start(&a, Flight::Verify) && !flights.has_checks());
        assert!(flights.start(&b, Flight::Check) && flights.has_checks());
        assert_eq!(flights.finish(&b), Some(Flight::Check));
        assert!(!flights.has_checks() && !flights.is_empty());
        assert!(!flights.start(&a, Flight::Check), "it is repeated afterwards");
        assert!(flights.has_checks());
        assert_eq!((flights.finish(&a), flights.finish(&a)), (Some(Flight::CheckAgain), None));
        assert!(flights.start(&a, Flight::Verify));
        flights.invalidate_all();
        assert!(flights.has_checks());
        assert_eq!(flights.finish(&a), Some(Flight::CheckAgain));
        assert!(flights.is_empty() && !flights.has_checks());
    }
}

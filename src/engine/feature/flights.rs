//! The paths of a feature that are being looked at, off the engine's thread.

use std::collections::BTreeMap;

use crate::core::path::RelPath;

/// Why a path is being looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Flight {
    /// Once more, to be sure: what is shown of it stands meanwhile, and no one waits.
    Verify,
    /// What is shown of it may be no longer true.
    Check,
    /// So may what is seen by now: it is looked at again afterwards.
    CheckAgain,
}

/// What is under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct Flights {
    /// Ordered, as is all that is large for a moment: a hash table would keep its room.
    paths: BTreeMap<RelPath, Flight>,
    /// How many of them are more than rechecks.
    checks: usize,
}

impl Flights {
    /// Takes that a path is to be looked at. Says whether that is to begin now: one that is being
    /// looked at is looked at again afterwards.
    pub(in crate::engine) fn start(&mut self, path: &RelPath, flight: Flight) -> bool {
        let known = self.paths.get(path).copied();
        let flight = if known.is_some() { Flight::CheckAgain } else { flight };
        self.checks -= usize::from(known.is_some_and(is_check));
        self.checks += usize::from(is_check(flight));
        self.paths.insert(path.clone(), flight);
        known.is_none()
    }

    /// Takes that a path was looked at, if that was under way.
    pub(in crate::engine) fn finish(&mut self, path: &RelPath) -> Option<Flight> {
        let flight = self.paths.remove(path)?;
        self.checks -= usize::from(is_check(flight));
        Some(flight)
    }

    /// Looks at all of them again afterwards.
    pub(in crate::engine) fn invalidate_all(&mut self) {
        self.paths.values_mut().for_each(|flight| *flight = Flight::CheckAgain);
        self.checks = self.paths.len();
    }

    /// Forgets them all.
    pub(in crate::engine) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether there are none.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Whether something is being looked at of which other may be true than what is shown.
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
    fn only_a_recheck_keeps_no_one_waiting() {
        let [a, b] = [&b"a"[..], b"b"].map(|path| RelPath::new(path).unwrap());
        let mut flights = Flights::default();
        assert!(flights.start(&a, Flight::Verify) && !flights.has_checks());
        assert!(flights.start(&b, Flight::Check) && flights.has_checks());
        assert_eq!(flights.finish(&b), Some(Flight::Check));
        assert!(!flights.has_checks() && !flights.is_empty());
        assert!(!flights.start(&a, Flight::Check), "again afterwards");
        assert!(flights.has_checks());
        assert_eq!((flights.finish(&a), flights.finish(&a)), (Some(Flight::CheckAgain), None));
        assert!(flights.start(&a, Flight::Verify));
        flights.invalidate_all();
        assert!(flights.has_checks());
        assert_eq!(flights.finish(&a), Some(Flight::CheckAgain));
        assert!(flights.is_empty() && !flights.has_checks());
    }
}

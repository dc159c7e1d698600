//! The paths of a feature that are being looked at, off the engine's thread.

use std::collections::BTreeMap;

use crate::core::path::RelPath;

/// Why a path is being looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Flight {
    /// Once more, to be sure: what is shown of it stands meanwhile, and no one waits.
    Recheck,
    /// What is shown of it may be no longer true.
    Look,
    /// So may what is seen by now: it is looked at again afterwards.
    LookTwice,
}

/// What is under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct Flights {
    /// Ordered, as is all that is large for a moment: a hash table would keep its room.
    paths: BTreeMap<RelPath, Flight>,
    /// How many of them are more than rechecks.
    looks: usize,
}

impl Flights {
    /// Takes that a path is to be looked at. Says whether that is to begin now: one that is being
    /// looked at is looked at again afterwards.
    pub(in crate::engine) fn begin(&mut self, path: &RelPath, flight: Flight) -> bool {
        let known = self.paths.get(path).copied();
        let flight = if known.is_some() { Flight::LookTwice } else { flight };
        self.looks -= usize::from(known.is_some_and(is_look));
        self.looks += usize::from(is_look(flight));
        self.paths.insert(path.clone(), flight);
        known.is_none()
    }

    /// Takes that a path was looked at, if that was under way.
    pub(in crate::engine) fn land(&mut self, path: &RelPath) -> Option<Flight> {
        let flight = self.paths.remove(path)?;
        self.looks -= usize::from(is_look(flight));
        Some(flight)
    }

    /// Looks at all of them again afterwards.
    pub(in crate::engine) fn doubt(&mut self) {
        self.paths.values_mut().for_each(|flight| *flight = Flight::LookTwice);
        self.looks = self.paths.len();
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
    pub(in crate::engine) fn is_looking(&self) -> bool {
        self.looks > 0
    }
}

fn is_look(flight: Flight) -> bool {
    flight != Flight::Recheck
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_recheck_keeps_no_one_waiting() {
        let [a, b] = [&b"a"[..], b"b"].map(|path| RelPath::new(path).unwrap());
        let mut flights = Flights::default();
        assert!(flights.begin(&a, Flight::Recheck) && !flights.is_looking());
        assert!(flights.begin(&b, Flight::Look) && flights.is_looking());
        assert_eq!(flights.land(&b), Some(Flight::Look));
        assert!(!flights.is_looking() && !flights.is_empty());
        assert!(!flights.begin(&a, Flight::Look), "again afterwards");
        assert!(flights.is_looking());
        assert_eq!((flights.land(&a), flights.land(&a)), (Some(Flight::LookTwice), None));
        assert!(flights.begin(&a, Flight::Recheck));
        flights.doubt();
        assert!(flights.is_looking());
        assert_eq!(flights.land(&a), Some(Flight::LookTwice));
        assert!(flights.is_empty() && !flights.is_looking());
    }
}

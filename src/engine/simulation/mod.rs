//! Simulates the engine: random histories of operations on a modelled disk, with events that are
//! late, lost or merged, effects that complete in any order, fail or time out, and crashes.
//!
//! The decisions (`reconcile`), the set of watches (`io::watch_set`) and the merging of hints
//! (`inbox`) are the real ones; disk, kernel, clock and store are modelled. Every history ends in
//! quiet, and then the state must equal a fresh scan; `checks` has all that must be true.
//!
//! `DOSSIERD_SIMULATIONS` sets the number of histories and `DOSSIERD_SEED` the first seed. A history
//! that is wrong is printed with its seed, shrunk, as an expression for `regressions`.
//! `DOSSIERD_SIMULATION_TRACE=1` prints each operation, effect, event and commit.

mod checks;
mod disk;
mod explore;
mod history;
mod io;
mod machine;
mod regressions;
mod store;

//! Owns the state of all watched projects and publishes it; also scans features once, without a
//! daemon ([`oneshot`]). It serves no client and delivers no event.
//!
//! The modules, highest first. Each imports only modules below it, which `tests/architecture.rs`
//! checks:
//!
//! - [`runtime`]: the engine thread, the store and the clock; starts at `runtime::event_loop`
//! - `io`: executes the effects of the reconciler, and runs the helper threads; decides nothing
//! - [`inbox`]: the queue of messages to the engine thread; merges hints by path
//! - `messages`: jobs for the helper threads, and their results
//! - `reconcile`: decides what follows from an event; pure
//! - [`read_model`]: immutable state that readers share
//! - [`command`]: requests of clients, and how they are answered
//! - [`sinks`]: requests of sinks, and the status that sinks publish
//! - [`oneshot`]: one scan of features without a daemon
//! - [`offline_projects`]: the stored list of projects while no daemon runs
//! - [`settings`]: what the configuration sets for a project
//! - `timeouts`: how long the engine and its clients wait
//! - `clock`: both clocks at one moment
//! - [`ids`]: the number of a project
//! - [`metrics`]: counters of what the engine did
//! - `failpoint`: makes a thread hang or panic, for tests

pub mod command;
pub mod ids;
pub mod inbox;
pub mod metrics;
pub mod offline_projects;
pub mod oneshot;
pub mod read_model;
pub mod runtime;
pub mod settings;
pub mod sinks;

mod clock;
#[cfg(debug_assertions)]
pub(crate) mod failpoint;
mod io;
mod messages;
mod reconcile;
#[cfg(test)]
mod simulation;
mod timeouts;

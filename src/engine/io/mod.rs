//! Executes effects and runs the engine's helper threads. It decides nothing.

pub(super) mod call_pool;
pub(super) mod executor;
pub(super) mod file_checks;
pub(super) mod project_calls;
pub(super) mod resolve;
pub(super) mod snapshot_writer;
pub(super) mod wal_checkpointer;
pub(super) mod watch_set;

mod fair_queue;
mod initial_scan;
mod snapshot_schedule;

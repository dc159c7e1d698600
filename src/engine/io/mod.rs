//! Executes effects and runs the engine's helper threads. It decides nothing.

pub(super) mod executor;
pub(super) mod hash_pool;
pub(super) mod snapshot_writer;
pub(super) mod wal_checkpointer;
pub(super) mod watch_set;

mod initial_scan;

//! The daemon: indexing, watching, restarts and crashes.

mod archiving;
mod broken_inputs;
mod churn;
mod coordination;
mod crash;
mod environment;
mod feature_discovery;
mod file_changes;
mod ignored_files;
mod key_mismatch;
mod layouts;
mod lifecycle;
mod linked_roots;
mod logging;
pub(crate) mod model;
mod private_files;
mod rate_limits;
pub(crate) mod snapshot_file;
mod tombstones;
mod tool_lifecycles;
mod worktrees;

//! The engine thread with the store and the clock: receives messages, calls the reconciler, has its
//! effects executed, commits and publishes. It decides nothing about features and files.
//!
//! `startup` starts the thread; read from `event_loop` down.

mod commit;
mod event_loop;
mod opened_store;
mod project_factory;
mod registry;
mod sinks;
mod startup;
mod sync_waiters;
mod watched_project;
mod worktrees;

pub use super::io::project_calls::ProjectCalls;
pub use super::io::resolve::{resolve_dir, resolve_paths};
pub use crate::watch::{ShardPool, WatchUsage};
pub use opened_store::EngineError;
pub use startup::{EngineConfig, EngineHandle, start};

#[cfg(test)]
mod tests;

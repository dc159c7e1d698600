//! Shares inotify instances among roots, because a user has few of them.
//!
//! A *shard* is one instance with its watcher. A root that is large or noisy, or on a file system
//! whose calls may hang, has one of its own; the others share. After lost events, and if its watcher
//! does not respond, a shard is retired: that is reported to all its roots as lost events, and each
//! joins another one.

mod dir_paths;
mod pool;
mod root_watcher;
mod table;
#[cfg(test)]
mod tests;

pub use pool::{ShardLimits, ShardPool, Share, WatchUsage};
pub use root_watcher::RootWatcher;

//! Counters of the engine since the daemon started, for metrics. It does not render them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::artifact::ArtifactState;
use crate::core::event::EVENT_TYPES;
use crate::scan::PathState;

/// Counters that start at zero and only grow.
#[derive(Debug, Default)]
pub struct EngineMetrics {
    /// Events committed, in the order of [`EVENT_TYPES`].
    pub events: [AtomicU64; 4],
    /// Transactions committed.
    pub commits: AtomicU64,
    /// Transactions that failed.
    pub commit_failures: AtomicU64,
    /// Times that the metadata of a project was read, its first scan included.
    pub metadata_reads: AtomicU64,
    /// Paths checked.
    pub path_checks: AtomicU64,
    /// Files read and hashed.
    pub hashed_files: AtomicU64,
    /// Bytes read and hashed.
    pub hashed_bytes: AtomicU64,
}

impl EngineMetrics {
    /// Counts a committed transaction and its events, whose types these are.
    pub(super) fn committed(&self, types: &[&str]) {
        add(&self.commits, 1);
        for event in types {
            let index = EVENT_TYPES.iter().position(|known| known == event);
            if let Some(counter) = index.and_then(|index| self.events.get(index)) {
                add(counter, 1);
            }
        }
    }

    /// Counts a transaction that failed.
    pub(super) fn failed(&self) {
        add(&self.commit_failures, 1);
    }

    /// Counts a read of the metadata of a project.
    pub(super) fn metadata_read(&self) {
        add(&self.metadata_reads, 1);
    }

    /// Counts a path check, and the file and its bytes if it was hashed.
    pub(super) fn path_checked(&self, look: &PathState) {
        add(&self.path_checks, 1);
        if let PathState::Read(seen) = look
            && matches!(seen.state, ArtifactState::Present { .. })
        {
            add(&self.hashed_files, 1);
            add(&self.hashed_bytes, seen.size_bytes);
        }
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// Returns the current value of a counter.
#[must_use]
pub fn now(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

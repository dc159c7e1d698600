//! What the engine has done in this life, counted for who measures it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::artifact::ArtifactState;
use crate::core::event::EVENT_TYPES;
use crate::scan::PathState;

/// Numbers that only grow while the daemon lives.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events committed, by [`EVENT_TYPES`].
    pub events: [AtomicU64; 4],
    /// Transactions committed.
    pub commits: AtomicU64,
    /// Transactions that failed.
    pub commit_failures: AtomicU64,
    /// Paths looked at.
    pub looks: AtomicU64,
    /// Files read and hashed.
    pub hashed_files: AtomicU64,
    /// Bytes of them.
    pub hashed_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn committed(&self, types: &[&str]) {
        add(&self.commits, 1);
        for event in types {
            let kind = EVENT_TYPES.iter().position(|kind| kind == event);
            if let Some(count) = kind.and_then(|kind| self.events.get(kind)) {
                add(count, 1);
            }
        }
    }

    pub(super) fn failed(&self) {
        add(&self.commit_failures, 1);
    }

    pub(super) fn path_checked(&self, look: &PathState) {
        add(&self.looks, 1);
        if let PathState::Read(seen) = look
            && matches!(seen.state, ArtifactState::Present { .. })
        {
            add(&self.hashed_files, 1);
            add(&self.hashed_bytes, seen.size_bytes);
        }
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// The number now.
#[must_use]
pub fn now(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

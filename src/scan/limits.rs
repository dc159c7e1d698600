//! Limits of a scan, and the descriptor limit of the process.

use std::sync::{Mutex, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::core::feature_context::UnknownReason;

/// Limits of one feature (`docs/specification.md#budgets`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Size of the largest file that is read, in bytes; larger files are unreadable.
    pub max_file_bytes: u64,
    /// Maximum number of entries; the scan of a feature ends there.
    pub max_entries: u64,
    /// Maximum number of directory levels below the feature; deeper directories are not entered.
    pub max_depth: usize,
}

/// A limit that a feature exceeds; part of the feature was not scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// [`ScanLimits::max_depth`].
    #[error("deeper than {0} folders")]
    Depth(usize),
    /// [`ScanLimits::max_entries`].
    #[error("more than {0} entries")]
    Entries(u64),
}

impl From<LimitExceeded> for UnknownReason {
    fn from(limit: LimitExceeded) -> Self {
        Self::LimitExceeded(limit.to_string())
    }
}

impl ScanLimits {
    /// Returns the error for a directory below [`ScanLimits::max_depth`].
    pub(super) fn too_deep(&self) -> LimitExceeded {
        LimitExceeded::Depth(self.max_depth)
    }

    /// Returns the error for an entry beyond [`ScanLimits::max_entries`].
    pub(super) fn too_many(&self) -> LimitExceeded {
        LimitExceeded::Entries(self.max_entries)
    }
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { max_file_bytes: 4 << 30, max_entries: 1_000_000, max_depth: 1_000 }
    }
}

/// Raises the soft limit of open file descriptors to the hard limit, since a walk keeps one
/// descriptor open per directory level.
///
/// If that fails, directories beyond the limit are reported as unreadable.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let mut original = ORIGINAL_LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    original.get_or_insert(limit);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The limits before [`raise_descriptor_limit`] raised the soft one.
static ORIGINAL_LIMIT: Mutex<Option<Rlimit>> = Mutex::new(None);

/// Calls `start`, which starts a program of the user, with the soft limit that this process was started
/// with, since programs that use `select(2)` need it: a child inherits the limit of the moment at which it is
/// started. Meanwhile no other thread may need many descriptors.
pub fn with_original_descriptor_limit<T>(start: impl FnOnce() -> T) -> T {
    // Held until the limit is raised again.
    let original = ORIGINAL_LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(limit) = *original else { return start() };
    let raised = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.current, maximum: raised.maximum });
    let started = start();
    let _ = setrlimit(Resource::Nofile, raised);
    started
}

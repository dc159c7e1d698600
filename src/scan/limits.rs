//! Budgets of a scan, and of the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::core::feature_context::UnknownReason;

/// What one feature may cost (contract, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Largest file that is read, in bytes.
    pub max_file_bytes: u64,
    /// Most entries of a feature.
    pub max_entries: u64,
    /// Deepest directory, in components.
    pub max_depth: usize,
}

/// A limit that a feature exceeds; the rest of the feature is not scanned.
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
    /// Returns the error of a feature with more than `max_depth` levels.
    pub(super) fn too_deep(&self) -> LimitExceeded {
        LimitExceeded::Depth(self.max_depth)
    }

    /// Returns the error of a feature with more than `max_entries` entries.
    pub(super) fn too_many(&self) -> LimitExceeded {
        LimitExceeded::Entries(self.max_entries)
    }
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { max_file_bytes: 4 << 30, max_entries: 1_000_000, max_depth: 1_000 }
    }
}

/// Raises the soft limit of open descriptors to the hard one: a walk keeps one open per level.
/// Where that fails, what cannot be opened is said to be unreadable.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

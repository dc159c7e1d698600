//! Budgets of a scan, and of the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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

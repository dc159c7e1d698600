//! The number by which the engine identifies a watched project.

use std::fmt;

/// Number of a watched project. Numbers are not reused, so the result of an effect that was emitted
/// for a removed or restarted project reaches no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectId(usize);

impl ProjectId {
    /// Number of the first project.
    pub(super) const FIRST: Self = Self(0);

    /// Returns the number as a key of `watch::AncestorWatcher`.
    pub(super) fn as_usize(self) -> usize {
        self.0
    }

    /// Returns the number after this one.
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

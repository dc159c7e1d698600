//! One-time scans without a daemon.

pub(crate) mod diagnostics;
mod git_ignore;
pub(crate) mod target;

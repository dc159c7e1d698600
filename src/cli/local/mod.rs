//! One-time scans without a daemon.

pub(crate) mod diagnostics;
pub(crate) mod history;
pub(crate) mod scanned_status;
pub(crate) mod target;

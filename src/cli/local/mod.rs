//! One-shot scans, without a daemon.

pub(crate) mod target;

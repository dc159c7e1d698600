//! End-to-end tests of the real binary, grouped by subject.
//!
//! `support` creates projects in temporary directories, runs the binary in its own environment, and
//! checks the invariants of the daemon. One test binary, because linking takes longer than most
//! tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and prints what it did not run"
)]

mod api;
mod cli;
mod daemon;
mod dashboard;
mod delivery;
mod faults;
mod history;
mod scan;
mod service;
mod support;

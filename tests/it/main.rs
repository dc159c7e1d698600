//! The real binary on real and on hostile trees. One module per theme; `support` makes projects
//! and runs the binary in an environment of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says aloud what it could not do"
)]

mod api;
mod cli;
mod daemon;
mod dashboard;
mod delivery;
mod faults;
mod scan;
mod service;
mod support;

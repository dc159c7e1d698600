//! The engine's clocks, read once per iteration of its loop.

use std::time::Duration;

use crate::core::time::Timestamp;

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tick {
    /// Time since the engine started, by the monotonic clock.
    pub(super) monotonic: Duration,
    /// Time of the wall clock, which can be set in either direction.
    pub(super) wall: Timestamp,
}

//! Timeouts of the engine, and of the clients that wait for it.

use std::time::Duration;

/// Timeout for a sync cookie. After it the engine falls back to a rescan.
pub(super) const COOKIE_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeout for that rescan. After it the client is answered with the state so far.
pub(super) const RESCAN_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for pending changes at shutdown. After it the daemon stops without them; the next start
/// finds them.
pub(super) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for snapshot files at shutdown. Those that are missing are written after the next start.
pub(super) const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeout for one iteration of a working engine, which may list a whole project. After it the
/// engine is considered hung.
pub(super) const ITERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for a sync request: the current iteration, its cookie, and the rescan.
pub(super) const SYNC_TIMEOUT: Duration =
    ITERATION_TIMEOUT.saturating_add(COOKIE_TIMEOUT).saturating_add(RESCAN_TIMEOUT);
/// Timeout for adding or removing a project, chosen for slow disks.
pub(super) const PROJECT_CHANGE_TIMEOUT: Duration = Duration::from_secs(45);

//! Sockets and connections: who may connect, limits, timeouts and metrics; no routes, no handlers.

pub(crate) mod client_shares;
pub(crate) mod connection;
pub(crate) mod http;
pub(crate) mod http_metrics;
pub(crate) mod listener_log;
pub(crate) mod peer;
pub(crate) mod socket;
pub(crate) mod stalled_streams;
pub(crate) mod write_timeout;

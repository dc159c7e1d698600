//! Connections: sockets, the accept loop, peers, write timeouts and their metrics.

pub(crate) mod connection;
pub(crate) mod http;
pub(crate) mod http_metrics;
pub(crate) mod peer;
pub(crate) mod socket;
pub(crate) mod write_timeout;

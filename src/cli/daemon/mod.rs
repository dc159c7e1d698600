//! The daemon as commands see it: connection, queries, start, systemd unit.

pub(crate) mod autostart;
pub(crate) mod connection;
pub(crate) mod query;
pub(crate) mod systemctl;

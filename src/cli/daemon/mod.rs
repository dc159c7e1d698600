//! The daemon as commands use it: connection, queries, automatic start, and systemctl.

pub(crate) mod autostart;
pub(crate) mod connection;
pub(crate) mod event_commands;
pub(crate) mod event_details;
pub(crate) mod event_range;
pub(crate) mod log_file;
pub(crate) mod query;
pub(crate) mod root_names;
pub(crate) mod status_body;
pub(crate) mod systemctl;
pub(crate) mod watched_roots;

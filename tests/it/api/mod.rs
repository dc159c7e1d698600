//! The HTTP API.

mod artifacts;
mod baseline;
mod clients;
mod event_stream;
mod limits;
mod metrics;
pub(crate) mod openapi;
mod overview;
pub(crate) mod problems;
mod projects;
mod visibility;

//! The HTTP API.

mod artifacts;
mod baseline;
mod event_stream;
mod limits;
mod metrics;
pub(crate) mod openapi;
mod projects;
mod visibility;

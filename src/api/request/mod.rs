//! Reads requests: parameters, bodies, `Accept`, and which project and feature they select.

pub(crate) mod body;
pub(crate) mod content_negotiation;
pub(crate) mod engine_call;
pub(crate) mod project_call;
pub(crate) mod query;
pub(crate) mod resolve;
pub(crate) mod sync;
pub(crate) mod wait;

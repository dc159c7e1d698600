//! Request handlers, one file for each group of endpoints.

pub(crate) mod artifacts;
pub(crate) mod baseline;
pub(crate) mod delivery;
pub(crate) mod dossier;
pub(crate) mod events;
pub(crate) mod history;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod projects;
pub(crate) mod status;

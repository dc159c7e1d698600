//! One-shot scans: manifests, configuration, determinism, hostile input.

mod config;
mod corpus;
mod determinism;
pub(crate) mod hostile_input;
mod manifests;
mod metadata;

//! One-shot scans: manifests, configuration, determinism, hostile input.

mod config;
mod corpus;
mod determinism;
pub(crate) mod hostile_input;
mod layout_corpus;
pub(crate) mod layouts;
mod manifests;
mod metadata;
mod state_files;

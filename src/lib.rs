//! dossierd keeps a hashed inventory, the *dossier*, of every feature directory of a project and
//! says what is missing, deleted or drifted.
//!
//! This is the map. Read it downwards: each room imports only from those above it, by the table
//! of ARCHITECTURE.md, which `tests/architecture.rs` enforces.

pub mod cli;
pub mod config;
pub mod core;
pub mod engine;
pub mod project;
pub mod scan;
pub mod store;
pub mod wire;

//! dossierd keeps a hashed inventory, the *dossier*, of every feature directory of a project and
//! says what is missing, deleted or drifted.
//!
//! This is the map. Read it downwards: each room imports only from those above it, by the table
//! of ARCHITECTURE.md, which `tests/architecture.rs` enforces.
//!
//! - [`core`]: what is true of artifacts, manifests, snapshots, baselines, drift and events; pure
//! - [`wire`]: what the API answers and `--json` prints
//! - [`config`]: `config.yaml` and the user's folders
//! - [`project`]: every file below a root that is no artifact
//! - [`scan`]: walk, stat, hash
//! - [`watch`]: the kernel's hints, and when they count
//! - [`store`]: the durable index and journal
//! - [`engine`]: the single owner of live state, and the one look without a daemon
//! - [`api`]: the socket and its requests
//! - [`service`]: the daemon's composition
//! - [`client`]: talks to a running daemon
//! - [`cli`]: the command line

pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod core;
pub mod deliver;
pub mod engine;
pub mod project;
pub mod scan;
pub mod service;
pub mod store;
pub mod watch;
pub mod wire;

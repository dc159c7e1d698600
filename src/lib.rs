//! dossierd maintains a hashed inventory, the *dossier*, of every feature directory of a project
//! and reports which artifacts are missing, deleted or drifted.
//!
//! These are the modules, lowest first. Each imports only from modules above it, by the table in
//! ARCHITECTURE.md, which `tests/architecture.rs` checks.
//!
//! - [`core`]: artifacts, manifests, snapshots, baselines, drift and events; pure
//! - [`wire`]: models of what the API returns and `--json` prints
//! - [`config`]: `config.yaml` and the user's directories
//! - [`project`]: reads the metadata files of a project
//! - [`scan`]: lists directories, checks and hashes files
//! - [`watch`]: inotify and the debouncing of its hints
//! - [`store`]: the durable index and journal
//! - [`engine`]: owns the current state of all projects; scans once if no daemon runs
//! - [`api`]: the HTTP API and the dashboard
//! - [`delivery`]: sends events to a webhook
//! - [`client`]: sends requests to a running daemon
//! - [`daemon`]: starts, reloads and stops the daemon
//! - [`cli`]: the command line

pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod core;
pub mod daemon;
pub mod delivery;
pub mod engine;
pub mod project;
pub mod scan;
pub mod store;
pub mod watch;
pub mod wire;

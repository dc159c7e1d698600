//! dossierd keeps a hashed inventory, the *dossier*, of every feature directory of a project and
//! says what is missing, deleted or drifted.
//!
//! This is the map of the modules, lowest first: each imports only from those above it, by the table
//! in ARCHITECTURE.md, which `tests/architecture.rs` enforces.
//!
//! - [`core`]: artifacts, manifests, snapshots, baselines, drift and events; pure
//! - [`wire`]: models of what the API returns and `--json` prints
//! - [`config`]: `config.yaml` and the user's directories
//! - [`project`]: reads the metadata files of a project
//! - [`scan`]: lists directories, checks and hashes files
//! - [`watch`]: inotify and the debouncing of its hints
//! - [`store`]: the durable index and journal
//! - [`engine`]: owns the live state; scans once where no daemon runs
//! - [`api`]: the HTTP API and the dashboard
//! - [`delivery`]: sends events to a webhook
//! - [`client`]: talks to a running daemon
//! - [`daemon`]: composes the daemon
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

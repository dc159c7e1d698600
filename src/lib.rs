//! dossierd maintains a hashed inventory, the *dossier*, of every feature directory of a project
//! and reports which artifacts are missing, deleted or drifted.
//!
//! These are the modules, lowest first. Each imports only from modules above it, by the table in
//! ARCHITECTURE.md, which `tests/architecture.rs` checks.
//!
//! The public interface is [`core`], [`wire`] and [`client`]; the other modules are visible only for
//! benchmarks and tests and may change at any time.
//!
//! - [`core`]: artifacts, manifests, snapshots, baselines, drift and events; pure
//! - [`wire`]: models of what the API returns and `--json` prints
//! - [`ownership`]: which user owns a file, a directory or a TCP socket
//! - [`config`]: `config.yaml` and the user's directories
//! - [`project`]: reads the metadata files of a project
//! - [`scan`]: lists directories, checks and hashes files
//! - [`watch`]: inotify and the debouncing of its hints
//! - [`store`]: the durable index and journal
//! - [`engine`]: owns the current state of all projects; scans once if no daemon runs
//! - [`history`]: stores versions of artifacts, compares them, brings them back
//! - [`api`]: the HTTP API and the dashboard
//! - [`delivery`]: sends events to a webhook
//! - [`client`]: sends requests to a running daemon
//! - [`daemon`]: starts, reloads and stops the daemon
//! - [`cli`]: the command line

#[doc(hidden)]
pub mod api;
#[doc(hidden)]
pub mod cli;
pub mod client;
#[doc(hidden)]
pub mod config;
pub mod core;
#[doc(hidden)]
pub mod daemon;
#[doc(hidden)]
pub mod delivery;
#[doc(hidden)]
pub mod engine;
#[doc(hidden)]
pub mod history;
#[doc(hidden)]
pub mod ownership;
#[doc(hidden)]
pub mod project;
#[doc(hidden)]
pub mod scan;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod watch;
pub mod wire;

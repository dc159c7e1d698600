//! HTTP API: requests of clients, answered from the engine's published state and the journal.
//!
//! HTTP/1.1 with JSON over a Unix socket, and on loopback for the dashboard. Handlers never touch
//! live state: they read the last published state, or send the engine a command and await its
//! reply. One thread serves all connections; whatever waits for the disk or takes long to render
//! runs on other threads.

mod dashboard;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod handlers;
mod journal;
mod request;
mod response;
mod router;
mod server;
mod state;
mod unconfigured;
mod unix_listener;

pub use dashboard::control::run_dashboard;
pub use dashboard::kept::{KeepRequest, KeptDashboard};
pub use dashboard::state::DashboardConfig;
pub use server::socket::{SocketError, adopt_systemd_socket, bind};
pub use state::{ApiState, HistoryAccess, StartTime};
pub use unconfigured::serve_unconfigured;
pub use unix_listener::serve;

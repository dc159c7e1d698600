//! The API: requests of clients, answered from the engine's pictures and the journal.
//!
//! HTTP/1.1 with JSON over a local socket, and on loopback for the dashboard's page. A handler never touches live state: it takes the present
//! picture, or asks the engine by a command and waits for the reply. What waits for the disk, or is
//! long in the making, is done on threads of its own: one thread serves all connections.

mod dashboard;
mod handlers;
mod journal;
mod request;
mod response;
mod router;
mod server;
mod state;
mod unix_listener;

pub use dashboard::control::run_dashboard;
pub use dashboard::state::DashboardConfig;
pub use server::socket::{SocketError, adopt_systemd_socket, bind};
pub use state::{ApiState, StartTime};
pub use unix_listener::serve;

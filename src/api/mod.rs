//! The API: requests of clients, answered from the engine's pictures and the journal.
//!
//! HTTP/1.1 with JSON over a local socket. A handler never touches live state: it takes the present
//! picture, or asks the engine by a command and waits for the reply.

mod answers;
mod events;
mod listen;
mod query;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::routing::get;

use crate::core::time::Timestamp;
use crate::engine::inbox::Inbox;
use crate::engine::view::Views;
use crate::store::Journal;

pub use listen::{SocketError, bind, serve};

/// What handlers work with.
#[derive(Debug)]
pub struct Api {
    /// Where to put commands.
    pub inbox: Arc<Inbox>,
    /// Where to take pictures.
    pub views: Arc<Views>,
    /// Reads the journal; each reader has its own connection.
    pub journal: Journal,
    /// The store's file.
    pub store: PathBuf,
    /// When the daemon started, by both clocks.
    pub started: (Timestamp, Instant),
}

/// The requests.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/healthz", get(answers::health))
        .route("/api/status", get(answers::status))
        .route("/api/dossier/overview", get(answers::overview))
        .route("/api/dossier/snapshots/export", get(answers::export))
        .route("/api/events", get(events::events))
        .fallback(answers::unknown)
        .with_state(api)
}

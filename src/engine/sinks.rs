//! Messages between sinks and the engine: commands that move a cursor, and the registry in which
//! sinks publish their status. Sinks send events on their own threads; see `delivery`.

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};

use crate::core::sync::lock;
use crate::core::time::Timestamp;
use crate::store::{CursorUpdate, DeadLetterSelector, SinkProgress, StoreError};

/// A request of a sink to the engine, the only writer of the store.
#[derive(Debug)]
pub enum SinkCommand {
    /// Returns the position of a sink; a new sink is registered.
    Open {
        /// Name of the sink.
        sink: &'static str,
        /// Receives the position.
        reply: oneshot::Sender<Result<SinkRegistration, SinkError>>,
    },
    /// Makes all committed events durable.
    Barrier {
        /// Receives the last durable event.
        reply: oneshot::Sender<Result<Durable, SinkError>>,
    },
    /// Moves the cursor of a sink.
    Advance {
        /// Name of the sink.
        sink: &'static str,
        /// Identity of the store to which the cursor belongs; no other is changed.
        instance: Arc<str>,
        /// Progress since the last update.
        update: Box<CursorUpdate>,
        /// Receives the result, with the update if it was not committed.
        reply: oneshot::Sender<Result<(), RejectedUpdate>>,
    },
    /// Marks dead letters for another delivery.
    Retry {
        /// Name of the sink.
        sink: &'static str,
        /// Dead letters to mark.
        selector: DeadLetterSelector,
        /// Receives the number of dead letters marked.
        reply: oneshot::Sender<Result<u64, SinkError>>,
    },
    /// Deletes dead letters.
    Drop {
        /// Name of the sink.
        sink: &'static str,
        /// Dead letters to delete.
        selector: DeadLetterSelector,
        /// Receives the number of dead letters deleted.
        reply: oneshot::Sender<Result<u64, SinkError>>,
    },
}

/// Why a command of a sink failed.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The store returned an error, which the engine has recorded.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store cannot be written because of an earlier error, whose text this is; the command was
    /// not tried.
    #[error("{0}")]
    Degraded(String),
    /// The cursor belongs to a store that was replaced in the meantime.
    #[error("the store was replaced")]
    StoreReplaced,
    /// The engine stopped before it replied. The receiver of the reply returns this.
    #[error("the engine has stopped")]
    EngineStopped,
}

/// A cursor update that was not committed, for another attempt.
#[derive(Debug)]
pub struct RejectedUpdate {
    /// The update, unchanged.
    pub update: Box<CursorUpdate>,
    /// Why it was not committed.
    pub error: SinkError,
}

/// The last durable event of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// Identity of the store.
    pub instance: Arc<str>,
    /// Number of the last event that survives a power failure.
    pub seq: u64,
}

/// The position of a sink at the start of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkRegistration {
    /// The last durable event; the sink sends no later one.
    pub durable: Durable,
    /// Cursor and counters of the sink.
    pub progress: SinkProgress,
}

/// Whether a sink delivers events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SinkHealth {
    /// Every event sent so far was accepted or dead-lettered.
    #[default]
    Ok,
    /// A request or a command of the store failed and is retried.
    Retrying,
    /// There was no receiver at the address for an hour: nothing is sent until a person intervenes.
    Refused,
}

/// Status of a sink at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkReport {
    /// Name of the sink.
    pub sink: &'static str,
    /// Address of the receiver, without parts that may be secret.
    pub url: Arc<str>,
    /// Address that accepted events last; `None` before that.
    pub address: Option<Arc<str>>,
    /// Number up to which every event is delivered, dead-lettered, or deleted by retention.
    pub cursor: u64,
    /// Events after the cursor that are settled in the same way.
    pub ahead: u64,
    /// Time of the oldest event that is not settled.
    pub oldest_at: Option<Timestamp>,
    /// Whether the sink delivers, retries, or is paused.
    pub health: SinkHealth,
    /// The last error; `None` once delivery succeeds again.
    pub last_error: Option<Arc<str>>,
    /// Time of the next attempt, if the sink waits for one.
    pub next_try_at: Option<Timestamp>,
    /// Number of dead letters.
    pub dead_letters: u64,
    /// Events that retention deleted before they were delivered.
    pub dropped: u64,
    /// Events delivered since the daemon started.
    pub delivered: u64,
    /// Failed attempts since the daemon started.
    pub failures: u64,
}

/// The status of all sinks, and the signal to them to retry now.
#[derive(Debug, Default)]
pub struct SinkRegistry {
    sinks: Mutex<Vec<SinkReport>>,
    retry_requested: Notify,
}

impl SinkRegistry {
    /// Returns the status of all sinks.
    #[must_use]
    pub fn list(&self) -> Vec<SinkReport> {
        lock(&self.sinks).clone()
    }

    /// Publishes the status of a sink, replacing its earlier one.
    pub fn publish(&self, report: SinkReport) {
        let mut sinks = lock(&self.sinks);
        match sinks.iter_mut().find(|known| known.sink == report.sink) {
            Some(known) => *known = report,
            None => sinks.push(report),
        }
    }

    /// Removes a sink.
    pub fn remove(&self, sink: &str) {
        lock(&self.sinks).retain(|one| one.sink != sink);
    }

    /// Signals that dead letters were changed, and that delays are to be ended now.
    pub fn request_retry(&self) {
        self.retry_requested.notify_one();
    }

    /// Waits for [`SinkRegistry::request_retry`].
    pub async fn retry_requested(&self) {
        self.retry_requested.notified().await;
    }
}

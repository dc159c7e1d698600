//! Holds the published state: the engine replaces it, and readers load it without waiting for the
//! engine.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::project::ProjectView;
use super::recent_events::RecentEvents;
use crate::engine::metrics::EngineMetrics;
use crate::engine::sinks::SinkRegistry;

/// The state of all projects at one time.
#[derive(Debug, Default)]
pub struct EngineState {
    /// Identity of the store.
    pub instance: String,
    /// Sequence number of the last event that this state includes.
    pub seq: u64,
    /// Sequence number of the last event that is synced to disk.
    pub durable_seq: u64,
    /// Why this state is not durable; `None` if it is.
    pub degraded: Option<String>,
    /// Message about a corrupt store that was quarantined.
    pub quarantined: Option<String>,
    /// The projects.
    pub projects: Vec<Arc<ProjectView>>,
}

/// Publishes the state to readers.
#[derive(Debug)]
pub struct StatePublisher {
    state: RwLock<Arc<EngineState>>,
    seq: watch::Sender<u64>,
    recent_events: RecentEvents,
    metrics: EngineMetrics,
    sinks: SinkRegistry,
}

impl Default for StatePublisher {
    fn default() -> Self {
        Self {
            state: RwLock::default(),
            seq: watch::Sender::new(0),
            recent_events: RecentEvents::default(),
            metrics: EngineMetrics::default(),
            sinks: SinkRegistry::default(),
        }
    }
}

impl StatePublisher {
    /// Returns the current state.
    #[must_use]
    pub fn load(&self) -> Arc<EngineState> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a channel that receives the sequence number of the last event, at every new event
    /// and at every new state.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.seq.subscribe()
    }

    /// Returns the events that were committed last.
    #[must_use]
    pub fn recent_events(&self) -> &RecentEvents {
        &self.recent_events
    }

    /// Returns the counters since the daemon started.
    #[must_use]
    pub fn metrics(&self) -> &EngineMetrics {
        &self.metrics
    }

    /// Returns the status of the sinks.
    #[must_use]
    pub fn sinks(&self) -> &SinkRegistry {
        &self.sinks
    }

    /// Publishes a new state.
    pub(in crate::engine) fn publish(&self, state: EngineState) {
        let seq = state.seq;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        self.seq.send_replace(seq);
    }

    /// Notifies readers of the journal of new events; the state is published afterwards.
    pub(in crate::engine) fn notify_seq(&self, seq: u64) {
        self.seq.send_if_modified(|known| std::mem::replace(known, seq) != seq);
    }
}

//! What sinks and the engine tell each other: commands that move a cursor, and the board on which a
//! sink says how it stands. Sending is not done here.

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};

use crate::core::sync::lock;
use crate::core::time::Timestamp;
use crate::store::{CursorUpdate, DeadLetterSelector, SinkProgress};

/// What a sink asks of the store's one writer. An answer that is an error says why in words; the
/// engine has taken note of it.
#[derive(Debug)]
pub enum SinkCommand {
    /// Where does the sink stand?
    Open {
        /// Its name.
        sink: &'static str,
        /// Told where; one that has never been begins now.
        reply: oneshot::Sender<Result<Opened, String>>,
    },
    /// Make durable what is committed.
    Barrier {
        /// Told how far it is now.
        reply: oneshot::Sender<Result<Durable, String>>,
    },
    /// Note how the sink has moved.
    Advance {
        /// Its name.
        sink: &'static str,
        /// The store in which it moved; nothing is noted in another.
        instance: Arc<str>,
        /// How it moved.
        advance: Box<CursorUpdate>,
        /// Told when that is noted, with what it was given where it is not.
        reply: oneshot::Sender<Result<(), (Box<CursorUpdate>, String)>>,
    },
    /// Try again what is set aside.
    Retry {
        /// The sink.
        sink: &'static str,
        /// Which events.
        meant: DeadLetterSelector,
        /// Told how many that are.
        reply: oneshot::Sender<Result<u64, String>>,
    },
    /// Forget what is set aside.
    Drop {
        /// The sink.
        sink: &'static str,
        /// Which events.
        meant: DeadLetterSelector,
        /// Told how many that were.
        reply: oneshot::Sender<Result<u64, String>>,
    },
}

/// How far the store is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// Identity of the store.
    pub instance: Arc<str>,
    /// Number of the last event that a power cut cannot take.
    pub seq: u64,
}

/// Where a sink stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// How far the store is durable.
    pub durable: Durable,
    /// Where the sink is.
    pub state: SinkProgress,
}

/// How a sink does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SinkHealth {
    /// All that may be sent was taken, or is on its way.
    #[default]
    Ok,
    /// Something was not taken, and is tried again.
    Retrying,
}

/// A sink, at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkReport {
    /// Its name.
    pub sink: &'static str,
    /// Where it sends to, without what may be secret.
    pub url: Arc<str>,
    /// Every event up to this number is delivered, set aside, or dropped by retention.
    pub cursor: u64,
    /// Events after it that are too.
    pub ahead: u64,
    /// When the oldest event was emitted that is none of these.
    pub oldest_at: Option<Timestamp>,
    /// How it does.
    pub health: SinkHealth,
    /// What went wrong last; `None` once all goes well.
    pub last_error: Option<Arc<str>>,
    /// When it is tried again, where that is waited for.
    pub next_try_at: Option<Timestamp>,
    /// Events that are set aside.
    pub set_aside: u64,
    /// Events that retention dropped before they were delivered.
    pub dropped: u64,
    /// Events delivered in this life.
    pub delivered: u64,
    /// Tries that failed in this life.
    pub failures: u64,
}

/// Where sinks say how they stand, and are told that someone asked something of them.
#[derive(Debug, Default)]
pub struct Board {
    sinks: Mutex<Vec<SinkReport>>,
    asked: Notify,
}

impl Board {
    /// All sinks.
    #[must_use]
    pub fn sinks(&self) -> Vec<SinkReport> {
        lock(&self.sinks).clone()
    }

    /// Shows a sink as it is now.
    pub fn show(&self, report: SinkReport) {
        let mut sinks = lock(&self.sinks);
        match sinks.iter_mut().find(|known| known.sink == report.sink) {
            Some(known) => *known = report,
            None => sinks.push(report),
        }
    }

    /// Shows a sink no more.
    pub fn hide(&self, sink: &str) {
        lock(&self.sinks).retain(|one| one.sink != sink);
    }

    /// Tells the sinks that what is set aside was changed, and that it is time to try.
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// Waits for [`Board::ask`].
    pub async fn asked(&self) {
        self.asked.notified().await;
    }
}

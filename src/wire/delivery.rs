//! Models of `GET /api/delivery`, `POST /api/delivery/retry` and `POST /api/delivery/drop`, and of
//! `delivery` in the status.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::time::Timestamp;

/// Name of the sink that `webhook` in the configuration defines.
pub const WEBHOOK_SINK: &str = "webhook";

/// State of a sink: a receiver of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus<'a> {
    /// Name of the sink.
    pub sink: Cow<'a, str>,
    /// Scheme, host and port of the receiver; parts that may be secret are left out.
    pub url: Cow<'a, str>,
    /// Address that accepted events last; `None` before that.
    #[serde(default)]
    pub address: Option<Cow<'a, str>>,
    /// Sequence number up to which every event was delivered, dead-lettered, or deleted by
    /// retention.
    pub cursor: u64,
    /// Number of later events in the journal.
    pub lag: u64,
    /// Time at which the oldest of these later events was emitted.
    pub oldest_undelivered_at: Option<Timestamp>,
    /// State of the delivery.
    pub state: DeliveryState,
    /// Last error, while deliveries fail.
    pub last_error: Option<Cow<'a, str>>,
    /// Time of the next attempt, if one is scheduled.
    pub next_try_at: Option<Timestamp>,
    /// Number of dead letters.
    pub dead_letters: u64,
    /// Number of events that retention deleted before they were delivered.
    pub dropped_by_retention: u64,
}

/// State of the delivery to a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Every event was delivered, or is being delivered for the first time.
    Ok,
    /// A delivery failed and is being retried.
    Retrying,
    /// There was no receiver at the address for an hour; nothing is sent until the configuration changes or
    /// a person retries.
    Refused,
    /// The receiver rejected an event permanently; it waits for a person to retry or drop it.
    DeadLetters,
}

/// Response to `GET /api/delivery`.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeliveryList<'a> {
    /// The sinks.
    pub sinks: Vec<SinkStatus<'a>>,
    /// The dead letters of all sinks.
    pub dead_letters: Vec<DeadLetterEvent<'a>>,
}

/// An event that a receiver rejected permanently.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetterEvent<'a> {
    /// Name of the sink.
    pub sink: Cow<'a, str>,
    /// Identity of the event.
    pub event_id: Cow<'a, str>,
    /// Sequence number of the event.
    pub seq: u64,
    /// Type of the event.
    pub event_type: Cow<'a, str>,
    /// Identity of the project's root.
    pub root_id: Cow<'a, str>,
    /// Slug of the feature.
    pub feature_slug: Cow<'a, str>,
    /// Number of delivery attempts.
    pub tries: u32,
    /// Time of the last rejection.
    pub refused_at: Timestamp,
    /// The receiver's response to the last attempt.
    pub error: Cow<'a, str>,
    /// True if a retry was requested and is not finished.
    pub retrying: bool,
}

/// Body of `POST /api/delivery/retry` and `drop`: some events, or all.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterRequest {
    /// Identities of the selected events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<String>>,
    /// Select all dead letters.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// Response to `POST /api/delivery/retry` and `drop`.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetterResponse {
    /// Number of selected dead letters.
    pub events: u64,
}

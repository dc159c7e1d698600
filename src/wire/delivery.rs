//! How events are delivered: `delivery` of `GET /api/status`, `GET /api/delivery`, and what
//! `POST /api/delivery/retry` and `drop` take and answer.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::time::Timestamp;

/// Name of the sink that the configuration's `webhook` is.
pub const WEBHOOK_SINK: &str = "webhook";

/// A sink: where events are delivered to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus<'a> {
    /// Its name.
    pub sink: Cow<'a, str>,
    /// Where it sends to, without what may be secret.
    pub url: Cow<'a, str>,
    /// Every event up to this number is delivered, set aside, or dropped by retention.
    pub cursor: u64,
    /// Events of the journal that are none of these.
    pub lag: u64,
    /// When the oldest of them was emitted.
    pub oldest_undelivered_at: Option<Timestamp>,
    /// How it does.
    pub state: DeliveryState,
    /// What went wrong last, while it does.
    pub last_error: Option<Cow<'a, str>>,
    /// When it is tried again, where that is waited for.
    pub next_try_at: Option<Timestamp>,
    /// Events that are set aside.
    pub dead_letters: u64,
    /// Events that retention dropped before they were delivered.
    pub dropped_by_retention: u64,
}

/// How a sink does, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// All is delivered, or on its way.
    Ok,
    /// Something was not taken, and is tried again.
    Retrying,
    /// Something was refused for good, and waits for a person.
    DeadLetters,
}

/// `GET /api/delivery`.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeliveryList<'a> {
    /// The sinks.
    pub sinks: Vec<SinkStatus<'a>>,
    /// What they have set aside.
    pub dead_letters: Vec<DeadLetterEvent<'a>>,
}

/// An event that a receiver refused for good.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetterEvent<'a> {
    /// Whose.
    pub sink: Cow<'a, str>,
    /// Its identity.
    pub event_id: Cow<'a, str>,
    /// Its number.
    pub seq: u64,
    /// Its type.
    pub event_type: Cow<'a, str>,
    /// Its project's root.
    pub root_id: Cow<'a, str>,
    /// Its feature.
    pub feature_slug: Cow<'a, str>,
    /// How often it was tried.
    pub tries: u32,
    /// When it was refused last.
    pub refused_at: Timestamp,
    /// What the receiver said.
    pub error: Cow<'a, str>,
    /// Whether it is being tried again.
    pub retrying: bool,
}

/// Body of `POST /api/delivery/retry` and `drop`: some events, or all.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterRequest {
    /// Their identities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<String>>,
    /// All of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// What these answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetterResponse {
    /// Events that were meant and are set aside.
    pub events: u64,
}

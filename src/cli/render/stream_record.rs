//! JSON lines that `watch --json` and `events --json` print in addition to events.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::wire::status::ProjectStatus;

/// A line of `events --json` that is not an event; `watch --json` prints only gaps.
#[derive(Serialize)]
#[serde(tag = "event_type", rename_all = "snake_case")]
pub(crate) enum StreamRecord<'a> {
    /// Events are missing from the journal.
    Gap {
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    },
    /// The state of a feature after a gap. Only the last one has the cursor to resume from, so a
    /// client that was interrupted receives all of them again.
    Snapshot {
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
        snapshot: &'a RawValue,
    },
}

/// The first line of `watch --json`, and the line after a gap: the current state.
#[derive(Serialize)]
pub(crate) struct StateRecord<'s, 'a> {
    pub(crate) event_type: &'static str,
    pub(crate) cursor: String,
    pub(crate) projects: Vec<&'s ProjectStatus<'a>>,
}

//! Lines that `watch --json` and `events --json` print in addition to events.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::wire::status::ProjectStatus;

/// What `--json` prints beside envelopes, each as a line of its own.
#[derive(Serialize)]
#[serde(tag = "event_type", rename_all = "snake_case")]
pub(crate) enum StreamRecord<'a> {
    /// Events are not to be had.
    Gap {
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    },
    /// What a feature is like after a gap. The last has the cursor to go on from: whoever has not
    /// seen all of them does not go on.
    Snapshot {
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
        snapshot: &'a RawValue,
    },
}

/// The first line of `--json`, and the one after a gap.
#[derive(Serialize)]
pub(crate) struct StateRecord<'s, 'a> {
    pub(crate) event_type: &'static str,
    pub(crate) cursor: String,
    pub(crate) projects: Vec<&'s ProjectStatus<'a>>,
}

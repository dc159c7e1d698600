//! One event as a command receives it: in its environment, and as JSON on standard input.

use crate::core::event::Payload;
use crate::wire::events::ReceivedEvent;

/// An event for which a command is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct ExecJob {
    /// Identity of the root and slug of the feature. Its commands run one after the other.
    pub(super) feature: (String, String),
    /// Number of the event.
    pub(super) seq: u64,
    /// Variables of the command; empty where the event has no such value.
    pub(super) variables: [(&'static str, String); 9],
    /// The envelope and a line feed.
    pub(super) input: Vec<u8>,
}

impl ExecJob {
    /// Returns the job of an event, whose JSON is `envelope`; `root` is the path of its project.
    pub(in crate::cli) fn new(
        event: &ReceivedEvent,
        envelope: &str,
        cursor: &str,
        root: &str,
    ) -> Self {
        let fields = EventFields::of(event.payload());
        Self {
            feature: (event.root_id.clone(), event.feature_slug.clone()),
            seq: event.seq,
            variables: [
                ("DOSSIERD_EVENT_TYPE", event.event_type.clone()),
                ("DOSSIERD_EVENT_SEQ", event.seq.to_string()),
                ("DOSSIERD_EVENT_CURSOR", cursor.to_owned()),
                ("DOSSIERD_EVENT_ROOT", root.to_owned()),
                ("DOSSIERD_EVENT_FEATURE", event.feature_slug.clone()),
                ("DOSSIERD_EVENT_KEY", fields.key),
                ("DOSSIERD_EVENT_PATH", fields.path),
                ("DOSSIERD_EVENT_REASON", fields.reason),
                ("DOSSIERD_EVENT_SEVERITY", fields.severity),
            ],
            input: format!("{envelope}\n").into_bytes(),
        }
    }
}

#[derive(Default)]
struct EventFields {
    key: String,
    path: String,
    reason: String,
    severity: String,
}

impl EventFields {
    fn of(payload: Option<Payload>) -> Self {
        match payload {
            Some(Payload::ArtifactIndexed(one)) => Self {
                key: String::from(&*one.artifact_key),
                path: one.relative_path.text().into_owned(),
                reason: change_text(&one.change),
                ..Self::default()
            },
            Some(Payload::ArtifactMissing(one)) => Self {
                key: String::from(&*one.artifact_key),
                path: one.relative_path.map(|path| path.text().into_owned()).unwrap_or_default(),
                reason: one.reason_code.to_string(),
                ..Self::default()
            },
            Some(Payload::SnapshotComputed(one)) => Self {
                severity: one.drift_severity.map(|level| level.to_string()).unwrap_or_default(),
                ..Self::default()
            },
            Some(Payload::ParityDriftDetected(one)) => {
                Self { severity: one.severity.to_string(), ..Self::default() }
            }
            None => Self::default(),
        }
    }
}

/// Returns the change as it is written in the payload.
fn change_text(change: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(change).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

//! Decides which events are worth a notification, and how urgent each is.

use std::collections::HashMap;

use crate::core::artifact::ErrorReason;
use crate::core::drift::Severity;
use crate::core::event::{ArtifactMissing, Payload};
use crate::core::feature_context::Completeness;
use crate::wire::events::ReceivedEvent;
use crate::wire::overview::Overview;

/// What a notification reports about one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    /// Identity of the root, and slug of the feature.
    pub(super) feature: (String, String),
    /// Last component of the root.
    pub(super) project: String,
    pub(super) severity: Severity,
    /// The event in one line.
    pub(super) line: String,
}

/// Selects events. It knows the completeness of each feature, of which only changes matter.
#[derive(Debug, Default)]
pub(in crate::cli) struct NoticeFilter(HashMap<(String, String), Completeness>);

impl NoticeFilter {
    /// Records the current state of a feature.
    pub(in crate::cli) fn update(&mut self, root_id: &str, overview: &Overview<'_>) {
        let feature = (root_id.to_owned(), overview.feature_slug.to_string());
        self.0.insert(feature, overview.completeness_status);
    }

    /// Returns what is reported about an event; `None` for what people do by themselves, such as an edit. The event
    /// does not contain the `reason` why completeness became unknown.
    pub(super) fn notice(&mut self, event: &ReceivedEvent, reason: Option<&str>) -> Option<Notice> {
        let feature = (event.root_id.clone(), event.feature_slug.clone());
        let (severity, line) = match event.payload()? {
            Payload::ArtifactIndexed(_) => return None,
            Payload::ArtifactMissing(missing) => missing_line(&missing)?,
            Payload::ParityDriftDetected(drift) => {
                (drift.severity, format!("drifted: {}", drift.detail))
            }
            Payload::SnapshotComputed(snapshot) => {
                let now = snapshot.completeness_status;
                let before = self.0.insert(feature.clone(), now)?;
                match now {
                    _ if before == now => return None,
                    Completeness::Complete => (Severity::Info, "now complete".to_owned()),
                    Completeness::Incomplete => (
                        Severity::Warning,
                        format!("now incomplete: {}", snapshot.missing_required.join(", ")),
                    ),
                    Completeness::Unknown => {
                        let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                        (Severity::Warning, format!("now unknown{why}"))
                    }
                }
            }
        };
        Some(Notice { feature, project: event.project.clone(), severity, line })
    }
}

fn missing_line(missing: &ArtifactMissing) -> Option<(Severity, String)> {
    let path = match &missing.relative_path {
        Some(path) => path.text().into_owned(),
        None => missing.expected_path_pattern.clone(),
    };
    let severity = match (missing.reason_code, missing.blocking) {
        (ErrorReason::DeletedAfterScan, true) => Severity::Error,
        // A file that has never been there is only the next thing to do.
        (ErrorReason::DeletedAfterScan, false) | (ErrorReason::NotFound, true) => Severity::Info,
        (ErrorReason::NotFound, false) => return None,
        (ErrorReason::Unreadable | ErrorReason::InvalidFormat, _) => Severity::Warning,
    };
    let what = match missing.reason_code {
        ErrorReason::DeletedAfterScan => "deleted",
        ErrorReason::NotFound => "missing",
        ErrorReason::Unreadable => "unreadable",
        ErrorReason::InvalidFormat => "invalid",
    };
    let required = if missing.blocking { " (required)" } else { "" };
    Some((severity, format!("{what}: {path}{required}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(kind: &str, payload: &Value) -> ReceivedEvent {
        serde_json::from_value(json!({
            "seq": 1, "event_type": format!("mission_dossier_{kind}"), "project": "p", "root_id": "r",
            "feature_slug": "f", "emitted_at": "2026-02-21T10:00:00.123Z", "payload": payload,
        }))
        .unwrap()
    }

    fn missing(reason: &str, blocking: bool) -> ReceivedEvent {
        let payload = json!({
            "feature_slug": "f", "artifact_key": "output.plan.main", "artifact_class": "output",
            "expected_path_pattern": "plan.md", "reason_code": reason, "reason_detail": null,
            "blocking": blocking, "relative_path": "plan.md",
        });
        event("artifact_missing", &payload)
    }

    fn snapshot(completeness: &str) -> ReceivedEvent {
        let digest = "0".repeat(64);
        let counts = json!({
            "total": 1, "required": 1, "required_present": 0, "required_missing": 1, "optional": 0,
            "optional_present": 0,
        });
        let payload = json!({
            "feature_slug": "f", "parity_hash_sha256": digest, "tree_hash_sha256": digest,
            "completeness_status": completeness, "artifact_counts": counts, "drift_state": null,
            "drift_severity": null, "missing_required": ["output.plan.main"], "progress": null,
            "snapshot_id": "550e8400-e29b-41d4-a716-446655440000",
        });
        event("snapshot_computed", &payload)
    }

    #[test]
    fn deletions_drift_and_changed_completeness_are_reported() {
        let mut filter = NoticeFilter::default();
        let mut of = |event: ReceivedEvent| {
            let reason = Some("meta.json:1:2: invalid");
            filter.notice(&event, reason).map(|notice| (notice.severity, notice.line))
        };
        let some = |severity, line: &str| Some((severity, line.to_owned()));
        for (event, expected) in [
            (
                missing("deleted_after_scan", true),
                some(Severity::Error, "deleted: plan.md (required)"),
            ),
            (missing("deleted_after_scan", false), some(Severity::Info, "deleted: plan.md")),
            (missing("not_found", true), some(Severity::Info, "missing: plan.md (required)")),
            (missing("not_found", false), None),
            (missing("unreadable", false), some(Severity::Warning, "unreadable: plan.md")),
            (snapshot("complete"), None),
            (snapshot("complete"), None),
            (snapshot("incomplete"), some(Severity::Warning, "now incomplete: output.plan.main")),
            (snapshot("incomplete"), None),
            (snapshot("complete"), some(Severity::Info, "now complete")),
            (snapshot("unknown"), some(Severity::Warning, "now unknown: meta.json:1:2: invalid")),
            (snapshot("unknown"), None),
        ] {
            assert_eq!(of(event), expected);
        }
        filter.notice(&snapshot("complete"), None);
        let unexplained = filter.notice(&snapshot("unknown"), None);
        assert_eq!(unexplained.unwrap().line, "now unknown", "the reason did not arrive in time");
    }
}

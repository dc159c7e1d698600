//! Reads from an event of the journal what happened to the versions of a file. Pure.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::artifact::{ArtifactClass, ErrorReason};
use crate::core::digest::Digest;
use crate::core::event::{ArtifactIndexed, ArtifactMissing, Change, EVENT_TYPES};
use crate::core::path::FeatureSlug;
use crate::core::time::Timestamp;
use crate::store::history::VersionedFile;

/// An event, as far as the history needs it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CapturedEvent {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) root_id: String,
    pub(super) feature: FeatureSlug,
    pub(super) what: CapturedChange,
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CapturedChange {
    /// A file has this content now.
    Current {
        file: VersionedFile,
        key: Box<str>,
        class: ArtifactClass,
        hash: Digest,
        size: u64,
        /// True if it did not exist just before.
        is_new: bool,
    },
    /// A file was deleted.
    Deleted(VersionedFile),
    /// A file cannot be read, or is not valid.
    Lost(VersionedFile),
    /// The feature was evaluated: all files that it had at that time are in the journal. It may have had
    /// another slug before.
    Evaluated { former_slug: Option<FeatureSlug> },
}

#[derive(Deserialize)]
struct EventEnvelope<'a> {
    seq: u64,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    root_id: String,
    feature_slug: FeatureSlug,
    emitted_at: Timestamp,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct Evaluation {
    #[serde(default)]
    previous_feature_slug: Option<FeatureSlug>,
}

/// Reads an event; returns `None` if it is not about versions.
pub(super) fn capture(envelope_json: &str) -> Option<CapturedEvent> {
    let envelope: EventEnvelope<'_> = serde_json::from_str(envelope_json).ok()?;
    let EventEnvelope { seq, root_id, feature_slug: feature, emitted_at: at, payload, .. } =
        envelope;
    let file = |path| VersionedFile { root_id: root_id.clone(), feature: feature.clone(), path };
    let [indexed, missing, snapshot, drift] = EVENT_TYPES;
    let kind = &*envelope.event_type;
    let what = if kind == indexed {
        let payload: ArtifactIndexed = serde_json::from_str(payload.get()).ok()?;
        CapturedChange::Current {
            file: file(payload.relative_path),
            key: payload.artifact_key.into(),
            class: payload.artifact_class,
            hash: payload.content_hash_sha256,
            size: payload.size_bytes,
            is_new: payload.change == Change::Added,
        }
    } else if kind == missing {
        let payload: ArtifactMissing = serde_json::from_str(payload.get()).ok()?;
        let file = file(payload.relative_path?);
        match payload.reason_code {
            ErrorReason::DeletedAfterScan => CapturedChange::Deleted(file),
            ErrorReason::Unreadable | ErrorReason::InvalidFormat => CapturedChange::Lost(file),
            ErrorReason::NotFound => return None,
        }
    } else if kind == snapshot {
        let payload: Evaluation = serde_json::from_str(payload.get()).ok()?;
        CapturedChange::Evaluated { former_slug: payload.previous_feature_slug }
    } else if kind == drift {
        CapturedChange::Evaluated { former_slug: None }
    } else {
        return None;
    };
    Some(CapturedEvent { seq, at, root_id, feature, what })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn captured(kind: &str, payload: &serde_json::Value) -> Option<CapturedChange> {
        let envelope = json!({
            "event_id": "e", "seq": 7, "event_type": format!("mission_dossier_{kind}"),
            "project": "p", "root_id": "r", "project_uuid": "u", "node_id": "n",
            "feature_slug": "001-a", "emitted_at": "2026-01-01T00:00:00.000Z", "payload": payload,
        });
        let event = capture(&envelope.to_string())?;
        assert_eq!((event.seq, &*event.root_id, event.feature.as_str()), (7, "r", "001-a"));
        Some(event.what)
    }

    #[test]
    fn events_say_what_happened_to_a_file() {
        let indexed = |change: &str| {
            json!({
                "feature_slug": "001-a", "artifact_key": "input.spec.md", "artifact_class": "input",
                "relative_path": "spec.md", "content_hash_sha256": "0".repeat(64), "size_bytes": 3,
                "wp_id": null, "step_id": null, "required_status": "required", "change": change,
            })
        };
        let missing = |reason: &str, path: serde_json::Value| {
            json!({
                "feature_slug": "001-a", "artifact_key": "input.spec.md", "artifact_class": "input",
                "expected_path_pattern": "spec.md", "reason_code": reason, "reason_detail": null,
                "blocking": true, "relative_path": path,
            })
        };
        for (change, expected) in [("added", true), ("modified", false), ("restored", false)] {
            let found = captured("artifact_indexed", &indexed(change));
            assert!(
                matches!(found, Some(CapturedChange::Current { is_new, size: 3, .. }) if is_new == expected)
            );
        }
        let found = captured("artifact_missing", &missing("deleted_after_scan", json!("spec.md")));
        assert!(matches!(found, Some(CapturedChange::Deleted(_))));
        let found = captured("artifact_missing", &missing("unreadable", json!("spec.md")));
        assert!(matches!(found, Some(CapturedChange::Lost(_))));
        assert_eq!(captured("artifact_missing", &missing("not_found", json!(null))), None);
        let moved = captured("snapshot_computed", &json!({"previous_feature_slug": "b"}));
        let former_slug = FeatureSlug::new(b"b");
        assert_eq!(moved, Some(CapturedChange::Evaluated { former_slug }));
        assert_eq!(captured("other", &json!({})), None);
        assert_eq!(capture("{}"), None);
    }
}

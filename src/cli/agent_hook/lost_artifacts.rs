//! Which required artifacts were deleted or emptied by a sequence of events, and which features changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::artifact::{ErrorReason, RequiredStatus};
use crate::core::event::{Change, Payload};
use crate::wire::events::ReceivedEvent;

/// How a required artifact was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Its file was deleted or has another name.
    Deleted,
    /// Its file has no content any more.
    Emptied,
}

/// The result of a sequence of events.
#[derive(Debug, Default)]
pub(crate) struct LostArtifacts {
    /// By feature and path.
    lost: BTreeMap<(String, String), Loss>,
    /// The features that the events are about.
    pub(crate) changed_features: BTreeSet<String>,
}

impl LostArtifacts {
    /// Adds the next event. An artifact that is back again is not lost.
    pub(crate) fn add(&mut self, event: &ReceivedEvent) {
        self.changed_features.insert(event.feature_slug.clone());
        let place = |path: &str| (event.feature_slug.clone(), path.to_owned());
        match event.payload() {
            Some(Payload::ArtifactMissing(missing)) => {
                let is_lost =
                    missing.blocking && missing.reason_code == ErrorReason::DeletedAfterScan;
                let path = missing.relative_path.as_ref().map(|path| path.text().into_owned());
                let path = path.unwrap_or(missing.artifact_key);
                if is_lost {
                    self.lost.insert(place(&path), Loss::Deleted);
                } else {
                    self.lost.remove(&place(&path));
                }
            }
            Some(Payload::ArtifactIndexed(indexed)) => {
                let place = place(&indexed.relative_path.text());
                let is_emptied = indexed.required_status == RequiredStatus::Required
                    && indexed.size_bytes == 0
                    && indexed.change != Change::Added;
                if is_emptied {
                    self.lost.insert(place, Loss::Emptied);
                } else {
                    self.lost.remove(&place);
                }
            }
            _ => {}
        }
    }

    /// Returns feature, path and loss of each artifact, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, Loss)> {
        self.lost.iter().map(|((feature, path), loss)| (feature.as_str(), path.as_str(), *loss))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn indexed(path: &str, size: u64, required: &str, change: &str) -> Value {
        json!({
            "event_type": "mission_dossier_artifact_indexed",
            "payload": {
                "feature_slug": "001-x", "artifact_key": format!("key.{path}"), "artifact_class": "input",
                "relative_path": path, "content_hash_sha256": "0".repeat(64), "size_bytes": size, "wp_id": null,
                "step_id": null, "required_status": required, "change": change,
            },
        })
    }

    fn missing(path: &str, reason: &str, blocking: bool) -> Value {
        json!({
            "event_type": "mission_dossier_artifact_missing",
            "payload": {
                "feature_slug": "001-x", "artifact_key": format!("key.{path}"), "artifact_class": "input",
                "expected_path_pattern": path, "reason_code": reason, "reason_detail": null,
                "blocking": blocking, "relative_path": path,
            },
        })
    }

    fn lost(events: &[Value]) -> Vec<String> {
        let mut result = LostArtifacts::default();
        for event in events {
            let mut event = event.clone();
            event["project"] = "p".into();
            event["root_id"] = "r".into();
            event["feature_slug"] = "001-x".into();
            event["emitted_at"] = "2026-02-21T10:00:00.000Z".into();
            let event: ReceivedEvent = serde_json::from_value(event).unwrap();
            assert!(event.payload().is_some(), "{event:?}");
            result.add(&event);
        }
        assert_eq!(result.changed_features.len(), usize::from(!events.is_empty()));
        result.iter().map(|(_, path, loss)| format!("{path} {loss:?}")).collect()
    }

    #[test]
    fn only_required_artifacts_that_are_still_gone_or_empty_are_lost() {
        let deleted = || missing("a.md", "deleted_after_scan", true);
        let emptied = || indexed("a.md", 0, "required", "modified");
        for (events, expected) in [
            (vec![], &[][..]),
            (vec![deleted()], &["a.md Deleted"]),
            (vec![emptied()], &["a.md Emptied"]),
            (vec![emptied(), deleted()], &["a.md Deleted"]),
            (vec![deleted(), indexed("a.md", 3, "required", "restored")], &[]),
            (vec![emptied(), indexed("a.md", 3, "required", "modified")], &[]),
            (vec![deleted(), indexed("b.md", 3, "required", "added")], &["a.md Deleted"]),
            (vec![missing("a.md", "deleted_after_scan", false)], &[]),
            (vec![missing("a.md", "not_found", true)], &[]),
            (vec![indexed("a.md", 0, "optional", "modified")], &[]),
            // An agent may create a file first and write it then.
            (vec![indexed("a.md", 0, "required", "added")], &[]),
        ] {
            assert_eq!(lost(&events), expected, "{events:?}");
        }
    }
}

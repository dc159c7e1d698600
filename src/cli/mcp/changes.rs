//! Which resources change, from the daemon's stream of events.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::cli::mcp::resource_uri::ResourceUri;
use crate::client::{ClientError, FollowEvent, Follower};
use crate::core::event::Payload;
use crate::wire::events::ReceivedEvent;
use crate::wire::status::Status;

/// Changes within this time are reported together.
const COALESCE_INTERVAL: Duration = Duration::from_millis(100);

/// The resources that changed since the last report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ResourceChanges {
    /// True if events were lost, so that every resource may have changed.
    pub(super) all: bool,
    pub(super) changed: BTreeSet<ResourceUri>,
    /// True if there is a feature that was not known.
    pub(super) has_new_feature: bool,
}

/// Follows the changes of all resources, over restarts of the daemon.
pub(super) struct ChangeFollower {
    follower: Follower,
    /// The features, to notice new ones.
    known: HashSet<(String, String)>,
}

impl ChangeFollower {
    /// Follows the daemon at `socket` from now on; `status` is its present state.
    pub(super) fn new(socket: &Path, status: Option<&Status<'_>>) -> Self {
        let projects = status.into_iter().flat_map(|status| &status.projects);
        let known = projects.flat_map(|project| {
            let of = |slug: &str| (project.root_id.to_string(), slug.to_owned());
            project.features.iter().map(move |feature| of(&feature.feature_slug))
        });
        let since = status.map_or_else(
            || "now".to_owned(),
            |status| format!("{}:{}", status.instance, status.seq),
        );
        Self { follower: Follower::new(socket, &since), known: known.collect() }
    }

    /// Waits for the next changes. Cancel safe up to the first of them.
    pub(super) async fn next(&mut self) -> Result<ResourceChanges, ClientError> {
        let mut changes = ResourceChanges::default();
        while changes == ResourceChanges::default() {
            let event = self.follower.next().await?;
            self.record(&event, &mut changes);
        }
        let deadline = Instant::now() + COALESCE_INTERVAL;
        while let Ok(event) = timeout_at(deadline, self.follower.next()).await {
            self.record(&event?, &mut changes);
        }
        Ok(changes)
    }

    fn record(&mut self, event: &FollowEvent, changes: &mut ResourceChanges) {
        let FollowEvent::Message(message) = event else { return };
        match message.event.as_str() {
            // Among what is not known may be a new feature.
            "gap" => (changes.all, changes.has_new_feature) = (true, true),
            "snapshot" => {}
            _ => {
                if let Ok(event) = serde_json::from_str::<ReceivedEvent>(&message.data) {
                    record_event(&event, &mut self.known, changes);
                }
            }
        }
    }
}

fn record_event(
    event: &ReceivedEvent,
    known: &mut HashSet<(String, String)>,
    changes: &mut ResourceChanges,
) {
    let uri = |key: Option<String>| ResourceUri {
        root_id: event.root_id.clone(),
        feature: event.feature_slug.clone(),
        key,
    };
    changes.has_new_feature |= known.insert((event.root_id.clone(), event.feature_slug.clone()));
    changes.changed.insert(uri(None));
    let keys = match event.payload() {
        Some(Payload::ArtifactIndexed(one)) => {
            vec![
                Some(String::from(&*one.artifact_key)),
                one.previous_artifact_key.map(|key| String::from(&*key)),
            ]
        }
        Some(Payload::ArtifactMissing(one)) => vec![Some(String::from(&*one.artifact_key))],
        _ => Vec::new(),
    };
    changes.changed.extend(keys.into_iter().flatten().map(|key| uri(Some(key))));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_changes_its_artifact_under_both_keys_and_its_feature() {
        let event: ReceivedEvent = serde_json::from_value(json!({
            "seq": 1, "event_type": "mission_dossier_artifact_indexed", "project": "p", "root_id": "r",
            "feature_slug": "f", "emitted_at": "2026-02-21T10:00:00.123Z", "payload": {
                "feature_slug": "f", "artifact_key": "output.x", "artifact_class": "output",
                "relative_path": "x.md", "content_hash_sha256": "0".repeat(64), "size_bytes": 1,
                "wp_id": null, "step_id": null, "required_status": "optional", "change": "reclassified",
                "previous_artifact_key": "other.x",
            },
        }))
        .unwrap();
        let (mut known, mut changes) = (HashSet::new(), ResourceChanges::default());
        record_event(&event, &mut known, &mut changes);
        let uris: Vec<String> = changes.changed.iter().map(ToString::to_string).collect();
        assert_eq!(uris, ["dossier://r/f", "dossier://r/f/other.x", "dossier://r/f/output.x"]);
        assert!(changes.has_new_feature);
        let mut again = ResourceChanges::default();
        record_event(&event, &mut known, &mut again);
        assert!(!again.has_new_feature);
    }
}

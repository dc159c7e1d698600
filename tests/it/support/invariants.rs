//! The invariants of the daemon, checked whenever it has settled: its API shows exactly what a scan
//! of the disk finds, and its journal describes the same state without gaps or repetitions.
//!
//! [`assert_invariants`] is the specification of the daemon in one function; [`JournalReader`]
//! holds what must be true of each event. How the state was reached is the subject of the tests.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::Project;
use super::process::Daemon;

/// Root id, feature slug and relative path of an artifact.
type ArtifactId = (String, String, String);

/// Root id and slug of a feature.
type FeatureId = (String, String);

/// Fields of `mission_dossier_artifact_indexed` of which at least one must differ from the
/// artifact's previous event. The content hash is the first.
const ARTIFACT_FIELDS: [&str; 6] = [
    "content_hash_sha256",
    "artifact_key",
    "artifact_class",
    "wp_id",
    "step_id",
    "required_status",
];

/// State of an artifact after its last event.
#[derive(Debug, Clone, PartialEq)]
enum ArtifactState {
    /// Values of [`ARTIFACT_FIELDS`].
    Present(Vec<Value>),
    /// The reason code.
    Missing(Value),
}

/// Last events of a feature as a whole, without the fields that differ in each event.
#[derive(Debug, Default)]
struct FeatureState {
    snapshot: Value,
    /// `None` if the feature is not drifted.
    drift: Option<Value>,
}

/// Reads a daemon's journal from its start and folds the events into the state that they describe.
///
/// Checks for each event that sequence numbers have no gap, that event ids are unique, and that the
/// event changes that state.
#[derive(Debug, Default)]
pub(crate) struct JournalReader {
    cursor: Option<String>,
    /// All events that were read.
    pub(crate) events: Vec<Value>,
    event_ids: HashSet<String>,
    artifacts: BTreeMap<ArtifactId, ArtifactState>,
    features: BTreeMap<FeatureId, FeatureState>,
}

impl JournalReader {
    /// Reads, checks and returns the events since the previous call.
    #[track_caller]
    pub(crate) fn read_new(&mut self, daemon: &Daemon) -> Vec<Value> {
        let mut new = Vec::new();
        loop {
            let since = self.cursor.as_deref().unwrap_or("start");
            let page = daemon.get_json(&format!("/api/events?since={since}"));
            assert_eq!(page["gap"], false, "{page:#}");
            self.cursor = Some(page["next"].as_str().unwrap().to_owned());
            let events = page["events"].as_array().unwrap();
            if events.is_empty() {
                return new;
            }
            for event in events {
                self.apply(event);
                new.push(event.clone());
            }
        }
    }

    #[track_caller]
    fn apply(&mut self, event: &Value) {
        super::schema::assert_valid_event(event);
        assert_eq!(event["seq"], self.events.len() + 1, "a gap or repetition before {event:#}");
        let event_id = text(&event["event_id"]);
        assert!(self.event_ids.insert(event_id), "repeated event id: {event:#}");
        let feature = (text(&event["root_id"]), text(&event["feature_slug"]));
        let payload = &event["payload"];
        let artifact =
            |path: &Value| -> ArtifactId { (feature.0.clone(), feature.1.clone(), text(path)) };
        match event["event_type"].as_str().unwrap() {
            "mission_dossier_artifact_indexed" => {
                let fields = ARTIFACT_FIELDS.map(|name| payload[name].clone()).to_vec();
                let now = ArtifactState::Present(fields);
                let before =
                    self.artifacts.insert(artifact(&payload["relative_path"]), now.clone());
                assert_ne!(before, Some(now), "an event without a change: {event:#}");
                let is_new = match &before {
                    None => true,
                    Some(ArtifactState::Missing(reason)) => {
                        reason == "deleted_after_scan" || reason == "ignored"
                    }
                    Some(ArtifactState::Present(_)) => false,
                };
                assert!(
                    payload["change"] != "added" || is_new,
                    "`added`, but the artifact was present: {event:#}, before: {before:?}"
                );
            }
            "mission_dossier_artifact_missing" if !payload["relative_path"].is_null() => {
                // What is ignored is not known any more.
                let is_ignored = payload["reason_detail"]
                    .as_str()
                    .is_some_and(|detail| detail.starts_with("ignored by"));
                let reason =
                    if is_ignored { "ignored".into() } else { payload["reason_code"].clone() };
                let now = ArtifactState::Missing(reason);
                let before =
                    self.artifacts.insert(artifact(&payload["relative_path"]), now.clone());
                assert_ne!(before, Some(now), "an event without a change: {event:#}");
                assert!(
                    payload["reason_code"] != "deleted_after_scan" || before.is_some(),
                    "deleted, but the artifact was never present: {event:#}"
                );
            }
            "mission_dossier_snapshot_computed" => {
                let mut snapshot = payload.clone();
                snapshot.as_object_mut().unwrap().remove("snapshot_id");
                let state = self.features.entry(feature).or_default();
                assert_ne!(state.snapshot, snapshot, "an event without a change: {event:#}");
                if snapshot["drift_state"] != "drifted" && snapshot["drift_state"] != "key_mismatch"
                {
                    state.drift = None;
                }
                state.snapshot = snapshot;
            }
            "mission_dossier_parity_drift_detected" => {
                let mut drift = payload.clone();
                drift.as_object_mut().unwrap().remove("local_parity_hash");
                let state = self.features.entry(feature).or_default();
                assert_ne!(
                    state.drift.as_ref(),
                    Some(&drift),
                    "an event without a change: {event:#}"
                );
                state.drift = Some(drift);
            }
            other => assert_eq!(other, "mission_dossier_artifact_missing"),
        }
        self.events.push(event.clone());
    }

    /// Returns path and hash of each artifact of a feature that is present according to the events.
    pub(crate) fn present_artifacts(
        &self,
        root_id: &str,
        feature: &str,
    ) -> BTreeMap<String, String> {
        self.artifacts
            .iter()
            .filter(|((root, slug, _), _)| root == root_id && slug == feature)
            .filter_map(|((_, _, path), state)| match state {
                ArtifactState::Present(fields) => Some((path.clone(), text(&fields[0]))),
                ArtifactState::Missing(_) => None,
            })
            .collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Checks that the daemon shows exactly what a scan of the disk finds, for every feature, and that
/// the events of its journal describe the same state. Returns the events since `journal` was read.
///
/// Each request waits until the daemon has processed every change made before it, so this may be
/// called right after a change.
#[track_caller]
pub(crate) fn assert_invariants(
    project: &Project,
    daemon: &Daemon,
    journal: &mut JournalReader,
) -> Vec<Value> {
    let status = daemon.status();
    let root = project.root.to_str().unwrap();
    let projects = status["projects"].as_array().unwrap();
    let shown = projects.iter().find(|shown| shown["root"] == root).unwrap();
    let root_id = shown["root_id"].as_str().unwrap();
    let (gone, live): (Vec<&Value>, Vec<&Value>) =
        shown["features"].as_array().unwrap().iter().partition(|shown| shown["watch"] == "gone");
    let scanned = project.snapshots();
    assert_eq!(live.len(), scanned.len(), "{status:#}");
    let exported: Vec<Value> = scanned
        .iter()
        .map(|snapshot| daemon.export(snapshot["feature_slug"].as_str().unwrap()))
        .collect();
    let new = journal.read_new(daemon);
    for (scan, export) in scanned.into_iter().zip(exported) {
        let slug = text(&scan["feature_slug"]);
        let present = present_artifacts(&export);
        assert_snapshots_equal(&without_volatile_fields(export), &without_volatile_fields(scan));
        let by_events = journal.present_artifacts(root_id, &slug);
        assert_eq!(by_events, present, "journal and snapshot of `{slug}` differ");
    }
    for feature in gone {
        let slug = feature["feature_slug"].as_str().unwrap();
        let by_events = journal.present_artifacts(root_id, slug);
        assert_eq!(by_events, BTreeMap::new(), "artifacts of `{slug}`, which is gone");
    }
    new
}

/// Returns path and hash of each present artifact of a snapshot.
pub(crate) fn present_artifacts(snapshot: &Value) -> BTreeMap<String, String> {
    let artifacts = snapshot["artifact_summaries"].as_array().unwrap();
    artifacts
        .iter()
        .filter(|artifact| artifact["is_present"] == true)
        .map(|artifact| (text(&artifact["relative_path"]), text(&artifact["content_hash_sha256"])))
        .collect()
}

/// Returns a snapshot without the fields that differ between two snapshots of the same state.
pub(crate) fn without_volatile_fields(mut snapshot: Value) -> Value {
    let fields = snapshot.as_object_mut().unwrap();
    fields.remove("snapshot_id").unwrap();
    fields.remove("computed_at").unwrap();
    snapshot
}

/// Checks that two snapshots are equal; the failure lists the artifacts that differ.
#[track_caller]
pub(crate) fn assert_snapshots_equal(live: &Value, scanned: &Value) {
    if live == scanned {
        return;
    }
    let list = |value: &Value| value["artifact_summaries"].as_array().unwrap().clone();
    let (left, right) = (list(live), list(scanned));
    let only_live: Vec<_> = left.iter().filter(|entry| !right.contains(entry)).collect();
    let only_scan: Vec<_> = right.iter().filter(|entry| !left.contains(entry)).collect();
    panic!(
        "live only: {only_live:#?}\nscanned only: {only_scan:#?}\nlive: {live}\nscan: {scanned}"
    );
}

/// Returns the artifact events among `events` as `(change or reason code, path)`.
pub(crate) fn artifact_changes(events: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let artifact = |event: &&Value| event["event_type"].as_str().unwrap().contains("_artifact_");
    events
        .iter()
        .filter(artifact)
        .map(|event| {
            let payload = &event["payload"];
            let change = payload.get("change").unwrap_or(&payload["reason_code"]);
            (text(change), text(&payload["relative_path"]))
        })
        .collect()
}

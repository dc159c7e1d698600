//! Tests of the store through its public functions, and builders of test data.

mod commit;
mod delivery;
mod format;
mod journal;
mod open;

use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::core::artifact::{
    Absence, ArtifactClass, ArtifactRef, ArtifactState, ErrorReason, FileSignature, RequiredStatus,
};
use crate::core::digest::Digest;
use crate::core::event::{ArtifactIndexed, ArtifactMissing, Change, Payload};
use crate::core::inventory::InventoryEntry;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::transition::LastPublished;

const BOOT_ID: &str = "6d1f";

fn open(dir: &TempDir) -> Store {
    Store::open(dir.path(), BOOT_ID).unwrap().store
}

fn temp_dir() -> TempDir {
    TempDir::new().unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms).unwrap()
}

/// Returns a time at which both clocks show the same.
fn time(ms: i64) -> StoreTime {
    StoreTime { wall: at(ms), uptime: Duration::from_millis(ms.unsigned_abs()) }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn slug(text: &str) -> FeatureSlug {
    FeatureSlug::new(text.as_bytes()).unwrap()
}

fn change(feature: &str) -> FeatureChange {
    let origin = EventOrigin {
        project: "p".to_owned(),
        root_id: "00ff".to_owned(),
        project_uuid: "u".to_owned(),
        node_id: "n".to_owned(),
    };
    FeatureChange::new(Arc::new(origin), slug(feature))
}

/// Returns the entry of a file that is present.
fn file(text: &str) -> InventoryEntry {
    let artifact = ArtifactRef {
        artifact_key: text.replace('/', ".").into(),
        artifact_class: ArtifactClass::Output,
        relative_path: path(text),
        size_bytes: 7,
        wp_id: None,
        step_id: Some("plan".into()),
        required_status: RequiredStatus::Required,
        state: ArtifactState::Present { hash: Digest::of(text.as_bytes()), static_hash: None },
        indexed_at: at(1),
    };
    InventoryEntry { artifact: artifact.into(), signature: None, racy: false }
}

fn tombstone(text: &str) -> Arc<ArtifactRef> {
    let absence = Absence { reason: ErrorReason::DeletedAfterScan, detail: None };
    let artifact = (*file(text).artifact).clone();
    ArtifactRef { state: ArtifactState::Absent(absence), ..artifact }.into()
}

fn indexed_event(feature: &str, text: &str) -> Payload {
    let artifact = file(text).artifact;
    Payload::ArtifactIndexed(ArtifactIndexed {
        feature_slug: slug(feature),
        artifact_key: artifact.artifact_key.to_string(),
        artifact_class: artifact.artifact_class,
        relative_path: artifact.relative_path.clone(),
        content_hash_sha256: artifact.hash().unwrap(),
        size_bytes: artifact.size_bytes,
        wp_id: None,
        step_id: None,
        required_status: artifact.required_status,
        change: Change::Added,
        previous_artifact_key: None,
    })
}

fn missing_event(feature: &str, text: &str) -> Payload {
    Payload::ArtifactMissing(ArtifactMissing {
        feature_slug: slug(feature),
        artifact_key: text.to_owned(),
        artifact_class: ArtifactClass::Output,
        expected_path_pattern: text.to_owned(),
        reason_code: ErrorReason::DeletedAfterScan,
        reason_detail: None,
        blocking: false,
        relative_path: Some(path(text)),
    })
}

/// An event read back from the journal.
struct EventInJournal {
    seq: u64,
    event_id: String,
}

/// Commits changes. Returns the events that the journal then has in addition.
fn commit(store: &mut Store, changes: Vec<FeatureChange>, time: Timestamp) -> Vec<EventInJournal> {
    let before = store.seq();
    let committed = store.commit(changes, time).unwrap();
    let types = committed.types;
    let page = store.journal().reader().page(before, types.len().max(1), &EventFilter::default());
    let events = page.unwrap().events;
    assert_eq!(events.iter().map(|event| &*event.event_type).collect::<Vec<_>>(), types);
    let returned: Vec<StoredEvent> =
        committed.events.into_iter().map(|event| event.stored).collect();
    assert_eq!(returned, if events.len() > 32 { Vec::new() } else { events.clone() });
    let parse = |event: StoredEvent| {
        let envelope: serde_json::Value = serde_json::from_str(&event.envelope_json).unwrap();
        assert_eq!(envelope["seq"], event.seq);
        EventInJournal {
            seq: event.seq,
            event_id: envelope["event_id"].as_str().unwrap().to_owned(),
        }
    };
    events.into_iter().map(parse).collect()
}

/// Commits `count` events of a feature.
fn events(store: &mut Store, feature: &str, count: usize, time: Timestamp) -> Vec<EventInJournal> {
    let events = (0..count).map(|n| indexed_event(feature, &format!("f{n}"))).collect();
    commit(store, vec![FeatureChange { events, ..change(feature) }], time)
}

fn seqs(page: &EventPage) -> Vec<u64> {
    page.events.iter().map(|event| event.seq).collect()
}

/// Loads all features of the test project.
fn stored(store: &Store) -> Vec<LoadedFeature> {
    store.load_features("00ff").unwrap()
}

//! Which events a change of state owes.

use uuid::Uuid;

use super::*;
use crate::core::artifact::Observation;
use crate::core::baseline::Baseline;
use crate::core::feature::StepSource;
use crate::core::identity::BaselineKey;
use crate::core::inventory::Inventory;
use crate::core::manifest::{Mission, parse_manifest};
use crate::core::path::RelPath;
use crate::core::snapshot::MissionDossierSnapshot;
use crate::core::testing::{feature_context, observed, unreadable};
use crate::core::time::Timestamp;

const MANIFEST: &str = "mission_type: x\nrequired_always:\n\
    \x20 - {artifact_key: spec, artifact_class: input, path_pattern: spec.md, blocking: true}\n\
    \x20 - {artifact_key: wp, artifact_class: output, path_pattern: tasks/WP*.md, blocking: true}\n";

fn inventory() -> Inventory {
    let mission = Mission::new(parse_manifest(MANIFEST.as_bytes()).unwrap(), &[]).unwrap();
    Inventory::new(feature_context(Some(mission), None))
}

fn set(inventory: &mut Inventory, seen: Observation) -> String {
    let changed = inventory.set(seen, Timestamp::default());
    word(artifact_event(inventory, &changed, RemovalReason::Deleted))
}

fn remove(inventory: &mut Inventory, path: &str, gone: RemovalReason) -> String {
    let changed = inventory.remove(&RelPath::new(path.as_bytes()).unwrap());
    word(artifact_event(inventory, &changed, gone))
}

fn word(event: Option<Payload>) -> String {
    match event {
        None => "nothing".to_owned(),
        Some(Payload::ArtifactIndexed(event)) => {
            format!("{:?} {}", event.change, event.artifact_key)
        }
        Some(Payload::ArtifactMissing(event)) => {
            let blocking = if event.blocking { " blocking" } else { "" };
            let pattern = event.expected_path_pattern;
            format!("{} {} ({pattern}){blocking}", event.reason_code, event.artifact_key)
        }
        Some(other) => other.event_type().to_owned(),
    }
}

#[test]
fn one_path_through_its_life() {
    let mut inventory = inventory();
    let inventory = &mut inventory;
    assert_eq!(set(inventory, observed("spec.md", "1")), "Added spec");
    assert_eq!(set(inventory, observed("spec.md", "1")), "nothing");
    assert_eq!(set(inventory, observed("spec.md", "2")), "Modified spec");
    assert_eq!(set(inventory, unreadable("spec.md")), "unreadable spec (spec.md) blocking");
    assert_eq!(set(inventory, unreadable("spec.md")), "nothing");
    assert_eq!(set(inventory, observed("spec.md", "2")), "Restored spec");
    assert_eq!(
        remove(inventory, "spec.md", RemovalReason::Deleted),
        "deleted_after_scan spec (spec.md) blocking"
    );
    assert_eq!(remove(inventory, "spec.md", RemovalReason::Deleted), "nothing");
    assert_eq!(set(inventory, observed("x/y.bin", "")), "Added other.x.y.bin");
    assert_eq!(
        remove(inventory, "x/y.bin", RemovalReason::ParentUnreadable),
        "unreadable other.x.y.bin (x/y.bin)"
    );
}

#[test]
fn blocking_is_what_leaves_a_spec_unsatisfied() {
    let mut inventory = inventory();
    set(&mut inventory, observed("tasks/WP01.md", "1"));
    set(&mut inventory, observed("tasks/WP02.md", "2"));
    assert_eq!(
        remove(&mut inventory, "tasks/WP01.md", RemovalReason::Deleted),
        "deleted_after_scan wp.WP01 (tasks/WP*.md)"
    );
    assert_eq!(
        remove(&mut inventory, "tasks/WP02.md", RemovalReason::Deleted),
        "deleted_after_scan wp.WP02 (tasks/WP*.md) blocking"
    );
}

#[test]
fn new_terms_reclassify() {
    let mut inventory = inventory();
    set(&mut inventory, observed("spec.md", "1"));
    let changed = inventory.reclassify_all(feature_context(None, None), Timestamp::default());
    let [changed] = changed.as_slice() else { panic!("one change") };
    let Some(Payload::ArtifactIndexed(event)) =
        artifact_event(&inventory, changed, RemovalReason::Deleted)
    else {
        panic!("indexed")
    };
    assert_eq!(event.change, Change::Reclassified);
    assert_eq!(event.artifact_key, "input.spec.md");
    assert_eq!(event.previous_artifact_key.as_deref(), Some("spec"));
}

#[test]
fn absent_specs_are_said_once_and_not_after_their_deletion() {
    let inventory = inventory();
    let absent: Vec<ArtifactRef> = inventory.absent_specs(Timestamp::default()).collect();
    let words = |before: &[String], silent: &str| -> Vec<String> {
        let events = absent_spec_events(&inventory, before, &absent, |key| key == silent);
        events.into_iter().map(|event| word(Some(event))).collect()
    };
    assert_eq!(
        words(&[], ""),
        ["not_found spec (spec.md) blocking", "not_found wp (tasks/WP*.md) blocking"]
    );
    assert_eq!(words(&["spec".to_owned()], ""), ["not_found wp (tasks/WP*.md) blocking"]);
    assert_eq!(words(&[], "spec"), ["not_found wp (tasks/WP*.md) blocking"]);
}

fn verdict(drift: Drift) -> Evaluation {
    let mut inventory = inventory();
    Evaluation {
        parity_hash_sha256: inventory.parity_hash(),
        tree_hash_sha256: inventory.tree_hash(),
        counts: inventory.counts(),
        completeness: inventory.completeness(),
        missing_required: inventory.missing_required(),
        drift,
    }
}

fn key(branch: &str) -> BaselineKey {
    BaselineKey {
        project_uuid: "u".into(),
        node_id: "n".into(),
        feature_slug: "001-x".into(),
        target_branch: branch.into(),
        mission_key: "x".into(),
        manifest_version: "1".into(),
    }
}

fn bearings(branch: &str, baseline: BaselineFile) -> FeatureMetadata {
    FeatureMetadata {
        step_source: StepSource::None,
        step_error: None,
        step_unreadable: false,
        meta_error: None,
        baseline_key: key(branch),
        baseline,
    }
}

#[test]
fn verdicts_are_news_once() {
    let slug = FeatureSlug::new(b"001-x").unwrap();
    let mut verdict = verdict(Drift::indeterminate("no reason"));
    let none = bearings("main", BaselineFile::Absent);
    let at = |millis| Timestamp::from_millis(millis).unwrap();
    let (first, later) = (at(1), at(2));
    let (events, announced) =
        evaluation_events(&slug, None, &verdict, &none, first, || "one".into());
    assert_eq!((events.len(), announced.computed_at), (1, Some(first)));
    let (events, again) =
        evaluation_events(&slug, Some(&announced), &verdict, &none, later, || panic!("none"));
    assert_eq!((events.len(), &again), (0, &announced), "computed once");
    verdict.drift.state = Some(DriftState::NoBaseline);
    let (events, next) =
        evaluation_events(&slug, Some(&announced), &verdict, &none, later, || "two".into());
    assert_eq!((events.len(), next.snapshot_id.as_str()), (1, "two"));
    assert_eq!(next.computed_at, Some(later));
}

#[test]
fn each_pair_of_keys_is_news_once() {
    let slug = FeatureSlug::new(b"001-x").unwrap();
    let dossier =
        Inventory::from_observations(feature_context(None, None), Vec::new(), Timestamp::default())
            .to_dossier(Timestamp::default());
    let now = MissionDossierSnapshot::compute(&dossier, Uuid::nil(), Timestamp::default());
    let mut announced = None;
    let mut tell = |of: &str, on: &str, judged: bool| {
        let baseline = Baseline::capture(&now, &key(of), Timestamp::default());
        let bearings = bearings(on, BaselineFile::Valid(Box::new(baseline)));
        let drift = if judged {
            Drift::compare(&bearings.baseline, &bearings.baseline_key, &now)
        } else {
            Drift::indeterminate("no reason")
        };
        let (id, at) = (|| "id".to_owned(), Timestamp::default());
        let (events, next) =
            evaluation_events(&slug, announced.as_ref(), &verdict(drift), &bearings, at, id);
        assert!(next.mismatches.len() <= MAX_REMEMBERED_MISMATCHES);
        announced = Some(next);
        events.iter().filter(|event| matches!(event, Payload::ParityDriftDetected(_))).count()
    };
    for (of, on, judged, news) in [
        ("main", "main", true, 0),
        ("main", "a", true, 1),
        ("main", "a", true, 0),
        ("main", "b", true, 1),
        ("main", "b", false, 0),
        ("main", "b", true, 0),
        ("main", "main", true, 0),
        ("main", "a", true, 0),
        ("b", "a", true, 1),
        ("a", "b", true, 1),
    ] {
        assert_eq!(tell(of, on, judged), news, "of {of} on {on}, judged: {judged}");
    }
    for number in 0..MAX_REMEMBERED_MISMATCHES {
        assert_eq!(tell("main", &number.to_string(), true), 1);
    }
    assert_eq!(tell("main", "0", true), 0);
    assert_eq!(tell("main", "a", true), 1);
}

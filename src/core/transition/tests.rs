//! Tests of the events that follow from a change of state.

use uuid::Uuid;

use super::*;
use crate::core::artifact::{Absence, ArtifactState, CHANGED_WHILE_READ, Observation};
use crate::core::baseline::Baseline;
use crate::core::baseline::BaselineScope;
use crate::core::feature_context::{FeatureContext, UnknownReason};
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
    describe(artifact_event(inventory, None, &changed, RemovalReason::Deleted))
}

fn remove(inventory: &mut Inventory, path: &str, removal: RemovalReason) -> String {
    let changed = inventory.remove(&RelPath::new(path.as_bytes()).unwrap());
    describe(artifact_event(inventory, None, &changed, removal))
}

fn describe(event: Option<Payload>) -> String {
    match event {
        None => "no event".to_owned(),
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
fn artifact_event_reports_each_change_of_a_path_once() {
    let mut inventory = inventory();
    let inventory = &mut inventory;
    assert_eq!(set(inventory, observed("spec.md", "1")), "Added spec");
    assert_eq!(set(inventory, observed("spec.md", "1")), "no event");
    assert_eq!(set(inventory, observed("spec.md", "2")), "Modified spec");
    assert_eq!(set(inventory, unreadable("spec.md")), "unreadable spec (spec.md) blocking");
    assert_eq!(set(inventory, unreadable("spec.md")), "no event");
    assert_eq!(set(inventory, observed("spec.md", "2")), "Restored spec");
    assert_eq!(
        remove(inventory, "spec.md", RemovalReason::Deleted),
        "deleted_after_scan spec (spec.md) blocking"
    );
    assert_eq!(remove(inventory, "spec.md", RemovalReason::Deleted), "no event");
    assert_eq!(set(inventory, observed("x/y.bin", "")), "Added other.x.y.bin");
    assert_eq!(
        remove(inventory, "x/y.bin", RemovalReason::ParentUnreadable),
        "unreadable other.x.y.bin (x/y.bin)"
    );
}

#[test]
fn nothing_is_announced_of_a_new_file_before_it_holds_still() {
    let restless = || Observation {
        state: ArtifactState::Absent(Absence {
            reason: ErrorReason::Unreadable,
            detail: Some(CHANGED_WHILE_READ.into()),
        }),
        ..unreadable("spec.md")
    };
    let mut inventory = inventory();
    assert_eq!(set(&mut inventory, restless()), "no event");
    assert_eq!(remove(&mut inventory, "spec.md", RemovalReason::Deleted), "no event");
    set(&mut inventory, restless());
    assert_eq!(set(&mut inventory, observed("spec.md", "1")), "Added spec");
}

#[test]
fn deletion_is_blocking_only_if_it_leaves_a_spec_unsatisfied() {
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
fn a_new_context_reclassifies_files_with_their_previous_key() {
    let mut inventory = inventory();
    set(&mut inventory, observed("spec.md", "1"));
    let changed = inventory.reclassify_all(feature_context(None, None), Timestamp::default());
    let [changed] = changed.as_slice() else { panic!("one change") };
    let Some(Payload::ArtifactIndexed(event)) =
        artifact_event(&inventory, None, changed, RemovalReason::Deleted)
    else {
        panic!("indexed")
    };
    assert_eq!(event.change, Change::Reclassified);
    assert_eq!(event.artifact_key, "input.spec.md");
    assert_eq!(event.previous_artifact_key.as_deref(), Some("spec"));
}

const STEPPED: &str = "mission_type: x\nrequired_by_step:\n\
    \x20 first:\n\
    \x20   - {artifact_key: spec, artifact_class: input, path_pattern: spec.md, blocking: true}\n\
    \x20   - {artifact_key: note, artifact_class: input, path_pattern: note.md}\n\
    \x20 second:\n\
    \x20   - {artifact_key: tasks, artifact_class: output, path_pattern: tasks.md, blocking: true}\n";

fn context_at(step: &str) -> FeatureContext {
    let steps = ["first".to_owned(), "second".to_owned()];
    let mission = Mission::new(parse_manifest(STEPPED.as_bytes()).unwrap(), &steps).unwrap();
    feature_context(Some(mission), Some(step))
}

#[test]
fn deletion_is_blocking_if_its_spec_applied_before_or_applies_after() {
    for (before, after, blocking) in [
        ("first", "first", false),
        ("first", "second", true),
        ("second", "first", true),
        ("second", "second", true),
    ] {
        let mut inventory = Inventory::new(context_at(before));
        inventory.set(observed("tasks.md", "1"), Timestamp::default());
        inventory.reclassify_all(context_at(after), Timestamp::default());
        let changed = inventory.remove(&RelPath::new(&b"tasks.md"[..]).unwrap());
        let removal = RemovalReason::Deleted;
        let Some(Payload::ArtifactMissing(event)) =
            artifact_event(&inventory, Some(before), &changed, removal)
        else {
            panic!("an event")
        };
        assert_eq!(event.blocking, blocking, "{before} to {after}");
    }
}

#[test]
fn absent_specs_are_reported_when_they_begin_to_apply() {
    let mut inventory = Inventory::new(context_at("first"));
    let mut reported: Vec<String> = Vec::new();
    let mut commit = |inventory: &Inventory, deleted: &str| -> Vec<String> {
        let now: Vec<ArtifactRef> = inventory.absent_specs(Timestamp::default()).collect();
        let is_deleted = |key: &str| key == deleted;
        let events = absent_spec_events(inventory, &reported, &now, is_deleted);
        reported = reported_absences(inventory, &reported, &now, is_deleted);
        events.into_iter().map(|event| describe(Some(event))).collect()
    };
    let (spec, note) = ("not_found spec (spec.md) blocking", "not_found note (note.md)");
    let tasks = "not_found tasks (tasks.md) blocking";
    assert_eq!(commit(&inventory, ""), [spec, note]);
    assert_eq!(commit(&inventory, ""), [""; 0]);
    // The deletion of a file whose spec does not apply reports nothing about the spec.
    assert_eq!(commit(&inventory, "tasks"), [""; 0]);
    inventory.reclassify_all(context_at("second"), Timestamp::default());
    assert_eq!(commit(&inventory, ""), [tasks]);
    assert_eq!(commit(&inventory, ""), [""; 0]);
    // Once it does not apply, it is reported again when it does.
    inventory.reclassify_all(context_at("first"), Timestamp::default());
    assert_eq!(commit(&inventory, ""), [""; 0]);
    inventory.reclassify_all(context_at("second"), Timestamp::default());
    assert_eq!(commit(&inventory, "tasks"), [""; 0], "the deletion reports it");
    assert_eq!(commit(&inventory, ""), [""; 0]);
}

#[test]
fn event_whose_spec_does_not_apply_ends_the_report_of_its_absence() {
    let reported = ["spec", "tasks"].map(str::to_owned);
    for (step, replaced, expected) in [
        ("second", "tasks", vec!["spec", "tasks"]),
        ("first", "tasks", vec!["spec"]),
        ("first", "", vec!["spec", "tasks"]),
    ] {
        let inventory = Inventory::new(context_at(step));
        let kept = kept_absences(&inventory, &reported, |key| key == replaced);
        assert_eq!(kept, expected, "{step}, {replaced}");
    }
    let inventory = Inventory::new(feature_context(None, None));
    assert_eq!(kept_absences(&inventory, &reported, |key| key == "spec"), ["tasks"]);
}

#[test]
fn what_cannot_be_looked_for_is_not_reported_a_second_time() {
    let mut inventory = Inventory::new(context_at("second"));
    inventory.set(observed("spec.md", "1"), Timestamp::default());
    let mut reported = vec!["note".to_owned(), "gone".to_owned()];
    inventory.remove(&RelPath::new(&b"spec.md"[..]).unwrap());
    inventory.set_unknown_reason(Some(UnknownReason::Deleted));
    for (unknown_reason, deleted, expected) in [
        (Some(UnknownReason::Deleted), "spec", vec![]),
        (None, "", vec!["not_found tasks (tasks.md) blocking"]),
        (Some(UnknownReason::UnreadableMeta), "", vec![]),
        (None, "", vec![]),
    ] {
        inventory.set_unknown_reason(unknown_reason);
        let now: Vec<ArtifactRef> = inventory.absent_specs(Timestamp::default()).collect();
        let is_deleted = |key: &str| key == deleted;
        let events = absent_spec_events(&inventory, &reported, &now, is_deleted);
        let events: Vec<String> = events.into_iter().map(|event| describe(Some(event))).collect();
        assert_eq!(events, expected);
        reported = reported_absences(&inventory, &reported, &now, is_deleted);
    }
    assert_eq!(reported, ["spec", "note", "tasks"]);
}

fn evaluation(drift: Drift) -> Evaluation {
    let mut inventory = inventory();
    Evaluation {
        progress: None,
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

fn metadata(branch: &str, baseline: BaselineFile) -> FeatureMetadata {
    FeatureMetadata {
        step_error: None,
        step_unreadable: false,
        meta_error: None,
        last_valid_meta: None,
        progress: None,
        progress_error: None,
        baseline_scope: BaselineScope::Local,
        churn: std::sync::Arc::default(),
        dir: None,
        baseline_foreign: false,
        former_slug: None,
        baseline_key: key(branch),
        baseline,
    }
}

#[test]
fn an_unchanged_evaluation_is_published_once() {
    let slug = FeatureSlug::new(b"001-x").unwrap();
    let mut evaluation = evaluation(Drift::indeterminate("no reason"));
    let metadata = metadata("main", BaselineFile::Absent);
    let at = |millis| Timestamp::from_millis(millis).unwrap();
    let (first, later) = (at(1), at(2));
    let one = evaluation_events(&slug, None, None, &evaluation, &metadata, first, || "one".into());
    let published = one.last_published;
    assert_eq!((one.events.len(), published.computed_at), (1, Some(first)));
    let again =
        evaluation_events(&slug, None, Some(&published), &evaluation, &metadata, later, || {
            panic!("new")
        });
    assert_eq!((again.events.len(), &again.last_published), (0, &published), "computed once");
    evaluation.drift.state = Some(DriftState::NoBaseline);
    let two =
        evaluation_events(&slug, None, Some(&published), &evaluation, &metadata, later, || {
            "two".into()
        });
    assert_eq!((two.events.len(), two.last_published.snapshot_id.as_str()), (1, "two"));
    assert_eq!(two.last_published.computed_at, Some(later));
}

#[test]
fn each_key_mismatch_is_published_once() {
    let slug = FeatureSlug::new(b"001-x").unwrap();
    let dossier =
        Inventory::from_observations(feature_context(None, None), Vec::new(), Timestamp::default())
            .to_dossier(Timestamp::default());
    let now = MissionDossierSnapshot::compute(&dossier, Uuid::nil(), Timestamp::default());
    let mut last = None;
    let mut count_drift_events = |accepted_on: &str, current: &str, is_evaluated: bool| {
        let baseline = Baseline::capture(&now, &key(accepted_on), Timestamp::default());
        let metadata = metadata(current, BaselineFile::Valid(Box::new(baseline)));
        let drift = if is_evaluated {
            Drift::compare(&metadata.baseline, &metadata.baseline_key, &now)
        } else {
            Drift::indeterminate("no reason")
        };
        let (id, at) = (|| "id".to_owned(), Timestamp::default());
        let EvaluationEvents { events, last_published } =
            evaluation_events(&slug, None, last.as_ref(), &evaluation(drift), &metadata, at, id);
        assert!(last_published.mismatches.len() <= MAX_REMEMBERED_MISMATCHES);
        last = Some(last_published);
        events.iter().filter(|event| matches!(event, Payload::ParityDriftDetected(_))).count()
    };
    for (accepted_on, current, is_evaluated, count) in [
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
        let events = count_drift_events(accepted_on, current, is_evaluated);
        assert_eq!(events, count, "{accepted_on} on {current}, evaluated: {is_evaluated}");
    }
    for number in 0..MAX_REMEMBERED_MISMATCHES {
        assert_eq!(count_drift_events("main", &number.to_string(), true), 1);
    }
    assert_eq!(count_drift_events("main", "0", true), 0);
    assert_eq!(count_drift_events("main", "a", true), 1);
}

//! Tests that an incrementally updated inventory equals one that is built from the final files.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::core::artifact::{FileSignature, Observation};
use crate::core::manifest::parse_manifest;
use crate::core::pattern::Pattern;
use crate::core::snapshot::MissionDossierSnapshot;
use crate::core::task_progress::Relation;
use crate::core::testing::{feature_context, observed, unreadable};

const MANIFEST: &str = r#"
mission_type: sample
required_always:
  - {artifact_key: a.one, artifact_class: input, path_pattern: a, blocking: true}
  - {artifact_key: a.again, artifact_class: input, path_pattern: a}
required_by_step:
  first:
    - {artifact_key: any.b, artifact_class: output, path_pattern: "b*", blocking: true}
  second:
    - {artifact_key: deep, artifact_class: output, path_pattern: "d/**", blocking: true}
"#;

fn now() -> Timestamp {
    Timestamp::default()
}

fn context_at_step(step: Option<&str>) -> FeatureContext {
    let steps = ["first".to_owned(), "second".to_owned()];
    let mission = Mission::new(parse_manifest(MANIFEST.as_bytes()).unwrap(), &steps).unwrap();
    let mut context = feature_context(Some(mission), step);
    let pattern = |text: &str| Pattern::new(text).unwrap();
    context.step_inputs.relation =
        Some(Relation { files: pattern("b*"), partner: pattern("d/WP*") });
    context
}

#[derive(Debug, Clone)]
enum Op {
    Set(&'static str, u8),
    MakeUnreadable(&'static str),
    Remove(&'static str),
    Step(Option<&'static str>),
    NoMission,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let path = || {
        prop_oneof![
            Just("a"),
            Just("b"),
            Just("b1"),
            Just("c"),
            Just("d/x"),
            Just("d/WP1"),
            Just("d/WP01/y")
        ]
    };
    let op = prop_oneof![
        4 => (path(), 0u8..3).prop_map(|(path, content)| Op::Set(path, content)),
        1 => path().prop_map(Op::MakeUnreadable),
        2 => path().prop_map(Op::Remove),
        1 => prop_oneof![Just(None), Just(Some("first")), Just(Some("second"))].prop_map(Op::Step),
        1 => Just(Op::NoMission),
    ];
    proptest::collection::vec(op, 0..40)
}

proptest! {
    #[test]
    fn incremental_updates_equal_a_new_inventory(ops in ops()) {
        let mut inventory = Inventory::new(context_at_step(None));
        let mut model = BTreeMap::new();
        for op in ops {
            match op {
                Op::Set(path, content) => {
                    let observation = observed(path, &content.to_string());
                    model.insert(path, observation.clone());
                    inventory.set(observation, now());
                }
                Op::MakeUnreadable(path) => {
                    model.insert(path, unreadable(path));
                    inventory.set(unreadable(path), now());
                }
                Op::Remove(path) => {
                    let change = inventory.remove(&RelPath::new(path.as_bytes()).unwrap());
                    prop_assert_eq!(change.before.is_some(), model.remove(path).is_some());
                }
                Op::Step(step) => { inventory.reclassify_all(context_at_step(step), now()); }
                Op::NoMission => { inventory.reclassify_all(feature_context(None, None), now()); }
            }
            let built = Inventory::from_observations(
                FeatureContext::clone(inventory.context()),
                model.values().cloned().collect(),
                now(),
            );
            prop_assert_eq!(inventory.current_step(), built.current_step());
            let expected = built.to_dossier(now());
            let snapshot = MissionDossierSnapshot::compute(&expected, Uuid::nil(), now());
            prop_assert_eq!(&inventory.to_dossier(now()).artifacts, &expected.artifacts);
            prop_assert_eq!(inventory.counts(), snapshot.counts);
            prop_assert_eq!(inventory.completeness(), snapshot.completeness_status);
            prop_assert_eq!(inventory.tree_hash(), snapshot.tree_hash_sha256);
            prop_assert_eq!(inventory.parity_hash(), snapshot.parity_hash_sha256);
            let missing: Vec<&str> = expected.artifacts.iter()
                .filter(|a| !a.is_present() && a.required_status == RequiredStatus::Required)
                .map(|a| a.artifact_key.as_ref()).collect();
            prop_assert_eq!(inventory.missing_required(), missing);
        }
    }
}

#[test]
fn specs_whose_files_were_not_looked_for_are_neither_absent_nor_missing() {
    let absent = |inventory: &Inventory| -> Vec<String> {
        inventory.absent_specs(now()).map(|spec| spec.artifact_key.to_string()).collect()
    };
    let mut inventory = Inventory::new(context_at_step(Some("second")));
    assert_eq!(absent(&inventory), ["a.one", "a.again", "any.b", "deep"]);
    assert_eq!(inventory.completeness(), Completeness::Incomplete);
    inventory.set(observed("a", "x"), now());
    inventory.set(observed("b", "x"), now());
    // A directory on the way of a required spec.
    inventory.set(unreadable("d"), now());
    assert_eq!((absent(&inventory), inventory.missing_required()), (vec![], vec![]));
    let reason = Some(UnknownReason::UnreadableDir(RelPath::new(&b"d"[..]).unwrap()));
    assert_eq!(inventory.evaluated_context().unknown_reason, reason);
    let dossier = inventory.to_dossier(now());
    assert_eq!(dossier.completeness_status(), Completeness::Unknown);
    // Another one does not matter, and neither does one in whose place a file was found.
    inventory.remove(&RelPath::new(&b"d"[..]).unwrap());
    inventory.set(unreadable("c"), now());
    let is_known = |inventory: &Inventory| {
        let expected = (vec!["deep".to_owned()], Completeness::Incomplete);
        assert_eq!((absent(inventory), inventory.completeness()), expected);
    };
    is_known(&inventory);
    // Nothing is below a file.
    inventory.set(Observation { size_bytes: 1, ..unreadable("d") }, now());
    is_known(&inventory);
    inventory.set(unreadable("d"), now());
    inventory.set(observed("d/y", "x"), now());
    assert_eq!(inventory.completeness(), Completeness::Complete);
    // More entries than a limit: which ones are known is arbitrary.
    inventory.remove(&RelPath::new(&b"a"[..]).unwrap());
    inventory.set_unknown_reason(Some(UnknownReason::LimitExceeded("entries".to_owned())));
    assert_eq!((absent(&inventory), inventory.completeness()), (vec![], Completeness::Unknown));
    // Which files are expected is not known while `meta.json` cannot be used.
    inventory.set_unknown_reason(None);
    assert_eq!(absent(&inventory), ["a.one", "a.again"]);
    inventory.set_unknown_reason(Some(UnknownReason::UnreadableMeta));
    assert_eq!((absent(&inventory), inventory.completeness()), (vec![], Completeness::Unknown));
}

#[test]
fn parity_hash_is_correct_after_many_removals() {
    let mut inventory = Inventory::new(feature_context(None, None));
    for number in 0..300 {
        inventory.set(observed(&format!("f{number}"), &(number % 7).to_string()), now());
    }
    let _ = inventory.parity_hash();
    for number in 0..200 {
        inventory.remove(&RelPath::new(format!("f{number}").as_bytes()).unwrap());
    }
    let snapshot =
        MissionDossierSnapshot::compute(&inventory.to_dossier(now()), Uuid::nil(), now());
    assert_eq!(inventory.parity_hash(), snapshot.parity_hash_sha256);
}

#[test]
fn work_package_id_is_found_in_path_components() {
    for (path, id) in [
        ("tasks/WP01-models.md", Some("WP01")),
        ("tasks/WP123/review.md", Some("WP123")),
        ("WP1.md", None),
        ("reviews/wp-WP01.yaml", None),
        ("x/WP02/WP03.md", Some("WP02")),
    ] {
        let path = RelPath::new(path.as_bytes()).unwrap();
        assert_eq!(wp_id_of_path(&path).as_deref(), id, "{path:?}");
    }
}

/// A file on disk with this inode.
fn on_disk(path: &str, content: &str, inode: u64) -> Observation {
    let signature = FileSignature { size: 1, modified_ns: 2, changed_ns: 3, inode, device: 4 };
    Observation { signature: Some(signature), ..observed(path, content) }
}

#[test]
fn features_are_compared_by_paths_contents_and_files_on_disk() {
    use FileSimilarity::{Different, Equal, EqualButChurn, SameFile};
    let inventory = |files: Vec<Observation>| {
        Inventory::from_observations(feature_context(None, None), files, now())
    };
    let churned = |inode| {
        let mut one = on_disk("tasks/WP01.md", &format!("{inode}"), inode);
        if let ArtifactState::Present { static_hash, .. } = &mut one.state {
            *static_hash = Some(Digest::of(b"static").into());
        }
        one
    };
    let (x, y) = (|path, inode| on_disk(path, "x", inode), |path, inode| on_disk(path, "y", inode));
    for (one, other, expected) in [
        (vec![], vec![], Different),
        (vec![], vec![x("a", 1)], Different),
        (vec![x("a", 1)], vec![x("a", 2)], Equal),
        (vec![observed("a", "x")], vec![observed("a", "x")], Equal),
        (vec![x("a", 1)], vec![x("b", 1)], Different),
        (vec![x("a", 1)], vec![y("a", 2)], Different),
        (vec![observed("a", "x")], vec![observed("a", "y")], Different),
        (vec![x("a", 1)], vec![x("a", 1), x("b", 2)], SameFile),
        (vec![x("a", 1)], vec![x("a", 2), x("b", 2)], Different),
        (vec![churned(1), x("a", 2)], vec![churned(3), x("a", 4)], EqualButChurn),
        (vec![x("a", 1), x("b", 2), x("c", 3)], vec![y("a", 4), y("b", 5), x("c", 3)], SameFile),
        (vec![x("a", 1), x("b", 2)], vec![y("a", 4), x("b", 5)], Different),
        // Files that cannot be read are equal to none.
        (vec![unreadable("a")], vec![unreadable("a")], Different),
        // Files of class `runtime` do not count.
        (vec![x("status.json", 1)], vec![x("status.json", 1)], Different),
    ] {
        let shown = format!("{one:?} {other:?}");
        let found = inventory(one).compare_files(&inventory(other), &ChurnRules::default());
        assert_eq!(found, expected, "{shown}");
    }
}

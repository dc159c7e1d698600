//! Tests of absent specs, completeness, required artifacts and colliding keys.

use std::collections::HashMap;

use super::*;
use crate::core::artifact::{ErrorReason, Observation};
use crate::core::digest::Digest;
use crate::core::feature_context::UnknownReason;
use crate::core::inventory::Inventory;
use crate::core::manifest::{Mission, parse_manifest};
use crate::core::testing::{feature_context, observed, unreadable};
use crate::core::time::Timestamp;

const MANIFEST: &str = r#"
mission_type: sample
required_always:
  - {artifact_key: input.spec, artifact_class: input, path_pattern: spec.md, blocking: true}
required_by_step:
  plan:
    - {artifact_key: output.plan, artifact_class: output, path_pattern: plan.md, blocking: true}
  tasks:
    - {artifact_key: output.wp, artifact_class: output, path_pattern: "tasks/WP*.md", blocking: true}
    - {artifact_key: evidence.note, artifact_class: evidence, path_pattern: note.md}
"#;

fn dossier(step: Option<&str>, observations: Vec<Observation>) -> MissionDossier {
    let steps = ["plan".to_owned(), "tasks".to_owned()];
    let mission = Mission::new(parse_manifest(MANIFEST.as_bytes()).unwrap(), &steps).unwrap();
    let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
    Inventory::from_observations(feature_context(Some(mission), step), observations, now)
        .to_dossier(now)
}

fn listed(dossier: &MissionDossier) -> Vec<(&str, &str)> {
    let state = |a: &ArtifactRef| match a.error_reason() {
        None => "present",
        Some(ErrorReason::NotFound) => "not_found",
        Some(_) => "unreadable",
    };
    dossier.artifacts.iter().map(|a| (a.artifact_key.as_ref(), state(a))).collect()
}

#[test]
fn absent_specs_that_apply_are_listed_once() {
    let spec = || observed("spec.md", "x");
    let plan = dossier(Some("plan"), vec![spec()]);
    assert_eq!(listed(&plan), [("input.spec", "present"), ("output.plan", "not_found")]);
    assert_eq!(plan.completeness_status(), Completeness::Incomplete);

    let tasks = dossier(None, vec![spec(), unreadable("plan.md"), observed("tasks/WP01.md", "y")]);
    assert_eq!(
        listed(&tasks),
        [
            ("evidence.note", "not_found"),
            ("input.spec", "present"),
            ("output.plan", "unreadable"),
            ("output.wp.WP01", "present"),
        ]
    );
    assert_eq!(
        tasks.missing_required_artifacts(None).iter().map(|a| &*a.artifact_key).collect::<Vec<_>>(),
        ["output.plan"]
    );
}

#[test]
fn one_file_satisfies_a_glob_but_an_unreadable_one_leaves_it_incomplete() {
    let base = vec![observed("spec.md", "x"), observed("plan.md", "y")];
    let with = |more: Vec<Observation>| dossier(Some("tasks"), [base.clone(), more].concat());
    let complete = with(vec![observed("tasks/WP01.md", "z")]);
    assert_eq!(complete.completeness_status(), Completeness::Complete);
    let unreadable_too = with(vec![observed("tasks/WP01.md", "z"), unreadable("tasks/WP02.md")]);
    assert_eq!(unreadable_too.completeness_status(), Completeness::Incomplete);
    assert!(unreadable_too.find_artifact("output.wp").is_none(), "the spec is satisfied");
    let none = with(vec![unreadable("tasks/WP02.md")]);
    assert!(
        none.find_artifact("output.wp").is_some() && none.find_artifact("output.wp.WP02").is_some()
    );
}

#[test]
fn required_artifacts_are_those_of_always_and_one_step() {
    let all = dossier(None, vec![observed("spec.md", "x"), observed("tasks/WP01.md", "y")]);
    let keys = |step| -> Vec<&str> {
        all.required_artifacts(step).iter().map(|a| a.artifact_key.as_ref()).collect()
    };
    assert_eq!(keys(None), ["input.spec", "output.plan", "output.wp.WP01"]);
    assert_eq!(keys(Some("tasks")), ["input.spec", "output.wp.WP01"]);
    assert_eq!(keys(Some("unknown")), ["input.spec"]);
}

#[test]
fn completeness_is_unknown_without_mission_or_with_a_reason() {
    let complete = dossier(Some("plan"), vec![observed("spec.md", "x"), observed("plan.md", "y")]);
    assert_eq!(complete.completeness_status(), Completeness::Complete);
    let mut with_reason = complete.clone();
    Arc::make_mut(&mut with_reason.context).unknown_reason =
        Some(UnknownReason::InvalidManifest("m.yaml:1:1".to_owned()));
    assert_eq!(with_reason.completeness_status(), Completeness::Unknown);
    let mut without_mission = complete;
    Arc::make_mut(&mut without_mission.context).mission = None;
    assert_eq!(without_mission.completeness_status(), Completeness::Unknown);
    assert!(without_mission.required_artifacts(None).is_empty());
}

/// Two paths whose slugs are equal and whose hashes share the 8 digits of a key, found by search:
/// an attacker can find such a pair too.
#[test]
fn crafted_key_collisions_are_disambiguated() {
    let mut by_digits = HashMap::new();
    let (one, two) = (0u32..)
        .find_map(|n| {
            let name: String = n
                .to_le_bytes()
                .iter()
                .map(|byte| char::from_u32(0x4e00 + u32::from(*byte)).unwrap())
                .collect();
            let digits = Digest::of(name.as_bytes()).to_string()[..8].to_owned();
            by_digits.insert(digits, name.clone()).map(|other| (other, name))
        })
        .unwrap();
    let both = dossier(Some("plan"), vec![observed(&one, "1"), observed(&two, "2")]);
    let keys: Vec<&str> = both
        .artifacts
        .iter()
        .map(|a| a.artifact_key.as_ref())
        .filter(|key| key.starts_with("other."))
        .collect();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1]);
    assert_eq!(both.find_artifact(keys[0]).unwrap().artifact_key.as_ref(), keys[0]);
}

#[test]
fn artifact_is_found_by_key_and_else_by_path() {
    let dossier = dossier(None, vec![observed("spec.md", "x"), observed("input.spec", "y")]);
    let found = |name| dossier.find_by_name(name).map(|artifact| &*artifact.artifact_key);
    for (name, key) in [
        ("spec.md", Some("input.spec")),
        ("plan.md", Some("output.plan")),
        // Also the path of another file.
        ("input.spec", Some("input.spec")),
        ("other.input.spec", Some("other.input.spec")),
        ("./spec.md", None),
        ("spec", None),
    ] {
        assert_eq!(found(name), key, "{name}");
    }
    let absent = dossier.find_artifact("output.plan").unwrap().clone();
    let present = ArtifactRef {
        relative_path: absent.relative_path.clone(),
        ..dossier.find_artifact("input.spec").unwrap().clone()
    };
    let both = [Arc::new(absent), Arc::new(present)];
    assert_eq!(&*find_by_path(&both, "plan.md").unwrap().artifact_key, "input.spec");
}

//! Tests of differences, severity and churn.

use uuid::Uuid;

use super::*;
use crate::core::artifact::Observation;
use crate::core::inventory::Inventory;
use crate::core::manifest::{Mission, parse_manifest};
use crate::core::testing::{feature_context, observed, unreadable};
use crate::core::time::Timestamp;
use crate::core::yaml::ParseError;

const MANIFEST: &str = "mission_type: x\nrequired_always:\n\
    \x20 - {artifact_key: spec, artifact_class: input, path_pattern: spec.md, blocking: true}\n";

fn now() -> Timestamp {
    Timestamp::parse("2026-01-01T00:00:00Z").unwrap()
}

fn snapshot(observations: Vec<Observation>) -> MissionDossierSnapshot {
    let mission = Mission::new(parse_manifest(MANIFEST.as_bytes()).unwrap(), &[]).unwrap();
    let dossier =
        Inventory::from_observations(feature_context(Some(mission), None), observations, now())
            .to_dossier(now());
    MissionDossierSnapshot::compute(&dossier, Uuid::nil(), now())
}

fn key() -> BaselineKey {
    BaselineKey {
        project_uuid: "p".into(),
        node_id: "n".into(),
        feature_slug: "001-x".into(),
        target_branch: "main".into(),
        mission_key: "x".into(),
        manifest_version: "1".into(),
    }
}

fn work_package(content: &str, lane: &str) -> Observation {
    let mut observation = observed("tasks/WP01.md", &format!("{lane}{content}"));
    if let ArtifactState::Present { static_hash, .. } = &mut observation.state {
        *static_hash = Some(Digest::of(content.as_bytes()).into());
    }
    observation
}

fn accepted(observations: Vec<Observation>) -> Baseline {
    Baseline::capture(&snapshot(observations), &key(), now())
}

fn compare(baseline: Baseline, observations: Vec<Observation>) -> Drift {
    Drift::compare(&BaselineFile::Valid(Box::new(baseline)), &key(), &snapshot(observations))
}

fn base() -> Vec<Observation> {
    vec![
        observed("spec.md", "s"),
        observed("data-model.md", "d"),
        observed("status.json", "1"),
        work_package("body", "planned"),
    ]
}

#[test]
fn compare_lists_differences_with_severity_and_churn() {
    let without = |path: &str| -> Vec<Observation> {
        base().into_iter().filter(|o| o.path.text() != path).collect()
    };
    let with = |path: &str, new: Observation| [without(path), vec![new]].concat();
    let (info, warning, error) =
        (Some(Severity::Info), Some(Severity::Warning), Some(Severity::Error));
    // observations, missing in local, missing in baseline, changed, churn, severity
    let table = [
        (without("spec.md"), "spec", "", "", "", error),
        (with("spec.md", unreadable("spec.md")), "spec", "", "", "", error),
        (without("data-model.md"), "evidence.data-model.md", "", "", "", warning),
        (without("status.json"), "runtime.status.json", "", "", "runtime.status.json", info),
        (with("spec.md", observed("spec.md", "S")), "", "", "spec", "", warning),
        (with("", observed("new.md", "n")), "", "other.new.md", "", "", info),
        (
            with("status.json", observed("status.json", "2")),
            "",
            "",
            "runtime.status.json",
            "runtime.status.json",
            info,
        ),
        (
            with("tasks/WP01.md", work_package("body", "doing")),
            "",
            "",
            "workflow.tasks.WP01.md",
            "workflow.tasks.WP01.md",
            info,
        ),
        (
            with("tasks/WP01.md", work_package("other", "planned")),
            "",
            "",
            "workflow.tasks.WP01.md",
            "",
            warning,
        ),
        (
            with("data-model.md", observed("model.md", "d")),
            "evidence.data-model.md",
            "other.model.md",
            "",
            "",
            warning,
        ),
    ];
    for (observations, local, baseline, changed, churn, severity) in table {
        let drift = compare(accepted(base()), observations);
        assert_eq!(drift.state, Some(DriftState::Drifted));
        assert_eq!(drift.keys(DifferenceKind::MissingInLocal).join(" "), local);
        assert_eq!(drift.keys(DifferenceKind::MissingInBaseline).join(" "), baseline);
        assert_eq!(drift.keys(DifferenceKind::Changed).join(" "), changed);
        assert_eq!(drift.churn_keys().join(" "), churn);
        assert_eq!(drift.severity, severity, "{drift:?}");
    }
}

#[test]
fn compare_returns_the_state_of_each_kind_of_baseline_file() {
    assert_eq!(compare(accepted(base()), base()).state, Some(DriftState::InParity));
    let none = Drift::compare(&BaselineFile::Absent, &key(), &snapshot(base()));
    assert_eq!((none.state, none.severity), (Some(DriftState::NoBaseline), None));
    let corrupt = BaselineFile::Corrupt(ParseError::without_position("why"));
    let corrupt = Drift::compare(&corrupt, &key(), &snapshot(base()));
    assert_eq!(corrupt.state, Some(DriftState::BaselineCorrupt));
    assert!(corrupt.detail.contains("why"));

    let mut other = accepted(vec![]);
    other.baseline_key.target_branch = "dev".into();
    let mismatch = compare(other, base());
    assert_eq!(mismatch.state, Some(DriftState::KeyMismatch));
    assert_eq!(mismatch.severity, Some(Severity::Info));
    assert_eq!(mismatch.key_mismatch, ["target_branch"]);
    assert!(mismatch.differences.is_empty());
}

#[test]
fn a_baseline_without_a_list_is_compared_by_hashes() {
    let mut without_list = accepted(base());
    without_list.artifacts = None;
    without_list.tree_hash_sha256 = None;
    assert_eq!(compare(without_list.clone(), base()).state, Some(DriftState::InParity));
    let drift = compare(without_list, vec![]);
    assert_eq!((drift.state, drift.severity), (Some(DriftState::Drifted), Some(Severity::Warning)));
    assert!(drift.differences.is_empty());
}

#[test]
fn a_baseline_that_contradicts_itself_is_never_in_parity() {
    let mut edited = accepted(base());
    edited.parity_hash_sha256 = Digest::of(b"by hand");
    let drift = compare(edited, base());
    assert_eq!((drift.state, drift.severity), (Some(DriftState::Drifted), Some(Severity::Warning)));
}

#[test]
fn detail_summarizes_the_differences() {
    let drift = compare(accepted(base()), vec![observed("spec.md", "S"), observed("new.md", "")]);
    assert_eq!(
        drift.detail,
        "3 missing, 1 changed, 1 added since the baseline was accepted, 1 of them runtime churn"
    );
}

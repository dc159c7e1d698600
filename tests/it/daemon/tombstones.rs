//! Tombstones of deleted files: their maximum number, which are dropped, when they are removed, and
//! what is reported of specs whose files were deleted.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project};

/// Maximum number of tombstones of a feature.
const MAX_TOMBSTONES: usize = 1_000;

/// Returns the paths of the tombstones after all earlier changes.
fn tombstones(daemon: &Daemon) -> BTreeSet<String> {
    let list = daemon.get_json(&format!("/api/dossier/artifacts?feature={FEATURE}&sync=true"));
    let artifacts = list["artifacts"].as_array().unwrap();
    let deleted = artifacts.iter().filter(|item| item["error_reason"] == "deleted_after_scan");
    let path = |item: &Value| item["relative_path"].as_str().unwrap().to_owned();
    let paths: BTreeSet<String> = deleted.map(path).collect();
    assert_eq!(list["tombstones"], paths.len());
    paths
}

fn delete(project: &Project, paths: &[String]) {
    for path in paths {
        fs::remove_file(project.feature_dir().join(path)).unwrap();
    }
}

#[test]
fn overview_names_deleted_required_artifacts_until_they_return_or_a_baseline_is_accepted() {
    let project = Project::complete().artifact("notes.md", "optional");
    let daemon = project.start_daemon();
    let overview = || daemon.overview(FEATURE)["deleted_required"].clone();
    assert_eq!(overview(), json!([]));
    delete(&project, &["plan.md".to_owned(), "spec.md".to_owned(), "notes.md".to_owned()]);
    assert_eq!(overview(), json!(["input.spec.main", "output.plan.main"]));
    assert_eq!(
        daemon.status()["projects"][0]["features"][0]["deleted_required"],
        overview(),
        "the status, too"
    );
    project.write(&format!("kitty-specs/{FEATURE}/plan.md"), "# Plan\n");
    assert_eq!(overview(), json!(["input.spec.main"]));
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    assert_eq!(overview(), json!([]));
    assert_eq!(daemon.overview(FEATURE)["unreadable"], 0);
    std::os::unix::fs::symlink("x", project.feature_dir().join("link.md")).unwrap();
    assert_eq!(daemon.overview(FEATURE)["unreadable"], 1);
    daemon.stop();
}

#[test]
fn oldest_tombstones_are_dropped_beyond_the_limit_over_restarts() {
    let project = Project::complete().artifact("zz.md", "first");
    let names: Vec<String> =
        (0..MAX_TOMBSTONES + 200).map(|n| format!("notes/a{n:04}.md")).collect();
    for name in &names {
        project.write(&format!("kitty-specs/{FEATURE}/{name}"), name);
    }
    let daemon = project.start_daemon();
    delete(&project, &["zz.md".to_owned()]);
    wait_for("the first tombstone", || tombstones(&daemon).contains("zz.md").then_some(()));
    delete(&project, &names[200..]);
    wait_for("the maximum number of tombstones", || {
        let found = tombstones(&daemon);
        (found.iter().eq(&names[200..])).then_some(())
    });
    delete(&project, &names[..200]);
    wait_for("the last tombstone", || (tombstones(&daemon).contains(&names[199])).then_some(()));
    let kept = tombstones(&daemon);
    assert_eq!(kept.len(), MAX_TOMBSTONES);
    assert!(names[..200].iter().all(|name| kept.contains(name)), "the newest are kept");
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(tombstones(&daemon), kept);
    daemon.stop();
}

#[test]
fn baseline_accepted_while_stopped_removes_earlier_tombstones() {
    let project = Project::complete().artifact("old.md", "1").artifact("then.md", "2");
    let project = project.artifact("later.md", "3");
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    let daemon = project.start_daemon();
    delete(&project, &["old.md".to_owned()]);
    wait_for("the tombstone", || (!tombstones(&daemon).is_empty()).then_some(()));
    daemon.stop();
    // No baseline was accepted in between.
    let daemon = project.start_daemon();
    assert_eq!(tombstones(&daemon), ["old.md".to_owned()].into());
    daemon.stop();
    // Accepting a baseline removes the tombstones of files that were deleted before it, not of
    // those deleted after it.
    delete(&project, &["then.md".to_owned()]);
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    delete(&project, &["later.md".to_owned()]);
    let daemon = project.start_daemon();
    assert_eq!(tombstones(&daemon), ["later.md".to_owned()].into());
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(tombstones(&daemon), ["later.md".to_owned()].into());
    daemon.stop();
}

/// Issues a step of the feature as a runtime does.
fn issue_step(project: &Project, step: &str) {
    let run = json!({"run_id": "r", "run_dir": ".kittify/runtime/runs/r", "mission_key": "m"});
    let state = json!({"issued_step_id": step});
    project.write(".kittify/runtime/runs/r/state.json", state.to_string());
    project.write(".kittify/runtime/feature-runs.json", json!({FEATURE: run}).to_string());
}

#[test]
fn deleted_file_is_reported_as_blocking_when_its_spec_applies() {
    let project = Project::complete();
    issue_step(&project, "plan");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let mut blocking = |what: &str| -> Vec<String> {
        let events = assert_invariants(&project, &daemon, &mut journal);
        let missing = events.iter().map(|event| &event["payload"]);
        let missing = missing.filter(|payload| payload["blocking"] == true);
        let text =
            |payload: &Value| format!("{} {}", payload["reason_code"], payload["artifact_key"]);
        let mut missing: Vec<String> =
            missing.map(|payload| text(payload).replace('"', "")).collect();
        eprintln!("{what}: {missing:?}");
        missing.sort();
        missing
    };
    delete(&project, &["tasks.md".to_owned(), "tasks/WP01.md".to_owned()]);
    wait_for("the tombstones", || (tombstones(&daemon).len() == 2).then_some(()));
    assert_eq!(blocking("deleted while they are not expected"), [""; 0]);
    issue_step(&project, "implement");
    wait_for("the step", || (daemon.overview(FEATURE)["step"] == "implement").then_some(()));
    assert_eq!(
        blocking("expected"),
        ["not_found output.tasks.list", "not_found output.tasks.per_wp"]
    );
    // The deletion of a file that is expected is reported once.
    project.write(&format!("kitty-specs/{FEATURE}/tasks.md"), "# Tasks\n");
    assert_eq!(blocking("restored"), [""; 0]);
    delete(&project, &["tasks.md".to_owned()]);
    wait_for("the tombstone", || tombstones(&daemon).contains("tasks.md").then_some(()));
    assert_eq!(blocking("deleted"), ["deleted_after_scan output.tasks.list"]);
    // So is that of a feature, also when it returns without the file.
    let (spec, spec_text) = (format!("kitty-specs/{FEATURE}/spec.md"), "# Spec\n");
    fs::remove_dir_all(project.feature_dir()).unwrap();
    wait_for("the deletion", || (daemon.overview(FEATURE)["watch"] == "gone").then_some(()));
    assert_eq!(
        blocking("gone"),
        ["deleted_after_scan input.spec.main", "deleted_after_scan output.plan.main"]
    );
    project.write(&spec, spec_text);
    wait_for("the feature", || (daemon.overview(FEATURE)["watch"] == "live").then_some(()));
    assert_eq!(blocking("returned"), [""; 0]);
    let missing = &daemon.overview(FEATURE)["missing_required_count"];
    assert_eq!(*missing, 3, "plan, tasks and work packages");
    daemon.stop();
}

//! A daemon on projects of several layouts: features that go through their steps, file by file.

use std::fs;

use serde_json::Value;

use crate::scan::layouts::summary;
use crate::support::Project;
use crate::support::process::Daemon;

/// Returns a line for each feature, as a scan prints them.
fn shown(daemon: &Daemon) -> Vec<String> {
    let status = daemon.status();
    assert_eq!(status["synced"], "cookie");
    let features = status["projects"][0]["features"].as_array().unwrap().clone();
    features.iter().filter(|feature| feature["watch"] != "gone").map(summary).collect()
}

#[test]
fn a_feature_goes_through_its_steps_file_by_file() {
    let project = Project::empty().file(".specify/memory/constitution.md", "x");
    let daemon = project.start_daemon();
    assert!(shown(&daemon).is_empty());
    let file = |name: &str| format!("specs/001-x/{name}");
    for (name, text, expected) in [
        ("spec.md", "x", "complete at specify from files, next plan (output.plan), no progress"),
        (
            "research.md",
            "x",
            "complete at specify from files, next plan (output.plan), no progress",
        ),
        ("plan.md", "x", "complete at plan from files, next tasks (workflow.tasks), no progress"),
        ("tasks.md", "- [ ] a\n- [ ] b\n", "complete at tasks from files, next nothing, 0/2"),
        ("tasks.md", "- [x] a\n- [ ] b\n", "complete at tasks from files, next nothing, 1/2"),
    ] {
        project.write(&file(name), text);
        assert_eq!(shown(&daemon), [format!("001-x: spec-kit {expected}")], "{name} {text:?}");
    }
    // The step does not fall because something was deleted.
    let tasks = project.root.join(file("tasks.md"));
    fs::remove_file(&tasks).unwrap();
    let deleted = "001-x: spec-kit incomplete at tasks from files, next nothing, no progress";
    assert_eq!(shown(&daemon), [deleted]);
    project.run_client(&["verify"]).assert_success();
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(shown(&daemon), [deleted], "after a restart");
    fs::write(&tasks, "- [x] a\n- [x] b\n").unwrap();
    let complete = "001-x: spec-kit complete at tasks from files, next nothing, 2/2";
    assert_eq!(shown(&daemon), [complete]);
}

#[test]
fn layouts_and_state_files_are_followed_live() {
    let project = Project::empty().file(".kiro/specs/a/requirements.md", "x");
    let daemon = project.start_daemon();
    let first =
        "a: kiro complete at requirements from files, next design (output.design), no progress";
    assert_eq!(shown(&daemon), [first]);
    project.write(".kiro/specs/a/spec.json", r#"{"phase": "design-generated"}"#);
    let second =
        "a: kiro incomplete at design from state, next tasks (workflow.tasks), no progress";
    assert_eq!(shown(&daemon), [second]);
    project.write(".kiro/specs/a/.config.kiro", r#"{"specType": "bugfix"}"#);
    let bug =
        "a: kiro-bugfix incomplete at design from state, next tasks (workflow.tasks), no progress";
    assert_eq!(shown(&daemon), [bug]);
    // Another layout appears, and its first feature.
    project.write("openspec/changes/b/proposal.md", "x");
    let found = shown(&daemon);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("b: openspec complete at proposal"), "{found:?}");
    assert!(found[1].starts_with("kiro/a: kiro-bugfix"), "{found:?}");
    project.write(".dossierd/config.yaml", "layouts: [kiro]\n");
    assert_eq!(shown(&daemon), [bug]);
}

#[test]
fn a_change_of_progress_alone_is_one_snapshot_event() {
    let project = Project::empty()
        .file(".specify/x", "x")
        .file("specs/001-x/spec.md", "x")
        .file("specs/001-x/plan.md", "x")
        .file("specs/001-x/tasks.md", "- [ ] a\n- [ ] b\n");
    let daemon = project.start_daemon();
    shown(&daemon);
    project.write("specs/001-x/tasks.md", "- [x] a\n- [ ] b\n");
    shown(&daemon);
    let events = project.run_client(&["events", "--json", "--type", "snapshot_computed"]);
    let progress: Vec<Value> =
        events.lines().iter().map(|event| event["payload"]["progress"]["done"].clone()).collect();
    assert_eq!(progress.last(), Some(&1.into()), "{progress:?}");
}

#[test]
fn archiving_a_feature_deletes_nothing() {
    let (active, archive) = ("openspec/changes", "openspec/changes/archive");
    let files = |project: Project, name: &str| {
        project
            .file(&format!("{active}/{name}/proposal.md"), name)
            .file(&format!("{active}/{name}/specs/a/spec.md"), "x")
            .file(&format!("{active}/{name}/tasks.md"), "- [x] a\n")
    };
    let project = files(files(Project::empty().file("openspec/project.md", "x"), "live"), "later");
    fs::create_dir(project.root.join(archive)).unwrap();
    let daemon = project.start_daemon();
    assert_eq!(shown(&daemon).len(), 2);
    let rename = |name: &str| {
        let to = format!("{archive}/2026-01-02-{name}");
        let from = project.root.join(active).join(name);
        fs::rename(from, project.root.join(to)).unwrap();
    };
    let slugs = |daemon: &Daemon| {
        let status = daemon.status();
        let features = status["projects"][0]["features"].as_array().unwrap().clone();
        features
            .iter()
            .map(|one| one["feature_slug"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    rename("live");
    assert_eq!(slugs(&daemon), ["archive/2026-01-02-live", "later"]);
    daemon.stop();
    rename("later");
    let daemon = project.start_daemon();
    assert_eq!(slugs(&daemon), ["archive/2026-01-02-later", "archive/2026-01-02-live"]);
    let missing = project.run_client(&["events", "--json", "--type", "artifact_missing"]);
    let deleted = missing
        .lines()
        .into_iter()
        .filter(|event| event["payload"]["reason_code"] == "deleted_after_scan");
    assert_eq!(deleted.count(), 0);
    // One whose files are nowhere is deleted as ever.
    fs::remove_dir_all(project.root.join(archive).join("2026-01-02-live")).unwrap();
    let missing = || project.run_client(&["events", "--json", "--type", "artifact_missing"]);
    shown(&daemon);
    let lines = missing().lines();
    let reasons = lines.iter().map(|event| event["payload"]["reason_code"].clone());
    assert_eq!(reasons.filter(|reason| *reason == "deleted_after_scan").count(), 3);
}

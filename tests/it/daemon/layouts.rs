//! A daemon on projects of several layouts: features that go through their steps, file by file.

use std::fs;

use serde_json::Value;

use crate::scan::layouts::{is_documents, summary};
use crate::support::Project;
use crate::support::process::Daemon;

/// Returns a line for each feature, as a scan prints them.
pub(crate) fn shown(daemon: &Daemon) -> Vec<String> {
    let status = daemon.status();
    assert_eq!(status["synced"], "cookie");
    let features = status["projects"][0]["features"].as_array().unwrap().clone();
    let is_shown = |feature: &&Value| feature["watch"] != "gone" && !is_documents(feature);
    features.iter().filter(is_shown).map(summary).collect()
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
    let snapshots = project.run_client(&["events", "--json", "--type", "snapshot_computed"]);
    let former = |event: &Value| {
        let payload = &event["payload"];
        let former = payload["previous_feature_slug"].as_str()?;
        Some(format!("{} was {former}", payload["feature_slug"].as_str().unwrap()))
    };
    let former: Vec<String> = snapshots.lines().iter().filter_map(former).collect();
    let expected = ["archive/2026-01-02-live was live", "archive/2026-01-02-later was later"];
    assert_eq!(former, expected, "each is named once");
    // One whose files are nowhere is deleted as ever.
    fs::remove_dir_all(project.root.join(archive).join("2026-01-02-live")).unwrap();
    let missing = || project.run_client(&["events", "--json", "--type", "artifact_missing"]);
    shown(&daemon);
    let lines = missing().lines();
    let reasons = lines.iter().map(|event| event["payload"]["reason_code"].clone());
    assert_eq!(reasons.filter(|reason| *reason == "deleted_after_scan").count(), 3);
}

/// Returns the slugs and reasons of the files that were missing.
fn deletions(project: &Project) -> Vec<String> {
    let missing = project.run_client(&["events", "--json", "--type", "artifact_missing"]);
    let is_deletion = |event: &&Value| event["payload"]["reason_code"] == "deleted_after_scan";
    let slug = |event: &Value| event["payload"]["feature_slug"].as_str().unwrap().to_owned();
    missing.lines().iter().filter(is_deletion).map(slug).collect()
}

#[test]
fn an_older_archived_feature_hides_no_deletion() {
    let archived = "openspec/changes/archive/2026-01-02-old";
    let project = Project::empty()
        .file("openspec/project.md", "x")
        .file(&format!("{archived}/proposal.md"), "the same")
        .file("openspec/changes/new/proposal.md", "the same")
        .file("openspec/changes/later/proposal.md", "the same");
    let daemon = project.start_daemon();
    assert_eq!(shown(&daemon).len(), 3);
    daemon.stop();
    // Known from an earlier run, whenever the others are deleted.
    let daemon = project.start_daemon();
    assert_eq!(shown(&daemon).len(), 3);
    fs::remove_dir_all(project.root.join("openspec/changes/new")).unwrap();
    assert_eq!(shown(&daemon).len(), 2);
    assert_eq!(deletions(&project), ["new"]);
    daemon.stop();
    fs::remove_dir_all(project.root.join("openspec/changes/later")).unwrap();
    let daemon = project.start_daemon();
    assert_eq!(shown(&daemon).len(), 1);
    assert_eq!(deletions(&project), ["new", "later"]);
}

#[test]
fn an_archived_feature_keeps_the_baseline_of_its_former_name() {
    let (active, archive) = ("openspec/changes/add-x", "openspec/changes/archive/2026-01-02-add-x");
    let project = Project::empty()
        .file("openspec/project.md", "x")
        .file(&format!("{active}/proposal.md"), "x")
        .file(&format!("{active}/specs/a/spec.md"), "x")
        .file(&format!("{active}/tasks.md"), "- [x] a\n");
    fs::create_dir_all(project.root.join("openspec/changes/archive")).unwrap();
    let daemon = project.start_daemon();
    project.run_client(&["baseline", "accept", "add-x"]).assert_success();
    fs::rename(project.root.join(active), project.root.join(archive)).unwrap();
    let state = || {
        let feature = daemon.status()["projects"][0]["features"][0].clone();
        (feature["feature_slug"].clone(), feature["drift"]["state"].clone())
    };
    let slug = Value::from("archive/2026-01-02-add-x");
    assert_eq!(state(), (slug.clone(), "in_parity".into()));
    project.write(&format!("{archive}/proposal.md"), "other");
    assert_eq!(state(), (slug.clone(), "drifted".into()));
    assert_eq!(project.run(&["check"]).code, 11, "without the daemon, too");
    project.run_client(&["baseline", "accept", slug.as_str().unwrap()]).assert_success();
    assert_eq!(state(), (slug, "in_parity".into()));
    let former = project.root.join(".dossierd/dossiers/add-x/parity-baseline.json");
    assert!(!former.exists(), "it is that of the archived feature now");
}

#[test]
fn a_feature_of_which_only_a_shared_baseline_is_there_is_missing() {
    let project = Project::empty()
        .file(".kiro/specs/a/requirements.md", "x")
        .file(".kiro/specs/b/requirements.md", "x");
    project.run(&["baseline", "accept", "a", "--shared"]).assert_success();
    fs::rename(project.root.join(".kiro/specs/a"), project.root.join("away")).unwrap();
    let daemon = project.start_daemon();
    let state = || {
        let features = daemon.status()["projects"][0]["features"].as_array().unwrap().clone();
        let of_a = features.into_iter().find(|one| one["feature_slug"] == "a").unwrap();
        let drift = of_a["drift"].clone();
        (of_a["watch"].clone(), drift["state"].clone(), drift["severity"].clone())
    };
    let missing = ("gone".into(), "drifted".into(), "error".into());
    assert_eq!(state(), missing);
    let drift = project.run_client(&["drift", "a", "--json"]).json();
    assert_eq!(drift["differences"][0]["kind"], "feature_missing", "{drift}");
    fs::rename(project.root.join("away"), project.root.join(".kiro/specs/a")).unwrap();
    let (_, drift_state, severity) = state();
    assert_eq!((drift_state, severity), ("in_parity".into(), Value::Null));
    fs::rename(project.root.join(".kiro/specs/a"), project.root.join("away")).unwrap();
    assert_eq!(state(), missing, "it was there");
}

#[test]
fn a_schema_of_the_project_is_followed_live() {
    let project = Project::empty()
        .file("openspec/config.yaml", "schema: spec-driven\n")
        .file("openspec/changes/a/.openspec.yaml", "schema: own\n")
        .file("openspec/changes/a/plan.md", "- [x] a\n- [ ] b\n");
    let daemon = project.start_daemon();
    let unknown = "a: openspec-own unknown at - from none, next nothing, no progress";
    assert_eq!(shown(&daemon), [unknown]);
    let schema = |second: &str| {
        format!(
            "artifacts:\n- {{id: plan, generates: plan.md}}\n- {{id: {second}, generates: {second}.md}}\n\
             apply: {{requires: [{second}], tracks: plan.md}}\n"
        )
    };
    project.write("openspec/schemas/own/schema.yaml", schema("tests"));
    let with = "a: openspec-own complete at plan from files, next tests (output.tests), 1/2";
    assert_eq!(shown(&daemon), [with]);
    project.write("openspec/schemas/own/schema.yaml", schema("review"));
    let other = "a: openspec-own complete at plan from files, next review (output.review), 1/2";
    assert_eq!(shown(&daemon), [other]);
    // An invalid one is reported, and the last valid one stays.
    project.write("openspec/schemas/own/schema.yaml", "artifacts: 7\n");
    assert_eq!(shown(&daemon), [other.replace("complete", "unknown")]);
    let status = daemon.status();
    let errors = status["projects"][0]["manifest_errors"].to_string();
    assert!(errors.contains("openspec/schemas/own/schema.yaml"), "{errors}");
    project.write("openspec/schemas/own/schema.yaml", schema("tests"));
    assert_eq!(shown(&daemon), [with]);
}

#[test]
fn a_root_and_its_features_are_found_by_a_weak_marker_as_they_appear() {
    let project = Project::empty();
    let daemon = project.start_daemon();
    assert!(shown(&daemon).is_empty());
    for (name, count) in [("001-a", 1), ("002-b", 2)] {
        fs::create_dir_all(project.root.join("specs").join(name)).unwrap();
        shown(&daemon);
        project.write(&format!("specs/{name}/spec.md"), "x");
        let found = shown(&daemon);
        assert_eq!(found.len(), count, "{found:?}");
    }
}

#[test]
fn the_users_own_layouts_are_followed_live() {
    let project = Project::empty().file("work/a/plan.md", "x");
    let daemon = project.start_daemon();
    assert!(shown(&daemon).is_empty());
    let dir = project.config_file().parent().unwrap().join("layouts/own");
    let layout = |marker: &str| {
        format!(
            "schema_version: 1\nname: own\nmarkers: [{{path: {marker}, kind: dir}}]\n\
             features: [{{include: work/*}}]\nmissions: [{{use: own}}]\nstep: [{{source: files}}]\n"
        )
    };
    crate::support::write_file(&dir.join("layout.yaml"), layout("work").as_bytes());
    let found = shown(&daemon);
    assert_eq!(found.len(), 1, "{found:?}");
    let manifest = "mission_type: own\nrequired_by_step:\n  plan:\n  - \
                    {artifact_key: a.plan, artifact_class: output, path_pattern: plan.md, blocking: true}\n";
    crate::support::write_file(&dir.join("expected-artifacts.yaml"), manifest.as_bytes());
    assert_eq!(shown(&daemon), ["a: own complete at plan from files, next nothing, no progress"]);
}

#[test]
fn a_mistake_in_the_projects_configuration_keeps_its_identity() {
    let uuid = "8a4a7da6-a97c-4bb4-893a-b31664abfee4";
    let valid = format!("project: {{uuid: {uuid}}}\n");
    let project = Project::empty()
        .file(".kiro/specs/a/requirements.md", "x")
        .file(".dossierd/config.yaml", &valid);
    let daemon = project.start_daemon();
    let known = |daemon: &Daemon| daemon.status()["projects"][0]["project_uuid"].clone();
    assert_eq!(known(&daemon), uuid);
    project.write(".dossierd/config.yaml", format!("{valid}layout: [kiro]\n"));
    assert_eq!(known(&daemon), uuid);
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(known(&daemon), uuid, "after a restart");
}

#[test]
fn documents_of_a_project_are_followed_live() {
    let project = Project::empty().file(".kiro/specs/a/requirements.md", "x");
    let daemon = project.start_daemon();
    let paths = || {
        assert_eq!(daemon.status()["synced"], "cookie");
        let list = project.run_client(&["artifacts", "project", "--json"]);
        let artifacts = list.json()["artifacts"].as_array().cloned().unwrap_or_default();
        let shown = |one: &Value| {
            let path = one["relative_path"].as_str().unwrap().to_owned();
            if one["is_present"] == false { format!("-{path}") } else { path }
        };
        artifacts.iter().map(shown).collect::<Vec<_>>()
    };
    project.write(".kiro/steering/product.md", "x");
    assert_eq!(paths(), [".kiro/steering/product.md"]);
    project.write(".kiro/steering/deep/tech.md", "x");
    project.write(".kiro/other.md", "x");
    let both = [".kiro/steering/deep/tech.md", ".kiro/steering/product.md"];
    assert_eq!(paths(), both);
    project.run_client(&["baseline", "accept", "project"]).assert_success();
    project.write(".kiro/steering/product.md", "other");
    let drift = || project.run_client(&["drift", "project", "--json"]).json()["state"].clone();
    assert_eq!(drift(), "drifted");
    project.run_client(&["verify"]).assert_success();
    daemon.stop();
    fs::remove_dir_all(project.root.join(".kiro/steering")).unwrap();
    let daemon = project.start_daemon();
    assert_eq!(daemon.status()["synced"], "cookie");
    assert_eq!(deletions(&project), ["project", "project"], "also while no daemon ran");
    project.write(".kiro/steering/product.md", "x");
    let of_documents = |daemon: &Daemon| {
        let features = daemon.status()["projects"][0]["features"].as_array().unwrap().clone();
        features.into_iter().find(|one| one["feature_slug"] == "project").unwrap()
    };
    assert_eq!(of_documents(&daemon)["artifact_counts"]["total"], 1);
}

//! Baselines that a team commits, and the commands that configure a project.

use std::fs;

use serde_json::Value;

use crate::support::{Project, copy_dir, git, read_tree};

fn spec_kit() -> Project {
    let project = Project::empty()
        .file(".specify/memory/constitution.md", "x")
        .file("specs/001-x/spec.md", "spec")
        .file("specs/001-x/plan.md", "plan")
        .file("specs/001-x/run.log", "log")
        .file(".gitignore", "*.log\n");
    git(&project.root, &["init", "-q", "-b", "main"]);
    git(&project.root, &["add", "."]);
    git(&project.root, &["commit", "-q", "-m", "first"]);
    project
}

/// Returns a clone on another machine: other path, user, branch, and without ignored files.
fn clone(project: &Project) -> Project {
    let other = Project::empty().env("USER", "somebody").env("LOGNAME", "somebody");
    copy_dir(&project.root, &other.root);
    git(&other.root, &["checkout", "-q", "-b", "work"]);
    let _ = fs::remove_file(other.root.join("specs/001-x/run.log"));
    let _ = fs::remove_dir_all(other.root.join(".dossierd/dossiers"));
    other
}

fn feature(project: &Project) -> Value {
    project.run(&["check", "--json"]).json()["features"][0].clone()
}

#[test]
fn a_shared_baseline_counts_on_every_machine() {
    let project = spec_kit();
    let accepted = project.run(&["baseline", "accept", "001-x", "--shared"]).assert_success();
    assert!(accepted.stderr.contains("001-x: run.log is left out, because git ignores it"));
    let text = fs::read_to_string(project.root.join(".dossierd/baselines/001-x.json")).unwrap();
    let baseline: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(baseline["git_commit"].as_str().unwrap().len(), 40);
    assert_eq!(baseline["artifacts"].as_array().unwrap().len(), 2);
    let lines = text.lines().filter(|line| line.contains("\"relative_path\"")).count();
    assert_eq!(lines, 2, "one artifact a line: {text}");
    let config = fs::read_to_string(project.root.join(".dossierd/config.yaml")).unwrap();
    assert!(config.contains("project:\n  uuid: "), "{config}");
    for project in [&project, &clone(&project)] {
        assert_eq!(
            project.run(&["check", "--strict"]).code,
            0,
            "{:?}",
            project.run(&["drift", "001-x"])
        );
        let overview = feature(project);
        assert_eq!(overview["drift"]["state"], "in_parity");
        assert_eq!(overview["baseline"]["scope"], "shared");
    }
    let other = clone(&project);
    other.write("specs/001-x/spec.md", "other");
    assert_eq!(other.run(&["check"]).code, 11);
    // It is accepted again for the team, because the feature has a shared one.
    other.run(&["baseline", "accept", "001-x"]).assert_success();
    assert_eq!(other.run(&["check"]).code, 0);
    assert!(!other.root.join(".dossierd/dossiers/001-x/parity-baseline.json").exists());
    other.run(&["baseline", "clear", "001-x"]).assert_success();
    assert!(!other.root.join(".dossierd/baselines/001-x.json").exists());
    assert_eq!(feature(&other)["drift"]["state"], "no_baseline");
}

#[test]
fn a_shared_baseline_of_a_missing_feature_or_another_manifest_is_not_passed_over() {
    let project = spec_kit();
    project.run(&["baseline", "accept", "001-x", "--shared"]).assert_success();
    project.write("specs/002-y/spec.md", "x");
    let moved = project.root.join("specs/001-x");
    fs::rename(&moved, project.root.join("away")).unwrap();
    let check = project.run(&["check", "--json"]);
    assert_eq!(check.code, 11, "{check:?}");
    let features = check.json()["features"].clone();
    let missing = features.as_array().unwrap().iter().find(|one| one["feature_slug"] == "001-x");
    let missing = missing.unwrap();
    assert_eq!(
        (&missing["watch"], &missing["drift"]["severity"]),
        (&"gone".into(), &"error".into())
    );
    assert!(project.run(&["check"]).stdout.contains("the feature is missing"), "{check:?}");
    fs::rename(project.root.join("away"), &moved).unwrap();
    assert_eq!(project.run(&["check"]).code, 0);

    let manifest = "mission_type: spec-kit\nmanifest_version: '9'\n";
    project.write(".dossierd/missions/spec-kit/expected-artifacts.yaml", manifest);
    let check = project.run(&["check", "--json"]);
    assert_eq!(check.code, 13, "{check:?}");
    assert_eq!(check.json()["features"][0]["drift"]["state"], "key_mismatch");
    let mismatch = check.json()["features"][0]["baseline"]["key_mismatch"].clone();
    assert_eq!(mismatch, serde_json::json!(["manifest_version"]));
}

#[test]
fn shared_baselines_by_configuration_hide_those_of_the_machine() {
    let project = spec_kit();
    project.run(&["baseline", "accept", "001-x"]).assert_success();
    assert_eq!(feature(&project)["baseline"]["scope"], "local");
    project.write(".dossierd/config.yaml", "baselines: shared\n");
    assert_eq!(feature(&project)["drift"]["state"], "no_baseline");
    project.run(&["baseline", "accept", "--all"]).assert_success();
    assert_eq!(feature(&project)["baseline"]["scope"], "shared");
    project.run(&["baseline", "accept", "001-x", "--local"]).assert_success();
    assert_eq!(feature(&project)["baseline"]["scope"], "shared", "it still counts");
}

#[test]
fn daemon_compares_with_a_shared_baseline_at_once() {
    let project = spec_kit();
    let daemon = project.start_daemon();
    let state = || daemon.status()["projects"][0]["features"][0]["drift"]["state"].clone();
    assert_eq!(state(), "no_baseline");
    project.run_client(&["baseline", "accept", "001-x", "--shared"]).assert_success();
    assert_eq!(state(), "in_parity");
    project.write("specs/001-x/spec.md", "other");
    assert_eq!(state(), "drifted");
}

#[test]
fn init_reports_what_is_recognised_and_writes_a_configuration_once() {
    let project = spec_kit();
    let run = project.run(&["init", "--shared"]).assert_success();
    assert!(run.stdout.contains("layout spec-kit: found .specify\n  1 features"), "{run:?}");
    let config = fs::read_to_string(project.root.join(".dossierd/config.yaml")).unwrap();
    assert!(config.contains("layouts: [spec-kit]\nbaselines: shared\n"), "{config}");
    project.run(&["init"]).assert_failure(1, "config.yaml: it exists; edit it");
    assert_eq!(project.run(&["check"]).code, 0);

    let empty = Project::empty();
    empty.run(&["init"]).assert_failure(2, "is in no project: no layout recognises it");
    empty.run(&["init", "--layout", "kirro"]).assert_failure(1, "did you mean `kiro`?");
    assert!(read_tree(&empty.root).is_empty());
    empty.run(&["init", "--layout", "kiro"]).assert_success();
    let run = empty.run(&["check"]);
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn layouts_are_listed_with_the_reason_why_they_apply() {
    let project = spec_kit().file("openspec/project.md", "x");
    let report = project.run(&["layouts", "--json"]).assert_success().json();
    let layouts = report["layouts"].as_array().unwrap();
    assert_eq!(layouts.len(), 8);
    let line = |index: usize| {
        let one = &layouts[index];
        format!("{} {} {}", one["name"], one["applies"], one["reason"])
    };
    assert_eq!(line(0), r#""spec-kit" true "found .specify""#);
    assert_eq!(line(1), r#""openspec" true "found openspec/project.md""#);
    assert_eq!(line(2), r#""spec-kitty" false null"#);
    let text = project.run(&["layouts"]).assert_success().stdout;
    assert!(text.contains("found openspec/project.md"), "{text}");
    let none = Project::empty().run(&["layouts"]).assert_success();
    assert!(none.stderr.contains("the path is in no project"), "{none:?}");
}

#[test]
fn archiving_a_feature_with_a_shared_baseline_is_no_alarm() {
    let project = Project::empty()
        .file("openspec/project.md", "x")
        .file("openspec/changes/add-x/proposal.md", "x")
        .file("openspec/changes/add-x/specs/a/spec.md", "x")
        .file("openspec/changes/add-x/tasks.md", "- [x] a\n- [ ] b\n");
    project.run(&["baseline", "accept", "add-x", "--shared"]).assert_success();
    let (active, archive) = ("openspec/changes/add-x", "openspec/changes/archive/2026-01-02-add-x");
    project.write(&format!("{active}/tasks.md"), "- [x] a\n- [x] b\n");
    fs::create_dir_all(project.root.join("openspec/changes/archive")).unwrap();
    fs::rename(project.root.join(active), project.root.join(archive)).unwrap();
    let check = project.run(&["check"]);
    assert_eq!(check.code, 0, "{check:?}");
    project.write(&format!("{archive}/proposal.md"), "other");
    assert_eq!(project.run(&["check"]).code, 11, "it is another one");
}

#[test]
fn a_replaced_baseline_is_kept_and_put_back() {
    let project = spec_kit();
    let accepted = |arguments: &[&str]| {
        project.run(&[&["baseline", "accept", "001-x"], arguments].concat()).assert_success();
    };
    let log = || project.run(&["baseline", "log", "001-x", "--json"]).assert_success().json();
    assert_eq!(log(), serde_json::json!([]));
    for scope in ["--local", "--shared"] {
        project.write("specs/001-x/spec.md", "one");
        accepted(&[scope]);
        project.write("specs/001-x/spec.md", "two");
        assert_eq!(project.run(&["check"]).code, 11);
        accepted(&[scope]);
        assert_eq!(project.run(&["check"]).code, 0);
        let entries = log();
        assert_eq!((&entries[0]["current"], &entries[1]["current"]), (&true.into(), &false.into()));
        assert_eq!(entries[0]["scope"], scope.trim_start_matches("--"));
        accepted(&["--undo"]);
        assert_eq!(project.run(&["check"]).code, 11, "{scope}: it is the first one again");
        project.write("specs/001-x/spec.md", "one");
        assert_eq!(project.run(&["check"]).code, 0);
        let undone = project.run(&["baseline", "accept", "001-x", "--undo"]);
        undone.assert_failure(1, "baseline was replaced");
    }
}

#[test]
fn baselines_of_spec_kitty_3_are_never_written() {
    let foreign = "{\"mission_slug\": \"001-x\"}\n";
    let path = ".kittify/dossiers/001-x/parity-baseline.json";
    let metadata = "spec_kitty:\n  version: 3.2.6rc3\n";
    let project = Project::complete().file(".kittify/metadata.yaml", metadata).file(path, foreign);
    let overview = feature(&project);
    assert_eq!(overview["drift"]["state"], "no_baseline");
    assert_eq!(overview["baseline_foreign"], true);
    assert_eq!(project.run(&["check"]).code, 0);
    project.run(&["baseline", "accept", "001-x"]).assert_success();
    assert_eq!(feature(&project)["drift"]["state"], "in_parity");
    let own = project.root.join(".kittify/dossiers/001-x/dossierd-baseline.json");
    assert!(own.exists());
    project.run(&["baseline", "clear", "001-x"]).assert_success();
    assert!(!own.exists());
    assert_eq!(fs::read_to_string(project.root.join(path)).unwrap(), foreign);
    // In version 2 it is a corrupt baseline of the format that dossierd shares.
    project.write(".kittify/metadata.yaml", "spec_kitty:\n  version: 2.1.0\n");
    assert_eq!(feature(&project)["drift"]["state"], "baseline_corrupt");
}

#[test]
fn a_corrupt_shared_baseline_of_a_missing_feature_is_not_passed_over() {
    let project = spec_kit().file(".dossierd/baselines/009-gone.json", "{");
    let check = project.run(&["check", "--json"]);
    assert_eq!(check.code, 13, "{check:?}");
    let features = check.json()["features"].clone();
    let gone = features.as_array().unwrap().iter().find(|one| one["feature_slug"] == "009-gone");
    assert_eq!(gone.unwrap()["drift"]["state"], "baseline_corrupt");
}

#[test]
fn an_archived_feature_of_another_root_hides_no_missing_one() {
    let files = |project: Project, root: &str, dir: &str| {
        project
            .file(&format!("{root}/openspec/project.md"), "x")
            .file(&format!("{root}/openspec/changes/{dir}/proposal.md"), "x")
    };
    let project = files(files(Project::empty(), "a", "archive/2026-01-02-x"), "b", "x");
    project.run(&["baseline", "accept", "x", "--shared", "--project", "b"]).assert_success();
    assert_eq!(project.run(&["check"]).code, 0);
    fs::remove_dir_all(project.root.join("b/openspec/changes/x")).unwrap();
    assert_eq!(project.run(&["check"]).code, 11);
}

#[test]
fn init_keeps_an_identity_that_is_no_uuid() {
    let project = Project::empty()
        .file(".kittify/config.yaml", "project:\n  uuid: shop-of-the-team\n")
        .file("kitty-specs/001-x/spec.md", "x");
    project.run(&["init", "--layout", "spec-kitty"]).assert_success();
    let check = project.run(&["check", "--json"]);
    assert_ne!(check.code, 78, "{check:?}");
}

#[test]
fn requests_act_on_the_baseline_that_counts_or_is_named() {
    let project = spec_kit();
    project.run(&["baseline", "accept", "001-x", "--shared"]).assert_success();
    project.write("specs/001-x/spec.md", "other");
    let daemon = project.start_daemon();
    let target = "/api/dossier/baseline?feature=001-x";
    let (local, shared) =
        (".dossierd/dossiers/001-x/parity-baseline.json", ".dossierd/baselines/001-x.json");
    let request = |method: &str, body: &str, status: u16| {
        let response = daemon.request(method, target, body);
        assert_eq!(response.status, status, "{response:?}");
        response.json()
    };
    let exists = |path: &str| project.root.join(path).exists();
    let overview = request("POST", "", 200);
    let state = (&overview["drift"]["state"], &overview["baseline"]["scope"]);
    assert_eq!(state, (&"in_parity".into(), &"shared".into()));
    assert!(!exists(local));
    let text = fs::read_to_string(project.root.join(shared)).unwrap();
    assert!(text.contains("run.log"), "what git ignores is left out: {text}");
    request("POST", r#"{"scope": "local"}"#, 200);
    assert!(exists(local) && exists(shared));
    request("DELETE", r#"{"scope": "local"}"#, 200);
    assert!(!exists(local) && exists(shared));
    let overview = request("DELETE", "", 200);
    assert_eq!(overview["drift"]["state"], "no_baseline");
    assert!(!exists(shared));
    request("POST", r#"{"scope": "team"}"#, 400);
}

#[test]
fn a_shared_baseline_of_another_node_counts_and_one_of_another_mission_does_not() {
    let config = |node: &str| {
        format!("project: {{uuid: 11111111-2222-4333-8444-555555555555, node_id: {node}}}\n")
    };
    let project = Project::empty()
        .file(".kittify/config.yaml", config("aaaaaaaaaaaa"))
        .file("kitty-specs/001-x/meta.json", r#"{"mission": "software-dev"}"#)
        .file("kitty-specs/001-x/spec.md", "# Spec\n");
    project.run(&["baseline", "accept", "001-x", "--shared"]).assert_success();
    project.write(".kittify/config.yaml", config("bbbbbbbbbbbb"));
    assert_eq!(feature(&project)["drift"]["state"], "in_parity");

    project.write("kitty-specs/001-x/meta.json", r#"{"mission": "research"}"#);
    let check = project.run(&["check", "--json"]);
    assert_eq!(check.code, 13, "{check:?}");
    let found = &check.json()["features"][0];
    assert_eq!(found["drift"]["state"], "key_mismatch");
    let mismatch = found["baseline"]["key_mismatch"].as_array().unwrap();
    assert!(mismatch.contains(&"mission_key".into()), "{mismatch:?}");
}

//! Bookkeeping by the rules of a layout of one's own.

use std::fs;

use serde_json::{Value, json};

use crate::support::Project;
use crate::support::process::Daemon;
use crate::support::wait::wait_for;

const LAYOUT: &str = ".dossierd/layouts/own/layout.yaml";
const STORY: &str = "work/a/stories/1.md";
const STATE: &str = "work/a/state.yaml";
const DATA: &str = "work/a/data.json";
const TODO: &str = "work/a/todo.md";

fn layout(churn: &str) -> String {
    format!(
        "schema_version: 1\nname: own\nmarkers: [{{path: work, kind: dir}}]\nfeatures: [{{include: work/*}}]\n\
         missions: [{{use: own}}]\nstep: [{{source: files}}]\nchurn: {churn}\n"
    )
}

const CHURN: &str = "[{files: 'stories/*.md', keys: [status]}, {files: [state.yaml, data.json], \
                     keys: [status, updated]}, {files: todo.md, checkboxes: true}]";

fn project(churn: &str) -> Project {
    let manifest = "schema_version: \"1.0\"\nmission_type: own\nmanifest_version: \"1\"\n\
                    required_always:\n  - artifact_key: output.story\n    artifact_class: output\n    \
                    path_pattern: stories/*.md\n    blocking: true\nrequired_by_step: {}\n\
                    optional_always:\n  - artifact_key: output.data\n    artifact_class: output\n    \
                    path_pattern: data.json\n  - artifact_key: output.state\n    \
                    artifact_class: output\n    path_pattern: state.yaml\n";
    Project::empty()
        .file(LAYOUT, layout(churn))
        .file(".dossierd/layouts/own/expected-artifacts.yaml", manifest)
        .file(STORY, "---\ntitle: One\nstatus: open\n---\n# One\n")
        .file(STATE, "status: open\nowner: x\n")
        .file(DATA, "{\"status\": \"open\", \"items\": [1]}")
        .file(TODO, "- [ ] one\n- [ ] two\n")
}

/// Does the bookkeeping of the tool.
fn work(project: &Project) {
    project.write(STORY, "---\ntitle: One\nstatus: done\n---\n# One\n");
    project.write(STATE, "status: done\nupdated: 2026-01-02\nowner: x\n");
    project.write(DATA, "{\"items\": [1], \"status\": \"done\"}");
    project.write(TODO, "- [x] one\n- [-] two\n");
}

fn drift(project: &Project) -> Value {
    let run = project.run_client(&["drift", "a", "--json"]).json();
    let paths = |churn: bool| {
        let all = run["differences"].as_array().unwrap().iter();
        let found = all.filter(|one| one["churn"] == churn);
        found.map(|one| one["relative_path"].clone()).collect::<Vec<_>>()
    };
    json!({"severity": run["severity"], "changed": paths(false), "churn": paths(true)})
}

fn wait_for_drift(project: &Project, expected: &Value) {
    let mut last = Value::Null;
    wait_for(&expected.to_string(), || {
        last = drift(project);
        (last == *expected).then_some(())
    });
}

fn start(project: &Project) -> Daemon {
    let daemon = project.start_daemon();
    daemon.get_json("/api/status?sync=true");
    daemon
}

#[test]
fn keys_and_boxes_that_a_layout_names_are_churn_and_nothing_else_is() {
    let project = project(CHURN);
    let daemon = start(&project);
    project.run_client(&["baseline", "accept", "a"]).assert_success();
    work(&project);
    let all = ["data.json", "state.yaml", "stories/1.md", "todo.md"];
    let only_churn = json!({"severity": "info", "changed": [], "churn": all});
    let sorted = |mut value: Value| {
        for key in ["changed", "churn"] {
            value[key].as_array_mut().unwrap().sort_by_key(ToString::to_string);
        }
        value
    };
    wait_for("churn alone", || (sorted(drift(&project)) == only_churn).then_some(()));
    let checked = project.run(&["check", "--json"]).assert_success().json();
    assert_eq!(checked["features"][0]["drift"]["severity"], "info", "{checked}");

    for (path, text) in [
        (STORY, "---\ntitle: Two\nstatus: done\n---\n# One\n"),
        (STORY, "---\ntitle: One\nstatus: done\n---\n# One\nstatus: open\n"),
        (STATE, "status: done\nowner: y\n"),
        (DATA, "{\"items\": [2], \"status\": \"done\"}"),
        (DATA, "{\"items\": [1], \"status\": \"done\""),
        (TODO, "- [x] one\n- [x] three\n"),
    ] {
        work(&project);
        project.write(path, text);
        let name = path.strip_prefix("work/a/").unwrap();
        wait_for(name, || {
            let found = drift(&project);
            (found["changed"] == json!([name]) && found["severity"] == "warning").then_some(())
        });
    }

    // A layout that is half written is reported, and the last valid one stays.
    work(&project);
    project.write(LAYOUT, "schema_version: 1\nname: own\nmark");
    wait_for("the error", || {
        let errors = daemon.status()["projects"][0]["manifest_errors"].to_string();
        errors.contains(LAYOUT).then_some(())
    });
    wait_for("churn alone", || (sorted(drift(&project)) == only_churn).then_some(()));
    daemon.stop();
}

#[test]
fn files_are_read_again_when_the_layout_names_other_bookkeeping() {
    let project = project("[]");
    let daemon = start(&project);
    project.write(LAYOUT, layout(CHURN));
    // What is accepted now has to have static parts by the new rules.
    wait_for("the rules", || {
        project.run_client(&["baseline", "accept", "a"]).assert_success();
        let baseline = fs::read(project.root.join(".dossierd/dossiers/a/dossierd-baseline.json"));
        let baseline = baseline
            .or_else(|_| fs::read(project.root.join(".dossierd/dossiers/a/parity-baseline.json")));
        let baseline: Value = serde_json::from_slice(&baseline.unwrap()).unwrap();
        let artifacts = baseline["artifacts"].as_array().unwrap();
        let has_all = artifacts.iter().all(|one| one["static_hash_sha256"].is_string());
        has_all.then_some(())
    });
    let before = project.run_client(&["events", "--json", "--type", "artifact_indexed"]).lines();
    daemon.stop();
    work(&project);
    let daemon = start(&project);
    wait_for("churn alone", || (drift(&project)["changed"] == json!([])).then_some(()));
    assert_eq!(drift(&project)["severity"], "info");
    assert_eq!(before.len(), 4, "reading files again causes no event: {before:?}");
    daemon.stop();

    // Rules that changed while no daemon was running.
    project.write(LAYOUT, layout("[{files: '**', keys: [status]}]"));
    let daemon = start(&project);
    project.run_client(&["baseline", "accept", "a"]).assert_success();
    project.write(STORY, "---\ntitle: One\nstatus: open\n---\n# One\n");
    let expected = json!({"severity": "info", "changed": [], "churn": ["stories/1.md"]});
    wait_for_drift(&project, &expected);
    daemon.stop();
}

//! What an overview has of a feature's identity and history.

use std::fs;

use serde_json::{Value, json};

use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, write_file};

/// Returns when a feature was seen first, and when it changed last.
fn times(daemon: &Daemon) -> (String, String) {
    let overview = daemon.overview(FEATURE);
    let time = |name: &str| overview[name].as_str().unwrap().to_owned();
    (time("dossier_created_at"), time("dossier_updated_at"))
}

#[test]
fn times_of_a_feature_are_those_of_its_commits_over_restarts() {
    let project = Project::complete();
    let scanned = project.run(&["status", FEATURE, "--json"]).json();
    assert_eq!(scanned["dossier_created_at"], Value::Null, "a scan remembers nothing");
    assert_eq!(scanned["dossier_updated_at"], Value::Null);
    let daemon = project.start_daemon();
    let overview = daemon.overview(FEATURE);
    assert_eq!(overview["feature_dir"], project.feature_dir().to_str().unwrap());
    let (created, _) = times(&daemon);
    write_file(&project.feature_dir().join("spec.md"), b"# Another\n");
    let updated = wait_for("the change", || {
        let events = daemon.get_json("/api/events?since=start");
        let last = events["events"].as_array().unwrap().last().unwrap()["emitted_at"].clone();
        (json!(times(&daemon).1) == last && last.as_str() > Some(&created)).then_some(last)
    });
    assert_eq!(times(&daemon).0, created);
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(json!(times(&daemon)), json!([created, updated]), "nothing changed meanwhile");
    daemon.stop();
}

#[test]
fn mission_run_id_is_kept_until_a_run_has_another() {
    let project = Project::complete();
    let id = |daemon: &Daemon| daemon.overview(FEATURE)["mission_run_id"].clone();
    let scanned = project.run(&["status", FEATURE, "--json"]).json();
    let daemon = project.start_daemon();
    let first = id(&daemon);
    assert_eq!(scanned["mission_run_id"], first);
    let run = json!({"run_id": "r-1", "run_dir": ".kittify/runtime/runs/r", "mission_key": "m"});
    project.write(".kittify/runtime/feature-runs.json", json!({FEATURE: run}).to_string());
    wait_for("the run", || (id(&daemon) == "r-1").then_some(()));
    fs::remove_dir_all(project.root.join(".kittify/runtime")).unwrap();
    wait_for("the end of the run", || (id(&daemon) == first).then_some(()));
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(id(&daemon), first);
    daemon.stop();
}

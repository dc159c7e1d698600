//! Baselines of another branch: each pair of mismatching keys is reported once.

use std::fs;

use serde_json::Value;

use crate::support::process::Daemon;
use crate::support::{FEATURE, Project};

const DRIFT: &str = "mission_dossier_parity_drift_detected";

/// Checks out a branch as git does, by a rename.
fn checkout(project: &Project, branch: &str) {
    project.write(".git/HEAD.lock", format!("ref: refs/heads/{branch}\n"));
    let git = project.root.join(".git");
    fs::rename(git.join("HEAD.lock"), git.join("HEAD")).unwrap();
}

fn write_meta(project: &Project, text: &str) {
    project.write(&format!("kitty-specs/{FEATURE}/meta.json"), text);
}

/// Returns the drift state after all earlier changes, and the number of drift events.
fn drift(daemon: &Daemon) -> (Value, usize) {
    let state = daemon.overview(FEATURE)["drift"]["state"].clone();
    let page = daemon.get_json(&format!("/api/events?type={DRIFT}"));
    let events = page["events"].as_array().unwrap();
    for event in events {
        assert_eq!(event["payload"]["key_mismatch"], serde_json::json!(["target_branch"]));
        assert_eq!(event["payload"]["severity"], "info");
    }
    (state, events.len())
}

#[test]
fn each_pair_of_mismatching_keys_is_reported_once() {
    let project = Project::complete();
    write_meta(&project, "{}");
    checkout(&project, "main");
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    let daemon = project.start_daemon();
    assert_eq!(drift(&daemon), ("in_parity".into(), 0));
    checkout(&project, "a");
    assert_eq!(drift(&daemon), ("key_mismatch".into(), 1));
    checkout(&project, "b");
    assert_eq!(drift(&daemon), ("key_mismatch".into(), 2));
    // The feature cannot be evaluated for a while.
    write_meta(&project, "{");
    assert_eq!(drift(&daemon), (Value::Null, 2));
    write_meta(&project, "{}");
    assert_eq!(drift(&daemon), ("key_mismatch".into(), 2));
    checkout(&project, "main");
    assert_eq!(drift(&daemon), ("in_parity".into(), 2));
    checkout(&project, "a");
    assert_eq!(drift(&daemon), ("key_mismatch".into(), 2));
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(drift(&daemon), ("key_mismatch".into(), 2));
    checkout(&project, "c");
    assert_eq!(drift(&daemon), ("key_mismatch".into(), 3));
    daemon.stop();
}

//! A baseline that was accepted for another branch: said once for each pair of keys.

use std::fs;

use serde_json::Value;

use crate::support::process::Daemon;
use crate::support::{FEATURE, Project};

const DRIFT: &str = "mission_dossier_parity_drift_detected";

fn switch(project: &Project, branch: &str) {
    project.write(".git/HEAD.lock", format!("ref: refs/heads/{branch}\n"));
    let git = project.root.join(".git");
    fs::rename(git.join("HEAD.lock"), git.join("HEAD")).unwrap();
}

fn meta(project: &Project, text: &str) {
    project.write(&format!("kitty-specs/{FEATURE}/meta.json"), text);
}

/// The drift's state, once all that changed is seen, and how often drift was told.
fn told(daemon: &Daemon) -> (Value, usize) {
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
fn each_pair_of_keys_that_do_not_match_is_told_once() {
    let project = Project::complete();
    meta(&project, "{}");
    switch(&project, "main");
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    let daemon = project.start_daemon();
    assert_eq!(told(&daemon), ("in_parity".into(), 0));
    switch(&project, "a");
    assert_eq!(told(&daemon), ("key_mismatch".into(), 1));
    switch(&project, "b");
    assert_eq!(told(&daemon), ("key_mismatch".into(), 2));
    // Not judged for a while.
    meta(&project, "{");
    assert_eq!(told(&daemon), (Value::Null, 2));
    meta(&project, "{}");
    assert_eq!(told(&daemon), ("key_mismatch".into(), 2));
    switch(&project, "main");
    assert_eq!(told(&daemon), ("in_parity".into(), 2));
    switch(&project, "a");
    assert_eq!(told(&daemon), ("key_mismatch".into(), 2));
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(told(&daemon), ("key_mismatch".into(), 2));
    switch(&project, "c");
    assert_eq!(told(&daemon), ("key_mismatch".into(), 3));
    daemon.stop();
}

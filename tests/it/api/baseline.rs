//! `/api/dossier/baseline`: accepts, shows and clears baselines.

use std::fs;

use serde_json::{Value, json};

use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, expected_hashes, write_file};

const BASELINE: &str = "/api/dossier/baseline?feature=001-x";

#[track_caller]
/// Sends a request that must succeed; returns the body of the response.
fn request(daemon: &Daemon, method: &str, body: &str) -> Value {
    let response = daemon.request(method, BASELINE, body);
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

#[test]
fn accepted_baseline_is_written_and_shown_until_cleared() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let (parity, tree) = expected_hashes(&project.feature_dir());
    let accepted = request(&daemon, "POST", "");
    assert_eq!(accepted["drift"]["state"], "in_parity", "{accepted:#}");
    assert_eq!(accepted["baseline"]["parity_hash_sha256"], parity);
    assert_eq!(accepted["accepted"]["tree_hash_sha256"], tree);
    assert_eq!(accepted["accepted"]["captured_by"], "abcdef123456");
    assert!(["cookie", "scan"].iter().any(|kind| accepted["synced"] == *kind));
    // The next request reflects it without waiting.
    let overview = daemon.get_json(&format!("/api/dossier/overview?feature={FEATURE}"));
    assert_eq!(overview["drift"]["state"], "in_parity");

    // Except for the time, the file equals the one that the command writes.
    let mut by_api = project.baseline();
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    let mut by_command = project.baseline();
    for baseline in [&mut by_api, &mut by_command] {
        baseline["captured_at"] = Value::Null;
    }
    assert_eq!(by_api, by_command);

    let cleared = request(&daemon, "DELETE", "");
    assert_eq!((&cleared["cleared"], &cleared["baseline"]), (&json!(true), &Value::Null));
    assert_eq!(cleared["drift"]["state"], "no_baseline");
    assert!(!project.baseline_file().exists());
    let again = request(&daemon, "DELETE", "");
    assert_eq!(again["cleared"], false);
    daemon.stop();
}

#[test]
fn accept_rejects_a_state_that_changed_since_it_was_read() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let (_, read) = expected_hashes(&project.feature_dir());
    project.write("kitty-specs/001-x/plan.md", "changed\n");
    let (_, now) = expected_hashes(&project.feature_dir());
    let body = json!({"tree_hash_sha256": read}).to_string();
    let rejected = daemon.request("POST", BASELINE, &body).assert_problem(409, "state_changed");
    let detail = rejected["detail"].as_str().unwrap();
    assert!(detail.contains(&read) && detail.contains(&now), "{detail}");
    assert!(!project.baseline_file().exists());
    let body = json!({"tree_hash_sha256": now}).to_string();
    assert_eq!(request(&daemon, "POST", &body)["tree_hash_sha256"], now);
    daemon.stop();
}

#[test]
fn accept_rejects_unevaluated_features_and_replaces_corrupt_baselines_only_on_request() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    request(&daemon, "POST", "{}");
    let valid = fs::read(project.baseline_file()).unwrap();
    write_file(&project.baseline_file(), b"{");
    let rejected = daemon.request("POST", BASELINE, "{}").assert_problem(409, "baseline_corrupt");
    assert!(rejected["hint"].as_str().unwrap().contains("replace_corrupt"), "{rejected:#}");
    assert_eq!(fs::read(project.baseline_file()).unwrap(), b"{");
    let shown = daemon.get_json(BASELINE);
    assert_eq!(
        (&shown["drift_state"], &shown["baseline"]),
        (&json!("baseline_corrupt"), &Value::Null)
    );
    let replaced = request(&daemon, "POST", "{\"replace_corrupt\": true}");
    assert_eq!(replaced["drift"]["state"], "in_parity");
    let reason = replaced["accepted"]["replaced_corrupt"].as_str().unwrap();
    assert!(reason.contains("EOF"), "{reason}");
    let again = request(&daemon, "POST", "{\"replace_corrupt\": true}");
    assert_eq!(again["accepted"]["replaced_corrupt"], Value::Null);
    write_file(&project.baseline_file(), &valid);

    project.write("kitty-specs/001-x/meta.json", "{");
    daemon.request("POST", BASELINE, "").assert_problem(409, "not_evaluated");
    fs::remove_dir_all(project.feature_dir()).unwrap();
    wait_for("the feature to be gone", || {
        (daemon.overview(FEATURE)["watch"] == "gone").then_some(())
    });
    let gone = daemon.request("POST", BASELINE, "").assert_problem(409, "not_evaluated");
    assert_eq!(gone["detail"], "cannot accept the state: the feature's directory does not exist");
    assert_eq!(fs::read(project.baseline_file()).unwrap(), valid, "unchanged");
    daemon.stop();
}

#[test]
fn invalid_request_body_reports_the_location_of_the_error() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    for (body, status, code, expected) in [
        ("{\n  \"tree_hash_sha256\": }", 400, "bad_request", "line 2, column 23"),
        ("{\"tree\": 1}", 400, "bad_request", "`tree`"),
        ("{\"tree_hash_sha256\": \"abc\"}", 400, "bad_request", "line 1"),
        ("[]", 400, "bad_request", "keys and values"),
        ("\u{fffd}", 400, "bad_request", "line 1"),
        (&format!("\"{}\"", "x".repeat(64 << 10)), 413, "too_large", "65536 bytes"),
    ] {
        let problem = daemon.request("POST", BASELINE, body).assert_problem(status, code);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{expected}: {detail}");
    }
    let target = "/api/dossier/baseline?feature=999-none";
    daemon.request("POST", target, "").assert_problem(404, "not_found");
    daemon.request("DELETE", target, "").assert_problem(404, "not_found");
    assert!(!project.baseline_file().exists());
    daemon.stop();
}

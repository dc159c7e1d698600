//! Accepting and clearing baselines over the socket.

use std::fs;

use serde_json::{Value, json};

use crate::support::process::Daemon;
use crate::support::{FEATURE, Project, expected_hashes, write_file};

const BASELINE: &str = "/api/dossier/baseline?feature=001-x";

#[track_caller]
fn done(daemon: &Daemon, method: &str, body: &str) -> Value {
    let answer = daemon.request(method, BASELINE, body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn what_is_accepted_is_written_shown_and_cleared() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let (parity, tree) = expected_hashes(&project.feature_dir());
    let accepted = done(&daemon, "POST", "");
    assert_eq!(accepted["drift"]["state"], "in_parity", "{accepted:#}");
    assert_eq!(accepted["baseline"]["parity_hash_sha256"], parity);
    assert_eq!(accepted["accepted"]["tree_hash_sha256"], tree);
    assert_eq!(accepted["accepted"]["captured_by"], "abcdef123456");
    assert!(["cookie", "scan"].iter().any(|kind| accepted["synced"] == *kind));
    // What is asked next knows of it, without waiting.
    let overview = daemon.get_json(&format!("/api/dossier/overview?feature={FEATURE}"));
    assert_eq!(overview["drift"]["state"], "in_parity");

    // The same file as the command writes, but for the time.
    let mut by_socket = project.baseline();
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    let mut by_command = project.baseline();
    for baseline in [&mut by_socket, &mut by_command] {
        baseline["captured_at"] = Value::Null;
    }
    assert_eq!(by_socket, by_command);

    let cleared = done(&daemon, "DELETE", "");
    assert_eq!((&cleared["cleared"], &cleared["baseline"]), (&json!(true), &Value::Null));
    assert_eq!(cleared["drift"]["state"], "no_baseline");
    assert!(!project.baseline_file().exists());
    let again = done(&daemon, "DELETE", "");
    assert_eq!(again["cleared"], false);
    daemon.stop();
}

#[test]
fn a_state_that_moved_on_is_not_accepted() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let (_, looked_at) = expected_hashes(&project.feature_dir());
    project.write("kitty-specs/001-x/plan.md", "moved on\n");
    let (_, now) = expected_hashes(&project.feature_dir());
    let body = json!({"tree_hash_sha256": looked_at}).to_string();
    let refused = daemon.request("POST", BASELINE, &body).assert_problem(409, "moved_on");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains(&looked_at) && detail.contains(&now), "{detail}");
    assert!(!project.baseline_file().exists());
    let body = json!({"tree_hash_sha256": now}).to_string();
    assert_eq!(done(&daemon, "POST", &body)["tree_hash_sha256"], now);
    daemon.stop();
}

#[test]
fn what_cannot_be_judged_is_not_accepted_and_what_is_corrupt_not_replaced_unasked() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    done(&daemon, "POST", "{}");
    let sound = fs::read(project.baseline_file()).unwrap();
    write_file(&project.baseline_file(), b"{");
    let refused = daemon.request("POST", BASELINE, "{}").assert_problem(409, "baseline_corrupt");
    assert!(refused["hint"].as_str().unwrap().contains("replace_corrupt"), "{refused:#}");
    assert_eq!(fs::read(project.baseline_file()).unwrap(), b"{");
    let shown = daemon.get_json(BASELINE);
    assert_eq!(
        (&shown["drift_state"], &shown["baseline"]),
        (&json!("baseline_corrupt"), &Value::Null)
    );
    let replaced = done(&daemon, "POST", "{\"replace_corrupt\": true}");
    assert_eq!(replaced["drift"]["state"], "in_parity");
    let why = replaced["accepted"]["replaced_corrupt"].as_str().unwrap();
    assert!(why.contains("EOF"), "{why}");
    let again = done(&daemon, "POST", "{\"replace_corrupt\": true}");
    assert_eq!(again["accepted"]["replaced_corrupt"], Value::Null);
    write_file(&project.baseline_file(), &sound);

    project.write("kitty-specs/001-x/meta.json", "{");
    daemon.request("POST", BASELINE, "").assert_problem(409, "not_judged");
    fs::remove_dir_all(project.feature_dir()).unwrap();
    crate::support::wait::wait_for("the feature to be gone", || {
        (daemon.overview(FEATURE)["watch"] == "gone").then_some(())
    });
    let gone = daemon.request("POST", BASELINE, "").assert_problem(409, "not_judged");
    assert_eq!(gone["detail"], "not accepted: the feature is gone");
    assert_eq!(fs::read(project.baseline_file()).unwrap(), sound, "left as it was");
    daemon.stop();
}

#[test]
fn bodies_that_cannot_be_used_say_where() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    for (body, status, code, said) in [
        ("{\n  \"tree_hash_sha256\": }", 400, "bad_request", "line 2, column 23"),
        ("{\"tree\": 1}", 400, "bad_request", "`tree`"),
        ("{\"tree_hash_sha256\": \"abc\"}", 400, "bad_request", "line 1"),
        ("[]", 400, "bad_request", "keys and values"),
        ("\u{fffd}", 400, "bad_request", "line 1"),
        (&format!("\"{}\"", "x".repeat(64 << 10)), 413, "too_large", "65536 bytes"),
    ] {
        let problem = daemon.request("POST", BASELINE, body).assert_problem(status, code);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{said}: {detail}");
    }
    let target = "/api/dossier/baseline?feature=999-none";
    daemon.request("POST", target, "").assert_problem(404, "not_found");
    daemon.request("DELETE", target, "").assert_problem(404, "not_found");
    assert!(!project.baseline_file().exists());
    daemon.stop();
}

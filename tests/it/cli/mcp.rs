//! `dossierd mcp`, used by the independent client of the package `mcp` (`tests/mcp/client.py`), in both eras of the
//! protocol.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{CommandOutput, FEATURE, Project, not_run, repository, run};

/// Returns the Python that has the package; `None`, which is reported, without one.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("DOSSIERD_MCP_PYTHON").map(PathBuf::from);
    let python = python.unwrap_or_else(|| repository().join("target/ci/mcp/bin/python"));
    let trial = Command::new(&python).args(["-c", "import mcp"]).output();
    if trial.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let why = "an independent client (no Python with `tests/mcp/requirements.txt`)";
    assert!(std::env::var_os("CI").is_none(), "{why}; CI requires it");
    not_run(why);
    None
}

fn project() -> Project {
    Project::complete().file("kitty-specs/002-y/spec.md", "# Y\n")
}

/// Runs a case of the client in `project`.
#[track_caller]
fn run_case(project: &Project, mode: &str, case: &str) {
    let Some(python) = python() else { return };
    let of_client = project.client_command(&[]);
    let mut client = Command::new(python);
    client.arg(repository().join("tests/mcp/client.py"));
    client
        .args([env!("CARGO_BIN_EXE_dossierd"), mode, case])
        .current_dir(&project.root)
        .env_clear();
    client.envs(of_client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let CommandOutput { code, stdout, stderr } = run(client, Duration::from_mins(2));
    assert_eq!(code, 0, "{mode}, {case}: {stdout}\n{stderr}");
    // Standard error of the server is that of the client; clients show it as a log of errors.
    assert!(!stderr.contains("note:"), "{mode}, {case}: {stderr}");
}

#[test]
fn every_tool_answers_and_faults_are_explained() {
    for mode in ["legacy", "auto"] {
        let project = project();
        let _daemon = project.start_daemon();
        project.run_client(&["baseline", "accept", FEATURE]).assert_success();
        run_case(&project, mode, "faults");
        run_case(&project, mode, "tools");
    }
}

#[test]
fn resources_are_listed_and_read_whatever_they_contain() {
    for mode in ["legacy", "auto"] {
        let project = project();
        let _daemon = project.start_daemon();
        run_case(&project, mode, "resources");
    }
}

#[test]
fn subscribers_are_notified_of_changes() {
    for mode in ["legacy", "auto"] {
        let project = project();
        let _daemon = project.start_daemon();
        run_case(&project, mode, "subscriptions");
    }
}

#[test]
fn a_wait_for_a_change_blocks_no_other_call() {
    for mode in ["legacy", "auto"] {
        let project = project();
        let _daemon = project.start_daemon();
        run_case(&project, mode, "waiting");
    }
}

#[test]
fn baselines_are_accepted_and_files_restored_only_with_allow_writes() {
    let project = project();
    let _daemon = project.start_daemon();
    run_case(&project, "auto", "writes");
}

#[test]
fn projects_that_no_daemon_watches_are_scanned() {
    for mode in ["legacy", "auto"] {
        let project = project();
        run_case(&project, mode, "unwatched");
        // The same while a daemon watches another project, with a feature of the same name that has changed.
        let other = Project::complete();
        let daemon = project.spawn_daemon({
            let mut command = project.command(&["run"]);
            command.arg(&other.root);
            command
        });
        daemon.wait_until_ready();
        let root = other.root.to_str().unwrap();
        project.run_client(&["baseline", "accept", FEATURE, "--project", root]).assert_success();
        run_case(&project, mode, "unwatched");
        let log = project.run_client(&["baseline", "log", FEATURE, "--project", root]);
        assert_eq!(log.stdout.lines().count(), 2, "a header, and accepted once: {}", log.stdout);
    }
}

#[test]
fn server_ends_with_its_input_and_answers_nothing_that_is_no_request() {
    let project = project();
    let mut command = project.client_command(&["mcp"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let request = |id: u64, method: &str, params: Value| {
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
    };
    let client = json!({"name": "t", "version": "1"});
    let begin = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
    writeln!(input, "{}", request(1, "initialize", begin)).unwrap();
    writeln!(input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .unwrap();
    writeln!(input, "no JSON").unwrap();
    writeln!(input, "{}", request(2, "tools/list", json!({}))).unwrap();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut next = || -> Value {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let answer = next();
    assert_eq!(
        (&answer["id"], &answer["result"]["protocolVersion"]),
        (&json!(1), &json!("2025-06-18"))
    );
    assert_eq!(answer["result"]["serverInfo"]["name"], "dossierd");
    assert_eq!(next()["id"], 2);
    drop(input);
    assert!(child.wait().unwrap().success());
    // The end of the input before the first request is not an error.
    let run = run(project.client_command(&["mcp"]), Duration::from_mins(1));
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", ""));
}

//! `dossierd verify`: succeeds if daemon and disk agree, and reports each difference.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use crate::support::fake_server::{FakeResponse, FakeServer};
use crate::support::wait::wait_for;
use crate::support::{COMMAND_TIMEOUT, FEATURE, Project, bakery_dir, run, sha256, write_file};

/// Sends a request line to the daemon at `socket`; returns status and body of the response.
fn request(socket: &std::path::Path, request_line: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    write!(
        stream,
        "{request_line}\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    Some((head.get(9..12)?.parse().ok()?, body.to_owned()))
}

#[test]
fn verify_succeeds_if_daemon_and_disk_agree() {
    let project = Project::copy_of(&bakery_dir());
    let _daemon = project.start_daemon();
    let run = project.run_client(&["verify"]).assert_success();
    assert_eq!(run.stdout, "4 features compared: no differences\n");
    for number in 0..5 {
        write_file(&project.root.join("kitty-specs/001-order-page/spec.md"), &[b'a' + number]);
        project.run_client(&["verify", "001-order-page"]).assert_success();
    }
    fs::remove_dir_all(project.root.join("kitty-specs/002-loyalty-card")).unwrap();
    let json = project.run_client(&["verify", "--json"]).assert_success().json();
    assert_eq!(json, serde_json::json!({"features": 3, "differences": []}));
}

#[test]
fn verify_outside_a_project_compares_all_projects() {
    let project = Project::complete();
    let other = Project::complete().file("kitty-specs/002-y/spec.md", "y\n");
    let _daemon = project.start_daemon_over(&[&other.root]);
    let verify = |arguments: &[&str]| {
        let mut command = project.client_command(&[&["verify"], arguments].concat());
        command.current_dir(project.home());
        run(command, COMMAND_TIMEOUT)
    };
    assert_eq!(verify(&[]).assert_success().stdout, "3 features compared: no differences\n");
    assert_eq!(verify(&["002-y"]).assert_success().stdout, "1 feature compared: no differences\n");
    verify(&["003-none"]).assert_failure(1, "there is no feature `003-none`");
    verify(&[FEATURE]).assert_failure(1, "001-x");
}

#[test]
fn verify_compares_other_projects_if_one_root_is_unavailable() {
    let project = Project::complete();
    let other = Project::complete();
    let odd = project.home().join("back\\slash");
    write_file(&odd.join("kitty-specs/003-z/spec.md"), b"z\n");
    let daemon = project.start_daemon_over(&[&other.root, &odd]);
    fs::rename(&other.root, other.home().join("away")).unwrap();
    let mut command = project.client_command(&["verify"]);
    command.current_dir(project.home());
    let run = run(command, COMMAND_TIMEOUT);
    run.assert_failure(1, other.root.to_str().unwrap());
    assert_eq!(run.stdout, "2 features compared: no differences\n");
    daemon.stop();
}

#[test]
fn verify_compares_only_paths_and_hashes_if_the_manifest_is_invalid() {
    let own = ".kittify/overrides/missions/software-dev/expected-artifacts.yaml";
    let project = Project::complete().file(
        own,
        "schema_version: '1.0'\nmission_type: software-dev\nrequired_always:\n\
         - {artifact_key: policy.own, artifact_class: policy, path_pattern: spec.md, blocking: true}\n",
    );
    let daemon = project.start_daemon();
    assert_eq!(daemon.export(FEATURE)["required_artifacts"], 1);
    project.write(own, ": [");
    wait_for("the error in the manifest", || {
        let errors = daemon.status()["projects"][0]["manifest_errors"].as_array()?.len();
        (errors > 0).then_some(())
    });
    let run = project.run_client(&["verify"]);
    run.assert_failure(78, "001-x: its manifest cannot be used, so only paths");
    assert!(run.stderr.contains("expected-artifacts.yaml:1:"), "{run:?}");
    assert_eq!(run.stdout, "1 feature compared: no differences\n");
}

#[test]
fn verify_reports_each_difference_and_fails() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let hash = sha256(b"# Spec\n");
    let wrong = hash.replace(|c: char| c.is_ascii_digit(), "0");
    let (real, socket) = (project.socket(), project.home().join("fake/dossierd.sock"));
    let respond = {
        let (hash, wrong) = (hash.clone(), wrong.clone());
        move |request_line: &str| {
            let (status, body) = request(&real, request_line)?;
            let body = body
                .replace(&hash, &wrong)
                .replace("\"relative_path\":\"plan.md\"", "\"relative_path\":\"plan.txt\"")
                .replace("output.tasks.main", "output.tasks.other");
            Some(FakeResponse { status, server: "dossierd/9.9.9", body })
        }
    };
    let fake = FakeServer::start(&socket, respond);
    let socket = fake.socket.to_str().unwrap();
    let run = project.run_client(&["verify", "--socket", socket]);
    assert_eq!(run.code, 1, "{run:?}");
    insta::assert_snapshot!(run.stdout.replace(&wrong, "WRONG").replace(&hash, "RIGHT"));
    let versions = format!("version 9.9.9, this command {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(run.stderr.matches(&versions).count(), 1, "the versions are reported once: {run:?}");
    let json = project.run_client(&["verify", FEATURE, "--json", "--socket", socket]);
    assert_eq!(json.code, 1);
    let differences = json.json()["differences"].as_array().unwrap().clone();
    let changed = differences
        .iter()
        .find(|difference| difference["artifact_key"] == "input.spec.main")
        .unwrap();
    assert_eq!(changed["field"], "content_hash_sha256");
    assert_eq!((&changed["daemon"], &changed["disk"]), (&wrong.into(), &hash.into()));
    drop(daemon);
}

#[test]
fn verify_ignores_changes_made_during_the_comparison() {
    let project = Project::complete();
    let _daemon = project.start_daemon();
    let (stop, stop_receiver) = std::sync::mpsc::channel::<()>();
    let path = project.feature_dir().join("spec.md");
    let writer = std::thread::spawn(move || {
        let mut number = 0_u64;
        while stop_receiver.try_recv().is_err() {
            number += 1;
            write_file(&path, format!("# Spec {number}\n").as_bytes());
            std::thread::yield_now();
        }
    });
    let runs: Vec<_> = (0..5).map(|_| project.run_client(&["verify"])).collect();
    stop.send(()).unwrap();
    writer.join().unwrap();
    for run in runs {
        assert_eq!(run.code, 0, "{run:?}");
    }
}

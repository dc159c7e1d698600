//! Commands about features and projects through the daemon, compared with their results without it.

use std::fs;

use serde_json::Value;

use crate::support::client::RunningCommand;
use crate::support::wait::wait_for;
use crate::support::{
    COMMAND_TIMEOUT, FEATURE, Project, bakery_dir, expected_hashes, run, sha256, write_file,
};

#[test]
fn output_through_the_daemon_equals_output_of_a_scan() {
    let project = Project::copy_of(&bakery_dir());
    let slug = "003-delivery-slots";
    let commands: &[&[&str]] = &[
        &["artifacts", slug],
        &["artifacts", slug, "--missing"],
        &["artifacts", slug, "--class", "workflow"],
        &["artifacts", slug, "--wp", "WP01", "--required", "--missing"],
        &["show", slug, "output.plan.main"],
        &["drift", slug],
        &["baseline", "show", slug],
    ];
    let without_daemon: Vec<_> =
        commands.iter().map(|command| project.run_client(command).assert_success()).collect();
    let daemon = project.start_daemon();
    for (command, expected) in commands.iter().zip(without_daemon) {
        let run = project.run_client(command).assert_success();
        assert_eq!(run.stdout, expected.stdout, "{command:?}");
        assert!(expected.stderr.contains("one-time scan"), "{expected:?}");
    }
    for (command, target) in [
        (&["artifacts", slug, "--json"][..], "artifacts?"),
        (&["show", slug, "output.plan.main", "--json"], "artifacts/output.plan.main?"),
        (&["drift", slug, "--json"], "drift?"),
    ] {
        let run = project.run_client(command).assert_success();
        assert_eq!(run.stderr, "", "{command:?}");
        let response = daemon.get_json(&format!("/api/dossier/{target}feature={slug}&sync=true"));
        assert_eq!(run.json(), response, "{command:?}");
    }
    project.run_client(&["show", slug, "output.plan.man"]).assert_failure(1, "output.plan.main");
    // A deleted artifact is listed while it has a tombstone.
    fs::remove_file(project.root.join(format!("kitty-specs/{slug}/plan.md"))).unwrap();
    wait_for("the tombstone", || {
        let run = project.run_client(&["artifacts", slug, "--missing"]).assert_success();
        run.stdout.contains("deleted_after_scan").then_some(())
    });
}

#[test]
fn baseline_accept_and_clear_work_with_and_without_daemon() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let accepted = project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    let tree = expected_hashes(&project.feature_dir()).1;
    assert_eq!(accepted.stdout, format!("001-x: accepted 5 artifacts, tree {tree}\n"));
    assert_eq!(accepted.stderr, "");
    assert_eq!(daemon.overview(FEATURE)["drift"]["state"], "in_parity");

    write_file(&project.feature_dir().join("spec.md"), b"# Changed\n");
    let stale = project.run_client(&["baseline", "accept", FEATURE, "--tree", &tree]);
    stale.assert_failure(1, "cannot accept the state: its tree hash is");
    let json =
        project.run_client(&["baseline", "accept", "--all", "--json"]).assert_success().json();
    assert_eq!(
        (&json["feature_slug"], &json["drift"]["state"]),
        (&FEATURE.into(), &"in_parity".into())
    );
    assert_eq!((&json["accepted"]["artifacts"], &json["synced"]), (&5.into(), &"cookie".into()));
    let cleared = project.run_client(&["baseline", "clear", FEATURE]).assert_success();
    assert_eq!(cleared.stdout, "001-x: baseline cleared\n");
    let again = project.run_client(&["baseline", "clear", FEATURE]).assert_success();
    assert_eq!(again.stdout, "001-x: there was no baseline\n");
    assert_eq!(daemon.overview(FEATURE)["drift"]["state"], "no_baseline");

    fs::write(project.baseline_file(), "{").unwrap();
    project.run_client(&["baseline", "accept", "--all"]).assert_failure(1, "001-x: ");
    assert_eq!(fs::read(project.baseline_file()).unwrap(), b"{", "unchanged");
    let replaced = project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    let expected = "001-x: replaced a corrupt baseline: ";
    assert!(replaced.stderr.contains(expected), "{replaced:?}");
    assert_eq!(daemon.overview(FEATURE)["drift"]["state"], "in_parity");
    let cleared =
        project.run_client(&["baseline", "clear", FEATURE, "--json"]).assert_success().json();
    assert_eq!((&cleared["cleared"], &cleared["synced"]), (&true.into(), &"cookie".into()));

    // The same without a daemon, except for `synced`.
    daemon.stop();
    fs::write(project.baseline_file(), "{").unwrap();
    let replaced =
        project.run_client(&["baseline", "accept", FEATURE, "--json"]).assert_success().json();
    let reason = replaced["accepted"]["replaced_corrupt"].as_str().unwrap();
    assert!(reason.contains("EOF"), "{reason}");
    assert_eq!(replaced["drift"]["state"], "in_parity");
    let fields = |value: &Value| {
        let names = value.as_object().unwrap().keys().filter(|name| *name != "synced").cloned();
        names.collect::<Vec<String>>()
    };
    assert_eq!(fields(&replaced), fields(&json));
    let without_daemon =
        project.run_client(&["baseline", "clear", FEATURE, "--json"]).assert_success().json();
    assert_eq!(
        (fields(&without_daemon), &without_daemon["drift"]["state"]),
        (fields(&cleared), &"no_baseline".into())
    );
    assert!(!project.baseline_file().exists());
}

#[test]
fn baseline_show_works_outside_the_project() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    let mut command = project.client_command(&["baseline", "show", FEATURE, "--json"]);
    command.current_dir(project.home());
    let shown = run(command, COMMAND_TIMEOUT).assert_success();
    let response = daemon.get_json(&format!("/api/dossier/baseline?feature={FEATURE}&sync=true"));
    assert_eq!(shown.json(), response);
    assert_eq!(response["baseline"], project.baseline());
    assert_eq!(
        (&response["drift_state"], &response["drift_severity"]),
        (&"in_parity".into(), &Value::Null)
    );
    assert_eq!(response["local_key"], project.baseline()["baseline_key"]);
}

#[test]
fn report_as_json_is_refused_with_the_commands_that_print_it() {
    let project = Project::complete();
    let run = project.run(&["report", FEATURE, "--json", "-o", "report.html"]);
    run.assert_failure(2, "for JSON run `dossierd status`");
    assert!(!project.root.join("report.html").exists());
}

#[test]
fn report_is_not_written_through_a_link() {
    let project = Project::complete();
    let (target, planted) = (project.home().join("target"), project.home().join("report.html"));
    write_file(&target, b"unchanged\n");
    std::os::unix::fs::symlink(&target, &planted).unwrap();
    let output = planted.to_str().unwrap();
    project.run(&["report", FEATURE, "-o", output]).assert_failure(1, "it is a symbolic link");
    assert_eq!(fs::read(&target).unwrap(), b"unchanged\n");
    let new = project.home().join("new.html");
    project.run(&["report", FEATURE, "-o", new.to_str().unwrap()]).assert_success();
    let mode = std::os::unix::fs::MetadataExt::mode(&new.metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600, "it has contents of the project");
    let html = project.run(&["report", FEATURE, "-o", "/dev/stdout"]).assert_success().stdout;
    assert!(html.contains("<!doctype html>") || html.contains("<!DOCTYPE html>"), "{html}");
}

#[test]
fn hints_of_the_api_are_translated_into_commands() {
    let project = Project::complete();
    let second = project.root.parent().unwrap().join("second");
    write_file(&second.join("kitty-specs").join(FEATURE).join("spec.md"), b"second");
    let daemon = project.start_daemon_over(&[&second]);
    let assert_hint = |arguments: &[&str], hint: &str| {
        let mut command = project.client_command(arguments);
        command.current_dir(project.home());
        let run = run(command, COMMAND_TIMEOUT);
        run.assert_failure(1, hint);
        for word in ["GET", "DELETE", "`project=`", "sync=true"] {
            assert!(!run.stderr.contains(word), "{arguments:?}: {run:?}");
        }
    };
    let own = project.root.to_str().unwrap();
    assert_hint(&["drift", FEATURE], "; name one of them with `--project ROOT`");
    assert_hint(&["drift", "009-none"], "; `dossierd status` lists the features of all projects");
    assert_hint(
        &["rescan", "--project", "/none"],
        "; `dossierd status` lists the watched projects",
    );
    let show = ["show", FEATURE, "zzzzzzzz", "--project", own];
    assert_hint(&show, "; `dossierd artifacts FEATURE` lists the artifacts");
    daemon.stop();
}

#[test]
fn projects_are_added_and_removed_while_the_daemon_runs() {
    let project = Project::complete();
    let other = Project::complete();
    let daemon = project.start_daemon();
    let root = other.root.to_str().unwrap();
    project.run_client(&["project", "add", root]).assert_success();
    let roots = || -> Vec<String> {
        let list = project.run_client(&["project", "list", "--json"]).assert_success().json();
        list.as_array()
            .unwrap()
            .iter()
            .map(|project| project["root"].as_str().unwrap().into())
            .collect()
    };
    assert!(roots().contains(&root.to_owned()));
    project.run_client(&["rescan"]).assert_success();
    let rescan = project
        .run_client(&["rescan", FEATURE, "--project", root, "--json"])
        .assert_success()
        .json();
    assert_eq!(rescan["features"], 1);
    daemon.stop();
    let daemon = project.start_daemon();
    assert!(roots().contains(&root.to_owned()), "the added project is watched after a restart");
    project.run_client(&["project", "remove", root]).assert_success();
    assert!(!roots().contains(&root.to_owned()));
    project.run_client(&["project", "remove", root]).assert_failure(1, "is not watched");
    drop(daemon);
}

#[test]
fn watch_adds_the_project_temporarily_and_again_after_a_restart() {
    let project = Project::complete();
    let other = Project::complete();
    let daemon = other.start_daemon();
    let mut command = other.client_command(&["watch", "--json"]);
    command.current_dir(&project.root);
    let mut live = RunningCommand::start(command);
    let state = live.next_json();
    let root = project.root.to_str().unwrap();
    assert_eq!(state["projects"].as_array().unwrap().len(), 1);
    assert_eq!(state["projects"][0]["root"], root);
    live.wait_for_stderr("is now watched until the daemon ends");
    write_file(&project.feature_dir().join("spec.md"), b"one\n");
    let mut paths = Vec::new();
    let mut wait_for_content = |live: &mut RunningCommand, text: &[u8]| loop {
        let event: Value = live.next_json();
        let payload = &event["payload"];
        paths.push(payload["relative_path"].clone());
        if payload["content_hash_sha256"] == sha256(text) {
            break;
        }
    };
    wait_for_content(&mut live, b"one\n");
    daemon.kill();
    live.wait_for_stderr("the connection to the daemon is lost");
    write_file(&project.feature_dir().join("spec.md"), b"two\n");
    let daemon = other.start_daemon();
    live.wait_for_stderr("the connection to the daemon is restored");
    wait_for_content(&mut live, b"two\n");
    live.interrupt();
    daemon.stop();
}

#[test]
fn features_are_selected_by_number_or_part_and_changed_by_number_only() {
    let project = Project::complete()
        .file("kitty-specs/002-loyalty-card/spec.md", "x")
        .file("kitty-specs/021-loyalty-points/spec.md", "x");
    let expected = project.run(&["drift", "002-loyalty-card"]).assert_success().stdout;
    for name in ["2", "002", "002-l", "card", "CARD"] {
        assert_eq!(project.run(&["drift", name]).assert_success().stdout, expected, "{name}");
    }
    let ambiguous = project.run(&["drift", "loyalty"]);
    ambiguous.assert_failure(1, "it may be 002-loyalty-card, 021-loyalty-points");
    project.run(&["drift", "nothing"]).assert_failure(1, "there is no feature `nothing`");
    project
        .run(&["baseline", "accept", "card"])
        .assert_failure(1, "`card` may be 002-loyalty-card");
    project.run(&["baseline", "accept", "2"]).assert_success();
    assert!(project.root.join(".kittify/dossiers/002-loyalty-card/parity-baseline.json").exists());
    let _daemon = project.start_daemon();
    assert_eq!(
        project.run_client(&["drift", "card", "--json"]).json()["feature_slug"],
        "002-loyalty-card"
    );
    assert!(project.run_client(&["status", "2"]).stdout.starts_with("002-loyalty-card\n"));
    // A part of a slug, too, is recognised if it is mistyped.
    for run in [project.run_client(&["drift", "pointers"]), project.run(&["drift", "pointers"])] {
        assert!(run.code == 1 && run.stderr.contains("021-loyalty-points"), "{run:?}");
    }
}

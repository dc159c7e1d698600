//! `dossierd events`: output, filters, cursors, gaps, and following over restarts of the daemon.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::client::RunningCommand;
use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::wait::wait_for;
use crate::support::{COMMAND_TIMEOUT, FEATURE, Project, run, write_file};

#[test]
fn events_are_printed_as_text_and_json_with_filters() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_for("the first evaluation", || {
        let page =
            daemon.get_json("/api/events?since=start&type=mission_dossier_snapshot_computed");
        (!page["events"].as_array().unwrap().is_empty()).then_some(())
    });
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    wait_for("parity", || {
        (daemon.overview(FEATURE)["drift"]["state"] == "in_parity").then_some(())
    });
    write_file(&project.feature_dir().join("spec.md"), b"# Spec, changed\n");
    daemon.export(FEATURE);
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    wait_for("the deletion", || (daemon.export(FEATURE)["required_missing"] == 1).then_some(()));

    let text = project.run_client(&["events"]).assert_success();
    insta::assert_snapshot!(project.redact(&text.stdout));

    let page = daemon.get_json("/api/events?since=start");
    let printed = project.run_client(&["events", "--json"]).assert_success().lines();
    assert_eq!(Value::from(printed), page["events"]);

    for (arguments, event_type) in [
        (&["--type", "artifact_missing"][..], "mission_dossier_artifact_missing"),
        (&["--type", "snapshot_computed", FEATURE], "mission_dossier_snapshot_computed"),
    ] {
        let run = project.run_client(&[&["events", "--json"], arguments].concat()).assert_success();
        let lines = run.lines();
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line["event_type"] == event_type),
            "{run:?}"
        );
    }
    let full_name =
        project.run_client(&["events", "--json", "--type", "mission_dossier_artifact_missing"]);
    let short_name =
        project.run_client(&["events", "--json", "--type", "artifact_missing"]).assert_success();
    assert_eq!(full_name.assert_success().stdout, short_name.stdout, "both names of the type");
    let by_path =
        project.run_client(&["events", "kitty-specs/001-x", "--json"]).assert_success().lines();
    assert_eq!(Value::from(by_path), page["events"]);
    for arguments in
        [&["events", "other"][..], &["events", "other", "--follow"], &["watch", "other"]]
    {
        project.run_client(arguments).assert_failure(1, "there is no feature `other`");
    }
    let since = format!("{}:3", daemon.status()["instance"].as_str().unwrap());
    let later =
        project.run_client(&["events", "--json", "--since", &since]).assert_success().lines();
    assert_eq!(later[0]["seq"], 4);
    assert_eq!(project.run_client(&["events", "--since", "now"]).assert_success().stdout, "");
    project
        .run_client(&["events", "--since", "yesterday"])
        .assert_failure(2, "`yesterday` is not a moment");
}

#[test]
fn moments_select_a_part_of_the_journal() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    for number in 0..40 {
        write_file(&project.feature_dir().join("spec.md"), format!("# {number}\n").as_bytes());
        daemon.export(FEATURE);
    }
    let all = project.run_client(&["events", "--json"]).assert_success().lines();
    let seq_of = |event: &Value| event["seq"].as_u64().unwrap();
    let seqs = |arguments: &[&str]| -> Vec<u64> {
        let arguments = [&["events", "--json"], arguments].concat();
        let lines = project.run_client(&arguments).assert_success().lines();
        lines.iter().map(seq_of).collect()
    };
    let expected = |is_within: &dyn Fn(&Value) -> bool| -> Vec<u64> {
        all.iter().filter(|event| is_within(event)).map(seq_of).collect()
    };
    let last = seq_of(all.last().unwrap());
    assert_eq!(seqs(&["--since", "@3", "--until", "@7"]), [4, 5, 6, 7]);
    assert_eq!(seqs(&["-n", "3"]), [last - 2, last - 1, last]);
    assert_eq!(seqs(&["-n", "2", "--until", "@9"]), [8, 9]);
    assert_eq!(seqs(&["--since", "1h"]), expected(&|_| true));
    assert_eq!(seqs(&["--until", "1h"]), [0_u64; 0]);
    // An event is within the millisecond that its time names.
    for event in all.iter().step_by(7) {
        let time = event["emitted_at"].as_str().unwrap();
        let emitted = |one: &Value| one["emitted_at"].as_str().unwrap().to_owned();
        assert_eq!(seqs(&["--since", time]), expected(&|one| *emitted(one) >= *time), "{time}");
        assert_eq!(seqs(&["--until", time]), expected(&|one| *emitted(one) <= *time), "{time}");
    }
    // Following ends where the range does.
    assert_eq!(seqs(&["--follow", "--since", "@3", "--until", "@5"]), [4, 5]);
    let watched = project.run_client(&["watch", "--json", "--since", "@3", "--until", "@5"]);
    let watched: Vec<u64> = watched.assert_success().lines().iter().map(seq_of).collect();
    assert_eq!(watched, [4, 5]);
    let past = project.run_client(&["watch", "--until", "1h"]);
    past.assert_failure(1, "`--until` is a time in the past");
    daemon.stop();
}

#[test]
fn events_are_printed_over_several_pages() {
    let project = Project::complete();
    for number in 0..2_500 {
        project.write(&format!("kitty-specs/{FEATURE}/notes/{number}.md"), "note\n");
    }
    let daemon = project.start_daemon();
    let lines = project.run_client(&["events", "--json"]).assert_success().lines();
    let numbers: Vec<u64> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=daemon.status()["seq"].as_u64().unwrap()).collect::<Vec<_>>());
    assert!(numbers.len() > 2_500);
}

#[test]
fn gap_is_reported_with_the_current_snapshots() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let since = "00000000-0000-4000-8000-000000000000:7";
    let text = project.run_client(&["events", "--since", since]).assert_success();
    assert!(text.stdout.starts_with("gap: "), "{text:?}");
    let lines =
        project.run_client(&["events", "--since", since, "--json"]).assert_success().lines();
    let status = daemon.status();
    let cursor = format!("{}:{}", status["instance"].as_str().unwrap(), status["seq"]);
    assert_eq!((&lines[0]["event_type"], &lines[0]["cursor"]), (&"gap".into(), &Value::Null));
    // Only the last snapshot has a cursor.
    let last = lines.last().unwrap();
    assert_eq!((&last["event_type"], &last["cursor"]), (&"snapshot".into(), &cursor.into()));
    assert_eq!(lines[1]["snapshot"]["feature_slug"], FEATURE);

    let mut live =
        RunningCommand::start(project.client_command(&["events", "--follow", "--since", since]));
    assert!(live.next_line().starts_with("gap: "), "the gap is printed first");
    write_file(&project.feature_dir().join("spec.md"), b"changed\n");
    assert!(live.next_line().contains("modified"), "live events follow");
    live.interrupt();
}

#[test]
fn gap_has_only_snapshots_of_the_selected_project_and_feature() {
    let project = Project::complete().file("kitty-specs/002-y/spec.md", "y\n");
    let second = project.root.parent().unwrap().join("second");
    write_file(&second.join("kitty-specs").join(FEATURE).join("spec.md"), b"second");
    let daemon = project.start_daemon_over(&[&second]);
    daemon.status();
    let second = second.to_str().unwrap();
    let snapshots = |arguments: &[&str]| -> Vec<Value> {
        let since = ["events", "--json", "--since", "elsewhere:7"];
        let lines = project.run_client(&[&since, arguments].concat()).assert_success().lines();
        assert_eq!(lines[0]["event_type"], "gap");
        lines[1..].iter().map(|line| line["snapshot"]["feature_slug"].clone()).collect()
    };
    assert_eq!(snapshots(&[]).len(), 2, "those of the project of the current directory");
    let outside = project.home();
    assert_eq!(snapshots(&["-C", outside.to_str().unwrap()]).len(), 3);
    assert_eq!(snapshots(&["--project", second]), [FEATURE]);
    let own = project.root.to_str().unwrap();
    assert_eq!(snapshots(&["--project", own, "002-y"]), ["002-y"]);
    assert_eq!(snapshots(&["002-y"]), ["002-y"]);
    assert_eq!(snapshots(&[FEATURE]).len(), 2, "both projects have the feature");

    let arguments = ["events", "--follow", "--json", "--since", "elsewhere:7", "--project", second];
    let mut live = RunningCommand::start(project.client_command(&arguments));
    let lines = [live.next_json(), live.next_json()];
    assert_eq!(lines.each_ref().map(|line| &line["event_type"]), ["gap", "snapshot"]);
    let cursors = lines.each_ref().map(|line| line["cursor"].is_string());
    assert_eq!(cursors, [false, true], "only the last snapshot has a cursor");
    write_file(&project.feature_dir().join("spec.md"), b"changed\n");
    daemon.export("002-y");
    write_file(
        &std::path::Path::new(second).join("kitty-specs").join(FEATURE).join("new.md"),
        b"new\n",
    );
    assert_eq!(
        live.next_json()["payload"]["relative_path"],
        "new.md",
        "no event of another project"
    );
    live.interrupt();

    for rest in [&[][..], &["--follow"], &[FEATURE], &["--follow", "--type", "artifact_missing"]] {
        let arguments = [&["events", "--project", "/nonexistent"], rest].concat();
        project.run_client(&arguments).assert_failure(1, "no project `/nonexistent` is watched");
    }
    daemon.stop();
}

#[test]
fn follow_continues_over_stops_and_kills_of_the_daemon() {
    let project = Project::complete();
    let mut daemon = project.start_daemon();
    let mut live = RunningCommand::start(project.client_command(&["events", "--follow", "--json"]));
    let mut journal = JournalReader::default();
    let mut received = vec![live.next_json()];
    for iteration in 0..6 {
        let path = project.feature_dir().join(format!("iteration-{iteration}.md"));
        write_file(&path, b"while it runs\n");
        if iteration % 2 == 0 {
            daemon.kill();
        } else {
            daemon.stop();
        }
        live.wait_for_stderr("the connection to the daemon is lost");
        live.stderr_lines.clear();
        write_file(&path, b"while it is stopped\n");
        write_file(&project.feature_dir().join("spec.md"), format!("{iteration}\n").as_bytes());
        daemon = project.start_daemon();
        live.wait_for_stderr("the connection to the daemon is restored");
        live.stderr_lines.clear();
    }
    assert_invariants(&project, &daemon, &mut journal);
    let last = journal.events.last().unwrap()["seq"].as_u64().unwrap();
    while received.last().is_none_or(|event: &Value| event["seq"] != last) {
        received.push(live.next_json());
    }
    assert_eq!(received, journal.events, "every event once, in order");
    let ids: BTreeSet<&str> = received.iter().map(|e| e["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), received.len());
    assert_eq!(live.interrupt(), Vec::<String>::new());
}

#[test]
fn closed_stdout_ends_following_commands_without_an_event() {
    let project = Project::complete();
    let _daemon = project.start_daemon();
    for arguments in [&["events", "--follow"][..], &["watch"], &["status", "--watch"]] {
        let mut command = project.client_command(arguments);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut String::new()).unwrap();
        drop(output);
        let status = wait_for("the command to exit", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{arguments:?}");
        let mut stderr = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
        // The first `watch` notes where versions are stored.
        let errors = stderr.lines().filter(|line| !line.starts_with("note: "));
        assert_eq!(errors.count(), 0, "{arguments:?}: {stderr}");
    }
}

#[test]
fn commands_that_need_a_daemon_exit_with_3() {
    let project = Project::complete();
    for arguments in [&["events"][..], &["events", "--follow"], &["verify"], &["rescan"], &["stop"]]
    {
        let run = project.run_client(arguments);
        run.assert_failure(3, "no daemon listens at");
        assert!(run.stderr.contains("`dossierd run`"), "the fix: {run:?}");
    }
}

#[test]
fn times_are_local_and_utc_on_request() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    daemon.export(FEATURE);
    let first_line = |arguments: &[&str]| {
        let mut command = project.client_command(arguments);
        command.env("TZ", "JST-9");
        let output = run(command, COMMAND_TIMEOUT).assert_success().stdout;
        output.split_whitespace().next().unwrap().to_owned()
    };
    let local = first_line(&["events"]);
    assert!(local.ends_with("+09:00"), "{local}");
    // A time that is shown can be given.
    let since = project.run_client(&["events", "--since", &local]).assert_success().stdout;
    let utc = first_line(&["events", "--utc"]);
    assert!(utc.ends_with('Z') && since.starts_with(&utc), "{utc}: {since}");
    daemon.stop();
}

//! `dossierd events`: the journal, filters, cursors, gaps, and going on over a daemon's death.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::client::Following;
use crate::support::daemon::{Journal, law, wait};
use crate::support::{FEATURE, Project, write};

#[test]
fn the_journal_in_words_and_as_it_is_stored() {
    let project = Project::complete();
    let daemon = project.daemon();
    wait("the first verdict", || {
        let page = daemon.json("/api/events?since=start&type=mission_dossier_snapshot_computed");
        (!page["events"].as_array().unwrap().is_empty()).then_some(())
    });
    project.run(&["baseline", "accept", FEATURE]).ok();
    wait("parity", || (daemon.overview(FEATURE)["drift"]["state"] == "in_parity").then_some(()));
    write(&project.feature().join("spec.md"), b"# Spec, changed\n");
    daemon.export(FEATURE);
    fs::remove_file(project.feature().join("plan.md")).unwrap();
    wait("the deletion", || (daemon.export(FEATURE)["required_missing"] == 1).then_some(()));

    let words = project.ask(&["events"]).ok();
    insta::assert_snapshot!(project.redacted(&words.stdout));

    let page = daemon.json("/api/events?since=start");
    let printed = project.ask(&["events", "--json"]).ok().lines();
    assert_eq!(Value::from(printed), page["events"]);

    for (arguments, of) in [
        (&["--type", "artifact_missing"][..], "mission_dossier_artifact_missing"),
        (&["--type", "snapshot_computed", FEATURE], "mission_dossier_snapshot_computed"),
    ] {
        let run = project.ask(&[&["events", "--json"], arguments].concat()).ok();
        let lines = run.lines();
        assert!(!lines.is_empty() && lines.iter().all(|line| line["event_type"] == of), "{run:?}");
    }
    let whole = project.ask(&["events", "--json", "--type", "mission_dossier_artifact_missing"]);
    let short = project.ask(&["events", "--json", "--type", "artifact_missing"]).ok();
    assert_eq!(whole.ok().stdout, short.stdout, "either name of a type");
    let by_path = project.ask(&["events", "kitty-specs/001-x", "--json"]).ok().lines();
    assert_eq!(Value::from(by_path), page["events"]);
    for arguments in
        [&["events", "other"][..], &["events", "other", "--follow"], &["watch", "other"]]
    {
        project.ask(arguments).fails(1, "there is no feature `other`");
    }
    let since = format!("{}:3", daemon.status()["instance"].as_str().unwrap());
    let later = project.ask(&["events", "--json", "--since", &since]).ok().lines();
    assert_eq!(later[0]["seq"], 4);
    assert_eq!(project.ask(&["events", "--since", "now"]).ok().stdout, "");
    project.ask(&["events", "--since", "yesterday"]).fails(2, "is no cursor");
}

#[test]
fn more_than_a_page() {
    let project = Project::complete();
    for number in 0..2_500 {
        project.write(&format!("kitty-specs/{FEATURE}/notes/{number}.md"), "note\n");
    }
    let daemon = project.daemon();
    let lines = project.ask(&["events", "--json"]).ok().lines();
    let numbers: Vec<u64> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=daemon.status()["seq"].as_u64().unwrap()).collect::<Vec<_>>());
    assert!(numbers.len() > 2_500);
}

#[test]
fn a_gap_is_said() {
    let project = Project::complete();
    let daemon = project.daemon();
    let since = "00000000-0000-4000-8000-000000000000:7";
    let words = project.ask(&["events", "--since", since]).ok();
    assert!(words.stdout.starts_with("gap: "), "{words:?}");
    let lines = project.ask(&["events", "--since", since, "--json"]).ok().lines();
    let status = daemon.status();
    let cursor = format!("{}:{}", status["instance"].as_str().unwrap(), status["seq"]);
    assert_eq!((&lines[0]["event_type"], &lines[0]["cursor"]), (&"gap".into(), &Value::Null));
    // The last of them says where to go on.
    let last = lines.last().unwrap();
    assert_eq!((&last["event_type"], &last["cursor"]), (&"snapshot".into(), &cursor.into()));
    assert_eq!(lines[1]["snapshot"]["feature_slug"], FEATURE);

    let mut live = Following::start(project.client(&["events", "--follow", "--since", since]));
    assert!(live.line().starts_with("gap: "), "then live");
    write(&project.feature().join("spec.md"), b"changed\n");
    assert!(live.line().contains("modified"), "what follows");
    live.interrupt();
}

#[test]
fn of_one_project_and_feature_is_said_what_is_of_them_also_after_a_gap() {
    let project = Project::complete().file("kitty-specs/002-y/spec.md", "y\n");
    let second = project.root.parent().unwrap().join("second");
    write(&second.join("kitty-specs").join(FEATURE).join("spec.md"), b"second");
    let mut command = project.daemon_command();
    command.arg(&second);
    let daemon = project.spawn(command);
    daemon.ready();
    daemon.status();
    let second = second.to_str().unwrap();
    let snapshots = |arguments: &[&str]| -> Vec<Value> {
        let since = ["events", "--json", "--since", "elsewhere:7"];
        let lines = project.ask(&[&since, arguments].concat()).ok().lines();
        assert_eq!(lines[0]["event_type"], "gap");
        lines[1..].iter().map(|line| line["snapshot"]["feature_slug"].clone()).collect()
    };
    assert_eq!(snapshots(&[]).len(), 3);
    assert_eq!(snapshots(&["--project", second]), [FEATURE]);
    let own = project.root.to_str().unwrap();
    assert_eq!(snapshots(&["--project", own, "002-y"]), ["002-y"]);
    assert_eq!(snapshots(&["002-y"]), ["002-y"]);
    assert_eq!(snapshots(&[FEATURE]).len(), 2, "both have it");

    let arguments = ["events", "--follow", "--json", "--since", "elsewhere:7", "--project", second];
    let mut live = Following::start(project.client(&arguments));
    let lines = [live.json(), live.json()];
    assert_eq!(lines.each_ref().map(|line| &line["event_type"]), ["gap", "snapshot"]);
    let cursors = lines.each_ref().map(|line| line["cursor"].is_string());
    assert_eq!(cursors, [false, true], "where to go on is said when the state is whole");
    write(&project.feature().join("spec.md"), b"changed\n");
    daemon.export("002-y");
    write(&std::path::Path::new(second).join("kitty-specs").join(FEATURE).join("new.md"), b"new\n");
    assert_eq!(live.json()["payload"]["relative_path"], "new.md", "nothing of another");
    live.interrupt();

    for rest in [&[][..], &["--follow"], &[FEATURE], &["--follow", "--type", "artifact_missing"]] {
        let arguments = [&["events", "--project", "/nonexistent"], rest].concat();
        project.ask(&arguments).fails(1, "no project `/nonexistent` is watched");
    }
    daemon.stop();
}

#[test]
fn following_goes_on_where_it_was_whatever_becomes_of_the_daemon() {
    let project = Project::complete();
    let mut daemon = project.daemon();
    let mut live = Following::start(project.client(&["events", "--follow", "--json"]));
    let mut journal = Journal::default();
    let mut seen = vec![live.json()];
    for round in 0..6 {
        let path = project.feature().join(format!("round-{round}.md"));
        write(&path, b"while it runs\n");
        if round % 2 == 0 {
            daemon.kill();
        } else {
            daemon.stop();
        }
        live.says("the daemon is away");
        live.errors.clear();
        write(&path, b"while it is away\n");
        write(&project.feature().join("spec.md"), format!("{round}\n").as_bytes());
        daemon = project.daemon();
        live.says("the daemon is back");
        live.errors.clear();
    }
    law(&project, &daemon, &mut journal);
    let last = journal.events.last().unwrap()["seq"].as_u64().unwrap();
    while seen.last().is_none_or(|event: &Value| event["seq"] != last) {
        seen.push(live.json());
    }
    assert_eq!(seen, journal.events, "every event once, in order");
    let ids: BTreeSet<&str> = seen.iter().map(|e| e["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), seen.len());
    assert_eq!(live.interrupt(), Vec::<String>::new());
}

#[test]
fn a_reader_that_goes_away_ends_it_though_nothing_happens() {
    let project = Project::complete();
    let _daemon = project.daemon();
    for arguments in [&["events", "--follow"][..], &["watch"], &["status", "--watch"]] {
        let mut command = project.client(arguments);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut String::new()).unwrap();
        drop(output);
        let ended = wait("its end", || child.try_wait().unwrap());
        assert_eq!(ended.code(), Some(0), "{arguments:?}");
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
        assert_eq!(said, "", "{arguments:?}");
    }
}

#[test]
fn it_needs_the_daemon() {
    let project = Project::complete();
    for arguments in [&["events"][..], &["events", "--follow"], &["verify"], &["rescan"], &["stop"]]
    {
        let run = project.ask(arguments);
        run.fails(3, "no daemon answers at");
        assert!(run.stderr.contains("`dossierd run`"), "the mend: {run:?}");
    }
}

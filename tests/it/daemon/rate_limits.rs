//! How often the daemon says something, and how loudly.

use serde_json::Value;

use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, write_file};

#[test]
fn verdicts_on_a_feature_are_at_most_ten_a_second_and_the_last_is_said() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let spec = project.feature_dir().join("spec.md");
    let verdicts = |events: &[Value]| -> Vec<Value> {
        let of = |event: &&Value| event["event_type"] == "mission_dossier_snapshot_computed";
        events.iter().filter(of).cloned().collect()
    };
    let (mut number, mut events) = (0, Vec::new());
    wait_for("verdicts while it goes on", || {
        number += 1;
        write_file(&spec, format!("{number}\n").as_bytes());
        events.extend(journal.read_new(&daemon));
        (verdicts(&events).len() >= 5).then_some(())
    });
    events.extend(assert_invariants(&project, &daemon, &mut journal));
    let verdicts = verdicts(&events);
    let at = |event: &Value| {
        let text = event["emitted_at"].as_str().unwrap();
        chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    };
    for pair in verdicts.windows(2) {
        // Each is cut off to a millisecond.
        assert!(at(&pair[1]) - at(&pair[0]) >= 99, "{pair:#?}");
    }
    let last = &verdicts.last().unwrap()["payload"];
    let export = daemon.export(FEATURE);
    assert_eq!(last["tree_hash_sha256"], export["tree_hash_sha256"]);
    daemon.stop();
}

#[test]
fn what_is_logged_the_flag_says_before_the_environment_and_that_before_the_configuration() {
    let project = Project::complete().config("log: error\n");
    let log = |flag: Option<&str>, environment: Option<&str>| {
        let mut command = project.daemon_command();
        if let Some(level) = flag {
            command.args(["--log", level]);
        }
        match environment {
            Some(level) => command.env("DOSSIERD_LOG", level),
            None => command.env_remove("DOSSIERD_LOG"),
        };
        std::fs::remove_file(project.home().join("daemon.log")).ok();
        let daemon = project.spawn_daemon(command);
        daemon.wait_until_ready();
        let log = daemon.log();
        daemon.stop();
        log
    };
    assert!(!log(None, None).contains("watching"));
    assert!(log(None, Some("info")).contains("watching"));
    assert!(!log(Some("error"), Some("info")).contains("watching"));
    assert!(log(Some("warn,dossierd::engine=info"), Some("error")).contains("watching"));
}

#[test]
fn a_snapshot_says_when_it_was_computed_and_its_file_is_the_same() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let scanned =
        |daemon: &Daemon| daemon.overview(FEATURE)["last_scanned_at"].as_str().unwrap().to_owned();
    let before = (daemon.export(FEATURE), scanned(&daemon));
    write_file(&project.feature_dir().join("new.md"), b"new\n");
    let events = assert_invariants(&project, &daemon, &mut journal);
    let export = daemon.export(FEATURE);
    let said = events.iter().rfind(|event| event["payload"]["snapshot_id"].is_string()).unwrap();
    assert_eq!(export["snapshot_id"], said["payload"]["snapshot_id"]);
    assert_eq!(export["computed_at"], said["emitted_at"]);
    assert!(export["computed_at"].as_str() > before.0["computed_at"].as_str());
    let now = scanned(&daemon);
    assert!(now > before.1, "{now} after {}", before.1);
    project.run_client(&["rescan"]).assert_success();
    assert_eq!(daemon.export(FEATURE), export, "computed once");
    daemon.stop();

    let file = project.root.join(format!(".kittify/dossiers/{FEATURE}/snapshot-latest.json"));
    let written = || -> Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    assert_eq!(written(), export);
    let daemon = project.start_daemon();
    assert_eq!(daemon.export(FEATURE), export, "also in another life");
    daemon.stop();
    assert_eq!(written(), export);
}

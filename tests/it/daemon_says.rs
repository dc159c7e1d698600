//! How often the daemon says something, and how loudly.

use serde_json::Value;

use super::support::daemon::{Journal, law, wait};
use super::support::{FEATURE, Project, write};

#[test]
fn verdicts_on_a_feature_are_at_most_ten_a_second_and_the_last_is_said() {
    let project = Project::complete();
    let daemon = project.daemon();
    let mut journal = Journal::default();
    law(&project, &daemon, &mut journal);
    let spec = project.feature().join("spec.md");
    let verdicts = |events: &[Value]| -> Vec<Value> {
        let of = |event: &&Value| event["event_type"] == "mission_dossier_snapshot_computed";
        events.iter().filter(of).cloned().collect()
    };
    let (mut number, mut events) = (0, Vec::new());
    wait("verdicts while it goes on", || {
        number += 1;
        write(&spec, format!("{number}\n").as_bytes());
        events.extend(journal.read(&daemon));
        (verdicts(&events).len() >= 5).then_some(())
    });
    events.extend(law(&project, &daemon, &mut journal));
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
        let daemon = project.spawn(command);
        daemon.ready();
        let log = daemon.log();
        daemon.stop();
        log
    };
    assert!(!log(None, None).contains("watching"));
    assert!(log(None, Some("info")).contains("watching"));
    assert!(!log(Some("error"), Some("info")).contains("watching"));
    assert!(log(Some("warn,dossierd::engine=info"), Some("error")).contains("watching"));
}

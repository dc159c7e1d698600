//! What the daemon shows of what it may not, or cannot, see: what the configuration leaves out, a root
//! that is away, folders for which there is no watch.

use std::fs;

use serde_json::Value;

use super::support::daemon::{Daemon, wait};
use super::support::kernel::{by, works};
use super::support::{FEATURE, Project, write};

fn slugs(daemon: &Daemon) -> Vec<String> {
    let status = daemon.status();
    let features = status["projects"][0]["features"].as_array().unwrap().clone();
    features.iter().map(|one| one["feature_slug"].as_str().unwrap().to_owned()).collect()
}

fn has(daemon: &Daemon, path: &str) -> bool {
    let export = daemon.export(FEATURE);
    let mut all = export["artifact_summaries"].as_array().unwrap().iter();
    all.any(|artifact| artifact["relative_path"] == path)
}

/// What was said to be missing, and why.
fn missing(daemon: &Daemon) -> Vec<(String, String, Value)> {
    let page = daemon.json("/api/events?since=start&type=artifact_missing");
    let events = page["events"].as_array().unwrap().clone();
    let said = events.iter().map(|event| {
        let payload = &event["payload"];
        let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
        (text("relative_path"), text("reason_code"), payload["reason_detail"].clone())
    });
    said.collect()
}

#[test]
fn what_leaves_by_configuration_is_not_deleted() {
    let wide = "projects: [{path: ROOT, features: ['kitty-specs/*', 'docs/*']}]\n";
    let narrow = "projects: [{path: ROOT, features: ['kitty-specs/*'], ignore: [notes]}]\n";
    let project = Project::complete()
        .artifact("notes/deep/a.md", "a\n")
        .file("docs/002-y/spec.md", "y\n")
        .config(wide);
    let daemon = project.daemon();
    assert_eq!(slugs(&daemon), [FEATURE, "002-y"]);
    assert!(has(&daemon, "notes/deep/a.md"));
    let before = missing(&daemon);

    let as_config = |text: &str| {
        let text = text.replace("ROOT", project.root.to_str().unwrap());
        write(&project.config_file(), text.as_bytes());
    };
    as_config(narrow);
    wait("the narrower view", || (slugs(&daemon) == [FEATURE]).then_some(()));
    wait("what is ignored to leave", || (!has(&daemon, "notes/deep/a.md")).then_some(()));
    let said = missing(&daemon).split_off(before.len());
    let why = Value::from("ignored by the configuration");
    assert_eq!(said, [("notes/deep/a.md".to_owned(), "unreadable".to_owned(), why)]);
    let list = daemon.json(&format!("/api/dossier/artifacts?feature={FEATURE}"));
    assert_eq!(list["tombstones"], 0);
    daemon.get("/api/dossier/overview?feature=002-y&sync=true").problem(404, "not_found");

    // What is deleted while it is not looked at is no news either, nor what is ignored at a start.
    daemon.stop();
    let daemon = project.daemon();
    assert_eq!(slugs(&daemon), [FEATURE]);
    assert_eq!(missing(&daemon).len(), before.len() + 1);

    as_config(wide);
    wait("the wider view", || (slugs(&daemon) == [FEATURE, "002-y"]).then_some(()));
    wait("what was ignored", || has(&daemon, "notes/deep/a.md").then_some(()));
    fs::remove_file(project.feature().join("notes/deep/a.md")).unwrap();
    wait("a deletion", || (!has(&daemon, "notes/deep/a.md")).then_some(()));
    assert_eq!(missing(&daemon).last().unwrap().1, "deleted_after_scan");
    daemon.stop();
}

#[test]
fn of_a_root_that_is_away_nothing_is_said_to_be_deleted() {
    let project = Project::complete();
    let daemon = project.daemon();
    let target = format!("/api/dossier/artifacts/input.spec.main?feature={FEATURE}");
    assert_eq!(daemon.json(&target)["content"], "# Spec\n");
    let away = project.root.with_file_name("away");
    fs::rename(&project.root, &away).unwrap();
    project.wait_for_watch(&daemon, "root_unavailable");
    let spec = daemon.json(&target);
    assert_eq!(
        spec["truncation_notice"],
        "the project's root is away, so the content cannot be read"
    );
    assert_eq!((&spec["is_present"], &spec["content"]), (&true.into(), &Value::Null));
    fs::rename(&away, &project.root).unwrap();
    wait("its content", || (daemon.json(&target)["content"] == "# Spec\n").then_some(()));
    daemon.stop();
}

#[test]
fn where_no_watch_is_left_a_baseline_is_accepted_and_cleared_all_the_same() {
    let project = Project::complete();
    for number in 0..30 {
        project.write(&format!("kitty-specs/{FEATURE}/research/{number}/a.md"), "one\n");
    }
    let script = "echo 6 > /proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"";
    let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", script];
    let mut trial: Vec<&str> = wrapper.to_vec();
    trial.push("true");
    if !works("accepting where no watch is left", &trial) {
        return;
    }
    let daemon = project.spawn(by(&wrapper, &project.daemon_command()));
    daemon.ready();
    assert_eq!(project.watch(&daemon).0, "degraded");
    let target = format!("/api/dossier/baseline?feature={FEATURE}");
    for round in 0..2 {
        let accepted = daemon.ask("POST", &target, "");
        assert_eq!(accepted.status, 200, "round {round}: {accepted:?}");
        assert_eq!(accepted.json()["drift"]["state"], "in_parity");
        let cleared = daemon.ask("DELETE", &target, "");
        assert_eq!(cleared.status, 200, "round {round}: {cleared:?}");
        assert_eq!(cleared.json()["drift"]["state"], "no_baseline");
    }
    daemon.stop();
}

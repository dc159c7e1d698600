//! Artifacts and features that the daemon cannot see: excluded by the configuration, below an
//! unavailable root, or in directories without a watch.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rusqlite::Connection;
use serde_json::Value;

use crate::support::invariants::artifact_changes;
use crate::support::kernel::{can_run, wrap_command};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, write_file};

fn slugs(daemon: &Daemon) -> Vec<String> {
    let status = daemon.status();
    let features = status["projects"][0]["features"].as_array().unwrap().clone();
    features.iter().map(|feature| feature["feature_slug"].as_str().unwrap().to_owned()).collect()
}

/// Returns true if the feature has an artifact with this path.
fn has_artifact(daemon: &Daemon, path: &str) -> bool {
    let export = daemon.export(FEATURE);
    let mut artifacts = export["artifact_summaries"].as_array().unwrap().iter();
    artifacts.any(|artifact| artifact["relative_path"] == path)
}

/// Returns path, reason code and reason detail of every `artifact_missing` event.
fn missing_events(daemon: &Daemon) -> Vec<(String, String, Value)> {
    let page = daemon.get_json("/api/events?since=start&type=artifact_missing");
    let events = page["events"].as_array().unwrap().clone();
    let missing = events.iter().map(|event| {
        let payload = &event["payload"];
        let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
        (text("relative_path"), text("reason_code"), payload["reason_detail"].clone())
    });
    missing.collect()
}

#[test]
fn removal_from_configuration_is_not_reported_as_deletion() {
    let wide = "projects: [{path: ROOT, features: ['kitty-specs/*', 'docs/*']}]\n";
    let narrow = "projects: [{path: ROOT, features: ['kitty-specs/*'], ignore: [notes]}]\n";
    let project = Project::complete()
        .artifact("notes/deep/a.md", "a\n")
        .file("docs/002-y/spec.md", "y\n")
        .config(wide);
    let daemon = project.start_daemon();
    assert_eq!(slugs(&daemon), [FEATURE, "002-y"]);
    assert!(has_artifact(&daemon, "notes/deep/a.md"));
    let before = missing_events(&daemon);

    let write_config = |text: &str| {
        let text = text.replace("ROOT", project.root.to_str().unwrap());
        write_file(&project.config_file(), text.as_bytes());
    };
    write_config(narrow);
    wait_for("the feature to be removed", || (slugs(&daemon) == [FEATURE]).then_some(()));
    wait_for("the ignored artifact to be removed", || {
        (!has_artifact(&daemon, "notes/deep/a.md")).then_some(())
    });
    let new = missing_events(&daemon).split_off(before.len());
    let reason = Value::from("ignored by the configuration");
    assert_eq!(new, [("notes/deep/a.md".to_owned(), "unreadable".to_owned(), reason)]);
    let list = daemon.get_json(&format!("/api/dossier/artifacts?feature={FEATURE}"));
    assert_eq!(list["tombstones"], 0);
    daemon.get("/api/dossier/overview?feature=002-y&sync=true").assert_problem(404, "not_found");

    // A restart reports neither the removed feature nor the ignored artifact.
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(slugs(&daemon), [FEATURE]);
    assert_eq!(missing_events(&daemon).len(), before.len() + 1);

    write_config(wide);
    wait_for("the feature to be added", || (slugs(&daemon) == [FEATURE, "002-y"]).then_some(()));
    wait_for("the artifact that was ignored", || {
        has_artifact(&daemon, "notes/deep/a.md").then_some(())
    });
    fs::remove_file(project.feature_dir().join("notes/deep/a.md")).unwrap();
    wait_for("the deletion", || (!has_artifact(&daemon, "notes/deep/a.md")).then_some(()));
    assert_eq!(missing_events(&daemon).last().unwrap().1, "deleted_after_scan");
    daemon.stop();
}

/// Returns the artifact changes of a feature after a sequence number.
fn changes_since(daemon: &Daemon, feature: &str, since: usize) -> Vec<(String, String)> {
    let page = daemon.get_json(&format!("/api/events?since=start&feature={feature}"));
    let events = page["events"].as_array().unwrap();
    let since = u64::try_from(since).unwrap();
    let new = events.iter().filter(|event| event["seq"].as_u64().unwrap() > since);
    artifact_changes(&new.cloned().collect::<Vec<_>>())
}

/// Returns the number of the last event, after all earlier changes were processed.
fn last_seq(daemon: &Daemon) -> usize {
    daemon.get_json("/api/status?sync=true");
    daemon.get_json("/api/events?since=start")["events"].as_array().unwrap().len()
}

/// Returns slug and directory of each feature in the store.
fn stored_features(project: &Project) -> Vec<(String, Option<String>)> {
    let store = Connection::open(project.state_dir().join("dossierd.sqlite3")).unwrap();
    let sql = "SELECT slug, CAST(dir AS TEXT) FROM feature ORDER BY slug";
    let mut rows = store.prepare(sql).unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn stored(slug: &str, dir: &str) -> (String, Option<String>) {
    (slug.to_owned(), Some(format!("{dir}/{slug}")))
}

#[test]
fn removal_from_configuration_while_stopped_is_not_reported_as_deletion() {
    let set_patterns = |patterns: &str, project: &Project| {
        let text = format!("projects: [{{path: ROOT, features: [{patterns}]}}]\n");
        let text = text.replace("ROOT", project.root.to_str().unwrap());
        write_file(&project.config_file(), text.as_bytes());
    };
    let wide = "'kitty-specs/*', 'docs/*', 'more/*'";
    let project = Project::complete();
    for path in ["docs/002-y/spec.md", "docs/003-z/spec.md", "docs/004-hidden/spec.md"] {
        project.write(path, "text\n");
    }
    fs::create_dir(project.root.join("more")).unwrap();
    set_patterns(wide, &project);
    let daemon = project.start_daemon();
    assert_eq!(slugs(&daemon), [FEATURE, "002-y", "003-z", "004-hidden"]);
    let first = changes_since(&daemon, "002-y", 0);
    assert!(first.contains(&("added".to_owned(), "spec.md".to_owned())), "{first:?}");
    // A feature moves before the daemon stops.
    fs::rename(project.root.join("docs/002-y"), project.root.join("more/002-y")).unwrap();
    let before = last_seq(&daemon);
    daemon.stop();
    let expected = [
        stored(FEATURE, "kitty-specs"),
        stored("002-y", "more"),
        stored("003-z", "docs"),
        stored("004-hidden", "docs"),
    ];
    assert_eq!(stored_features(&project), expected);

    // While it is stopped, the patterns stop matching three features; one of them is deleted, and
    // one has an unreadable directory.
    set_patterns("'kitty-specs/*'", &project);
    fs::remove_dir_all(project.root.join("docs/003-z")).unwrap();
    let hidden = project.root.join("docs/004-hidden");
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o000)).unwrap();
    let bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let wrapper = if rustix::process::geteuid().is_root() { &bound[..] } else { &["env"] };
    let daemon = project.spawn_daemon(wrap_command(wrapper, &project.daemon_command()));
    daemon.wait_until_ready();
    assert_eq!(slugs(&daemon), [FEATURE, "003-z"]);
    daemon.get("/api/dossier/overview?feature=002-y&sync=true").assert_problem(404, "not_found");
    for feature in [FEATURE, "002-y", "004-hidden"] {
        assert_eq!(changes_since(&daemon, feature, before), [], "{feature}");
    }
    let deleted = ("deleted_after_scan".to_owned(), "spec.md".to_owned());
    assert!(changes_since(&daemon, "003-z", before).contains(&deleted));
    let between = last_seq(&daemon);
    daemon.stop();
    assert_eq!(
        stored_features(&project),
        [stored(FEATURE, "kitty-specs"), stored("003-z", "docs")]
    );

    // A feature that the patterns match again is indexed as new, as after a removal while running.
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o755)).unwrap();
    set_patterns(wide, &project);
    let daemon = project.start_daemon();
    assert_eq!(slugs(&daemon), [FEATURE, "002-y", "003-z", "004-hidden"]);
    assert_eq!(changes_since(&daemon, "002-y", between), first);
    assert_eq!(changes_since(&daemon, FEATURE, between), []);
    daemon.stop();
}

#[test]
fn feature_dir_missing_in_old_store_is_filled_in_when_the_feature_is_found() {
    let narrow = "projects: [{path: ROOT, features: ['kitty-specs/*']}]\n";
    let project = Project::complete()
        .file("docs/002-y/spec.md", "y\n")
        .config(&narrow.replace("['kitty-specs/*']", "['*/002-y', 'kitty-specs/*']"));
    let downgrade = || {
        let store = Connection::open(project.state_dir().join("dossierd.sqlite3")).unwrap();
        assert_eq!(store.execute("UPDATE feature SET dir = NULL", []).unwrap(), 2);
    };
    let daemon = project.start_daemon();
    let before = last_seq(&daemon);
    daemon.stop();
    let known = [stored(FEATURE, "kitty-specs"), stored("002-y", "docs")];
    assert_eq!(stored_features(&project), known);

    downgrade();
    let daemon = project.start_daemon();
    assert_eq!(last_seq(&daemon), before, "filling in the directory is not an event");
    daemon.stop();
    assert_eq!(stored_features(&project), known);

    // Without a stored directory, a feature that the patterns no longer match looks like a
    // deleted one.
    downgrade();
    let narrow = narrow.replace("ROOT", project.root.to_str().unwrap());
    write_file(&project.config_file(), narrow.as_bytes());
    let daemon = project.start_daemon();
    daemon.get_json("/api/status?sync=true");
    let deleted = ("deleted_after_scan".to_owned(), "spec.md".to_owned());
    assert!(changes_since(&daemon, "002-y", before).contains(&deleted));
    assert_eq!(changes_since(&daemon, FEATURE, before), []);
    daemon.stop();
    assert_eq!(
        stored_features(&project),
        [stored(FEATURE, "kitty-specs"), ("002-y".to_owned(), None)]
    );
}

#[test]
fn unavailable_root_reports_no_deletion() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let target = format!("/api/dossier/artifacts/input.spec.main?feature={FEATURE}");
    assert_eq!(daemon.get_json(&target)["content"], "# Spec\n");
    let away = project.root.with_file_name("away");
    fs::rename(&project.root, &away).unwrap();
    project.wait_for_watch(&daemon, "root_unavailable");
    let spec = daemon.get_json(&target);
    assert_eq!(
        spec["truncation_notice"],
        "the project's root is unavailable, so the content cannot be read"
    );
    assert_eq!((&spec["is_present"], &spec["content"]), (&true.into(), &Value::Null));
    fs::rename(&away, &project.root).unwrap();
    wait_for("the content to be readable again", || {
        (daemon.get_json(&target)["content"] == "# Spec\n").then_some(())
    });
    daemon.stop();
}

#[test]
fn baseline_is_accepted_and_cleared_when_no_inotify_watch_is_available() {
    let project = Project::complete();
    for number in 0..30 {
        project.write(&format!("kitty-specs/{FEATURE}/research/{number}/a.md"), "one\n");
    }
    let script = "echo 6 > /proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"";
    let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", script];
    let mut trial: Vec<&str> = wrapper.to_vec();
    trial.push("true");
    if !can_run("accepting a baseline when no watch is available", &trial) {
        return;
    }
    let daemon = project.spawn_daemon(wrap_command(&wrapper, &project.daemon_command()));
    daemon.wait_until_ready();
    assert_eq!(project.watch_status(&daemon).state, "degraded");
    let target = format!("/api/dossier/baseline?feature={FEATURE}");
    for round in 0..2 {
        let accepted = daemon.request("POST", &target, "");
        assert_eq!(accepted.status, 200, "round {round}: {accepted:?}");
        assert_eq!(accepted.json()["drift"]["state"], "in_parity");
        let cleared = daemon.request("DELETE", &target, "");
        assert_eq!(cleared.status, 200, "round {round}: {cleared:?}");
        assert_eq!(cleared.json()["drift"]["state"], "no_baseline");
    }
    daemon.stop();
}

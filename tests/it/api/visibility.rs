//! What the daemon shows of what it may not, or cannot, see: what the configuration leaves out, a root
//! that is away, directories for which there is no watch.

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
    features.iter().map(|one| one["feature_slug"].as_str().unwrap().to_owned()).collect()
}

fn has(daemon: &Daemon, path: &str) -> bool {
    let export = daemon.export(FEATURE);
    let mut all = export["artifact_summaries"].as_array().unwrap().iter();
    all.any(|artifact| artifact["relative_path"] == path)
}

/// What was said to be missing, and why.
fn missing(daemon: &Daemon) -> Vec<(String, String, Value)> {
    let page = daemon.get_json("/api/events?since=start&type=artifact_missing");
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
    let daemon = project.start_daemon();
    assert_eq!(slugs(&daemon), [FEATURE, "002-y"]);
    assert!(has(&daemon, "notes/deep/a.md"));
    let before = missing(&daemon);

    let as_config = |text: &str| {
        let text = text.replace("ROOT", project.root.to_str().unwrap());
        write_file(&project.config_file(), text.as_bytes());
    };
    as_config(narrow);
    wait_for("the narrower view", || (slugs(&daemon) == [FEATURE]).then_some(()));
    wait_for("what is ignored to leave", || (!has(&daemon, "notes/deep/a.md")).then_some(()));
    let said = missing(&daemon).split_off(before.len());
    let why = Value::from("ignored by the configuration");
    assert_eq!(said, [("notes/deep/a.md".to_owned(), "unreadable".to_owned(), why)]);
    let list = daemon.get_json(&format!("/api/dossier/artifacts?feature={FEATURE}"));
    assert_eq!(list["tombstones"], 0);
    daemon.get("/api/dossier/overview?feature=002-y&sync=true").assert_problem(404, "not_found");

    // What is deleted while it is not looked at is no news either, nor what is ignored at a start.
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(slugs(&daemon), [FEATURE]);
    assert_eq!(missing(&daemon).len(), before.len() + 1);

    as_config(wide);
    wait_for("the wider view", || (slugs(&daemon) == [FEATURE, "002-y"]).then_some(()));
    wait_for("what was ignored", || has(&daemon, "notes/deep/a.md").then_some(()));
    fs::remove_file(project.feature_dir().join("notes/deep/a.md")).unwrap();
    wait_for("a deletion", || (!has(&daemon, "notes/deep/a.md")).then_some(()));
    assert_eq!(missing(&daemon).last().unwrap().1, "deleted_after_scan");
    daemon.stop();
}

/// What the journal says of a feature from a number on.
fn said(daemon: &Daemon, feature: &str, since: usize) -> Vec<(String, String)> {
    let page = daemon.get_json(&format!("/api/events?since=start&feature={feature}"));
    let events = page["events"].as_array().unwrap();
    let since = u64::try_from(since).unwrap();
    let new = events.iter().filter(|event| event["seq"].as_u64().unwrap() > since);
    artifact_changes(&new.cloned().collect::<Vec<_>>())
}

/// Number of the last event, once nothing more is to come.
fn last(daemon: &Daemon) -> usize {
    daemon.get_json("/api/status?sync=true");
    daemon.get_json("/api/events?since=start")["events"].as_array().unwrap().len()
}

/// What the store keeps: each feature and its directory.
fn kept(project: &Project) -> Vec<(String, Option<String>)> {
    let store = Connection::open(project.state_dir().join("dossierd.sqlite3")).unwrap();
    let sql = "SELECT slug, CAST(dir AS TEXT) FROM feature ORDER BY slug";
    let mut rows = store.prepare(sql).unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn at(slug: &str, dir: &str) -> (String, Option<String>) {
    (slug.to_owned(), Some(format!("{dir}/{slug}")))
}

#[test]
fn what_left_the_configuration_while_no_daemon_ran_is_not_deleted_either() {
    let of = |patterns: &str, project: &Project| {
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
    of(wide, &project);
    let daemon = project.start_daemon();
    assert_eq!(slugs(&daemon), [FEATURE, "002-y", "003-z", "004-hidden"]);
    let first = said(&daemon, "002-y", 0);
    assert!(first.contains(&("added".to_owned(), "spec.md".to_owned())), "{first:?}");
    // One of them lies elsewhere when the daemon ends.
    fs::rename(project.root.join("docs/002-y"), project.root.join("more/002-y")).unwrap();
    let before = last(&daemon);
    daemon.stop();
    let all = [
        at(FEATURE, "kitty-specs"),
        at("002-y", "more"),
        at("003-z", "docs"),
        at("004-hidden", "docs"),
    ];
    assert_eq!(kept(&project), all);

    // Another leaves as well, and is deleted; of the last nothing but its directory can be seen.
    of("'kitty-specs/*'", &project);
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
        assert_eq!(said(&daemon, feature, before), [], "{feature}");
    }
    let deleted = ("deleted_after_scan".to_owned(), "spec.md".to_owned());
    assert!(said(&daemon, "003-z", before).contains(&deleted));
    let between = last(&daemon);
    daemon.stop();
    assert_eq!(kept(&project), [at(FEATURE, "kitty-specs"), at("003-z", "docs")]);

    // What is meant again is seen for the first time, as where it left while a daemon ran.
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o755)).unwrap();
    of(wide, &project);
    let daemon = project.start_daemon();
    assert_eq!(slugs(&daemon), [FEATURE, "002-y", "003-z", "004-hidden"]);
    assert_eq!(said(&daemon, "002-y", between), first);
    assert_eq!(said(&daemon, FEATURE, between), []);
    daemon.stop();
}

#[test]
fn of_what_an_older_format_holds_no_folder_is_known_until_it_is_seen() {
    let narrow = "projects: [{path: ROOT, features: ['kitty-specs/*']}]\n";
    let project = Project::complete()
        .file("docs/002-y/spec.md", "y\n")
        .config(&narrow.replace("['kitty-specs/*']", "['*/002-y', 'kitty-specs/*']"));
    let as_older = || {
        let store = Connection::open(project.state_dir().join("dossierd.sqlite3")).unwrap();
        assert_eq!(store.execute("UPDATE feature SET dir = NULL", []).unwrap(), 2);
    };
    let daemon = project.start_daemon();
    let before = last(&daemon);
    daemon.stop();
    let known = [at(FEATURE, "kitty-specs"), at("002-y", "docs")];
    assert_eq!(kept(&project), known);

    as_older();
    let daemon = project.start_daemon();
    assert_eq!(last(&daemon), before, "where it lies is no news");
    daemon.stop();
    assert_eq!(kept(&project), known);

    // Where it is not known nothing tells what left from what is gone.
    as_older();
    let narrow = narrow.replace("ROOT", project.root.to_str().unwrap());
    write_file(&project.config_file(), narrow.as_bytes());
    let daemon = project.start_daemon();
    daemon.get_json("/api/status?sync=true");
    let deleted = ("deleted_after_scan".to_owned(), "spec.md".to_owned());
    assert!(said(&daemon, "002-y", before).contains(&deleted));
    assert_eq!(said(&daemon, FEATURE, before), []);
    daemon.stop();
    assert_eq!(kept(&project), [at(FEATURE, "kitty-specs"), ("002-y".to_owned(), None)]);
}

#[test]
fn of_a_root_that_is_away_nothing_is_said_to_be_deleted() {
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
        "the project's root is away, so the content cannot be read"
    );
    assert_eq!((&spec["is_present"], &spec["content"]), (&true.into(), &Value::Null));
    fs::rename(&away, &project.root).unwrap();
    wait_for("its content", || (daemon.get_json(&target)["content"] == "# Spec\n").then_some(()));
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
    if !can_run("accepting where no watch is left", &trial) {
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

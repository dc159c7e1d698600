//! Missions of spec-kitty 3.2 whose status is in a worktree of its own: progress follows it live.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::Project;
use crate::support::process::Daemon;
use crate::support::wait::wait_for;

const NAME: &str = "orders-01M8NWVK";
const WORKTREE: &str = ".worktrees/orders-01M8NWVK-coord";
const STATUS: &str = ".worktrees/orders-01M8NWVK-coord/kitty-specs/orders-01M8NWVK/status.json";
const OWN_STATUS: &str = "kitty-specs/orders-01M8NWVK/status.json";
/// The entry of the worktree in git's directory.
const ENTRY: &str = ".git/worktrees/orders-01M8NWVK-coord/gitdir";
const NO_ITEMS: &str = r#"{"work_packages": {}}"#;

fn meta(topology: &str) -> String {
    let branch = format!("kitty/mission-{NAME}");
    json!({
        "mission_type": "software-dev",
        "mission_id": "01M8NWVKTC2725KFWBR72TP52J",
        "topology": topology,
        "coordination_branch": branch,
    })
    .to_string()
}

fn lanes(lanes: &[&str]) -> String {
    let numbered = lanes.iter().enumerate();
    let packages: serde_json::Map<String, Value> =
        numbered.map(|(at, lane)| (format!("WP0{at}"), json!({"lane": lane}))).collect();
    json!({"work_packages": packages}).to_string()
}

fn mission() -> Project {
    Project::empty()
        .file(".git/HEAD", "ref: refs/heads/main\n")
        .file(".kittify/metadata.yaml", "spec_kitty:\n  version: 3.2.7\n")
        .file(&format!("kitty-specs/{NAME}/meta.json"), meta("coord"))
        .file(&format!("kitty-specs/{NAME}/spec.md"), "# Spec\n")
}

/// Returns the progress as it is shown, or the error.
fn progress(overview: &Value) -> String {
    match (&overview["progress"], overview["progress_error"].as_str()) {
        (Value::Null, Some(error)) => error.to_owned(),
        (Value::Null, None) => "none".to_owned(),
        (found, None) => format!("{}/{}", found["done"], found["total"]),
        (found, Some(error)) => panic!("{found} and {error}"),
    }
}

fn wait_for_progress(daemon: &Daemon, expected: &str) {
    let mut last = String::new();
    wait_for(expected, || {
        last = progress(&daemon.overview(NAME));
        last.contains(expected).then_some(())
    });
}

#[test]
fn progress_is_read_in_the_coordination_worktree_once_it_exists() {
    let missing = format!("the status is in {WORKTREE}, which does not exist");
    let done = lanes(&["done", "in_progress"]);
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir_all(outside.path().join("kitty-specs").join(NAME)).unwrap();
    fs::write(outside.path().join("kitty-specs").join(NAME).join("status.json"), &done).unwrap();
    let large = format!("{{\"x\": \"{}\"}}", "x".repeat(5 << 20));
    let planned = lanes(&["planned"]);
    for (case, topology, files, expected) in [
        ("new", "coord", vec![], "none"),
        ("a clone", "coord", vec![(OWN_STATUS, NO_ITEMS)], "none"),
        ("away", "coord", vec![(ENTRY, "x"), (OWN_STATUS, &planned)], &missing[..]),
        ("merged", "coord", vec![(OWN_STATUS, &done)], "1/2"),
        ("coordinated", "coord", vec![(OWN_STATUS, NO_ITEMS), (STATUS, &done)], "1/2"),
        ("with lanes", "lanes_with_coord", vec![(OWN_STATUS, &planned), (STATUS, &done)], "1/2"),
        (
            "a worktree without items",
            "coord",
            vec![(OWN_STATUS, &planned), (STATUS, NO_ITEMS)],
            "none",
        ),
        ("a left worktree", "single_branch", vec![(OWN_STATUS, &done), (STATUS, &planned)], "1/2"),
        (
            "half written",
            "coord",
            vec![(OWN_STATUS, &planned), (STATUS, "{\"work_")],
            "status.json:1:",
        ),
        ("huge", "coord", vec![(OWN_STATUS, &planned), (STATUS, &large)], "status.json: "),
        ("lying", "coord", vec![(STATUS, r#"{"work_packages": [[]]}"#)], "has no states of items"),
        ("no status", "coord", vec![(ENTRY, "x"), (OWN_STATUS, &planned)], "0/1"),
    ] {
        let project = files
            .into_iter()
            .fold(mission(), |project, (path, text)| project.file(path, text))
            .file(&format!("kitty-specs/{NAME}/meta.json"), meta(topology));
        if case == "no status" {
            // A worktree that spec-kitty has not written to.
            fs::create_dir_all(project.root.join(WORKTREE)).unwrap();
        }
        let found = progress(&project.run(&["check", "--json"]).json()["features"][0]);
        assert!(found.contains(expected), "{case}: {found}");
    }
    for link in [WORKTREE, &STATUS[..STATUS.len() - "/status.json".len()]] {
        let project = mission().file(OWN_STATUS, &planned);
        let path = project.root.join(link);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let target = outside.path().to_owned();
        let target = if link == WORKTREE { target } else { target.join("kitty-specs").join(NAME) };
        symlink(target, path).unwrap();
        let found = progress(&project.run(&["check", "--json"]).json()["features"][0]);
        assert!(found.contains("symbolic link"), "{link}: {found}");
    }
}

#[test]
fn changes_in_the_coordination_worktree_are_followed_live() {
    let project = mission();
    let daemon = project.start_daemon();
    wait_for_progress(&daemon, "none");
    // As spec-kitty does it: the worktree is made with the first work packages.
    project.write(OWN_STATUS, NO_ITEMS);
    project.write(ENTRY, "x");
    wait_for_progress(&daemon, "which does not exist");
    project.write(STATUS, lanes(&["planned", "planned"]));
    wait_for_progress(&daemon, "0/2");
    project.write(STATUS, lanes(&["done", "in_progress"]));
    wait_for_progress(&daemon, "1/2");
    // Written as a file of another name, and renamed.
    let temporary = project.root.join(STATUS).with_extension("json.tmp");
    fs::write(&temporary, lanes(&["done", "done"])).unwrap();
    fs::rename(&temporary, project.root.join(STATUS)).unwrap();
    wait_for_progress(&daemon, "2/2");
    project.write(STATUS, "{");
    wait_for_progress(&daemon, "status.json:1:1");
    project.write(STATUS, lanes(&["done", "done", "planned"]));
    wait_for_progress(&daemon, "2/3");
    fs::remove_dir_all(project.root.join(WORKTREE)).unwrap();
    wait_for_progress(&daemon, "which does not exist");
    project.write(STATUS, lanes(&["done"]));
    wait_for_progress(&daemon, "1/1");

    // The mission is merged.
    project.write(&format!("kitty-specs/{NAME}/meta.json"), meta("single_branch"));
    project.write(OWN_STATUS, lanes(&["done", "done"]));
    wait_for_progress(&daemon, "2/2");
    // One that is coordinated from now on.
    project.write(&format!("kitty-specs/{NAME}/meta.json"), meta("coord"));
    wait_for_progress(&daemon, "1/1");
    project.write(STATUS, lanes(&["done", "planned"]));
    wait_for_progress(&daemon, "1/2");
    daemon.stop();
}

/// Only the status of a mission is in the worktree: it would be a feature without documents.
#[test]
fn coordination_worktrees_are_no_roots_of_their_own() {
    let project = mission().file(&format!("kitty-specs/{NAME}/plan.md"), "# Plan\n");
    let git = |arguments: &[&str]| crate::support::git(&project.root, arguments);
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first"]);
    git(&["worktree", "add", "-q", "-b", "kitty/mission-orders", WORKTREE]);
    git(&["worktree", "add", "-q", "-b", "lane", ".worktrees/orders-01M8NWVK-lane-a"]);
    project.write(STATUS, lanes(&["done"]));
    let daemon = project.start_daemon();
    let status = wait_for("the worktree of the lane", || {
        let status = daemon.get_json("/api/status?sync=true");
        (status["projects"].as_array().unwrap().len() == 2).then_some(status)
    });
    let root = |at: usize| status["projects"][at]["root"].as_str().unwrap();
    assert!(root(1).ends_with(".worktrees/orders-01M8NWVK-lane-a"), "{}", root(1));
    wait_for_progress(&daemon, "1/1");
    daemon.stop();
}

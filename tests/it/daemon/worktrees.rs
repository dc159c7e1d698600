//! Worktrees of git: they are watched with the main work tree, and features that differ are named.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{Project, git};

const SPEC: &str = "specs/001-x/spec.md";

fn spec_kit() -> Project {
    let project = Project::empty()
        .file(".specify/memory/constitution.md", "# Constitution\n")
        .file(SPEC, "# Spec\n")
        .file("specs/002-y/spec.md", "# Spec\n");
    git(&project.root, &["init", "-q"]);
    git(&project.root, &["add", "."]);
    git(&project.root, &["commit", "-q", "-m", "first"]);
    project
}

/// Makes a worktree next to the project and returns its path.
fn add_worktree(project: &Project, name: &str) -> PathBuf {
    let path = project.home().join(name);
    git(&project.root, &["worktree", "add", "-q", "-b", name, path.to_str().unwrap()]);
    path.canonicalize().unwrap()
}

/// Waits until the daemon has as many projects, and returns them.
fn projects(daemon: &Daemon, count: usize) -> Vec<Value> {
    wait_for("the worktrees", || {
        let status = daemon.get_json("/api/status?sync=true");
        let projects = status["projects"].as_array().unwrap();
        let is_indexed = |one: &Value| {
            one["features"].as_array().is_some_and(|all| {
                !all.is_empty() && all.iter().all(|feature| !feature["last_scanned_at"].is_null())
            })
        };
        (projects.len() == count && projects.iter().all(is_indexed)).then(|| projects.clone())
    })
}

fn differs_in(project: &Value, slug: &str) -> Value {
    let features = project["features"].as_array().unwrap();
    features.iter().find(|one| one["feature_slug"] == slug).unwrap()["differs_in"].clone()
}

#[test]
fn worktrees_are_followed_and_features_that_differ_are_named() {
    let project = spec_kit();
    let daemon = project.start_daemon();
    let main = &projects(&daemon, 1)[0];
    assert_eq!((&main["worktree_of"], differs_in(main, "001-x")), (&Value::Null, json!([])));

    // One that is made while the daemon runs, the first in this repository, and another one.
    let one = add_worktree(&project, "one");
    assert_eq!(projects(&daemon, 2)[1]["root"], one.to_str().unwrap());
    add_worktree(&project, "two");
    let all = projects(&daemon, 3);
    for worktree in &all[1..] {
        assert_eq!(worktree["worktree_of"], all[0]["root_id"]);
        assert_eq!(differs_in(worktree, "001-x"), json!([]));
    }

    fs::write(one.join(SPEC), "# Spec, differently\n").unwrap();
    let all = projects(&daemon, 3);
    let [main, one_id, two] = [0, 1, 2].map(|at: usize| all[at]["root_id"].as_str().unwrap());
    let sorted = |mut ids: Vec<&str>| {
        ids.sort_unstable();
        json!(ids)
    };
    for (at, expected) in [(0, vec![one_id]), (1, vec![main, two]), (2, vec![one_id])] {
        assert_eq!(differs_in(&all[at], "001-x"), sorted(expected), "{at}");
        assert_eq!(differs_in(&all[at], "002-y"), json!([]), "{at}");
    }

    // Without a project, the main work tree is selected.
    let overview = daemon.overview("001-x");
    assert_eq!(overview["differs_in"], json!([one_id]));
    let dir = project.root.join("specs/001-x");
    assert_eq!(overview["feature_dir"], dir.to_str().unwrap());
    let text = project.run_client(&["status"]).assert_success().stdout;
    assert!(text.contains("worktree of project: 2 of 3 features are the same"), "{text}");
    assert!(text.contains("worktree of project: 3 of 3 features are the same"), "{text}");
    assert_eq!(text.matches("001-x").count(), 2, "{text}");

    let root = one.to_str().unwrap();
    let removed = project.run_client(&["project", "remove", root]);
    assert!(removed.stderr.contains("worktrees: ignore"), "{removed:?}");

    // A removed worktree is forgotten, without an event about its files.
    git(&project.root, &["worktree", "remove", "--force", root]);
    projects(&daemon, 2);
    assert_eq!(daemon.overview("001-x")["differs_in"], json!([]));
    // In a project, only its own events are printed.
    let outside = project.home();
    let events = project.run_client(&["-C", outside.to_str().unwrap(), "events", "--json"]);
    let events = events.assert_success().stdout;
    assert!(
        events.contains("\"project\":\"one\"") && !events.contains("deleted_after_scan"),
        "{events}"
    );
    daemon.stop();
}

#[test]
fn worktrees_are_followed_after_a_restart_and_ignored_on_request() {
    let project = spec_kit();
    let one = add_worktree(&project, "one");
    let daemon = project.start_daemon();
    projects(&daemon, 2);
    daemon.stop();
    // What was deleted meanwhile is known: the state of the worktree was kept.
    fs::remove_file(one.join(SPEC)).unwrap();
    let daemon = project.start_daemon();
    let all = projects(&daemon, 2);
    let deleted = &all[1]["features"][0]["deleted_required"];
    assert_eq!(deleted, &json!(["input.spec"]), "{}", all[1]);

    project.write(".dossierd/config.yaml", "worktrees: ignore\n");
    projects(&daemon, 1);
    project.write(".dossierd/config.yaml", "worktrees: follow\n");
    projects(&daemon, 2);
    // The directory is deleted, and git has not noticed.
    wait_for("the directory to be deleted", || {
        // It fails if the daemon creates its first files there at the same moment.
        fs::remove_dir_all(&one).ok()
    });
    projects(&daemon, 1);
    daemon.stop();
}

/// Any file of git's directory can name any directory: it is a worktree only if its own `.git` leads back.
#[test]
fn directory_that_is_not_the_worktree_is_neither_listed_nor_written_to() {
    let project = spec_kit();
    let other = spec_kit();
    let worktree = add_worktree(&project, "one");
    for (name, victim) in [("foreign", &other.root), ("again", &worktree)] {
        let dir = project.root.join(".git/worktrees").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("gitdir"), format!("{}\n", victim.join(".git").display())).unwrap();
    }
    let daemon = project.start_daemon();
    let all = projects(&daemon, 2);
    let one = add_worktree(&project, "two");
    let roots = |all: &[Value]| all.iter().map(|one| one["root"].clone()).collect::<Vec<_>>();
    let all = [roots(&all), roots(&projects(&daemon, 3)[2..])].concat();
    let expected = [&project.root, &worktree, &one].map(|root| json!(root));
    assert_eq!(all, expected);
    assert!(!other.root.join(".dossierd").exists(), "nothing is written there");
    // One that is added by command is watched whatever it is.
    let root = other.root.to_str().unwrap();
    project.run_client(&["project", "add", root]).assert_success();
    projects(&daemon, 4);
    daemon.stop();
}

//! `dossierd project add|remove|list` without a daemon: what the next one watches.

use std::fs;

use super::support::{FEATURE, Project};

fn roots(project: &Project) -> Vec<String> {
    let list = project.ask(&["project", "list", "--json"]).ok().json();
    let root = |one: &serde_json::Value| one["root"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(root).collect()
}

#[test]
fn what_is_added_is_watched_by_the_next_daemon() {
    let project = Project::complete();
    let root = project.root.to_str().unwrap();
    assert_eq!(roots(&project), Vec::<String>::new());
    assert!(!project.state().exists(), "a list makes nothing");
    // From a folder in it, and twice: it is one project.
    let mut below = project.client(&["project", "add"]);
    below.current_dir(project.feature());
    super::support::run(below, super::support::DEADLINE).ok();
    project.ask(&["project", "add", root]).ok();
    assert_eq!(roots(&project), [root]);

    let mut command = project.client(&["run"]);
    command.arg("--log").arg("info");
    let daemon = project.spawn(command);
    daemon.ready();
    let status = project.ask(&["status", FEATURE]).ok();
    assert!(!status.stderr.contains("not watched"), "{status:?}");
    assert_eq!(roots(&project), [root]);
    daemon.stop();

    project.ask(&["project", "remove"]).ok();
    assert_eq!(roots(&project), Vec::<String>::new());
    project.ask(&["project", "remove"]).fails(1, "was not added");
    assert!(project.feature().join("spec.md").exists(), "nothing in it is changed");
}

#[test]
fn what_is_not_there_any_more_can_be_removed_and_what_never_was_not_added() {
    let project = Project::complete();
    let other = project.home().join("other");
    fs::create_dir_all(other.join(".kittify")).unwrap();
    let root = other.to_str().unwrap().to_owned();
    project.ask(&["project", "add", &root]).ok();
    fs::remove_dir_all(&other).unwrap();
    assert_eq!(roots(&project), [root.as_str()]);
    project.ask(&["project", "remove", &format!("{root}/")]).ok();
    assert_eq!(roots(&project), Vec::<String>::new());
    project.ask(&["project", "add", &root]).fails(1, "No such file");
}

#[test]
fn the_configurations_projects_are_listed_and_stay() {
    let project = Project::complete().config("projects: [{path: ROOT}]\n");
    assert_eq!(roots(&project), [project.root.to_str().unwrap()]);
    project.ask(&["project", "remove"]).fails(1, "is named in");
    let words = project.ask(&["project", "list"]).ok();
    insta::assert_snapshot!(project.stable(&words.stdout), @r"
    PROJECT  ROOT
    project  ROOT
    ");
}

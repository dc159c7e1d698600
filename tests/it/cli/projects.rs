//! `dossierd project add|remove|list` without a daemon: what the next one watches.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use crate::support::{FEATURE, Project, write};

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
    // From a directory in it, and twice: it is one project.
    let mut below = project.client(&["project", "add"]);
    below.current_dir(project.feature());
    crate::support::run(below, crate::support::DEADLINE).ok();
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

/// A root as it is answered is one that can be said.
#[test]
fn a_root_whose_name_is_no_text_is_added_asked_about_and_removed_while_a_daemon_runs() {
    let project = Project::complete();
    let daemon = project.daemon();
    let name = OsStr::from_bytes(b"back\\slash \xff");
    let odd = project.home().canonicalize().unwrap().join(name);
    write(&odd.join("kitty-specs/001-odd/spec.md"), b"odd\n");
    let ask = |arguments: &[&str]| {
        let mut command = project.client(arguments);
        command.current_dir(&odd);
        crate::support::run(command, crate::support::DEADLINE)
    };
    ask(&["project", "add", "."]).ok();
    ask(&["verify"]).ok();
    let said = roots(&project).into_iter().find(|root| root.contains("slash")).unwrap();
    assert!(said.ends_with(r"/back\\slash \xff"), "{said}");
    let mut body = serde_json::json!({ "path": said });
    let again = daemon.ask("POST", "/api/projects", &body.to_string());
    assert_eq!(again.status, 200, "{again:?}");
    body["path"] = "/tmp/back\\slash".into();
    let problem =
        daemon.ask("POST", "/api/projects", &body.to_string()).problem(400, "bad_request");
    assert!(problem["hint"].as_str().unwrap().contains(r"a backslash as `\\`"), "{problem}");
    ask(&["project", "remove", "."]).ok();
    assert!(!roots(&project).contains(&said));
    daemon.stop();
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

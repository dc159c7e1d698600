//! `dossierd project add|remove|list` without a daemon: what the next one watches.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use crate::support::{FEATURE, Project, write_file};

fn roots(project: &Project) -> Vec<String> {
    let list = project.run_client(&["project", "list", "--json"]).assert_success().json();
    let root = |one: &serde_json::Value| one["root"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(root).collect()
}

#[test]
fn added_project_is_watched_by_the_next_daemon() {
    let project = Project::complete();
    let root = project.root.to_str().unwrap();
    assert_eq!(roots(&project), Vec::<String>::new());
    assert!(!project.state_dir().exists(), "a list makes nothing");
    // From a directory in it, and twice: it is one project.
    let mut below = project.client_command(&["project", "add"]);
    below.current_dir(project.feature_dir());
    crate::support::run(below, crate::support::COMMAND_TIMEOUT).assert_success();
    project.run_client(&["project", "add", root]).assert_success();
    assert_eq!(roots(&project), [root]);

    let mut command = project.client_command(&["run"]);
    command.arg("--log").arg("info");
    let daemon = project.spawn_daemon(command);
    daemon.wait_until_ready();
    let status = project.run_client(&["status", FEATURE]).assert_success();
    assert!(!status.stderr.contains("not watched"), "{status:?}");
    assert_eq!(roots(&project), [root]);
    daemon.stop();

    project.run_client(&["project", "remove"]).assert_success();
    assert_eq!(roots(&project), Vec::<String>::new());
    project.run_client(&["project", "remove"]).assert_failure(1, "was not added");
    assert!(project.feature_dir().join("spec.md").exists(), "nothing in it is changed");
}

#[test]
fn deleted_project_can_be_removed_but_not_added() {
    let project = Project::complete();
    let other = project.home().join("other");
    fs::create_dir_all(other.join(".kittify")).unwrap();
    let root = other.to_str().unwrap().to_owned();
    project.run_client(&["project", "add", &root]).assert_success();
    fs::remove_dir_all(&other).unwrap();
    assert_eq!(roots(&project), [root.as_str()]);
    project.run_client(&["project", "remove", &format!("{root}/")]).assert_success();
    assert_eq!(roots(&project), Vec::<String>::new());
    project.run_client(&["project", "add", &root]).assert_failure(1, "No such file");
}

/// A root as it is answered is one that can be said.
#[test]
fn root_with_invalid_utf8_can_be_added_verified_and_removed() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let name = OsStr::from_bytes(b"back\\slash \xff");
    let odd = project.home().canonicalize().unwrap().join(name);
    write_file(&odd.join("kitty-specs/001-odd/spec.md"), b"odd\n");
    let ask = |arguments: &[&str]| {
        let mut command = project.client_command(arguments);
        command.current_dir(&odd);
        crate::support::run(command, crate::support::COMMAND_TIMEOUT)
    };
    ask(&["project", "add", "."]).assert_success();
    ask(&["verify"]).assert_success();
    let said = roots(&project).into_iter().find(|root| root.contains("slash")).unwrap();
    assert!(said.ends_with(r"/back\\slash \xff"), "{said}");
    let mut body = serde_json::json!({ "path": said });
    let again = daemon.request("POST", "/api/projects", &body.to_string());
    assert_eq!(again.status, 200, "{again:?}");
    body["path"] = "/tmp/back\\slash".into();
    let problem = daemon
        .request("POST", "/api/projects", &body.to_string())
        .assert_problem(400, "bad_request");
    assert!(problem["hint"].as_str().unwrap().contains(r"a backslash as `\\`"), "{problem}");
    ask(&["project", "remove", "."]).assert_success();
    assert!(!roots(&project).contains(&said));
    daemon.stop();
}

#[test]
fn configured_projects_are_listed_and_not_removed() {
    let project = Project::complete().config("projects: [{path: ROOT}]\n");
    assert_eq!(roots(&project), [project.root.to_str().unwrap()]);
    project.run_client(&["project", "remove"]).assert_failure(1, "is named in");
    let words = project.run_client(&["project", "list"]).assert_success();
    insta::assert_snapshot!(project.redact_paths(&words.stdout), @r"
    PROJECT  ROOT
    project  ROOT
    ");
}

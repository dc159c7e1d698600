//! `dossierd project add`, `remove` and `list` without a daemon: which projects the next daemon
//! watches.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use crate::support::{FEATURE, Project, write_file};

/// Returns the roots that `project list` prints.
fn roots(project: &Project) -> Vec<String> {
    let list = project.run_client(&["project", "list", "--json"]).assert_success().json();
    let root = |project: &serde_json::Value| project["root"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(root).collect()
}

#[test]
fn added_project_is_watched_by_the_next_daemon() {
    let project = Project::complete();
    let root = project.root.to_str().unwrap();
    assert_eq!(roots(&project), Vec::<String>::new());
    assert!(!project.state_dir().exists(), "`list` creates no files");
    // Added from a subdirectory and again by its root: the same project.
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
    project.run_client(&["project", "remove"]).assert_failure(1, "is not a stored project");
    assert!(
        project.feature_dir().join("spec.md").exists(),
        "the files of the project are unchanged"
    );
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

/// A root in a response can be used in a request.
#[test]
fn root_with_invalid_utf8_can_be_added_verified_and_removed() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let name = OsStr::from_bytes(b"back\\slash \xff");
    let odd = project.home().canonicalize().unwrap().join(name);
    write_file(&odd.join("kitty-specs/001-odd/spec.md"), b"odd\n");
    let run_in_project = |arguments: &[&str]| {
        let mut command = project.client_command(arguments);
        command.current_dir(&odd);
        crate::support::run(command, crate::support::COMMAND_TIMEOUT)
    };
    run_in_project(&["project", "add", "."]).assert_success();
    run_in_project(&["verify"]).assert_success();
    let shown = roots(&project).into_iter().find(|root| root.contains("slash")).unwrap();
    assert!(shown.ends_with(r"/back\\slash \xff"), "{shown}");
    let mut body = serde_json::json!({ "path": shown });
    let again = daemon.request("POST", "/api/projects", &body.to_string());
    assert_eq!(again.status, 200, "{again:?}");
    body["path"] = "/tmp/back\\slash".into();
    let problem = daemon
        .request("POST", "/api/projects", &body.to_string())
        .assert_problem(400, "bad_request");
    assert!(problem["hint"].as_str().unwrap().contains(r"a backslash as `\\`"), "{problem}");
    run_in_project(&["project", "remove", "."]).assert_success();
    assert!(!roots(&project).contains(&shown));
    daemon.stop();
}

#[test]
fn configured_projects_are_listed_and_not_removed() {
    let project = Project::complete().config("projects: [{path: ROOT}]\n");
    assert_eq!(roots(&project), [project.root.to_str().unwrap()]);
    project.run_client(&["project", "remove"]).assert_failure(1, "is listed in");
    let text = project.run_client(&["project", "list"]).assert_success();
    insta::assert_snapshot!(project.redact_paths(&text.stdout), @r"
    PROJECT  ROOT
    project  ROOT
    ");
}

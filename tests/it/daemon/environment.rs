//! The environment of the daemon and its clients: variables, other users' directories, a lost store.

use std::fs;
use std::os::unix::fs::chown;

use crate::support::client::RunningCommand;
use crate::support::kernel::is_root;
use crate::support::wait::wait_for;
use crate::support::{COMMAND_TIMEOUT, NOBODY_UID, Project, run, write_file};

#[test]
fn client_without_runtime_directory_finds_the_daemon() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let run_without = |arguments: &[&str]| run(project.command(arguments), COMMAND_TIMEOUT);
    let found = run_without(&["status", "--json"]).assert_success();
    assert_eq!(found.json()["pid"], daemon.status()["pid"]);
    let mut other = project.command(&["project", "list"]);
    other.env("XDG_RUNTIME_DIR", project.home());
    let found = run(other, COMMAND_TIMEOUT).assert_success();
    assert!(found.stdout.contains(project.root.to_str().unwrap()), "{found:?}");
    daemon.stop();
    let found = run_without(&["project", "list"]).assert_success();
    assert!(found.stdout.contains("no projects"), "{found:?}");
}

#[test]
fn socket_that_a_killed_daemon_left_elsewhere_does_not_prevent_a_start() {
    let project = Project::complete();
    let mut command = project.daemon_command();
    command.arg("--socket").arg(project.home().join("elsewhere/my.sock"));
    let daemon = project.spawn_daemon(command);
    let socket = project.home().join("elsewhere/my.sock");
    // Without a daemon `status` scans.
    wait_for("the socket", || socket.exists().then_some(()));
    wait_for("the daemon", || (project.run_client(&["status"]).code == 0).then_some(()));
    daemon.kill();
    assert!(socket.exists());
    let mut watch = RunningCommand::start(project.client_command(&["watch"]));
    watch.wait_for_stderr("started one in the background");
    watch.next_line();
    assert!(project.socket().exists());
    watch.interrupt();
    project.run_client(&["stop"]).assert_success();
}

#[test]
fn root_does_not_write_to_directories_of_another_user() {
    if !is_root("a daemon of root in another user's home directory") {
        return;
    }
    let project = Project::complete();
    fs::create_dir_all(project.runtime_dir()).unwrap();
    for dir in [project.runtime_dir(), project.home()] {
        chown(&dir, Some(NOBODY_UID), None).unwrap();
        let started = run(project.daemon_command(), COMMAND_TIMEOUT);
        started.assert_failure(1, "root does not use directories of another user");
        assert!(!project.state_dir().exists());
        chown(&dir, Some(0), None).unwrap();
    }
    // What writes nothing there is possible, as in containers of CI services.
    chown(project.home(), Some(NOBODY_UID), None).unwrap();
    project.run(&["check"]).assert_success();
}

#[test]
fn projects_that_were_added_survive_a_lost_store() {
    let project = Project::complete();
    let other = project.home().join("other");
    write_file(&other.join("kitty-specs/002-y/spec.md"), b"# Spec\n");
    let daemon = project.start_daemon();
    project.run_client(&["project", "add", other.to_str().unwrap()]).assert_success();
    daemon.stop();
    let list = project.config_file().with_file_name("projects.list");
    let text = fs::read_to_string(&list).unwrap();
    assert!(text.ends_with(&format!("\n{}\n", other.display())), "{text}");

    let is_watched = |daemon: &crate::support::process::Daemon| {
        let status = daemon.status();
        let mut projects = status["projects"].as_array().unwrap().iter();
        projects.any(|one| one["root"] == other.to_str().unwrap()).then_some(())
    };
    fs::write(project.state_dir().join("dossierd.sqlite3"), "not a database at all".repeat(999))
        .unwrap();
    let daemon = project.start_daemon();
    wait_for("the project after the store was corrupt", || is_watched(&daemon));
    daemon.stop();
    fs::remove_dir_all(project.state_dir()).unwrap();
    let daemon = project.start_daemon();
    wait_for("the project after the state directory was removed", || is_watched(&daemon));
    daemon.stop();
    // The list that is missing is written again from the store.
    fs::remove_file(&list).unwrap();
    let daemon = project.start_daemon();
    wait_for("the list", || (fs::read_to_string(&list).ok()? == text).then_some(()));
    project.run_client(&["project", "remove", other.to_str().unwrap()]).assert_success();
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(is_watched(&daemon), None);
    daemon.stop();
}

//! `dossierd doctor`: each problem is caused, found, and has a fix. Problems of a running daemon
//! and the kernel are in `doctor_daemon`; remote file systems are in the unit tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::systemd::UserManager;
use crate::support::wait::wait_for;
use crate::support::{
    CommandOutput, FEATURE, Project, copy_program, not_run, read_tree, with_program, write_file,
};

/// Runs the doctor in the project; returns its findings.
fn doctor(project: &Project) -> Vec<Value> {
    findings(&project.run_client(&["doctor", "--json"]))
}

/// Returns the findings of a run. Checks that the exit code is 1 exactly if one is an error, and
/// that each finding that is not `ok` has a fix.
#[track_caller]
pub(crate) fn findings(run: &CommandOutput) -> Vec<Value> {
    let found: Vec<Value> = run.json().as_array().unwrap().clone();
    let has_error = found.iter().any(|finding| finding["level"] == "error");
    assert_eq!(run.code, i32::from(has_error), "{run:?}");
    for finding in &found {
        let is_ok = finding["level"] == "ok";
        assert_eq!(finding["fix"].is_null(), is_ok, "every problem has a fix: {finding:#}");
    }
    found
}

/// Checks that there is a finding with this level and check whose message contains `message`.
#[track_caller]
pub(crate) fn assert_finding(found: &[Value], level: &str, check: &str, message: &str) {
    let is_found = found.iter().any(|finding| {
        finding["level"] == level
            && finding["check"] == check
            && finding["message"].as_str().unwrap().contains(message)
    });
    assert!(is_found, "no {level} of {check} with `{message}` in {found:#?}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn healthy_installation_has_no_errors_and_nothing_is_written() {
    let project = Project::complete();
    let before = read_tree(&project.home());
    let found = doctor(&project);
    assert_finding(&found, "warning", "daemon", "not running");
    assert_finding(&found, "ok", "store", "does not exist yet");
    assert_eq!(
        read_tree(&project.home()).len(),
        before.len() + 1,
        "only the directory `run` is new"
    );
    let daemon = project.start_daemon();
    let found = doctor(&project);
    for (check, message) in [
        ("configuration", "the defaults apply"),
        ("state folder", "accessible only to you"),
        ("socket", "accessible only to you"),
        ("store", "valid: "),
        ("clock", "plausible"),
        ("daemon", ", version "),
        ("project", "is readable"),
        ("inotify", "directories to watch"),
        ("file system", "a local disk"),
    ] {
        assert_finding(&found, "ok", check, message);
    }
    let errors: Vec<_> = found.iter().filter(|finding| finding["level"] == "error").collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let shown = project.run_client(&["doctor"]).assert_success();
    assert!(shown.stdout.contains("\nok: store: valid: "), "{shown:?}");
    assert!(shown.stdout.trim_end().trim_end_matches('s').ends_with(" warning"), "{shown:?}");
    daemon.stop();
}

#[test]
fn invalid_configuration_is_an_error() {
    let project = Project::complete().config("setle: {}\n");
    let found = doctor(&project);
    assert_finding(&found, "error", "configuration", "config.yaml:1:1: unknown field `setle`");
    // An invalid configuration with which a daemon continues to run.
    fs::remove_file(project.config_file()).unwrap();
    let daemon = project.start_daemon();
    write_file(&project.config_file(), b"setle: {}\n");
    wait_for("the daemon to read the configuration", || {
        (daemon.status()["config"]["state"] == "broken").then_some(())
    });
    assert_finding(&doctor(&project), "error", "configuration", "still uses the last valid one");
    daemon.stop();
}

#[test]
fn directories_and_sockets_open_to_other_users_are_errors() {
    let project = Project::complete();
    project.start_daemon().stop();
    set_mode(&project.state_dir(), 0o755);
    let dir = project.socket().parent().unwrap().to_owned();
    set_mode(&dir, 0o777);
    fs::write(project.socket(), "mine").unwrap();
    let found = doctor(&project);
    assert_finding(&found, "error", "state folder", "is accessible to other users");
    assert_finding(&found, "error", "socket folder", "is accessible to other users");
    assert_finding(&found, "error", "socket", "is not a socket");
    fs::remove_file(project.socket()).unwrap();
    // A socket without a listener.
    drop(UnixListener::bind(project.socket()).unwrap());
    set_mode(&project.socket(), 0o666);
    assert_finding(&doctor(&project), "error", "socket", "is accessible to other users");
    let run = project.run(&["doctor", "--json"]);
    assert_finding(&findings(&run), "warning", "socket", "XDG_RUNTIME_DIR is not set");
}

#[test]
fn corrupt_or_newer_store_is_an_error() {
    let project = Project::complete();
    project.start_daemon().stop();
    let store = project.state_dir().join("dossierd.sqlite3");
    let valid = fs::read(&store).unwrap();
    let mut bytes = valid.clone();
    for byte in bytes.iter_mut().skip(4096).take(4096) {
        *byte = 0xff;
    }
    fs::write(&store, &bytes).unwrap();
    assert_finding(&doctor(&project), "error", "store", "not a valid store");
    bytes = valid;
    // `user_version` in the header, which is the number of the format.
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&store, &bytes).unwrap();
    assert_finding(&doctor(&project), "error", "store", "written by a newer dossierd");
}

#[test]
fn unreadable_project_is_an_error_and_unwritable_a_warning() {
    let project = Project::complete().config("projects: [{path: /nowhere/at/all}]\n");
    assert_finding(&doctor(&project), "error", "project", "cannot read /nowhere/at/all");
    let project = Project::complete();
    set_mode(&project.home(), 0o777);
    set_mode(&project.root.join(".kittify"), 0o555);
    if let Some(run) = project.run_as_nobody(&["doctor", "--json"]) {
        assert_finding(
            &findings(&run),
            "warning",
            "project",
            "snapshots and baselines cannot be stored",
        );
    }
    set_mode(&project.root.join(".kittify"), 0o755);
}

#[test]
fn snapshots_not_ignored_by_git_are_a_warning() {
    let project = Project::complete();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(arguments);
        command.current_dir(&project.root).env("HOME", project.home());
        command.output().is_ok_and(|output| output.status.success())
    };
    if !git(&["init", "--quiet"]) {
        not_run("paths that git ignores (no working `git`)");
        return;
    }
    assert_finding(&doctor(&project), "warning", "git", "is not ignored");
    project.start_daemon().stop();
    assert_finding(&doctor(&project), "ok", "git", "is ignored");
    assert!(git(&["add", "--force", ".kittify/dossiers/001-x/snapshot-latest.json"]));
    assert_finding(&doctor(&project), "warning", "git", "snapshots are tracked");
}

#[test]
fn replaced_program_of_the_daemon_is_a_warning() {
    let project = Project::complete();
    let program = project.home().join("dossierd");
    copy_program(&program);
    let daemon = project.spawn_daemon(with_program(&program, &project.daemon_command()));
    daemon.wait_until_ready();
    fs::remove_file(&program).unwrap();
    assert_finding(
        &doctor(&project),
        "warning",
        "daemon",
        "its program was replaced since it started",
    );
    daemon.stop();
}

#[test]
fn findings_about_the_service_and_its_hardening() {
    let project = Project::complete();
    let Some(mut manager) = UserManager::start(&project) else {
        return;
    };
    let mut doctor = |prepare: &str| -> Vec<Value> {
        manager.sh(prepare);
        let output = manager.shell("PATH=~/bin:$PATH dossierd doctor --json 2>/dev/null").1;
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
    };
    assert_finding(&doctor("true"), "ok", "service", "not installed");
    let found = doctor("dossierd service install");
    assert_finding(&found, "ok", "service", "dossierd.service is active");
    assert_finding(&found, "ok", "hardening", "system calls are filtered");

    let user = "~/.config/systemd/user";
    let soft = "printf '[Service]\\nSystemCallFilter=\\nNoNewPrivileges=no\\nRestrictNamespaces=no\\n\
                MemoryDenyWriteExecute=no\\nRestrictRealtime=no\\nRestrictSUIDSGID=no\\n\
                LockPersonality=no\\nRestrictAddressFamilies=\\nSystemCallArchitectures=\\n'";
    let found = doctor(&format!(
        "mkdir -p {user}/dossierd.service.d && {soft} >{user}/dossierd.service.d/soft.conf && \
         systemctl --user daemon-reload && systemctl --user restart dossierd.service"
    ));
    assert_finding(&found, "warning", "hardening", "not filtered");
    let found = doctor(&format!("sed -i s/WatchdogSec=60/WatchdogSec=90/ {user}/dossierd.service"));
    assert_finding(&found, "warning", "service", "differs from the unit of this version");
    // systemd has not reloaded the units since.
    assert_finding(&found, "warning", "service", "systemd has not reloaded them");
    let found = doctor("systemctl --user disable dossierd.service 2>&1");
    assert_finding(&found, "warning", "service", "not started at login");
    let found = doctor("systemctl --user stop dossierd.socket; systemctl --user start dossierd");
    assert_finding(
        &found,
        "warning",
        "service",
        "dossierd.service is active, but its socket is not",
    );
    for (lingers, level) in [("yes", "ok"), ("no", "warning")] {
        let found = doctor(&format!(
            "mkdir -p ~/bin && printf '#!/bin/sh\\necho {lingers}\\n' >~/bin/loginctl && \
             chmod +x ~/bin/loginctl"
        ));
        let message = if level == "ok" { "on: the service runs from boot" } else { "off: " };
        assert_finding(&found, level, "lingering", message);
    }
    // Another daemon listens on the socket of the service.
    let found = doctor(
        "systemctl --user stop dossierd.socket dossierd.service; mkdir -p ~/other && \
         { XDG_STATE_HOME=~/other dossierd run --detached 2>~/other/log & }; \
         until [ -S $XDG_RUNTIME_DIR/dossierd/dossierd.sock ]; do :; done; \
         sed -i 's|run$|run --socket %t/elsewhere/dossierd.sock|' ~/.config/systemd/user/dossierd.service; \
         sed -i /^Wants/d ~/.config/systemd/user/dossierd.service; \
         systemctl --user daemon-reload; systemctl --user start dossierd.service",
    );
    assert_finding(&found, "warning", "service", "responds at the socket, but is not the service");
    doctor("dossierd stop 2>&1");
    // The service does not start, because its command line is invalid.
    let found = doctor(
        "systemctl --user stop dossierd.socket dossierd.service; \
         sed -i 's|dossierd run|& --nonsense|' ~/.config/systemd/user/dossierd.service; \
         systemctl --user daemon-reload; ! systemctl --user start dossierd.service",
    );
    assert_finding(&found, "error", "service", "failed");
}

#[test]
fn features_of_a_project_that_is_not_watched_are_scanned() {
    let project = Project::complete();
    assert_finding(&doctor(&project), "ok", "features", "the feature of");
    let meta = format!("kitty-specs/{FEATURE}/meta.json");
    let project = project.file(&meta, "{\"mission\": \"researches\"}");
    let reason = "no manifest for mission `researches`; did you mean `research`?";
    assert_finding(&doctor(&project), "warning", "feature", reason);
    let project = project.file(&meta, "{");
    assert_finding(&doctor(&project), "error", "files", "meta.json");
}

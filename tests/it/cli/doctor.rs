//! `dossierd doctor`: each thing that can be wrong is brought about, found, and has its mend. What
//! a daemon and the kernel do is in `doctor_daemon`, foreign file systems are in the unit tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::systemd::UserManager;
use crate::support::{CommandOutput, Project, not_run, write_file};

/// What the doctor says; it ends with 1 exactly when something is wrong.
fn doctor(project: &Project) -> Vec<Value> {
    findings(&project.run_client(&["doctor", "--json"]))
}

#[track_caller]
pub(crate) fn findings(run: &CommandOutput) -> Vec<Value> {
    let found: Vec<Value> = run.json().as_array().unwrap().clone();
    let wrong = found.iter().any(|finding| finding["level"] == "error");
    assert_eq!(run.code, i32::from(wrong), "{run:?}");
    for finding in &found {
        let well = finding["level"] == "ok";
        assert_eq!(finding["mend"].is_null(), well, "each has its mend: {finding:#}");
    }
    found
}

#[track_caller]
pub(crate) fn says(found: &[Value], level: &str, check: &str, message: &str) {
    let said = found.iter().any(|finding| {
        finding["level"] == level
            && finding["check"] == check
            && finding["message"].as_str().unwrap().contains(message)
    });
    assert!(said, "no {level} of {check} with `{message}` in {found:#?}");
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn healthy_installation_has_no_errors_and_nothing_is_written() {
    let project = Project::complete();
    let before = crate::support::read_tree(&project.home());
    let found = doctor(&project);
    says(&found, "warning", "daemon", "none runs");
    says(&found, "ok", "store", "there is none yet");
    assert_eq!(crate::support::read_tree(&project.home()).len(), before.len() + 1, "but `run`");
    let daemon = project.start_daemon();
    let found = doctor(&project);
    for (check, message) in [
        ("configuration", "all is default"),
        ("state folder", "yours alone"),
        ("socket", "yours alone"),
        ("store", "it is sound"),
        ("clock", "it is set"),
        ("daemon", "of version"),
        ("project", "can be read"),
        ("inotify", "folders to watch"),
        ("file system", "a disk of this machine"),
    ] {
        says(&found, "ok", check, message);
    }
    let wrong: Vec<_> = found.iter().filter(|finding| finding["level"] == "error").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let shown = project.run_client(&["doctor"]).assert_success();
    assert!(shown.stdout.contains("\nok: store: it is sound"), "{shown:?}");
    assert!(shown.stdout.trim_end().ends_with(" odd"), "{shown:?}");
    daemon.stop();
}

#[test]
fn invalid_configuration_is_an_error() {
    let project = Project::complete().config("setle: {}\n");
    let found = doctor(&project);
    says(&found, "error", "configuration", "config.yaml:1:1: unknown field `setle`");
    // And one that a daemon goes on without.
    fs::remove_file(project.config_file()).unwrap();
    let daemon = project.start_daemon();
    write_file(&project.config_file(), b"setle: {}\n");
    crate::support::wait::wait_for("the daemon to see it", || {
        (daemon.status()["config"]["state"] == "broken").then_some(())
    });
    says(&doctor(&project), "error", "configuration", "the one before it");
    daemon.stop();
}

#[test]
fn directories_and_sockets_open_to_other_users_are_errors() {
    let project = Project::complete();
    project.start_daemon().stop();
    mode(&project.state_dir(), 0o755);
    let folder = project.socket().parent().unwrap().to_owned();
    mode(&folder, 0o777);
    fs::write(project.socket(), "mine").unwrap();
    let found = doctor(&project);
    says(&found, "error", "state folder", "can be entered by other users");
    says(&found, "error", "socket folder", "can be entered by other users");
    says(&found, "error", "socket", "is no socket");
    fs::remove_file(project.socket()).unwrap();
    // One that no one serves any more.
    drop(UnixListener::bind(project.socket()).unwrap());
    mode(&project.socket(), 0o666);
    says(&doctor(&project), "error", "socket", "is open to other users");
    let run = project.run(&["doctor", "--json"]);
    says(&findings(&run), "warning", "socket", "XDG_RUNTIME_DIR is not set");
}

#[test]
fn corrupt_or_newer_store_is_an_error() {
    let project = Project::complete();
    project.start_daemon().stop();
    let store = project.state_dir().join("dossierd.sqlite3");
    let sound = fs::read(&store).unwrap();
    let mut bytes = sound.clone();
    for byte in bytes.iter_mut().skip(4096).take(4096) {
        *byte = 0xff;
    }
    fs::write(&store, &bytes).unwrap();
    says(&doctor(&project), "error", "store", "not a sound store");
    bytes = sound;
    // The format's number in the header.
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&store, &bytes).unwrap();
    says(&doctor(&project), "error", "store", "written by a newer dossierd");
}

#[test]
fn unreadable_project_is_an_error_and_unwritable_a_warning() {
    let project = Project::complete().config("projects: [{path: /nowhere/at/all}]\n");
    says(&doctor(&project), "error", "project", "/nowhere/at/all cannot be read");
    let project = Project::complete();
    mode(&project.home(), 0o777);
    mode(&project.root.join(".kittify"), 0o555);
    if let Some(run) = project.run_as_nobody(&["doctor", "--json"]) {
        says(&findings(&run), "warning", "project", "no snapshots or baselines");
    }
    mode(&project.root.join(".kittify"), 0o755);
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
        not_run("what git ignores (no working `git`)");
        return;
    }
    says(&doctor(&project), "warning", "git", "is not ignored");
    project.start_daemon().stop();
    says(&doctor(&project), "ok", "git", "is ignored");
    assert!(git(&["add", "--force", ".kittify/dossiers/001-x/snapshot-latest.json"]));
    says(&doctor(&project), "warning", "git", "snapshots are tracked");
}

#[test]
fn replaced_program_of_the_daemon_is_a_warning() {
    let project = Project::complete();
    let program = project.home().join("dossierd");
    // By another process: a descriptor open for writing would be inherited by other tests' children.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_dossierd")).arg(&program).status();
    assert!(copied.unwrap().success());
    let of_daemon = project.daemon_command();
    let mut command = Command::new(&program);
    command.args(of_daemon.get_args()).current_dir(&project.root).env_clear();
    command.envs(of_daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let daemon = project.spawn_daemon(command);
    daemon.wait_until_ready();
    fs::remove_file(&program).unwrap();
    says(&doctor(&project), "warning", "daemon", "its program was replaced since");
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
        let said = manager.shell("PATH=~/bin:$PATH dossierd doctor --json 2>/dev/null").1;
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    };
    says(&doctor("true"), "ok", "service", "not installed");
    let found = doctor("dossierd service install");
    says(&found, "ok", "service", "dossierd.service is active");
    says(&found, "ok", "hardening", "system calls are filtered");

    let user = "~/.config/systemd/user";
    let soft = "printf '[Service]\\nSystemCallFilter=\\nNoNewPrivileges=no\\nRestrictNamespaces=no\\n\
                MemoryDenyWriteExecute=no\\nRestrictRealtime=no\\nRestrictSUIDSGID=no\\n\
                LockPersonality=no\\nRestrictAddressFamilies=\\nSystemCallArchitectures=\\n'";
    let found = doctor(&format!(
        "mkdir -p {user}/dossierd.service.d && {soft} >{user}/dossierd.service.d/soft.conf && \
         systemctl --user daemon-reload && systemctl --user restart dossierd.service"
    ));
    says(&found, "warning", "hardening", "not filtered");
    let found = doctor(&format!("sed -i s/WatchdogSec=60/WatchdogSec=90/ {user}/dossierd.service"));
    says(&found, "warning", "service", "is not as this version writes it");
    // Which systemd has not read.
    says(&found, "warning", "service", "systemd has not read them");
    let found = doctor("systemctl --user disable dossierd.service 2>&1");
    says(&found, "warning", "service", "not started at login");
    let found = doctor("systemctl --user stop dossierd.socket; systemctl --user start dossierd");
    says(&found, "warning", "service", "dossierd.service is active, and its socket is not");
    for (lingers, level) in [("yes", "ok"), ("no", "warning")] {
        let found = doctor(&format!(
            "mkdir -p ~/bin && printf '#!/bin/sh\\necho {lingers}\\n' >~/bin/loginctl && \
             chmod +x ~/bin/loginctl"
        ));
        let said = if level == "ok" { "on: the service runs from boot on" } else { "off: " };
        says(&found, level, "lingering", said);
    }
    // Another daemon, where the service listened.
    let found = doctor(
        "systemctl --user stop dossierd.socket dossierd.service; mkdir -p ~/other && \
         { XDG_STATE_HOME=~/other dossierd run --detached 2>~/other/log & }; \
         until [ -S $XDG_RUNTIME_DIR/dossierd/dossierd.sock ]; do :; done; \
         sed -i 's|run$|run --socket %t/elsewhere/dossierd.sock|' ~/.config/systemd/user/dossierd.service; \
         sed -i /^Wants/d ~/.config/systemd/user/dossierd.service; \
         systemctl --user daemon-reload; systemctl --user start dossierd.service",
    );
    says(&found, "warning", "service", "answers, and is not the service");
    doctor("dossierd stop 2>&1");
    // One that does not start: its configuration is broken.
    let found = doctor(
        "systemctl --user stop dossierd.socket dossierd.service; echo 'setle: {}' \
         >~/.config/dossierd/config.yaml || { mkdir -p ~/.config/dossierd && echo 'setle: {}' \
         >~/.config/dossierd/config.yaml; }; ! systemctl --user start dossierd.service",
    );
    says(&found, "error", "service", "failed");
}

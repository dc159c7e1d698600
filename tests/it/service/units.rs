//! Unit files for paths with special characters: escaped if systemd can represent them, otherwise
//! rejected before anything is changed.

use std::fs;

use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::systemd::UserManager;
use crate::support::{COMMAND_TIMEOUT, Project, copy_program, run, with_program, write_file};

/// Paths with characters that are special in unit files.
const PROGRAM: &str = "pro gram $HOME ${x} 100%h %% ;é@:!+-";
const STATE: &str = "st\"a'te $y ${z} %t \\x20 \\ ;#";

#[test]
fn paths_with_special_characters_work() {
    let project = Project::complete();
    let Some(mut manager) = UserManager::start(&project) else {
        return;
    };
    let (program, state) = (project.home().join(PROGRAM), project.home().join(STATE));
    // The shell reads these names from files.
    write_file(&project.home().join("program"), program.to_str().unwrap().as_bytes());
    write_file(&project.home().join("state"), state.to_str().unwrap().as_bytes());
    let copy = "mkdir -p \"$P\" && cp $(command -v dossierd) \"$P/dossierd\"";
    let install = "XDG_STATE_HOME=$(cat ~/state) \"$P/dossierd\" service install";
    let output = manager.sh(&format!("P=$(cat ~/program); {copy} && {install}"));
    assert!(output.contains("ready: watching 1 feature"), "{output}");
    let daemon = project.service_daemon();
    assert!(daemon.status()["store"]["path"].as_str().unwrap().contains("st\"a'te $y ${z} %t "));
    assert!(state.join("dossierd/dossierd.sqlite3").exists());
    let pid = manager.property("MainPID");
    let running = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert_eq!(running, program.join("dossierd"));
    let verify = "systemd-analyze --user verify ~/.config/systemd/user/dossierd.{service,socket}";
    assert_eq!(manager.sh(verify), "");
    let again = manager.sh(&format!("P=$(cat ~/program); {install}"));
    assert!(!again.contains("systemctl"), "a second installation changes nothing: {again}");
    assert_invariants(&project, &daemon, &mut JournalReader::default());
}

#[test]
fn program_path_that_systemd_cannot_run_is_rejected_before_any_change() {
    let project = Project::complete();
    for name in ["a\"b", "a'b", "a\\b", "a\nExecStartPre=b"] {
        let dir = project.home().join(name);
        fs::create_dir(&dir).unwrap();
        let program = dir.join("dossierd");
        copy_program(&program);
        let command = project.client_command(&["service", "install", "--dry-run"]);
        let run = run(with_program(&program, &command), COMMAND_TIMEOUT);
        run.assert_failure(1, "cannot write the program");
        assert!(!project.home().join(".config").exists());
    }
}

#[test]
fn unit_of_an_older_version_is_renewed_and_its_limits_are_in_force() {
    const LIMITS: [&str; 3] = ["LimitCORE=", "TasksMax=", "MemoryHigh="];
    let project = Project::complete();
    let Some(mut manager) = UserManager::start(&project) else {
        return;
    };
    manager.sh("dossierd service install");
    let path = project.home().join(".config/systemd/user/dossierd.service");
    let unit = fs::read_to_string(&path).unwrap();
    assert!(!unit.contains("UMask="), "files in projects have the bits of their directory");
    let is_limit = |line: &&str| LIMITS.iter().any(|limit| line.starts_with(limit));
    assert_eq!(unit.lines().filter(is_limit).count(), LIMITS.len());
    let older: Vec<&str> = unit.lines().filter(|line| !is_limit(line)).collect();
    write_file(&path, (older.join("\n").replace(" AF_NETLINK", "") + "\n").as_bytes());
    manager.sh("systemctl --user daemon-reload && systemctl --user restart dossierd.service");
    assert!(!manager.property("RestrictAddressFamilies").contains("AF_NETLINK"));
    let output = manager.sh("dossierd service install");
    assert!(output.contains("kept the old file as"), "{output}");
    assert_eq!(fs::read_to_string(&path).unwrap(), unit);
    for (name, expected) in [("LimitCORE", "0"), ("TasksMax", "512"), ("MemoryHigh", "536870912")] {
        assert_eq!(manager.property(name), expected, "{name}");
    }
    assert!(manager.property("RestrictAddressFamilies").contains("AF_NETLINK"));
    let limits =
        fs::read_to_string(format!("/proc/{}/limits", manager.property("MainPID"))).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

//! The units for paths of any kind: what a unit file can say is said so that nothing in it is taken
//! for anything else, and what it cannot say is refused before anything is changed.

use std::fs;
use std::process::Command;

use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::systemd::UserManager;
use crate::support::{Project, write_file};

/// What systemd takes for something in one place or another.
const PROGRAM: &str = "pro gram $HOME ${x} 100%h %% ;é@:!+-";
const STATE: &str = "st\"a'te $y ${z} %t \\x20 \\ ;#";

#[test]
fn a_program_and_folders_of_any_name() {
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
    let said = manager.sh(&format!("P=$(cat ~/program); {copy} && {install}"));
    assert!(said.contains("ready: watching 1 feature"), "{said}");
    let daemon = project.service_daemon();
    assert!(daemon.status()["store"]["path"].as_str().unwrap().contains("st\"a'te $y ${z} %t "));
    assert!(state.join("dossierd/dossierd.sqlite3").exists());
    let pid = manager.property("MainPID");
    let runs = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert_eq!(runs, program.join("dossierd"));
    let verify = "systemd-analyze --user verify ~/.config/systemd/user/dossierd.{service,socket}";
    assert_eq!(manager.sh(verify), "");
    let again = manager.sh(&format!("P=$(cat ~/program); {install}"));
    assert!(!again.contains("systemctl"), "nothing is to be done: {again}");
    assert_invariants(&project, &daemon, &mut JournalReader::default());
}

#[test]
fn what_systemd_does_not_run_is_refused_before_anything_is_changed() {
    let project = Project::complete();
    for name in ["a\"b", "a'b", "a\\b", "a\nExecStartPre=b"] {
        let folder = project.home().join(name);
        fs::create_dir(&folder).unwrap();
        let program = folder.join("dossierd");
        // By another process: a descriptor open for writing would be inherited by other tests'
        // children.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_dossierd")).arg(&program).status();
        assert!(copied.unwrap().success());
        let of_client = project.client_command(&["service", "install", "--dry-run"]);
        let mut command = Command::new(&program);
        command.args(of_client.get_args()).current_dir(&project.root).env_clear();
        command.envs(of_client.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let run = crate::support::run(command, crate::support::COMMAND_TIMEOUT);
        run.assert_failure(1, "cannot write the program");
        assert!(!project.home().join(".config").exists());
    }
}

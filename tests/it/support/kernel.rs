//! Faults of a real kernel: limits, mounts, signals, failing system calls. Most need root; tests
//! report that they are not run without it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::process::Daemon;
use super::wait::wait_for;
use super::{Project, not_run};

/// Returns true if the tests run as root; otherwise reports that `what` is not tested.
pub(crate) fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        not_run(&format!("{what} (needs root)"));
    }
    root
}

/// Returns true if a command succeeds on this machine; otherwise reports that `what` is not tested.
pub(crate) fn can_run(what: &str, command: &[&str]) -> bool {
    let mut trial = Command::new(command[0]);
    trial.args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null());
    let works = trial.status().is_ok_and(|status| status.success());
    if !works {
        not_run(&format!("{what} (no working `{}`)", command[0]));
    }
    works
}

/// Runs a command and checks that it succeeds.
#[track_caller]
pub(crate) fn sh(command: &[&str]) {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns `command` run by `wrapper`, in the same directory and environment.
pub(crate) fn wrap_command(wrapper: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(wrapper[0]);
    outer.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args()).env_clear();
    outer.current_dir(command.get_current_dir().unwrap());
    outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer
}

impl Daemon {
    /// Returns the process id that the daemon itself reports, also if a wrapper or systemd runs it.
    pub(crate) fn pid(&self) -> Pid {
        let id = self.status()["pid"].as_i64().unwrap();
        Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
    }
}

/// Sends a signal to a process.
pub(crate) fn send_signal(process: Pid, signal: Signal) {
    kill_process(process, signal).unwrap();
}

/// A mount, with its mount point; unmounted when dropped.
pub(crate) struct Mount(pub(crate) PathBuf);

impl Mount {
    /// Creates the directory and runs `mount ARGUMENTS DIR`.
    #[track_caller]
    pub(crate) fn new(arguments: &[&str], dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let mut command = vec!["mount"];
        command.extend(arguments);
        command.push(dir.to_str().unwrap());
        sh(&command);
        Self(dir.to_owned())
    }

    /// Unmounts, and waits until the kernel no longer reports the mount as busy.
    #[track_caller]
    pub(crate) fn unmount(self) {
        wait_for("an unmount that is not refused as busy", || {
            let mut command = Command::new("umount");
            let status = command.arg(&self.0).stderr(Stdio::null()).status().unwrap();
            status.success().then_some(())
        });
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut command = Command::new("umount");
        let _ = command.arg("-l").arg(&self.0).stderr(Stdio::null()).status();
    }
}

/// Writes a file until no space is left on its file system.
#[track_caller]
pub(crate) fn fill_disk(ballast: &Path) {
    let mut file = File::create(ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
}

/// How the daemon watches a project.
pub(crate) struct WatchStatus {
    pub(crate) state: String,
    /// Number of watched directories.
    pub(crate) watched: u64,
    /// Number of directories.
    pub(crate) total: u64,
    /// Empty if there is none.
    pub(crate) detail: String,
}

impl Project {
    /// Returns how the daemon watches the root, without waiting for earlier changes.
    #[track_caller]
    pub(crate) fn watch_status(&self, daemon: &Daemon) -> WatchStatus {
        let status = daemon.get_json("/api/status");
        let root = self.root.to_str().unwrap();
        let projects = status["projects"].as_array().unwrap();
        let shown = projects.iter().find(|shown| shown["root"] == root).unwrap();
        let watch = &shown["watch"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        WatchStatus {
            state: text(&watch["state"]),
            watched: number(&watch["watched"]),
            total: number(&watch["total"]),
            detail: text(&watch["detail"]),
        }
    }

    /// Waits until the watch of the root has the state `state`.
    #[track_caller]
    pub(crate) fn wait_for_watch(&self, daemon: &Daemon, state: &str) {
        wait_for(&format!("watch state `{state}`"), || {
            (self.watch_status(daemon).state == state).then_some(())
        });
    }
}

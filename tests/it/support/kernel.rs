//! What only a real kernel does: limits, mounts, signals, faults put into system calls. Most of it
//! needs root, and says so aloud where there is none.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::daemon::{Daemon, wait};
use super::{Project, not_run};

/// Whether this is root; if not, says aloud what is not proved.
pub(crate) fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        not_run(&format!("{what} (needs root)"));
    }
    root
}

/// Whether a command works here; if not, says aloud what is not proved.
pub(crate) fn works(what: &str, command: &[&str]) -> bool {
    let mut trial = Command::new(command[0]);
    trial.args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null());
    let works = trial.status().is_ok_and(|status| status.success());
    if !works {
        not_run(&format!("{what} (no working `{}`)", command[0]));
    }
    works
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn sh(command: &[&str]) {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A command by way of another, in the same directory and environment.
pub(crate) fn by(wrapper: &[&str], command: &Command) -> Command {
    let mut by = Command::new(wrapper[0]);
    by.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args()).env_clear();
    by.current_dir(command.get_current_dir().unwrap());
    by.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    by
}

impl Daemon {
    /// The daemon's own process, whoever started it.
    pub(crate) fn pid(&self) -> Pid {
        let id = self.status()["pid"].as_i64().unwrap();
        Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
    }
}

pub(crate) fn signal(process: Pid, signal: Signal) {
    kill_process(process, signal).unwrap();
}

/// A mount that is taken away at the end.
pub(crate) struct Mount(pub(crate) PathBuf);

impl Mount {
    /// Mounts by `mount ARGUMENTS FOLDER`, making the directory.
    #[track_caller]
    pub(crate) fn new(arguments: &[&str], folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mut command = vec!["mount"];
        command.extend(arguments);
        command.push(folder.to_str().unwrap());
        sh(&command);
        Self(folder.to_owned())
    }

    /// Unmounts as soon as nothing is busy there.
    #[track_caller]
    pub(crate) fn unmount(self) {
        wait("an unmount that is not busy", || {
            let mut command = Command::new("umount");
            let done = command.arg(&self.0).stderr(Stdio::null()).status().unwrap().success();
            done.then_some(())
        });
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut command = Command::new("umount");
        let _ = command.arg("-l").arg(&self.0).stderr(Stdio::null()).status();
    }
}

impl Project {
    /// How well the daemon watches the root: state, watched, total, detail.
    #[track_caller]
    pub(crate) fn watch(&self, daemon: &Daemon) -> (String, u64, u64, String) {
        let status = daemon.json("/api/status");
        let root = self.root.to_str().unwrap();
        let projects = status["projects"].as_array().unwrap();
        let shown = projects.iter().find(|shown| shown["root"] == root).unwrap();
        let watch = &shown["watch"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        let (watched, total) = (number(&watch["watched"]), number(&watch["total"]));
        (text(&watch["state"]), watched, total, text(&watch["detail"]))
    }

    /// Waits until the root is watched so.
    #[track_caller]
    pub(crate) fn wait_for_watch(&self, daemon: &Daemon, state: &str) {
        let mut last = String::new();
        wait(&format!("watch state {state}"), || {
            let now = self.watch(daemon);
            if now.0 != last {
                last.clone_from(&now.0);
            }
            (now.0 == state).then_some(())
        });
    }
}

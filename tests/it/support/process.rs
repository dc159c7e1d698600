//! Daemon processes: starts them over a project, waits for readiness and exit, stops and kills
//! them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::Project;
use super::wait::wait_for;

/// Number of bytes of the log that a failed test prints.
const LOG_TAIL_LENGTH: usize = 4_000;

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(super) socket: PathBuf,
    log: PathBuf,
}

impl Project {
    /// Returns the path of the socket of this project's daemon.
    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime_dir().join("dossierd/dossierd.sock")
    }

    /// Returns the directory that is `XDG_RUNTIME_DIR` for the daemon and its clients.
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.home().join("run")
    }

    /// Returns the state directory of the daemon, which contains its store.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.home().join(".local/state/dossierd")
    }

    /// Returns the command that runs a daemon over the root.
    pub(crate) fn daemon_command(&self) -> Command {
        let mut command = self.command(&["run"]);
        self.set_daemon_environment(&mut command);
        command.arg(&self.root);
        command
    }

    fn set_daemon_environment(&self, command: &mut Command) {
        fs::create_dir_all(self.runtime_dir()).unwrap();
        command.env("XDG_RUNTIME_DIR", self.runtime_dir());
        command.stdin(Stdio::null()).stdout(Stdio::null());
    }

    /// Starts a daemon over the root and waits until it has indexed everything.
    #[track_caller]
    pub(crate) fn start_daemon(&self) -> Daemon {
        let daemon = self.spawn_daemon(self.daemon_command());
        daemon.wait_until_ready();
        daemon
    }

    /// Starts a daemon over the root and more roots, and waits until it has indexed everything.
    #[track_caller]
    pub(crate) fn start_daemon_over(&self, more_roots: &[&Path]) -> Daemon {
        let mut command = self.daemon_command();
        command.args(more_roots);
        let daemon = self.spawn_daemon(command);
        daemon.wait_until_ready();
        daemon
    }

    /// Starts a daemon with `command`, without waiting for readiness.
    pub(crate) fn spawn_daemon(&self, command: Command) -> Daemon {
        let log = fs::File::options().create(true).append(true).open(self.log()).unwrap();
        self.spawn_daemon_with_stderr(command, log)
    }

    /// Starts a daemon with `command` that logs to `stderr`, without waiting for readiness.
    pub(crate) fn spawn_daemon_with_stderr(
        &self,
        mut command: Command,
        stderr: impl Into<Stdio>,
    ) -> Daemon {
        self.set_daemon_environment(&mut command);
        let child = command.stderr(stderr).spawn().unwrap();
        Daemon { child, socket: self.socket(), log: self.log() }
    }

    fn log(&self) -> PathBuf {
        self.home().join("daemon.log")
    }
}

impl Daemon {
    /// Waits until `/healthz` reports that everything is indexed.
    #[track_caller]
    pub(crate) fn wait_until_ready(&self) {
        wait_for(&format!("readiness; log:\n{}", self.log()), || {
            let response = self.try_get("/healthz", &[]).ok()?;
            (response.status == 200).then_some(())
        });
    }

    /// Returns everything that the daemon has logged, in all runs of this project.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns the process id of the started command, which is not the daemon's if a wrapper such
    /// as `strace` runs it.
    pub(crate) fn child_id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process with `SIGKILL`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends `SIGTERM`.
    pub(crate) fn terminate(&self) {
        let id = i32::try_from(self.child.id()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits until the process has exited.
    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        wait_for("the daemon to exit", || self.child.try_wait().unwrap())
    }

    /// Returns true if the process has not exited.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Stops the daemon with `SIGTERM` and checks that it exits successfully.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.terminate();
        let status = self.wait_for_exit();
        assert!(status.success(), "{status}; log:\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let start = log.len().saturating_sub(LOG_TAIL_LENGTH);
            eprintln!("end of the daemon's log:\n{}", log.get(start..).unwrap_or(&log));
        }
    }
}

//! A separate systemd user manager for one project's home, and a shell in its environment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use super::process::Daemon;
use super::wait::wait_for;
use super::{COMMAND_TIMEOUT, Project, not_run, repository};

/// Line that ends the output of each shell command; its exit code follows.
const MARK: &str = "--- end of output";

/// A user manager, which `tests/systemd-user` starts; it exits when this is dropped.
pub(crate) struct UserManager {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl UserManager {
    /// Starts a manager for the project's home; returns `None` and reports it where systemd does
    /// not run.
    pub(crate) fn start(project: &Project) -> Option<Self> {
        let mut command = Command::new(repository().join("tests/systemd-user"));
        command.args(["bash", "-s"]).current_dir(&project.root).env_clear();
        let program = Path::new(env!("CARGO_BIN_EXE_dossierd")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", program.display())).env("LOGNAME", "tester");
        command.env("HOME", project.home()).env("XDG_RUNTIME_DIR", project.runtime_dir());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        // Fails if the script has already exited.
        let _ = writeln!(stdin, "exec 2>&1; echo '{MARK}'");
        match lines.recv_timeout(COMMAND_TIMEOUT) {
            Ok(line) => assert_eq!(line, MARK),
            Err(_) => {
                let output = child.wait_with_output().unwrap();
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(77), "{stderr}");
                not_run(&format!("the service under systemd: {}", stderr.trim()));
                return None;
            }
        }
        Some(Self { child, stdin: Some(stdin), lines })
    }

    /// Runs a line of shell; returns its exit code and its output.
    #[track_caller]
    pub(crate) fn shell(&mut self, line: &str) -> (i32, String) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "( {line}\n) </dev/null; echo \"{MARK} $?\"").unwrap();
        let mut output = String::new();
        loop {
            let Ok(next) = self.lines.recv_timeout(COMMAND_TIMEOUT) else {
                panic!("timeout waiting for `{line}`; its output:\n{output}");
            };
            if let Some(code) = next.strip_prefix(MARK) {
                return (code.trim().parse().unwrap(), output);
            }
            output.push_str(&next);
            output.push('\n');
        }
    }

    /// Runs a line of shell, checks that it succeeds, and returns its output.
    #[track_caller]
    pub(crate) fn sh(&mut self, line: &str) -> String {
        let (code, output) = self.shell(line);
        assert_eq!(code, 0, "`{line}` failed:\n{output}{}", self.journal());
        output
    }

    /// Returns a property of the service.
    #[track_caller]
    pub(crate) fn property(&mut self, name: &str) -> String {
        let output = self.sh(&format!("systemctl --user show dossierd.service -P {name}"));
        output.trim().to_owned()
    }

    /// Waits until a property of the service satisfies `is_expected`, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_property(
        &mut self,
        name: &str,
        is_expected: impl Fn(&str) -> bool,
    ) -> String {
        wait_for(name, || Some(self.property(name)).filter(|value| is_expected(value)))
    }

    /// Returns the last 40 lines of the journal.
    pub(crate) fn journal(&mut self) -> String {
        self.shell("journalctl --no-pager --lines 40 --output cat").1
    }
}

impl Drop for UserManager {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

impl Project {
    /// Returns a handle for requests to the daemon that the manager runs.
    pub(crate) fn service_daemon(&self) -> Daemon {
        // Requests go to the daemon's socket. Its process belongs to the manager, so the process of
        // this handle is another one.
        let mut command = Command::new("sleep");
        command.arg("infinity");
        self.spawn_daemon(command)
    }
}

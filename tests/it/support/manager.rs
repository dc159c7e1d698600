//! A systemd user manager for one project's home, and a shell beside it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use super::daemon::{Daemon, wait};
use super::{DEADLINE, Project, not_run, repository};

const MARK: &str = "--- said and done";

/// The manager; it ends with this.
pub(crate) struct Manager {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Manager {
    /// Starts one for the project's home; `None`, said aloud, where that cannot be done.
    pub(crate) fn start(project: &Project) -> Option<Self> {
        let mut command = Command::new(repository().join("tests/systemd-user"));
        command.args(["bash", "-s"]).current_dir(&project.root).env_clear();
        let program = Path::new(env!("CARGO_BIN_EXE_dossierd")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", program.display())).env("LOGNAME", "tester");
        command.env("HOME", project.home()).env("XDG_RUNTIME_DIR", project.runtime());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let (to, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = to.send(line);
            }
        });
        // Fails where it has given up already.
        let _ = writeln!(stdin, "exec 2>&1; echo '{MARK}'");
        match lines.recv_timeout(DEADLINE) {
            Ok(line) => assert_eq!(line, MARK),
            Err(_) => {
                let output = child.wait_with_output().unwrap();
                let why = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(77), "{why}");
                not_run(&format!("the service under systemd: {}", why.trim()));
                return None;
            }
        }
        Some(Self { child, stdin: Some(stdin), lines })
    }

    /// Runs a line of shell; its exit code, and all that it printed.
    #[track_caller]
    pub(crate) fn shell(&mut self, line: &str) -> (i32, String) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "( {line}\n) </dev/null; echo \"{MARK} $?\"").unwrap();
        let mut said = String::new();
        loop {
            let Ok(next) = self.lines.recv_timeout(DEADLINE) else {
                panic!("`{line}` did not end; it said:\n{said}");
            };
            if let Some(code) = next.strip_prefix(MARK) {
                return (code.trim().parse().unwrap(), said);
            }
            said.push_str(&next);
            said.push('\n');
        }
    }

    /// Runs a line of shell that must end well.
    #[track_caller]
    pub(crate) fn sh(&mut self, line: &str) -> String {
        let (code, said) = self.shell(line);
        assert_eq!(code, 0, "`{line}` said:\n{said}{}", self.journal());
        said
    }

    /// A property of the service.
    #[track_caller]
    pub(crate) fn property(&mut self, name: &str) -> String {
        let said = self.sh(&format!("systemctl --user show dossierd.service -P {name}"));
        said.trim().to_owned()
    }

    /// Waits until a property of the service is as wanted.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, name: &str, wanted: impl Fn(&str) -> bool) -> String {
        wait(name, || Some(self.property(name)).filter(|value| wanted(value)))
    }

    /// The end of the journal.
    pub(crate) fn journal(&mut self) -> String {
        self.shell("journalctl --no-pager --lines 40 --output cat").1
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

impl Project {
    /// The daemon that the manager runs.
    pub(crate) fn service(&self) -> Daemon {
        // What is asked is its socket; the process is the manager's.
        let mut command = Command::new("sleep");
        command.arg("infinity");
        self.spawn(command)
    }
}

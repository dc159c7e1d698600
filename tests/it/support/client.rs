//! Commands that talk to the daemon: run until they exit, read line by line, or on a terminal.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::wait::{WAIT_TIMEOUT, wait_for};
use super::{COMMAND_TIMEOUT, CommandOutput, Project, run};

impl Project {
    /// Returns a command in the root that finds the daemon of this project's home.
    pub(crate) fn client_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        fs::create_dir_all(self.runtime_dir()).unwrap();
        command.env("XDG_RUNTIME_DIR", self.runtime_dir());
        command
    }

    /// Runs a command that finds the daemon.
    #[track_caller]
    pub(crate) fn run_client(&self, arguments: &[&str]) -> CommandOutput {
        run(self.client_command(arguments), COMMAND_TIMEOUT)
    }

    /// Runs a command that finds the daemon on a terminal with so many columns; returns `None` and
    /// reports it if there is no `script`.
    #[track_caller]
    pub(crate) fn run_on_terminal(
        &self,
        columns: u16,
        arguments: &[&str],
    ) -> Option<CommandOutput> {
        Some(run(self.terminal_command(columns, arguments)?, COMMAND_TIMEOUT))
    }

    /// Returns the command to run on a terminal; `None`, which is reported, if there is no
    /// `script`.
    pub(crate) fn terminal_command(&self, columns: u16, arguments: &[&str]) -> Option<Command> {
        if Command::new("script").arg("--version").output().is_err() {
            super::not_run("output on a terminal (no `script`)");
            return None;
        }
        let program = env!("CARGO_BIN_EXE_dossierd");
        let line = format!("stty cols {columns} rows 24; exec {program} {}", arguments.join(" "));
        let of_client = self.client_command(&[]);
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(&self.root).env_clear();
        command.envs(of_client.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("TERM", "xterm").env("SHELL", "/bin/sh");
        if !command.get_envs().any(|(name, _)| name == "PAGER" || name == "DOSSIERD_PAGER") {
            command.env("PAGER", "");
        }
        Some(command)
    }

    /// Replaces everything in `text` that differs between runs: times and temporary directories.
    pub(crate) fn redact(&self, text: &str) -> String {
        redact_times(&self.redact_paths(text))
    }
}

/// Replaces each time in `text`, in the formats that dossierd prints, by `TIME`.
pub(crate) fn redact_times(text: &str) -> String {
    const FORMATS: [&str; 2] = ["0000-00-00T00:00:00.000Z", "00:00:00Z"];
    let begins_with = |text: &str, format: &str| {
        let mut pairs = text.bytes().zip(format.bytes());
        text.len() >= format.len()
            && pairs.all(
                |(byte, sample)| {
                    if sample == b'0' { byte.is_ascii_digit() } else { byte == sample }
                },
            )
    };
    let (mut out, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let format = FORMATS.into_iter().find(|format| begins_with(rest, format));
        let length = format.map_or(c.len_utf8(), str::len);
        out.push_str(format.map_or(&rest[..length], |_| "TIME"));
        rest = &rest[length..];
    }
    out
}

/// A running command whose output is read line by line; killed when dropped.
pub(crate) struct RunningCommand {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// Lines of standard error that were read so far.
    pub(crate) stderr_lines: Vec<String>,
}

/// Reads a stream in a thread; returns its lines.
fn line_reader(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl RunningCommand {
    /// Starts a command with pipes for its three standard streams.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = line_reader(child.stdout.take().unwrap());
        let stderr = line_reader(child.stderr.take().unwrap());
        Self { stdin: child.stdin.take(), child, stdout, stderr, stderr_lines: Vec::new() }
    }

    /// Returns the next line of standard output.
    #[track_caller]
    pub(crate) fn next_line(&mut self) -> String {
        match self.stdout.recv_timeout(WAIT_TIMEOUT) {
            Ok(line) => line,
            Err(error) => panic!("{error}; standard error:\n{}", self.all_stderr()),
        }
    }

    /// Returns the next line of standard output as JSON.
    #[track_caller]
    pub(crate) fn next_json(&mut self) -> Value {
        let line = self.next_line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Returns the lines of standard output up to the first that contains `text`, which is
    /// included.
    #[track_caller]
    pub(crate) fn lines_until(&mut self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.next_line();
            let last = line.contains(text);
            lines.push(line);
            if last {
                return lines;
            }
            assert!(lines.len() < 100_000, "`{text}` is not in the first 100,000 lines");
        }
    }

    /// Waits until standard error contains `text`.
    #[track_caller]
    pub(crate) fn wait_for_stderr(&mut self, text: &str) {
        while !self.stderr_lines.iter().any(|line| line.contains(text)) {
            match self.stderr.recv_timeout(WAIT_TIMEOUT) {
                Ok(line) => self.stderr_lines.push(line),
                Err(error) => {
                    panic!("waiting for `{text}`: {error}; standard error:\n{}", self.all_stderr())
                }
            }
        }
    }

    /// Returns what was written to standard error until now.
    pub(crate) fn all_stderr(&mut self) -> String {
        self.stderr_lines.extend(self.stderr.try_iter());
        self.stderr_lines.join("\n")
    }

    /// Writes to standard input, which is its terminal for [`Project::terminal_command`].
    pub(crate) fn type_text(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Sends a signal to the command.
    pub(crate) fn send_signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Waits until the command has exited; returns its exit code.
    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> Option<i32> {
        wait_for("the command to exit", || self.child.try_wait().unwrap()).code()
    }

    /// Returns the rest of standard output, after the command has exited.
    pub(crate) fn remaining_lines(&mut self) -> Vec<String> {
        self.stdout.iter().collect()
    }

    /// Sends `SIGINT`, as Ctrl-C does, checks that the command exits successfully, and returns the
    /// rest of standard output.
    #[track_caller]
    pub(crate) fn interrupt(mut self) -> Vec<String> {
        self.send_signal(Signal::INT);
        assert_eq!(self.wait_for_exit(), Some(0), "{}", self.all_stderr());
        self.remaining_lines()
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("standard error of the command:\n{}", self.all_stderr());
        }
    }
}

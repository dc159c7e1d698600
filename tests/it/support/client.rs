//! The client commands as people and programs have them: run to their end, followed line by line, on
//! a terminal; and a daemon that is none.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::daemon::{PATIENCE, wait};
use super::{DEADLINE, Project, Run, run};

impl Project {
    /// A command in the root that finds the daemon of this project's home.
    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        fs::create_dir_all(self.runtime()).unwrap();
        command.env("XDG_RUNTIME_DIR", self.runtime());
        command
    }

    /// Runs it.
    #[track_caller]
    pub(crate) fn ask(&self, arguments: &[&str]) -> Run {
        run(self.client(arguments), DEADLINE)
    }

    /// Runs it on a terminal of 80 columns, or as many as `columns` says; what it shows.
    #[track_caller]
    pub(crate) fn ask_on_terminal(&self, columns: u16, arguments: &[&str]) -> Option<Run> {
        Some(run(self.terminal(columns, arguments)?, DEADLINE))
    }

    /// The command on a terminal; `None`, said aloud, where there is no `script`.
    pub(crate) fn terminal(&self, columns: u16, arguments: &[&str]) -> Option<Command> {
        if Command::new("script").arg("--version").output().is_err() {
            super::not_run("what a terminal shows: `script` is not there");
            return None;
        }
        let program = env!("CARGO_BIN_EXE_dossierd");
        let line = format!("stty cols {columns} rows 24; exec {program} {}", arguments.join(" "));
        let of_client = self.client(&[]);
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(&self.root).env_clear();
        command.envs(of_client.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("TERM", "xterm").env("SHELL", "/bin/sh");
        Some(command)
    }

    /// `text` without what differs from run to run.
    pub(crate) fn redacted(&self, text: &str) -> String {
        without_times(&self.stable(text))
    }
}

/// `text` with `TIME` for each time of the forms that are printed.
pub(crate) fn without_times(text: &str) -> String {
    const FORMS: [&str; 2] = ["0000-00-00T00:00:00.000Z", "00:00:00Z"];
    let is = |text: &str, form: &str| {
        let mut pairs = text.bytes().zip(form.bytes());
        text.len() >= form.len()
            && pairs.all(|(byte, of)| if of == b'0' { byte.is_ascii_digit() } else { byte == of })
    };
    let (mut out, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let form = FORMS.into_iter().find(|form| rest.is_char_boundary(0) && is(rest, form));
        let taken = form.map_or(c.len_utf8(), str::len);
        out.push_str(form.map_or(&rest[..taken], |_| "TIME"));
        rest = &rest[taken..];
    }
    out
}

/// A command that goes on; killed when dropped.
pub(crate) struct Following {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    said: Receiver<String>,
    /// All of standard error so far.
    pub(crate) errors: Vec<String>,
}

fn reader(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, received) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    received
}

impl Following {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = reader(child.stdout.take().unwrap());
        let said = reader(child.stderr.take().unwrap());
        Self { input: child.stdin.take(), child, lines, said, errors: Vec::new() }
    }

    /// The next line of standard output.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("{error}; standard error:\n{}", self.all_errors()),
        }
    }

    /// The next line as JSON.
    #[track_caller]
    pub(crate) fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Lines up to and with the first that has `text`.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            let last = line.contains(text);
            lines.push(line);
            if last {
                return lines;
            }
            assert!(lines.len() < 100_000, "`{text}` does not come");
        }
    }

    /// Waits until standard error has `text`.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) {
        while !self.errors.iter().any(|line| line.contains(text)) {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) => self.errors.push(line),
                Err(error) => panic!("`{text}`: {error}; it said:\n{}", self.all_errors()),
            }
        }
    }

    fn all_errors(&mut self) -> String {
        self.errors.extend(self.said.try_iter());
        self.errors.join("\n")
    }

    /// Types on its terminal.
    pub(crate) fn types(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Waits for its end; the exit code.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Option<i32> {
        wait("the end of the command", || self.child.try_wait().unwrap()).code()
    }

    /// What is left of its output after its end.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.lines.iter().collect()
    }

    /// Ends it as Ctrl-C does, which is clean.
    #[track_caller]
    pub(crate) fn interrupt(mut self) -> Vec<String> {
        self.signal(Signal::INT);
        assert_eq!(self.ended(), Some(0), "{}", self.all_errors());
        self.rest()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the command said:\n{}", self.all_errors());
        }
    }
}

/// What the project's daemon answers, with the body made another, by that server.
pub(crate) fn passed_on(
    project: &Project,
    server: &'static str,
    change: impl Fn(&str) -> String + Send + Clone + 'static,
) -> impl Fn(&str) -> Option<Said> + Send + Clone + 'static {
    let real = project.socket();
    move |request: &str| {
        let mut stream = UnixStream::connect(&real).ok()?;
        let rest = "Host: localhost\r\nAccept: application/json\r\nConnection: close";
        write!(stream, "{request}\r\n{rest}\r\nContent-Length: 0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some(Said { status: head.get(9..12)?.parse().ok()?, server, body: change(body) })
    }
}

/// An answer of a [`Fake`].
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) server: &'static str,
    pub(crate) body: String,
}

/// Something at a socket that answers as it likes.
pub(crate) struct Fake {
    pub(crate) socket: PathBuf,
}

impl Fake {
    /// Answers every request at `socket` with what `answer` makes of its first line; nothing, and
    /// the connection is closed, for `None`.
    pub(crate) fn start(
        socket: &Path,
        answer: impl Fn(&str) -> Option<Said> + Send + Clone + 'static,
    ) -> Self {
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let answer = answer.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &answer));
            }
        });
        Self { socket: socket.to_owned() }
    }
}

fn serve(stream: UnixStream, answer: &impl Fn(&str) -> Option<Said>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 || header == "\r\n" {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        let _ = reader.read_exact(&mut body);
        let Some(Said { status, server, body }) = answer(first.trim_end()) else { return };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\nServer: {server}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

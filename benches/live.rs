//! A daemon as its clients have it, for benchmarks: started, asked, measured, stopped.
#![allow(dead_code, reason = "each benchmark uses some of it")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// Times of one thing that was done often.
#[derive(Default)]
pub(crate) struct Edits {
    pub(crate) times: Vec<Duration>,
}

impl Edits {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list that is there"
    )]
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        sorted[((sorted.len() - 1) as f64 * part).round() as usize]
    }
}

impl std::fmt::Display for Edits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |part| ms(self.quantile(part));
        let (count, p50, p99) = (self.times.len(), at(0.5), at(0.99));
        write!(f, "{count} times: {} to {p50} to {p99} to {}", at(0.0), at(1.0))
    }
}

pub(crate) fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// A daemon over one project, with directories of its own.
pub(crate) struct Daemon {
    child: Child,
    /// The daemon's own process; another's child under `strace`.
    pub(crate) pid: u32,
    pub(crate) socket: PathBuf,
    pub(crate) home: PathBuf,
}

impl Daemon {
    /// Starts it; gives how long after its start it was ready.
    pub(crate) fn start(home: &Path, root: &Path) -> anyhow::Result<(Self, Duration)> {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_dossierd")), home, root)
    }

    pub(crate) fn start_by(
        mut command: Command,
        home: &Path,
        root: &Path,
    ) -> anyhow::Result<(Self, Duration)> {
        fs::create_dir_all(home.join("run"))?;
        own_folders(&mut command, home).arg("run").arg(root);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(home.join("log"))?);
        let begin = Instant::now();
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        let socket = home.join("run/dossierd/dossierd.sock");
        let mut daemon = Self { pid: child.id(), child, socket, home: home.to_owned() };
        loop {
            if daemon.ask("/healthz").is_ok_and(|answer| answer.0 == 200) {
                let ready = begin.elapsed();
                let status = daemon.get("/api/status")?;
                let pid = status["pid"].as_u64().context("a pid")?;
                daemon.pid = u32::try_from(pid)?;
                return Ok((daemon, ready));
            }
            if begin.elapsed() > Duration::from_mins(1) || daemon.child.try_wait()?.is_some() {
                bail!("the daemon does not start: {}", fs::read_to_string(home.join("log"))?);
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// One request on a connection of its own: status and body.
    pub(crate) fn ask(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
        let status = head.split(' ').nth(1).context("a status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = self.ask(path)?;
        ensure!(status == 200, "{path}: {status} {body}");
        Ok(serde_json::from_str(&body)?)
    }

    pub(crate) fn subscribe(&self) -> anyhow::Result<Subscriber> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut subscriber = Subscriber {
            lines: BufReader::new(stream),
            line: String::new(),
            seen: BTreeMap::new(),
        };
        while subscriber.line != "\r\n" {
            subscriber.read_line()?;
        }
        Ok(subscriber)
    }

    /// Resident memory.
    pub(crate) fn mib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        Ok(number_after(&status, "VmRSS:").context("VmRSS")? as f64 / 1024.0)
    }

    /// How often each of its threads was switched to and from.
    pub(crate) fn switches(&self) -> anyhow::Result<BTreeMap<OsString, u64>> {
        self.of_threads("status", |status| {
            let own = number_after(status, "\nvoluntary_ctxt_switches:");
            Some(own? + number_after(status, "nonvoluntary_ctxt_switches:")?)
        })
    }

    /// Processor time.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let first = |text: &str| text.split(' ').next().and_then(|word| word.parse().ok());
        let threads = self.of_threads("schedstat", first)?;
        Ok(Duration::from_nanos(threads.values().sum()))
    }

    fn of_threads(
        &self,
        file: &str,
        number: impl Fn(&str) -> Option<u64>,
    ) -> anyhow::Result<BTreeMap<OsString, u64>> {
        let mut numbers = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // A thread may have ended meanwhile.
            let thread = thread?;
            if let Ok(text) = fs::read_to_string(thread.path().join(file)) {
                let number = number(&text).with_context(|| format!("a number in {file}"))?;
                numbers.insert(thread.file_name(), number);
            }
        }
        Ok(numbers)
    }

    /// That every tree hash is the one of a scan made now.
    pub(crate) fn agrees_with_disk(&self, root: &Path, status: &Value) -> anyhow::Result<()> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dossierd"));
        let scan =
            own_folders(&mut command, &self.home).args(["scan", "--json"]).arg(root).output()?;
        let mut fresh = BTreeMap::new();
        for line in std::str::from_utf8(&scan.stdout)?.lines() {
            let snapshot: Value = serde_json::from_str(line)?;
            fresh
                .insert(snapshot["feature_slug"].to_string(), snapshot["tree_hash_sha256"].clone());
        }
        let features = status["projects"][0]["features"].as_array().context("features")?;
        ensure!(features.len() == fresh.len() && !fresh.is_empty(), "other features than a scan");
        for feature in features {
            let slug = feature["feature_slug"].to_string();
            let same = fresh.get(&slug) == Some(&feature["tree_hash_sha256"]);
            ensure!(same, "{slug} is not what a scan says");
        }
        Ok(())
    }

    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let killed = Command::new("kill").arg(self.pid.to_string()).status()?;
        ensure!(killed.success(), "the daemon was gone already");
        let ended = self.child.wait()?;
        ensure!(ended.success(), "the daemon ended with {ended}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn own_folders<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("XDG_STATE_HOME", home.join("state"))
        .env("XDG_RUNTIME_DIR", home.join("run"))
}

pub(crate) fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.split_once(name)?.1;
    rest.split_whitespace().next()?.parse().ok()
}

/// A stream of events.
pub(crate) struct Subscriber {
    lines: BufReader<UnixStream>,
    line: String,
    /// Files that others than the edited one were about, with their hashes.
    pub(crate) seen: BTreeMap<String, String>,
}

impl Subscriber {
    pub(crate) fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            self.read_line()?;
            if let Some(envelope) = self.line.strip_prefix("data:") {
                return Ok(serde_json::from_str(envelope.trim())?);
            }
        }
    }

    /// The line that was read last.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    pub(crate) fn read_line(&mut self) -> anyhow::Result<()> {
        self.line.clear();
        ensure!(self.lines.read_line(&mut self.line)? > 0, "the stream ended");
        Ok(())
    }
}

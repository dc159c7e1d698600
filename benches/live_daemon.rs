//! A running daemon for benchmarks: start, requests, events, resource usage, stop.
#![allow(dead_code, reason = "each benchmark uses a part")]

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
use wait4::{ResourceUsage, Wait4 as _};

/// Durations of repeated runs of one operation.
#[derive(Default)]
pub(crate) struct Timings {
    pub(crate) times: Vec<Duration>,
}

impl Timings {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index below the length"
    )]
    /// Returns a quantile; 0.5 is the median.
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        sorted[((sorted.len() - 1) as f64 * part).round() as usize]
    }
}

impl std::fmt::Display for Timings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |part| ms(self.quantile(part));
        let (count, p50, p99) = (self.times.len(), at(0.5), at(0.99));
        write!(f, "{count} times: {} to {p50} to {p99} to {}", at(0.0), at(1.0))
    }
}

/// Formats a duration in milliseconds.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// A daemon over one project, with its own home directory; killed when dropped.
pub(crate) struct Daemon {
    /// `None` when it was stopped.
    child: Option<Child>,
    /// Process id of the daemon, which is a child of `strace` if that runs it.
    pub(crate) pid: u32,
    pub(crate) socket: PathBuf,
    pub(crate) home: PathBuf,
}

impl Daemon {
    /// Starts a daemon; returns it with the time until it was ready.
    pub(crate) fn start(home: &Path, root: &Path) -> anyhow::Result<(Self, Duration)> {
        Self::start_with(Command::new(env!("CARGO_BIN_EXE_dossierd")), home, root)
    }

    /// Starts a daemon with `command`, to which the arguments are appended.
    pub(crate) fn start_with(
        mut command: Command,
        home: &Path,
        root: &Path,
    ) -> anyhow::Result<(Self, Duration)> {
        fs::create_dir_all(home.join("run"))?;
        set_home(&mut command, home).arg("run").arg(root);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(home.join("log"))?);
        let begin = Instant::now();
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        let socket = home.join("run/dossierd/dossierd.sock");
        let mut daemon =
            Self { pid: child.id(), child: Some(child), socket, home: home.to_owned() };
        loop {
            if daemon.request("/healthz").is_ok_and(|(status, _)| status == 200) {
                let ready = begin.elapsed();
                let status = daemon.get("/api/status")?;
                let pid = status["pid"].as_u64().context("no pid")?;
                daemon.pid = u32::try_from(pid)?;
                return Ok((daemon, ready));
            }
            let child = daemon.child.as_mut().context("no process")?;
            if begin.elapsed() > Duration::from_mins(1) || child.try_wait()?.is_some() {
                bail!("the daemon does not start: {}", fs::read_to_string(home.join("log"))?);
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Sends a request on a new connection; returns status and body.
    pub(crate) fn request(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let (head, body) = response.split_once("\r\n\r\n").context("no complete response")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    /// Sends a request that must succeed; returns the JSON body.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = self.request(path)?;
        ensure!(status == 200, "{path}: {status} {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// Opens a stream of events.
    pub(crate) fn subscribe(&self) -> anyhow::Result<Subscriber> {
        self.subscribe_to("")
    }

    /// Reads the events that a query selects, such as `feature=001-x`.
    pub(crate) fn subscribe_to(&self, query: &str) -> anyhow::Result<Subscriber> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "GET /api/events?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut subscriber = Subscriber {
            lines: BufReader::new(stream),
            line: String::new(),
            others: BTreeMap::new(),
        };
        while subscriber.line != "\r\n" {
            subscriber.read_line()?;
        }
        Ok(subscriber)
    }

    /// Returns the resident memory in MiB.
    pub(crate) fn mib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        Ok(number_after(&status, "VmRSS:").context("no VmRSS")? as f64 / 1024.0)
    }

    /// Returns the number of context switches of each thread.
    pub(crate) fn context_switches(&self) -> anyhow::Result<BTreeMap<OsString, u64>> {
        self.for_each_thread("status", |status| {
            let voluntary = number_after(status, "\nvoluntary_ctxt_switches:");
            Some(voluntary? + number_after(status, "nonvoluntary_ctxt_switches:")?)
        })
    }

    /// Returns the CPU time of all threads, also of those that have ended, in the resolution of the
    /// kernel's accounting (10 ms).
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        cpu_time(self.pid)
    }

    /// Reads a number from a file in `/proc` for each thread.
    fn for_each_thread(
        &self,
        file: &str,
        number: impl Fn(&str) -> Option<u64>,
    ) -> anyhow::Result<BTreeMap<OsString, u64>> {
        let mut numbers = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // The thread may have exited since the directory was read.
            let thread = thread?;
            if let Ok(text) = fs::read_to_string(thread.path().join(file)) {
                let number = number(&text).with_context(|| format!("no number in {file}"))?;
                numbers.insert(thread.file_name(), number);
            }
        }
        Ok(numbers)
    }

    /// Checks that the tree hash of every feature equals that of a new scan.
    pub(crate) fn ensure_matches_disk(&self, root: &Path, status: &Value) -> anyhow::Result<()> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dossierd"));
        let scan =
            set_home(&mut command, &self.home).args(["scan", "--json"]).arg(root).output()?;
        let mut fresh = BTreeMap::new();
        for line in std::str::from_utf8(&scan.stdout)?.lines() {
            let snapshot: Value = serde_json::from_str(line)?;
            fresh
                .insert(snapshot["feature_slug"].to_string(), snapshot["tree_hash_sha256"].clone());
        }
        let features = status["projects"][0]["features"].as_array().context("no features")?;
        ensure!(
            features.len() == fresh.len() && !fresh.is_empty(),
            "the features differ from those of a scan"
        );
        for feature in features {
            let slug = feature["feature_slug"].to_string();
            let is_equal = fresh.get(&slug) == Some(&feature["tree_hash_sha256"]);
            ensure!(is_equal, "{slug} differs from a scan");
        }
        Ok(())
    }

    /// Stops the daemon with `SIGTERM`.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.stop_with_usage().map(drop)
    }

    /// Stops the daemon with `SIGTERM`; returns the resources that it used since its start.
    pub(crate) fn stop_with_usage(mut self) -> anyhow::Result<ResourceUsage> {
        let kill = Command::new("kill").arg(self.pid.to_string()).status()?;
        ensure!(kill.success(), "the daemon has already exited");
        let exit = self.child.take().context("no process")?.wait4()?;
        ensure!(exit.status.success(), "the daemon exited with {}", exit.status);
        Ok(exit.rusage)
    }
}

/// Writes the configuration that turns the history on or off.
pub(crate) fn configure_history(home: &Path, is_on: bool) -> anyhow::Result<()> {
    write_config(home, &format!("history: {{enabled: {is_on}}}\n"))
}

impl Daemon {
    /// Fails if the history is not as [`configure_history`] turned it: the figures would be of something else.
    pub(crate) fn ensure_history(&self, is_on: bool) -> anyhow::Result<()> {
        let status = self.get("/api/history")?;
        ensure!(status["enabled"] == is_on, "the history is not as configured: {status}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sets the directories of a command to those below `home`.
pub(crate) fn set_home<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("XDG_STATE_HOME", home.join("state"))
        .env("XDG_RUNTIME_DIR", home.join("run"))
}

/// Writes the configuration that a daemon started with `home` reads.
pub(crate) fn write_config(home: &Path, text: &str) -> anyhow::Result<()> {
    let dir = home.join("config/dossierd");
    fs::create_dir_all(&dir)?;
    Ok(fs::write(dir.join("config.yaml"), text)?)
}

/// Returns the number that follows a name.
pub(crate) fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.split_once(name)?.1;
    rest.split_whitespace().next()?.parse().ok()
}

/// A stream of events.
pub(crate) struct Subscriber {
    lines: BufReader<UnixStream>,
    line: String,
    /// File name and hash of each artifact event that the caller did not wait for.
    pub(crate) others: BTreeMap<String, String>,
}

impl Subscriber {
    /// Returns the next event.
    pub(crate) fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            self.read_line()?;
            if let Some(envelope) = self.line.strip_prefix("data:") {
                return Ok(serde_json::from_str(envelope.trim())?);
            }
        }
    }

    /// Returns the last line that was read.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// Reads a line of the stream.
    pub(crate) fn read_line(&mut self) -> anyhow::Result<()> {
        self.line.clear();
        ensure!(self.lines.read_line(&mut self.line)? > 0, "the stream ended");
        Ok(())
    }
}

/// Returns the CPU time of a process, as [`Daemon::cpu_time`] does.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').context("no name in stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second())?)
}

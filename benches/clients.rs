//! How much clients can slow down each other: `cargo bench --bench clients`, and with `-- hostile` only the part
//! with hostile clients.
//!
//! Starts the real program over a real project and opens many connections that misbehave. Prints
//! figures and whether each promise is met; a broken promise does not fail the run, because a busy
//! machine breaks it too. Response times are measured with and without the other connections.
#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]

mod hostile_clients;
mod live_daemon;
mod project;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use live_daemon::{Daemon, Timings, cpu_time, ms, set_home};
use project::{FILES, Source, promise};

/// Number of connections that are opened and closed, and maximum p99 of requests after that.
const CONNECTS: usize = 10_000;
const MAX_RESPONSE_TIME: Duration = Duration::from_millis(10);
/// Number of measured requests, and of those on one connection, with the promised medians.
const REQUESTS: usize = 300;
const KEEP_ALIVE_REQUESTS: usize = 2_000;
const MAX_KEEP_ALIVE: Duration = Duration::from_micros(300);
const MAX_SYNCED: Duration = Duration::from_micros(500);
/// Number of features of the project for `dossierd status`, and promised median.
const FEATURES: usize = 412;
const MAX_STATUS: Duration = Duration::from_millis(10);
/// Time over which clients that follow without a change are measured, after the time in which they start; and the maximum
/// of the processor time of each, in percent of a core.
const IDLE_TIME: Duration = Duration::from_secs(20);
const IDLE_START: Duration = Duration::from_secs(3);
const MAX_IDLE_PERCENT: f64 = 1.0;
/// Number of subscribers, edits that all of them receive, and promised median of the last.
const SUBSCRIBERS: usize = 1_000;
const BROADCAST_EDITS: usize = 20;
const MAX_BROADCAST: Duration = Duration::from_millis(20);
/// Number of iterations of {write a file; request it}: over the socket, and with the command.
const WRITES: usize = 10_000;
const COMMANDS: usize = 10_000;

fn main() -> anyhow::Result<()> {
    raise_descriptor_limit();
    if std::env::args().any(|argument| argument == hostile_clients::AS_CLIENTS) {
        return hostile_clients::run_as_clients();
    }
    let scratch = tempfile::tempdir()?;
    let is_all = !std::env::args().any(|argument| argument == "hostile");
    if is_all {
        bench_status_command(scratch.path())?;
    }
    let (home, root) = (scratch.path().join("home"), scratch.path().join("project"));
    let source = Source::find()?;
    source.repeat(&root)?;
    println!("{FILES} files, from {}", source.name);
    let (daemon, _) = Daemon::start(&home, &root)?;
    let slug = daemon.get("/api/status")?["projects"][0]["features"][0]["feature_slug"].clone();
    let slug = slug.as_str().context("no feature")?.to_owned();
    let overview = format!("/api/dossier/overview?feature={slug}");
    if is_all {
        for (sync, limit) in [("", MAX_KEEP_ALIVE), ("&sync=true", MAX_SYNCED)] {
            let times = bench_keep_alive(&daemon, &format!("{overview}{sync}"))?;
            println!("on one connection{sync:<11}     {times}");
            promise_time("median", times.quantile(0.5), limit);
        }
        bench_broadcast(&daemon, &root, &slug)?;
        bench_connects(&daemon, &overview)?;
        bench_own_writes_by_command(&daemon, &root, &slug)?;
        bench_own_writes(&daemon, &root, &slug)?;
    }
    hostile_clients::run(daemon, &root, &slug, &overview)
}

/// Prints the promise of a maximum time, and the ratio of the time to it.
fn promise_time(what: &str, time: Duration, limit: Duration) {
    let ratio = time.as_secs_f64() / limit.as_secs_f64();
    let (time, maximum) = (ms(time), ms(limit));
    promise(&format!("{what} {time}, at most {maximum} ({ratio:.2} of it)"), ratio <= 1.0);
}

/// Measures `dossierd status` over many features, including the start of the process.
fn bench_status_command(scratch: &Path) -> anyhow::Result<()> {
    let (home, root) = (scratch.join("status-home"), scratch.join("status"));
    for number in 0..FEATURES {
        let feature = root.join(format!("kitty-specs/{number:03}-feature"));
        fs::create_dir_all(feature.join("tasks"))?;
        for name in ["spec.md", "plan.md", "tasks.md", "tasks/WP01.md"] {
            fs::write(feature.join(name), format!("# {name} of {number}\n"))?;
        }
    }
    let (daemon, _) = Daemon::start(&home, &root)?;
    let mut times = Timings::default();
    for _ in 0..REQUESTS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dossierd"));
        set_home(&mut command, &home).arg("status").current_dir(&root);
        let start = Instant::now();
        let output = command.output()?;
        times.times.push(start.elapsed());
        let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
        ensure!(output.status.success() && lines > FEATURES, "{output:?}");
    }
    println!("`dossierd status`, {FEATURES} features   {times}");
    promise_time("median", times.quantile(0.5), MAX_STATUS);
    bench_idle_clients(&home, &root)?;
    daemon.stop()
}

/// Measures the processor time of `top` and, at the same time, of `watch` while nothing changes. `script` of util-linux
/// provides a terminal for each.
fn bench_idle_clients(home: &Path, root: &Path) -> anyhow::Result<()> {
    let start = |name: &str| -> anyhow::Result<Child> {
        let program = env!("CARGO_BIN_EXE_dossierd");
        let line = format!("stty rows 50 cols 160; exec {program} {name}");
        let mut command = Command::new("script");
        set_home(&mut command, home).env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
        command.args(["-qec", &line, "/dev/null"]).current_dir(root);
        // `script` ends with its input.
        Ok(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?)
    };
    let mut clients = vec![("top", start("top")?), ("watch", start("watch")?)];
    std::thread::sleep(IDLE_START);
    let used = |client: &Child| -> anyhow::Result<Duration> {
        let id = client.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        cpu_time(children.split_whitespace().next().context("the client ended")?.parse()?)
    };
    let measure = || clients.iter().map(|(_, client)| used(client)).collect::<Result<Vec<_>, _>>();
    let before = measure()?;
    std::thread::sleep(IDLE_TIME);
    let after = measure()?;
    for (index, (name, _)) in clients.iter().enumerate() {
        let time = after[index].saturating_sub(before[index]);
        let percent = 100.0 * time.as_secs_f64() / IDLE_TIME.as_secs_f64();
        let what = format!(
            "`dossierd {name}`, {FEATURES} features, nothing changes: {percent:.2} % of a core"
        );
        promise(&format!("{what}, at most {MAX_IDLE_PERCENT} %"), percent <= MAX_IDLE_PERCENT);
    }
    for (_, client) in &mut clients {
        client.kill()?;
        client.wait()?;
    }
    Ok(())
}

/// Measures requests on one connection.
fn bench_keep_alive(daemon: &Daemon, target: &str) -> anyhow::Result<Timings> {
    let mut stream = UnixStream::connect(&daemon.socket)?;
    let (mut times, mut response) = (Timings::default(), Vec::new());
    for _ in 0..KEEP_ALIVE_REQUESTS {
        let start = Instant::now();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        read_response(&mut stream, &mut response)?;
        times.times.push(start.elapsed());
    }
    Ok(times)
}

/// Measures the time from an edit until the last of many subscribers has read its event.
fn bench_broadcast(daemon: &Daemon, root: &Path, slug: &str) -> anyhow::Result<()> {
    let file = root.join("kitty-specs").join(slug).join("research/broadcast.md");
    fs::create_dir_all(file.parent().context("no parent directory")?)?;
    fs::write(&file, "first\n")?;
    daemon.get("/api/status?sync=true")?;
    let subscribers: anyhow::Result<Vec<_>> =
        (0..SUBSCRIBERS).map(|_| daemon.subscribe()).collect();
    let mut subscribers = subscribers?;
    let mut times = Timings::default();
    for number in 0..BROADCAST_EDITS {
        let text = format!("edit {number}\n");
        let hash = sha256(text.as_bytes());
        // Deferred events of the previous edit are sent by then.
        std::thread::sleep(Duration::from_millis(250));
        fs::write(&file, &text)?;
        let start = Instant::now();
        for subscriber in &mut subscribers {
            while !subscriber.line().contains(&hash) {
                subscriber.read_line()?;
            }
        }
        times.times.push(start.elapsed());
    }
    println!("an edit at the last of {SUBSCRIBERS}       {times}");
    promise_time("median", times.quantile(0.5), MAX_BROADCAST);
    Ok(())
}

/// Measures requests after many connections that send nothing.
fn bench_connects(daemon: &Daemon, overview: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    for _ in 0..CONNECTS {
        drop(UnixStream::connect(&daemon.socket)?);
    }
    println!("{CONNECTS} connects                   {}", ms(start.elapsed()));
    let times = time_requests(daemon, overview)?;
    println!("a request, after them             {times}");
    promise_time("p99", times.quantile(0.99), MAX_RESPONSE_TIME);
    Ok(())
}

/// Raises the soft limit of descriptors.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, all);
}

/// Measures requests on new connections.
fn time_requests(daemon: &Daemon, target: &str) -> anyhow::Result<Timings> {
    let mut times = Timings::default();
    for _ in 0..REQUESTS {
        let start = Instant::now();
        daemon.get(target)?;
        times.times.push(start.elapsed());
    }
    Ok(times)
}

/// Checks that a request on one connection reflects a write just before it.
fn bench_own_writes(daemon: &Daemon, root: &Path, slug: &str) -> anyhow::Result<()> {
    let file = root.join("kitty-specs").join(slug).join("research/own.md");
    let target = format!("/api/dossier/snapshots/export?feature={slug}&sync=true");
    let mut stream = UnixStream::connect(&daemon.socket)?;
    let mut times = Timings::default();
    let mut outdated = 0;
    let mut response = Vec::new();
    for number in 0..WRITES {
        let text = format!("write {number}\n");
        fs::write(&file, &text)?;
        let start = Instant::now();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        read_response(&mut stream, &mut response)?;
        times.times.push(start.elapsed());
        let hash = sha256(text.as_bytes());
        outdated += usize::from(!response.windows(hash.len()).any(|part| part == hash.as_bytes()));
        print_progress(number, WRITES, outdated);
    }
    println!("own write, then a request         {times}");
    promise(&format!("{outdated} of {WRITES} responses were outdated, at most 0"), outdated == 0);
    Ok(())
}

/// Prints the progress ten times.
fn print_progress(number: usize, total: usize, outdated: usize) {
    if (number + 1).is_multiple_of(total / 10) {
        println!("    {} of {total}, {outdated} outdated", number + 1);
    }
}

/// Checks that `dossierd status` reflects a write just before it.
fn bench_own_writes_by_command(daemon: &Daemon, root: &Path, slug: &str) -> anyhow::Result<()> {
    let file = root.join("kitty-specs").join(slug).join("research/own.md");
    let mut times = Timings::default();
    let mut outdated = 0;
    let mut before = String::new();
    for number in 0..COMMANDS {
        fs::write(&file, format!("command {number}\n"))?;
        let start = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dossierd"));
        set_home(&mut command, &daemon.home).current_dir(root);
        let output = command.args(["status", slug, "--json"]).output()?;
        times.times.push(start.elapsed());
        ensure!(output.status.success(), "{output:?}");
        let status: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let hash = status["tree_hash_sha256"].to_string();
        outdated += usize::from(hash == before);
        before = hash;
        print_progress(number, COMMANDS, outdated);
    }
    println!("own write, then `status --json`   {times}");
    promise(&format!("{outdated} of {COMMANDS} outputs were outdated, at most 0"), outdated == 0);
    Ok(())
}

/// Reads a response into a buffer.
fn read_response(stream: &mut UnixStream, response: &mut Vec<u8>) -> anyhow::Result<()> {
    response.clear();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the connection was closed");
        response.extend_from_slice(&buffer[..count]);
        let Some(head) = response.windows(4).position(|part| part == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&response[..head])?.to_ascii_lowercase();
        let length: usize = text
            .split_once("content-length:")
            .and_then(|(_, rest)| rest.trim_start().split("\r\n").next()?.parse().ok())
            .context("no content length")?;
        if response.len() >= head + 4 + length {
            return Ok(());
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

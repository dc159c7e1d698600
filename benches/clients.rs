//! What clients can do to each other, in one run: `cargo bench --bench clients`.
//!
//! It starts the real program over a real project and fills it with clients that misbehave. It
//! prints figures as they come and whether each promise holds; a broken one is printed, not failed
//! on: a busy machine breaks it too. The time that an answer takes is measured with and without the
//! others.
#![allow(clippy::print_stdout, reason = "figures are what it is for")]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]

mod live;
mod project;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use live::{Daemon, Edits, ms, own_folders};
use project::{FILES, Source, promise};

/// Readers that never read, and what the daemon may use with them.
const DEAF: usize = 500;
const MAX_MIB: f64 = 64.0;
const MAX_OTHERS: Duration = Duration::from_millis(10);
/// Connections made and dropped.
const CONNECTS: usize = 10_000;
/// Requests that are timed, and those on one connection.
const REQUESTS: usize = 300;
const KEPT: usize = 2_000;
const MAX_KEPT: Duration = Duration::from_micros(300);
const MAX_SYNCED: Duration = Duration::from_micros(500);
/// Features of the project that is looked at by the command.
const FEATURES: usize = 412;
const MAX_STATUS: Duration = Duration::from_millis(10);
/// Subscribers that hear of the same edit, and how many of those.
const SUBSCRIBERS: usize = 1_000;
const HEARD: usize = 20;
const MAX_LAST: Duration = Duration::from_millis(20);
/// Rounds of {write a file; ask}: over the socket, and by the command.
const ROUNDS: usize = 10_000;
const COMMANDS: usize = 10_000;

fn main() -> anyhow::Result<()> {
    raise_descriptor_limit();
    let scratch = tempfile::tempdir()?;
    at_a_glance(scratch.path())?;
    let (home, root) = (scratch.path().join("home"), scratch.path().join("project"));
    let source = Source::find()?;
    source.repeat(&root)?;
    println!("{FILES} files, from {}", source.name);
    let (daemon, _) = Daemon::start(&home, &root)?;
    let slug = daemon.get("/api/status")?["projects"][0]["features"][0]["feature_slug"].clone();
    let slug = slug.as_str().context("a feature")?.to_owned();
    let overview = format!("/api/dossier/overview?feature={slug}");
    for (sync, limit) in [("", MAX_KEPT), ("&sync=true", MAX_SYNCED)] {
        let times = kept(&daemon, &format!("{overview}{sync}"))?;
        println!("on a kept connection{sync:<11}  {times}");
        limited("half of them take", times.quantile(0.5), limit);
    }
    last_of_many(&daemon, &root, &slug)?;
    misbehaving(&daemon, &root, &slug, &overview)?;
    by_command(&daemon, &root, &slug)?;
    own_writes(&daemon, &root, &slug)?;
    daemon.stop()
}

/// What is promised of a time, and what part of that it took.
fn limited(what: &str, time: Duration, limit: Duration) {
    let part = time.as_secs_f64() / limit.as_secs_f64();
    let (time, most) = (ms(time), ms(limit));
    promise(&format!("{what} {time}, at most {most} ({part:.2} of it)"), part <= 1.0);
}

/// The whole process of `dossierd status` over many features.
fn at_a_glance(scratch: &Path) -> anyhow::Result<()> {
    let (home, root) = (scratch.join("glance-home"), scratch.join("glance"));
    for at in 0..FEATURES {
        let feature = root.join(format!("kitty-specs/{at:03}-feature"));
        fs::create_dir_all(feature.join("tasks"))?;
        for name in ["spec.md", "plan.md", "tasks.md", "tasks/WP01.md"] {
            fs::write(feature.join(name), format!("# {name} of {at}\n"))?;
        }
    }
    let (daemon, _) = Daemon::start(&home, &root)?;
    let mut times = Edits::default();
    for _ in 0..REQUESTS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dossierd"));
        own_folders(&mut command, &home).arg("status").current_dir(&root);
        let begin = Instant::now();
        let output = command.output()?;
        times.times.push(begin.elapsed());
        let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
        ensure!(output.status.success() && lines > FEATURES, "{output:?}");
    }
    println!("`dossierd status`, {FEATURES} features   {times}");
    limited("half of them take", times.quantile(0.5), MAX_STATUS);
    daemon.stop()
}

/// Answers on a connection that is kept.
fn kept(daemon: &Daemon, target: &str) -> anyhow::Result<Edits> {
    let mut stream = UnixStream::connect(&daemon.socket)?;
    let (mut times, mut answer) = (Edits::default(), Vec::new());
    for _ in 0..KEPT {
        let begin = Instant::now();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        read_answer(&mut stream, &mut answer)?;
        times.times.push(begin.elapsed());
    }
    Ok(times)
}

/// How long after an edit the last of many subscribers has read of it.
fn last_of_many(daemon: &Daemon, root: &Path, slug: &str) -> anyhow::Result<()> {
    let file = root.join("kitty-specs").join(slug).join("research/many-hear.md");
    fs::create_dir_all(file.parent().context("a folder")?)?;
    fs::write(&file, "first\n")?;
    daemon.get("/api/status?sync=true")?;
    let all: anyhow::Result<Vec<_>> = (0..SUBSCRIBERS).map(|_| daemon.subscribe()).collect();
    let mut all = all?;
    let mut times = Edits::default();
    for round in 0..HEARD {
        let text = format!("round {round}\n");
        let hash = sha256(text.as_bytes());
        // What is held back of the round before is sent by then.
        std::thread::sleep(Duration::from_millis(250));
        fs::write(&file, &text)?;
        let begin = Instant::now();
        for subscriber in &mut all {
            while !subscriber.line().contains(&hash) {
                subscriber.read_line()?;
            }
        }
        times.times.push(begin.elapsed());
    }
    println!("an edit at the last of {SUBSCRIBERS}       {times}");
    limited("half of the edits take", times.quantile(0.5), MAX_LAST);
    Ok(())
}

/// What others notice of clients that misbehave.
fn misbehaving(daemon: &Daemon, root: &Path, slug: &str, overview: &str) -> anyhow::Result<()> {
    let others = |beside: &str| -> anyhow::Result<()> {
        let times = requests(daemon, overview)?;
        println!("an answer, {beside:<22} {times}");
        limited("99 of 100 take", times.quantile(0.99), MAX_OTHERS);
        Ok(())
    };
    others("alone")?;
    let silent = half_requests(daemon, "GET /api/ev")?;
    others(&format!("beside {DEAF} half requests"))?;
    drop(silent);

    let held = |beside: &str, deaf: Vec<UnixStream>| -> anyhow::Result<()> {
        others(&format!("beside {DEAF} {beside}"))?;
        let mib = daemon.mib()?;
        let part = mib / MAX_MIB;
        promise(
            &format!("with them it uses {mib:.1} MiB, at most {MAX_MIB} ({part:.2} of it)"),
            mib <= MAX_MIB,
        );
        drop(deaf);
        Ok(())
    };
    let deaf = deaf_readers(daemon)?;
    write_much(root, slug)?;
    daemon.get("/api/status?sync=true")?;
    held("that never read", deaf)?;
    let export = format!("/api/dossier/snapshots/export?feature={slug}");
    for (beside, target) in
        [("unread pages", "/api/events?since=start"), ("unread exports", &export)]
    {
        let accept = "Host: localhost\r\nAccept: application/json";
        let request = format!("GET {target} HTTP/1.1\r\n{accept}\r\n\r\n");
        held(beside, half_requests(daemon, &request)?)?;
    }

    let begin = Instant::now();
    for _ in 0..CONNECTS {
        drop(UnixStream::connect(&daemon.socket)?);
    }
    println!("{CONNECTS} connects                   {}", ms(begin.elapsed()));
    others("after them")
}

fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, all);
}

fn requests(daemon: &Daemon, target: &str) -> anyhow::Result<Edits> {
    let mut times = Edits::default();
    for _ in 0..REQUESTS {
        let begin = Instant::now();
        daemon.get(target)?;
        times.times.push(begin.elapsed());
    }
    Ok(times)
}

/// Connections that begin a request and do not go on.
fn half_requests(daemon: &Daemon, begin: &str) -> anyhow::Result<Vec<UnixStream>> {
    let connect = |_| {
        let mut stream = UnixStream::connect(&daemon.socket)?;
        stream.write_all(begin.as_bytes())?;
        Ok(stream)
    };
    (0..DEAF).map(connect).collect()
}

/// Streams of the whole journal that nobody reads.
fn deaf_readers(daemon: &Daemon) -> anyhow::Result<Vec<UnixStream>> {
    half_requests(daemon, "GET /api/events?since=start HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Events that those would have to take.
fn write_much(root: &Path, slug: &str) -> anyhow::Result<()> {
    let folder = root.join("kitty-specs").join(slug).join("research/many");
    fs::create_dir_all(&folder)?;
    for number in 0..2_000 {
        fs::write(folder.join(format!("{number}.md")), format!("{number}\n"))?;
    }
    Ok(())
}

/// Writes a file and asks for it at once, on a connection that is kept.
fn own_writes(daemon: &Daemon, root: &Path, slug: &str) -> anyhow::Result<()> {
    let file = root.join("kitty-specs").join(slug).join("research/own.md");
    let target = format!("/api/dossier/snapshots/export?feature={slug}&sync=true");
    let mut stream = UnixStream::connect(&daemon.socket)?;
    let mut times = Edits::default();
    let mut old = 0;
    let mut answer = Vec::new();
    for round in 0..ROUNDS {
        let text = format!("round {round}\n");
        fs::write(&file, &text)?;
        let begin = Instant::now();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        read_answer(&mut stream, &mut answer)?;
        times.times.push(begin.elapsed());
        let hash = sha256(text.as_bytes());
        old += usize::from(!answer.windows(hash.len()).any(|part| part == hash.as_bytes()));
        tell(round, ROUNDS, old);
    }
    println!("own write, then its answer        {times}");
    promise(&format!("{old} of {ROUNDS} answers were old, at most 0"), old == 0);
    Ok(())
}

/// Says how far it is, ten times.
fn tell(round: usize, of: usize, old: usize) {
    if (round + 1).is_multiple_of(of / 10) {
        println!("    {} of {of} rounds, {old} old", round + 1);
    }
}

/// The same by the command.
fn by_command(daemon: &Daemon, root: &Path, slug: &str) -> anyhow::Result<()> {
    let file = root.join("kitty-specs").join(slug).join("research/own.md");
    let mut times = Edits::default();
    let mut old = 0;
    let mut before = String::new();
    for round in 0..COMMANDS {
        fs::write(&file, format!("command {round}\n"))?;
        let begin = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dossierd"));
        own_folders(&mut command, &daemon.home).current_dir(root);
        let output = command.args(["status", slug, "--json"]).output()?;
        times.times.push(begin.elapsed());
        ensure!(output.status.success(), "{output:?}");
        let status: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let hash = status["tree_hash_sha256"].to_string();
        old += usize::from(hash == before);
        before = hash;
        tell(round, COMMANDS, old);
    }
    println!("own write, then `status --json`   {times}");
    promise(&format!("{old} of {COMMANDS} commands said the old, at most 0"), old == 0);
    Ok(())
}

fn read_answer(stream: &mut UnixStream, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    answer.clear();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the connection ended");
        answer.extend_from_slice(&buffer[..count]);
        let Some(head) = answer.windows(4).position(|part| part == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&answer[..head])?.to_ascii_lowercase();
        let length: usize = text
            .split_once("content-length:")
            .and_then(|(_, rest)| rest.trim_start().split("\r\n").next()?.parse().ok())
            .context("a length")?;
        if answer.len() >= head + 4 + length {
            return Ok(());
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

//! What clients can do to each other, in one run: `cargo bench --bench clients`.
//!
//! It starts the real program over a real project and fills it with clients that misbehave. It
//! prints figures and whether each promise holds; a broken one is printed, not failed on: a busy
//! machine breaks it too. The time that an answer takes is measured with and without the others.
#![allow(clippy::print_stdout, reason = "figures are what it is for")]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]

mod live;
mod project;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
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
/// Requests that are timed.
const REQUESTS: usize = 300;
/// Rounds of {write a file; ask}: over the socket, and by the command.
const ROUNDS: usize = 10_000;
const COMMANDS: usize = 200;

fn main() -> anyhow::Result<()> {
    raise_descriptor_limit();
    let scratch = tempfile::tempdir()?;
    let (home, root) = (scratch.path().join("home"), scratch.path().join("project"));
    let source = Source::find()?;
    source.repeat(&root)?;
    println!("{FILES} files, from {}", source.name);
    let (daemon, _) = Daemon::start(&home, &root)?;
    let slug = daemon.get("/api/status")?["projects"][0]["features"][0]["feature_slug"].clone();
    let slug = slug.as_str().context("a feature")?.to_owned();
    let overview = format!("/api/dossier/overview?feature={slug}");

    let alone = requests(&daemon, &overview)?;
    println!("an answer, alone                  {alone}");
    let silent = half_requests(&daemon, "GET /api/ev")?;
    let others = requests(&daemon, &overview)?;
    println!("beside {DEAF} half requests          {others}");
    let late = others.quantile(0.99);
    promise(
        &format!("99 of 100 take {}, at most {}", ms(late), ms(MAX_OTHERS)),
        late <= MAX_OTHERS,
    );
    drop(silent);

    let deaf = deaf_readers(&daemon)?;
    write_much(&root, &slug)?;
    daemon.get("/api/status?sync=true")?;
    let others = requests(&daemon, &overview)?;
    println!("beside {DEAF} readers that never read {others}");
    let late = others.quantile(0.99);
    promise(
        &format!("99 of 100 take {}, at most {}", ms(late), ms(MAX_OTHERS)),
        late <= MAX_OTHERS,
    );
    let mib = daemon.mib()?;
    promise(&format!("with them it uses {mib:.1} MiB, at most {MAX_MIB}"), mib <= MAX_MIB);
    drop(deaf);

    let begin = Instant::now();
    for _ in 0..CONNECTS {
        drop(UnixStream::connect(&daemon.socket)?);
    }
    println!("{CONNECTS} connects                   {}", ms(begin.elapsed()));
    let others = requests(&daemon, &overview)?;
    println!("after them                        {others}");

    own_writes(&daemon, &root, &slug)?;
    by_command(&daemon, &root, &slug)?;
    daemon.stop()
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
fn write_much(root: &std::path::Path, slug: &str) -> anyhow::Result<()> {
    let folder = root.join("kitty-specs").join(slug).join("research/many");
    fs::create_dir_all(&folder)?;
    for number in 0..2_000 {
        fs::write(folder.join(format!("{number}.md")), format!("{number}\n"))?;
    }
    Ok(())
}

/// Writes a file and asks for it at once, on a connection that is kept.
fn own_writes(daemon: &Daemon, root: &std::path::Path, slug: &str) -> anyhow::Result<()> {
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
    }
    println!("own write, then its answer        {times}");
    promise(&format!("{old} of {ROUNDS} answers were old, at most 0"), old == 0);
    Ok(())
}

/// The same by the command.
fn by_command(daemon: &Daemon, root: &std::path::Path, slug: &str) -> anyhow::Result<()> {
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

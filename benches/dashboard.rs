//! What the dashboard waits for: `cargo bench --bench dashboard`.
//!
//! It prints how long lists and filters of a large feature take over the loopback listener, and how
//! soon a browser has painted a page of many features, where one is there. A broken promise is
//! printed, not failed on: a busy machine breaks it too.
#![allow(clippy::print_stdout, reason = "figures are what it is for")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Artifacts of the feature that is listed, and requests that are timed.
const ARTIFACTS: usize = 1_000;
const REQUESTS: usize = 300;
const MAX_LIST: Duration = Duration::from_millis(5);
/// Features of the page that is painted.
const FEATURES: usize = 412;
const READY: Duration = Duration::from_mins(1);

fn main() -> anyhow::Result<()> {
    let base = tempfile::tempdir()?;
    let (root, run) = (base.path().join("project"), base.path().join("run"));
    fs::DirBuilder::new().mode(0o700).create(&run)?;
    for at in 0..ARTIFACTS {
        write(&root.join(format!("kitty-specs/000-large/research/n{at:04}.md")), "# Note\n")?;
    }
    for at in 1..FEATURES {
        let feature = root.join(format!("kitty-specs/{at:03}-feature"));
        for name in ["spec.md", "plan.md", "tasks.md", "tasks/WP01.md"] {
            write(&feature.join(name), &format!("# {name} of {at}\n"))?;
        }
    }
    let home = base.path().join("home");
    let dossierd = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dossierd"));
        command.args(arguments).current_dir(&root);
        command.env("HOME", &home).env("XDG_RUNTIME_DIR", &run).stderr(Stdio::null());
        command
    };
    let daemon = dossierd(&["run", "."]).stdout(Stdio::null()).spawn()?;
    let _daemon = Killed(daemon);
    let begun = Instant::now();
    while !dossierd(&["rescan", "--json"]).output()?.status.success() {
        ensure!(begun.elapsed() < READY, "the daemon does not become ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    let opened = dossierd(&["dashboard", "--json"]).output()?.stdout;
    let opened: Value = serde_json::from_slice(&opened)?;
    lists(&opened)?;
    paint(&opened)
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().context("a path")?)?;
    Ok(fs::write(path, text)?)
}

fn lists(opened: &Value) -> anyhow::Result<()> {
    let text = |name: &str| opened[name].as_str().context("an address");
    let host = text("address")?.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    let list = "/api/dossier/artifacts?feature=000-large";
    for (what, filter) in [
        ("list", ""),
        ("filter", "&class=evidence&required_only=false"),
        ("missing", "&missing_only=true"),
    ] {
        let mut times = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            write!(
                stream,
                "GET {list}{filter} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\r\n",
                text("token")?
            )?;
            answer(&mut stream)?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let (p50, p99) = (times[REQUESTS / 2], times[REQUESTS * 99 / 100]);
        let verdict = if p50 <= MAX_LIST { "kept" } else { "BROKEN" };
        println!(
            "{what} of {ARTIFACTS} artifacts: p50 {p50:.2?}, p99 {p99:.2?} (p50 {MAX_LIST:?}: {verdict})"
        );
    }
    Ok(())
}

fn answer(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut read = Vec::with_capacity(1 << 19);
    let mut chunk = vec![0; 1 << 16];
    loop {
        let count = stream.read(&mut chunk)?;
        ensure!(count > 0, "the connection ended");
        read.extend_from_slice(&chunk[..count]);
        let Some(head) = read.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        let text = str::from_utf8(&read[..head])?.to_ascii_lowercase();
        ensure!(text.starts_with("http/1.1 200"), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("a length")?.parse()?;
        if read.len() >= head + 4 + length {
            return Ok(());
        }
    }
}

fn paint(opened: &Value) -> anyhow::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/paint.mjs");
    let url = opened["url"].as_str().context("an address")?;
    match Command::new("node").arg(script).args([url, &FEATURES.to_string()]).output() {
        Ok(done) if done.status.success() => print!("{}", String::from_utf8_lossy(&done.stdout)),
        Ok(done) => println!("NOT RUN: a browser: {}", String::from_utf8_lossy(&done.stderr)),
        Err(error) => println!("NOT RUN: a browser: {error}"),
    }
    Ok(())
}

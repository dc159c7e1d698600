//! Response times of the dashboard: `cargo bench --bench dashboard`.
//!
//! Prints the time of lists and filters of a large feature over the loopback listener, and, if
//! there is a browser, the time until it has painted a page of many features. A broken promise does
//! not fail the run, because a busy machine breaks it too.
#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Number of artifacts of the listed feature, of measured requests, and promised median.
const ARTIFACTS: usize = 1_000;
const REQUESTS: usize = 300;
const MAX_LIST: Duration = Duration::from_millis(5);
/// Number of features of the painted page.
const FEATURES: usize = 412;
/// Timeout for the readiness of the daemon.
const READY_TIMEOUT: Duration = Duration::from_mins(1);

fn main() -> anyhow::Result<()> {
    let base = tempfile::tempdir()?;
    let (root, run) = (base.path().join("project"), base.path().join("run"));
    fs::DirBuilder::new().mode(0o700).create(&run)?;
    for number in 0..ARTIFACTS {
        write(&root.join(format!("kitty-specs/000-large/research/n{number:04}.md")), "# Note\n")?;
    }
    for number in 1..FEATURES {
        let feature = root.join(format!("kitty-specs/{number:03}-feature"));
        for name in ["spec.md", "plan.md", "tasks.md", "tasks/WP01.md"] {
            write(&feature.join(name), &format!("# {name} of {number}\n"))?;
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
    let _daemon = KillOnDrop(daemon);
    let start = Instant::now();
    while !dossierd(&["rescan", "--json"]).output()?.status.success() {
        ensure!(start.elapsed() < READY_TIMEOUT, "the daemon does not become ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    let opened = dossierd(&["dashboard", "--json"]).output()?.stdout;
    let opened: Value = serde_json::from_slice(&opened)?;
    bench_lists(&opened)?;
    bench_paint(&opened)
}

/// A process that is killed when dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().context("no parent directory")?)?;
    Ok(fs::write(path, text)?)
}

/// Measures lists and filters.
fn bench_lists(opened: &Value) -> anyhow::Result<()> {
    let text = |name: &str| opened[name].as_str().context("no address");
    let host = text("address")?.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    let list = "/api/dossier/artifacts?feature=000-large";
    for (name, filter) in [
        ("list", ""),
        ("filter", "&class=evidence&required_only=false"),
        ("missing", "&missing_only=true"),
    ] {
        let mut times = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            let start = Instant::now();
            write!(
                stream,
                "GET {list}{filter} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\r\n",
                text("token")?
            )?;
            read_response(&mut stream)?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let (p50, p99) = (times[REQUESTS / 2], times[REQUESTS * 99 / 100]);
        let result = if p50 <= MAX_LIST { "met" } else { "BROKEN" };
        println!(
            "{name} of {ARTIFACTS} artifacts: p50 {p50:.2?}, p99 {p99:.2?} (p50 {MAX_LIST:?}: {result})"
        );
    }
    Ok(())
}

/// Reads a response.
fn read_response(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut read = Vec::with_capacity(1 << 19);
    let mut chunk = vec![0; 1 << 16];
    loop {
        let count = stream.read(&mut chunk)?;
        ensure!(count > 0, "the connection was closed");
        read.extend_from_slice(&chunk[..count]);
        let Some(head) = read.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        let text = str::from_utf8(&read[..head])?.to_ascii_lowercase();
        ensure!(text.starts_with("http/1.1 200"), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("no content length")?.parse()?;
        if read.len() >= head + 4 + length {
            return Ok(());
        }
    }
}

/// Measures the painting of the page in a browser.
fn bench_paint(opened: &Value) -> anyhow::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/paint.mjs");
    let url = opened["url"].as_str().context("no address")?;
    match Command::new("node").arg(script).args([url, &FEATURES.to_string()]).output() {
        Ok(output) if output.status.success() => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
        }
        Ok(output) => println!("NOT RUN: a browser: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("NOT RUN: a browser: {error}"),
    }
    Ok(())
}

//! Time to converge after the removal of many directories at once: `cargo bench --bench storm`.
//!
//! The time is printed next to that of the removal itself. A broken promise does not fail the run,
//! because a busy machine breaks it too.
#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]

mod live_daemon;
mod project;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use live_daemon::{Daemon, ms};
use project::promise;

/// Number of directories that are removed, each with a file, and promised time.
const DIRS: usize = 20_000;
const MAX_REMOVAL: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let (home, root) = (scratch.path().join("home"), scratch.path().join("project"));
    let many = root.join("kitty-specs/001-storm/research/many");
    fs::create_dir_all(root.join(".kittify"))?;
    for number in 0..DIRS {
        let dir = many.join(format!("{}/{number}", number % 100));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("note.md"), number.to_string())?;
    }
    let (daemon, ready) = Daemon::start(&home, &root)?;
    println!("{DIRS} directories, each with a file: ready after {}", ms(ready));
    let watched = watched_dirs(&daemon)?;
    bench_removal(&daemon, &many)?;
    println!("watched directories: {watched} before, {} after", watched_dirs(&daemon)?);
    daemon.ensure_matches_disk(&root, &daemon.get("/api/status?sync=true")?)?;
    daemon.stop()
}

/// Removes all directories, and waits until every deletion is an event and no removed directory is
/// watched.
fn bench_removal(daemon: &Daemon, many: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    fs::remove_dir_all(many)?;
    let removed = start.elapsed();
    loop {
        let status = daemon.get("/api/status?sync=true")?;
        let feature = &status["projects"][0]["features"][0];
        let is_reported = status["seq"].as_u64().context("no sequence number")? >= 2 * DIRS as u64;
        if is_reported && feature["watch"] == "live" && watched(&status)? < 100 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let converged = start.elapsed();
    let after = converged.saturating_sub(removed);
    let ratio = converged.as_secs_f64() / removed.as_secs_f64();
    println!(
        "the removal takes {}; {ratio:.2} times that until the daemon has converged",
        ms(removed)
    );
    let text = format!(
        "{DIRS} directories removed at once: converged {} after the last, at most {}",
        ms(after),
        ms(MAX_REMOVAL)
    );
    promise(&text, after <= MAX_REMOVAL);
    Ok(())
}

fn watched_dirs(daemon: &Daemon) -> anyhow::Result<u64> {
    watched(&daemon.get("/api/status?sync=true")?)
}

fn watched(status: &Value) -> anyhow::Result<u64> {
    status["projects"][0]["watch"]["watched"].as_u64().context("no number of watched directories")
}

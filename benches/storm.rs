//! How soon the daemon has made up for what comes all at once: `cargo bench --bench storm`.
//!
//! Times are printed beside what the storm itself took. A broken promise is printed, not failed on:
//! a busy machine breaks it too.
#![allow(clippy::print_stdout, reason = "figures are what it is for")]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]

mod live;
#[allow(dead_code, reason = "it finds no project, it makes one")]
mod project;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use live::{Daemon, ms};
use project::promise;

/// Directories that are removed at once, each with a file.
const FOLDERS: usize = 20_000;
const MAX_REMOVAL: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let (home, root) = (scratch.path().join("home"), scratch.path().join("project"));
    let many = root.join("kitty-specs/001-storm/research/many");
    fs::create_dir_all(root.join(".kittify"))?;
    for number in 0..FOLDERS {
        let folder = many.join(format!("{}/{number}", number % 100));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("note.md"), number.to_string())?;
    }
    let (daemon, ready) = Daemon::start(&home, &root)?;
    println!("{FOLDERS} folders, each with a file: ready after {}", ms(ready));
    let watched = folders_watched(&daemon)?;
    removal(&daemon, &many)?;
    println!("watched before {watched}, after {}", folders_watched(&daemon)?);
    daemon.agrees_with_disk(&root, &daemon.get("/api/status?sync=true")?)?;
    daemon.stop()
}

/// Removes everything, until every deletion is told and nothing that is gone is watched.
fn removal(daemon: &Daemon, many: &Path) -> anyhow::Result<()> {
    let begin = Instant::now();
    fs::remove_dir_all(many)?;
    let removed = begin.elapsed();
    loop {
        let status = daemon.get("/api/status?sync=true")?;
        let feature = &status["projects"][0]["features"][0];
        let told = status["seq"].as_u64().context("a number")? >= 2 * FOLDERS as u64;
        if told && feature["watch"] == "live" && watched(&status)? < 100 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let converged = begin.elapsed();
    let after = converged.saturating_sub(removed);
    let ratio = converged.as_secs_f64() / removed.as_secs_f64();
    println!("removing them takes {}; {ratio:.2} times that until all is told", ms(removed));
    let text = format!(
        "{FOLDERS} folders removed at once: converged {} after the last, at most {}",
        ms(after),
        ms(MAX_REMOVAL)
    );
    promise(&text, after <= MAX_REMOVAL);
    Ok(())
}

fn folders_watched(daemon: &Daemon) -> anyhow::Result<u64> {
    watched(&daemon.get("/api/status?sync=true")?)
}

fn watched(status: &Value) -> anyhow::Result<u64> {
    status["projects"][0]["watch"]["watched"].as_u64().context("how much is watched")
}

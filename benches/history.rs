//! Cost of storing versions: `cargo bench --bench history`.
//!
//! Runs the real program over the same project with and without the history, in turn, and prints for
//! each promise whether it is met.
#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]

mod live_daemon;
mod project;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use live_daemon::{Daemon, Timings, configure_history, ms};
use project::{FILES, Source, files, markdown, promise};

/// Number of runs with and without the history, and of edits in each.
const RUNS: usize = 5;
const EDITS: usize = 200;
/// Promised maxima, relative to the runs without: the median latency of an edit and of the first start.
const MAX_RATIO: f64 = 1.15;
/// Promised maximum of additional memory at rest in MiB.
const MAX_MEMORY_MIB: f64 = 2.0;
/// Promised maximum size of the store, relative to the artifacts of the corpus.
const MAX_SIZE: f64 = 0.45;
/// Time limit for storing all versions.
const STORE_TIMEOUT: Duration = Duration::from_mins(2);

/// Figures of the runs of one kind.
#[derive(Default)]
struct Figures {
    starts: Timings,
    edits: Timings,
    mib: Vec<f64>,
}

fn main() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let source = Source::find()?;
    let (mut with, mut without) = (Figures::default(), Figures::default());
    for run in 0..RUNS {
        for is_on in [true, false] {
            let dir = scratch.path().join(format!("{run}-{is_on}"));
            let figures = if is_on { &mut with } else { &mut without };
            measure(&source, &dir, is_on, figures)?;
            fs::remove_dir_all(&dir)?;
        }
    }
    println!("{FILES} files from {}, {RUNS} runs with and without the history", source.name);
    for (name, figures) in [("with", &with), ("without", &without)] {
        println!("{name:>8}: first start {}; edits {}", figures.starts, figures.edits);
    }
    let ratio = |of: fn(&Figures) -> &Timings| {
        of(&with).quantile(0.5).as_secs_f64() / of(&without).quantile(0.5).as_secs_f64()
    };
    let edits = ratio(|figures| &figures.edits);
    let starts = ratio(|figures| &figures.starts);
    promise(
        &format!("an edit takes {edits:.2} times as long, at most {MAX_RATIO}"),
        edits <= MAX_RATIO,
    );
    promise(
        &format!("the first start takes {starts:.2} times as long, at most {MAX_RATIO}"),
        starts <= MAX_RATIO,
    );
    let memory = median(&mut with.mib) - median(&mut without.mib);
    promise(
        &format!("{memory:.1} MiB more memory at rest, at most {MAX_MEMORY_MIB}"),
        memory <= MAX_MEMORY_MIB,
    );
    let size = relative_size(&source, &scratch.path().join("size"))?;
    let (percent, max) = (size * 100.0, MAX_SIZE * 100.0);
    promise(
        &format!(
            "the store has {percent:.1} percent of the bytes of the artifacts of {}, at most {max}",
            source.name
        ),
        size <= MAX_SIZE,
    );
    Ok(())
}

/// Returns the size of the store relative to the contents of the project, which are not repeated.
fn relative_size(source: &Source, dir: &Path) -> anyhow::Result<f64> {
    let (home, root) = (dir.join("home"), dir.join("project"));
    source.copy(&root)?;
    let (daemon, _) = Daemon::start(&home, &root)?;
    let used = wait_until_stored(&daemon)?;
    daemon.stop()?;
    let sizes =
        files(&root.join("kitty-specs"))?.into_iter().map(|path| Ok(path.metadata()?.len()));
    let bytes = sizes.sum::<std::io::Result<u64>>()?;
    Ok(used / bytes as f64)
}

/// Measures a first start, the memory at rest, and edits.
fn measure(source: &Source, dir: &Path, is_on: bool, figures: &mut Figures) -> anyhow::Result<()> {
    let (home, root) = (dir.join("home"), dir.join("project"));
    source.repeat(&root)?;
    configure_history(&home, is_on)?;
    let (daemon, ready) = Daemon::start(&home, &root)?;
    daemon.ensure_history(is_on)?;
    figures.starts.times.push(ready);
    if is_on {
        wait_until_stored(&daemon)?;
    }
    std::thread::sleep(Duration::from_secs(2));
    figures.mib.push(daemon.mib()?);
    let files = markdown(&root.join("kitty-specs"))?;
    let mut subscriber = daemon.subscribe()?;
    for number in 0..EDITS {
        let path = &files[number * 7919 % files.len()];
        fs::write(path, format!("# Edit {number}\n"))?;
        let closed = Instant::now();
        while subscriber.next()?["event_type"] != "mission_dossier_artifact_indexed" {}
        figures.edits.times.push(closed.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    daemon.stop()
}

/// Waits until all versions are stored; returns the size of the store in bytes.
fn wait_until_stored(daemon: &Daemon) -> anyhow::Result<f64> {
    let begin = Instant::now();
    loop {
        let status = daemon.get("/api/history")?;
        let number = |name: &str| status[name].as_u64().context("no number");
        if number("backlog")? == 0 && number("contents")? > 0 {
            println!("all versions are stored after {}", ms(begin.elapsed()));
            let (used, stored) = (number("used_bytes")? as f64, number("content_bytes")? as f64);
            println!("the store has {:.1} percent of the contents in it", used / stored * 100.0);
            return Ok(used);
        }
        ensure!(begin.elapsed() < STORE_TIMEOUT, "not all versions are stored: {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

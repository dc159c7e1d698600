//! Cost of a project in the layout of spec-kit, compared with that of spec-kitty: `cargo bench --bench layouts`.
//!
//! Runs the real program over the same contents in both layouts, in turn, and prints for each promise whether it
//! is met.
#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]

mod live_daemon;
mod project;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use live_daemon::{Daemon, Timings, configure_history};
use project::{FILES, Source, markdown, promise};

/// Number of runs in each layout, and of edits in each run.
const RUNS: usize = 7;
const EDITS: usize = 200;
/// Promised maxima of a figure, relative to that of spec-kitty's layout: of processor time and memory, and of what
/// is measured by the clock.
const MAX_COST_RATIO: f64 = 1.05;
const MAX_WALL_RATIO: f64 = 1.15;

/// Figures of the runs in one layout.
#[derive(Default)]
struct Figures {
    starts: Timings,
    edits: Timings,
    cpu: Timings,
    mib: Vec<f64>,
}

/// Where the layout has its features, and how such a project is made.
type Layout = (&'static str, fn(&Source, &Path) -> anyhow::Result<u64>);

fn main() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let source = Source::find()?;
    let layouts: [Layout; 2] =
        [("kitty-specs", Source::repeat), ("specs", Source::repeat_in_spec_kit)];
    let mut figures = [Figures::default(), Figures::default()];
    for run in 0..=RUNS {
        for (layout, figures) in layouts.iter().zip(&mut figures) {
            let dir = scratch.path().join(format!("{run}-{}", layout.0));
            // The first run warms up.
            let mut first = Figures::default();
            measure(&source, &dir, layout, if run == 0 { &mut first } else { figures })?;
            fs::remove_dir_all(&dir)?;
        }
    }
    println!(
        "{FILES} files from {}, {RUNS} runs in each layout, {EDITS} edits in each",
        source.name
    );
    for (name, figures) in ["spec-kitty", "spec-kit"].iter().zip(&figures) {
        let Figures { starts, edits, cpu, mib } = figures;
        println!("{name:>10}: first start {starts}");
        println!("            edits {edits}");
        println!("            processor time {cpu}");
        println!("            memory {:.1} MiB", median(mib));
    }
    let [base, new] = &figures;
    let time = |of: fn(&Figures) -> &Timings, part: f64| {
        of(new).quantile(part).as_secs_f64() / of(base).quantile(part).as_secs_f64()
    };
    for (what, ratio, max) in [
        ("a first start takes", time(|one| &one.starts, 0.5), MAX_WALL_RATIO),
        ("an edit takes (p50)", time(|one| &one.edits, 0.5), MAX_WALL_RATIO),
        ("an edit takes (p99)", time(|one| &one.edits, 0.99), MAX_WALL_RATIO),
        ("the processor time is", time(|one| &one.cpu, 0.5), MAX_COST_RATIO),
        ("memory at rest is", median(&new.mib) / median(&base.mib), MAX_COST_RATIO),
    ] {
        promise(
            &format!("{what} {ratio:.2} times that in spec-kitty's layout, at most {max}"),
            ratio <= max,
        );
    }
    Ok(())
}

/// Measures a first start, the memory at rest, edits, and the processor time of all.
fn measure(
    source: &Source,
    dir: &Path,
    (specs, make): &Layout,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let (home, root) = (dir.join("home"), dir.join("project"));
    make(source, &root)?;
    // What it stores in the background is not compared here.
    configure_history(&home, false)?;
    let (daemon, ready) = Daemon::start(&home, &root)?;
    daemon.ensure_history(false)?;
    figures.starts.times.push(ready);
    std::thread::sleep(Duration::from_secs(2));
    figures.mib.push(daemon.mib()?);
    let files = markdown(&root.join(specs))?;
    let mut subscriber = daemon.subscribe()?;
    for number in 0..EDITS {
        let path = &files[number * 7919 % files.len()];
        fs::write(path, format!("# Edit {number}\n"))?;
        let closed = Instant::now();
        while subscriber.next()?["event_type"] != "mission_dossier_artifact_indexed" {}
        figures.edits.times.push(closed.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    let usage = daemon.stop_with_usage()?;
    figures.cpu.times.push(usage.utime + usage.stime);
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

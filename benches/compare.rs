//! Speed of a program compared with that of an older one: `make compare BASE=main`.
//!
//! Runs both programs in turn over the same project: a scan, and a daemon that starts without
//! state, receives edits and stops. Prints medians, and fails if the new program is slower than
//! allowed. Times are only compared within one run, so that other load affects both programs. The
//! page cache is warm.
#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]

mod live_daemon;
mod project;
mod runs;

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use live_daemon::{Daemon, Timings, set_home};
use project::{FILES, Source, markdown};
use runs::{RUNS, Run, alternate, cpu};

/// Environment variables with the paths of the programs.
const BASE: &str = "DOSSIERD_BASE";
const NEW: &str = "DOSSIERD_NEW";
/// Maximum ratios of processor time and of wall time, new to base.
const MAX_CPU_RATIO: f64 = 1.05;
const MAX_WALL_RATIO: f64 = 1.15;
/// Number of edits in each run of a daemon, each followed by a request that waits for its effect.
const EDITS: usize = 200;
/// Interval between the last edit and the measurement of memory.
const IDLE_DELAY: Duration = Duration::from_millis(500);

const SCAN: [Figure; 2] = [
    Figure::new("scan, processor time", "ms", Some(MAX_CPU_RATIO)),
    Figure::new("scan, wall time", "ms", Some(MAX_WALL_RATIO)),
];
const DAEMON: [Figure; 4] = [
    Figure::new("daemon, processor time of the whole run", "ms", Some(MAX_CPU_RATIO)),
    Figure::new("daemon, wall time until ready", "ms", Some(MAX_WALL_RATIO)),
    Figure::new("daemon, wall time of a read after an edit", "ms", Some(MAX_WALL_RATIO)),
    Figure::new("daemon, resident memory while idle", "MiB", None),
];

fn main() -> anyhow::Result<ExitCode> {
    let programs = match [BASE, NEW].map(std::env::var_os) {
        [Some(base), Some(new)] => [base, new],
        [None, None] => {
            println!(
                "NOT RUN: run `make compare BASE=COMMIT`, or set {BASE} and {NEW} to the paths of \
                 two programs"
            );
            return Ok(ExitCode::SUCCESS);
        }
        _ => bail!("cannot compare one program: set both {BASE} and {NEW}"),
    };
    let scratch = tempfile::tempdir()?;
    let bench =
        Bench { programs, home: scratch.path().join("home"), root: scratch.path().join("project") };
    let source = Source::find()?;
    let bytes = source.repeat(&bench.root)?;
    let features = fs::read_dir(bench.specs())?.count();
    let kib = bytes / FILES as u64 / 1024;
    println!("{FILES} files in {features} features, {kib} KiB on average, from {}", source.name);
    println!("medians of {RUNS} alternating runs; a run of the daemon includes {EDITS} edits\n");
    println!("{:<41} {:>12} {:>12} {:>6} {:>7}", "figure", "base", "new", "ratio", "allowed");

    let files = markdown(&bench.specs())?;
    let mut excesses = bench.compare(&SCAN, |program| bench.scan(program))?;
    excesses.extend(bench.compare(&DAEMON, |program| bench.run_daemon(program, &files))?);
    println!();
    if excesses.is_empty() {
        println!("The new program is not slower than allowed.");
        return Ok(ExitCode::SUCCESS);
    }
    println!("The new program is slower than allowed: {}.", excesses.join("; "));
    println!("Other load distorts short runs; repeat the comparison on an idle machine.");
    Ok(ExitCode::FAILURE)
}

/// A measured figure.
struct Figure {
    name: &'static str,
    unit: &'static str,
    /// Maximum ratio, new to base; `None` if the figure is only printed.
    max_ratio: Option<f64>,
}

impl Figure {
    const fn new(name: &'static str, unit: &'static str, max_ratio: Option<f64>) -> Self {
        Self { name, unit, max_ratio }
    }

    /// Prints the medians and their ratio; returns a description of the ratio if it is too large.
    fn print(&self, base: f64, new: f64) -> Option<String> {
        let Self { name, unit, max_ratio } = self;
        let ratio = new / base;
        let allowed = max_ratio.map_or("-".to_owned(), |max| format!("{max:.2}"));
        let [base, new] = [base, new].map(|value| format!("{value:.2} {unit}"));
        println!("{name:<41} {base:>12} {new:>12} {ratio:>6.3} {allowed:>7}");
        let max = max_ratio.filter(|max| ratio > *max)?;
        Some(format!("{name}: {ratio:.3} times the base, at most {max:.2}"))
    }
}

/// Runs the base and the new program over one project.
struct Bench {
    programs: [OsString; 2],
    /// Home directory of the programs, empty at the start of a daemon.
    home: PathBuf,
    root: PathBuf,
}

impl Bench {
    /// Measures both programs in turn and prints the figures; returns descriptions of those that
    /// are too large.
    fn compare<const N: usize>(
        &self,
        figures: &[Figure; N],
        measure: impl Fn(&OsString) -> anyhow::Result<[f64; N]>,
    ) -> anyhow::Result<Vec<String>> {
        let measure = |program| {
            measure(program).with_context(|| format!("cannot measure {}", program.display()))
        };
        let [base, new] = &self.programs;
        let [base, new] = alternate(RUNS, [&|| measure(base), &|| measure(new)])?;
        let figures = figures.iter().enumerate();
        let excess = |(index, figure): (usize, &Figure)| {
            let of = |runs: &[[f64; N]]| median(runs.iter().map(|run| run[index]).collect());
            figure.print(of(&base), of(&new))
        };
        Ok(figures.filter_map(excess).collect())
    }

    /// Returns the figures of [`SCAN`].
    fn scan(&self, program: &OsString) -> anyhow::Result<[f64; 2]> {
        let mut command = Command::new(program);
        let run =
            Run::of(set_home(&mut command, &self.home).args(["scan", "--json"]).arg(&self.root))?;
        Ok([cpu(&run.usage), run.wall].map(ms))
    }

    /// Returns the figures of [`DAEMON`].
    fn run_daemon(&self, program: &OsString, files: &[PathBuf]) -> anyhow::Result<[f64; 4]> {
        // Apart from its home directory, a daemon writes only snapshots into the project.
        for dir in [&self.home, &self.root.join(".kittify/dossiers")] {
            if dir.exists() {
                fs::remove_dir_all(dir)?;
            }
        }
        let (daemon, ready) = Daemon::start_with(Command::new(program), &self.home, &self.root)?;
        let mut times = Timings::default();
        for number in 0..EDITS {
            let file = &files[number * 7919 % files.len()];
            let feature = file.strip_prefix(self.specs())?.iter().next().context("no feature")?;
            let feature = feature.display();
            OpenOptions::new().append(true).open(file)?.write_all(b"\n")?;
            let start = Instant::now();
            daemon.get(&format!("/api/dossier/overview?feature={feature}&sync=true"))?;
            times.times.push(start.elapsed());
        }
        std::thread::sleep(IDLE_DELAY);
        let mib = daemon.mib()?;
        let usage = daemon.stop_with_usage()?;
        let [cpu, ready, read] = [cpu(&usage), ready, times.quantile(0.5)].map(ms);
        Ok([cpu, ready, read, mib])
    }

    fn specs(&self) -> PathBuf {
        self.root.join("kitty-specs")
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Returns the median of an odd number of values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

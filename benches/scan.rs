//! Cost of a scan compared with `sha256sum`: `cargo bench --bench scan`.
//!
//! Prints figures and whether both promises of a scan are met: at most half the wall time of
//! `find | xargs -P$(nproc) sha256sum` over the same files, in less than 30 MiB. A broken promise
//! does not fail the run, because a busy machine breaks it too. The page cache is warm, and the
//! commands alternate, so that other load affects both.
//!
//! This process uses little memory on purpose: `ru_maxrss` of a child is at least the memory of its
//! parent at the time of the `exec`.
#![allow(clippy::print_stdout, reason = "it prints figures")]

mod project;
mod runs;

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use project::{FILES, Source, promise};
use runs::{RUNS, Run, alternate, cpu};

/// Maximum time of a scan, relative to that of `sha256sum`.
const MAX_RATIO: f64 = 0.5;
/// Maximum memory of a scan, in MiB.
const MAX_MIB: f64 = 30.0;
/// Numbers of files of a feature that grows.
const SIZES: [usize; 3] = [10_000, 50_000, 100_000];
/// Number of files in each of its directories.
const FILES_PER_DIR: usize = 500;
/// Maximum growth of the time for each file from the first size to the last.
const MAX_GROWTH: f64 = 1.3;

fn main() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let bench = Bench { config: scratch.path().join("config") };
    bench_against_sha256sum(&bench, &scratch.path().join("project"))?;
    bench_growth(&bench, &scratch.path().join("large"))
}

/// Compares a scan with `sha256sum` over the same files.
fn bench_against_sha256sum(bench: &Bench, root: &Path) -> anyhow::Result<()> {
    let source = Source::find()?;
    let bytes = source.repeat(root)?;
    println!("{FILES} files, {} KiB on average, from {}", bytes / FILES as u64 / 1024, source.name);

    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let plain = || bench.plain(root, threads, "sha256sum");
    let scan = || bench.scan(root);
    let [plain, scan] = figures(RUNS, [&plain, &scan])?;
    println!("find | xargs -P{threads} sha256sum   {plain}");
    println!("dossierd scan --json           {scan}");
    let ratio = scan.wall.as_secs_f64() / plain.wall.as_secs_f64();
    promise(&format!("a scan takes {ratio:.2} of the time of sha256sum, at most {MAX_RATIO}"), {
        ratio <= MAX_RATIO
    });
    promise(&format!("memory {:.1} MiB, less than {MAX_MIB}", scan.mib), scan.mib < MAX_MIB);

    // A `sha256sum` that is linked with OpenSSL uses the SHA instructions of the processor, as a
    // scan does; another one takes more than twice as long. This shows which one the ratio refers
    // to.
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok() {
        let openssl = || bench.plain(root, threads, "openssl dgst -sha256 -r");
        let [openssl] = figures(RUNS, [&openssl])?;
        println!("the same with openssl dgst     {openssl}");
    }

    // With baselines a scan also hashes work packages without the fields that the runtime writes,
    // and compares everything.
    bench.accept(root)?;
    let [with_baselines] = figures(RUNS, [&|| bench.scan(root)])?;
    let times = with_baselines.wall.as_secs_f64() / scan.wall.as_secs_f64();
    println!("a scan with baselines          {with_baselines}, {times:.2} times as long");
    Ok(())
}

/// Measures how the time grows with the number of files of a feature.
fn bench_growth(bench: &Bench, root: &Path) -> anyhow::Result<()> {
    println!("\none feature of small files");
    let mut per_file = Vec::new();
    let mut created = 0;
    for size in SIZES {
        for number in created..size {
            let dir =
                root.join(format!("kitty-specs/001-large/notes/{:04}", number / FILES_PER_DIR));
            if number % FILES_PER_DIR == 0 {
                fs::create_dir_all(&dir)?;
            }
            fs::write(dir.join(format!("note-{number}.md")), format!("# Note {number}\n"))?;
        }
        created = size;
        let [scan] = figures(5, [&|| bench.scan(root)])?;
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / size as f64;
        println!("{size:>7} files                  {scan}, {:.2} us a file", micros(scan.wall));
        // CPU time, because other load increases the wall time of long runs most.
        per_file.push(micros(scan.cpu));
    }
    let growth = per_file[per_file.len() - 1] / per_file[0];
    let text =
        format!("the time is linear: a file costs {growth:.2} times the CPU at the largest size");
    promise(&format!("{text}, at most {MAX_GROWTH}"), growth <= MAX_GROWTH);
    Ok(())
}

/// Runs commands alternately.
fn figures<const N: usize>(
    runs_each: usize,
    commands: [&dyn Fn() -> anyhow::Result<Run>; N],
) -> anyhow::Result<[Figures; N]> {
    Ok(alternate(runs_each, commands)?.map(|runs| Figures::of(&runs)))
}

/// Statistics of the runs of a command.
struct Figures {
    wall: Duration,
    min: Duration,
    max: Duration,
    cpu: Duration,
    mib: f64,
}

impl Figures {
    /// Returns the median times and the maximum memory.
    fn of(runs: &[Run]) -> Self {
        let median = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        let mut walls: Vec<_> = runs.iter().map(|run| run.wall).collect();
        let mut cpus: Vec<_> = runs.iter().map(|run| cpu(&run.usage)).collect();
        let bytes = runs.iter().map(|run| run.usage.maxrss).max().unwrap_or_default();
        let wall = median(&mut walls);
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let mib = bytes as f64 / f64::from(1 << 20);
        Self { wall, min: walls[0], max: walls[walls.len() - 1], cpu: median(&mut cpus), mib }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "{:>6.1} ms median ({:.1} to {:.1}), {:>6.1} ms of CPU, {:>4.1} MiB",
            ms(self.wall),
            ms(self.min),
            ms(self.max),
            ms(self.cpu),
            self.mib,
        )
    }
}

/// Runs commands with an empty configuration; their output is discarded.
struct Bench {
    config: PathBuf,
}

impl Bench {
    fn plain(&self, root: &Path, threads: usize, tool: &str) -> anyhow::Result<Run> {
        let line = format!("find . -type f -print0 | xargs -0 -P{threads} {tool}");
        self.time(Command::new("sh").arg("-c").arg(line).current_dir(root.join("kitty-specs")))
    }

    fn scan(&self, root: &Path) -> anyhow::Result<Run> {
        self.time(Command::new(env!("CARGO_BIN_EXE_dossierd")).args(["scan", "--json"]).arg(root))
    }

    fn accept(&self, root: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dossierd"));
        command.args(["baseline", "accept", "--all", "--project"]).arg(root);
        self.time(command.stderr(Stdio::null())).map(drop)
    }

    fn time(&self, command: &mut Command) -> anyhow::Result<Run> {
        Run::of(command.env("XDG_CONFIG_HOME", &self.config))
    }
}

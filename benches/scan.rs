//! What a scan costs, beside the plain tools, in one run: `make bench`.
//!
//! It prints figures and whether the two promises of a scan hold: at most half the wall time of
//! `find | xargs -P$(nproc) sha256sum` over the same 10,000 files, in less than 30 MiB. A broken
//! promise is printed, not failed on: a busy machine breaks it too. The cache is warm throughout,
//! and the two commands take turns, so that what else the machine does meets both.
//!
//! This process stays small on purpose: `ru_maxrss` of a child is never less than its parent's
//! memory at the time of the `exec`.
#![allow(clippy::print_stdout, reason = "figures are what it is for")]

mod project;

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use wait4::{ResourceUsage, Wait4 as _};

use project::{FILES, Source, promise};

/// Rounds of the comparison.
const ROUNDS: usize = 15;
/// Most that a scan may take of the plain tools' time.
const MAX_RATIO: f64 = 0.5;
/// Most memory of a scan, in MiB.
const MAX_MIB: f64 = 30.0;
/// Files of the one feature that is made larger step by step.
const SIZES: [usize; 3] = [10_000, 50_000, 100_000];
/// Files of one of its directories.
const PER_FOLDER: usize = 500;
/// Most that the time for a file may grow from the first size to the last.
const MAX_GROWTH: f64 = 1.3;

fn main() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let bench = Bench { config: scratch.path().join("config") };
    compare(&bench, &scratch.path().join("project"))?;
    grow(&bench, &scratch.path().join("large"))
}

/// Scan and plain tools over the same files.
fn compare(bench: &Bench, root: &Path) -> anyhow::Result<()> {
    let source = Source::find()?;
    let bytes = source.repeat(root)?;
    println!("{FILES} files, {} KiB on average, from {}", bytes / FILES as u64 / 1024, source.name);

    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let plain = || bench.plain(root, threads, "sha256sum");
    let scan = || bench.scan(root);
    let [plain, scan] = take_turns(ROUNDS, [&plain, &scan])?;
    println!("find | xargs -P{threads} sha256sum   {plain}");
    println!("dossierd scan --json           {scan}");
    let ratio = scan.wall.as_secs_f64() / plain.wall.as_secs_f64();
    promise(&format!("a scan takes {ratio:.2} of the plain tools' time, at most {MAX_RATIO}"), {
        ratio <= MAX_RATIO
    });
    promise(&format!("it uses {:.1} MiB, less than {MAX_MIB}", scan.mib), scan.mib < MAX_MIB);

    // A sha256sum that is linked with OpenSSL uses the processor's own instructions, as a scan does;
    // one that is not takes more than twice as long. This tells what the ratio above rests on.
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok() {
        let openssl = || bench.plain(root, threads, "openssl dgst -sha256 -r");
        let [openssl] = take_turns(ROUNDS, [&openssl])?;
        println!("the same with openssl dgst     {openssl}");
    }

    // With baselines it has more to do: work packages are hashed a second time without what the
    // runtime writes, and everything is compared.
    bench.accept(root)?;
    let [compared] = take_turns(ROUNDS, [&|| bench.scan(root)])?;
    let times = compared.wall.as_secs_f64() / scan.wall.as_secs_f64();
    println!("a scan with baselines          {compared}, {times:.2} times as long");
    Ok(())
}

/// One feature with more and more files.
fn grow(bench: &Bench, root: &Path) -> anyhow::Result<()> {
    println!("\none feature of small files");
    let mut per_file = Vec::new();
    let mut made = 0;
    for size in SIZES {
        for number in made..size {
            let folder =
                root.join(format!("kitty-specs/001-large/notes/{:04}", number / PER_FOLDER));
            if number % PER_FOLDER == 0 {
                fs::create_dir_all(&folder)?;
            }
            fs::write(folder.join(format!("note-{number}.md")), format!("# Note {number}\n"))?;
        }
        made = size;
        let [scan] = take_turns(5, [&|| bench.scan(root)])?;
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / size as f64;
        println!("{size:>7} files                  {scan}, {:.2} us a file", micros(scan.wall));
        // A busy machine stretches wall time, and the longer the run the more surely.
        per_file.push(micros(scan.cpu));
    }
    let growth = per_file[per_file.len() - 1] / per_file[0];
    let text =
        format!("time grows as the files do: one costs {growth:.2} times the CPU at the end");
    promise(&format!("{text}, at most {MAX_GROWTH}"), growth <= MAX_GROWTH);
    Ok(())
}

/// Runs each command once to warm up, then all in turn, `rounds` times.
fn take_turns<const N: usize>(
    rounds: usize,
    commands: [&dyn Fn() -> anyhow::Result<Run>; N],
) -> anyhow::Result<[Figures; N]> {
    for command in commands {
        command()?;
    }
    let mut runs: [Vec<Run>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..rounds {
        for (command, runs) in commands.iter().zip(&mut runs) {
            runs.push(command()?);
        }
    }
    Ok(runs.map(|runs| Figures::of(&runs)))
}

/// One run of a command.
struct Run {
    wall: Duration,
    usage: ResourceUsage,
}

/// What some runs of one command came to.
struct Figures {
    wall: Duration,
    least: Duration,
    most: Duration,
    cpu: Duration,
    mib: f64,
}

impl Figures {
    /// Medians; of the memory the most.
    fn of(runs: &[Run]) -> Self {
        let median = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        let mut walls: Vec<_> = runs.iter().map(|run| run.wall).collect();
        let mut cpus: Vec<_> = runs.iter().map(|run| run.usage.utime + run.usage.stime).collect();
        let bytes = runs.iter().map(|run| run.usage.maxrss).max().unwrap_or_default();
        let wall = median(&mut walls);
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let mib = bytes as f64 / f64::from(1 << 20);
        Self { wall, least: walls[0], most: walls[walls.len() - 1], cpu: median(&mut cpus), mib }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "{:>6.1} ms median ({:.1} to {:.1}), {:>6.1} ms of CPU, {:>4.1} MiB",
            ms(self.wall),
            ms(self.least),
            ms(self.most),
            ms(self.cpu),
            self.mib,
        )
    }
}

/// How the commands are run: with an empty configuration, their output thrown away.
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
        command.env("XDG_CONFIG_HOME", &self.config).stdin(Stdio::null()).stdout(Stdio::null());
        let start = Instant::now();
        let ended = command.spawn().with_context(|| format!("{command:?}"))?.wait4()?;
        let wall = start.elapsed();
        if !ended.status.success() {
            bail!("{command:?} ended with {}", ended.status);
        }
        Ok(Run { wall, usage: ended.rusage })
    }
}

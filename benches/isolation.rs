//! What a project costs others: `cargo bench --bench isolation`.
//!
//! While one project is busy, files of another are edited and the time until the event arrives is
//! measured, with the processor time of the daemon. `DOSSIERD_BASE=PROGRAM` runs the same with
//! another build of the program and prints its figures next to these. `DOSSIERD_BENCH_CONFIG=TEXT` is
//! added to the configuration, for example `history: {enabled: false}`.
#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]
#![allow(clippy::unwrap_used, reason = "in the support of the tests")]

#[path = "../tests/it/support/fuse.rs"]
mod fuse;
mod live_daemon;
mod project;
mod reference;

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

use fuse::FuseMount;
use live_daemon::{Daemon, Subscriber, Timings, ms, write_config};
use project::promise;
use reference::Reference;

const MAX_EDIT_P99: Duration = Duration::from_millis(10);
/// While the queue of its own inotify instance overflows.
const MAX_OVERFLOW_P99: Duration = Duration::from_millis(50);
const EDIT_INTERVAL: Duration = Duration::from_millis(30);
const MAX_EDIT_TIME: Duration = Duration::from_secs(20);
/// Minimum duration of a scenario, and of the observation of its after-effects.
const DURATION: Duration = Duration::from_secs(6);

pub(crate) fn not_run(why: &str) {
    println!("NOT RUN: {why}");
}

/// What keeps the other project busy.
struct Scenario {
    name: &'static str,
    max_p99: Duration,
    /// Creates the project.
    create: fn(&Path) -> anyhow::Result<()>,
    /// Keeps it busy until the flag is set.
    busy: fn(&Path, &AtomicBool) -> anyhow::Result<()>,
    /// `features` of its configuration.
    patterns: &'static str,
}

const DEFAULT_PATTERNS: &str = "[\"kitty-specs/*\"]";

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "nothing",
        max_p99: MAX_EDIT_P99,
        create: |root| features(root, 1, 1),
        busy: |_, _| Ok(()),
        patterns: DEFAULT_PATTERNS,
    },
    Scenario {
        name: "chmod -R over 10,000 directories",
        max_p99: MAX_EDIT_P99,
        create: |root| dirs(&root.join("kitty-specs/001-many"), 10_000),
        busy: chmod_all,
        patterns: DEFAULT_PATTERNS,
    },
    Scenario {
        name: "900 files of 7 MiB rewritten",
        max_p99: MAX_EDIT_P99,
        create: |root| large_files(root, 900),
        busy: |root, _| large_files(root, 900),
        patterns: DEFAULT_PATTERNS,
    },
    Scenario {
        name: "rm -r of 20,000 directories",
        max_p99: MAX_EDIT_P99,
        create: |root| dirs(&root.join("kitty-specs/001-many"), 20_000),
        busy: |root, _| Ok(fs::remove_dir_all(root.join("kitty-specs/001-many/notes"))?),
        patterns: DEFAULT_PATTERNS,
    },
    Scenario {
        name: "overflow of the inotify queue",
        max_p99: MAX_OVERFLOW_P99,
        create: |root| features(root, 1, 200),
        busy: overflow,
        patterns: DEFAULT_PATTERNS,
    },
    Scenario {
        name: "mkdir below `**` over 12,000 directories",
        max_p99: MAX_EDIT_P99,
        create: |root| {
            features(root, 1, 1)?;
            dirs(&root.join("src"), 12_000)
        },
        busy: |root, done| {
            repeat(done, Duration::from_millis(100), |number| {
                Ok(fs::create_dir(root.join(format!("src/notes/0/new-{number}")))?)
            })
        },
        patterns: "[\"**/kitty-specs/*\"]",
    },
    Scenario {
        name: "20 appends a second in .kittify, 412 features",
        max_p99: MAX_EDIT_P99,
        create: |root| features(root, 412, 4),
        busy: |root, done| {
            let mut log =
                OpenOptions::new().create(true).append(true).open(root.join(".kittify/log"))?;
            repeat(done, Duration::from_millis(50), |number| Ok(writeln!(log, "line {number}")?))
        },
        patterns: DEFAULT_PATTERNS,
    },
];

fn main() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let own = PathBuf::from(env!("CARGO_BIN_EXE_dossierd"));
    let base = std::env::var_os("DOSSIERD_BASE").map(PathBuf::from);
    let programs: Vec<PathBuf> = base.into_iter().chain([own.clone()]).collect();
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let is_selected = |name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    // First: after many files were deleted, the file system looks longer for a free inode.
    if is_selected("first start") {
        for program in &programs {
            // Older programs do not have that key.
            for history in [None, Some(false), Some(true)] {
                if history.is_some() != (*program == own) {
                    continue;
                }
                bench_first_start(
                    program,
                    &scratch.path().join("first"),
                    *program == own,
                    history,
                )?;
                fs::remove_dir_all(scratch.path().join("first"))?;
            }
        }
    }
    println!("edits of one project while another has:");
    for (number, scenario) in SCENARIOS.iter().enumerate() {
        if !is_selected(scenario.name) {
            continue;
        }
        println!("{}", scenario.name);
        for program in &programs {
            let dir = scratch.path().join(number.to_string());
            let p99 = run(scenario, program, &dir)?;
            if *program == own {
                let text = format!("p99 {}, at most {}", ms(p99), ms(scenario.max_p99));
                promise(&text, p99 <= scenario.max_p99);
            }
            fs::remove_dir_all(&dir)?;
        }
    }
    if is_selected("hang") {
        bench_hang(&scratch.path().join("hang"))?;
    }
    if is_selected("pace") {
        for program in &programs {
            bench_paces(program, &scratch.path().join("paces"), *program == own)?;
            fs::remove_dir_all(scratch.path().join("paces"))?;
        }
    }
    if is_selected("many projects") {
        bench_many_projects(&scratch.path().join("projects"))?;
    }
    Ok(())
}

/// Promised maxima of the time from an edit to its event, whatever the pace. A machine whose processors halt between
/// edits takes milliseconds to wake each thread, and the event passes through six: there it is compared with the least
/// program, where it passes through three.
const MAX_P50: (Duration, u32) = (Duration::from_micros(800), 2);
const MAX_P99: (Duration, u32) = (Duration::from_millis(2), 5);

/// Runs a scenario with a program; returns the 99th percentile of the edits.
fn run(scenario: &Scenario, program: &Path, dir: &Path) -> anyhow::Result<Duration> {
    let (home, quiet, busy) = (dir.join("home"), dir.join("quiet"), dir.join("busy"));
    features(&quiet, 1, 1)?;
    (scenario.create)(&busy)?;
    let config =
        format!("projects:\n  - path: {}\n    features: {}\n", busy.display(), scenario.patterns);
    let daemon = start(program, &home, &quiet, &config)?;
    settle(&daemon)?;
    let (cpu, begun) = (daemon.cpu_time()?, Instant::now());
    // Only its events, as a person who works there reads them: this program would have to parse the others.
    let mut subscriber = daemon.subscribe_to("feature=000-feature")?;
    let done = AtomicBool::new(false);
    let edits = std::thread::scope(|scope| -> anyhow::Result<Timings> {
        let busy = scope.spawn(|| (scenario.busy)(&busy, &done));
        let mut edits = Timings::default();
        let is_over = |edits: &Timings| {
            let least = edits.times.iter().sum::<Duration>()
                + EDIT_INTERVAL * u32::try_from(edits.times.len()).unwrap_or(u32::MAX);
            (busy.is_finished() || done.load(Ordering::Relaxed)) && least >= DURATION
        };
        while !is_over(&edits) {
            edits.times.push(edit(&mut subscriber, &quiet, edits.times.len())?);
            std::thread::sleep(EDIT_INTERVAL);
            if begun.elapsed() >= DURATION {
                done.store(true, Ordering::Relaxed);
            }
        }
        done.store(true, Ordering::Relaxed);
        busy.join().ok().context("the scenario panicked")??;
        Ok(edits)
    })?;
    let cpu = daemon.cpu_time()?.saturating_sub(cpu);
    let name = if program == Path::new(env!("CARGO_BIN_EXE_dossierd")) { "this" } else { "base" };
    println!(
        "    {name}: {edits}; {} of processor time in {:.1} s",
        ms(cpu),
        begun.elapsed().as_secs_f64()
    );
    daemon.stop()?;
    Ok(edits.quantile(0.99))
}

/// A file system that stops answering.
fn bench_hang(dir: &Path) -> anyhow::Result<()> {
    let (home, quiet, hung) = (dir.join("home"), dir.join("quiet"), dir.join("hung"));
    features(&quiet, 1, 1)?;
    let Some(mut mount) = FuseMount::start(&hung, &[("kitty-specs/001-x/spec.md", "# Spec\n")])
    else {
        return Ok(());
    };
    println!("a file system that does not answer");
    let config = format!("projects:\n  - path: {}\n", hung.display());
    let own = PathBuf::from(env!("CARGO_BIN_EXE_dossierd"));
    let daemon = start(&own, &home, &quiet, &config)?;
    settle(&daemon)?;
    mount.hang();
    let hung_at = Instant::now();
    let mut subscriber = daemon.subscribe()?;
    let (mut edits, mut statuses, mut known_after) = (Timings::default(), Timings::default(), None);
    while hung_at.elapsed() < 2 * DURATION {
        edits.times.push(edit(&mut subscriber, &quiet, edits.times.len())?);
        let asked = Instant::now();
        let status = daemon.get("/api/status")?;
        statuses.times.push(asked.elapsed());
        if known_after.is_none() && status.to_string().contains("\"unresponsive\"") {
            known_after = Some(hung_at.elapsed());
        }
        std::thread::sleep(EDIT_INTERVAL);
    }
    println!("    this: {edits}");
    let p99 = edits.quantile(0.99);
    promise(&format!("p99 {}, at most {}", ms(p99), ms(MAX_EDIT_P99)), p99 <= MAX_EDIT_P99);
    let slowest = statuses.quantile(1.0);
    promise(
        &format!("`status` answers in {}, at most 100 ms", ms(slowest)),
        slowest <= Duration::from_millis(100),
    );
    let known_after = known_after.context("it was not reported")?;
    // It is polled every two seconds, and only then is a call made.
    promise(
        &format!("reported {} after it stopped answering, at most 5 s", ms(known_after)),
        known_after <= Duration::from_secs(5),
    );
    let stopping = Instant::now();
    daemon.stop()?;
    println!("    stopped in {}", ms(stopping.elapsed()));
    let starting = Instant::now();
    let daemon = start(&own, &home, &quiet, &config)?;
    println!("    started in {}", ms(starting.elapsed()));
    mount.resume();
    let resumed = Instant::now();
    while daemon.get("/api/status")?.to_string().contains("\"unresponsive\"") {
        ensure!(resumed.elapsed() < Duration::from_secs(70), "it does not heal");
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("    healed in {}", ms(resumed.elapsed()));
    daemon.stop()
}

/// Edits at two paces.
fn bench_paces(program: &Path, dir: &Path, is_own: bool) -> anyhow::Result<()> {
    let (home, root) = (dir.join("home"), dir.join("project"));
    features(&root, 1, 1)?;
    let daemon = start(program, &home, &root, "")?;
    settle(&daemon)?;
    let mut subscriber = daemon.subscribe()?;
    println!("edits, {}", if is_own { "this" } else { "base" });
    let reference_dir = dir.join("reference");
    fs::create_dir(&reference_dir)?;
    let mut reference = if is_own { Some(Reference::start(&reference_dir)?) } else { None };
    for (interval, count) in [(Duration::from_millis(30), 300), (Duration::from_millis(1500), 80)] {
        let (mut edits, mut least) = (Timings::default(), Timings::default());
        for number in 0..count {
            edits.times.push(edit(&mut subscriber, &root, number)?);
            std::thread::sleep(interval / 2);
            if let Some(reference) = &mut reference {
                least.times.push(reference.edit(number)?);
            }
            std::thread::sleep(interval / 2);
        }
        println!("    every {}: {edits}", ms(interval));
        if is_own {
            println!("    the least program, in turn with it: {least}");
            promise_pace("p50", (edits.quantile(0.5), least.quantile(0.5)), MAX_P50);
            promise_pace("p99", (edits.quantile(0.99), least.quantile(0.99)), MAX_P99);
        }
    }
    daemon.stop()
}

/// Prints whether a promise about a quantile is met: of the edits of the daemon and of the least program.
fn promise_pace(name: &str, (edits, least): (Duration, Duration), (max, ratio): (Duration, u32)) {
    let times = edits.as_secs_f64() / least.as_secs_f64();
    let max = max.max(least * ratio);
    promise(
        &format!(
            "{name} {}, {times:.1} times that of the least program, at most {}",
            ms(edits),
            ms(max)
        ),
        edits <= max,
    );
}

/// The first start with 412 features. The promise is about reading and evaluating them; storing a first
/// version of each file comes after readiness, at a low priority, and is printed as well.
fn bench_first_start(
    program: &Path,
    dir: &Path,
    is_own: bool,
    history: Option<bool>,
) -> anyhow::Result<()> {
    let (home, root) = (dir.join("home"), dir.join("project"));
    features(&root, 412, 24)?;
    let begun = Instant::now();
    let daemon = start(
        program,
        &home,
        &root,
        &history.map_or_else(String::new, |on| format!("history: {{enabled: {on}}}")),
    )?;
    let started = begun.elapsed();
    settle(&daemon)?;
    let cpu = daemon.cpu_time()?;
    let metrics = daemon.request("/metrics")?.1;
    let reads = live_daemon::number_after(&metrics, "\ndossierd_metadata_reads_total");
    println!(
        "first start with 412 features {} versions, {}: ready after {}, {} of processor time",
        if history == Some(true) { "and their" } else { "without" },
        if is_own { "this" } else { "base" },
        ms(started),
        ms(cpu)
    );
    if history == Some(false) {
        promise(&format!("{}, at most 600 ms", ms(cpu)), cpu <= Duration::from_millis(600));
        let reads = reads.context("no number of metadata reads")?;
        promise(&format!("metadata read {reads} times, at most 3"), reads <= 3);
    }
    daemon.stop()
}

/// 150 quiet projects, and projects that are added and removed.
fn bench_many_projects(dir: &Path) -> anyhow::Result<()> {
    let home = dir.join("home");
    let roots: Vec<PathBuf> = (0..150).map(|number| dir.join(format!("p{number}"))).collect();
    let mut config = "projects:\n".to_owned();
    for root in &roots {
        features(root, 2, 3)?;
        config += &format!("  - path: {}\n", root.display());
    }
    let own = PathBuf::from(env!("CARGO_BIN_EXE_dossierd"));
    let daemon = start(&own, &home, &roots[0], &config)?;
    settle(&daemon)?;
    // Threads without work end after ten seconds.
    std::thread::sleep(Duration::from_secs(12));
    let (instances, threads) = resources(&daemon)?;
    println!("150 quiet projects, {:.1} MiB", daemon.mib()?);
    promise(&format!("{instances} inotify instances, at most 16"), instances <= 16);
    promise(&format!("{threads} threads, at most 40"), threads <= 40);
    let socket = daemon.socket.clone();
    let extra = dir.join("extra");
    features(&extra, 2, 3)?;
    for _ in 0..360 {
        for action in ["add", "remove"] {
            let mut command = Command::new(&own);
            let done = live_daemon::set_home(&mut command, &home)
                .args(["project", action])
                .arg(&extra)
                .arg("--socket")
                .arg(&socket)
                .output()?;
            ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
    }
    std::thread::sleep(Duration::from_secs(12));
    let after = resources(&daemon)?;
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid))?.count();
    println!("    {descriptors} descriptors, {:.1} MiB", daemon.mib()?);
    let text = format!("after 360 adds and removes {} instances and {} threads", after.0, after.1);
    promise(&text, after.0 <= instances && after.1 <= threads);
    daemon.stop()
}

/// Returns the numbers of inotify instances and threads of the daemon.
fn resources(daemon: &Daemon) -> anyhow::Result<(usize, usize)> {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid))?;
    let is_inotify = |target: &PathBuf| target.to_string_lossy().contains("inotify");
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let instances = targets.filter(is_inotify).count();
    Ok((instances, fs::read_dir(format!("/proc/{}/task", daemon.pid))?.count()))
}

fn start(program: &Path, home: &Path, root: &Path, config: &str) -> anyhow::Result<Daemon> {
    let more = std::env::var("DOSSIERD_BENCH_CONFIG").unwrap_or_default();
    write_config(home, &format!("{config}\n{more}\n"))?;
    Ok(Daemon::start_with(Command::new(program), home, root)?.0)
}

/// Waits until the daemon uses no processor time for a second.
fn settle(daemon: &Daemon) -> anyhow::Result<()> {
    let (mut before, mut since) = (daemon.cpu_time()?, Instant::now());
    let begun = Instant::now();
    while since.elapsed() < Duration::from_secs(2) && begun.elapsed() < Duration::from_mins(1) {
        std::thread::sleep(Duration::from_millis(100));
        let cpu = daemon.cpu_time()?;
        if cpu.saturating_sub(before) > Duration::from_millis(20) {
            (before, since) = (cpu, Instant::now());
        }
    }
    Ok(())
}

/// Writes the first file of a project; returns the time until the event of that content arrived.
fn edit(subscriber: &mut Subscriber, root: &Path, number: usize) -> anyhow::Result<Duration> {
    let path = root.join("kitty-specs/000-feature/00.md");
    let content = format!("# Edit {number} {:?}\n", Instant::now());
    let hash =
        Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    // On a thread of its own: closing the file may wait for the disk, though the event is there.
    let editor = std::thread::spawn(move || -> anyhow::Result<Instant> {
        let mut file = File::create(&path)?;
        file.write_all(content.as_bytes())?;
        let closed = Instant::now();
        drop(file);
        Ok(closed)
    });
    let begun = Instant::now();
    while subscriber.next()?["payload"]["content_hash_sha256"] != hash.as_str() {
        ensure!(begun.elapsed() < MAX_EDIT_TIME, "no event within {MAX_EDIT_TIME:?}");
    }
    let arrived = Instant::now();
    let closed = editor.join().map_err(|_| anyhow::anyhow!("the editor panicked"))??;
    Ok(arrived.saturating_duration_since(closed))
}

/// Creates features with files.
fn features(root: &Path, features: usize, files: usize) -> anyhow::Result<()> {
    fs::create_dir_all(root.join(".kittify"))?;
    // The edited project has the feature `000-feature`, the others have others.
    let first = usize::from(!root.ends_with("quiet") && !root.ends_with("project"));
    for feature in first..first + features {
        let dir = root.join(format!("kitty-specs/{feature:03}-feature"));
        fs::create_dir_all(&dir)?;
        for file in 0..files {
            fs::write(dir.join(format!("{file:02}.md")), format!("# {feature} {file}\n"))?;
        }
    }
    Ok(())
}

/// Creates a tree of directories.
fn dirs(base: &Path, count: usize) -> anyhow::Result<()> {
    for number in 0..count {
        fs::create_dir_all(base.join(format!("notes/{}/{number}", number % 100)))?;
    }
    Ok(())
}

fn large_files(root: &Path, count: usize) -> anyhow::Result<()> {
    let dir = root.join("kitty-specs/001-large/notes");
    fs::create_dir_all(&dir)?;
    let mut content = vec![b'x'; 7 << 20];
    let mark = format!("{:?}", Instant::now()).into_bytes();
    content[..mark.len()].copy_from_slice(&mark);
    for number in 0..count {
        fs::write(dir.join(format!("{number:03}.md")), &content)?;
    }
    Ok(())
}

fn chmod_all(root: &Path, _: &AtomicBool) -> anyhow::Result<()> {
    fn chmod(dir: &Path, mode: u32) -> anyhow::Result<()> {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode))?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                chmod(&entry.path(), mode)?;
            }
        }
        Ok(())
    }
    chmod(&root.join("kitty-specs"), 0o750)
}

/// Writes many files so fast that the kernel's queue overflows.
fn overflow(root: &Path, done: &AtomicBool) -> anyhow::Result<()> {
    let dir = root.join("kitty-specs/001-feature");
    while !done.load(Ordering::Relaxed) {
        for file in 0..200 {
            let path = dir.join(format!("{file:02}.md"));
            OpenOptions::new().write(true).open(&path)?.write_all(b"#")?;
        }
    }
    Ok(())
}

/// Calls `act` with growing numbers until the flag is set.
fn repeat(
    done: &AtomicBool,
    interval: Duration,
    mut act: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        act(number)?;
        std::thread::sleep(interval);
    }
    Ok(())
}

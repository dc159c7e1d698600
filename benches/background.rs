//! What the daemon costs while nobody needs it: `cargo bench --bench background`.
//!
//! It counts wake-ups while much is out of order and nothing changes, and the processor time of logs that
//! grow all the time.
#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]

mod live_daemon;
mod project;

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;

use live_daemon::{Daemon, Timings, ms, write_config};
use project::promise;

/// Time in which pauses between attempts grow.
const SETTLING_TIME: Duration = Duration::from_mins(3);
const IDLE_TIME: Duration = Duration::from_mins(2);
const MAX_WAKE_UPS: f64 = 0.5;
const DEAD_ROOTS: usize = 40;
const FUTURE_FILES: usize = 2_000;
const LINKS: usize = 300;

const LOG_SIZES: [u64; 4] = [5 << 20, 30 << 20, 120 << 20, 400 << 20];
const LINE_INTERVAL: Duration = Duration::from_millis(100);
const FIRST_MINUTE: Duration = Duration::from_mins(1);
const LOG_TIME: Duration = Duration::from_mins(1);
const MAX_LOG_CPU: f64 = 0.02;
const MAX_EDIT_P99: Duration = Duration::from_millis(10);
const EDIT_INTERVAL: Duration = Duration::from_millis(200);

fn main() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let is_selected = |name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    if is_selected("idle") {
        bench_idle(&scratch.path().join("idle"))?;
    }
    if is_selected("logs") {
        bench_logs(&scratch.path().join("logs"))?;
    }
    Ok(())
}

/// Dead roots, files of the future, hard links and a store on a full disk.
fn bench_idle(dir: &Path) -> anyhow::Result<()> {
    let (home, root) = (dir.join("home"), dir.join("project"));
    let specs = root.join("kitty-specs");
    let future = SystemTime::now() + Duration::from_hours(24 * 365);
    for number in 0..FUTURE_FILES {
        let path = specs.join(format!("{:03}-feature/{number}.md", number / 100));
        write(&path, format!("# File {number}\n").as_bytes())?;
        File::options().write(true).open(&path)?.set_modified(future)?;
        if number < LINKS {
            fs::hard_link(&path, path.with_extension("link.md"))?;
        }
    }
    let mut config = "projects:\n".to_owned();
    for number in 0..DEAD_ROOTS {
        config += &format!("  - path: {}\n", dir.join(format!("dead{number}")).display());
    }
    write_config(&home, &config)?;
    let state = home.join("state");
    fs::create_dir_all(&state)?;
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=24m", "none"]).arg(&state);
    let is_mounted = mount.status().is_ok_and(|status| status.success());
    let result = count_wake_ups(&home, &root, &state, is_mounted);
    if is_mounted {
        Command::new("umount").arg("-l").arg(&state).status()?;
    }
    result
}

fn count_wake_ups(home: &Path, root: &Path, state: &Path, fills: bool) -> anyhow::Result<()> {
    let (daemon, _) = Daemon::start(home, root)?;
    if fills {
        fill(&state.join("fill"))?;
        let begun = Instant::now();
        let edited = root.join("kitty-specs/000-feature/edited.md");
        for number in 0.. {
            write(&edited, format!("# Edit {number}\n").as_bytes())?;
            let state = daemon.get("/api/status")?["store"]["state"].clone();
            if state == "degraded" {
                break;
            }
            anyhow::ensure!(begun.elapsed() < Duration::from_mins(1), "the store is {state}");
            std::thread::sleep(Duration::from_millis(20));
        }
    } else {
        println!("NOT RUN: a degraded store (mounting a file system needs root)");
    }
    std::thread::sleep(SETTLING_TIME);
    let (before, cpu) = (daemon.context_switches()?, daemon.cpu_time()?);
    std::thread::sleep(IDLE_TIME);
    let (after, used) = (daemon.context_switches()?, daemon.cpu_time()?.saturating_sub(cpu));
    let mut by_thread: Vec<(u64, String)> = after
        .iter()
        .map(|(thread, count)| {
            let name = format!("/proc/{}/task/{}/comm", daemon.pid, thread.display());
            let name = fs::read_to_string(name).unwrap_or_default().trim().to_owned();
            (count - before.get(thread).copied().unwrap_or_default(), name)
        })
        .collect();
    by_thread.sort_unstable();
    let total: u64 = by_thread.iter().map(|(count, _)| count).sum();
    let rate = total as f64 / IDLE_TIME.as_secs_f64();
    println!(
        "idle with {DEAD_ROOTS} dead roots, {FUTURE_FILES} files of the future, {LINKS} links{}: {} of \
         processor time in {} s",
        if fills { " and a full disk" } else { "" },
        ms(used),
        IDLE_TIME.as_secs()
    );
    for (count, name) in by_thread.iter().rev().take(5) {
        println!("    {count} by `{name}`");
    }
    let text = format!("{rate:.2} wake-ups a second, at most {MAX_WAKE_UPS}");
    promise(&text, rate <= MAX_WAKE_UPS);
    if fills {
        fs::remove_file(state.join("fill"))?;
    }
    daemon.stop()
}

/// Logs that grow by ten lines a second, and edits of another project.
fn bench_logs(dir: &Path) -> anyhow::Result<()> {
    let (home, quiet, busy) = (dir.join("home"), dir.join("quiet"), dir.join("busy"));
    let edited = quiet.join("kitty-specs/001-quiet/spec.md");
    write(&edited, b"# Spec\n")?;
    for size in LOG_SIZES {
        let path = busy.join(format!("kitty-specs/001-busy/log-{}.md", size >> 20));
        write(&path, &vec![b'x'; usize::try_from(size)?])?;
    }
    let config = format!("projects:\n  - path: {}\n", busy.display());
    write_config(&home, &config)?;
    let (daemon, _) = Daemon::start(&home, &quiet)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| append_lines(&busy, &stop));
        let measured = measure_logs(&daemon, &edited);
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        measured
    })?;
    daemon.stop()
}

fn measure_logs(daemon: &Daemon, edited: &Path) -> anyhow::Result<()> {
    std::thread::sleep(FIRST_MINUTE);
    let cpu = daemon.cpu_time()?;
    let begun = Instant::now();
    std::thread::sleep(LOG_TIME);
    let used = daemon.cpu_time()?.saturating_sub(cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    let mut events = daemon.subscribe()?;
    let mut edits = Timings::default();
    for number in 0..100 {
        std::thread::sleep(EDIT_INTERVAL);
        let text = format!("# Edit {number}\n");
        let begun = Instant::now();
        write(edited, text.as_bytes())?;
        loop {
            let event = events.next()?;
            let is_edit = event["payload"]["relative_path"] == "spec.md";
            if is_edit && event["feature_slug"] == "001-quiet" {
                break;
            }
        }
        edits.times.push(begun.elapsed());
    }
    println!("logs of 5, 30, 120 and 400 MiB with ten lines a second each; other edits: {edits}");
    let text = format!("{:.1} percent of a processor, at most 2", used * 100.0);
    promise(&text, used <= MAX_LOG_CPU);
    let p99 = edits.quantile(0.99);
    promise(&format!("p99 {}, at most {}", ms(p99), ms(MAX_EDIT_P99)), p99 <= MAX_EDIT_P99);
    Ok(())
}

fn append_lines(busy: &Path, stop: &AtomicBool) -> anyhow::Result<()> {
    let open = |size: u64| {
        let path = busy.join(format!("kitty-specs/001-busy/log-{}.md", size >> 20));
        OpenOptions::new().append(true).open(&path)
    };
    let mut logs = LOG_SIZES.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
    while !stop.load(Ordering::Relaxed) {
        for log in &mut logs {
            log.write_all(b"one more line\n")?;
        }
        std::thread::sleep(LINE_INTERVAL);
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().context("no parent directory")?)?;
    fs::write(path, content)?;
    Ok(())
}

/// Writes to a file until the disk is full.
fn fill(path: &Path) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    Ok(())
}

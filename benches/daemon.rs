//! What the daemon costs, and how soon it says what changed, in one run:
//! `cargo bench --bench daemon`.
//!
//! It starts the real program over real directories and asks it as any client does. It prints figures
//! and whether each promise holds; a broken one is printed, not failed on: a busy machine breaks it
//! too. Times are measured beside something known in the same run: `sha256sum`, the same edits with
//! nothing else to do, one feature instead of many. The cache is warm throughout.
#![allow(clippy::print_stdout, reason = "figures are what it is for")]
#![allow(clippy::cast_precision_loss, reason = "far below 2^52")]

mod live;
mod project;

use std::fs::{self, File};
use std::io::Write as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use live::{Daemon, Edits, Subscriber, ms};
use project::{FILES, Source, list, promise};

/// Starts that are timed.
const STARTS: usize = 9;
const MAX_START: Duration = Duration::from_millis(100);
/// Edits whose way to a subscriber is timed, and the rest between two.
const EDITS: u32 = 500;
const REST: Duration = Duration::from_millis(4);
const MAX_EDIT_P50: Duration = Duration::from_millis(1);
const MAX_EDIT_P99: Duration = Duration::from_millis(5);
/// Times that all files are rewritten.
const REWRITES: usize = 5;
/// Most that the daemon may take of the plain tools' time for the same files.
const MAX_REWRITE_RATIO: f64 = 1.0;
/// Artifacts of the one large feature, and files of one of its directories.
const LARGE: usize = 100_000;
const PER_FOLDER: usize = 500;
const LARGE_EDITS: u32 = 60;
const MAX_LARGE_EDIT: Duration = Duration::from_millis(20);
/// Numbers of features between which an edit's cost is compared, and files of each.
const FEATURES: [usize; 3] = [1, 100, 400];
const FILES_EACH: usize = 25;
/// Most that it may grow from the first to the last; what two runs of the same differ by.
const MAX_GROWTH: f64 = 1.25;
/// Memory in MiB: at rest, after everything was rewritten, at rest with the large feature.
const MAX_QUIET: f64 = 20.0;
const MAX_REWRITTEN: f64 = 24.0;
const MAX_LARGE: f64 = 64.0;
/// How long the daemon is left alone, and how often it may wake up a second.
const IDLE: Duration = Duration::from_secs(10);
const MAX_SWITCHES: f64 = 0.5;
/// Size of the file that must not delay others, and by how much it may.
const HUGE: u64 = 2 << 30;
const MAX_DELAY: Duration = Duration::from_millis(10);

fn main() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    real_project(&scratch.path().join("real"))?;
    many_features(&scratch.path().join("many"))?;
    large_feature(&scratch.path().join("large"))
}

/// 10,000 files in as many features as they have in reality.
fn real_project(place: &Path) -> anyhow::Result<()> {
    let (home, root) = (place.join("home"), place.join("project"));
    let source = Source::find()?;
    let bytes = source.repeat(&root)?;
    let specs = root.join("kitty-specs");
    let features = fs::read_dir(&specs)?.count();
    let kib = bytes / FILES as u64 / 1024;
    println!("{FILES} files in {features} features, {kib} KiB on average, from {}", source.name);

    let (first, ready) = Daemon::start(&home, &root)?;
    println!("first start, everything read   ready after {}", ms(ready));
    rest_of_first_index(&first)?;
    first.stop()?;
    restart(&home, &root)?;

    let (daemon, _) = Daemon::start(&home, &root)?;
    std::thread::sleep(Duration::from_secs(2));
    let quiet = daemon.mib()?;
    promise(&format!("at rest it uses {quiet:.1} MiB, at most {MAX_QUIET}"), quiet <= MAX_QUIET);
    idle(&daemon)?;

    let files = markdown(&specs)?;
    let mut subscriber = daemon.subscribe()?;
    let mut edits = Edits::default();
    for number in 0..EDITS {
        let file = &files[number as usize * 7919 % files.len()];
        edits.times.push(edit(&mut subscriber, file, number)?);
        std::thread::sleep(REST);
    }
    println!("end of write to event          {edits}");
    let (p50, p99) = (edits.quantile(0.5), edits.quantile(0.99));
    let text = format!("half of the edits take {}, at most {}", ms(p50), ms(MAX_EDIT_P50));
    promise(&text, p50 <= MAX_EDIT_P50);
    let text = format!("99 of 100 take {}, at most {}", ms(p99), ms(MAX_EDIT_P99));
    promise(&text, p99 <= MAX_EDIT_P99);

    huge_file(&daemon, &mut subscriber, &specs, &files, p50)?;
    drop(subscriber);
    rewrite_all(&daemon, &root)?;
    daemon.stop()
}

/// Until nothing that was just written is looked at again.
fn rest_of_first_index(daemon: &Daemon) -> anyhow::Result<()> {
    std::thread::sleep(Duration::from_millis(200));
    daemon.get("/api/status?sync=true").map(drop)
}

fn restart(home: &Path, root: &Path) -> anyhow::Result<()> {
    let mut starts = Edits::default();
    for _ in 0..STARTS {
        let (daemon, ready) = Daemon::start(home, root)?;
        starts.times.push(ready);
        daemon.stop()?;
    }
    println!("restart                        {starts}");
    let median = starts.quantile(0.5);
    let text = format!("a restart is ready after {}, at most {}", ms(median), ms(MAX_START));
    promise(&text, median <= MAX_START);
    match artifacts_opened(home, root)? {
        None => println!("there is no strace to count the artifacts that a restart opens"),
        Some(opened) => {
            let text = format!("a restart opens {opened} unchanged artifacts, at most 0");
            promise(&text, opened == 0);
        }
    }
    Ok(())
}

/// How many files below the features a start opens, `meta.json` aside, which steers.
fn artifacts_opened(home: &Path, root: &Path) -> anyhow::Result<Option<usize>> {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return Ok(None);
    }
    let trace = home.join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-e", "trace=open,openat,openat2", "-o"]).arg(&trace);
    command.arg(env!("CARGO_BIN_EXE_dossierd"));
    let (daemon, _) = Daemon::start_by(command, home, root)?;
    let under = specs_text(root);
    daemon.stop()?;
    let trace = fs::read_to_string(trace)?;
    // A call that another thread's came between has two lines, the first with what was asked for.
    let asked = trace.lines().filter(|line| !line.contains(" resumed>"));
    let opened = asked.filter(|line| {
        line.contains(&under) && !line.contains("O_DIRECTORY") && !line.contains("\"meta.json\"")
    });
    Ok(Some(opened.count()))
}

fn specs_text(root: &Path) -> String {
    format!("{}/", root.join("kitty-specs").display())
}

fn idle(daemon: &Daemon) -> anyhow::Result<()> {
    // Threads that served a request end after a while.
    std::thread::sleep(IDLE);
    let before = daemon.switches()?;
    std::thread::sleep(IDLE);
    let now = daemon.switches()?;
    let more = |(thread, count): (&_, &u64)| count - before.get(thread).copied().unwrap_or(0);
    let rate = now.iter().map(more).sum::<u64>() as f64 / IDLE.as_secs_f64();
    let text = format!("left alone it wakes {rate:.1} times a second, at most {MAX_SWITCHES}");
    promise(&text, rate <= MAX_SWITCHES);
    Ok(())
}

/// Edits go on while a file of gigabytes that came into another feature is read.
fn huge_file(
    daemon: &Daemon,
    subscriber: &mut Subscriber,
    specs: &Path,
    files: &[PathBuf],
    usual: Duration,
) -> anyhow::Result<()> {
    let folder = files[0].parent().context("a folder")?;
    let others: Vec<&PathBuf> =
        files.iter().filter(|file| feature_of(file, specs) != feature_of(folder, specs)).collect();
    let huge = folder.join("huge.bin");
    let cpu = daemon.cpu()?;
    File::create(&huge)?.set_len(HUGE)?;
    let mut edits = Edits::default();
    let begin = Instant::now();
    // It counts after 50 ms; then it is being read.
    std::thread::sleep(Duration::from_millis(100));
    let mut number = 0;
    while !subscriber.seen.contains_key("huge.bin") && begin.elapsed() < Duration::from_mins(1) {
        let file = others[number as usize * 7919 % others.len()];
        edits.times.push(edit(subscriber, file, EDITS + number)?);
        number += 1;
        std::thread::sleep(REST);
    }
    ensure!(number > 0, "it was read before anything could be late");
    let took = begin.elapsed();
    let hash = subscriber.seen.remove("huge.bin").context("the huge file was never seen")?;
    let cpu = daemon.cpu()?.checked_sub(cpu).unwrap_or_default();
    let plain = Instant::now();
    let output = Command::new("sha256sum").arg(&huge).output()?;
    let plain = plain.elapsed();
    ensure!(output.stdout.starts_with(hash.as_bytes()), "the huge file has another hash");
    println!(
        "{} MiB in another feature       read within {}, {} of CPU (sha256sum {}); meanwhile {edits}",
        HUGE >> 20,
        ms(took),
        ms(cpu),
        ms(plain)
    );
    // A processor that others use too is late now and then whatever is read meanwhile.
    let delay = edits.quantile(0.99).saturating_sub(usual);
    let text = format!("99 of 100 edits are late by {}, at most {}", ms(delay), ms(MAX_DELAY));
    promise(&text, delay < MAX_DELAY);
    fs::remove_file(&huge)?;
    daemon.get("/api/status?sync=true").map(drop)
}

fn feature_of<'a>(file: &'a Path, specs: &Path) -> Option<std::path::Component<'a>> {
    file.strip_prefix(specs).ok()?.components().next()
}

/// Everything is rewritten, and the daemon is asked when it has seen that.
fn rewrite_all(daemon: &Daemon, root: &Path) -> anyhow::Result<()> {
    let specs = root.join("kitty-specs");
    let mut names = Vec::new();
    list(&specs, Path::new(""), &mut names)?;
    let contents: Vec<(PathBuf, Vec<u8>)> = names
        .iter()
        .map(|name| Ok((specs.join(name), fs::read(specs.join(name))?)))
        .collect::<anyhow::Result<_>>()?;
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let (mut writes, mut plain, mut seen) = (Edits::default(), Edits::default(), Edits::default());
    for round in 0..REWRITES {
        let begin = Instant::now();
        for (path, content) in &contents {
            let mut file = File::create(path)?;
            file.write_all(content)?;
            // It stays what it is, whatever that is.
            file.write_all("\n".repeat(round + 1).as_bytes())?;
        }
        writes.times.push(begin.elapsed());
        let begin = Instant::now();
        let status = daemon.get("/api/status?sync=true")?;
        seen.times.push(begin.elapsed());
        daemon.agrees_with_disk(root, &status)?;
        let begin = Instant::now();
        let line = format!("find . -type f -print0 | xargs -0 -P{threads} sha256sum");
        let shell = Command::new("sh")
            .args(["-c", &line])
            .current_dir(&specs)
            .stdout(Stdio::null())
            .status();
        ensure!(shell?.success(), "the plain tools failed");
        plain.times.push(begin.elapsed());
    }
    println!("{} files rewritten           {writes}", contents.len());
    println!("find | xargs -P{threads} sha256sum   {plain}");
    println!("until the daemon has them all  {seen}");
    let ratio = seen.quantile(0.5).as_secs_f64() / plain.quantile(0.5).as_secs_f64();
    let text = format!("that is {ratio:.2} of the plain tools' time, at most {MAX_REWRITE_RATIO}");
    promise(&text, ratio <= MAX_REWRITE_RATIO);
    std::thread::sleep(Duration::from_secs(3));
    let mib = daemon.mib()?;
    promise(&format!("it then uses {mib:.1} MiB, at most {MAX_REWRITTEN}"), mib <= MAX_REWRITTEN);
    Ok(())
}

/// The same edits with more and more other features.
fn many_features(place: &Path) -> anyhow::Result<()> {
    println!("\nan edit with other features, {FILES_EACH} files each");
    let mut costs = Vec::new();
    for features in FEATURES {
        let (home, root) =
            (place.join(format!("home-{features}")), place.join(features.to_string()));
        fs::create_dir_all(root.join(".kittify"))?;
        for number in 0..features {
            let folder = root.join(format!("kitty-specs/{number:03}-feature/notes"));
            fs::create_dir_all(&folder)?;
            for note in 0..FILES_EACH {
                fs::write(folder.join(format!("{note:02}.md")), format!("# {number} {note}\n"))?;
            }
        }
        let (daemon, _) = Daemon::start(&home, &root)?;
        rest_of_first_index(&daemon)?;
        std::thread::sleep(Duration::from_secs(1));
        let mut subscriber = daemon.subscribe()?;
        let mut edits = Edits::default();
        let cpu = daemon.cpu()?;
        for number in 0..EDITS {
            let note = root.join(format!(
                "kitty-specs/000-feature/notes/{:02}.md",
                number as usize % FILES_EACH
            ));
            edits.times.push(edit(&mut subscriber, &note, number)?);
            std::thread::sleep(REST);
        }
        // What is read once more, and what is written beside it, is part of what an edit costs.
        std::thread::sleep(Duration::from_millis(200));
        let cpu = daemon.cpu()?.checked_sub(cpu).unwrap_or_default() / EDITS;
        println!("{features:>4} features                  {edits}, {} of CPU each", ms(cpu));
        costs.push((edits.quantile(0.5), cpu));
        daemon.stop()?;
    }
    let growth = |of: fn(&(Duration, Duration)) -> Duration| {
        of(&costs[costs.len() - 1]).as_secs_f64() / of(&costs[0]).as_secs_f64()
    };
    let (time, cpu) = (growth(|cost| cost.0), growth(|cost| cost.1));
    let text = format!("with 400 an edit takes {time:.2} times as long, at most {MAX_GROWTH}");
    promise(&text, time <= MAX_GROWTH);
    promise(&format!("and {cpu:.2} times the CPU, at most {MAX_GROWTH}"), cpu <= MAX_GROWTH);
    Ok(())
}

/// One feature of 100,000 artifacts.
fn large_feature(place: &Path) -> anyhow::Result<()> {
    println!("\none feature of {LARGE} artifacts");
    let (home, root) = (place.join("home"), place.join("project"));
    let notes = root.join("kitty-specs/001-large/notes");
    fs::create_dir_all(root.join(".kittify"))?;
    let file = |number: usize| notes.join(format!("{:04}/note-{number}.md", number / PER_FOLDER));
    for number in 0..LARGE {
        if number % PER_FOLDER == 0 {
            fs::create_dir_all(file(number).parent().context("a folder")?)?;
        }
        fs::write(file(number), format!("# Note {number}\n"))?;
    }
    let (daemon, ready) = Daemon::start(&home, &root)?;
    println!("first start, everything read   ready after {}", ms(ready));
    rest_of_first_index(&daemon)?;
    daemon.stop()?;
    let (daemon, ready) = Daemon::start(&home, &root)?;
    println!("restart                        ready after {}", ms(ready));
    std::thread::sleep(Duration::from_secs(3));
    let mib = daemon.mib()?;
    promise(&format!("at rest it uses {mib:.1} MiB, at most {MAX_LARGE}"), mib <= MAX_LARGE);
    let mut subscriber = daemon.subscribe()?;
    let mut edits = Edits::default();
    for number in 0..LARGE_EDITS {
        edits.times.push(edit(&mut subscriber, &file(number as usize * 7919 % LARGE), number)?);
        std::thread::sleep(REST);
    }
    println!("end of write to event          {edits}");
    let late = edits.quantile(0.95);
    let text = format!("95 of 100 edits take {}, at most {}", ms(late), ms(MAX_LARGE_EDIT));
    promise(&text, late <= MAX_LARGE_EDIT);
    println!("after that it uses {:.1} MiB", daemon.mib()?);
    daemon.stop()
}

/// Writes a file anew; gives the time from just before it was closed to its event.
fn edit(subscriber: &mut Subscriber, path: &Path, number: u32) -> anyhow::Result<Duration> {
    let name = path.file_name().and_then(|name| name.to_str()).context("a name")?;
    let folder = path.parent().context("a folder")?;
    let mut ends = format!("/{name}");
    if let Some(above) = folder.file_name().and_then(|name| name.to_str()) {
        ends = format!("{above}{ends}");
    }
    let mut file = File::create(path)?;
    write!(file, "# Edit {number}\n{}\n", path.display())?;
    let closed = Instant::now();
    drop(file);
    loop {
        let event = subscriber.next()?;
        if event["event_type"] != "mission_dossier_artifact_indexed" {
            continue;
        }
        let at = format!(
            "{}/{}",
            event["feature_slug"].as_str().unwrap_or_default(),
            event["payload"]["relative_path"].as_str().unwrap_or_default()
        );
        if at.ends_with(&ends) {
            return Ok(closed.elapsed());
        }
        let path = event["payload"]["relative_path"].as_str().unwrap_or_default();
        let hash = event["payload"]["content_hash_sha256"].as_str().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        subscriber.seen.insert(name.to_owned(), hash.to_owned());
    }
}

/// The Markdown files below a directory.
fn markdown(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    list(folder, Path::new(""), &mut files)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    Ok(files.into_iter().map(|file| folder.join(file)).collect())
}

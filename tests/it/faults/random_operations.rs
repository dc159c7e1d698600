//! Random faults between random file operations: the state converges after each, and at the end
//! memory, descriptors and watches have not grown.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Signal, geteuid};

use crate::daemon::model::{Random, operate};
use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::kernel::{Mount, WatchStatus, fill_disk, send_signal, wrap_command};
use crate::support::process::Daemon;
use crate::support::{FEATURE, Project, git, not_run, write_file};

/// Duration of the test in seconds; `DOSSIERD_ENDURE_SECS` overrides it.
const DEFAULT_SECONDS: u64 = 10;
/// Number of directories with a file that exist all the time and must never be reported as deleted.
const KEPT_DIRS: usize = 40;

/// Resources that a daemon uses.
#[derive(Debug)]
struct ResourceUsage {
    memory_kib: u64,
    descriptors: usize,
    watches: u64,
}

impl ResourceUsage {
    fn of(project: &Project, daemon: &Daemon) -> Self {
        let process = daemon.pid().as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let WatchStatus { watched: watches, total, .. } = project.watch_status(daemon);
        assert_eq!(watches, total);
        Self {
            memory_kib: line.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: fs::read_dir(format!("/proc/{process}/fd")).unwrap().count(),
            watches,
        }
    }
}

/// A project, its daemon, and the disk of its store.
struct Environment {
    project: Project,
    daemon: Option<Daemon>,
    /// The disk of the store; `None` without root.
    disk: Option<Mount>,
    /// Sets the clock of the daemon: an offset, as in `faketime(1)`; `None` if that is not installed.
    clock: Option<PathBuf>,
}

const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// A killed process leaves shared memory of libfaketime, which does not start in another one of the same number.
const START_WITH_CLOCK: &str = r#"
    library=$1
    shift
    rm -f "/dev/shm/faketime_shm_$$" "/dev/shm/sem.faketime_sem_$$"
    LD_PRELOAD=$library exec "$@"
"#;

impl Environment {
    fn new() -> Self {
        let project = Project::complete()
            .config("scrub: 5s\nsettle: {git_ms: 300}\njournal: {max_bytes: 1 MiB}\n");
        let disk = if geteuid().is_root() {
            Some(Mount::new(
                &["-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs"],
                &project.state_dir(),
            ))
        } else {
            not_run("random faults of the disk of the store (needs root)");
            None
        };
        for dir in 0..KEPT_DIRS {
            let path = format!("kitty-specs/002-kept/research/{dir}/kept.md");
            project.write(&path, format!("{dir}\n"));
        }
        git(&project.root, &["init", "-q"]);
        git(&project.root, &["add", "-A"]);
        git(&project.root, &["commit", "-q", "-m", "one"]);
        let clock = Path::new(FAKETIME).exists().then(|| project.home().join("clock"));
        match &clock {
            Some(clock) => write_file(clock, b"+0"),
            None => not_run("random steps of the clock (no libfaketime)"),
        }
        let mut environment = Self { project, daemon: None, disk, clock };
        environment.start_daemon();
        environment
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    fn start_daemon(&mut self) {
        let mut command = self.project.daemon_command();
        if let Some(clock) = &self.clock {
            command = wrap_command(&["sh", "-c", START_WITH_CLOCK, "sh", FAKETIME], &command);
            command.env("FAKETIME_TIMESTAMP_FILE", clock);
            for setting in ["FAKETIME_NO_CACHE", "DONT_FAKE_MONOTONIC", "NO_FAKE_STAT"] {
                command.env(setting, "1");
            }
        }
        let daemon = self.project.spawn_daemon(command);
        daemon.wait_until_ready();
        self.daemon = Some(daemon);
    }

    fn operate(&self, random: &mut Random) {
        for _ in 0..random.below(20) {
            operate(random, &self.project.feature_dir());
        }
    }

    /// Causes a random fault, performs operations while it lasts, and ends it; returns its name.
    fn cause_fault(&mut self, random: &mut Random) -> &'static str {
        if random.below(13) < 5 {
            self.disturb_daemon(random)
        } else {
            self.disturb_project(random)
        }
    }

    /// Causes a fault of the daemon or its machine.
    fn disturb_daemon(&mut self, random: &mut Random) -> &'static str {
        match random.below(5) {
            0 => {
                self.daemon.take().unwrap().kill();
                self.operate(random);
                self.start_daemon();
                "kill -9"
            }
            1 => {
                self.daemon.take().unwrap().stop();
                self.operate(random);
                self.start_daemon();
                "a clean stop"
            }
            2 => {
                let process = self.daemon().pid();
                send_signal(process, Signal::STOP);
                for iteration in 0..60 {
                    for dir in 0..KEPT_DIRS {
                        let path = self.kept_file(dir);
                        fs::write(path, format!("{iteration} {dir}\n")).unwrap();
                    }
                }
                self.operate(random);
                send_signal(process, Signal::CONT);
                "an inotify overflow"
            }
            3 if self.clock.is_some() => {
                let step = random.below(4 * 3600);
                let offset = format!("{:+}", i64::try_from(step).unwrap() - 2 * 3600);
                self.operate(random);
                write_file(self.clock.as_ref().unwrap(), offset.as_bytes());
                self.operate(random);
                "a step of the clock"
            }
            4 if self.disk.is_some() => {
                let ballast = self.project.state_dir().join("ballast");
                fill_disk(&ballast);
                self.operate(random);
                self.daemon().export("002-kept");
                fs::remove_file(&ballast).unwrap();
                "a full disk"
            }
            _ => {
                self.operate(random);
                "operations alone"
            }
        }
    }

    /// Causes a fault of the project.
    fn disturb_project(&mut self, random: &mut Random) -> &'static str {
        match random.below(8) {
            0 => {
                let away = self.project.home().join("away");
                fs::rename(&self.project.root, &away).unwrap();
                self.project.wait_for_watch(self.daemon(), "root_unavailable");
                fs::rename(&away, &self.project.root).unwrap();
                self.project.wait_for_watch(self.daemon(), "live");
                self.operate(random);
                "a moved root"
            }
            1 => {
                let lock = self.project.root.join(".git/index.lock");
                fs::write(&lock, "").unwrap();
                self.operate(random);
                fs::remove_file(&lock).unwrap();
                "the lock of git"
            }
            2 => {
                let manifest = ".kittify/missions/software-dev/expected-artifacts.yaml";
                self.project.write(manifest, "schema_version: [\n");
                self.operate(random);
                fs::remove_file(self.project.root.join(manifest)).unwrap();
                "an invalid manifest"
            }
            3 => {
                let kept = self.project.root.join("kitty-specs/002-kept");
                let aside = self.project.home().join("aside");
                fs::rename(&kept, &aside).unwrap();
                self.operate(random);
                fs::rename(&aside, &kept).unwrap();
                "a moved feature"
            }
            4 if self.disk.is_some() => {
                let dir = random.below(KEPT_DIRS as u64);
                let dir = self.project.root.join(format!("kitty-specs/002-kept/research/{dir}"));
                let mounted = Mount::new(&["-t", "tmpfs", "tmpfs"], &dir);
                write_file(&dir.join("other.md"), b"other\n");
                self.operate(random);
                mounted.unmount();
                "a mount over a directory"
            }
            5 => {
                let log = self.project.feature_dir().join("notes.log");
                if let Ok(mut log) = File::options().create(true).append(true).open(log) {
                    for line in 0..random.below(2_000) {
                        writeln!(log, "line {line}").unwrap();
                    }
                }
                self.operate(random);
                "a growing log"
            }
            6 => {
                git(&self.project.root, &["add", "-A"]);
                git(&self.project.root, &["commit", "-q", "--allow-empty", "-m", "next"]);
                git(&self.project.root, &["checkout", "-q", "HEAD~1"]);
                self.operate(random);
                git(&self.project.root, &["checkout", "-q", "-f", "main"]);
                "a checkout"
            }
            _ => {
                let many = self.project.feature_dir().join("many");
                for dir in 0..300 {
                    fs::create_dir_all(many.join(dir.to_string())).unwrap();
                }
                self.operate(random);
                let _ = fs::remove_dir_all(&many);
                "many directories created and deleted"
            }
        }
    }

    fn kept_file(&self, dir: usize) -> PathBuf {
        self.project.root.join(format!("kitty-specs/002-kept/research/{dir}/kept.md"))
    }

    /// Waits until the store can be written and everything is watched, and checks the invariants.
    fn settle(&self, journal: &mut JournalReader) {
        crate::support::wait::wait_for("a writable store", || {
            (self.daemon().get_json("/api/status")["store"]["state"] == "ok").then_some(())
        });
        self.project.wait_for_watch(self.daemon(), "live");
        assert_invariants(&self.project, self.daemon(), journal);
    }

    /// Empties the feature and returns the resources that the daemon then uses.
    fn usage_with_empty_feature(&mut self, journal: &mut JournalReader) -> ResourceUsage {
        fs::remove_dir_all(self.project.feature_dir()).unwrap();
        fs::create_dir(self.project.feature_dir()).unwrap();
        self.settle(journal);
        ResourceUsage::of(&self.project, self.daemon())
    }
}

#[test]
fn state_converges_after_random_faults_without_resource_leaks() {
    struct PrintOnFailure {
        seed: u64,
        faults: Vec<&'static str>,
    }
    impl Drop for PrintOnFailure {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("with DOSSIERD_SEED={}, after {:#?}", self.seed, self.faults);
            }
        }
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let end = Instant::now()
        + Duration::from_secs(number("DOSSIERD_ENDURE_SECS").unwrap_or(DEFAULT_SECONDS));
    let seed = number("DOSSIERD_SEED").unwrap_or(1);
    let mut random = Random::new(seed);
    let mut environment = Environment::new();
    let mut journal = JournalReader::default();
    let mut progress = PrintOnFailure { seed, faults: Vec::new() };
    assert_invariants(&environment.project, environment.daemon(), &mut journal);
    let mut iterations = 0;
    while Instant::now() < end || iterations < 5 {
        let fault = environment.cause_fault(&mut random);
        progress.faults.push(fault);
        environment.settle(&mut journal);
        assert!(environment.daemon().overview(FEATURE)["feature_slug"] == FEATURE);
        iterations += 1;
    }
    // Compares the daemon after all faults with a new one.
    let old = environment.usage_with_empty_feature(&mut journal);
    environment.daemon.take().unwrap().stop();
    environment.start_daemon();
    let new = environment.usage_with_empty_feature(&mut journal);
    assert_eq!(old.watches, new.watches, "{old:?} {new:?}");
    // The pool keeps four readers of the journal, with three descriptors each.
    assert!(old.descriptors <= new.descriptors + 12, "{old:?} {new:?}");
    assert!(old.memory_kib <= new.memory_kib + (16 << 10), "{old:?} {new:?}");
}

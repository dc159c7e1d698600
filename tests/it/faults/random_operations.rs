//! Random faults among random operations, for as long as is asked for: it converges after each, and
//! at the end memory, descriptors and watches are what they were.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Signal, geteuid};

use crate::daemon::model::{Random, operate};
use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::kernel::{Mount, WatchStatus, send_signal};
use crate::support::process::Daemon;
use crate::support::{FEATURE, Project, not_run};

/// How long, where `DOSSIERD_ENDURE_SECS` does not say otherwise.
const SECONDS: u64 = 10;
/// Directories and files that are there throughout, so that there is something to lose.
const FOLDERS: usize = 40;

/// What a daemon holds.
#[derive(Debug)]
struct Held {
    memory_kib: u64,
    descriptors: usize,
    watches: u64,
}

impl Held {
    fn by(project: &Project, daemon: &Daemon) -> Self {
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

struct World {
    project: Project,
    daemon: Option<Daemon>,
    /// The disk of the store, where there is one of its own.
    disk: Option<Mount>,
}

impl World {
    fn new() -> Self {
        let project = Project::complete()
            .config("scrub: 5s\nsettle: {git_ms: 300}\njournal: {max_bytes: 1 MiB}\n");
        let disk = if geteuid().is_root() {
            Some(Mount::new(&["-t", "tmpfs", "-o", "size=16m", "tmpfs"], &project.state_dir()))
        } else {
            not_run("random faults of the store's disk (needs root)");
            None
        };
        fs::create_dir(project.root.join(".git")).unwrap();
        fs::write(project.root.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        for folder in 0..FOLDERS {
            let path = format!("kitty-specs/002-kept/research/{folder}/kept.md");
            project.write(&path, format!("{folder}\n"));
        }
        let daemon = Some(project.start_daemon());
        Self { project, daemon, disk }
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    fn again(&mut self) {
        self.daemon = Some(self.project.start_daemon());
    }

    fn operations(&self, random: &mut Random) {
        for _ in 0..random.below(20) {
            operate(random, &self.project.feature_dir());
        }
    }

    /// A fault, with operations while it lasts, and its end.
    fn fault(&mut self, random: &mut Random) -> &'static str {
        match random.below(9) {
            0 => {
                self.daemon.take().unwrap().kill();
                self.operations(random);
                self.again();
                "kill -9"
            }
            1 => {
                self.daemon.take().unwrap().stop();
                self.operations(random);
                self.again();
                "a stop"
            }
            2 => {
                let process = self.daemon().pid();
                send_signal(process, Signal::STOP);
                for round in 0..60 {
                    for folder in 0..FOLDERS {
                        let path = self.kept(folder);
                        fs::write(path, format!("{round} {folder}\n")).unwrap();
                    }
                }
                self.operations(random);
                send_signal(process, Signal::CONT);
                "a stopped process, and many writes"
            }
            3 => {
                let away = self.project.home().join("away");
                fs::rename(&self.project.root, &away).unwrap();
                self.project.wait_for_watch(self.daemon(), "root_unavailable");
                fs::rename(&away, &self.project.root).unwrap();
                self.project.wait_for_watch(self.daemon(), "live");
                self.operations(random);
                "a root that is moved"
            }
            4 => {
                let lock = self.project.root.join(".git/index.lock");
                fs::write(&lock, "").unwrap();
                self.operations(random);
                fs::remove_file(&lock).unwrap();
                "git's lock"
            }
            5 => {
                let manifest = ".kittify/missions/software-dev/expected-artifacts.yaml";
                self.project.write(manifest, "schema_version: [\n");
                self.operations(random);
                fs::remove_file(self.project.root.join(manifest)).unwrap();
                "a broken manifest"
            }
            6 => {
                let kept = self.project.root.join("kitty-specs/002-kept");
                let aside = self.project.home().join("aside");
                fs::rename(&kept, &aside).unwrap();
                self.operations(random);
                fs::rename(&aside, &kept).unwrap();
                "a feature that is moved"
            }
            7 if self.disk.is_some() => {
                let ballast = self.project.state_dir().join("ballast");
                let mut file = File::create(&ballast).unwrap();
                while file.write_all(&[0; 4096]).is_ok() {}
                drop(file);
                self.operations(random);
                self.daemon().export("002-kept");
                fs::remove_file(&ballast).unwrap();
                "a full disk"
            }
            _ => {
                let many = self.project.feature_dir().join("many");
                for folder in 0..300 {
                    fs::create_dir_all(many.join(folder.to_string())).unwrap();
                }
                self.operations(random);
                let _ = fs::remove_dir_all(&many);
                "many folders that come and go"
            }
        }
    }

    fn kept(&self, folder: usize) -> PathBuf {
        self.project.root.join(format!("kitty-specs/002-kept/research/{folder}/kept.md"))
    }

    /// Waits until the store takes what it is given, and everything is watched.
    fn settle(&self, journal: &mut JournalReader) {
        crate::support::wait::wait_for("a store that is ok", || {
            (self.daemon().get_json("/api/status")["store"]["state"] == "ok").then_some(())
        });
        self.project.wait_for_watch(self.daemon(), "live");
        assert_invariants(&self.project, self.daemon(), journal);
    }

    /// What a daemon that has just begun holds of an empty feature.
    fn held_anew(&mut self, journal: &mut JournalReader) -> Held {
        fs::remove_dir_all(self.project.feature_dir()).unwrap();
        fs::create_dir(self.project.feature_dir()).unwrap();
        self.settle(journal);
        Held::by(&self.project, self.daemon())
    }
}

#[test]
fn after_random_faults_it_converges_and_nothing_has_grown() {
    struct OnFailure(u64, Vec<&'static str>);
    impl Drop for OnFailure {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("with DOSSIERD_SEED={}, after {:#?}", self.0, self.1);
            }
        }
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let until =
        Instant::now() + Duration::from_secs(number("DOSSIERD_ENDURE_SECS").unwrap_or(SECONDS));
    let seed = number("DOSSIERD_SEED").unwrap_or(1);
    let mut random = Random::new(seed);
    let mut world = World::new();
    let mut journal = JournalReader::default();
    let mut faults = OnFailure(seed, Vec::new());
    assert_invariants(&world.project, world.daemon(), &mut journal);
    let mut rounds = 0;
    while Instant::now() < until || rounds < 5 {
        let fault = world.fault(&mut random);
        faults.1.push(fault);
        world.settle(&mut journal);
        assert!(world.daemon().overview(FEATURE)["feature_slug"] == FEATURE);
        rounds += 1;
    }
    // A daemon that has been through all this, and one that has not.
    let old = world.held_anew(&mut journal);
    world.daemon.take().unwrap().stop();
    world.again();
    let new = world.held_anew(&mut journal);
    assert_eq!(old.watches, new.watches, "{old:?} {new:?}");
    // Four readers of the journal are kept for who asks next, with three files each.
    assert!(old.descriptors <= new.descriptors + 12, "{old:?} {new:?}");
    assert!(old.memory_kib <= new.memory_kib + (16 << 10), "{old:?} {new:?}");
}

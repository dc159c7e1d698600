//! `kill -9` at any moment, also during recovery: no change is lost or reported twice, sequence
//! numbers continue, and the state equals a fresh scan.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::daemon::model::{Random, operate};
use crate::support::Project;
use crate::support::invariants::{JournalReader, assert_invariants};

/// Number of kills; `DOSSIERD_KILLS` overrides it.
const KILLS: u64 = 200;
/// Number of projects whose daemons are killed in parallel.
const PROJECTS: u64 = 4;
/// Number of kills between two comparisons of state and journal with the disk.
const CHECK_EVERY: u64 = 10;

#[test]
fn kill_at_any_moment_loses_and_repeats_no_event() {
    let kills = std::env::var("DOSSIERD_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = std::env::var("DOSSIERD_SEED").map_or(1, |seed| seed.parse().unwrap());
    std::thread::scope(|scope| {
        for index in 0..PROJECTS {
            scope.spawn(move || kill_repeatedly(seed + index, kills.div_ceil(PROJECTS)));
        }
    });
}

/// Kills the daemon of one project at random moments, while another thread changes files.
fn kill_repeatedly(seed: u64, kills: u64) {
    struct PrintOnFailure {
        seed: u64,
        kills: u64,
    }
    impl Drop for PrintOnFailure {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("with DOSSIERD_SEED={}, after {} kills", self.seed, self.kills);
            }
        }
    }
    let mut progress = PrintOnFailure { seed, kills: 0 };
    let mut random = Random::new(seed);
    let project = Project::complete();
    let mut journal = JournalReader::default();
    let mut load = Random::new(seed + 1_000_000);
    while progress.kills < kills {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (project, stop, load) = (&project, &stop, &mut load);
            let dir = project.feature_dir();
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    operate(load, &dir);
                    // Pauses make bursts of changes, and time to settle between them.
                    std::thread::sleep(Duration::from_micros(load.below(4_000)));
                }
            });
            for _ in 0..CHECK_EVERY {
                // Every second daemon is killed before it can be ready.
                let daemon = project.spawn_daemon(project.daemon_command());
                if progress.kills.is_multiple_of(2) {
                    daemon.wait_until_ready();
                    std::thread::sleep(Duration::from_millis(random.below(150)));
                } else {
                    std::thread::sleep(Duration::from_micros(random.below(30_000)));
                }
                daemon.kill();
                progress.kills += 1;
            }
            stop.store(true, Ordering::Relaxed);
        });
        let daemon = project.start_daemon();
        assert_invariants(&project, &daemon, &mut journal);
        // About half of the iterations continue after a clean stop.
        if random.below(2) == 0 {
            daemon.stop();
        } else {
            daemon.kill();
        }
    }
}

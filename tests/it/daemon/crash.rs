//! Kills at any moment, also during recovery: no change is lost, none is said twice, numbers run on
//! and what is shown is what a fresh scan sees.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::daemon::model::{Random, operate};
use crate::support::Project;
use crate::support::invariants::{JournalReader, assert_invariants};

/// Kills, unless `DOSSIERD_KILLS` says more.
const KILLS: u64 = 200;
/// Projects killed side by side.
const LANES: u64 = 4;
/// After this many kills, the state and the journal are held against the disk.
const CHECK_EVERY: u64 = 10;

#[test]
fn a_kill_loses_and_repeats_nothing() {
    let kills = std::env::var("DOSSIERD_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = std::env::var("DOSSIERD_SEED").map_or(1, |seed| seed.parse().unwrap());
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || lane_of_kills(seed + lane, kills.div_ceil(LANES)));
        }
    });
}

fn lane_of_kills(seed: u64, kills: u64) {
    struct OnFailure(u64, u64);
    impl Drop for OnFailure {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("with DOSSIERD_SEED={}, after {} kills", self.0, self.1);
            }
        }
    }
    let mut state = OnFailure(seed, 0);
    let mut random = Random::new(seed);
    let project = Project::complete();
    let mut journal = JournalReader::default();
    let mut load = Random::new(seed + 1_000_000);
    while state.1 < kills {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (project, over, load) = (&project, &over, &mut load);
            let folder = project.feature_dir();
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    operate(load, &folder);
                    // The pace of the load: bursts, and time to settle in between.
                    std::thread::sleep(Duration::from_micros(load.below(4_000)));
                }
            });
            for _ in 0..CHECK_EVERY {
                // Every second one is killed before it can be ready.
                let daemon = project.spawn_daemon(project.daemon_command());
                if state.1.is_multiple_of(2) {
                    daemon.wait_until_ready();
                    std::thread::sleep(Duration::from_millis(random.below(150)));
                } else {
                    std::thread::sleep(Duration::from_micros(random.below(30_000)));
                }
                daemon.kill();
                state.1 += 1;
            }
            over.store(true, Ordering::Relaxed);
        });
        let daemon = project.start_daemon();
        assert_invariants(&project, &daemon, &mut journal);
        // Half of the rounds go on from a clean stop.
        if random.below(2) == 0 {
            daemon.stop();
        } else {
            daemon.kill();
        }
    }
}

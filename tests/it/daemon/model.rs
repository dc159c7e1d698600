//! Random sequences of file operations on a real directory: after each batch the live state equals a
//! fresh scan, and folding the journal gives the same present artifacts.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::Project;
use crate::support::invariants::{JournalReader, assert_invariants};

/// Operations in all.
const OPERATIONS: usize = 2_000;
/// Of each seed.
const SEQUENCE: usize = 250;
/// Operations between two comparisons, at most.
const BATCH: u64 = 16;

/// A generator of numbers that gives the same ones for the same seed (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Spread, and never zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// Does random things below `directory`; gives what was done, in words. What cannot be done because
/// of what is there is not done.
pub(crate) fn operate(random: &mut Random, folder: &Path) -> String {
    let path = a_path(random, folder);
    let shown = path.strip_prefix(folder).unwrap().display().to_string();
    let text = format!("text {}\n", random.below(5));
    let below = |path: &Path| {
        let _ = fs::create_dir_all(path.parent().unwrap());
    };
    let clear = |path: &Path| {
        let _ = fs::remove_file(path);
        let _ = fs::remove_dir_all(path);
    };
    match random.below(12) {
        0..=2 => {
            below(&path);
            let done = fs::write(&path, &text);
            format!("write {shown}: {done:?}")
        }
        3 => {
            let done = fs::File::options()
                .append(true)
                .open(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()));
            format!("append {shown}: {done:?}")
        }
        4 => format!("delete {shown}: {:?}", fs::remove_file(&path)),
        5 => format!("make the folder {shown}: {:?}", fs::create_dir_all(&path)),
        6 => format!("delete the folder {shown}: {:?}", fs::remove_dir_all(&path)),
        7 | 8 => {
            let to = a_path(random, folder);
            below(&to);
            let shown_to = to.strip_prefix(folder).unwrap().display().to_string();
            format!("rename {shown} to {shown_to}: {:?}", fs::rename(&path, &to))
        }
        9 => {
            let temporary = path.with_extension("tmp");
            below(&path);
            let done = fs::write(&temporary, &text).and_then(|()| fs::rename(&temporary, &path));
            format!("rename over {shown}: {done:?}")
        }
        10 => {
            clear(&path);
            below(&path);
            format!("link {shown}: {:?}", symlink("spec.md", &path))
        }
        _ => {
            // A file by a directory with files, or the other way round.
            let was_folder = path.is_dir();
            clear(&path);
            below(&path);
            if was_folder {
                format!("a file for the folder {shown}: {:?}", fs::write(&path, &text))
            } else {
                let done = fs::create_dir_all(path.join("tasks"))
                    .and_then(|()| fs::write(path.join("tasks/WP01.md"), &text));
                format!("a folder for the file {shown}: {done:?}")
            }
        }
    }
}

/// Few names, so that what was there is met again; some that steer, some that specs mean.
fn a_path(random: &mut Random, folder: &Path) -> PathBuf {
    let mut path = folder.to_owned();
    for _ in 0..random.below(3) {
        path.push(random.one(&["tasks", "research", "a", "b"]));
    }
    path.push(random.one(&[
        "spec.md",
        "plan.md",
        "tasks",
        "WP01.md",
        "a",
        "b",
        "a.md",
        "b.bin",
        ".hidden",
        "meta.json",
    ]));
    path
}

#[test]
fn after_any_operations_the_live_state_is_that_of_a_fresh_scan() {
    let seeds: Vec<u64> = match std::env::var("DOSSIERD_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=(OPERATIONS / SEQUENCE) as u64).collect(),
    };
    let next = std::sync::Mutex::new(seeds.into_iter().collect::<BTreeSet<u64>>());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(seed) = next.lock().unwrap().pop_first() else {
                        return;
                    };
                    sequence(seed);
                }
            });
        }
    });
}

fn sequence(seed: u64) {
    struct OnFailure(u64, Vec<String>);
    impl Drop for OnFailure {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("with DOSSIERD_SEED={}, last:\n{}", self.0, self.1.join("\n"));
            }
        }
    }
    let mut random = Random::new(seed);
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let mut done = OnFailure(seed, Vec::new());
    let mut left = SEQUENCE as u64;
    while left > 0 {
        done.1.clear();
        for _ in 0..=random.below(BATCH.min(left)) {
            done.1.push(operate(&mut random, &project.feature_dir()));
            left -= 1;
        }
        assert_invariants(&project, &daemon, &mut journal);
    }
    daemon.stop();
}

//! Random sequences of file operations on a real directory. After each batch the live state equals
//! a fresh scan, and the journal describes the same artifacts.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::Project;
use crate::support::invariants::{JournalReader, assert_invariants};

/// Number of operations of the test.
const OPERATIONS: usize = 2_000;
/// Number of operations for each seed.
const SEQUENCE_LENGTH: usize = 250;
/// Maximum number of operations between two comparisons.
const MAX_BATCH: u64 = 16;

/// Deterministic pseudo-random number generator (xorshift).
pub(crate) struct Random(u64);

impl Random {
    /// Creates a generator; equal seeds produce equal numbers.
    pub(crate) fn new(seed: u64) -> Self {
        // Multiplied to spread similar seeds, and odd because xorshift never leaves zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn choose<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// Performs a random operation below `dir`; returns its description. An operation that is
/// impossible in the current state has no effect.
pub(crate) fn operate(random: &mut Random, dir: &Path) -> String {
    let path = random_path(random, dir);
    let shown = path.strip_prefix(dir).unwrap().display().to_string();
    let text = format!("text {}\n", random.below(5));
    let create_parent = |path: &Path| {
        let _ = fs::create_dir_all(path.parent().unwrap());
    };
    let remove = |path: &Path| {
        let _ = fs::remove_file(path);
        let _ = fs::remove_dir_all(path);
    };
    match random.below(12) {
        0..=2 => {
            create_parent(&path);
            let result = fs::write(&path, &text);
            format!("write {shown}: {result:?}")
        }
        3 => {
            let result = fs::File::options()
                .append(true)
                .open(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()));
            format!("append {shown}: {result:?}")
        }
        4 => format!("delete {shown}: {:?}", fs::remove_file(&path)),
        5 => format!("create the directory {shown}: {:?}", fs::create_dir_all(&path)),
        6 => format!("delete the directory {shown}: {:?}", fs::remove_dir_all(&path)),
        7 | 8 => {
            let to = random_path(random, dir);
            create_parent(&to);
            let shown_to = to.strip_prefix(dir).unwrap().display().to_string();
            format!("rename {shown} to {shown_to}: {:?}", fs::rename(&path, &to))
        }
        9 => {
            let temporary = path.with_extension("tmp");
            create_parent(&path);
            let result = fs::write(&temporary, &text).and_then(|()| fs::rename(&temporary, &path));
            format!("rename over {shown}: {result:?}")
        }
        10 => {
            remove(&path);
            create_parent(&path);
            format!("link {shown}: {:?}", symlink("spec.md", &path))
        }
        _ => {
            // Replaces a directory by a file, or anything else by a directory with a file.
            let was_dir = path.is_dir();
            remove(&path);
            create_parent(&path);
            if was_dir {
                format!("replace the directory {shown} by a file: {:?}", fs::write(&path, &text))
            } else {
                let result = fs::create_dir_all(path.join("tasks"))
                    .and_then(|()| fs::write(path.join("tasks/WP01.md"), &text));
                format!("replace {shown} by a directory: {result:?}")
            }
        }
    }
}

/// Returns a path below `dir`. There are only a few names, so that operations meet existing files;
/// some are metadata files, some are artifacts that the manifest expects.
fn random_path(random: &mut Random, dir: &Path) -> PathBuf {
    let mut path = dir.to_owned();
    for _ in 0..random.below(3) {
        path.push(random.choose(&["tasks", "research", "a", "b"]));
    }
    path.push(random.choose(&[
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
fn state_after_random_operations_equals_a_fresh_scan() {
    let seeds: Vec<u64> = match std::env::var("DOSSIERD_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=(OPERATIONS / SEQUENCE_LENGTH) as u64).collect(),
    };
    let queue = std::sync::Mutex::new(seeds.into_iter().collect::<BTreeSet<u64>>());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(seed) = queue.lock().unwrap().pop_first() else {
                        return;
                    };
                    run_sequence(seed);
                }
            });
        }
    });
}

fn run_sequence(seed: u64) {
    struct PrintOnFailure {
        seed: u64,
        batch: Vec<String>,
    }
    impl Drop for PrintOnFailure {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("with DOSSIERD_SEED={}, last:\n{}", self.seed, self.batch.join("\n"));
            }
        }
    }
    let mut random = Random::new(seed);
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let mut progress = PrintOnFailure { seed, batch: Vec::new() };
    let mut left = SEQUENCE_LENGTH as u64;
    while left > 0 {
        progress.batch.clear();
        for _ in 0..=random.below(MAX_BATCH.min(left)) {
            progress.batch.push(operate(&mut random, &project.feature_dir()));
            left -= 1;
        }
        assert_invariants(&project, &daemon, &mut journal);
    }
    daemon.stop();
}

//! Random edits with kills, restarts, git checkouts and a full disk: every version that is listed as stored is the
//! content that was written, byte for byte, and so is all that a baseline names. `DOSSIERD_HISTORY_SEQUENCES` is the
//! number of sequences.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use super::{versions_of, wait_until_stored};
use crate::support::kernel::{Mount, fill_disk, is_root};
use crate::support::process::Daemon;
use crate::support::{FEATURE, Project, git, read_tree, sha256};

/// Number of sequences, and of operations in each.
const SEQUENCES: u64 = 2;
const OPERATIONS: u64 = 30;

/// A reproducible source of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn stored_versions_are_what_was_written() {
    let count = std::env::var("DOSSIERD_HISTORY_SEQUENCES");
    let count = count.ok().and_then(|text| text.parse().ok()).unwrap_or(SEQUENCES);
    for seed in 1..=count {
        run_sequence(seed);
    }
}

/// The features that are edited.
const FEATURES: [&str; 2] = [FEATURE, "002-y"];
/// Size of the file system of the state directory in bytes; one that is full is filled to this.
const DISK_BYTES: u64 = 24 << 20;

/// What a sequence has done.
#[derive(Default)]
struct Done {
    /// All contents that a file ever had, by hash.
    written: HashMap<String, Vec<u8>>,
    /// By feature and name, what was current while the daemon stored it.
    settled: BTreeMap<(&'static str, String), Vec<String>>,
    /// By feature, what its last accepted baseline names.
    named: BTreeMap<&'static str, Vec<String>>,
}

fn run_sequence(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let project = Project::complete().file("outside.md", "outside\n");
    for feature in FEATURES {
        for number in 0..3 {
            let text = format!("{feature} {number}\n");
            project.write(&format!("kitty-specs/{feature}/notes/{number}.md"), text);
        }
    }
    git(&project.root, &["init", "-q"]);
    git(&project.root, &["add", "kitty-specs"]);
    git(&project.root, &["commit", "-q", "-m", "first"]);
    let size = format!("size={DISK_BYTES},mode=700");
    let is_mounted = is_root("a full disk among random edits");
    let mount = is_mounted
        .then(|| Mount::new(&["-t", "tmpfs", "-o", &size, "tmpfs"], &project.state_dir()));
    let ballast = project.state_dir().join("ballast");
    let mut daemon = project.start_daemon();
    let mut done = Done::default();
    for feature in FEATURES {
        for (_, _, bytes) in read_tree(&project.root.join("kitty-specs").join(feature)) {
            done.written.insert(sha256(&bytes), bytes);
        }
    }
    for step in 0..OPERATIONS {
        let feature = FEATURES[usize::try_from(random.below(2)).unwrap()];
        let name = format!("notes/{}.md", random.below(3));
        let path = project.root.join("kitty-specs").join(feature).join(&name);
        match random.below(12) {
            0 if path.exists() => fs::remove_file(&path).unwrap(),
            1 => {
                daemon.kill();
                let _ = fs::remove_file(&ballast);
                daemon = project.start_daemon();
            }
            2 => {
                let _ = fs::remove_file(&ballast);
                daemon.stop();
                daemon = project.start_daemon();
            }
            3 => git(&project.root, &["checkout", "-q", "--", "kitty-specs"]),
            4 if is_mounted => fill_disk(&ballast),
            5 => drop(fs::remove_file(&ballast)),
            6 if !ballast.exists() => {
                wait_until_stored(&daemon);
                project.run_client(&["baseline", "accept", feature]).assert_success();
                // Bookkeeping of a runtime, such as `meta.json`, is not stored.
                let dir = project.root.join("kitty-specs").join(feature).join("notes");
                let files = read_tree(&dir).into_iter().filter(|(_, _, bytes)| !bytes.is_empty());
                done.named.insert(feature, files.map(|(_, _, bytes)| sha256(&bytes)).collect());
            }
            _ => {
                let lines = random.below(50);
                let text: String =
                    (0..lines).map(|n| format!("{seed} {feature} {step} {n}\n")).collect();
                done.written.insert(sha256(text.as_bytes()), text.clone().into_bytes());
                project.write(&format!("kitty-specs/{feature}/{name}"), &text);
                if random.below(2) == 0 && !ballast.exists() {
                    wait_until_stored(&daemon);
                    let hash = sha256(text.as_bytes());
                    done.settled.entry((feature, name)).or_default().push(hash);
                }
            }
        }
    }
    let _ = fs::remove_file(&ballast);
    wait_until_stored(&daemon);
    check(seed, &project, &daemon, &done);
    daemon.stop();
    drop(mount);
}

fn check(seed: u64, project: &Project, daemon: &Daemon, done: &Done) {
    let outside = || fs::read(project.root.join("outside.md")).unwrap();
    let before = outside();
    let content_of = |feature: &str, hash: &str| {
        let query = format!("/api/dossier/content?feature={feature}&hash={hash}");
        let content = daemon.get_json(&query)["content"].as_str().map(str::to_owned);
        content.unwrap_or_else(|| panic!("seed {seed}: {feature} {hash} is not stored"))
    };
    for (feature, hashes) in &done.named {
        for hash in hashes {
            assert_eq!(content_of(feature, hash).as_bytes(), done.written[hash], "seed {seed}");
        }
    }
    for ((feature, name), hashes) in &done.settled {
        let listed = versions_of(daemon, feature, name);
        for hash in hashes {
            let is_stored = listed.iter().any(|one| one.0 == *hash && one.1.is_none());
            assert!(is_stored, "seed {seed}: {feature} {name} {hash}: {listed:?}");
        }
        for (hash, _) in listed.iter().filter(|one| one.1.is_none()) {
            assert_eq!(content_of(feature, hash).as_bytes(), done.written[hash], "seed {seed}");
        }
        let last = listed.iter().rev().find(|one| one.1.is_none()).unwrap();
        project
            .run_client(&["restore", feature, name, "--from", &last.0, "--force"])
            .assert_success();
        let restored = fs::read(project.root.join("kitty-specs").join(feature).join(name)).unwrap();
        assert_eq!(restored, done.written[&last.0], "seed {seed}: {feature} {name}");
    }
    assert_eq!(outside(), before);
}

//! Random edits with kills, restarts and git checkouts: every version that is listed as stored is the content that was
//! written, byte for byte. `DOSSIERD_HISTORY_SEQUENCES` is the number of sequences.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::process::Command;

use super::{versions, wait_until_stored};
use crate::support::{FEATURE, Project, read_tree, sha256};

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

fn git(project: &Project, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=tester", "-c", "user.email=tester@example.org"]);
    command.args(arguments).current_dir(&project.root).env("HOME", project.home());
    assert!(command.status().unwrap().success(), "{arguments:?}");
}

fn run_sequence(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let project = Project::complete();
    for number in 0..3 {
        project.write(&format!("kitty-specs/{FEATURE}/notes/{number}.md"), format!("{number}\n"));
    }
    git(&project, &["init", "-q"]);
    git(&project, &["add", "kitty-specs"]);
    git(&project, &["commit", "-q", "-m", "first"]);
    let mut daemon = project.start_daemon();
    let mut written: HashMap<String, Vec<u8>> = HashMap::new();
    let mut settled: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, _, bytes) in read_tree(&project.feature_dir()) {
        written.insert(sha256(&bytes), bytes);
    }
    for step in 0..OPERATIONS {
        let name = format!("notes/{}.md", random.below(3));
        let path = project.feature_dir().join(&name);
        match random.below(9) {
            3 => git(&project, &["checkout", "-q", "--", "kitty-specs"]),
            0 if path.exists() => fs::remove_file(&path).unwrap(),
            1 => {
                daemon.kill();
                daemon = project.start_daemon();
            }
            2 => {
                daemon.stop();
                daemon = project.start_daemon();
            }
            _ => {
                let lines = random.below(50);
                let text: String = (0..lines).map(|n| format!("{seed} {step} {n}\n")).collect();
                written.insert(sha256(text.as_bytes()), text.clone().into_bytes());
                project.write(&format!("kitty-specs/{FEATURE}/{name}"), &text);
                if random.below(2) == 0 {
                    wait_until_stored(&daemon);
                    settled.entry(name).or_default().push(sha256(text.as_bytes()));
                }
            }
        }
    }
    wait_until_stored(&daemon);
    for (name, hashes) in settled {
        let listed = versions(&daemon, &name);
        for hash in hashes {
            let is_stored = listed.iter().any(|one| one.0 == hash && one.1.is_none());
            assert!(is_stored, "seed {seed}: {name} {hash} is not stored: {listed:?}");
        }
        for (hash, _) in listed.iter().filter(|one| one.1.is_none()) {
            let content =
                daemon.get_json(&format!("/api/dossier/content?feature={FEATURE}&hash={hash}"));
            assert_eq!(
                content["content"].as_str().unwrap().as_bytes(),
                written[hash],
                "seed {seed}"
            );
        }
        let last = listed.last().unwrap();
        project
            .run_client(&["restore", FEATURE, &name, "--from", &last.0, "--force"])
            .assert_success();
        let restored = fs::read(project.feature_dir().join(&name)).unwrap();
        assert_eq!(restored, written[&last.0], "seed {seed}: {name}");
    }
    daemon.stop();
}

//! Equal trees have equal snapshots, whatever the order of creation and the number of threads.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use dossierd::core::content::StaticHash;
use dossierd::core::ignore::IgnoreRules;
use dossierd::core::inventory::Inventory;
use dossierd::core::snapshot::MissionDossierSnapshot;
use dossierd::core::time::Timestamp;
use dossierd::project::{Machine, Project as Opened, ProjectSettings};
use dossierd::scan::{self, Progress, ScanLimits, ScanOptions};
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use crate::cli::examples::with_hostile_names;
use crate::support::{FEATURE, Project, bakery_dir, expected_hashes, sha256, strings, write_file};

/// Returns the snapshots of all features in JSON, computed by so many threads, with equal ids and
/// times.
fn snapshots(root: &Path, threads: usize) -> Vec<String> {
    let settings = ProjectSettings::default();
    let project = Opened::open(root, settings, &Machine::current(), None).unwrap();
    let features = project.discover().unwrap().features;
    let options =
        ScanOptions { limits: ScanLimits::default(), ignore: IgnoreRules::default(), threads };
    let open = |index: usize| {
        let descriptor = project.open_feature(&features[index])?;
        let static_part = StaticHash::Compute;
        let churn = Arc::default();
        Ok(scan::OpenedFeature { descriptor, documents: None, static_part, churn })
    };
    let snapshots = std::sync::Mutex::new(vec![String::new(); features.len()]);
    scan::scan(features.len(), open, &options, &Progress::default(), |index, scanned| {
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let context = project.read_feature_inputs(&features[index]).context;
        let dossier =
            Inventory::from_observations(context, scanned.observations, now).to_dossier(now);
        let snapshot = MissionDossierSnapshot::compute(&dossier, Uuid::nil(), now);
        snapshots.lock().unwrap()[index] = serde_json::to_string(&snapshot).unwrap();
    });
    snapshots.into_inner().unwrap()
}

/// Creates a feature with many directories, more files in one than a task reads, repeated contents,
/// a link and files that are not text.
fn wide_tree() -> Project {
    let project = Project::complete();
    for dir in 0..12 {
        for file in 0..dir * 7 {
            let path = format!("research/d{dir}/e{}/f{file}.md", file % 3);
            write_file(&project.feature_dir().join(path), format!("{}", file % 5).as_bytes());
        }
    }
    std::os::unix::fs::symlink("spec.md", project.feature_dir().join("link.md")).unwrap();
    project.artifact("bad.md", b"ab\xff").artifact("raw.bin", b"ab\xff")
}

#[test]
fn snapshot_does_not_depend_on_the_number_of_threads() {
    for project in [wide_tree(), with_hostile_names(), Project::copy_of(&bakery_dir())] {
        let one = snapshots(&project.root, 1);
        assert!(one.iter().all(|snapshot| !snapshot.is_empty()));
        for threads in [2, 3, 8, 64] {
            for _ in 0..5 {
                assert_eq!(snapshots(&project.root, threads), one, "{threads} threads");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn snapshot_does_not_depend_on_creation_order_or_threads(
        tree in proptest::collection::btree_map("[a-c]{1,2}(/[a-d]{1,2}){0,2}\\.(md|bin)", "[xy]{0,2}", 1..40),
        shuffle in any::<u64>(),
        threads in 1usize..9,
    ) {
        let tree: Vec<(String, String)> = tree.into_iter().collect();
        let mut shuffled = tree.clone();
        shuffled.sort_by_key(|(path, _)| dossierd::core::digest::Digest::of(format!("{shuffle}{path}").as_bytes()));
        let (one, other) = (Project::new(), Project::new());
        for (project, files) in [(&one, &tree), (&other, &shuffled)] {
            for (path, content) in files {
                write_file(&project.feature_dir().join(path), content.as_bytes());
            }
        }
        let first = snapshots(&one.root, 1);
        prop_assert_eq!(&first, &snapshots(&other.root, threads));
        let snapshot: Value = serde_json::from_str(&first[0]).unwrap();
        let (parity, tree) = expected_hashes(&one.feature_dir());
        prop_assert_eq!(&snapshot["parity_hash_sha256"], &Value::from(parity));
        prop_assert_eq!(&snapshot["tree_hash_sha256"], &Value::from(tree));
    }
}

#[test]
fn two_scans_differ_only_in_id_and_time() {
    let project = wide_tree();
    let scan = || project.run(&["scan", "--json"]).assert_success().stdout;
    let (first, second) = (scan(), scan());
    assert_ne!(first, second);
    let mut different = 0;
    let fields_of =
        |text: &str| -> Vec<String> { text.trim().split(",\"").map(str::to_owned).collect() };
    for (one, other) in fields_of(&first).into_iter().zip(fields_of(&second)) {
        if one != other {
            different += 1;
            assert!(
                one.starts_with("snapshot_id\":") || one.starts_with("computed_at\":"),
                "{one}"
            );
        }
    }
    assert_eq!(fields_of(&first).len(), fields_of(&second).len());
    assert!((1..=2).contains(&different));
}

#[test]
fn scan_prints_golden_hashes() {
    let project =
        Project::new().artifact("spec.md", "hello\n").artifact("tasks/WP01.md", "world\n");
    let snapshot = project.snapshot();
    assert_eq!(
        snapshot["tree_hash_sha256"],
        "ecb3063b560efb156d9747efa60bb639a6ef9f50bd95ce9e236477e27731d290"
    );
    assert_eq!(
        snapshot["parity_hash_sha256"],
        "9e7cc9e1540e8b9cc91eb6a7da9ec924144b2eaaae26097c6427dcf547711add"
    );
}

#[test]
fn rename_changes_the_tree_hash_but_not_the_parity_hash() {
    let project = Project::complete().artifact("notes/one.md", "text");
    let before = project.snapshot();
    let dir = project.feature_dir().join("notes");
    fs::rename(dir.join("one.md"), dir.join("two.md")).unwrap();
    let after = project.snapshot();
    assert_ne!(before["tree_hash_sha256"], after["tree_hash_sha256"]);
    assert_eq!(before["parity_hash_sha256"], after["parity_hash_sha256"]);
    fs::rename(dir.join("two.md"), dir.join("one.md")).unwrap();
    assert_eq!(before["tree_hash_sha256"], project.snapshot()["tree_hash_sha256"]);
}

#[test]
fn equal_contents_are_hashed_twice() {
    let project = Project::complete().artifact("notes/one.md", "same");
    let once = project.snapshot();
    let project = project.artifact("notes/two.md", "same");
    let twice = project.snapshot();
    let count = |snapshot: &Value| {
        let same = sha256(b"same");
        strings(&snapshot["parity_hash_components"])
            .into_iter()
            .filter(|hash| *hash == same)
            .count()
    };
    assert_eq!((count(&once), count(&twice)), (1, 2));
    assert_ne!(once["parity_hash_sha256"], twice["parity_hash_sha256"]);
    let total = |snapshot: &Value| snapshot["total_artifacts"].as_u64().unwrap();
    assert_eq!(total(&twice), total(&once) + 1);
}

#[test]
fn hidden_entries_and_times_do_not_affect_the_snapshot() {
    let project = Project::complete();
    let before = project.snapshot();
    let project =
        project.artifact(".hidden", "x").artifact(".git/config", "x").artifact("tasks/.swp", "x");
    fs::create_dir(project.feature_dir().join("empty")).unwrap();
    write_file(&project.feature_dir().join("spec.md"), b"# Spec\n");
    let after = project.snapshot();
    assert_eq!(before["artifact_summaries"], after["artifact_summaries"]);
    assert_eq!(before["tree_hash_sha256"], after["tree_hash_sha256"]);
    assert_eq!(before["feature_slug"], FEATURE);
}

//! Real input: the features of a large project, whose hashes must equal those that the reference
//! program computed, if a copy of it is next to the repository; and the same invariants for the
//! example.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{
    Project, bakery_dir, copy_dir, expected_hashes, not_run, present_files, repository,
};

/// Returns the directory of the corpus; `None`, which is reported, if it does not exist.
pub(crate) fn corpus() -> Option<PathBuf> {
    let corpus = repository().parent()?.join("shared/corpus");
    if corpus.join("expected.jsonl").is_file() {
        return Some(corpus);
    }
    not_run("a real project (../shared/corpus does not exist)");
    None
}

/// Checks the invariants of the snapshot of any feature: hashes, unique sorted keys, one artifact
/// for each file. Returns the number of artifacts, and of those with the class `other`.
fn assert_scan_invariants(snapshot: &Value, dir: &Path) -> (usize, usize) {
    let slug = snapshot["feature_slug"].as_str().unwrap();
    let (parity, tree) = expected_hashes(dir);
    assert_eq!(snapshot["parity_hash_sha256"], parity, "{slug}");
    assert_eq!(snapshot["tree_hash_sha256"], tree, "{slug}");
    let artifacts = snapshot["artifact_summaries"].as_array().unwrap();
    let keys: Vec<&str> = artifacts.iter().map(|a| a["artifact_key"].as_str().unwrap()).collect();
    let in_order = keys.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(in_order, "{slug}: keys are unique and in byte order: {keys:#?}");
    let present: BTreeSet<Vec<u8>> = artifacts
        .iter()
        .filter(|a| a["is_present"] == true)
        .map(|a| a["relative_path"].as_str().unwrap().as_bytes().to_vec())
        .collect();
    let on_disk: BTreeSet<Vec<u8>> = present_files(dir).into_iter().map(|(path, _)| path).collect();
    assert_eq!(present, on_disk, "{slug}: every file is an artifact, and nothing else is present");
    (artifacts.len(), artifacts.iter().filter(|a| a["artifact_class"] == "other").count())
}

/// Checks the invariants for all features of a project; returns their parity hashes.
fn assert_project_invariants(project: &Project, root: &Path) -> BTreeMap<String, String> {
    let run = project.run(&["scan", root.to_str().unwrap(), "--json"]);
    let is_expected = |line: &&str| line.contains(": no manifest for mission `");
    let unexpected: Vec<&str> = run.stderr.lines().filter(|line| !is_expected(line)).collect();
    assert_eq!((run.code, unexpected), (0, vec![]));
    let (mut all, mut unclassified) = (0, 0);
    let mut hashes = BTreeMap::new();
    for snapshot in run.lines() {
        let slug = snapshot["feature_slug"].as_str().unwrap();
        let (files, others) =
            assert_scan_invariants(&snapshot, &root.join("kitty-specs").join(slug));
        all += files;
        unclassified += others;
        hashes.insert(slug.to_owned(), snapshot["parity_hash_sha256"].as_str().unwrap().into());
    }
    assert!(
        all > 0 && unclassified * 20 <= all,
        "{unclassified} of {all} artifacts are class other"
    );
    hashes
}

#[test]
fn corpus_hashes_equal_the_reference_with_its_own_manifests() {
    let Some(corpus) = corpus() else { return };
    // spec-kitty 3, which its metadata name, does not read its manifests.
    let project = Project::copy_of(&corpus.join("spec-kitty"));
    fs::remove_file(project.root.join(".kittify/metadata.yaml")).unwrap();
    let found = assert_project_invariants(&project, &project.root);
    assert_eq!(found, reference_hashes(&corpus));
}

#[test]
fn corpus_is_judged_by_the_manifests_of_its_version_of_spec_kitty() {
    let Some(corpus) = corpus() else { return };
    let project = Project::empty();
    let root = corpus.join("spec-kitty");
    let scan = project.run(&["check", root.to_str().unwrap(), "--json"]).json();
    let mut incomplete = String::new();
    for feature in scan["features"].as_array().unwrap() {
        assert_eq!(feature["manifest_version"], "3.2/1", "{feature:#}");
        if feature["completeness_status"] != "complete" {
            let text = |name: &str| feature[name].as_str().unwrap();
            let (slug, mission, status) =
                (text("feature_slug"), text("mission"), text("completeness_status"));
            let missing = &feature["missing_required_count"];
            writeln!(incomplete, "{slug}: {mission}, {status}, {missing} missing").unwrap();
        }
    }
    insta::assert_snapshot!(incomplete);
}

#[test]
fn corpus_hashes_equal_the_reference_with_embedded_manifests() {
    let Some(corpus) = corpus() else { return };
    let project = Project::empty();
    copy_dir(&corpus.join("spec-kitty/kitty-specs"), &project.root.join("kitty-specs"));
    assert_eq!(assert_project_invariants(&project, &project.root), reference_hashes(&corpus));
    let scan = project.run(&["check", "--json"]).json();
    for feature in scan["features"].as_array().unwrap() {
        assert_eq!(feature["manifest_version"], "1", "{feature:#}");
        assert_ne!(feature["completeness_status"], "unknown", "{feature:#}");
    }
}

/// Returns the parity hash of each feature of the corpus as computed by the reference program.
fn reference_hashes(corpus: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(corpus.join("expected.jsonl")).unwrap();
    let hashes: BTreeMap<String, String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("feature_slug"), text("parity_hash_sha256"))
        })
        .collect();
    assert_eq!(hashes.len(), 49);
    hashes
}

#[test]
fn scan_invariants_hold_for_the_example() {
    let project = Project::empty();
    assert_eq!(assert_project_invariants(&project, &bakery_dir()).len(), 4);
}

#[test]
fn scan_invariants_hold_for_the_example_without_manifest() {
    let project = Project::copy_of(&bakery_dir());
    for slug in ["001-order-page", "003-delivery-slots"] {
        project.write(&format!("kitty-specs/{slug}/meta.json"), "{\"mission\": \"unheard-of\"}");
    }
    assert_eq!(assert_project_invariants(&project, &project.root).len(), 4);
}

//! Real input: what the reference's own hashes of 49 features of a real project say, where that
//! project lies beside this one; and the same laws over the example, always.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{
    Project, bakery_dir, copy_dir, expected_hashes, not_run, present_files, repository,
};

/// The corpus beside the repository, if it is there.
fn corpus() -> Option<PathBuf> {
    let corpus = repository().parent()?.join("shared/corpus");
    if corpus.join("expected.jsonl").is_file() {
        return Some(corpus);
    }
    not_run("the laws over the real corpus: ../shared/corpus is not there");
    None
}

/// The laws that hold of every feature, whatever is in it; returns how many artifacts there are
/// and how many are of no class.
fn check_laws(snapshot: &Value, folder: &Path) -> (usize, usize) {
    let slug = snapshot["feature_slug"].as_str().unwrap();
    let (parity, tree) = expected_hashes(folder);
    assert_eq!(snapshot["parity_hash_sha256"], parity, "{slug}");
    assert_eq!(snapshot["tree_hash_sha256"], tree, "{slug}");
    let artifacts = snapshot["artifact_summaries"].as_array().unwrap();
    let keys: Vec<&str> = artifacts.iter().map(|a| a["artifact_key"].as_str().unwrap()).collect();
    let in_order = keys.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(in_order, "{slug}: keys are unique and in byte order: {keys:#?}");
    let seen: BTreeSet<Vec<u8>> = artifacts
        .iter()
        .filter(|a| a["is_present"] == true)
        .map(|a| a["relative_path"].as_str().unwrap().as_bytes().to_vec())
        .collect();
    let there: BTreeSet<Vec<u8>> =
        present_files(folder).into_iter().map(|(path, _)| path).collect();
    assert_eq!(seen, there, "{slug}: every file is an artifact, and nothing else is present");
    (artifacts.len(), artifacts.iter().filter(|a| a["artifact_class"] == "other").count())
}

/// The laws over all features of a project; returns their parity hashes.
fn check_project(project: &Project, root: &Path) -> BTreeMap<String, String> {
    let run = project.run(&["scan", root.to_str().unwrap(), "--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let (mut all, mut unclassed) = (0, 0);
    let mut hashes = BTreeMap::new();
    for snapshot in run.lines() {
        let slug = snapshot["feature_slug"].as_str().unwrap();
        let (files, others) = check_laws(&snapshot, &root.join("kitty-specs").join(slug));
        all += files;
        unclassed += others;
        hashes.insert(slug.to_owned(), snapshot["parity_hash_sha256"].as_str().unwrap().into());
    }
    assert!(all > 0 && unclassed * 20 <= all, "{unclassed} of {all} artifacts are class other");
    hashes
}

#[test]
fn every_hash_of_the_corpus_is_the_references_by_its_own_manifests() {
    let Some(corpus) = corpus() else { return };
    let project = Project::empty();
    let found = check_project(&project, &corpus.join("spec-kitty"));
    assert_eq!(found, expected(&corpus));
}

#[test]
fn every_hash_of_the_corpus_is_the_references_by_the_embedded_manifests() {
    let Some(corpus) = corpus() else { return };
    let project = Project::empty();
    copy_dir(&corpus.join("spec-kitty/kitty-specs"), &project.root.join("kitty-specs"));
    assert_eq!(check_project(&project, &project.root), expected(&corpus));
    let scan = project.run(&["check", "--json"]).json();
    for feature in scan["features"].as_array().unwrap() {
        assert_eq!(feature["manifest_version"], "1", "{feature:#}");
        assert_ne!(feature["completeness_status"], "unknown", "{feature:#}");
    }
}

fn expected(corpus: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(corpus.join("expected.jsonl")).unwrap();
    let expected: BTreeMap<String, String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("feature_slug"), text("parity_hash_sha256"))
        })
        .collect();
    assert_eq!(expected.len(), 49);
    expected
}

#[test]
fn the_laws_hold_of_the_example() {
    let project = Project::empty();
    assert_eq!(check_project(&project, &bakery_dir()).len(), 4);
}

#[test]
fn the_laws_hold_of_the_example_without_a_manifest() {
    let project = Project::copy_of(&bakery_dir());
    for slug in ["001-order-page", "003-delivery-slots"] {
        project.write(&format!("kitty-specs/{slug}/meta.json"), "{\"mission\": \"unheard-of\"}");
    }
    assert_eq!(check_project(&project, &project.root).len(), 4);
}

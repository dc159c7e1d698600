//! Temporary files and copies of editors and of programs that synchronise directories, which are not
//! artifacts.

use std::fs;

use serde_json::{Value, json};

use crate::support::invariants::{JournalReader, artifact_changes, assert_invariants};
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, find_artifact, write_file};

const MANIFEST: &str = ".kittify/overrides/missions/software-dev/expected-artifacts.yaml";

fn paths(snapshot: &Value) -> Vec<String> {
    let artifacts = snapshot["artifact_summaries"].as_array().unwrap();
    let path = |artifact: &Value| artifact["relative_path"].as_str().unwrap().to_owned();
    artifacts.iter().map(path).filter(|path| path != "meta.json").collect()
}

#[test]
fn editing_with_autosaves_and_backups_is_one_change_of_the_file() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let dir = project.feature_dir();
    // Emacs: ten automatic saves, then the file becomes the backup and is written again.
    for autosave in 0..10 {
        fs::write(dir.join("#spec.md#"), format!("# Spec {autosave}\n")).unwrap();
        assert_eq!(artifact_changes(&assert_invariants(&project, &daemon, &mut journal)), []);
    }
    fs::rename(dir.join("spec.md"), dir.join("spec.md~")).unwrap();
    fs::write(dir.join("spec.md"), "# Spec by Emacs\n").unwrap();
    fs::remove_file(dir.join("#spec.md#")).unwrap();
    // Vim: a test of the directory, then the same.
    fs::write(dir.join("4913"), "").unwrap();
    fs::remove_file(dir.join("4913")).unwrap();
    fs::rename(dir.join("plan.md"), dir.join("plan.md~")).unwrap();
    fs::write(dir.join("plan.md"), "# Plan by Vim\n").unwrap();
    fs::remove_file(dir.join("plan.md~")).unwrap();
    let mut changes = artifact_changes(&assert_invariants(&project, &daemon, &mut journal));
    changes.sort();
    let modified = |path: &str| ("modified".to_owned(), path.to_owned());
    assert_eq!(changes, [modified("plan.md"), modified("spec.md")]);
    // A directory of such a name is not a temporary file.
    write_file(&dir.join("old~/note.md"), b"x");
    write_file(&dir.join("old~/4913/note.md"), b"x");
    let changes = artifact_changes(&assert_invariants(&project, &daemon, &mut journal));
    assert_eq!(changes.len(), 2, "{changes:?}");
    daemon.stop();
}

#[test]
fn names_in_manifests_and_baselines_are_artifacts_and_others_leave_without_a_deletion() {
    let names = |text: &str| {
        format!(
            "mission_type: software-dev\nmanifest_version: '7'\noptional_always:\n  \
             - {{artifact_key: a, artifact_class: input, path_pattern: {text}}}\n"
        )
    };
    let project = Project::complete()
        .artifact("spec.md.orig", "1\n")
        .artifact("plan.md~", "2\n")
        .artifact("tasks/4913", "3\n")
        .config("ignore_defaults: false\n")
        .file(MANIFEST, names("other.md"));
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    let all = [
        "plan.md",
        "plan.md~",
        "spec.md",
        "spec.md.orig",
        "tasks.md",
        "tasks/4913",
        "tasks/WP01.md",
    ];
    let shown = || {
        let mut paths = paths(&daemon.export(FEATURE));
        paths.sort();
        paths
    };
    assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(shown(), all);

    // With the defaults all three leave.
    write_file(&project.config_file(), b"{}\n");
    let clean = ["plan.md", "spec.md", "tasks.md", "tasks/WP01.md"];
    wait_for("the temporary files to leave", || (shown() == clean).then_some(()));
    let events = assert_invariants(&project, &daemon, &mut journal);
    let left = events.iter().filter(|event| !event["payload"]["reason_code"].is_null());
    let left: Vec<Value> = left
        .map(|event| json!([event["payload"]["reason_code"], event["payload"]["reason_detail"]]))
        .collect();
    assert_eq!(left, vec![json!(["unreadable", "ignored by default"]); 3]);
    let list = daemon.get_json(&format!("/api/dossier/artifacts?feature={FEATURE}"));
    assert_eq!(list["tombstones"], 0);

    // A literal spec names one of them.
    project.write(MANIFEST, names("spec.md.orig"));
    wait_for("the file that the manifest names", || {
        shown().contains(&"spec.md.orig".to_owned()).then_some(())
    });
    let changes = artifact_changes(&assert_invariants(&project, &daemon, &mut journal));
    assert!(changes.contains(&("added".to_owned(), "spec.md.orig".to_owned())), "{changes:?}");
    // What is accepted stays an artifact when the manifest no longer names it.
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    project.write(MANIFEST, names("other.md"));
    wait_for("the file under another key", || {
        let snapshot = daemon.export(FEATURE);
        (find_artifact(&snapshot, "spec.md.orig")["artifact_key"] != "a").then_some(())
    });
    assert_invariants(&project, &daemon, &mut journal);
    // What a corrupt baseline accepts is not known.
    let accepted = fs::read(project.baseline_file()).unwrap();
    fs::write(project.baseline_file(), "{").unwrap();
    let drift = || daemon.get_json(&format!("/api/dossier/overview?feature={FEATURE}"));
    wait_for("the corrupt baseline", || {
        (drift()["drift"]["state"] == "baseline_corrupt").then_some(())
    });
    assert!(shown().contains(&"spec.md.orig".to_owned()));
    fs::write(project.baseline_file(), accepted).unwrap();
    project.run_client(&["baseline", "clear", FEATURE]).assert_success();
    wait_for("the file to leave", || (shown() == clean).then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

#[test]
fn artifacts_command_lists_what_is_ignored_and_why() {
    let project = Project::complete()
        .artifact("spec.md~", "1\n")
        .artifact("scratch/deep/x.md", "2\n")
        .artifact("scratch/deep/y.md~", "3\n")
        .artifact(".#spec.md", "4\n")
        .config("projects: [{path: ROOT, ignore: [scratch]}]\n");
    let list = project.run(&["artifacts", FEATURE, "--ignored", "--json"]).assert_success().json();
    let entry = |path: &str, pattern: &str, by: &str| json!({"relative_path": path, "pattern": pattern, "ignored_by": by});
    let expected = json!({"ignored": [
        entry("scratch/deep/x.md", "scratch", "configuration"),
        entry("scratch/deep/y.md~", "scratch", "configuration"),
        entry("spec.md~", "*~", "default"),
    ]});
    assert_eq!(list, expected);
    let text = project.run(&["artifacts", FEATURE, "--ignored"]).assert_success().stdout;
    assert!(text.contains("spec.md~") && text.contains("3 ignored files"), "{text}");
    let scanned = paths(&project.snapshot());
    assert!(
        scanned.iter().all(|path| !path.contains('~') && !path.contains("scratch")),
        "{scanned:?}"
    );
}

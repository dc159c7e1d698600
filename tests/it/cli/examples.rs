//! The example project: the exact output of each command, and the instructions of its README.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::{CommandOutput, Project, bakery_dir, find_artifact, read_tree};

/// Returns output and exit code of a command in the example project.
fn example_output(arguments: &[&str]) -> String {
    let project = Project::copy_of(&bakery_dir());
    let CommandOutput { code, stdout, stderr } = project.run(arguments);
    let (stdout, stderr) = (project.redact_paths(&stdout), project.redact_paths(&stderr));
    format!("{stdout}\n--- standard error\n{stderr}\n--- exit code {code}\n")
}

#[test]
fn scan_output() {
    assert_snapshot!(example_output(&["scan"]));
}

#[test]
fn check_output_of_incomplete_and_drifted_features() {
    let output = example_output(&["check"]);
    assert!(output.ends_with("--- exit code 12\n"), "{output}");
    assert_snapshot!(output);
}

#[test]
fn drift_output_of_missing_changed_added_and_churned_artifacts() {
    assert_snapshot!(example_output(&["drift", "003-delivery-slots"]));
}

#[test]
fn artifacts_output_of_present_and_expected_artifacts() {
    assert_snapshot!(example_output(&["artifacts", "002-loyalty-card"]));
}

#[test]
fn show_output_of_an_artifact_with_content() {
    assert_snapshot!(example_output(&[
        "show",
        "004-supplier-survey",
        "output.tasks.per_wp.WP01-mills-and-prices"
    ]));
}

#[test]
fn baseline_show_output() {
    assert_snapshot!(example_output(&["baseline", "show", "003-delivery-slots"]));
}

#[test]
fn scan_json_has_every_field() {
    let project = Project::copy_of(&bakery_dir());
    let mut snapshot =
        project.run(&["scan", "kitty-specs/002-loyalty-card", "--json"]).assert_success().json();
    for field in ["snapshot_id", "computed_at"] {
        let text = snapshot[field].as_str().expect("a string");
        assert!(text.len() >= 20, "{field}: {text}");
        snapshot[field] = Value::from("…");
    }
    assert_snapshot!(serde_json::to_string_pretty(&snapshot).unwrap());
}

#[test]
fn read_only_commands_write_nothing() {
    let project = Project::copy_of(&bakery_dir());
    let before = read_tree(&project.root);
    for arguments in [
        &["scan"][..],
        &["scan", "--json"],
        &["check", "--strict"],
        &["artifacts", "001-order-page"],
        &["show", "001-order-page", "input.spec.main"],
        &["drift", "003-delivery-slots"],
        &["baseline", "show", "003-delivery-slots"],
    ] {
        project.run(arguments);
        assert_eq!(read_tree(&project.root), before, "{arguments:?}");
        assert_eq!(fs::read_dir(project.home()).unwrap().count(), 0, "{arguments:?}");
    }
}

#[test]
fn instructions_of_the_example_work() {
    let project = Project::copy_of(&bakery_dir());
    fs::remove_file(project.root.join("kitty-specs/001-order-page/plan.md")).unwrap();
    let check = project.run(&["check", "."]);
    assert_eq!(check.code, 12);
    assert!(check.stdout.contains("001-order-page: incomplete"), "{}", check.stdout);
    let root = project.root.to_str().unwrap();
    project.run(&["baseline", "accept", "003-delivery-slots", "--project", root]).assert_success();
    assert_eq!(
        project.run(&["check"]).code,
        10,
        "no drift, but a required artifact is still missing"
    );

    let manifest = fs::read(
        crate::support::repository().join("manifests/software-dev/expected-artifacts.yaml"),
    );
    let manifest = String::from_utf8(manifest.unwrap()).unwrap();
    let edited = manifest.replacen("path_pattern: plan.md", "path_pattern: the-plan.md", 1);
    assert_ne!(edited, manifest);
    project.write(".dossierd/missions/software-dev/expected-artifacts.yaml", edited);
    let missing = project.run(&["artifacts", "001-order-page", "--missing"]).assert_success();
    assert!(missing.stdout.contains("the-plan.md"), "{}", missing.stdout);
}

/// File names with characters that are special on terminals, in shells or in JSON.
pub(crate) const HOSTILE_NAMES: [&[u8]; 12] = [
    b"line\nbreak.md",
    b"\x1b[31mred\x1b[0m.md",
    b"quote\"and'and`.md",
    "party \u{1f389}.md".as_bytes(),
    b"not-utf8-\xff\xfe.md",
    "right\u{202e}dm.tfel".as_bytes(),
    "iso\u{2066}late\u{2069}.md".as_bytes(),
    b"back\\slash.md",
    b"bell\x07 and \x7f and tab\t.md",
    "c1 \u{9b}31m.md".as_bytes(),
    b"-rf *.md",
    b" ",
];

/// Creates the example project with a feature of hostile names, one of which has 255 bytes.
pub(crate) fn with_hostile_names() -> Project {
    let project = Project::copy_of(&bakery_dir());
    let dir = project.root.join("kitty-specs/005-hostile-names");
    fs::create_dir(&dir).unwrap();
    for (index, name) in HOSTILE_NAMES.iter().enumerate() {
        fs::write(dir.join(OsStr::from_bytes(name)), format!("{index}\n")).unwrap();
    }
    fs::write(dir.join("n".repeat(252) + ".md"), "long\n").unwrap();
    fs::create_dir(dir.join(OsStr::from_bytes(b"dir\n\xff"))).unwrap();
    fs::write(dir.join(OsStr::from_bytes(b"dir\n\xff/WP01\x1b.md")), "deep\n").unwrap();
    project
}

#[test]
fn artifacts_output_of_hostile_names_is_escaped() {
    let project = with_hostile_names();
    let run = project.run(&["artifacts", "005-hostile-names"]).assert_success();
    assert_snapshot!(project.redact_paths(&run.stdout));
    let scan = project.run(&["scan", "kitty-specs/005-hostile-names", "--json"]).assert_success();
    let snapshot = scan.json();
    for (path, content) in [
        ("line\nbreak.md", "0\n"),
        ("\u{1b}[31mred\u{1b}[0m.md", "1\n"),
        ("not-utf8-\\xff\\xfe.md", "4\n"),
        ("right\u{202e}dm.tfel", "5\n"),
        ("back\\\\slash.md", "7\n"),
        ("dir\n\\xff/WP01\u{1b}.md", "deep\n"),
    ] {
        let artifact = find_artifact(&snapshot, path);
        assert_eq!(artifact["is_present"], true);
        assert_eq!(artifact["content_hash_sha256"], crate::support::sha256(content.as_bytes()));
    }
}

//! `dossierd baseline`: accepts, shows and clears; rejects invalid files and unsafe paths;
//! exchanges files with the reference program, which defined the format.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use dossierd::core::baseline::Baseline;
use serde_json::{Value, json};

use crate::support::{
    COMMAND_TIMEOUT, FEATURE, Project, bakery_dir, expected_hashes, not_run, read_tree, repository,
    run, sha256, strings, write_file,
};

const REFERENCE_SLUG: &str = "042-local-mission-dossier";

impl Project {
    fn accept_baseline(&self) {
        self.run(&["baseline", "accept", FEATURE]).assert_success();
    }

    /// Returns the drift of the feature as `check --json` prints it.
    fn drift(&self) -> Value {
        let check = self.run(&["check", "--json"]).json();
        check["features"][0]["drift"].clone()
    }
}

#[test]
fn accepted_baseline_is_in_parity_and_has_the_specified_fields() {
    let project = Project::complete();
    assert_eq!(project.drift()["state"], "no_baseline");
    project.accept_baseline();
    let baseline = project.baseline();
    let (parity, tree) = expected_hashes(&project.feature_dir());
    let key = json!({
        "project_uuid": "11111111-2222-4333-8444-555555555555",
        "node_id": "abcdef123456",
        "feature_slug": FEATURE,
        "target_branch": "main",
        "mission_key": "software-dev",
        "manifest_version": "1",
    });
    assert_eq!(baseline["baseline_key"], key);
    let canonical = format!(
        "{{\"feature_slug\": \"{FEATURE}\", \"manifest_version\": \"1\", \"mission_key\": \
         \"software-dev\", \"node_id\": \"abcdef123456\", \"project_uuid\": \
         \"11111111-2222-4333-8444-555555555555\", \"target_branch\": \"main\"}}"
    );
    assert_eq!(baseline["baseline_key_hash"], sha256(canonical.as_bytes()));
    assert_eq!(baseline["parity_hash_sha256"], parity);
    assert_eq!(baseline["tree_hash_sha256"], tree);
    assert_eq!(baseline["captured_by"], "abcdef123456");
    let artifacts = baseline["artifacts"].as_array().unwrap();
    let paths: Vec<&str> = artifacts.iter().map(|a| a["relative_path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["spec.md", "plan.md", "tasks.md", "tasks/WP01.md", "meta.json"]);
    for artifact in artifacts {
        let fields: Vec<&String> = artifact.as_object().unwrap().keys().collect();
        assert_eq!(
            fields,
            [
                "artifact_class",
                "artifact_key",
                "content_hash_sha256",
                "relative_path",
                "required_status",
                "static_hash_sha256"
            ]
        );
        let is_wp = artifact["relative_path"] == "tasks/WP01.md";
        assert_eq!(artifact["static_hash_sha256"].is_string(), is_wp, "{artifact}");
    }
    assert_eq!(project.drift()["state"], "in_parity");
    assert_eq!(project.run(&["check", "--strict"]).code, 0);
}

#[test]
fn gitignore_is_written_only_when_the_directory_is_created() {
    let project = Project::complete();
    project.accept_baseline();
    let ignore = project.root.join(".kittify/dossiers/.gitignore");
    assert_eq!(fs::read_to_string(&ignore).unwrap(), "*\n");
    let entries: Vec<_> =
        fs::read_dir(project.baseline_file().parent().unwrap()).unwrap().collect();
    assert_eq!(entries.len(), 1, "no temporary file remains: {entries:?}");

    fs::remove_file(&ignore).unwrap();
    project.accept_baseline();
    assert!(!ignore.exists(), "the directory exists, so a removed .gitignore is not written again");
}

#[test]
fn drift_severity_depends_on_the_change() {
    // change, its effect, severity, [missing, added, changed, churn], exit code, with `--strict`
    type Row<'r> = (&'r str, fn(&Path), &'r str, [&'r [&'r str]; 4], i32, i32);
    let table: [Row; 7] = [
        ("no change", |_| (), "null", [&[], &[], &[], &[]], 0, 0),
        (
            "the lane of a work package changes",
            |dir| {
                let text = "---\nwork_package_id: WP01\nlane: done\nassignee: me\n---\nDo it.\n";
                fs::write(dir.join("tasks/WP01.md"), text).unwrap();
            },
            "info",
            [&[], &[], &["output.tasks.per_wp.WP01"], &["output.tasks.per_wp.WP01"]],
            0,
            11,
        ),
        (
            "an artifact is added",
            |dir| fs::write(dir.join("research.md"), "new").unwrap(),
            "info",
            [&[], &["evidence.research"], &[], &[]],
            0,
            11,
        ),
        (
            "the text of a work package changes",
            |dir| {
                let text = "---\nwork_package_id: WP01\nlane: planned\n---\nDo more.\n";
                fs::write(dir.join("tasks/WP01.md"), text).unwrap();
            },
            "warning",
            [&[], &[], &["output.tasks.per_wp.WP01"], &[]],
            11,
            11,
        ),
        (
            "a required artifact is renamed",
            |dir| fs::rename(dir.join("tasks/WP01.md"), dir.join("tasks/WP02.md")).unwrap(),
            "error",
            [&["output.tasks.per_wp.WP01"], &["output.tasks.per_wp.WP02"], &[], &[]],
            11,
            11,
        ),
        (
            "a required artifact is deleted",
            |dir| fs::remove_file(dir.join("spec.md")).unwrap(),
            "error",
            [&["input.spec.main"], &[], &[], &[]],
            12,
            12,
        ),
        (
            "a required artifact becomes invalid UTF-8",
            |dir| fs::write(dir.join("spec.md"), b"\xff").unwrap(),
            "error",
            [&["input.spec.main"], &[], &[], &[]],
            12,
            12,
        ),
    ];
    for (name, change, severity, lists, code, strict) in table {
        let project = Project::complete();
        project.accept_baseline();
        change(&project.feature_dir());
        let drift = project.drift();
        assert_eq!(drift["severity"].as_str().unwrap_or("null"), severity, "{name}");
        let names = ["missing_in_local", "missing_in_baseline", "changed", "churn"];
        for (list, keys) in names.into_iter().zip(lists) {
            assert_eq!(strings(&drift[list]), keys, "{name}: {list}");
        }
        assert_eq!(project.run(&["check"]).code, code, "{name}");
        assert_eq!(project.run(&["check", "--strict"]).code, strict, "{name}");
        let detail = project.run(&["drift", FEATURE, "--json"]).assert_success().json();
        assert_eq!(detail["severity"], drift["severity"], "{name}");
    }
}

#[test]
fn clear_removes_the_baseline_and_reports_whether_it_existed() {
    let project = Project::complete();
    project.accept_baseline();
    let cleared =
        |project: &Project| project.run(&["baseline", "clear", FEATURE]).assert_success().stdout;
    assert_eq!(cleared(&project), format!("{FEATURE}: baseline cleared\n"));
    assert!(!project.baseline_file().exists());
    assert_eq!(cleared(&project), format!("{FEATURE}: there was no baseline\n"));
    let json = project.run(&["baseline", "clear", FEATURE, "--json"]).assert_success().json();
    assert_eq!((&json["feature_slug"], &json["cleared"]), (&json!(FEATURE), &json!(false)));
    assert_eq!(project.drift()["state"], "no_baseline");
}

#[test]
fn show_prints_the_baseline_and_its_drift_state() {
    let project = Project::complete();
    let show = |project: &Project| {
        project.run(&["baseline", "show", FEATURE, "--json"]).assert_success().json()
    };
    let none = show(&project);
    assert_eq!((&none["drift_state"], &none["baseline"]), (&json!("no_baseline"), &Value::Null));
    project.accept_baseline();
    let shown = show(&project);
    assert_eq!(shown["drift_state"], "in_parity");
    assert_eq!(shown["baseline"], project.baseline());
    assert_eq!(shown["local_key"], project.baseline()["baseline_key"]);
}

#[test]
fn accept_all_covers_every_feature_and_accept_tree_only_the_given_state() {
    let project = Project::complete().file("kitty-specs/002-y/spec.md", "other\n");
    let (_, tree) = expected_hashes(&project.feature_dir());
    let other = "0".repeat(64);
    let rejected = project.run(&["baseline", "accept", FEATURE, "--tree", &other]);
    rejected.assert_failure(1, &format!("cannot accept the state: its tree hash is {tree}"));
    let invalid = project.run(&["baseline", "accept", FEATURE, "--tree", "abc"]);
    invalid.assert_failure(2, "expected a tree hash, 64 lower-case hexadecimal digits");
    assert!(
        !project.root.join(".kittify/dossiers").exists(),
        "nothing is written if the state is rejected"
    );
    project.run(&["baseline", "accept", FEATURE, "--tree", &tree]).assert_success();

    project.run(&["baseline", "clear", FEATURE]).assert_success();
    let lines = project.run(&["baseline", "accept", "--all", "--json"]).assert_success().lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["tree_hash_sha256"], tree);
    assert_eq!(lines[1]["feature_slug"], "002-y");
    for slug in [FEATURE, "002-y"] {
        assert!(
            project.root.join(format!(".kittify/dossiers/{slug}/parity-baseline.json")).exists()
        );
    }
    for usage in [&["baseline", "accept"][..], &["baseline", "accept", FEATURE, "--all"]] {
        assert_eq!(project.run(usage).code, 2, "{usage:?}");
    }
}

#[test]
fn corrupt_baseline_is_reported_and_only_replaced_when_the_feature_is_named() {
    let valid = {
        let project = Project::complete();
        project.accept_baseline();
        project.baseline()
    };
    let with = |change: fn(&mut Value)| {
        let mut value = valid.clone();
        change(&mut value);
        value.to_string().into_bytes()
    };
    for (content, expected) in [
        (b"".to_vec(), "1:1: EOF"),
        (b"{\"baseline_key\": ".to_vec(), "EOF"),
        (b"\xff\xfe".to_vec(), "1:1"),
        (b"[1, 2]".to_vec(), "1:"),
        (b"a note to myself\n".to_vec(), "1:1: expected value"),
        (b"{}".to_vec(), "missing field `baseline_key`"),
        (
            format!("{{\"x\": {}", "[".repeat(200_000)).into_bytes(),
            "1:200006: EOF while parsing a list",
        ),
        (
            with(|v| v["baseline_key"]["node_id"] = "x".into()),
            "`baseline_key_hash` is not the hash",
        ),
        (
            with(|v| v["baseline_key_hash"] = "0".repeat(64).into()),
            "`baseline_key_hash` is not the hash",
        ),
        (with(|v| v["parity_hash_sha256"] = 7.into()), "invalid type: integer `7`"),
        (with(|v| v["artifacts"][0]["relative_path"] = "../../x".into()), "`..` component"),
        (
            with(|v| v["artifacts"][1]["relative_path"] = "spec.md".into()),
            "duplicate path `spec.md`",
        ),
    ] {
        let project = Project::complete();
        write_file(&project.baseline_file(), &content);
        let before = read_tree(&project.root);

        let check = project.run(&["check"]);
        assert_eq!(check.code, 13, "{check:?}");
        assert!(check.stdout.contains("baseline corrupt"), "{}", check.stdout);
        assert!(check.stdout.contains(expected), "`{expected}` is not in {}", check.stdout);
        assert_eq!(project.drift()["state"], "baseline_corrupt");
        let show = project.run(&["baseline", "show", FEATURE]).assert_success();
        assert!(show.stdout.contains(expected), "{}", show.stdout);
        project.run(&["drift", FEATURE]).assert_success();
        // `--all` does not replace a corrupt baseline.
        let all = project.run(&["baseline", "accept", "--all"]);
        all.assert_failure(1, "name the feature to replace it");
        assert_eq!(read_tree(&project.root), before, "left unchanged: {expected}");

        project.accept_baseline();
        assert_eq!(project.drift()["state"], "in_parity", "replaced when the feature is named");
    }
}

#[test]
fn key_mismatch_names_the_fields_and_compares_no_artifact() {
    type Change = fn(&Project);
    let table: [(Change, &str); 4] = [
        (
            |p| p.write(".kittify/config.yaml", "project: {uuid: other, node_id: abcdef123456}\n"),
            "project_uuid",
        ),
        (
            |p| p.write(".kittify/config.yaml", "project: {uuid: other, node_id: 123456789012}\n"),
            "node_id, project_uuid",
        ),
        (
            |p| {
                let meta = "{\"mission\": \"research\", \"target_branch\": \"2.x\"}";
                p.write("kitty-specs/001-x/meta.json", meta);
            },
            "mission_key, target_branch",
        ),
        (
            |p| {
                let manifest = "mission_type: software-dev\nmanifest_version: '2'\n";
                p.write(".kittify/missions/software-dev/expected-artifacts.yaml", manifest);
            },
            "manifest_version",
        ),
    ];
    for (change, fields) in table {
        let project = Project::complete();
        project.accept_baseline();
        fs::remove_file(project.feature_dir().join("tasks.md")).unwrap();
        project.write("kitty-specs/001-x/tasks.md", "other");
        let before = fs::read(project.baseline_file()).unwrap();
        change(&project);
        let drift = project.drift();
        assert_eq!((&drift["state"], &drift["severity"]), (&json!("key_mismatch"), &json!("info")));
        for list in ["missing_in_local", "missing_in_baseline", "changed", "churn"] {
            assert_eq!(drift[list], json!([]), "{fields}");
        }
        let drift = project.run(&["drift", FEATURE]).assert_success();
        assert!(drift.stdout.contains("the baseline was accepted for "), "{}", drift.stdout);
        for field in fields.split(", ") {
            assert!(drift.stdout.contains(&format!("{field} `")), "{fields}: {}", drift.stdout);
        }
        assert!(drift.stdout.contains("`, not `"), "both sides: {}", drift.stdout);
        let json = project.run(&["drift", FEATURE, "--json"]).assert_success().json();
        assert_eq!(strings(&json["key"]["mismatch"]).join(", "), fields);
        assert_eq!(fs::read(project.baseline_file()).unwrap(), before);
        project.accept_baseline();
        assert_eq!(project.drift()["state"], "in_parity");
    }
}

#[test]
fn invalid_project_configuration_does_not_prevent_accepting_named_features() {
    let project = Project::complete().file(".kittify/config.yaml", ": [");
    project.write("kitty-specs/002-y/spec.md", "y\n");
    let run = project.run(&["baseline", "accept", "001-x", "002-y"]);
    assert_eq!(run.code, 78, "{run:?}");
    for slug in ["001-x", "002-y"] {
        assert!(run.stdout.contains(&format!("{slug}: accepted")), "{run:?}");
    }
}

#[test]
fn incomplete_scan_or_unevaluated_state_is_not_accepted() {
    type Change = fn(&Project);
    let manifest = ".kittify/missions/software-dev/expected-artifacts.yaml";
    let table: [(Change, i32, &str); 3] = [
        (
            |p| p.write("kitty-specs/001-x/meta.json", "{"),
            78,
            "cannot accept the state: meta.json:1:1",
        ),
        (
            |p| p.write(".kittify/missions/software-dev/expected-artifacts.yaml", "mission_typ: x"),
            78,
            "cannot accept the state: the manifest is invalid",
        ),
        (
            |p| write_file(&p.config_file(), b"limits: {entries: 2}\n"),
            1,
            "cannot accept the state: more than 2 entries",
        ),
    ];
    for (change, code, reason) in table {
        let project = Project::complete();
        change(&project);
        project.run(&["baseline", "accept", FEATURE]).assert_failure(code, reason);
        assert!(!project.baseline_file().exists(), "{manifest}");
    }
}

#[test]
fn link_at_the_path_of_the_baseline_is_never_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "outside").unwrap();
    let before = read_tree(outside.path());

    // The file is a link: naming the feature replaces the link, not its target.
    let project = Project::complete();
    fs::create_dir_all(project.baseline_file().parent().unwrap()).unwrap();
    symlink(outside.path().join("file"), project.baseline_file()).unwrap();
    let check = project.run(&["check"]);
    assert_eq!(check.code, 13);
    assert!(check.stdout.contains("symbolic link, not followed"), "{}", check.stdout);
    project.accept_baseline();
    assert!(project.baseline_file().symlink_metadata().unwrap().is_file());
    assert_eq!(read_tree(outside.path()), before);

    // A parent directory is a link: nothing is written, and the command fails.
    for linked in [".kittify/dossiers", ".kittify/dossiers/001-x"] {
        let project = Project::complete();
        let linked = project.root.join(linked);
        fs::create_dir_all(linked.parent().unwrap()).unwrap();
        symlink(outside.path(), &linked).unwrap();
        project.run(&["baseline", "accept", FEATURE]).assert_failure(1, "cannot write");
        assert!(!project.run(&["baseline", "clear", FEATURE]).stdout.contains("baseline cleared"));
        assert_eq!(read_tree(outside.path()), before);
    }

    // The file is a directory or a FIFO.
    let project = Project::complete();
    fs::create_dir_all(project.baseline_file()).unwrap();
    assert_eq!(project.run(&["check"]).code, 13);
    project.run(&["baseline", "accept", FEATURE]).assert_failure(1, "cannot write");
    let project = Project::complete();
    fs::create_dir_all(project.baseline_file().parent().unwrap()).unwrap();
    crate::scan::hostile_input::create_fifo(&project.baseline_file());
    let check = project.run(&["check"]);
    assert_eq!(check.code, 13);
    assert!(check.stdout.contains("not a regular file"), "{}", check.stdout);
}

#[test]
fn read_only_project_is_scanned_but_not_accepted() {
    let project = Project::complete();
    let kittify = project.root.join(".kittify");
    fs::set_permissions(&kittify, fs::Permissions::from_mode(0o555)).unwrap();
    let Some(scan) = project.run_as_nobody(&["scan", "--json"]) else { return };
    assert_eq!(scan.code, 0, "{scan:?}");
    let rejected = project.run_as_nobody(&["baseline", "accept", FEATURE]).unwrap();
    let path = project.root.join(".kittify/dossiers/.gitignore");
    rejected.assert_failure(1, &format!("cannot write {}: Permission denied", path.display()));
    fs::set_permissions(&kittify, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn project_without_kittify_and_single_feature_can_be_accepted() {
    let project = Project::empty().artifact("spec.md", "x");
    project.accept_baseline();
    assert_eq!(project.drift()["state"], "in_parity");
    assert_eq!(project.drift()["state"], "in_parity", "and stays so");

    let lone = Project::empty().file("spec.md", "x");
    let path = lone.root.to_str().unwrap();
    lone.run(&["baseline", "accept", path]).assert_failure(2, "use `--feature`");
    lone.run(&["baseline", "accept", path, "--feature"]).assert_success();
    let check = lone.run(&["check", path, "--json", "--feature"]).json();
    assert_eq!(check["features"][0]["feature_slug"], "project", "{check:#}");
    assert_eq!(check["features"][0]["drift"]["state"], "in_parity");
}

#[test]
fn baselines_of_the_reference_program_are_read() {
    for (file, branch, hash) in [
        (
            "reference-baseline.json",
            "2.x",
            "fc8d7c403f0b5e5d900448949391b957c11824a0ec7819cd1ba1e603193f4287",
        ),
        (
            "reference-baseline-unicode.json",
            "gr\u{f6}\u{df}e/\u{1f600}\u{7f}\"x\\y",
            "8144a8f0f9ea367addc8a3d54a01a46998982c60eb87eb927286ef40d66fec12",
        ),
    ] {
        let bytes = fs::read(repository().join("tests/fixtures").join(file)).unwrap();
        let parsed = Baseline::parse(&bytes).unwrap();
        assert_eq!(parsed.baseline_key.target_branch, branch);
        assert_eq!(parsed.baseline_key.hash().to_string(), hash, "golden");
        assert!(parsed.artifacts.is_none() && parsed.tree_hash_sha256.is_none());

        let project = reference_project(branch);
        project.write(&format!(".kittify/dossiers/{REFERENCE_SLUG}/parity-baseline.json"), &bytes);
        assert_eq!(
            project.run(&["check", "--json"]).json()["features"][0]["drift"]["state"],
            "in_parity"
        );
        project.write(&format!("kitty-specs/{REFERENCE_SLUG}/tasks/WP01.md"), "changed\n");
        let drift = project.drift();
        assert_eq!((&drift["state"], &drift["severity"]), (&json!("drifted"), &json!("warning")));
        assert_eq!(drift["changed"], json!([]), "this baseline has no list of artifacts");
        assert_eq!(project.run(&["check"]).code, 12, "plan.md is also missing");
    }
}

/// Creates the project from whose state the reference program captured its baselines.
fn reference_project(branch: &str) -> Project {
    let feature = format!("kitty-specs/{REFERENCE_SLUG}");
    Project::empty()
        .file(
            ".kittify/config.yaml",
            "project: {uuid: 550e8400-e29b-41d4-a716-446655440000, node_id: abcdef123456}\n",
        )
        // The captured state has no `meta.json`, so it is read but ignored as an artifact.
        .config("projects:\n  - {path: ROOT, ignore: [meta.json]}\n")
        .file(&format!("{feature}/meta.json"), json!({"target_branch": branch}).to_string())
        .file(&format!("{feature}/spec.md"), "hello\n")
        .file(&format!("{feature}/tasks/WP01.md"), "world\n")
}

#[test]
fn reference_program_reads_our_baselines() {
    let Some(python) = std::env::var_os("DOSSIERD_REFERENCE_PYTHON") else {
        not_run(
            "our baselines in the reference program (set DOSSIERD_REFERENCE_PYTHON, see tests/reference/check_baseline.py)",
        );
        return;
    };
    let script = repository().join("tests/reference/check_baseline.py");
    let reference = |arguments: &[&str]| -> Value {
        let mut command = Command::new(&python);
        command.arg(&script).args(arguments);
        run(command, COMMAND_TIMEOUT).assert_success().json()
    };
    let ours = [
        Project::complete(),
        Project::copy_of(&bakery_dir()),
        crate::cli::examples::with_hostile_names(),
    ];
    for project in ours {
        project.run(&["baseline", "accept", "--all"]).assert_success();
        for feature in fs::read_dir(project.root.join(".kittify/dossiers")).unwrap() {
            let file = feature.unwrap().path().join("parity-baseline.json");
            if !file.exists() {
                continue;
            }
            let result = reference(&["load", file.to_str().unwrap()]);
            let baseline: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            assert_eq!(result["accepted"], true, "{}: {result}", file.display());
            assert_eq!(result["parity_hash_sha256"], baseline["parity_hash_sha256"]);
        }
    }
    for branch in ["2.x", "gr\u{f6}\u{df}e/\u{1f600}\u{7f}\"x\\y"] {
        let project = reference_project(branch);
        let file =
            project.root.join(format!(".kittify/dossiers/{REFERENCE_SLUG}/parity-baseline.json"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        reference(&["write", file.to_str().unwrap(), branch]);
        assert_eq!(project.drift()["state"], "in_parity", "{branch}");
    }
}

#[test]
fn baseline_that_is_a_list_is_corrupt() {
    let project = Project::complete();
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    let baseline = project.baseline();
    let fields = [
        "baseline_key",
        "baseline_key_hash",
        "parity_hash_sha256",
        "captured_at",
        "captured_by",
        "tree_hash_sha256",
        "artifacts",
    ];
    let list: Vec<&Value> = fields.iter().map(|field| &baseline[*field]).collect();
    fs::write(project.baseline_file(), serde_json::to_vec(&list).unwrap()).unwrap();
    let drift = project.run(&["drift", FEATURE, "--json"]).assert_success().json();
    assert_eq!(drift["state"], "baseline_corrupt");
    for list in ["missing_in_local", "missing_in_baseline", "changed", "churn"] {
        assert!(strings(&drift[list]).is_empty(), "{list}");
    }
}

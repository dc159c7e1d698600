//! Hostile directory trees: nothing blocks, nothing outside the feature is read, no file is lost,
//! and what cannot be read is reported. Each command has a timeout, see `support::run`.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Instant;

use dossierd::core::artifact::ArtifactState;
use dossierd::core::content::StaticHash;
use dossierd::core::ignore::IgnoreRules;
use dossierd::scan::{OpenedFeature, Progress, ScanLimits, ScanOptions, scan};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat, unlinkat};
use serde_json::{Value, json};

use crate::cli::examples::HOSTILE_NAMES;
use crate::support::{
    COMMAND_TIMEOUT, FEATURE, Project, expected_hashes, find_artifact, not_run, sha256, strings,
    write_file,
};

/// Creates a FIFO without a writer, on which opening for reading blocks.
pub(crate) fn create_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

/// Checks that the artifact at `path` is listed as not present, with this reason and detail.
#[track_caller]
fn assert_absent(snapshot: &Value, path: &str, reason: &str, detail: &str) {
    let artifact = find_artifact(snapshot, path);
    assert_eq!(artifact["is_present"], false, "{artifact:#}");
    assert_eq!(artifact["content_hash_sha256"], "", "{artifact:#}");
    assert_eq!(artifact["error_reason"], reason, "{artifact:#}");
    assert_eq!(artifact["error_detail"], detail, "{artifact:#}");
}

#[test]
fn links_are_listed_and_never_followed() {
    let project = Project::complete();
    let feature = project.feature_dir();
    for (name, target) in [
        ("dangling.md", "nowhere"),
        ("passwd.md", "/etc/passwd"),
        ("loop-a.md", "loop-b.md"),
        ("loop-b.md", "loop-a.md"),
        ("inside.md", "spec.md"),
        ("folder", "/etc"),
        ("up", ".."),
        ("self", "."),
    ] {
        symlink(target, feature.join(name)).unwrap();
    }
    let snapshot = project.snapshot();
    for name in
        ["dangling.md", "passwd.md", "loop-a.md", "loop-b.md", "inside.md", "folder", "up", "self"]
    {
        assert_absent(&snapshot, name, "unreadable", "symbolic link, not followed");
    }
    assert_eq!(snapshot["total_artifacts"], 5 + 8, "links are counted, and no file behind them");
    assert_eq!(snapshot["completeness_status"], "complete");
    let check = project.run(&["check"]);
    assert_eq!(check.code, 13);
    assert!(check.stdout.contains("passwd.md (optional): unreadable, symbolic link, not followed"));
    let show = project.run(&["show", FEATURE, "other.passwd.md"]).assert_success();
    assert!(!show.stdout.contains("root:"), "{}", show.stdout);
}

#[test]
fn required_artifact_that_is_a_link_is_missing() {
    let project = Project::complete();
    fs::rename(project.feature_dir().join("spec.md"), project.root.join("spec.md")).unwrap();
    symlink(project.root.join("spec.md"), project.feature_dir().join("spec.md")).unwrap();
    let snapshot = project.snapshot();
    assert_absent(&snapshot, "spec.md", "unreadable", "symbolic link, not followed");
    assert_eq!(snapshot["completeness_status"], "incomplete");
    assert_eq!(snapshot["required_missing"], 1);
}

#[test]
fn special_files_are_listed_and_never_opened() {
    let project = Project::complete();
    create_fifo(&project.feature_dir().join("fifo.md"));
    create_fifo(&project.feature_dir().join("tasks/WP02.md"));
    let socket = project.feature_dir().join("socket.md");
    mknodat(CWD, socket, FileType::Socket, Mode::from_raw_mode(0o644), 0).unwrap();
    let mut special = vec!["fifo.md", "tasks/WP02.md", "socket.md"];
    // `/dev/null` and `/dev/zero`; reading the second never ends.
    for (name, minor) in [("null.md", 3), ("zero.md", 5)] {
        let path = project.feature_dir().join(name);
        let mode = Mode::from_raw_mode(0o666);
        match mknodat(CWD, &path, FileType::CharacterDevice, mode, makedev(1, minor)) {
            Ok(()) => special.push(name),
            // Only root may create devices; without root, the next test uses those of the machine.
            Err(error) => assert_eq!(error, rustix::io::Errno::PERM),
        }
    }
    let snapshot = project.snapshot();
    for name in &special {
        assert_absent(&snapshot, name, "unreadable", "not a regular file");
    }
    assert_eq!(snapshot["total_artifacts"], 5 + special.len());
    assert_eq!(project.run(&["check"]).code, 13);
    let shown = project.run(&["show", FEATURE, "other.fifo.md", "--json"]).assert_success().json();
    assert_eq!((&shown["content"], &shown["is_present"]), (&Value::Null, &json!(false)));
}

#[test]
fn devices_are_listed_and_never_opened() {
    if rustix::process::geteuid().is_root() {
        return; // The previous test has created devices; opening those of the machine could do harm.
    }
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let limits = ScanLimits { max_file_bytes: 0, max_entries: 100_000, max_depth: 0 };
        let options = ScanOptions { limits, ignore: IgnoreRules::default(), threads: 2 };
        let open = |_| {
            let descriptor = File::open("/dev")?.into();
            let static_part = StaticHash::Skip;
            let churn = Arc::default();
            Ok(OpenedFeature { descriptor, documents: None, static_part, churn })
        };
        scan(1, open, &options, &Progress::default(), |_, scanned| {
            sender.send(scanned.observations).unwrap();
        });
    });
    let observations = receiver.recv_timeout(COMMAND_TIMEOUT).expect("the scan ends");
    let mut null = observations.iter().filter(|observed| observed.path.text() == "null");
    let null = null.next().expect("a /dev/null");
    let ArtifactState::Absent(fault) = &null.state else { panic!("{null:?}") };
    assert_eq!(fault.detail.as_deref(), Some("not a regular file"));
}

#[test]
fn fifo_is_never_opened_for_reading() {
    let project = Project::complete();
    let path = project.feature_dir().join("fifo.md");
    create_fifo(&path);
    let (opened, open) = mpsc::channel();
    let writer = std::thread::spawn({
        let path = path.clone();
        // Opening a FIFO for writing blocks until it is opened for reading.
        move || opened.send(File::options().write(true).open(path).is_ok())
    });
    for _ in 0..5 {
        project.run(&["scan"]).assert_success();
        project.run(&["check"]);
        project.run(&["show", FEATURE, "other.fifo.md"]).assert_success();
        assert_eq!(
            open.try_recv(),
            Err(mpsc::TryRecvError::Empty),
            "the FIFO was opened for reading"
        );
    }
    let reader = File::open(&path).unwrap();
    assert_eq!(open.recv_timeout(COMMAND_TIMEOUT), Ok(true));
    drop(reader);
    writer.join().unwrap().unwrap();
}

#[test]
fn fifo_in_place_of_a_metadata_file_does_not_block() {
    for file in [
        "kitty-specs/001-x/meta.json",
        ".kittify/config.yaml",
        ".kittify/runtime/feature-runs.json",
        ".kittify/missions/software-dev/expected-artifacts.yaml",
        ".git",
    ] {
        let project = Project::complete();
        let path = project.root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        create_fifo(&path);
        let check = project.run(&["check", "--json"]);
        let is_reported = check.stdout.contains("not a regular file");
        assert_eq!(is_reported, file != ".git", "{file}: {check:?}");
    }
}

#[test]
fn directory_600_levels_deep_is_read_unless_the_budget_is_lower() {
    let project = Project::complete();
    // The path is longer than `PATH_MAX`, so it is created level by level.
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let name = "d".repeat(20);
    let mut dir = openat(CWD, project.feature_dir(), flags, Mode::empty()).unwrap();
    for _ in 0..600 {
        mkdirat(&dir, &name, Mode::from_raw_mode(0o755)).unwrap();
        dir = openat(&dir, &name, flags, Mode::empty()).unwrap();
    }
    let file = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&dir, "deep.md", file, Mode::from_raw_mode(0o644)).unwrap();
    rustix::io::write(&file, b"deep\n").unwrap();
    drop(file);

    let snapshot = project.snapshot();
    let path = format!("{name}/").repeat(600) + "deep.md";
    assert_eq!(find_artifact(&snapshot, &path)["content_hash_sha256"], sha256(b"deep\n"));
    let key = find_artifact(&snapshot, &path)["artifact_key"].as_str().unwrap().to_owned();
    let shown = project.run(&["show", FEATURE, &key, "--json"]).assert_success().json();
    assert_eq!(shown["content"], "deep\n");

    let project = project.config("limits: {depth: 599}\n");
    let check = project.run(&["check", "--json"]);
    assert_eq!(check.code, 13);
    let feature = &check.json()["features"][0];
    assert_eq!(feature["watch"], "degraded");
    assert_eq!(feature["completeness_status"], "unknown");
    assert_eq!(feature["drift"]["state"], Value::Null, "drift is not evaluated");
    let check = project.run(&["check"]);
    assert!(check.stdout.contains("deeper than 599 folders"), "{}", check.stdout);
}

#[test]
fn every_file_name_gets_its_own_artifact_key() {
    let project = Project::complete().config("ignore_defaults: false\n");
    let dir = project.feature_dir().join("research");
    fs::create_dir(&dir).unwrap();
    for name in HOSTILE_NAMES {
        fs::write(dir.join(OsStr::from_bytes(name)), "x").unwrap();
    }
    fs::write(dir.join("n".repeat(255)), "x").unwrap();
    // Every byte that is allowed in a file name.
    for byte in (1..=255u8).filter(|byte| *byte != b'/') {
        fs::write(dir.join(OsStr::from_bytes(&[b'a', byte])), [byte]).unwrap();
    }
    let snapshot = project.snapshot();
    let artifacts = snapshot["artifact_summaries"].as_array().unwrap();
    assert_eq!(artifacts.len(), 5 + HOSTILE_NAMES.len() + 1 + 254);
    assert!(artifacts.iter().all(|artifact| artifact["is_present"] == true));
    let (parity, tree) = expected_hashes(&project.feature_dir());
    assert_eq!(snapshot["parity_hash_sha256"], parity);
    assert_eq!(snapshot["tree_hash_sha256"], tree);
    let mut keys: Vec<&str> =
        artifacts.iter().map(|a| a["artifact_key"].as_str().unwrap()).collect();
    assert!(
        keys.iter()
            .all(|key| key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)))
    );
    keys.dedup();
    assert_eq!(keys.len(), artifacts.len());
    // Each key can be used in commands, and the baseline has all of them.
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    assert_eq!(project.run(&["check", "--strict"]).code, 0);
    for key in keys {
        assert_eq!(project.run(&["show", FEATURE, key]).code, 0, "{key}");
    }
}

#[test]
fn invalid_utf8_is_reported_with_its_byte_offset() {
    let long = [b"x".repeat(300_000), b"\xc3".to_vec()].concat();
    let project = Project::complete()
        .artifact("plan.md", b"# Pl\xffan\n")
        .artifact("cut.txt", &"gr\u{fc}n".as_bytes()[..3])
        .artifact("late.JSON", long)
        .artifact("surrogate.yaml", b"a\xed\xa0\x80")
        .artifact("bytes.bin", b"\xff\xfe")
        .artifact("none", b"\xff\xfe");
    let snapshot = project.snapshot();
    for (path, byte) in
        [("plan.md", 4), ("cut.txt", 2), ("late.JSON", 300_000), ("surrogate.yaml", 1)]
    {
        assert_absent(&snapshot, path, "invalid_format", &format!("invalid UTF-8 at byte {byte}"));
    }
    assert_eq!(find_artifact(&snapshot, "bytes.bin")["is_present"], true);
    assert_eq!(find_artifact(&snapshot, "none")["is_present"], true);
    assert_eq!(snapshot["completeness_status"], "incomplete");
    let check = project.run(&["check"]);
    assert_eq!(check.code, 10, "all files were read");
    let expected = "plan.md (required): invalid_format, invalid UTF-8 at byte 4";
    assert!(check.stdout.contains(expected), "{}", check.stdout);
}

#[test]
fn unreadable_files_and_directories_are_never_missing_or_in_parity() {
    let project =
        Project::complete().artifact("research/deep/x.md", "x").artifact("listed/x.md", "x");
    let set_mode = |path: &str, mode| {
        let path = project.feature_dir().join(path);
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    let dossiers = project.root.join(".kittify/dossiers");
    set_mode("spec.md", 0);
    set_mode("research", 0);
    // Readable but not searchable: its entries are listed and cannot be opened.
    set_mode("listed", 0o444);
    if let Some(scan) = project.run_as_nobody(&["scan", "--json"]) {
        let snapshot = scan.json();
        let denied = "Permission denied (os error 13)";
        assert_absent(&snapshot, "spec.md", "unreadable", denied);
        assert_absent(&snapshot, "research", "unreadable", denied);
        assert_absent(&snapshot, "listed/x.md", "unreadable", denied);
        assert_eq!(find_artifact(&snapshot, "spec.md")["artifact_key"], "input.spec.main");
        assert_eq!(find_artifact(&snapshot, "spec.md")["size_bytes"], 7);
        assert_eq!(snapshot["completeness_status"], "incomplete");
        let check = project.run_as_nobody(&["check"]).unwrap();
        assert_eq!(check.code, 13, "{check:?}");
        for expected in
            ["spec.md (required): unreadable, Permission denied", "research (optional): unreadable"]
        {
            assert!(check.stdout.contains(expected), "{}", check.stdout);
        }

        // The feature itself.
        set_mode("research", 0o755);
        set_mode("", 0);
        let check = project.run_as_nobody(&["check", "--json"]).unwrap();
        assert_eq!(check.code, 13, "{check:?}");
        let feature = &check.json()["features"][0];
        assert_eq!(feature["watch"], "unreadable");
        assert_eq!(feature["completeness_status"], "unknown");
        assert_eq!(feature["drift"]["state"], Value::Null);
        set_mode("", 0o755);

        // The directory of features.
        let specs = project.root.join("kitty-specs");
        fs::set_permissions(&specs, Permissions::from_mode(0o0)).unwrap();
        let check = project.run_as_nobody(&["check"]).unwrap();
        check.assert_failure(13, "cannot discover features: kitty-specs cannot be read");
        project.run_as_nobody(&["scan"]).unwrap().assert_failure(1, "cannot discover features");
        fs::set_permissions(&specs, Permissions::from_mode(0o755)).unwrap();

        // The baseline.
        fs::set_permissions(project.baseline_file(), Permissions::from_mode(0o0)).unwrap();
        let check = project.run_as_nobody(&["check", "--json"]).unwrap();
        assert_eq!(check.json()["features"][0]["drift"]["state"], "baseline_corrupt");
        fs::set_permissions(&dossiers, Permissions::from_mode(0o0)).unwrap();
        let check = project.run_as_nobody(&["check", "--json"]).unwrap();
        assert_eq!(check.json()["features"][0]["drift"]["state"], "baseline_corrupt");
        fs::set_permissions(&dossiers, Permissions::from_mode(0o755)).unwrap();
    }
    set_mode("research", 0o755);
    set_mode("listed", 0o755);
}

#[test]
fn directory_with_invalid_feature_name_is_skipped_with_a_warning() {
    let project = Project::complete();
    let specs = project.root.join("kitty-specs");
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("spec.md"), "outside").unwrap();
    for name in [&b"a..b"[..], b"-dash", b"sp ace", b"new\nline", b"esc\x1b[31m", b"\xff", b"_x"] {
        fs::create_dir(specs.join(OsStr::from_bytes(name))).unwrap();
    }
    symlink(outside.path(), specs.join("002-linked")).unwrap();
    let scan = project.run(&["scan", "--json"]).assert_success();
    let slugs: Vec<_> = scan.lines().into_iter().map(|line| line["feature_slug"].clone()).collect();
    assert_eq!(slugs, ["-dash", "001-x", "_x", "a..b", "sp ace"]);
    for expected in [
        "kitty-specs/new\\nline is skipped: invalid feature name `new\\nline`",
        "kitty-specs/esc\\u{1b}[31m is skipped",
        "kitty-specs/\\xff is skipped",
        "kitty-specs/002-linked is skipped: symbolic link, not followed",
    ] {
        assert!(scan.stderr.contains(expected), "`{expected}` is not in {}", scan.stderr);
    }
    let check = project.run(&["check", "--json"]).json();
    assert_eq!(check["skipped"].as_array().unwrap().len(), 4);
}

#[test]
fn feature_name_with_parent_components_is_rejected() {
    let project = Project::complete();
    let outside = project.root.parent().unwrap().join("x");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("spec.md"), "outside").unwrap();
    for arguments in [
        &["artifacts", "../x", "--project", "."][..],
        &["drift", "../x", "--project", "."],
        &["baseline", "accept", "../x", "--project", "."],
        &["baseline", "clear", "../../x", "--project", "."],
        &["baseline", "clear", "..", "--project", "."],
        &["show", "..x", "key"],
        &["artifacts", ""],
    ] {
        let run = project.run(arguments);
        assert!(matches!(run.code, 1 | 2), "{arguments:?}: {run:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{arguments:?}");
    }
    // In metadata files: the feature of a run, its directory, the mission.
    let runs = json!({
        "../x": {"run_id": "r", "run_dir": "../x", "mission_key": "m"},
        FEATURE: {"run_id": "r", "run_dir": "../../../x", "mission_key": "m"},
    });
    project.write(".kittify/runtime/feature-runs.json", runs.to_string());
    let check = project.run(&["check"]);
    assert!(check.stdout.contains("is outside the project and is not read"), "{}", check.stdout);
    project.write("kitty-specs/001-x/meta.json", "{\"mission\": \"../../../x\"}");
    let check = project.run(&["check"]);
    assert_eq!(check.code, 78);
    assert!(check.stdout.contains("invalid mission type `../../../x`"), "{}", check.stdout);
}

#[test]
fn empty_project_and_empty_feature_are_not_errors() {
    let project = Project::new();
    assert_eq!(project.run(&["check", "--strict"]).code, 13);
    let check = project.run(&["check"]).assert_success();
    assert_eq!(check.stdout, "0 checked: 0 incomplete, 0 unknown, 0 unreadable, 0 drifted\n");
    let expected = "no feature directory matches kitty-specs/*";
    assert!(check.stderr.contains(expected), "{}", check.stderr);
    assert_eq!(project.run(&["scan", "--json"]).assert_success().stdout, "");
    let accepted = project.run(&["baseline", "accept", "--all"]).assert_success();
    assert!(!project.root.join(".kittify/dossiers").exists(), "{accepted:?}");

    fs::create_dir_all(project.feature_dir()).unwrap();
    let snapshot = project.snapshot();
    assert_eq!(snapshot["completeness_status"], "incomplete");
    assert_eq!(snapshot["parity_hash_components"], json!([]));
    assert_eq!(snapshot["parity_hash_sha256"], sha256(b""));
    assert_eq!(project.run(&["check"]).code, 10);
}

#[test]
fn oversized_meta_json_is_an_artifact_but_not_parsed() {
    let project = Project::complete();
    let file = File::create(project.feature_dir().join("meta.json")).unwrap();
    file.set_len(1 << 30).unwrap();
    let project = project.config("limits: {file_bytes: 1000000000}\n");
    let check = project.run(&["check"]);
    assert_eq!(check.code, 13);
    assert!(check.stdout.contains("meta.json: larger than 1048576 bytes"), "{}", check.stdout);
    let snapshot = project.snapshot();
    assert_absent(&snapshot, "meta.json", "unreadable", "larger than 1000000000 bytes");
    assert_eq!(find_artifact(&snapshot, "meta.json")["size_bytes"], 1u64 << 30);
    assert_eq!(snapshot["completeness_status"], "unknown", "the mission is unknown");

    // Within the budget it is hashed like any other.
    fs::remove_file(project.config_file()).unwrap();
    let snapshot = project.snapshot();
    assert_eq!(find_artifact(&snapshot, "meta.json")["is_present"], true);
}

#[test]
fn invalid_meta_json_makes_completeness_unknown() {
    for (text, expected) in [
        ("{\"mission\": \"software-dev\"", "meta.json:1:26: EOF"),
        ("{\n \"mission\": 7}", "meta.json: `mission` is not a string"),
        ("{\"mission\": \"a b\"}", "invalid mission type `a b`"),
        ("{\"mission\": \"\\u001b[31m\"}", "invalid mission type `\\u{1b}[31m`"),
        ("[]", "meta.json:1:1: invalid type: sequence"),
        ("\u{feff}[]", "meta.json:1:1: invalid type: sequence"),
    ] {
        let project = Project::complete().artifact("meta.json", text);
        let check = project.run(&["check", "--json"]);
        assert_eq!(check.code, 78, "{text}");
        let json = check.json();
        assert_eq!(json["features"][0]["completeness_status"], "unknown", "{text}");
        assert_eq!(json["errors"][0]["file"], "kitty-specs/001-x/meta.json", "{text}");
        let check = project.run(&["check"]);
        assert!(check.stdout.contains(expected), "{text}: {}", check.stdout);
        assert_eq!(
            find_artifact(&project.snapshot(), "meta.json")["is_present"],
            true,
            "the file is still an artifact"
        );
    }
    let unknown = Project::complete().artifact("meta.json", "{\"mission\": \"unheard-of\"}");
    assert_eq!(unknown.run(&["check"]).code, 0);
    assert_eq!(unknown.run(&["check", "--strict"]).code, 13);
}

#[test]
fn feature_with_more_entries_than_the_budget_is_degraded() {
    let project = Project::complete().config("limits: {entries: 6}\n");
    assert_eq!(project.run(&["check"]).code, 0, "a directory and five files");
    let project = project.artifact("one-more.md", "x");
    let check = project.run(&["check"]);
    assert_eq!(check.code, 13);
    assert!(check.stdout.contains("more than 6 entries"), "{}", check.stdout);
}

/// A directory and a link to a directory outside are exchanged again and again during scans, and so
/// are a file and a link to a file outside.
#[test]
fn nothing_outside_is_read_while_directories_are_swapped_for_links() {
    let project = Project::complete();
    let outside = tempfile::tempdir_in(project.root.parent().unwrap()).unwrap();
    for name in ["secret.md", "WP09.md", "spec.md"] {
        fs::write(outside.path().join(name), "stolen").unwrap();
    }
    let feature = project.feature_dir();
    for file in 0..50 {
        write_file(&feature.join(format!("swap/f{file}.md")), b"inside");
    }
    fs::write(feature.join("file.md"), "inside").unwrap();
    symlink(outside.path(), feature.join("swap.link")).unwrap();
    symlink(outside.path().join("secret.md"), feature.join("file.link")).unwrap();
    symlink(outside.path(), project.root.join("kitty-specs/spare")).unwrap();
    let exchange = |one: &Path, other: &Path| {
        use rustix::fs::{RenameFlags, renameat_with};
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
    };
    let stop = AtomicBool::new(false);
    let stolen = sha256(b"stolen");
    let mut swaps = 0u64;
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0u64;
            while !stop.load(Relaxed) {
                exchange(&feature.join("swap"), &feature.join("swap.link"));
                exchange(&feature.join("file.md"), &feature.join("file.link"));
                if swaps.is_multiple_of(16) {
                    exchange(&feature, &project.root.join("kitty-specs/spare"));
                    exchange(&feature, &project.root.join("kitty-specs/spare"));
                }
                swaps += 1;
            }
            swaps
        });
        // A panic is caught, so that the other thread is stopped first.
        let result = std::panic::catch_unwind(|| {
            for _ in 0..150 {
                for snapshot in project.run(&["scan", "--json"]).assert_success().lines() {
                    for artifact in snapshot["artifact_summaries"].as_array().unwrap() {
                        assert_ne!(artifact["content_hash_sha256"], stolen, "{artifact:#}");
                        let path = artifact["relative_path"].as_str().unwrap();
                        assert!(
                            !path.ends_with("secret.md") && !path.ends_with("WP09.md"),
                            "{path}"
                        );
                    }
                    assert!(
                        !strings(&snapshot["parity_hash_components"]).contains(&stolen.as_str())
                    );
                }
            }
        });
        stop.store(true, Relaxed);
        swaps = swapper.join().unwrap();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(swaps > 1_000, "{swaps} swaps are too few for a race");
}

#[test]
fn file_that_changes_while_being_read_is_unreadable() {
    let project = Project::complete();
    let path = project.feature_dir().join("big.bin");
    fs::write(&path, vec![b'a'; 64 << 20]).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = File::options().write(true).open(&path).unwrap();
            for byte in (0..=u8::MAX).cycle() {
                if stop.load(Relaxed) {
                    return;
                }
                std::os::unix::fs::FileExt::write_all_at(&file, &[byte], 1 << 20).unwrap();
            }
        });
        let result = std::panic::catch_unwind(|| {
            // If the writer does not run during a whole scan, the file does not change meanwhile.
            let start = Instant::now();
            loop {
                let snapshot = project.snapshot();
                if find_artifact(&snapshot, "big.bin")["is_present"] == false {
                    assert_absent(&snapshot, "big.bin", "unreadable", "changed while being read");
                    break;
                }
                assert!(start.elapsed() < COMMAND_TIMEOUT, "no scan detected a change");
            }
        });
        stop.store(true, Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    let hash = sha256(&fs::read(&path).unwrap());
    assert_eq!(find_artifact(&project.snapshot(), "big.bin")["content_hash_sha256"], hash);
}

#[test]
fn files_deleted_during_the_scan_cause_no_error() {
    let project = Project::complete();
    let dir =
        openat(CWD, project.feature_dir(), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            while !stop.load(Relaxed) {
                for number in 0..20 {
                    let name = format!("t{number}.md");
                    drop(openat(&dir, &name, flags, Mode::from_raw_mode(0o644)).unwrap());
                    unlinkat(&dir, &name, rustix::fs::AtFlags::empty()).unwrap();
                    let name = format!("d{number}");
                    mkdirat(&dir, &name, Mode::from_raw_mode(0o755)).unwrap();
                    unlinkat(&dir, &name, rustix::fs::AtFlags::REMOVEDIR).unwrap();
                }
            }
        });
        let result = std::panic::catch_unwind(|| {
            for _ in 0..50 {
                let snapshot = project.snapshot();
                assert_eq!(snapshot["completeness_status"], "complete");
                for artifact in snapshot["artifact_summaries"].as_array().unwrap() {
                    // A file that no longer exists is not an artifact.
                    let is_unexpected = artifact["error_reason"] != Value::Null
                        && artifact["error_detail"] != "changed while being read";
                    assert!(!is_unexpected, "{artifact:#}");
                }
            }
        });
        stop.store(true, Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn unreadable_feature_directory_has_unknown_completeness() {
    let project = Project::complete();
    fs::set_permissions(project.feature_dir(), std::os::unix::fs::PermissionsExt::from_mode(0o0))
        .unwrap();
    let scan = project.run_as_nobody(&["scan", "--json"]);
    let check = project.run_as_nobody(&["check", "--json"]);
    fs::set_permissions(project.feature_dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let (Some(scan), Some(check)) = (scan, check) else {
        return not_run("an unreadable feature directory (no other user)");
    };
    let snapshot = scan.json();
    assert_eq!(snapshot["completeness_status"], "unknown");
    assert_eq!(snapshot["required_missing"], 0, "{snapshot}");
    assert!(scan.stderr.contains("001-x: cannot be read: Permission denied"), "{}", scan.stderr);
    assert_eq!(check.code, 13);
    assert_eq!(check.json()["features"][0]["watch"], "unreadable");
}

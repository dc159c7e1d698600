//! Trees that somebody made to hurt: nothing blocks, nothing outside is read, nothing is lost, and
//! what cannot be seen is said. Each command has a deadline (`support::run`).

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Instant;

use dossierd::core::artifact::ArtifactState;
use dossierd::core::content::StaticHash;
use dossierd::core::pattern::PatternSet;
use dossierd::scan::{OpenedFeature, Progress, ScanLimits, ScanOptions, scan};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat, unlinkat};
use serde_json::{Value, json};

use crate::cli::examples::HOSTILE_NAMES;
use crate::support::{
    COMMAND_TIMEOUT, FEATURE, Project, expected_hashes, find_artifact, not_run, strings,
};

/// A FIFO that no one will ever write to.
pub(crate) fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

/// Holds that the entry at `path` is listed, counted, not present, and why.
#[track_caller]
fn is_absent(snapshot: &Value, path: &str, reason: &str, detail: &str) {
    let entry = find_artifact(snapshot, path);
    assert_eq!(entry["is_present"], false, "{entry:#}");
    assert_eq!(entry["content_hash_sha256"], "", "{entry:#}");
    assert_eq!(entry["error_reason"], reason, "{entry:#}");
    assert_eq!(entry["error_detail"], detail, "{entry:#}");
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
        is_absent(&snapshot, name, "unreadable", "symbolic link, not followed");
    }
    assert_eq!(snapshot["total_artifacts"], 5 + 8, "counted, and nothing through them");
    assert_eq!(snapshot["completeness_status"], "complete");
    let check = project.run(&["check"]);
    assert_eq!(check.code, 13);
    assert!(check.stdout.contains("passwd.md (optional): unreadable, symbolic link, not followed"));
    let show = project.run(&["show", FEATURE, "other.passwd.md"]).assert_success();
    assert!(!show.stdout.contains("root:"), "{}", show.stdout);
}

#[test]
fn a_required_file_that_is_a_link_is_missing() {
    let project = Project::complete();
    fs::rename(project.feature_dir().join("spec.md"), project.root.join("spec.md")).unwrap();
    symlink(project.root.join("spec.md"), project.feature_dir().join("spec.md")).unwrap();
    let snapshot = project.snapshot();
    is_absent(&snapshot, "spec.md", "unreadable", "symbolic link, not followed");
    assert_eq!(snapshot["completeness_status"], "incomplete");
    assert_eq!(snapshot["required_missing"], 1);
}

#[test]
fn special_files_are_listed_and_never_opened() {
    let project = Project::complete();
    fifo(&project.feature_dir().join("fifo.md"));
    fifo(&project.feature_dir().join("tasks/WP02.md"));
    let socket = project.feature_dir().join("socket.md");
    mknodat(CWD, socket, FileType::Socket, Mode::from_raw_mode(0o644), 0).unwrap();
    let mut special = vec!["fifo.md", "tasks/WP02.md", "socket.md"];
    // The kernel's null and zero: reading the second never ends.
    for (name, minor) in [("null.md", 3), ("zero.md", 5)] {
        let path = project.feature_dir().join(name);
        let mode = Mode::from_raw_mode(0o666);
        match mknodat(CWD, &path, FileType::CharacterDevice, mode, makedev(1, minor)) {
            Ok(()) => special.push(name),
            // Only root may make one; then those of the machine must do, below.
            Err(error) => assert_eq!(error, rustix::io::Errno::PERM),
        }
    }
    let snapshot = project.snapshot();
    for name in &special {
        is_absent(&snapshot, name, "unreadable", "not a regular file");
    }
    assert_eq!(snapshot["total_artifacts"], 5 + special.len());
    assert_eq!(project.run(&["check"]).code, 13);
    let shown = project.run(&["show", FEATURE, "other.fifo.md", "--json"]).assert_success().json();
    assert_eq!((&shown["content"], &shown["is_present"]), (&Value::Null, &json!(false)));
}

#[test]
fn the_machines_devices_are_listed_and_never_opened() {
    if rustix::process::geteuid().is_root() {
        return; // It makes its own devices, above, and could do harm with these.
    }
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        let limits = ScanLimits { max_file_bytes: 0, max_entries: 100_000, max_depth: 0 };
        let options = ScanOptions { limits, ignore: PatternSet::default(), threads: 2 };
        let open = |_| {
            let descriptor = File::open("/dev")?.into();
            Ok(OpenedFeature { descriptor, static_part: StaticHash::Skip })
        };
        scan(1, open, &options, &Progress::default(), |_, scanned| {
            ended.send(scanned.observations).unwrap();
        });
    });
    let seen = end.recv_timeout(COMMAND_TIMEOUT).expect("it ends");
    let null = seen.iter().find(|seen| seen.path.text() == "null").expect("there is a /dev/null");
    let ArtifactState::Absent(fault) = &null.state else { panic!("{null:?}") };
    assert_eq!(fault.detail.as_deref(), Some("not a regular file"));
}

#[test]
fn the_writer_of_a_fifo_is_not_woken() {
    let project = Project::complete();
    let path = project.feature_dir().join("fifo.md");
    fifo(&path);
    let (opened, open) = mpsc::channel();
    let writer = std::thread::spawn({
        let path = path.clone();
        // Opening it for writing ends when someone opens it for reading.
        move || opened.send(File::options().write(true).open(path).is_ok())
    });
    for _ in 0..5 {
        project.run(&["scan"]).assert_success();
        project.run(&["check"]);
        project.run(&["show", FEATURE, "other.fifo.md"]).assert_success();
        assert_eq!(open.try_recv(), Err(mpsc::TryRecvError::Empty), "someone opened it");
    }
    let reader = File::open(&path).unwrap();
    assert_eq!(open.recv_timeout(COMMAND_TIMEOUT), Ok(true));
    drop(reader);
    writer.join().unwrap().unwrap();
}

#[test]
fn a_fifo_where_a_steering_file_belongs_blocks_nothing() {
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
        fifo(&path);
        let check = project.run(&["check", "--json"]);
        let said = check.stdout.contains("not a regular file");
        assert_eq!(said, file != ".git", "{file}: {check:?}");
    }
}

#[test]
fn a_folder_600_deep_is_read_to_its_end_and_a_budget_says_when_it_is_met() {
    let project = Project::complete();
    // Too long for any path: made and taken away one level at a time.
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let name = "d".repeat(20);
    let mut folder = openat(CWD, project.feature_dir(), flags, Mode::empty()).unwrap();
    for _ in 0..600 {
        mkdirat(&folder, &name, Mode::from_raw_mode(0o755)).unwrap();
        folder = openat(&folder, &name, flags, Mode::empty()).unwrap();
    }
    let file = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&folder, "deep.md", file, Mode::from_raw_mode(0o644)).unwrap();
    rustix::io::write(&file, b"deep\n").unwrap();
    drop(file);

    let snapshot = project.snapshot();
    let path = format!("{name}/").repeat(600) + "deep.md";
    assert_eq!(
        find_artifact(&snapshot, &path)["content_hash_sha256"],
        crate::support::sha256(b"deep\n")
    );
    let key = find_artifact(&snapshot, &path)["artifact_key"].as_str().unwrap().to_owned();
    let shown = project.run(&["show", FEATURE, &key, "--json"]).assert_success().json();
    assert_eq!(shown["content"], "deep\n");

    let project = project.config("limits: {depth: 599}\n");
    let check = project.run(&["check", "--json"]);
    assert_eq!(check.code, 13);
    let feature = &check.json()["features"][0];
    assert_eq!(feature["watch"], "degraded");
    assert_eq!(feature["completeness_status"], "unknown");
    assert_eq!(feature["drift"]["state"], Value::Null, "drift is not judged");
    let check = project.run(&["check"]);
    assert!(check.stdout.contains("deeper than 599 folders"), "{}", check.stdout);
}

#[test]
fn every_name_is_an_artifact_with_a_key_of_its_own() {
    let project = Project::complete();
    let folder = project.feature_dir().join("research");
    fs::create_dir(&folder).unwrap();
    for name in HOSTILE_NAMES {
        fs::write(folder.join(OsStr::from_bytes(name)), "x").unwrap();
    }
    fs::write(folder.join("n".repeat(255)), "x").unwrap();
    // Every byte that a name can hold.
    for byte in (1..=255u8).filter(|byte| *byte != b'/') {
        fs::write(folder.join(OsStr::from_bytes(&[b'a', byte])), [byte]).unwrap();
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
    // Each can be asked for, and accepted and read back.
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    assert_eq!(project.run(&["check", "--strict"]).code, 0);
    for key in keys {
        assert_eq!(project.run(&["show", FEATURE, key]).code, 0, "{key}");
    }
}

#[test]
fn text_that_is_no_utf8_is_said_with_the_byte() {
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
        is_absent(&snapshot, path, "invalid_format", &format!("invalid UTF-8 at byte {byte}"));
    }
    assert_eq!(find_artifact(&snapshot, "bytes.bin")["is_present"], true);
    assert_eq!(find_artifact(&snapshot, "none")["is_present"], true);
    assert_eq!(snapshot["completeness_status"], "incomplete");
    let check = project.run(&["check"]);
    assert_eq!(check.code, 10, "all was seen");
    let said = "plan.md (required): invalid_format, invalid UTF-8 at byte 4";
    assert!(check.stdout.contains(said), "{}", check.stdout);
}

#[test]
fn what_may_not_be_read_is_unreadable_and_never_missing_or_clean() {
    let project =
        Project::complete().artifact("research/deep/x.md", "x").artifact("listed/x.md", "x");
    let shut = |path: &str, mode| {
        let path = project.feature_dir().join(path);
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    let dossiers = project.root.join(".kittify/dossiers");
    shut("spec.md", 0);
    shut("research", 0);
    // It can be listed, and nothing in it can be reached.
    shut("listed", 0o444);
    if let Some(scan) = project.run_as_nobody(&["scan", "--json"]) {
        let snapshot = scan.json();
        let denied = "Permission denied (os error 13)";
        is_absent(&snapshot, "spec.md", "unreadable", denied);
        is_absent(&snapshot, "research", "unreadable", denied);
        is_absent(&snapshot, "listed/x.md", "unreadable", denied);
        assert_eq!(find_artifact(&snapshot, "spec.md")["artifact_key"], "input.spec.main");
        assert_eq!(find_artifact(&snapshot, "spec.md")["size_bytes"], 7);
        assert_eq!(snapshot["completeness_status"], "incomplete");
        let check = project.run_as_nobody(&["check"]).unwrap();
        assert_eq!(check.code, 13, "{check:?}");
        for said in
            ["spec.md (required): unreadable, Permission denied", "research (optional): unreadable"]
        {
            assert!(check.stdout.contains(said), "{}", check.stdout);
        }

        // The feature itself.
        shut("research", 0o755);
        shut("", 0);
        let check = project.run_as_nobody(&["check", "--json"]).unwrap();
        assert_eq!(check.code, 13, "{check:?}");
        let feature = &check.json()["features"][0];
        assert_eq!(feature["watch"], "unreadable");
        assert_eq!(feature["completeness_status"], "unknown");
        assert_eq!(feature["drift"]["state"], Value::Null);
        shut("", 0o755);

        // The directory of features.
        let specs = project.root.join("kitty-specs");
        fs::set_permissions(&specs, Permissions::from_mode(0o0)).unwrap();
        let check = project.run_as_nobody(&["check"]).unwrap();
        check.assert_failure(13, "cannot look for features: Permission denied");
        project.run_as_nobody(&["scan"]).unwrap().assert_failure(1, "cannot look for features");
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
    shut("research", 0o755);
    shut("listed", 0o755);
}

#[test]
fn a_folder_whose_name_is_no_slug_is_skipped_and_said() {
    let project = Project::complete();
    let specs = project.root.join("kitty-specs");
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("spec.md"), "theirs").unwrap();
    for name in [&b"a..b"[..], b"-dash", b"sp ace", b"new\nline", b"esc\x1b[31m", b"\xff", b"_x"] {
        fs::create_dir(specs.join(OsStr::from_bytes(name))).unwrap();
    }
    symlink(outside.path(), specs.join("002-linked")).unwrap();
    let scan = project.run(&["scan", "--json"]).assert_success();
    assert_eq!(scan.lines().len(), 1);
    for said in [
        "kitty-specs/a..b is skipped: invalid feature name `a..b`",
        "kitty-specs/-dash is skipped",
        "kitty-specs/sp ace is skipped",
        "kitty-specs/new\\nline is skipped",
        "kitty-specs/esc\\u{1b}[31m is skipped",
        "kitty-specs/\\xff is skipped",
        "kitty-specs/_x is skipped",
        "kitty-specs/002-linked is skipped: symbolic link, not followed",
    ] {
        assert!(scan.stderr.contains(said), "`{said}` is not in {}", scan.stderr);
    }
    let check = project.run(&["check", "--json"]).json();
    assert_eq!(check["skipped"].as_array().unwrap().len(), 8);
}

#[test]
fn a_slug_that_climbs_leads_nowhere() {
    let project = Project::complete();
    let beside = project.root.parent().unwrap().join("x");
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("spec.md"), "theirs").unwrap();
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
        assert_eq!(run.code, 1, "{arguments:?}: {run:?}");
        assert_eq!(fs::read_dir(&beside).unwrap().count(), 1, "{arguments:?}");
    }
    // In the files of others: the slug of a run, its directory, the mission.
    let runs = json!({
        "../x": {"run_id": "r", "run_dir": "../x", "mission_key": "m"},
        FEATURE: {"run_id": "r", "run_dir": "../../../x", "mission_key": "m"},
    });
    project.write(".kittify/runtime/feature-runs.json", runs.to_string());
    let check = project.run(&["check"]);
    assert!(
        check.stdout.contains("is outside of the project, and so not read"),
        "{}",
        check.stdout
    );
    project.write("kitty-specs/001-x/meta.json", "{\"mission\": \"../../../x\"}");
    let check = project.run(&["check"]);
    assert_eq!(check.code, 13);
    assert!(check.stdout.contains("invalid mission type `../../../x`"), "{}", check.stdout);
}

#[test]
fn an_empty_project_and_an_empty_feature_are_no_error() {
    let project = Project::new();
    let check = project.run(&["check", "--strict"]).assert_success();
    assert_eq!(check.stdout, "0 checked: 0 incomplete, 0 unknown, 0 not seen whole, 0 drifted\n");
    let said = "no feature directory matches kitty-specs/*";
    assert!(check.stderr.contains(said), "{}", check.stderr);
    assert_eq!(project.run(&["scan", "--json"]).assert_success().stdout, "");
    let accepted = project.run(&["baseline", "accept", "--all"]).assert_success();
    assert!(!project.root.join(".kittify/dossiers").exists(), "{accepted:?}");

    fs::create_dir_all(project.feature_dir()).unwrap();
    let snapshot = project.snapshot();
    assert_eq!(snapshot["completeness_status"], "incomplete");
    assert_eq!(snapshot["parity_hash_components"], json!([]));
    assert_eq!(snapshot["parity_hash_sha256"], crate::support::sha256(b""));
    assert_eq!(project.run(&["check"]).code, 10);
}

#[test]
fn a_meta_json_of_a_gigabyte_is_an_artifact_and_not_read_as_meta() {
    let project = Project::complete();
    let file = File::create(project.feature_dir().join("meta.json")).unwrap();
    file.set_len(1 << 30).unwrap();
    let project = project.config("limits: {file_bytes: 1000000000}\n");
    let check = project.run(&["check"]);
    assert_eq!(check.code, 13);
    assert!(check.stdout.contains("meta.json: larger than 1048576 bytes"), "{}", check.stdout);
    let snapshot = project.snapshot();
    is_absent(&snapshot, "meta.json", "unreadable", "larger than 1000000000 bytes");
    assert_eq!(find_artifact(&snapshot, "meta.json")["size_bytes"], 1u64 << 30);
    assert_eq!(snapshot["completeness_status"], "unknown", "the mission is not known");

    // Within the budget it is hashed like any other.
    fs::remove_file(project.config_file()).unwrap();
    let snapshot = project.snapshot();
    assert_eq!(find_artifact(&snapshot, "meta.json")["is_present"], true);
}

#[test]
fn meta_json_that_says_nothing_sound_leaves_completeness_unknown() {
    for (text, said) in [
        ("{\"mission\": \"software-dev\"", "meta.json:1:26: EOF"),
        ("{\n \"mission\": 7}", "meta.json: `mission` is not a string"),
        ("{\"mission\": \"a b\"}", "invalid mission type `a b`"),
        ("{\"mission\": \"\\u001b[31m\"}", "invalid mission type `\\u{1b}[31m`"),
        ("[]", "meta.json:1:1: invalid type: sequence"),
        ("\u{feff}{}", "meta.json:1:1: expected value"),
    ] {
        let project = Project::complete().artifact("meta.json", text);
        let check = project.run(&["check", "--json"]);
        assert_eq!(check.code, 13, "{text}");
        assert_eq!(check.json()["features"][0]["completeness_status"], "unknown", "{text}");
        let check = project.run(&["check"]);
        assert!(check.stdout.contains(said), "{text}: {}", check.stdout);
        assert_eq!(
            find_artifact(&project.snapshot(), "meta.json")["is_present"],
            true,
            "it is still a file"
        );
    }
    let unknown = Project::complete().artifact("meta.json", "{\"mission\": \"unheard-of\"}");
    assert_eq!(unknown.run(&["check"]).code, 0);
    assert_eq!(unknown.run(&["check", "--strict"]).code, 13);
}

#[test]
fn more_entries_than_the_budget_degrade_the_feature() {
    let project = Project::complete().config("limits: {entries: 6}\n");
    assert_eq!(project.run(&["check"]).code, 0, "tasks and five files");
    let project = project.artifact("one-more.md", "x");
    let check = project.run(&["check"]);
    assert_eq!(check.code, 13);
    assert!(check.stdout.contains("more than 6 entries"), "{}", check.stdout);
}

/// A directory is swapped for a link to a directory outside, and a file for a link to a file outside,
/// again and again while the binary looks.
#[test]
fn nothing_outside_is_read_while_folders_are_swapped_for_links() {
    let project = Project::complete();
    let outside = tempfile::tempdir_in(project.root.parent().unwrap()).unwrap();
    for name in ["secret.md", "WP09.md", "spec.md"] {
        fs::write(outside.path().join(name), "stolen").unwrap();
    }
    let feature = project.feature_dir();
    for file in 0..50 {
        crate::support::write_file(&feature.join(format!("swap/f{file}.md")), b"inside");
    }
    fs::write(feature.join("file.md"), "inside").unwrap();
    symlink(outside.path(), feature.join("swap.link")).unwrap();
    symlink(outside.path().join("secret.md"), feature.join("file.link")).unwrap();
    symlink(outside.path(), project.root.join("kitty-specs/spare")).unwrap();
    let exchange = |one: &Path, other: &Path| {
        use rustix::fs::{RenameFlags, renameat_with};
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
    };
    let over = AtomicBool::new(false);
    let stolen = crate::support::sha256(b"stolen");
    let mut swaps = 0u64;
    std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let mut swaps = 0u64;
            while !over.load(Relaxed) {
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
        // However this ends, the other thread must.
        let looked = std::panic::catch_unwind(|| {
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
        over.store(true, Relaxed);
        swaps = swapping.join().unwrap();
        if let Err(panic) = looked {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(swaps > 1_000, "{swaps} swaps are no race");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_unreadable_until_it_rests() {
    let project = Project::complete();
    let path = project.feature_dir().join("big.bin");
    fs::write(&path, vec![b'a'; 64 << 20]).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = File::options().write(true).open(&path).unwrap();
            for round in (0..=u8::MAX).cycle() {
                if over.load(Relaxed) {
                    return;
                }
                std::os::unix::fs::FileExt::write_all_at(&file, &[round], 1 << 20).unwrap();
            }
        });
        let looked = std::panic::catch_unwind(|| {
            // A writer that is kept from writing during a whole look leaves a file at rest.
            let begun = Instant::now();
            loop {
                let snapshot = project.snapshot();
                if find_artifact(&snapshot, "big.bin")["is_present"] == false {
                    is_absent(&snapshot, "big.bin", "unreadable", "changed while being read");
                    break;
                }
                assert!(begun.elapsed() < COMMAND_TIMEOUT, "no change was ever seen");
            }
        });
        over.store(true, Relaxed);
        if let Err(panic) = looked {
            std::panic::resume_unwind(panic);
        }
    });
    let rested = crate::support::sha256(&fs::read(&path).unwrap());
    assert_eq!(find_artifact(&project.snapshot(), "big.bin")["content_hash_sha256"], rested);
}

#[test]
fn files_that_come_and_go_abort_nothing() {
    let project = Project::complete();
    let folder =
        openat(CWD, project.feature_dir(), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            while !over.load(Relaxed) {
                for number in 0..20 {
                    let name = format!("t{number}.md");
                    drop(openat(&folder, &name, flags, Mode::from_raw_mode(0o644)).unwrap());
                    unlinkat(&folder, &name, rustix::fs::AtFlags::empty()).unwrap();
                    let name = format!("d{number}");
                    mkdirat(&folder, &name, Mode::from_raw_mode(0o755)).unwrap();
                    unlinkat(&folder, &name, rustix::fs::AtFlags::REMOVEDIR).unwrap();
                }
            }
        });
        let looked = std::panic::catch_unwind(|| {
            for _ in 0..50 {
                let snapshot = project.snapshot();
                assert_eq!(snapshot["completeness_status"], "complete");
                for artifact in snapshot["artifact_summaries"].as_array().unwrap() {
                    // A file that is gone again is no artifact, whatever the moment.
                    let odd = artifact["error_reason"] != Value::Null
                        && artifact["error_detail"] != "changed while being read";
                    assert!(!odd, "{artifact:#}");
                }
            }
        });
        over.store(true, Relaxed);
        if let Err(panic) = looked {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_folder_that_may_not_be_entered_lacks_nothing() {
    let project = Project::complete();
    fs::set_permissions(project.feature_dir(), std::os::unix::fs::PermissionsExt::from_mode(0o0))
        .unwrap();
    let scan = project.run_as_nobody(&["scan", "--json"]);
    let check = project.run_as_nobody(&["check", "--json"]);
    fs::set_permissions(project.feature_dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let (Some(scan), Some(check)) = (scan, check) else {
        return not_run("a feature that may not be entered: there is no other user to be");
    };
    let snapshot = scan.json();
    assert_eq!(snapshot["completeness_status"], "unknown");
    assert_eq!(snapshot["required_missing"], 0, "{snapshot}");
    assert!(scan.stderr.contains("001-x: cannot be read: Permission denied"), "{}", scan.stderr);
    assert_eq!(check.code, 13);
    assert_eq!(check.json()["features"][0]["watch"], "unreadable");
}

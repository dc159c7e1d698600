//! `diff`, `log`, `show --at` and `history`, with and without a daemon.

use std::fs;

use super::{versions, wait_until_stored};
use crate::support::client::RunningCommand;
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, repository, run, sha256};

const SPEC: &str = "kitty-specs/001-x/spec.md";

#[test]
fn diff_shows_what_changed_since_the_baseline() {
    let project = Project::complete();
    project.write(SPEC, "# Spec\n\none two\nthree\n");
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    assert_eq!(project.run_client(&["diff", FEATURE]).code, 0);
    project.write(SPEC, "# Spec\n\none 2\nthree\nfour");
    project.write("kitty-specs/001-x/new.md", "new\n");
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    fs::rename(project.feature_dir().join("tasks.md"), project.feature_dir().join("jobs.md"))
        .unwrap();
    let diff = project.run_client(&["diff", FEATURE]);
    assert_eq!(diff.code, 1, "{diff:?}");
    let expected = "\
diff --git a/kitty-specs/001-x/jobs.md b/kitty-specs/001-x/jobs.md
similar";
    assert!(!diff.stdout.contains(expected));
    for part in [
        "rename from kitty-specs/001-x/tasks.md\nrename to kitty-specs/001-x/jobs.md\n",
        "diff --git a/kitty-specs/001-x/new.md b/kitty-specs/001-x/new.md\nnew file mode 100644\n\
         --- /dev/null\n+++ b/kitty-specs/001-x/new.md\n@@ -0,0 +1 @@\n+new\n",
        "deleted file mode 100644\n--- a/kitty-specs/001-x/plan.md\n+++ /dev/null\n@@ -1 +0,0 @@\n\
         -# Plan\n",
        "@@ -1,4 +1,5 @@\n # Spec\n \n-one two\n+one 2\n three\n+four\n\
         \\ No newline at end of file\n",
    ] {
        assert!(diff.stdout.contains(part), "{part}\nis not in\n{}", diff.stdout);
    }
    // The patch turns the accepted state into the present one.
    let stat = project.run_client(&["diff", FEATURE, "--stat"]);
    assert_eq!(stat.code, 1);
    assert!(stat.stdout.contains("changed spec.md +2 -1"), "{}", stat.stdout);
    assert!(stat.stdout.ends_with("4 files, +3 -2\n"), "{}", stat.stdout);
    let json = project.run_client(&["diff", FEATURE, "spec.md", "--json"]).json();
    let file = &json["files"][0];
    assert_eq!((&file["kind"], &file["added_lines"]), (&"changed".into(), &2.into()));
    let marked = &file["hunks"][0]["lines"][2];
    assert_eq!((&marked["text"], &marked["changed"][0][0]), (&"one two".into(), &4.into()));
    // Reversed, and without a daemon.
    let back =
        project.run_client(&["diff", FEATURE, "spec.md", "--from", "now", "--to", "baseline"]);
    assert!(back.stdout.contains("-one 2\n+one two\n"), "{}", back.stdout);
    daemon.stop();
    let local = project.run(&["diff", FEATURE, "spec.md"]);
    assert_eq!((local.code, local.stdout.matches("\n+one 2\n").count()), (1, 1), "{local:?}");
    project.run(&["diff", FEATURE, "--from", "x"]).assert_failure(2, "`x` is not a revision");
    project.run(&["diff", FEATURE, "none.md"]).assert_failure(2, "there is no artifact `none.md`");
    project.run(&["diff", FEATURE, "--from", "@1"]).assert_failure(2, "nothing is kept of @1");
}

#[test]
fn versions_are_listed_and_shown() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    for text in ["# Spec\n\ntwo\n", "# Spec\n\nthree\nmore\n"] {
        project.write(SPEC, text);
        wait_until_stored(&daemon);
    }
    fs::remove_file(project.feature_dir().join("spec.md")).unwrap();
    wait_until_stored(&daemon);
    let log = project.run_client(&["log", FEATURE, "spec.md", "--json"]).json();
    let rows = log["versions"].as_array().unwrap();
    assert_eq!(rows.len(), 3, "{log:#}");
    assert_eq!((&rows[0]["added_lines"], &rows[0]["removed_lines"]), (&2.into(), &1.into()));
    assert_eq!((&rows[0]["end"], &rows[1]["end"]), (&"deleted".into(), &"changed".into()));
    assert_eq!(rows[2]["added_lines"], serde_json::Value::Null, "it was there before");
    let text = project.run_client(&["log", FEATURE]).assert_success().stdout;
    assert!(text.contains("+2 -1") && text.contains("deleted"), "{text}");

    let seq = rows[1]["from_seq"].as_u64().unwrap();
    let hash = sha256(b"# Spec\n");
    for at in [format!("@{seq}"), rows[1]["from"].as_str().unwrap().to_owned()] {
        let shown = project.run_client(&["show", FEATURE, "spec.md", "--at", &at]);
        assert_eq!(shown.assert_success().stdout, "# Spec\n\ntwo\n", "{at}");
    }
    let shown = project.run_client(&["show", FEATURE, "spec.md", "--at", &hash[..8]]);
    assert_eq!(shown.assert_success().stdout, "# Spec\n");
    let absent = project.run_client(&["show", FEATURE, "spec.md", "--at", "now"]);
    absent.assert_failure(2, "spec.md does not exist now");
    daemon.stop();
    let shown = project.run(&["show", FEATURE, "plan.md", "--at", "now"]);
    assert_eq!(shown.assert_success().stdout, "# Plan\n");
    let log = project.run(&["log", FEATURE, "spec.md", "--json"]).json();
    assert_eq!(log["versions"].as_array().unwrap().len(), 3);
}

#[test]
fn watch_shows_the_numbers_of_changed_lines() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    let mut watch = RunningCommand::start(project.client_command(&["watch"]));
    watch.lines_until("no baseline");
    // A busy machine may not know them soon enough.
    for n in 0.. {
        project.write(SPEC, format!("# Spec\n\n{n}\n{n}\n"));
        if watch.lines_until("modified").last().unwrap().ends_with(" +2 -2") {
            break;
        }
        wait_until_stored(&daemon);
        assert!(n < 20, "never");
    }
    watch.interrupt();
    daemon.stop();
}

#[test]
fn excluded_large_and_binary_files_are_listed_as_not_stored() {
    let project = Project::complete()
        .config("history: {max_file: 1000, exclude: ['**/private*']}\n")
        .artifact("private.md", "key\n")
        .artifact("large.md", "x".repeat(1_001))
        .artifact("image.bin", b"a\0b");
    let daemon = project.start_daemon();
    let status = wait_until_stored(&daemon);
    assert_eq!(status["not_stored"], 0, "{status:#}");
    for (path, reason) in
        [("private.md", "excluded"), ("large.md", "too_large"), ("image.bin", "binary")]
    {
        let reasons: Vec<Option<String>> =
            versions(&daemon, path).into_iter().map(|version| version.1).collect();
        assert_eq!(reasons, [Some(reason.to_owned())], "{path}");
    }
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    project.write("kitty-specs/001-x/private.md", "other\n");
    project.write("kitty-specs/001-x/image.bin", b"c\0d");
    project.write("kitty-specs/001-x/large.md", "y".repeat(1_001));
    let diff = project.run_client(&["diff", FEATURE]);
    assert_eq!((diff.code, &*diff.stdout), (1, ""), "{diff:?}");
    for line in [
        "private.md: a version is not stored",
        "image.bin: not text, so its lines are not compared",
        "large.md: too large to be compared",
    ] {
        assert!(diff.stderr.contains(line), "{line}: {}", diff.stderr);
    }
    let hash = sha256(b"key\n");
    let absent = project.run_client(&["show", FEATURE, "private.md", "--at", &hash]);
    absent.assert_failure(2, "of private.md is not stored: excluded");
    daemon.stop();
    let absent = project.run(&["show", FEATURE, "private.md", "--at", &hash]);
    absent.assert_failure(2, "of private.md is not stored: excluded");
}

#[test]
fn log_lists_the_versions_between_two_moments() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    for number in 0..6 {
        project.write(SPEC, format!("# {number}\n"));
        wait_until_stored(&daemon);
    }
    let log = |arguments: &[&str]| -> Vec<u64> {
        let arguments = [&["log", FEATURE, "spec.md", "--json"], arguments].concat();
        let list = project.run_client(&arguments).assert_success().json();
        let versions = list["versions"].as_array().unwrap();
        versions.iter().map(|one| one["from_seq"].as_u64().unwrap()).collect()
    };
    let all = log(&[]);
    assert_eq!(all.len(), 7);
    let (since, until) = (format!("@{}", all[4]), format!("@{}", all[1]));
    assert_eq!(log(&["--since", &since, "--until", &until]), all[1..4]);
    assert_eq!(log(&["--since", &since, "-n", "2"]), all[..2]);
    assert_eq!(log(&["--since", "1h"]), all);
    assert_eq!(log(&["--until", "1h"]), [0_u64; 0]);
    let text = project.run_client(&["log", FEATURE, "--until", "1h"]).assert_success().stdout;
    assert_eq!(text, "no version of 001-x of that time is stored\n");
    daemon.stop();
}

#[test]
fn purge_removes_versions_and_status_reports_what_is_stored() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    let status = project.run_client(&["history", "status"]).assert_success().stdout;
    assert!(status.contains("5 versions") || status.contains("4 versions"), "{status}");
    let purged = project.run_client(&["history", "purge", FEATURE, "--json"]).json();
    assert!(purged["versions"].as_u64().unwrap() >= 4, "{purged}");
    assert_eq!(versions(&daemon, "").len(), 0);
    // It continues with the next change.
    project.write(SPEC, "# Again\n");
    wait_until_stored(&daemon);
    assert_eq!(versions(&daemon, "spec.md").len(), 1);
    // Also of a project that is not watched any more.
    let other = Project::complete();
    let root = other.root.to_str().unwrap();
    project.run_client(&["project", "add", root]).assert_success();
    wait_until_stored(&daemon);
    project.run_client(&["project", "remove", root]).assert_success();
    let purge = ["history", "purge", FEATURE, "--project", root, "--json"];
    let purged = project.run_client(&purge).assert_success().json();
    assert!(purged["versions"].as_u64().unwrap() >= 4, "{purged}");
    assert_eq!(versions(&daemon, "spec.md").len(), 1);
    let unknown = project.run_client(&purge);
    assert!(unknown.stderr.contains("no project"), "{unknown:?}");
    daemon.stop();
    assert!(project.run(&["history", "status", "--json"]).json()["versions"].as_u64().unwrap() > 0);
    project.run(&["history", "purge"]).assert_success();
    assert_eq!(project.run(&["history", "status", "--json"]).json()["versions"], 0);
}

#[test]
fn evictions_are_reported() {
    let project = Project::complete().config("history: {max_bytes: 1 MiB}\n");
    let daemon = project.start_daemon();
    // Hashes do not compress well.
    for number in 0..12_u8 {
        let text: String = (0..4_000_u32)
            .map(|k| crate::support::sha256(&[&[number][..], &k.to_le_bytes()].concat()) + "\n")
            .collect();
        project.write(&format!("kitty-specs/001-x/notes/{number}.md"), text);
        wait_until_stored(&daemon);
    }
    let status = daemon.get_json("/api/history");
    let evicted = status["evicted"].as_u64().unwrap();
    assert!(evicted > 0 && !status["evicted_at"].is_null(), "{status:#}");
    assert!(status["used_bytes"].as_u64() <= status["max_bytes"].as_u64(), "{status:#}");
    let text = project.run_client(&["history", "status"]).assert_success().stdout;
    assert!(text.contains(&format!("{evicted} versions, 0 of them named by a baseline")), "{text}");
    daemon.stop();
}

#[test]
fn nothing_is_stored_where_the_history_is_off() {
    let project = Project::complete().config("history: {enabled: false}\n");
    let daemon = project.start_daemon();
    let status = daemon.get_json("/api/history");
    assert_eq!((&status["enabled"], &status["backlog"]), (&false.into(), &0.into()));
    assert!(!project.state_dir().join("history.sqlite3").exists());
    // A reload turns it on.
    let project = project.config("history: {enabled: true}\n");
    run(project.client_command(&["config", "check"]), crate::support::COMMAND_TIMEOUT);
    crate::support::wait::wait_for("the history to be on", || {
        let status = daemon.get_json("/api/history");
        (status["versions"].as_u64()? >= 4).then_some(())
    });
    daemon.stop();
}

#[test]
fn corrupt_content_store_is_moved_aside_without_losing_events() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    let last = daemon.get_json("/api/status")["seq"].clone();
    daemon.stop();
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(project.state_dir().join(format!("history.sqlite3{suffix}")));
    }
    fs::write(project.state_dir().join("history.sqlite3"), "no database ".repeat(1_000)).unwrap();
    let daemon = project.start_daemon();
    let status = wait_until_stored(&daemon);
    assert!(status["quarantined"].as_str().unwrap().contains("corrupt-"), "{status:#}");
    assert!(status["versions"].as_u64().unwrap() >= 4, "{status:#}");
    assert_eq!(daemon.get_json("/api/status")["seq"], last);
    daemon.stop();
}

#[test]
fn errors_end_with_the_same_exit_code_with_and_without_a_daemon() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    let wrong: [&[&str]; 9] = [
        &["show", FEATURE, "spec.md", "--at", "@0"],
        &["show", FEATURE, "spec.md", "--at", "2h"],
        &["show", FEATURE, "spec.md", "--at", "00000000"],
        &["show", FEATURE, "none.md", "--at", "now"],
        &["log", FEATURE, "none.md"],
        &["diff", FEATURE, "--from", "baseline"],
        &["diff", FEATURE, "--from", "00000000"],
        &["restore", FEATURE, "none.md"],
        &["restore", FEATURE, "spec.md", "--from", "@0"],
    ];
    let messages = wrong.map(|arguments| {
        let failed = project.run_client(arguments);
        assert_eq!(failed.code, 2, "{arguments:?} {failed:?}");
        failed.stderr
    });
    assert!(messages[0].contains("the oldest version is of @"), "{}", messages[0]);
    daemon.stop();
    for (arguments, message) in wrong.into_iter().zip(messages) {
        let failed = project.run(arguments);
        assert_eq!(failed.code, 2, "{arguments:?} {failed:?}");
        assert!(failed.stderr.ends_with(&message), "{message}{}", failed.stderr);
    }
}

#[test]
fn artifacts_are_named_by_paths_of_the_shell() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    wait_until_stored(&daemon);
    let absolute = project.feature_dir().join("spec.md");
    let in_feature = project.feature_dir();
    let in_tasks = in_feature.join("tasks");
    let named = |dir: &std::path::Path, feature: &str, name: &str| {
        let mut command = project.client_command(&["log", feature, name, "--json"]);
        command.current_dir(dir);
        let listed = run(command, crate::support::COMMAND_TIMEOUT);
        if listed.code != 0 {
            return format!("{}", listed.code);
        }
        listed.json()["versions"][0]["relative_path"].as_str().unwrap().to_owned()
    };
    for (dir, feature, name, expected) in [
        (&project.root, FEATURE, "kitty-specs/001-x/spec.md", "spec.md"),
        (&project.root, FEATURE, "kitty-specs/001-x/plan.md", "plan.md"),
        (&project.root, FEATURE, absolute.to_str().unwrap(), "spec.md"),
        (&project.root, FEATURE, "tasks/WP01.md", "tasks/WP01.md"),
        (&in_feature, ".", "./spec.md", "spec.md"),
        (&in_tasks, ".", "WP01.md", "tasks/WP01.md"),
        (&in_tasks, ".", "../spec.md", "spec.md"),
        (&in_tasks, ".", "spec.md", "spec.md"),
        (&project.root, FEATURE, "/etc/passwd", "2"),
        (&project.root, FEATURE, "../project/none", "2"),
    ] {
        assert_eq!(named(dir, feature, name), expected, "{name} in {}", dir.display());
    }
    let restored = project.run_client(&["restore", FEATURE, "kitty-specs/001-x/plan.md"]);
    assert_eq!(restored.assert_success().stdout.lines().count(), 1);
    let shown =
        project.run_client(&["show", FEATURE, "./kitty-specs/001-x/spec.md", "--at", "now"]);
    assert_eq!(shown.assert_success().stdout, "# Spec\n");
    daemon.stop();
    let diff = project.run(&["diff", FEATURE, "kitty-specs/001-x/spec.md", "--from", "now"]);
    assert_eq!((diff.code, &*diff.stdout), (0, ""), "{diff:?}");
}

#[test]
fn files_that_no_event_reports_as_deleted_end_at_an_unknown_time() {
    let project = Project::complete();
    project.write("kitty-specs/002-b/spec.md", "# B\n");
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    daemon.stop();
    // The next run knows nothing of these files.
    fs::remove_file(project.state_dir().join("dossierd.sqlite3")).unwrap();
    fs::remove_file(project.root.join("kitty-specs/001-x/plan.md")).unwrap();
    fs::remove_dir_all(project.root.join("kitty-specs/002-b")).unwrap();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    for (feature, file, end) in [
        (FEATURE, "spec.md", serde_json::Value::Null),
        (FEATURE, "plan.md", "unknown".into()),
        ("002-b", "spec.md", "unknown".into()),
    ] {
        let log = project.run_client(&["log", feature, file, "--json"]).assert_success().json();
        assert_eq!(log["versions"][0]["end"], end, "{feature} {file}: {log}");
    }
    // The daemon does not know the feature any more.
    project.run_client(&["restore", "002-b", "spec.md"]).assert_success();
    let path = project.root.join("kitty-specs/002-b/spec.md");
    assert_eq!(fs::read_to_string(path).unwrap(), "# B\n");
    daemon.stop();
}

#[test]
fn purge_leaves_no_content_in_a_quarantined_store() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    daemon.stop();
    let make_corrupt = || {
        let path = project.state_dir().join("history.sqlite3");
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(project.state_dir().join(format!("history.sqlite3{suffix}")));
        }
        let mut bytes = fs::read(&path).unwrap();
        bytes[..16].fill(b'x');
        fs::write(&path, bytes).unwrap();
    };
    let quarantined = || {
        let entries = fs::read_dir(project.state_dir()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("history.sqlite3.corrupt-")).count()
    };
    make_corrupt();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    assert_eq!(quarantined(), 1);
    project.run_client(&["history", "purge", FEATURE]).assert_success();
    assert_eq!(quarantined(), 0);
    assert!(daemon.get_json("/api/history")["quarantined"].is_null());
    daemon.stop();
    make_corrupt();
    let log = project.run(&["log", FEATURE]);
    log.assert_failure(1, "the daemon moves it aside when it starts");
    project.run(&["history", "purge"]).assert_success();
    assert_eq!(quarantined(), 0);
    assert_eq!(project.run(&["history", "status", "--json"]).json()["versions"], 0);
}

#[test]
fn versions_of_a_replaced_baseline_are_kept_for_its_return() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    project.write(SPEC, "first\n");
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    wait_until_stored(&daemon);
    project.write(SPEC, "second\n");
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    wait_until_stored(&daemon);
    for number in 0..20 {
        project.write(SPEC, format!("{number}\n"));
        wait_until_stored(&daemon);
    }
    let log = project.run_client(&["log", FEATURE, "spec.md", "--json"]).json();
    let is_kept = |text: &[u8]| {
        let hash = sha256(text);
        let versions = log["versions"].as_array().unwrap();
        versions.iter().any(|one| one["content_hash_sha256"] == hash)
    };
    assert!(!is_kept(b"# Spec\n"), "{log:#}");
    assert!(is_kept(b"first\n") && is_kept(b"second\n"), "{log:#}");
    project.run_client(&["baseline", "accept", "--undo", FEATURE]).assert_success();
    let restored = project.run_client(&["restore", FEATURE, "spec.md", "--force"]);
    restored.assert_success();
    assert_eq!(fs::read_to_string(project.root.join(SPEC)).unwrap(), "first\n");
    daemon.stop();
}

#[test]
fn first_watch_and_doctor_tell_that_versions_are_stored() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    let note = || {
        // It ends at once, since that is in the past.
        let watched = project.run_client(&["watch", "--until", "1s"]);
        watched.stderr.matches("versions of text artifacts are stored in").count()
    };
    assert_eq!([note(), note()], [1, 0]);
    let doctor = project.run_client(&["doctor"]).stdout;
    assert!(doctor.contains("history: on: 4 versions of artifacts are stored"), "{doctor}");
    daemon.stop();
}

/// Has a change made while nothing is stored, so that the history reads its events together.
fn change_while_off(project: &Project, daemon: &Daemon, change: impl FnOnce()) {
    let config = |text: &str| {
        fs::write(project.config_file(), text).unwrap();
        let is_enabled = !text.contains("false");
        wait_for("the configuration", || {
            let status = daemon.get_json("/api/history");
            (status["enabled"] == is_enabled).then_some(())
        });
    };
    fs::create_dir_all(project.config_file().parent().unwrap()).unwrap();
    config("history: {enabled: false}\n");
    change();
    daemon.get_json("/api/status?sync=true");
    config("history: {enabled: true}\n");
    wait_until_stored(daemon);
}

#[test]
fn events_that_are_read_together_are_recorded_in_their_order() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    change_while_off(&project, &daemon, || {
        fs::remove_file(project.root.join(SPEC)).unwrap();
        wait_for("the deletion", || {
            let artifact = "/api/dossier/artifacts/input.spec.main?feature=001-x&sync=true";
            (daemon.get_json(artifact)["is_present"] == false).then_some(())
        });
        project.write(SPEC, "one\ntwo\n");
        project.write("kitty-specs/001-x/plan.md", "# Other\n");
        daemon.get_json("/api/status?sync=true");
        project.write("kitty-specs/001-x/plan.md", "# Other\nmore\n");
    });
    let log = |name: &str| {
        let log = project.run_client(&["log", FEATURE, name, "--json"]).assert_success().json();
        log["versions"].as_array().unwrap().clone()
    };
    let versions = log("spec.md");
    let lines = |version: &serde_json::Value| {
        (version["added_lines"].as_u64(), version["removed_lines"].as_u64())
    };
    assert_eq!(lines(&versions[0]), (Some(2), Some(0)), "{versions:#?}");
    let absent = format!("@{}", versions[1]["until_seq"]);
    let shown = project.run_client(&["show", FEATURE, "spec.md", "--at", &absent]);
    shown.assert_failure(2, "spec.md does not exist in @");
    // What came between was not stored, so the lines since then are not known.
    let versions = log("plan.md");
    assert_eq!(versions[1]["not_stored"], "replaced", "{versions:#?}");
    assert_eq!(lines(&versions[0]), (None, None), "{versions:#?}");
    daemon.stop();
}

#[test]
fn edit_just_before_an_archiving_is_listed_with_the_archived_feature() {
    let project = Project::copy_of(&repository().join("examples/openspec"));
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    let proposal = project.root.join("openspec/changes/fix-time-zone/proposal.md");
    let mut edited_seq = None;
    change_while_off(&project, &daemon, || {
        fs::write(&proposal, "# Edited\n").unwrap();
        edited_seq = daemon.get_json("/api/status?sync=true")["seq"].as_u64();
        fs::rename(
            project.root.join("openspec/changes/fix-time-zone"),
            project.root.join("openspec/changes/archive/2026-01-01-fix-time-zone"),
        )
        .unwrap();
        wait_for("the archived feature", || {
            let status = daemon.get_json("/api/status?sync=true").to_string();
            status.contains("archive/2026-01-01-fix-time-zone").then_some(())
        });
    });
    let log = project.run_client(&["log", "archive/2026-01-01-fix-time-zone", "--json"]).json();
    let versions = log["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2, "{log:#}");
    assert_eq!(versions[0]["content_hash_sha256"], sha256(b"# Edited\n"));
    // With its own event, and not when the archived feature was compared.
    assert!(versions[0]["from_seq"].as_u64() <= edited_seq, "{edited_seq:?} {log:#}");
    daemon.stop();
}

#[test]
fn report_has_the_changed_lines_with_and_without_a_daemon() {
    let project = Project::complete();
    project.write(SPEC, "# Spec\n\none <b>two</b>\n");
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    project.write(SPEC, "# Spec\n\none <script>2</script>\n");
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    wait_until_stored(&daemon);
    let report = ["report", FEATURE, "-o", "-"];
    let with_daemon = project.run_client(&report).assert_success().stdout;
    daemon.stop();
    for html in [with_daemon, project.run(&report).assert_success().stdout] {
        let (_, changes) = html.split_once("<h2>Changed lines</h2>").unwrap();
        for part in [
            "<summary>plan.md +0 -1</summary>",
            "# Plan",
            "<summary>spec.md +1 -1</summary>",
            "script&gt;",
        ] {
            assert!(changes.contains(part), "{part} is not in {changes}");
        }
        assert!(!html.contains("<script>2"), "{html}");
    }
}

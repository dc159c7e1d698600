//! `dossierd restore`: what is written back, and what is not.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::json;

use super::wait_until_stored;
use crate::support::{FEATURE, Project, read_tree};

const RESTORE: &str = "/api/dossier/restore?feature=001-x";

#[test]
fn deleted_files_come_back_with_their_content_and_mode() {
    let project =
        Project::complete().artifact("sub/run.sh", "#!/bin/sh\n").artifact("old.md", "o\n");
    let script = project.feature_dir().join("sub/run.sh");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o750)).unwrap();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    fs::remove_dir_all(project.feature_dir().join("sub")).unwrap();
    fs::remove_file(project.feature_dir().join("spec.md")).unwrap();
    fs::rename(project.feature_dir().join("old.md"), project.feature_dir().join("new.md")).unwrap();
    wait_until_stored(&daemon);
    let dry = project.run_client(&["restore", FEATURE, "--deleted", "--dry-run"]).assert_success();
    assert!(dry.stdout.contains("would restore spec.md"), "{}", dry.stdout);
    assert!(!project.feature_dir().join("spec.md").exists());
    let restored = project.run_client(&["restore", FEATURE, "--deleted"]).assert_success().stdout;
    for line in ["restored spec.md", "restored sub/run.sh", "left out old.md"] {
        assert!(restored.contains(line), "{restored}");
    }
    assert_eq!(fs::read_to_string(project.feature_dir().join("spec.md")).unwrap(), "# Spec\n");
    assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o750);
    assert!(!project.feature_dir().join("old.md").exists());
    // It is an ordinary change.
    let artifact =
        daemon.get_json("/api/dossier/artifacts/input.spec.main?feature=001-x&sync=true");
    assert_eq!(artifact["is_present"], true);
    assert_eq!(source_kind(&project, "spec.md"), "generated");
    assert_eq!(source_kind(&project, "plan.md"), "manual");
    project.write("kitty-specs/001-x/spec.md", "changed\n");
    wait_until_stored(&daemon);
    assert_eq!(source_kind(&project, "spec.md"), "manual");
    daemon.stop();
}

fn source_kind(project: &Project, path: &str) -> String {
    let list = project.run(&["artifacts", FEATURE, "--json"]).assert_success().json();
    let artifacts = list["artifacts"].as_array().unwrap();
    let artifact = artifacts.iter().find(|one| one["relative_path"] == path).unwrap();
    artifact["provenance"]["source_kind"].as_str().unwrap().to_owned()
}

#[test]
fn present_file_is_replaced_only_by_force_and_after_it_was_stored() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    project.write("kitty-specs/001-x/spec.md", "changed\n");
    wait_until_stored(&daemon);
    let refused = project.run_client(&["restore", FEATURE, "spec.md"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stdout.contains("not restored spec.md"), "{}", refused.stdout);
    // Written just before.
    project.write("kitty-specs/001-x/spec.md", "changed again\n");
    project.run_client(&["restore", FEATURE, "spec.md", "--force"]).assert_success();
    assert_eq!(fs::read_to_string(project.feature_dir().join("spec.md")).unwrap(), "# Spec\n");
    wait_until_stored(&daemon);
    let log = project.run_client(&["log", FEATURE, "spec.md", "--json"]).json();
    let hash = crate::support::sha256(b"changed again\n");
    let versions = log["versions"].as_array().unwrap();
    let replaced = versions.iter().find(|one| one["content_hash_sha256"] == hash).unwrap();
    assert!(replaced["not_stored"].is_null(), "{log:#}");
    let shown = project.run_client(&["show", FEATURE, "spec.md", "--at", &hash[..12]]);
    assert_eq!(shown.assert_success().stdout, "changed again\n");
    // Of another state nothing is written.
    let body = json!({"items": [{"artifact_key": "spec.md"}], "force": true, "tree_hash_sha256": "0".repeat(64)});
    let response = daemon.request("POST", RESTORE, &body.to_string());
    assert_eq!((response.status, &response.json()["code"]), (409, &"state_changed".into()));
    daemon.stop();
}

#[test]
fn no_link_is_followed_and_nothing_outside_is_written() {
    let project = Project::complete().artifact("sub/a.md", "a\n").artifact("b.md", "b\n");
    let outside = project.home().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("b.md"), "outside\n").unwrap();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    fs::remove_dir_all(project.feature_dir().join("sub")).unwrap();
    symlink(&outside, project.feature_dir().join("sub")).unwrap();
    fs::remove_file(project.feature_dir().join("b.md")).unwrap();
    symlink(outside.join("b.md"), project.feature_dir().join("b.md")).unwrap();
    wait_until_stored(&daemon);
    let before = read_tree(&outside);
    for force in [false, true] {
        for path in ["sub/a.md", "b.md"] {
            let body = json!({"items": [{"relative_path": path, "from": "@1"}, {"relative_path": path}], "force": force});
            let response = daemon.request("POST", RESTORE, &body.to_string());
            let failed = response.status >= 400
                || response.json()["files"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|one| one["outcome"] == "failed");
            assert!(failed, "{path} {response:?}");
        }
    }
    assert_eq!(read_tree(&outside), before);
    assert!(project.feature_dir().join("b.md").is_symlink());
    for path in ["../x", "/etc/passwd", "a/../../x", ""] {
        let body = json!({"items": [{"relative_path": path}]});
        let response = daemon.request("POST", RESTORE, &body.to_string());
        assert!([400, 404].contains(&response.status), "{path} {response:?}");
    }
    daemon.stop();
}

#[test]
fn feature_that_is_gone_gets_its_directory_again() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    fs::remove_dir_all(project.feature_dir()).unwrap();
    wait_until_stored(&daemon);
    // `meta.json` is of class runtime, and not stored.
    let restored = project.run_client(&["restore", FEATURE, "--deleted"]);
    assert_eq!(
        (restored.code, restored.stdout.matches("not restored").count()),
        (1, 1),
        "{restored:?}"
    );
    assert_eq!(fs::read_to_string(project.feature_dir().join("plan.md")).unwrap(), "# Plan\n");
    let tasks = fs::read_to_string(project.feature_dir().join("tasks/WP01.md")).unwrap();
    assert!(tasks.ends_with("Do it.\n"));
    daemon.stop();
}

#[test]
fn restore_without_a_daemon_writes_named_files() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    daemon.stop();
    fs::remove_file(project.feature_dir().join("spec.md")).unwrap();
    project.write("kitty-specs/001-x/plan.md", "unknown\n");
    project.run(&["restore", FEATURE, "spec.md"]).assert_success();
    assert_eq!(fs::read_to_string(project.feature_dir().join("spec.md")).unwrap(), "# Spec\n");
    assert_eq!(project.run(&["restore", FEATURE, "plan.md"]).code, 1);
    project.run(&["restore", FEATURE, "plan.md", "--force"]).assert_success();
    assert_eq!(fs::read_to_string(project.feature_dir().join("plan.md")).unwrap(), "# Plan\n");
    // The replaced content was stored.
    let hash = crate::support::sha256(b"unknown\n");
    let shown = project.run(&["show", FEATURE, "plan.md", "--at", &hash[..8]]);
    assert_eq!(shown.assert_success().stdout, "unknown\n");
}

#[test]
fn restore_without_a_daemon_brings_deleted_files_back() {
    let project = Project::complete().artifact("old.md", "o\n").artifact("gone.md", "g\n");
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    let path = |name: &str| project.feature_dir().join(name);
    fs::remove_file(path("gone.md")).unwrap();
    wait_until_stored(&daemon);
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    fs::remove_file(path("plan.md")).unwrap();
    wait_until_stored(&daemon);
    daemon.stop();
    fs::remove_file(path("spec.md")).unwrap();
    fs::rename(path("old.md"), path("new.md")).unwrap();
    let restored = project.run(&["restore", FEATURE, "--deleted"]).assert_success().stdout;
    for line in ["restored spec.md", "restored plan.md", "left out old.md"] {
        assert!(restored.contains(line), "{line}: {restored}");
    }
    // It was absent when the state was accepted.
    assert!(!restored.contains("gone.md") && !path("gone.md").exists(), "{restored}");
    assert_eq!(source_kind(&project, "spec.md"), "generated");
    project.start_daemon().stop();
    assert_eq!(source_kind(&project, "spec.md"), "generated", "after a start of the daemon");
}

#[test]
fn feature_that_is_gone_is_found_without_a_daemon() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    daemon.stop();
    let path = format!("kitty-specs/{FEATURE}");
    for name in [FEATURE, &path, &format!("./{path}")] {
        fs::remove_dir_all(project.feature_dir()).unwrap();
        let log = project.run(&["log", name, "--json"]).assert_success().json();
        assert_eq!(log["versions"].as_array().unwrap().len(), 5, "{name}");
        let diff = project.run(&["diff", name, "--stat"]);
        assert_eq!(diff.code, 1, "{diff:?}");
        assert!(diff.stdout.contains("missing spec.md +0 -1"), "{}", diff.stdout);
        let restored = project.run(&["restore", name, "--deleted"]);
        assert_eq!(restored.code, 1, "`meta.json` is not stored: {restored:?}");
        assert!(restored.stderr.contains("001-x: was removed"), "{}", restored.stderr);
        assert_eq!(fs::read_to_string(project.feature_dir().join("plan.md")).unwrap(), "# Plan\n");
    }
    // By its path through the daemon, too.
    let daemon = project.start_daemon();
    fs::remove_dir_all(project.feature_dir()).unwrap();
    wait_until_stored(&daemon);
    let restored = project.run_client(&["restore", &path, "spec.md"]).assert_success();
    assert!(restored.stdout.contains("restored spec.md"), "{}", restored.stdout);
    daemon.stop();
    fs::remove_dir_all(project.feature_dir()).unwrap();
    let purged = project.run(&["history", "purge", FEATURE, "--json"]).assert_success().json();
    assert!(purged["versions"].as_u64().unwrap() >= 5, "{purged}");
    project.run(&["log", FEATURE]).assert_failure(1, "there is no feature `001-x`");
}

#[test]
fn dry_run_tells_what_a_restore_would_do() {
    let large = "x".repeat(1_001);
    let project = Project::complete()
        .config("history: {max_file: 1000}\n")
        .artifact("large.md", &large)
        .artifact("small.md", "s\n");
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    project.write("kitty-specs/001-x/large.md", "now small\n");
    project.write("kitty-specs/001-x/small.md", &large);
    wait_until_stored(&daemon);
    let check = |run: &dyn Fn(&[&str]) -> crate::support::CommandOutput| {
        for (path, reason) in [
            ("large.md", "its content is not stored"),
            ("small.md", "its present content cannot be stored: too large"),
        ] {
            for dry_run in [&["--dry-run"][..], &[]] {
                let arguments = ["restore", FEATURE, path, "--force"];
                let restored = run(&[&arguments, dry_run].concat());
                assert_eq!(restored.code, 1, "{restored:?}");
                assert!(restored.stdout.contains(reason), "{dry_run:?} {}", restored.stdout);
            }
        }
    };
    check(&|arguments| project.run_client(arguments));
    daemon.stop();
    check(&|arguments| project.run(arguments));
}

#[test]
fn content_that_is_not_to_be_stored_is_not_stored_without_a_daemon_either() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    daemon.stop();
    project.write("kitty-specs/001-x/spec.md", "private\n");
    let hash = crate::support::sha256(b"private\n");
    let restore = ["restore", FEATURE, "spec.md", "--force"];
    let mut project = project;
    for (config, reason) in [
        ("history: {enabled: false}\n", "the history is off"),
        ("history: {exclude: ['spec.md']}\n", "excluded"),
        ("history: {max_file: 3}\n", "too large"),
    ] {
        project = project.config(config);
        let refused = project.run(&restore);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stdout.contains(reason), "{}", refused.stdout);
        fs::rename(project.feature_dir().join("spec.md"), project.home().join("kept")).unwrap();
        project.run(&["show", FEATURE, "spec.md", "--at", &hash]).assert_failure(2, "no version");
        fs::rename(project.home().join("kept"), project.feature_dir().join("spec.md")).unwrap();
    }
    let project = project.config("");
    let spec = project.feature_dir().join("spec.md");
    fs::set_permissions(&spec, fs::Permissions::from_mode(0o750)).unwrap();
    project.run(&restore).assert_success();
    // What was replaced comes back as it was.
    project.run(&["restore", FEATURE, "spec.md", "--force", "--from", &hash]).assert_success();
    assert_eq!(fs::read_to_string(&spec).unwrap(), "private\n");
    assert_eq!(fs::metadata(&spec).unwrap().permissions().mode() & 0o777, 0o750);
}

#[test]
fn copy_of_a_deleted_file_is_no_new_name_of_it() {
    let project = Project::complete().artifact("a.md", "same\n").artifact("b.md", "same\n");
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    let path = |name: &str| project.feature_dir().join(name);
    fs::remove_file(path("a.md")).unwrap();
    wait_until_stored(&daemon);
    let restored = project.run_client(&["restore", FEATURE, "--deleted"]).assert_success();
    assert!(restored.stdout.contains("restored a.md"), "{}", restored.stdout);
    // One new file is the new name of one of them.
    wait_until_stored(&daemon);
    fs::rename(path("a.md"), path("new.md")).unwrap();
    fs::remove_file(path("b.md")).unwrap();
    wait_until_stored(&daemon);
    let restored = project.run_client(&["restore", FEATURE, "--deleted"]).assert_success().stdout;
    assert_eq!(restored.matches("left out").count(), 1, "{restored}");
    assert_eq!(restored.matches("restored ").count(), 1, "{restored}");
    daemon.stop();
}

#[test]
fn deleted_files_come_back_from_a_named_state() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    project.write("kitty-specs/001-x/spec.md", "later\n");
    project.write("kitty-specs/001-x/new.md", "new\n");
    wait_until_stored(&daemon);
    for name in ["spec.md", "plan.md", "new.md"] {
        fs::remove_file(project.feature_dir().join(name)).unwrap();
    }
    wait_until_stored(&daemon);
    let restore = ["restore", FEATURE, "--deleted", "--from", "baseline"];
    let restored = project.run_client(&restore);
    assert_eq!(restored.code, 1, "{restored:?}");
    let expected = "not restored new.md: it does not exist in that state";
    assert!(restored.stdout.contains(expected), "{}", restored.stdout);
    for (name, text) in [("spec.md", "# Spec\n"), ("plan.md", "# Plan\n")] {
        assert_eq!(fs::read_to_string(project.feature_dir().join(name)).unwrap(), text);
    }
    let hash = &crate::support::sha256(b"later\n")[..8];
    let of_many = project.run_client(&["restore", FEATURE, "--deleted", "--from", hash]);
    of_many.assert_failure(2, "is a hash: name one artifact with it");
    daemon.stop();
}

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

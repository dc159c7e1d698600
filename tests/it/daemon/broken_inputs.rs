//! Metadata files that become invalid, features that stay deleted, and roots that are missing when
//! the daemon starts.

use std::fs;

use serde_json::{Value, json};

use crate::support::invariants::{JournalReader, artifact_changes, assert_invariants};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, not_run, write_file};

const MANIFEST: &str = ".kittify/overrides/missions/software-dev/expected-artifacts.yaml";

fn features(daemon: &Daemon) -> Vec<Value> {
    let status = daemon.get_json("/api/status?sync=true");
    status["projects"][0]["features"].as_array().unwrap().clone()
}

/// Accepts a baseline, and waits until the daemon reports parity.
fn accept_baseline(project: &Project, daemon: &Daemon) {
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    wait_for("parity", || {
        (daemon.overview(FEATURE)["drift"]["state"] == "in_parity").then_some(())
    });
}

#[test]
fn invalid_manifest_keeps_the_last_valid_one_in_effect() {
    let project = Project::complete();
    let valid = "mission_type: software-dev\nmanifest_version: '7'\nrequired_always:\n  \
               - {artifact_key: input.spec, artifact_class: input, path_pattern: spec.md}\n  \
               - {artifact_key: input.note, artifact_class: input, path_pattern: note.md}\n";
    project.write(MANIFEST, valid);
    project.write(&format!("kitty-specs/{FEATURE}/note.md"), "x\n");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    accept_baseline(&project, &daemon);
    let before = daemon.export(FEATURE);
    journal.read_new(&daemon);
    project.write(MANIFEST, "mission_type: [\n");
    let invalid = wait_for("the invalid manifest", || {
        let shown = daemon.overview(FEATURE);
        (shown["completeness_status"] == "unknown").then_some(shown)
    });
    assert_eq!(invalid["drift"]["state"], "in_parity", "{invalid:#}");
    assert_eq!(daemon.export(FEATURE)["artifact_summaries"], before["artifact_summaries"]);
    assert_eq!(
        artifact_changes(&journal.read_new(&daemon)),
        [],
        "an invalid manifest changes no artifact"
    );
    let errors = &daemon.get_json("/api/status?sync=true")["projects"][0]["manifest_errors"];
    assert!(errors.to_string().contains("expected-artifacts.yaml"), "{errors:#}");
    // The reason names the place of the error, and follows it.
    let place = |shown: &Value| {
        let reason = shown["unknown_reason"].as_str().unwrap_or_default().to_owned();
        let place = reason.split(['(', ')']).nth(1).unwrap_or_default();
        place.strip_prefix(MANIFEST).unwrap_or(&reason).to_owned()
    };
    assert_eq!(place(&invalid), ":1:15", "{invalid:#}");
    project.write(MANIFEST, "mission_type: software-dev\n\n\nno-such-field: 1\n");
    wait_for("the place of another error", || {
        place(&daemon.overview(FEATURE)).starts_with(":4:").then_some(())
    });
    project.write(MANIFEST, valid);
    wait_for("the valid manifest", || {
        (daemon.overview(FEATURE)["completeness_status"] == "complete").then_some(())
    });
    assert_eq!(artifact_changes(&assert_invariants(&project, &daemon, &mut journal)), []);
    daemon.stop();
}

#[test]
fn invalid_project_identity_keeps_the_last_valid_one_in_effect() {
    let project = Project::complete();
    let valid = "project: {uuid: 0d6f4a0e-6a5c-4f0c-9a57-0f5f0b1f6d11, node_id: abcdef123456}\n";
    project.write(".kittify/config.yaml", valid);
    let daemon = project.start_daemon();
    accept_baseline(&project, &daemon);
    project.write(".kittify/config.yaml", "project: [\n");
    let status = wait_for("the invalid configuration", || {
        let status = daemon.get_json("/api/status?sync=true");
        let errors = status["projects"][0]["manifest_errors"].to_string();
        errors.contains("config.yaml").then_some(status)
    });
    assert_eq!(status["projects"][0]["project_uuid"], "0d6f4a0e-6a5c-4f0c-9a57-0f5f0b1f6d11");
    assert_eq!(daemon.overview(FEATURE)["drift"]["state"], "in_parity");
    project.write(".kittify/config.yaml", valid);
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    daemon.stop();
}

#[test]
fn feature_with_invalid_meta_json_has_no_drift_state() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    accept_baseline(&project, &daemon);
    let meta = project.feature_dir().join("meta.json");
    let valid = fs::read(&meta).ok();
    write_file(&meta, b"{");
    wait_for("the invalid meta.json", || {
        let drift = daemon.overview(FEATURE)["drift"]["state"].clone();
        assert_ne!(drift, "drifted");
        drift.is_null().then_some(())
    });
    match valid {
        Some(valid) => write_file(&meta, &valid),
        None => fs::remove_file(&meta).unwrap(),
    }
    wait_for("the valid meta.json", || {
        (daemon.overview(FEATURE)["drift"]["state"] == "in_parity").then_some(())
    });
    daemon.stop();
}

#[test]
fn invalid_meta_json_keeps_the_last_valid_mission_in_effect() {
    let project = Project::complete();
    let meta = project.feature_dir().join("meta.json");
    let valid = br#"{"mission": "research", "target_branch": "main"}"#;
    write_file(&meta, valid);
    let mut daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let missing = daemon.overview(FEATURE)["missing_required_count"].clone();
    assert_ne!(missing, 0);
    for text in [&b""[..], br#"{"mission": "res"#, b"[]"] {
        write_file(&meta, text);
        for _ in 0..2 {
            let overview = wait_for("the invalid meta.json", || {
                let overview = daemon.overview(FEATURE);
                overview["meta_error"].as_str().is_some().then_some(overview)
            });
            assert!(overview["meta_error"].to_string().contains("meta.json:1:"), "{overview:#}");
            assert_eq!(overview["mission"], "research");
            assert_eq!(overview["completeness_status"], "unknown");
            // Also after a restart.
            daemon.stop();
            daemon = project.start_daemon();
        }
    }
    write_file(&meta, valid);
    wait_for("the valid meta.json", || {
        (daemon.overview(FEATURE)["missing_required_count"] == missing).then_some(())
    });
    let events = journal.read_new(&daemon);
    let changes = artifact_changes(&events);
    assert!(
        changes.iter().all(|change| *change == ("modified".into(), "meta.json".into())),
        "neither reclassified nor missing: {changes:#?}"
    );
    daemon.stop();
}

#[test]
fn restored_feature_gets_a_single_evaluation_of_all_files() {
    let project = Project::complete();
    for number in 0..200 {
        project.write(&format!("kitty-specs/{FEATURE}/research/{number}.md"), "note\n");
    }
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    accept_baseline(&project, &daemon);
    let away = project.home().join("away");
    fs::rename(project.feature_dir(), &away).unwrap();
    wait_for("the feature to be gone", || (features(&daemon)[0]["watch"] == "gone").then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    fs::rename(&away, project.feature_dir()).unwrap();
    let evaluations: Vec<Value> = assert_invariants(&project, &daemon, &mut journal)
        .into_iter()
        .filter(|event| event["event_type"] == "mission_dossier_snapshot_computed")
        .collect();
    assert_eq!(evaluations.len(), 1, "a single evaluation of all files: {evaluations:#?}");
    assert_eq!(daemon.overview(FEATURE)["drift"]["state"], "in_parity");
    daemon.stop();
}

#[test]
fn gone_feature_is_forgotten_when_its_baseline_is_removed() {
    let project = Project::complete();
    project.write("kitty-specs/002-y/spec.md", "other\n");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    accept_baseline(&project, &daemon);
    fs::remove_dir_all(project.feature_dir()).unwrap();
    wait_for("the feature to be gone", || (features(&daemon)[0]["watch"] == "gone").then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    let baseline = format!(".kittify/dossiers/{FEATURE}/parity-baseline.json");
    fs::remove_file(project.root.join(baseline)).unwrap();
    wait_for("the feature to be forgotten", || (features(&daemon).len() == 1).then_some(()));
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(features(&daemon).len(), 1, "it stays forgotten after a restart");
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

#[test]
fn gone_feature_without_baseline_is_forgotten_after_a_day() {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !std::path::Path::new(library).exists() {
        return not_run("a gone feature after a day (no libfaketime)");
    }
    let project = Project::complete();
    project.write("kitty-specs/002-y/spec.md", "other\n");
    let mut journal = JournalReader::default();
    let start_at = |time: &str| {
        let mut command = project.daemon_command();
        command.env("LD_PRELOAD", library).env("FAKETIME", time).env("DONT_FAKE_MONOTONIC", "1");
        let daemon = project.spawn_daemon(command);
        daemon.wait_until_ready();
        daemon
    };
    let daemon = start_at("+0d");
    assert_invariants(&project, &daemon, &mut journal);
    fs::remove_dir_all(project.feature_dir()).unwrap();
    wait_for("the feature to be gone", || (features(&daemon)[0]["watch"] == "gone").then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
    // The day is counted over restarts.
    let daemon = start_at("+23h");
    assert_eq!(features(&daemon).len(), 2);
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
    let daemon = start_at("+25h");
    wait_for("the feature to be forgotten", || (features(&daemon).len() == 1).then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

#[test]
fn root_missing_at_start_keeps_its_last_known_features() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let before = daemon.export(FEATURE)["artifact_summaries"].clone();
    daemon.stop();
    let away = project.root.with_extension("away");
    fs::rename(&project.root, &away).unwrap();
    // The command names no root; the configuration does, and the store has its features.
    let config = format!("projects:\n  - path: {}\n", project.root.display());
    let project = project.config(&config);
    let mut command = project.command(&["run"]);
    command.current_dir(project.home());
    let daemon = project.spawn_daemon(command);
    daemon.wait_until_ready();
    let status = daemon.status();
    assert_eq!(status["projects"][0]["watch"]["state"], "root_unavailable", "{status:#}");
    let feature = &status["projects"][0]["features"][0];
    assert_eq!(
        (&feature["feature_slug"], &feature["watch"]),
        (&json!(FEATURE), &json!("unreadable")),
        "{status:#}"
    );
    assert_eq!(daemon.export(FEATURE)["artifact_summaries"], before);
    assert_eq!(artifact_changes(&journal.read_new(&daemon)), []);
    fs::rename(&away, &project.root).unwrap();
    project.wait_for_watch(&daemon, "live");
    assert_eq!(artifact_changes(&assert_invariants(&project, &daemon, &mut journal)), []);
    daemon.stop();
}

#[test]
fn stop_does_not_wait_for_a_file_being_read() {
    let project = Project::complete().config("limits: {file_bytes: 1000000000000}\n");
    let daemon = project.start_daemon();
    // A sparse file needs no space on the disk, and reading it takes longer than any timeout here.
    let huge = fs::File::create(project.feature_dir().join("huge.bin")).unwrap();
    huge.set_len(100 << 30).unwrap();
    wait_for("the daemon to read the file", || {
        let shown = daemon.get_json("/api/status");
        (shown["projects"][0]["features"][0]["watch"] == "settling").then_some(())
    });
    daemon.stop();
}

#[test]
fn run_rejects_a_file_as_project_root() {
    let project = Project::complete();
    let file = project.feature_dir().join("spec.md");
    let mut command = project.command(&["run", file.to_str().unwrap()]);
    let output = command.env("XDG_RUNTIME_DIR", project.runtime_dir()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{stderr}");
    assert!(stderr.contains("spec.md"), "{stderr}");
    assert!(stderr.to_lowercase().contains("not a directory"), "{stderr}");
}

//! What the daemon makes of inputs that break while it runs, of features that go for good, and of
//! roots that are not there when it starts.

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

fn accept(project: &Project, daemon: &Daemon) {
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    wait_for("parity", || {
        (daemon.overview(FEATURE)["drift"]["state"] == "in_parity").then_some(())
    });
}

#[test]
fn a_manifest_that_breaks_leaves_the_last_good_one() {
    let project = Project::complete();
    let own = "mission_type: software-dev\nmanifest_version: '7'\nrequired_always:\n  \
               - {artifact_key: input.spec, artifact_class: input, path_pattern: spec.md}\n  \
               - {artifact_key: input.note, artifact_class: input, path_pattern: note.md}\n";
    project.write(MANIFEST, own);
    project.write(&format!("kitty-specs/{FEATURE}/note.md"), "x\n");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    accept(&project, &daemon);
    let before = daemon.export(FEATURE);
    journal.read_new(&daemon);
    project.write(MANIFEST, "mission_type: [\n");
    let broken = wait_for("the break", || {
        let shown = daemon.overview(FEATURE);
        (shown["completeness_status"] == "unknown").then_some(shown)
    });
    assert_eq!(broken["drift"]["state"], "in_parity", "{broken:#}");
    assert_eq!(daemon.export(FEATURE)["artifact_summaries"], before["artifact_summaries"]);
    assert_eq!(
        artifact_changes(&journal.read_new(&daemon)),
        [],
        "no artifact is another because of it"
    );
    let errors = &daemon.get_json("/api/status?sync=true")["projects"][0]["manifest_errors"];
    assert!(errors.to_string().contains("expected-artifacts.yaml"), "{errors:#}");
    project.write(MANIFEST, own);
    wait_for("the mend", || {
        (daemon.overview(FEATURE)["completeness_status"] == "complete").then_some(())
    });
    assert_eq!(artifact_changes(&assert_invariants(&project, &daemon, &mut journal)), []);
    daemon.stop();
}

#[test]
fn an_identity_that_breaks_leaves_the_last_good_one() {
    let project = Project::complete();
    let own = "project: {uuid: 0d6f4a0e-6a5c-4f0c-9a57-0f5f0b1f6d11, node_id: abcdef123456}\n";
    project.write(".kittify/config.yaml", own);
    let daemon = project.start_daemon();
    accept(&project, &daemon);
    project.write(".kittify/config.yaml", "project: [\n");
    let status = wait_for("the break", || {
        let status = daemon.get_json("/api/status?sync=true");
        let errors = status["projects"][0]["manifest_errors"].to_string();
        errors.contains("config.yaml").then_some(status)
    });
    assert_eq!(status["projects"][0]["project_uuid"], "0d6f4a0e-6a5c-4f0c-9a57-0f5f0b1f6d11");
    assert_eq!(daemon.overview(FEATURE)["drift"]["state"], "in_parity");
    project.write(".kittify/config.yaml", own);
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    daemon.stop();
}

#[test]
fn without_its_meta_json_a_feature_is_neither_clean_nor_drifted() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    accept(&project, &daemon);
    let meta = project.feature_dir().join("meta.json");
    let good = fs::read(&meta).ok();
    write_file(&meta, b"{");
    wait_for("the break", || {
        let drift = daemon.overview(FEATURE)["drift"]["state"].clone();
        assert_ne!(drift, "drifted");
        drift.is_null().then_some(())
    });
    match good {
        Some(good) => write_file(&meta, &good),
        None => fs::remove_file(&meta).unwrap(),
    }
    wait_for("the mend", || {
        (daemon.overview(FEATURE)["drift"]["state"] == "in_parity").then_some(())
    });
    daemon.stop();
}

#[test]
fn a_feature_that_returns_is_seen_whole() {
    let project = Project::complete();
    for number in 0..200 {
        project.write(&format!("kitty-specs/{FEATURE}/research/{number}.md"), "note\n");
    }
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    accept(&project, &daemon);
    let away = project.home().join("away");
    fs::rename(project.feature_dir(), &away).unwrap();
    wait_for("the loss", || (features(&daemon)[0]["watch"] == "gone").then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    fs::rename(&away, project.feature_dir()).unwrap();
    let verdicts: Vec<Value> = assert_invariants(&project, &daemon, &mut journal)
        .into_iter()
        .filter(|event| event["event_type"] == "mission_dossier_snapshot_computed")
        .collect();
    assert_eq!(verdicts.len(), 1, "one verdict, on all of it: {verdicts:#?}");
    assert_eq!(daemon.overview(FEATURE)["drift"]["state"], "in_parity");
    daemon.stop();
}

#[test]
fn a_feature_that_is_gone_leaves_when_its_baseline_does() {
    let project = Project::complete();
    project.write("kitty-specs/002-y/spec.md", "other\n");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    accept(&project, &daemon);
    fs::remove_dir_all(project.feature_dir()).unwrap();
    wait_for("the loss", || (features(&daemon)[0]["watch"] == "gone").then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    let baseline = format!(".kittify/dossiers/{FEATURE}/parity-baseline.json");
    fs::remove_file(project.root.join(baseline)).unwrap();
    wait_for("its end", || (features(&daemon).len() == 1).then_some(()));
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(features(&daemon).len(), 1, "nor does it come back");
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

#[test]
fn a_feature_that_is_gone_without_a_baseline_leaves_after_a_day() {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !std::path::Path::new(library).exists() {
        return not_run("a day (no libfaketime)");
    }
    let project = Project::complete();
    project.write("kitty-specs/002-y/spec.md", "other\n");
    let mut journal = JournalReader::default();
    let later = |time: &str| {
        let mut command = project.daemon_command();
        command.env("LD_PRELOAD", library).env("FAKETIME", time).env("DONT_FAKE_MONOTONIC", "1");
        let daemon = project.spawn_daemon(command);
        daemon.wait_until_ready();
        daemon
    };
    let daemon = later("+0d");
    assert_invariants(&project, &daemon, &mut journal);
    fs::remove_dir_all(project.feature_dir()).unwrap();
    wait_for("the loss", || (features(&daemon)[0]["watch"] == "gone").then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
    // The clock goes on over restarts.
    let daemon = later("+23h");
    assert_eq!(features(&daemon).len(), 2);
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
    let daemon = later("+25h");
    wait_for("its end", || (features(&daemon).len() == 1).then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

#[test]
fn a_root_that_is_not_there_at_the_start_has_the_features_it_had() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let before = daemon.export(FEATURE)["artifact_summaries"].clone();
    daemon.stop();
    let away = project.root.with_extension("away");
    fs::rename(&project.root, &away).unwrap();
    // No root is named: the store remembers it.
    let named = format!("projects:\n  - path: {}\n", project.root.display());
    let project = project.config(&named);
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
fn a_stop_waits_for_no_file_that_is_being_read() {
    let project = Project::complete().config("limits: {file_bytes: 1000000000000}\n");
    let daemon = project.start_daemon();
    // All holes: it takes no room, and longer to read than anything waits.
    let huge = fs::File::create(project.feature_dir().join("huge.bin")).unwrap();
    huge.set_len(100 << 30).unwrap();
    wait_for("the reading", || {
        let shown = daemon.get_json("/api/status");
        (shown["projects"][0]["features"][0]["watch"] == "settling").then_some(())
    });
    daemon.stop();
}

#[test]
fn a_file_is_no_project() {
    let project = Project::complete();
    let file = project.feature_dir().join("spec.md");
    let mut command = project.command(&["run", file.to_str().unwrap()]);
    let output = command.env("XDG_RUNTIME_DIR", project.runtime_dir()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("spec.md") && said.to_lowercase().contains("not a directory"), "{said}");
}

//! The snapshot file that the daemon writes into the project: content, frequency, faults.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, write_file};

/// Returns the path of the snapshot file of [`FEATURE`].
pub(crate) fn snapshot_file(project: &Project) -> std::path::PathBuf {
    project.root.join(format!(".kittify/dossiers/{FEATURE}/snapshot-latest.json"))
}

#[test]
fn snapshot_file_equals_the_export_and_is_written_at_most_once_a_second() {
    const BUSY: Duration = Duration::from_millis(2_500);
    let project = Project::complete();
    let daemon = project.start_daemon();
    let file = snapshot_file(&project);
    let read = || {
        let text = fs::read_to_string(&file).ok()?;
        // The file is always complete, because it is replaced by a rename.
        let snapshot: Value = serde_json::from_str(&text).unwrap();
        Some((snapshot, fs::metadata(&file).ok()?.modified().ok()?))
    };
    wait_for("the first snapshot file", read);
    let start = Instant::now();
    let mut written = std::collections::BTreeSet::new();
    let mut number = 0;
    while start.elapsed() < BUSY {
        number += 1;
        write_file(&project.feature_dir().join("spec.md"), format!("{number}").as_bytes());
        written.extend(read().map(|(_, at)| at));
        std::thread::sleep(Duration::from_millis(5));
    }
    // One before the loop, and one at the end of each second.
    let maximum = start.elapsed().as_secs() + 2;
    assert!((2..=maximum).contains(&(written.len() as u64)), "{} times", written.len());
    let export = daemon.export(FEATURE);
    wait_for("the file of the current state", || (read()?.0 == export).then_some(()));
    let (_, at) = read().unwrap();
    daemon.stop();
    project.start_daemon().stop();
    assert_eq!(read().unwrap().1, at, "an unchanged file is not written again");
    let valid = fs::read(&file).unwrap();
    let mut flipped = valid.clone();
    let (middle, end) = (valid.len() / 2, valid.len() - 1);
    flipped[middle] ^= 1;
    let more = [&valid[..], b" "].concat();
    let half = &valid[..middle];
    for damaged in [None, Some(half), Some(&flipped), Some(&valid[..end]), Some(&more), Some(b"")] {
        match damaged {
            Some(damaged) => fs::write(&file, damaged).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let daemon = project.start_daemon();
        let text = || fs::read(&file).unwrap_or_default();
        let equals_export =
            || Some(serde_json::from_slice::<Value>(&text()).ok()? == daemon.export(FEATURE));
        wait_for("the file to be written again", || {
            (text().ends_with(b"}\n") && equals_export()?).then_some(())
        });
        daemon.stop();
    }
}

#[test]
fn snapshot_file_is_updated_when_no_hash_or_count_changes() {
    const MANIFEST: &str = ".kittify/overrides/missions/software-dev/expected-artifacts.yaml";
    let manifest = |key: &str| {
        format!(
            "mission_type: software-dev\nrequired_always:\n  - {{artifact_key: {key}, \
             artifact_class: input, path_pattern: spec.md, blocking: true}}\n"
        )
    };
    let project = Project::complete().file(MANIFEST, manifest("input.one"));
    let link = |name: &str| project.feature_dir().join(name);
    std::os::unix::fs::symlink("nowhere", link("l1.md")).unwrap();
    let daemon = project.start_daemon();
    let file = || {
        let text = fs::read(snapshot_file(&project)).ok()?;
        let mut snapshot: Value = serde_json::from_slice(&text).unwrap();
        snapshot["computed_at"] = Value::Null;
        Some(snapshot)
    };
    let export = |daemon: &Daemon, shown: &str| {
        let mut export = daemon.export(FEATURE);
        export["computed_at"] = Value::Null;
        assert!(export.to_string().contains(&format!("\"{shown}\"")), "{export:#}");
        export
    };
    let wait_for_file = |daemon: &Daemon, shown: &str| {
        let export = export(daemon, shown);
        wait_for(&format!("the file to contain {shown}"), || (file()? == export).then_some(()));
    };
    wait_for_file(&daemon, "l1.md");
    fs::rename(link("l1.md"), link("l2.md")).unwrap();
    wait_for_file(&daemon, "l2.md");
    project.write(MANIFEST, manifest("input.two"));
    wait_for_file(&daemon, "input.two");
    // A missing artifact that is now expected at another path.
    fs::remove_file(project.feature_dir().join("spec.md")).unwrap();
    wait_for_file(&daemon, "input.two");
    project.write(MANIFEST, manifest("input.two").replace("spec.md", "other.md"));
    wait_for_file(&daemon, "other.md");
    // A stop writes the file at once.
    fs::rename(link("l2.md"), link("l3.md")).unwrap();
    let last = export(&daemon, "l3.md");
    daemon.stop();
    assert_eq!(file(), Some(last));
}

#[test]
fn unwritable_snapshot_file_is_reported_and_retried() {
    let project = Project::complete();
    let dir = project.root.join(".kittify/dossiers").join(FEATURE);
    write_file(&dir, b"a file\n");
    let daemon = project.start_daemon();
    let detail = || daemon.status()["projects"][0]["watch"]["detail"].as_str().map(str::to_owned);
    let reason = wait_for("the reason", detail);
    assert!(reason.starts_with("cannot write the snapshot file of 001-x: "), "{reason}");
    assert_eq!(daemon.status()["projects"][0]["watch"]["state"], "live");
    fs::remove_file(&dir).unwrap();
    write_file(&project.feature_dir().join("new.md"), b"new\n");
    wait_for("the reason to be removed", || detail().is_none().then_some(()));
    let file = dir.join("snapshot-latest.json");
    let written: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(written, daemon.export(FEATURE));
    daemon.stop();
}

#[test]
fn snapshot_has_the_id_and_time_of_its_event_over_restarts() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let scanned =
        |daemon: &Daemon| daemon.overview(FEATURE)["last_scanned_at"].as_str().unwrap().to_owned();
    let before = (daemon.export(FEATURE), scanned(&daemon));
    write_file(&project.feature_dir().join("new.md"), b"new\n");
    let events = assert_invariants(&project, &daemon, &mut journal);
    let export = daemon.export(FEATURE);
    let event = events.iter().rfind(|event| event["payload"]["snapshot_id"].is_string()).unwrap();
    assert_eq!(export["snapshot_id"], event["payload"]["snapshot_id"]);
    assert_eq!(export["computed_at"], event["emitted_at"]);
    assert!(export["computed_at"].as_str() > before.0["computed_at"].as_str());
    let now = scanned(&daemon);
    assert!(now > before.1, "{now} after {}", before.1);
    project.run_client(&["rescan"]).assert_success();
    assert_eq!(daemon.export(FEATURE), export, "a rescan without changes computes no new snapshot");
    daemon.stop();

    let file = project.root.join(format!(".kittify/dossiers/{FEATURE}/snapshot-latest.json"));
    let written = || -> Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    assert_eq!(written(), export);
    let daemon = project.start_daemon();
    assert_eq!(daemon.export(FEATURE), export, "a restart computes no new snapshot");
    daemon.stop();
    assert_eq!(written(), export);
}

#[test]
fn removal_of_a_project_that_was_just_edited_succeeds_and_nothing_returns() {
    const PROJECTS: usize = 40;
    const FEATURES: usize = 12;
    let project = Project::complete();
    let roots: Vec<_> = (0..PROJECTS)
        .map(|number| {
            let root = project.home().join(format!("projects/p{number:02}"));
            for feature in 0..FEATURES {
                let dir = root.join(format!("kitty-specs/{feature:03}-x"));
                write_file(&dir.join("spec.md"), b"# Spec\n");
                write_file(&dir.join("tasks/WP01.md"), b"# Task\n");
            }
            root.canonicalize().unwrap()
        })
        .collect();
    let dirs: Vec<&std::path::Path> = roots.iter().map(std::path::PathBuf::as_path).collect();
    let daemon = project.start_daemon_over(&dirs);
    let files = || {
        let file = |root: &std::path::PathBuf, feature: usize| {
            root.join(format!(".kittify/dossiers/{feature:03}-x/snapshot-latest.json"))
        };
        roots.iter().all(|root| (0..FEATURES).all(|feature| file(root, feature).exists()))
    };
    wait_for("all snapshot files", || files().then_some(()));
    for root in &roots {
        let seq = daemon.get_json("/api/status")["seq"].as_u64().unwrap();
        for feature in 0..FEATURES {
            let spec = root.join(format!("kitty-specs/{feature:03}-x/spec.md"));
            write_file(&spec, b"# Another spec\n");
        }
        // The features are evaluated: now their files are to be written.
        wait_for("the events", || {
            let now = daemon.get_json("/api/status")["seq"].as_u64().unwrap();
            (now >= seq + 2 * FEATURES as u64).then_some(())
        });
        let removed = std::process::Command::new("rm").arg("-rf").arg(root).output().unwrap();
        assert!(removed.status.success(), "{removed:?}");
    }
    let is_away = |shown: &Value| shown["watch"]["state"] == "root_unavailable";
    wait_for("all roots to be unavailable", || {
        let status = daemon.get_json("/api/status");
        let projects = status["projects"].as_array().unwrap();
        (projects.iter().filter(|shown| is_away(shown)).count() == PROJECTS).then_some(())
    });
    daemon.stop();
    for root in &roots {
        assert!(!root.exists(), "{} is there again", root.display());
    }
}

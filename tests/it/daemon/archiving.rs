//! Which archived feature a missing one was moved to: the same directory, or else one with equal files.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::layouts::shown;
use crate::support::process::Daemon;
use crate::support::{Project, copy_dir};

const ACTIVE: &str = "openspec/changes";
const ARCHIVE: &str = "openspec/changes/archive";

fn project(changes: &[(&str, &str)]) -> Project {
    let empty = Project::empty().file("openspec/project.md", "# Project\n");
    let project = changes.iter().fold(empty, |project, (name, text)| {
        project
            .file(&format!("{ACTIVE}/{name}/proposal.md"), text)
            .file(&format!("{ACTIVE}/{name}/specs/a/spec.md"), "# Spec\n")
            .file(&format!("{ACTIVE}/{name}/tasks.md"), "- [ ] a\n")
    });
    fs::create_dir(project.root.join(ARCHIVE)).unwrap();
    project
}

fn archived(project: &Project, name: &str) -> std::path::PathBuf {
    project.root.join(ARCHIVE).join(name)
}

fn rename(project: &Project, from: &str, to: &str) {
    fs::rename(project.root.join(ACTIVE).join(from), archived(project, to)).unwrap();
}

/// Writes a file as editors do: another one is renamed to its name.
fn replace(path: &Path, text: &str) {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, text).unwrap();
    fs::rename(temporary, path).unwrap();
}

/// Returns which features were moved, as `now was former`, and those of which files were deleted; sorted.
fn moves(project: &Project, daemon: &Daemon) -> (Vec<String>, Vec<String>) {
    shown(daemon);
    let events = |kind: &str| project.run_client(&["events", "--json", "--type", kind]).lines();
    let former = |event: &Value| {
        let payload = &event["payload"];
        let former = payload["previous_feature_slug"].as_str()?;
        Some(format!("{} was {former}", payload["feature_slug"].as_str().unwrap()))
    };
    let deleted = |event: &Value| {
        let payload = &event["payload"];
        let is_deletion = payload["reason_code"] == "deleted_after_scan";
        is_deletion.then(|| payload["feature_slug"].as_str().unwrap().to_owned())
    };
    let sorted = |mut all: Vec<String>| {
        all.sort();
        all.dedup();
        all
    };
    let moved = events("snapshot_computed").iter().filter_map(former).collect();
    let deleted = events("artifact_missing").iter().filter_map(deleted).collect();
    (sorted(moved), sorted(deleted))
}

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

#[test]
fn a_move_with_edits_is_recognised_by_the_directory_live_and_between_two_runs() {
    let project = project(&[("live", "# Live\n"), ("later", "# Later\n")]);
    let edit = |name: &str| {
        rename(&project, name, &format!("2026-01-02-{name}"));
        let dir = archived(&project, &format!("2026-01-02-{name}"));
        replace(&dir.join("proposal.md"), "# Another proposal\n");
        replace(&dir.join("tasks.md"), "- [x] b\n");
        fs::remove_dir_all(dir.join("specs")).unwrap();
    };
    let daemon = project.start_daemon();
    assert_eq!(shown(&daemon).len(), 2);
    edit("live");
    let live = "archive/2026-01-02-live was live";
    assert_eq!(moves(&project, &daemon), (strings(&[live]), vec![]));
    daemon.stop();
    edit("later");
    let daemon = project.start_daemon();
    let later = "archive/2026-01-02-later was later";
    assert_eq!(moves(&project, &daemon), (strings(&[later, live]), vec![]));
    daemon.stop();
}

#[test]
fn a_copy_is_recognised_by_its_content_and_else_is_a_deletion() {
    let project =
        project(&[("same", "# Same\n"), ("ticked", "# Ticked\n"), ("edited", "# Edited\n")]);
    let daemon = project.start_daemon();
    assert_eq!(shown(&daemon).len(), 3);
    // While it runs, the files of a copy that is made slowly are deleted one by one.
    daemon.stop();
    for (name, to) in [("same", "same"), ("ticked", "ticked"), ("edited", "of-another-name")] {
        let to = archived(&project, to);
        copy_dir(&project.root.join(ACTIVE).join(name), &to);
        match name {
            "ticked" => fs::write(to.join("tasks.md"), "- [x] a\n").unwrap(),
            "edited" => fs::write(to.join("proposal.md"), "# Edited again\n").unwrap(),
            _ => {}
        }
        fs::remove_dir_all(project.root.join(ACTIVE).join(name)).unwrap();
    }
    let daemon = project.start_daemon();
    let expected = ["archive/same was same", "archive/ticked was ticked"];
    assert_eq!(moves(&project, &daemon), (strings(&expected), strings(&["edited"])));
    daemon.stop();
}

#[test]
fn each_of_two_equal_features_is_the_one_that_was_moved_there() {
    for is_moved in [true, false] {
        let project = project(&[("a", "# Equal\n"), ("b", "# Equal\n")]);
        let mut daemon = Some(project.start_daemon());
        assert_eq!(shown(daemon.as_ref().unwrap()).len(), 2);
        if !is_moved {
            daemon.take().unwrap().stop();
        }
        // Their names in the archive count where they are copied, and not where they are moved.
        let to =
            if is_moved { [("a", "second"), ("b", "first")] } else { [("a", "a"), ("b", "b")] };
        for (name, to) in to {
            if is_moved {
                rename(&project, name, to);
            } else {
                copy_dir(&project.root.join(ACTIVE).join(name), &archived(&project, to));
            }
        }
        if !is_moved {
            for (name, _) in to {
                fs::remove_dir_all(project.root.join(ACTIVE).join(name)).unwrap();
            }
        }
        let mut expected = to.map(|(name, to)| format!("archive/{to} was {name}")).to_vec();
        expected.sort();
        let daemon = daemon.unwrap_or_else(|| project.start_daemon());
        assert_eq!(moves(&project, &daemon), (expected, vec![]), "moved: {is_moved}");
        daemon.stop();
    }
}

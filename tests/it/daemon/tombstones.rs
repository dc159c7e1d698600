//! What the list keeps of deleted files: how many, which, and until when.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project};

/// Most tombstones of a feature.
const MOST: usize = 1_000;

/// Paths of the tombstones, once all that changed is seen.
fn tombstones(daemon: &Daemon) -> BTreeSet<String> {
    let list = daemon.get_json(&format!("/api/dossier/artifacts?feature={FEATURE}&sync=true"));
    let artifacts = list["artifacts"].as_array().unwrap();
    let dead = artifacts.iter().filter(|item| item["error_reason"] == "deleted_after_scan");
    let path = |item: &Value| item["relative_path"].as_str().unwrap().to_owned();
    let paths: BTreeSet<String> = dead.map(path).collect();
    assert_eq!(list["tombstones"], paths.len());
    paths
}

fn delete(project: &Project, paths: &[String]) {
    for path in paths {
        fs::remove_file(project.feature_dir().join(path)).unwrap();
    }
}

#[test]
fn of_very_many_the_oldest_go_first_and_do_not_come_back() {
    let project = Project::complete().artifact("zz.md", "first");
    let names: Vec<String> = (0..MOST + 200).map(|n| format!("notes/a{n:04}.md")).collect();
    for name in &names {
        project.write(&format!("kitty-specs/{FEATURE}/{name}"), name);
    }
    let daemon = project.start_daemon();
    delete(&project, &["zz.md".to_owned()]);
    wait_for("the first", || tombstones(&daemon).contains("zz.md").then_some(()));
    delete(&project, &names[200..]);
    wait_for("as many as are kept", || {
        let found = tombstones(&daemon);
        (found.iter().eq(&names[200..])).then_some(())
    });
    delete(&project, &names[..200]);
    wait_for("the last", || (tombstones(&daemon).contains(&names[199])).then_some(()));
    let kept = tombstones(&daemon);
    assert_eq!(kept.len(), MOST);
    assert!(names[..200].iter().all(|name| kept.contains(name)), "the newest are kept");
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(tombstones(&daemon), kept);
    daemon.stop();
}

#[test]
fn a_baseline_that_is_accepted_while_no_daemon_runs_ends_them() {
    let project = Project::complete().artifact("old.md", "1").artifact("then.md", "2");
    let project = project.artifact("later.md", "3");
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    let daemon = project.start_daemon();
    delete(&project, &["old.md".to_owned()]);
    wait_for("it", || (!tombstones(&daemon).is_empty()).then_some(()));
    daemon.stop();
    // Nothing was accepted meanwhile.
    let daemon = project.start_daemon();
    assert_eq!(tombstones(&daemon), ["old.md".to_owned()].into());
    daemon.stop();
    // What went before the acceptance is accepted as gone, what went after it is not.
    delete(&project, &["then.md".to_owned()]);
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    delete(&project, &["later.md".to_owned()]);
    let daemon = project.start_daemon();
    assert_eq!(tombstones(&daemon), ["later.md".to_owned()].into());
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(tombstones(&daemon), ["later.md".to_owned()].into());
    daemon.stop();
}

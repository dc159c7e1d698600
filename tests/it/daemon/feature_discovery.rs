//! Features that are created, changed and deleted below wildcards, inside other features, or where
//! a file replaces a parent directory. After each change the invariants are checked.

use std::fs;
use std::path::Path;

use crate::support::Project;
use crate::support::invariants::{JournalReader, artifact_changes, assert_invariants};
use crate::support::process::Daemon;

/// Creates a project whose configuration has these feature patterns.
fn with_patterns(patterns: &str) -> Project {
    Project::new().config(&format!("projects: [{{path: ROOT, features: {patterns}}}]\n"))
}

/// Returns slug and watch state of each feature.
fn features(daemon: &Daemon) -> Vec<String> {
    let status = daemon.status();
    assert_eq!(status["synced"], "cookie");
    let project = &status["projects"][0];
    assert_eq!(project["watch"]["state"], "live", "{project:#}");
    let features = project["features"].as_array().unwrap();
    let text = |feature: &serde_json::Value, name: &str| feature[name].as_str().unwrap().to_owned();
    features
        .iter()
        .map(|feature| format!("{} {}", text(feature, "feature_slug"), text(feature, "watch")))
        .collect()
}

/// Returns the number of watched directories.
fn watched_dirs(daemon: &Daemon) -> u64 {
    daemon.status()["projects"][0]["watch"]["watched"].as_u64().unwrap()
}

#[test]
fn features_below_wildcards_are_found_when_created_and_gone_when_deleted() {
    for patterns in ["['teams/*/specs/*']", "['teams/*/*s/00*', 'none/*']", "['**/specs/*']"] {
        let project = with_patterns(patterns);
        fs::create_dir_all(project.root.join("teams/there")).unwrap();
        let daemon = project.start_daemon();
        let mut journal = JournalReader::default();
        let mut check = |expect: &[&str]| {
            assert_invariants(&project, &daemon, &mut journal);
            assert_eq!(features(&daemon), expect, "{patterns}");
        };
        check(&[]);
        fs::create_dir(project.root.join("teams/a")).unwrap();
        check(&[]);
        // Each feature is found although only the directory above the wildcard existed.
        project.write("teams/a/specs/001-x/spec.md", "1");
        check(&["001-x live"]);
        project.write("teams/there/specs/002-y/spec.md", "2");
        check(&["001-x live", "002-y live"]);
        project.write("teams/a/specs/001-x/tasks/WP01.md", "1");
        fs::remove_dir_all(project.root.join("teams/there/specs")).unwrap();
        check(&["001-x live", "002-y gone"]);
        fs::rename(project.root.join("teams/a"), project.root.join("teams/b")).unwrap();
        project.write("teams/b/specs/001-x/plan.md", "moved");
        check(&["001-x live", "002-y gone"]);
        project.write("teams/there/specs/002-y/spec.md", "again");
        project.write("teams/b/specs/003-z/spec.md", "3");
        check(&["001-x live", "002-y live", "003-z live"]);
    }
}

#[test]
fn hidden_directories_below_wildcards_are_not_watched() {
    let project = with_patterns("['**/specs/*']");
    for number in 0..50 {
        project.write(&format!(".git/objects/{number}/specs/x/spec.md"), "x");
    }
    project.write("a/specs/001-x/spec.md", "1");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(features(&daemon), ["001-x live"]);
    assert!(watched_dirs(&daemon) < 20, "{}", watched_dirs(&daemon));
}

#[test]
fn file_replacing_a_parent_directory_removes_only_its_features() {
    let project = with_patterns("['kitty-specs/*', 'teams/*/specs/*']");
    project.write("kitty-specs/001-x/spec.md", "1");
    project.write("teams/a/specs/002-y/spec.md", "2");
    project.write("teams/b/specs/003-z/spec.md", "3");
    let mut daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let replace_with_file = |dir: &Path| {
        fs::remove_dir_all(dir).unwrap();
        fs::write(dir, "a file\n").unwrap();
    };
    for (dir, file, gone) in [
        ("kitty-specs", "kitty-specs/001-x/spec.md", ["001-x gone", "002-y live", "003-z live"]),
        (
            "teams/a/specs",
            "teams/a/specs/002-y/spec.md",
            ["001-x live", "002-y gone", "003-z live"],
        ),
    ] {
        for stopped in [false, true] {
            if stopped {
                daemon.stop();
                replace_with_file(&project.root.join(dir));
                daemon = project.start_daemon();
            } else {
                replace_with_file(&project.root.join(dir));
            }
            let new = assert_invariants(&project, &daemon, &mut journal);
            assert_eq!(features(&daemon), gone, "stopped: {stopped}");
            let deletion = ("deleted_after_scan".to_owned(), "spec.md".to_owned());
            assert_eq!(
                artifact_changes(&new).iter().filter(|change| **change == deletion).count(),
                1
            );
            // A restart with the file still there.
            project.write("teams/b/specs/003-z/plan.md", dir);
            assert_invariants(&project, &daemon, &mut journal);
            fs::remove_file(project.root.join(dir)).unwrap();
            project.write(file, "back\n");
            assert_invariants(&project, &daemon, &mut journal);
            assert_eq!(features(&daemon), ["001-x live", "002-y live", "003-z live"]);
        }
    }
    daemon.stop();
}

#[test]
fn change_in_nested_features_is_reported_in_both() {
    for (patterns, inner) in [
        ("['kitty-specs/*', 'kitty-specs/*/sub/*']", "900-inner"),
        ("['kitty-specs/*', 'kitty-specs/*/sub/*']", "000-inner"),
        ("['kitty-specs/**']", "900-inner"),
    ] {
        eprintln!("{patterns}, {inner}");
        let project = with_patterns(patterns);
        let outer = project.root.join("kitty-specs/500-outer");
        let at = |path: &str| format!("kitty-specs/500-outer/{path}");
        project.write(&at("spec.md"), "1");
        project.write(&at(&format!("sub/{inner}/spec.md")), "1");
        let daemon = project.start_daemon();
        let mut journal = JournalReader::default();
        assert_invariants(&project, &daemon, &mut journal);
        let assert_events_of_both = |journal: &mut JournalReader, change: &str| {
            let new = assert_invariants(&project, &daemon, journal);
            let slugs: Vec<&str> =
                new.iter().map(|event| event["feature_slug"].as_str().unwrap()).collect();
            for slug in ["500-outer", inner] {
                assert!(slugs.contains(&slug), "{change}: no event of {slug}");
            }
        };
        project.write(&at(&format!("sub/{inner}/spec.md")), "2");
        assert_events_of_both(&mut journal, "an edit");
        project.write(&at(&format!("sub/{inner}/tasks/deep/WP01.md")), "2");
        assert_events_of_both(&mut journal, "a new directory");
        project.write(&at(&format!("sub/{inner}/tasks/deep/WP01.md")), "3");
        assert_events_of_both(&mut journal, "an edit in the new directory");
        fs::rename(outer.join("sub"), project.home().join("sub")).unwrap();
        assert_events_of_both(&mut journal, "a directory moved away");
        fs::rename(project.home().join("sub"), outer.join("sub")).unwrap();
        assert_events_of_both(&mut journal, "a directory moved back");
        project.write(&at(&format!("sub/{inner}/tasks/deep/WP01.md")), "4");
        assert_events_of_both(&mut journal, "an edit in the directory moved back");
        // A feature that is created inside another.
        project.write(&at("sub/901-late/spec.md"), "1");
        assert_invariants(&project, &daemon, &mut journal);
        project.write(&at("sub/901-late/spec.md"), "2");
        assert_invariants(&project, &daemon, &mut journal);
        fs::remove_dir_all(outer.join("sub").join(inner)).unwrap();
        assert_events_of_both(&mut journal, "a deletion");
        fs::remove_dir_all(&outer).unwrap();
        assert_invariants(&project, &daemon, &mut journal);
    }
}

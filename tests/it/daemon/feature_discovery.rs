//! Where features may lie and the daemon must see them come, change and go: below wildcards, in one
//! another, with something else in their way. Each is held against a fresh scan and the journal.

use std::fs;
use std::path::Path;

use crate::support::Project;
use crate::support::invariants::{JournalReader, artifact_changes, assert_invariants};
use crate::support::process::Daemon;

fn with_patterns(patterns: &str) -> Project {
    Project::new().config(&format!("projects: [{{path: ROOT, features: {patterns}}}]\n"))
}

fn slugs(daemon: &Daemon) -> Vec<String> {
    let status = daemon.status();
    assert_eq!(status["synced"], "cookie");
    let project = &status["projects"][0];
    assert_eq!(project["watch"]["state"], "live", "{project:#}");
    let features = project["features"].as_array().unwrap();
    let text = |feature: &serde_json::Value, name: &str| feature[name].as_str().unwrap().to_owned();
    features
        .iter()
        .map(|one| format!("{} {}", text(one, "feature_slug"), text(one, "watch")))
        .collect()
}

fn watched(daemon: &Daemon) -> u64 {
    daemon.status()["projects"][0]["watch"]["watched"].as_u64().unwrap()
}

#[test]
fn features_below_wildcards_come_and_go() {
    for patterns in ["['teams/*/specs/*']", "['teams/*/*s/00*', 'none/*']", "['**/specs/*']"] {
        let project = with_patterns(patterns);
        fs::create_dir_all(project.root.join("teams/there")).unwrap();
        let daemon = project.start_daemon();
        let mut journal = JournalReader::default();
        let mut holds = |expect: &[&str]| {
            assert_invariants(&project, &daemon, &mut journal);
            assert_eq!(slugs(&daemon), expect, "{patterns}");
        };
        holds(&[]);
        fs::create_dir(project.root.join("teams/a")).unwrap();
        holds(&[]);
        // Each is seen though nothing of the pattern was there but the directory above.
        project.write("teams/a/specs/001-x/spec.md", "1");
        holds(&["001-x live"]);
        project.write("teams/there/specs/002-y/spec.md", "2");
        holds(&["001-x live", "002-y live"]);
        project.write("teams/a/specs/001-x/tasks/WP01.md", "1");
        fs::remove_dir_all(project.root.join("teams/there/specs")).unwrap();
        holds(&["001-x live", "002-y gone"]);
        fs::rename(project.root.join("teams/a"), project.root.join("teams/b")).unwrap();
        project.write("teams/b/specs/001-x/plan.md", "moved");
        holds(&["001-x live", "002-y gone"]);
        project.write("teams/there/specs/002-y/spec.md", "again");
        project.write("teams/b/specs/003-z/spec.md", "3");
        holds(&["001-x live", "002-y live", "003-z live"]);
    }
}

#[test]
fn hidden_folders_on_the_way_to_features_are_not_watched() {
    let project = with_patterns("['**/specs/*']");
    for number in 0..50 {
        project.write(&format!(".git/objects/{number}/specs/x/spec.md"), "x");
    }
    project.write("a/specs/001-x/spec.md", "1");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(slugs(&daemon), ["001-x live"]);
    assert!(watched(&daemon) < 20, "{}", watched(&daemon));
}

#[test]
fn a_file_in_the_way_of_features_takes_only_those_along() {
    let project = with_patterns("['kitty-specs/*', 'teams/*/specs/*']");
    project.write("kitty-specs/001-x/spec.md", "1");
    project.write("teams/a/specs/002-y/spec.md", "2");
    project.write("teams/b/specs/003-z/spec.md", "3");
    let mut daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let block = |folder: &Path| {
        fs::remove_dir_all(folder).unwrap();
        fs::write(folder, "in the way\n").unwrap();
    };
    for (folder, file, gone) in [
        ("kitty-specs", "kitty-specs/001-x/spec.md", ["001-x gone", "002-y live", "003-z live"]),
        (
            "teams/a/specs",
            "teams/a/specs/002-y/spec.md",
            ["001-x live", "002-y gone", "003-z live"],
        ),
    ] {
        for down in [false, true] {
            if down {
                daemon.stop();
                block(&project.root.join(folder));
                daemon = project.start_daemon();
            } else {
                block(&project.root.join(folder));
            }
            let new = assert_invariants(&project, &daemon, &mut journal);
            assert_eq!(slugs(&daemon), gone, "down: {down}");
            let deletion = ("deleted_after_scan".to_owned(), "spec.md".to_owned());
            assert_eq!(
                artifact_changes(&new).iter().filter(|change| **change == deletion).count(),
                1
            );
            // With the file still there.
            project.write("teams/b/specs/003-z/plan.md", folder);
            assert_invariants(&project, &daemon, &mut journal);
            fs::remove_file(project.root.join(folder)).unwrap();
            project.write(file, "back\n");
            assert_invariants(&project, &daemon, &mut journal);
            assert_eq!(slugs(&daemon), ["001-x live", "002-y live", "003-z live"]);
        }
    }
    daemon.stop();
}

#[test]
fn what_lies_in_two_features_is_seen_in_both() {
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
        let of_both = |journal: &mut JournalReader, what: &str| {
            let new = assert_invariants(&project, &daemon, journal);
            let slugs: Vec<&str> =
                new.iter().map(|event| event["feature_slug"].as_str().unwrap()).collect();
            for slug in ["500-outer", inner] {
                assert!(slugs.contains(&slug), "{what}: no event of {slug}");
            }
        };
        project.write(&at(&format!("sub/{inner}/spec.md")), "2");
        of_both(&mut journal, "an edit");
        project.write(&at(&format!("sub/{inner}/tasks/deep/WP01.md")), "2");
        of_both(&mut journal, "a new folder");
        project.write(&at(&format!("sub/{inner}/tasks/deep/WP01.md")), "3");
        of_both(&mut journal, "an edit in it");
        fs::rename(outer.join("sub"), project.home().join("sub")).unwrap();
        of_both(&mut journal, "a folder that goes");
        fs::rename(project.home().join("sub"), outer.join("sub")).unwrap();
        of_both(&mut journal, "a folder that comes back");
        project.write(&at(&format!("sub/{inner}/tasks/deep/WP01.md")), "4");
        of_both(&mut journal, "an edit in it afterwards");
        // A feature that begins in another.
        project.write(&at("sub/901-late/spec.md"), "1");
        assert_invariants(&project, &daemon, &mut journal);
        project.write(&at("sub/901-late/spec.md"), "2");
        assert_invariants(&project, &daemon, &mut journal);
        fs::remove_dir_all(outer.join("sub").join(inner)).unwrap();
        of_both(&mut journal, "a deletion");
        fs::remove_dir_all(&outer).unwrap();
        assert_invariants(&project, &daemon, &mut journal);
    }
}

//! Rules of use that hold for many commands: reasons, words, notes, and which project a command is about.

use std::fs;

use crate::support::{CommandOutput, FEATURE, Project, bakery_dir};

/// Returns all that a command printed.
fn printed(output: &CommandOutput) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

#[test]
fn unknown_completeness_is_explained_by_every_command() {
    let meta = format!("kitty-specs/{FEATURE}/meta.json");
    let project = Project::complete().file(&meta, "{\"mission\": \"researches\"}");
    let reason = "no manifest for mission `researches`; did you mean `research`?";
    for with_daemon in [false, true] {
        let daemon = with_daemon.then(|| project.start_daemon());
        for arguments in [
            &["status", FEATURE][..],
            &["status", "--problems"],
            &["status", "--json"],
            &["scan"],
            &["check"],
            &["check", "--format", "github"],
            &["doctor"],
            &["log", FEATURE],
            &["report", FEATURE, "-o", "-"],
            &["drift", FEATURE],
        ] {
            let text = printed(&project.run_client(arguments));
            assert!(text.contains(reason), "{arguments:?} with a daemon: {with_daemon}\n{text}");
        }
        drop(daemon);
    }
}

#[test]
fn commands_in_a_project_are_about_it() {
    let (here, other) = (Project::complete(), Project::copy_of(&bakery_dir()));
    let daemon = here.start_daemon_over(&[&here.root, &other.root]);
    daemon.wait_until_ready();
    let other_feature = "002-loyalty-card";
    let run = |arguments: &[&str]| here.run_client(arguments).assert_success().stdout;
    for arguments in [&["events"][..], &["events", "--json"], &["verify"]] {
        let text = run(arguments);
        assert!(!text.contains(other_feature), "{arguments:?}\n{text}");
    }
    let outside = here.home();
    let all = run(&["-C", outside.to_str().unwrap(), "events"]);
    assert!(all.contains(FEATURE) && all.contains(other_feature), "{all}");
    let status = run(&["status"]);
    assert!(status.find(FEATURE) < status.find(other_feature), "its own project first\n{status}");
    daemon.stop();
}

#[test]
fn tables_and_summaries_have_the_same_words() {
    let project = Project::copy_of(&bakery_dir());
    let drift = project.run(&["drift", "003-delivery-slots"]).assert_success().stdout;
    let table = drift.split_once("KIND ").unwrap().1.lines().skip(1);
    let mut kinds: Vec<&str> = table.filter_map(|row| row.split(' ').next()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["added", "changed", "missing"]);
    let status = project.run(&["status", "003-delivery-slots"]).assert_success().stdout;
    for kind in kinds {
        assert!(status.lines().any(|line| line.trim_start().starts_with(kind)), "{kind}\n{status}");
        assert!(drift.lines().nth(1).unwrap().contains(kind), "the summary\n{drift}");
    }
    for table in [&["status"][..], &["scan"]] {
        let text = project.run(table).assert_success().stdout;
        let heading = text.lines().find(|line| line.contains("FEATURE")).unwrap();
        assert!(heading.contains("ARTIFACTS") && !heading.contains("FILES"), "{heading}");
    }
}

#[test]
fn one_note_says_that_nothing_is_watched() {
    let project = Project::complete();
    let other = Project::complete();
    for with_daemon in [false, true] {
        let daemon = with_daemon.then(|| {
            let daemon = project.start_daemon_over(&[&other.root]);
            project.run_client(&["project", "remove", "."]).assert_success();
            daemon
        });
        for arguments in [
            &["status"][..],
            &["status", FEATURE],
            &["artifacts", FEATURE],
            &["show", FEATURE, "spec.md"],
            &["drift", FEATURE],
            &["log", FEATURE],
            &["baseline", "show", FEATURE],
        ] {
            let stderr = project.run_client(arguments).stderr;
            let notes = stderr.lines().filter(|line| line.starts_with("note:")).count();
            assert_eq!(notes, 1, "{arguments:?} with a daemon: {with_daemon}\n{stderr}");
        }
        drop(daemon);
    }
}

#[test]
fn a_printed_tree_hash_can_be_given_to_accept() {
    let project = Project::complete();
    let status = project.run(&["status", FEATURE]).assert_success().stdout;
    let shown = status.lines().find_map(|line| line.strip_prefix("tree ")).unwrap().trim();
    let accept = |tree: &str| project.run(&["baseline", "accept", FEATURE, "--tree", tree]);
    let accepted = accept(shown).assert_success().stdout;
    let printed = accepted.trim_end().rsplit(' ').next().unwrap();
    assert_eq!(printed, shown);
    accept(printed).assert_success();
    fs::write(project.feature_dir().join("spec.md"), "# Other\n").unwrap();
    accept(printed).assert_failure(1, "cannot accept the state: its tree hash is");
}

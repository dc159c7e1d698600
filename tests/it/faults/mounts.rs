//! Mounts below the root of a project: they come, leave and hide files.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::fuse::FuseMount;
use crate::support::invariants::{JournalReader, artifact_changes, assert_invariants};
use crate::support::kernel::{Mount, is_root};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, find_artifact, write_file};

fn watch_of_feature(daemon: &Daemon) -> String {
    let status = daemon.status();
    let feature = &status["projects"][0]["features"][0];
    feature["watch"].as_str().unwrap_or("-").to_owned()
}

fn wait_for_feature(daemon: &Daemon, watch: &str) {
    wait_for(&format!("watch `{watch}` of the feature"), || {
        (watch_of_feature(daemon) == watch).then_some(())
    });
}

/// Moves the content of a directory elsewhere and mounts it there, as the same file system or another.
fn move_to_mount(dir: &Path, source: &Path, is_other: bool) -> Mount {
    fs::create_dir_all(source).unwrap();
    let other = is_other.then(|| Mount::new(&["-t", "tmpfs", "none"], source));
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name();
        let (from, to) = (dir.join(&name), source.join(&name));
        let status = std::process::Command::new("mv").arg(&from).arg(&to).status().unwrap();
        assert!(status.success(), "{}", from.display());
    }
    let mount = Mount::new(&["--bind", source.to_str().unwrap()], dir);
    // The bind mount keeps the file system; its first mount ends with the test.
    std::mem::forget(other);
    mount
}

#[test]
fn feature_whose_file_system_is_unmounted_is_unavailable_and_returns_unchanged() {
    if !is_root("mounts below a root") {
        return;
    }
    for (below, is_other) in [
        ("kitty-specs".to_owned(), false),
        ("kitty-specs".to_owned(), true),
        (format!("kitty-specs/{FEATURE}"), false),
        (format!("kitty-specs/{FEATURE}"), true),
    ] {
        let project = Project::complete();
        // Something that is always there, so that the root does not look empty.
        project.write("README.md", "# Project\n");
        let (dir, source) = (project.root.join(&below), project.home().join("source"));
        let mounted = move_to_mount(&dir, &source, is_other);
        let mut daemon = project.start_daemon();
        let mut journal = JournalReader::default();
        assert_invariants(&project, &daemon, &mut journal);

        mounted.unmount();
        wait_for_feature(&daemon, "unavailable");
        // Also after a start while it is not mounted.
        daemon.stop();
        daemon = project.start_daemon();
        wait_for_feature(&daemon, "unavailable");
        let changes = artifact_changes(&journal.read_new(&daemon));
        let deleted = |(change, _): &&(String, String)| change == "deleted_after_scan";
        assert_eq!(changes.iter().find(deleted), None, "{below} {changes:?}");

        let feature = if below == "kitty-specs" { source.join(FEATURE) } else { source.clone() };
        write_file(&feature.join("research/new.md"), b"new\n");
        let mounted = Mount::new(&["--bind", source.to_str().unwrap()], &dir);
        wait_for_feature(&daemon, "live");
        assert_invariants(&project, &daemon, &mut journal);
        // It is watched again, and a deletion is one again.
        write_file(&feature.join("research/new.md"), b"changed\n");
        let changes = artifact_changes(&assert_invariants(&project, &daemon, &mut journal));
        assert_eq!(changes, [("modified".to_owned(), "research/new.md".to_owned())], "{below}");
        fs::remove_file(feature.join("research/new.md")).unwrap();
        let changes = artifact_changes(&assert_invariants(&project, &daemon, &mut journal));
        let deleted = ("deleted_after_scan".to_owned(), "research/new.md".to_owned());
        assert_eq!(changes, [deleted], "{below}");
        daemon.stop();
        drop(mounted);
        if is_other {
            drop(Mount(source));
        }
    }
}

/// Mounts a directory with `new.md` over that of a feature with `old.md`, and waits until that is known.
fn mount_over_research(project: &Project, journal: &mut JournalReader) -> (Daemon, Mount) {
    let source = project.home().join("source");
    project.write(&format!("kitty-specs/{FEATURE}/research/old.md"), "old\n");
    write_file(&source.join("new.md"), b"new\n");
    let daemon = project.start_daemon();
    assert_invariants(project, &daemon, journal);
    let dir = project.feature_dir().join("research");
    let mounted = Mount::new(&["--bind", source.to_str().unwrap()], &dir);
    wait_for_feature(&daemon, "unavailable");
    (daemon, mounted)
}

fn change(change: &str, path: &str) -> (String, String) {
    (change.to_owned(), path.to_owned())
}

#[test]
fn mount_over_a_directory_of_a_feature_hides_its_files_and_shows_its_own() {
    if !is_root("mounts below a root") {
        return;
    }
    let (project, mut journal) = (Project::complete(), JournalReader::default());
    let (daemon, mounted) = mount_over_research(&project, &mut journal);
    let dir = project.feature_dir().join("research");
    let artifact = |path: &str| -> Value { find_artifact(&daemon.export(FEATURE), path).clone() };
    assert_eq!(artifact("research/old.md")["error_reason"], "unreadable");
    assert_eq!(artifact("research/new.md")["is_present"], true);
    let mut changes = artifact_changes(&journal.read_new(&daemon));
    changes.sort();
    assert_eq!(
        changes,
        [change("added", "research/new.md"), change("unreadable", "research/old.md")]
    );

    // What is mounted is watched.
    write_file(&dir.join("second.md"), b"second\n");
    fs::remove_file(dir.join("new.md")).unwrap();
    daemon.status();
    let mut changes = artifact_changes(&journal.read_new(&daemon));
    changes.sort();
    assert_eq!(
        changes,
        [change("added", "research/second.md"), change("deleted_after_scan", "research/new.md")]
    );

    mounted.unmount();
    wait_for_feature(&daemon, "live");
    let mut changes = artifact_changes(&assert_invariants(&project, &daemon, &mut journal));
    changes.sort();
    assert_eq!(
        changes,
        [change("restored", "research/old.md"), change("unreadable", "research/second.md")]
    );
    write_file(&dir.join("old.md"), b"changed\n");
    let changes = artifact_changes(&assert_invariants(&project, &daemon, &mut journal));
    assert_eq!(changes, [change("modified", "research/old.md")]);
    daemon.stop();
}

#[test]
fn files_of_a_mount_that_left_while_no_daemon_ran_are_not_deleted() {
    if !is_root("mounts below a root") {
        return;
    }
    let (project, mut journal) = (Project::complete(), JournalReader::default());
    let (daemon, mounted) = mount_over_research(&project, &mut journal);
    journal.read_new(&daemon);
    daemon.kill();

    mounted.unmount();
    let daemon = project.start_daemon();
    wait_for_feature(&daemon, "live");
    let mut changes = artifact_changes(&assert_invariants(&project, &daemon, &mut journal));
    changes.sort();
    assert_eq!(
        changes,
        [change("restored", "research/old.md"), change("unreadable", "research/new.md")]
    );
    daemon.stop();
}

#[test]
fn another_file_system_at_the_same_mount_point_deletes_nothing() {
    if !is_root("mounts below a root") {
        return;
    }
    let project = Project::complete();
    // Something that is always there, so that the root does not look empty.
    project.write("README.md", "# Project\n");
    let (dir, source) = (project.feature_dir(), project.home().join("source"));
    let mounted = move_to_mount(&dir, &source, true);
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);

    mounted.unmount();
    let other = Mount::new(&["-t", "tmpfs", "none"], &dir);
    write_file(&dir.join("other.md"), b"other\n");
    wait_for("the file of the other file system", || {
        let export = daemon.export(FEATURE);
        let found = export["artifact_summaries"].as_array().unwrap().iter();
        found.map(|one| &one["relative_path"]).any(|path| path == "other.md").then_some(())
    });
    assert_eq!(watch_of_feature(&daemon), "unavailable");
    let changes = artifact_changes(&journal.read_new(&daemon));
    let deleted = |(change, _): &&(String, String)| change == "deleted_after_scan";
    assert_eq!(changes.iter().find(deleted), None, "{changes:?}");
    let shown = daemon.overview(FEATURE).to_string();
    assert!(shown.contains("another file system is mounted at "), "{shown}");

    other.unmount();
    let mounted = Mount::new(&["--bind", source.to_str().unwrap()], &dir);
    wait_for_feature(&daemon, "live");
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
    drop((mounted, Mount(source)));
}

#[test]
fn remote_file_system_below_a_local_root_is_polled() {
    let project = Project::complete();
    let dir = project.root.join("kitty-specs/002-remote");
    let files = [("spec.md", "# Spec\n"), ("meta.json", "{\"mission\":\"software-dev\"}")];
    let Some(mut mount) = FuseMount::start(&dir, &files) else {
        return;
    };
    let daemon = project.start_daemon();
    project.wait_for_watch(&daemon, "degraded");
    assert!(project.watch_status(&daemon).detail.contains("kitty-specs/002-remote"));
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    // Without `sync=true`: it is noticed without a request.
    mount.append_line();
    wait_for("the change on the server", || {
        let changes = artifact_changes(&journal.read_new(&daemon));
        changes.contains(&("modified".to_owned(), "spec.md".to_owned())).then_some(())
    });
    // And in an answer to one at once.
    mount.append_line();
    let changes = artifact_changes(&assert_invariants(&project, &daemon, &mut journal));
    assert!(changes.contains(&("modified".to_owned(), "spec.md".to_owned())), "{changes:?}");
    daemon.stop();
}

#[test]
fn changes_of_a_directory_that_is_mounted_in_a_second_place_are_seen_in_both() {
    if !is_root("mounts below a root") {
        return;
    }
    let (project, mut journal) = (Project::complete(), JournalReader::default());
    let research = project.feature_dir().join("research");
    let (source, second) = (research.join("source"), research.join("second"));
    write_file(&source.join("below/a.md"), b"1\n");
    let mounted = Mount::new(&["--bind", source.to_str().unwrap()], &second);
    let daemon = project.start_daemon();
    assert_invariants(&project, &daemon, &mut journal);
    for (dir, text) in [(&source, "2\n"), (&second, "3\n")] {
        write_file(&dir.join("below/a.md"), text.as_bytes());
        assert_invariants(&project, &daemon, &mut journal);
        write_file(&dir.join("new").join(text.trim()), b"new\n");
        assert_invariants(&project, &daemon, &mut journal);
        fs::remove_dir_all(dir.join("new")).unwrap();
        assert_invariants(&project, &daemon, &mut journal);
    }
    daemon.stop();
    mounted.unmount();
}

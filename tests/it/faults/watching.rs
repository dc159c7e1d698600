//! Faults of watching: queue overflows, inotify limits, moved, deleted and unmounted roots, lost
//! permissions, and changes by git.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::invariants::{JournalReader, artifact_changes, assert_invariants};
use crate::support::kernel::{Mount, WatchStatus, can_run, is_root, send_signal, sh, wrap_command};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{
    COMMAND_TIMEOUT, FEATURE, NOBODY_UID, Project, copy_dir, find_artifact, not_run, run,
    write_file,
};

/// Stops the daemon while more events occur than the queue of inotify holds.
fn overflow(project: &Project, daemon: &Daemon, meanwhile: impl FnOnce()) {
    let process = daemon.pid();
    send_signal(process, Signal::STOP);
    for iteration in 0..200 {
        for file in 0..200 {
            let path = project.feature_dir().join(format!("tasks/WP{file:03}.md"));
            fs::write(path, format!("{iteration} {file}\n")).unwrap();
        }
    }
    meanwhile();
    send_signal(process, Signal::CONT);
}

/// Creates a project with the files that [`overflow`] changes.
fn with_files() -> Project {
    let project = Project::complete();
    for file in 0..200 {
        project.write(&format!("kitty-specs/{FEATURE}/tasks/WP{file:03}.md"), "first\n");
    }
    project
}

/// Returns the paths of deletions among events.
fn deleted(events: &[Value]) -> Vec<String> {
    let deleted =
        artifact_changes(events).into_iter().filter(|(change, _)| change == "deleted_after_scan");
    deleted.map(|(_, path)| path).collect()
}

#[test]
fn overflow_rescans_and_rewatches_without_false_deletions() {
    let project = with_files();
    let dir = project.feature_dir().join("research");
    write_file(&dir.join("notes.md"), b"one\n");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    overflow(&project, &daemon, || {
        fs::remove_dir_all(&dir).unwrap();
        fs::create_dir(&dir).unwrap();
    });
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(deleted(&new), ["research/notes.md"]);
    let log = daemon.log();
    assert!(log.contains("inotify events were lost (queue overflow"), "{log}");
    assert!(log.contains("rescanning project"), "{log}");
    // A directory that was recreated during the overflow is watched.
    write_file(&dir.join("late.md"), b"late\n");
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(artifact_changes(&new), [("added".to_owned(), "research/late.md".to_owned())]);
    project.wait_for_watch(&daemon, "live");
    daemon.stop();
}

#[test]
fn removal_of_twenty_thousand_directories_leaves_no_watch() {
    const DIRS: u64 = 20_000;
    let project = Project::complete();
    let many = project.feature_dir().join("research/many");
    for number in 0..DIRS {
        fs::create_dir_all(many.join(format!("{}/{number}", number % 100))).unwrap();
    }
    write_file(&many.join("7/7/file.md"), b"x\n");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let WatchStatus { watched: before, total, .. } = project.watch_status(&daemon);
    assert!(before > DIRS && before == total, "{before} of {total}");
    fs::remove_dir_all(&many).unwrap();
    wait_for("no watch of a removed directory", || {
        let WatchStatus { state, watched, total, .. } = project.watch_status(&daemon);
        (state == "live" && watched == total && watched < 100).then_some(())
    });
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(deleted(&new), ["research/many/7/7/file.md"]);
    let status = fs::read_dir(format!("/proc/{}/fdinfo", daemon.child_id())).unwrap();
    let kernel: usize = status
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .map(|info| info.lines().filter(|line| line.starts_with("inotify wd:")).count())
        .sum();
    assert!(kernel < 100, "the kernel still has {kernel} watches");
    daemon.stop();
}

/// Starts a daemon in its own user namespace with a lower limit of inotify; returns `None` and
/// reports it where that is impossible.
fn start_with_limit(project: &Project, limit: &str, value: u32) -> Option<Daemon> {
    let script = format!("echo {value} > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
    let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", &script];
    let mut trial: Vec<&str> = wrapper.to_vec();
    trial.push("true");
    if !can_run("limits of inotify", &trial) {
        return None;
    }
    let daemon = project.spawn_daemon(wrap_command(&wrapper, &project.daemon_command()));
    daemon.wait_until_ready();
    Some(daemon)
}

/// Raises the limit in the namespace of the daemon.
fn raise_limit(daemon: &Daemon, limit: &str) {
    let pid = daemon.pid().as_raw_nonzero().to_string();
    let script = format!("echo 100000 > /proc/sys/user/{limit}");
    sh(&["nsenter", "--user", "--preserve-credentials", "--target", &pid, "sh", "-c", &script]);
}

#[test]
fn directories_without_a_watch_are_polled() {
    let project = Project::complete();
    for number in 0..30 {
        project.write(&format!("kitty-specs/{FEATURE}/research/{number}/a.md"), "one\n");
    }
    let Some(daemon) = start_with_limit(&project, "max_inotify_watches", 12) else {
        return;
    };
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let WatchStatus { state, watched, total, detail } = project.watch_status(&daemon);
    assert_eq!(state, "degraded");
    assert!(watched <= 12 && total > 30, "{watched} of {total}");
    let expected = format!("watching {watched} of {total} directories");
    assert!(detail.starts_with(&expected) && detail.contains("max_user_watches"), "{detail}");
    assert_eq!(daemon.overview(FEATURE)["watch"], "degraded");
    for number in 0..30 {
        project.write(&format!("kitty-specs/{FEATURE}/research/{number}/a.md"), "two\n");
    }
    let hash = crate::support::sha256(b"two\n");
    let with_hash = |query: &str, hash: &str| {
        let path = format!("/api/dossier/snapshots/export?feature={FEATURE}{query}");
        let export = daemon.get_json(&path);
        let artifacts = export["artifact_summaries"].as_array().unwrap();
        artifacts.iter().filter(|artifact| artifact["content_hash_sha256"] == hash).count()
    };
    wait_for("polling to find the change", || (with_hash("", &hash) == 30).then_some(()));
    // A request with `sync=true` does not wait for the next poll, and is not answered without one.
    for round in 0..5 {
        let content = format!("round {round}\n");
        for number in 0..30 {
            project
                .write(&format!("kitty-specs/{FEATURE}/research/{number}/a.md"), content.as_str());
        }
        assert_eq!(with_hash("&sync=true", &crate::support::sha256(content.as_bytes())), 30);
    }
    assert_eq!(daemon.status()["synced"], "scan");
    raise_limit(&daemon, "max_inotify_watches");
    project.wait_for_watch(&daemon, "live");
    assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(daemon.overview(FEATURE)["watch"], "live");
}

#[test]
fn all_names_of_a_file_show_a_write_by_one_of_them() {
    let project = Project::complete();
    let names = [
        project.feature_dir().join("research/one.md"),
        project.feature_dir().join("research/two.md"),
        project.root.join("kitty-specs/002-y/three.md"),
    ];
    project.write("kitty-specs/002-y/spec.md", "# y\n");
    project.write(&format!("kitty-specs/{FEATURE}/research/one.md"), "first\n");
    let outside = project.home().join("outside.md");
    for name in names[1..].iter().chain([&outside]) {
        fs::hard_link(&names[0], name).unwrap();
    }
    let daemon = project.start_daemon();
    let hashes = |query: &str| {
        let paths =
            [(FEATURE, "research/one.md"), (FEATURE, "research/two.md"), ("002-y", "three.md")];
        paths.map(|(feature, path)| {
            let uri = format!("/api/dossier/snapshots/export?feature={feature}{query}");
            let export = daemon.get_json(&uri);
            find_artifact(&export, path)["content_hash_sha256"].as_str().unwrap().to_owned()
        })
    };
    let expected = |text: &str| [(); 3].map(|()| crate::support::sha256(text.as_bytes()));
    for name in &names {
        let text = format!("by {}\n", name.display());
        fs::write(name, &text).unwrap();
        wait_for("all names", || (hashes("") == expected(&text)).then_some(()));
    }
    // A write by a name that is not watched raises no event. A request with `sync=true` sees it.
    fs::write(&outside, "by outside\n").unwrap();
    assert_eq!(hashes("&sync=true"), expected("by outside\n"));
    daemon.stop();
}

/// Appends a line to a file every ten milliseconds while `act` runs.
fn while_written(path: &Path, act: impl FnOnce()) {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicBool, Ordering};
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
            while !done.load(Ordering::Relaxed) {
                file.write_all(b"line\n").unwrap();
                // The interval between two lines; nothing is waited for.
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        });
        // The writer ends also if this fails.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Returns the size of an artifact, if it is listed.
fn listed_size(daemon: &Daemon, path: &str) -> Option<u64> {
    let list = daemon.get_json(&format!("/api/dossier/artifacts?feature={FEATURE}"));
    let mut artifacts = list["artifacts"].as_array().unwrap().iter();
    artifacts.find(|one| one["relative_path"] == path)?["size_bytes"].as_u64()
}

#[test]
fn new_file_that_is_written_all_the_time_is_listed() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let path = project.feature_dir().join("research/log.md");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    while_written(&path, || {
        wait_for("the file that is being written", || listed_size(&daemon, "research/log.md"));
    });
    daemon.stop();
}

#[test]
fn request_waits_for_one_read_of_a_file_that_is_written_all_the_time() {
    let project = Project::complete();
    let path = project.feature_dir().join("research/log.md");
    write_file(&path, b"first\n");
    let daemon = project.start_daemon();
    while_written(&path, || {
        for _ in 0..5 {
            let size = path.metadata().unwrap().len();
            // On a busy machine the wait for the cookie becomes a comparison.
            assert_ne!(daemon.get_json("/api/status?sync=true")["synced"], "none");
            assert!(listed_size(&daemon, "research/log.md") >= Some(size));
        }
    });
    daemon.stop();
}

#[test]
fn large_file_that_grows_all_the_time_is_read_rarely() {
    const APPENDS: usize = 30;
    let project = Project::complete();
    let path = project.feature_dir().join("research/log.md");
    write_file(&path, &vec![b'x'; 64 << 20]);
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    for _ in 0..APPENDS {
        std::io::Write::write_all(&mut file, b"line\n").unwrap();
        // The interval between two lines, in which the feature comes to rest.
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    drop(file);
    let new = assert_invariants(&project, &daemon, &mut journal);
    let changes = artifact_changes(&new).len();
    assert!(changes > 0 && changes < APPENDS / 2, "{changes} reads found new lines");
    daemon.stop();
}

#[test]
fn project_without_inotify_instance_is_polled() {
    let project = Project::complete();
    let Some(daemon) = start_with_limit(&project, "max_inotify_instances", 0) else {
        return;
    };
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let WatchStatus { state, watched, detail, .. } = project.watch_status(&daemon);
    assert_eq!((state.as_str(), watched), ("polling", 0));
    assert!(detail.contains("max_user_instances"), "{detail}");
    assert_eq!(daemon.status()["synced"], "scan");
    write_file(&project.feature_dir().join("spec.md"), b"changed\n");
    let hash = crate::support::sha256(b"changed\n");
    wait_for("polling to find the change", || {
        let export = daemon.get_json(&format!("/api/dossier/snapshots/export?feature={FEATURE}"));
        let artifacts = export["artifact_summaries"].as_array().unwrap();
        artifacts
            .iter()
            .any(|artifact| artifact["content_hash_sha256"] == hash.as_str())
            .then_some(())
    });
    raise_limit(&daemon, "max_inotify_instances");
    project.wait_for_watch(&daemon, "live");
    assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(daemon.status()["synced"], "cookie");
}

#[test]
fn projects_share_inotify_instances() {
    let project = Project::complete();
    let others: Vec<_> =
        (0..4).map(|number| project.home().join(format!("other-{number}"))).collect();
    // A root inside of another one does not share with it.
    let nested = project.root.join("nested");
    let innermost = nested.join("innermost");
    for root in others.iter().chain([&nested, &innermost]) {
        write_file(&root.join("kitty-specs/001-x/spec.md"), b"# Spec\n");
    }
    let paths = others.iter().chain([&nested, &innermost]);
    let paths = paths.map(|root| format!("  - path: {}\n", root.display()));
    let project = project.config(&format!("projects:\n{}", paths.collect::<String>()));
    // A quarter of 16, less the two that are not for projects.
    let Some(daemon) = start_with_limit(&project, "max_inotify_instances", 16) else {
        return;
    };
    let states = |status: &Value| {
        let projects = status["projects"].as_array().unwrap().iter();
        let mut states: Vec<_> =
            projects.map(|one| one["watch"]["state"].as_str().unwrap().to_owned()).collect();
        states.sort_unstable();
        states
    };
    let expected = [vec!["live"; 6], vec!["polling"]].concat();
    wait_for("two instances for six projects", || {
        (states(&daemon.status()) == expected).then_some(())
    });
    let inotify = &daemon.status()["inotify"];
    assert_eq!((&inotify["instances"], &inotify["max_instances"]), (&2.into(), &2.into()));
    let mut events = daemon.open_stream("", &[]);
    for root in &others {
        write_file(&root.join("kitty-specs/001-x/plan.md"), b"# Plan\n");
        let event = events.next();
        assert_eq!(event.data["project"], root.file_name().unwrap().to_str().unwrap());
        while events.next().data["event_type"] != "mission_dossier_snapshot_computed" {}
    }
    let findings = project.run_client(&["doctor"]);
    assert!(findings.stdout.contains("2 inotify instances of at most 2"), "{findings:?}");
    raise_limit(&daemon, "max_inotify_instances");
    wait_for("all to be watched", || (states(&daemon.status()) == ["live"; 7]).then_some(()));
    daemon.stop();
}

#[test]
fn moved_root_causes_no_deletion_and_is_watched_again_when_back() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let elsewhere = project.home().join("elsewhere");
    fs::rename(&project.root, &elsewhere).unwrap();
    project.wait_for_watch(&daemon, "root_unavailable");
    let status = daemon.status();
    let feature = &status["projects"][0]["features"][0];
    assert_eq!(feature["watch"], "unreadable");
    assert_eq!(feature["completeness_status"], "unknown");
    let root = project.root.to_str().unwrap();
    let mut accept = project.client_command(&["baseline", "accept", FEATURE, "--project", root]);
    accept.current_dir(project.home());
    let accepted = run(accept, COMMAND_TIMEOUT);
    accepted.assert_failure(13, "the current state is not known");
    assert_eq!(accepted.stderr.matches("changes may be missing").count(), 1, "{accepted:?}");
    write_file(&elsewhere.join(format!("kitty-specs/{FEATURE}/research/new.md")), b"new\n");
    fs::rename(&elsewhere, &project.root).unwrap();
    project.wait_for_watch(&daemon, "live");
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(artifact_changes(&new), [("added".to_owned(), "research/new.md".to_owned())]);
    daemon.stop();
}

#[test]
fn move_of_a_parent_directory_of_the_root_is_detected() {
    let mut project = Project::complete();
    let (above, moved) = (project.home().join("above"), project.home().join("moved"));
    fs::create_dir_all(above.join("mid")).unwrap();
    let root = above.canonicalize().unwrap().join("mid/project");
    fs::rename(&project.root, &root).unwrap();
    project.root = root;
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let state = |status: &Value| status["projects"][0]["watch"]["state"].clone();
    // The move is detected without a request.
    fs::rename(&above, &moved).unwrap();
    project.wait_for_watch(&daemon, "root_unavailable");
    fs::rename(&moved, &above).unwrap();
    project.wait_for_watch(&daemon, "live");
    assert_eq!(artifact_changes(&assert_invariants(&project, &daemon, &mut journal)), []);
    // A synced request sees the move at once.
    fs::rename(&above, &moved).unwrap();
    assert_eq!(state(&daemon.status()), "root_unavailable");
    copy_dir(&moved, &above);
    project.write(&format!("kitty-specs/{FEATURE}/spec.md"), "# Of the copy\n");
    project.wait_for_watch(&daemon, "live");
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(artifact_changes(&new), [("modified".to_owned(), "spec.md".to_owned())]);
    // From now on the copy is watched, not the moved directory.
    project.write(&format!("kitty-specs/{FEATURE}/spec.md"), "# Again\n");
    fs::write(moved.join(format!("mid/project/kitty-specs/{FEATURE}/plan.md")), "moved").unwrap();
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(artifact_changes(&new), [("modified".to_owned(), "spec.md".to_owned())]);
    fs::rename(above.join("mid"), above.join("other")).unwrap();
    project.wait_for_watch(&daemon, "root_unavailable");
    fs::rename(above.join("other"), above.join("mid")).unwrap();
    project.wait_for_watch(&daemon, "live");
    assert_eq!(artifact_changes(&assert_invariants(&project, &daemon, &mut journal)), []);
    daemon.stop();
}

#[test]
fn recreated_root_is_watched_again_and_reports_each_deletion_once() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let before = crate::support::present_files(&project.feature_dir()).len();
    for iteration in 0..3 {
        fs::remove_dir_all(&project.root).unwrap();
        fs::create_dir(&project.root).unwrap();
        project.write(&format!("kitty-specs/{FEATURE}/spec.md"), format!("{iteration}\n"));
        wait_for("the new file", || {
            let export = daemon.get(&format!("/api/dossier/snapshots/export?feature={FEATURE}"));
            export
                .body
                .contains(&crate::support::sha256(format!("{iteration}\n").as_bytes()))
                .then_some(())
        });
        project.wait_for_watch(&daemon, "live");
        let new = assert_invariants(&project, &daemon, &mut journal);
        let mut paths = deleted(&new);
        paths.dedup();
        assert!(paths.len() <= before, "{paths:?}");
    }
    daemon.stop();
}

#[test]
fn unmounted_root_causes_no_deletion_and_is_watched_again_when_back() {
    if !is_root("an unmounted root") {
        return;
    }
    // The root is below a mount point, or is the mount point.
    for below in ["project", "."] {
        let mut project = Project::complete();
        let source = project.home().join("source");
        let mount = project.home().join("mount");
        fs::create_dir(&source).unwrap();
        let inside = if below == "." { source.clone() } else { source.join(below) };
        fs::rename(&project.root, &inside).unwrap();
        let mounted = Mount::new(&["--bind", source.to_str().unwrap()], &mount);
        fs::create_dir(&project.root).unwrap();
        project.root = mount.join(below).canonicalize().unwrap();
        let daemon = project.start_daemon();
        let mut journal = JournalReader::default();
        assert_invariants(&project, &daemon, &mut journal);
        mounted.unmount();
        project.wait_for_watch(&daemon, "root_unavailable");
        assert_eq!(artifact_changes(&journal.read_new(&daemon)), []);
        write_file(&inside.join(format!("kitty-specs/{FEATURE}/research/new.md")), b"new\n");
        let mounted = Mount::new(&["--bind", source.to_str().unwrap()], &mount);
        project.wait_for_watch(&daemon, "live");
        let new = assert_invariants(&project, &daemon, &mut journal);
        assert_eq!(artifact_changes(&new), [("added".to_owned(), "research/new.md".to_owned())]);
        daemon.stop();
        drop(mounted);
        drop(project);
    }
}

#[test]
fn lost_permissions_are_reported_without_deletions_until_restored() {
    use std::os::unix::fs::PermissionsExt as _;
    let project =
        Project::complete().config("projects: [{path: ROOT, features: [\"**/kitty-specs/*\"]}]\n");
    project.write(&format!("kitty-specs/{FEATURE}/research/deep/a.md"), "a\n");
    // For example the data of a database.
    let data = project.root.join("src/data");
    fs::create_dir_all(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o000)).unwrap();
    let root = project.root.to_str().unwrap();
    let home = project.home();
    if rustix::process::geteuid().is_root() {
        let owner = format!("{NOBODY_UID}:{NOBODY_UID}");
        sh(&["chown", "-R", &owner, root, home.to_str().unwrap()]);
    }
    let Some(command) = project.command_as_nobody(&["run", root]) else {
        return;
    };
    fs::create_dir_all(project.runtime_dir()).unwrap();
    if rustix::process::geteuid().is_root() {
        let runtime = project.runtime_dir();
        sh(&["chown", &NOBODY_UID.to_string(), runtime.to_str().unwrap()]);
    }
    // The socket is private to its user, so requests are sent as that user.
    let get = |target: &str| -> Value {
        let mut curl = Command::new("setpriv");
        let id = NOBODY_UID.to_string();
        if rustix::process::geteuid().is_root() {
            curl.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", "curl"]);
        } else {
            curl = Command::new("curl");
        }
        curl.args(["-s", "-m", "20", "-H", "Accept: application/json", "--unix-socket"])
            .arg(project.socket());
        let out = curl.arg(format!("http://localhost{target}")).output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap_or_default()
    };
    if !can_run("lost permissions", &["curl", "--version"]) {
        return;
    }
    let mut daemon = project.spawn_daemon(command);
    let wait_for = |what: &str, done: &dyn Fn(&Value) -> bool| {
        wait_for(what, || done(&get("/api/status?sync=true")["projects"][0]).then_some(()));
    };
    let feature = |project: &Value| project["features"][0].clone();
    wait_for("the first index", &|project| feature(project)["completeness_status"] == "complete");
    let set_mode = |path: &std::path::Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let total = |project: &Value| feature(project)["artifact_counts"]["total"].as_u64();
    // A directory of the feature becomes one unreadable entry.
    let dir = project.feature_dir().join("research");
    set_mode(&dir, 0o000);
    wait_for("an unreadable directory", &|project| {
        feature(project)["artifact_counts"].to_string().contains("\"total\"")
            && get(&format!("/api/dossier/snapshots/export?feature={FEATURE}"))
                .to_string()
                .contains("\"relative_path\":\"research\"")
    });
    set_mode(&dir, 0o755);
    wait_for("a readable directory", &|_| {
        get(&format!("/api/dossier/snapshots/export?feature={FEATURE}"))
            .to_string()
            .contains("research/deep/a.md")
    });
    // The feature.
    set_mode(&project.feature_dir(), 0o000);
    wait_for("an unreadable feature", &|project| {
        let feature = feature(project);
        feature["watch"] == "unreadable" && feature["completeness_status"] == "unknown"
    });
    set_mode(&project.feature_dir(), 0o755);
    wait_for("a readable feature", &|project| feature(project)["watch"] == "live");
    // A directory on the way to features, and one that was unreadable from the start.
    let specs = project.root.join("kitty-specs");
    set_mode(&specs, 0o000);
    wait_for("a feature below an unreadable directory", &|project| {
        let skipped = project["skipped"].to_string();
        feature(project)["watch"] == "unreadable"
            && project["watch"]["state"] != "unreadable"
            && skipped.contains("src/data")
            && skipped.contains("kitty-specs")
    });
    set_mode(&specs, 0o755);
    wait_for("a readable directory on the way", &|project| {
        feature(project)["watch"] == "live" && project["watch"]["state"] == "live"
    });
    set_mode(&data, 0o755);
    wait_for("all directories to be readable", &|project| {
        project["skipped"].as_array().is_some_and(Vec::is_empty)
    });
    // The root.
    set_mode(&project.root, 0o000);
    wait_for("an unreadable root", &|project| project["watch"]["state"] == "unreadable");
    set_mode(&project.root, 0o755);
    wait_for("a readable root", &|project| {
        project["watch"]["state"] == "live" && total(project).is_some()
    });
    let page = get("/api/events?since=start");
    assert_eq!(deleted(page["events"].as_array().unwrap()), [] as [String; 0]);
    send_signal(
        rustix::process::Pid::from_raw(i32::try_from(daemon.child_id()).unwrap()).unwrap(),
        Signal::TERM,
    );
    daemon.wait_for_exit();
}

/// Creates a git repository with two branches between which every file of two features differs;
/// returns false and reports it if there is no git.
fn create_repository(project: &Project, files: usize) -> bool {
    if !can_run("checkouts by git", &["git", "--version"]) {
        return false;
    }
    let git = |arguments: &[&str]| {
        let root = project.root.to_str().unwrap();
        let mut command = vec!["git", "-C", root, "-c", "user.name=t", "-c", "user.email=t@t"];
        command.extend(arguments);
        sh(&command);
    };
    git(&["init", "-q", "-b", "one"]);
    project.write(".gitignore", ".kittify/dossiers\n");
    for (branch, only) in [("one", "only-one"), ("two", "only-two")] {
        if branch == "two" {
            git(&["checkout", "-q", "-b", "two"]);
            fs::remove_file(project.feature_dir().join("research/only-one.md")).unwrap();
        }
        for number in 0..files {
            let feature = if number % 2 == 0 { FEATURE } else { "002-y" };
            let path = format!("kitty-specs/{feature}/research/{}/{number}.md", number % 50);
            project.write(&path, format!("{branch} {number}\n"));
        }
        project.write(&format!("kitty-specs/{FEATURE}/research/{only}.md"), "x\n");
        git(&["add", "-A"]);
        git(&["commit", "-q", "-m", branch]);
    }
    true
}

/// Checks out a branch; returns the events that this caused.
fn checkout(
    project: &Project,
    root: &str,
    daemon: &Daemon,
    journal: &mut JournalReader,
    branch: &str,
) -> Vec<Value> {
    sh(&["git", "-C", root, "checkout", "-q", branch]);
    assert_invariants(project, daemon, journal)
}

#[test]
fn git_checkout_causes_one_evaluation_and_only_real_deletions() {
    let project = Project::complete().config("settle: {git_ms: 30000}\n");
    let files = 10_000;
    if !create_repository(&project, files) {
        return;
    }
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let root = project.root.to_str().unwrap().to_owned();
    for (branch, removed) in [("one", "research/only-two.md"), ("two", "research/only-one.md")] {
        let new = checkout(&project, &root, &daemon, &mut journal, branch);
        assert_eq!(deleted(&new), [removed]);
        // If git is suspended between creating a file and writing it, the daemon may index the
        // empty file. With its content, each file is indexed once.
        let with_content: Vec<_> =
            new.iter().filter(|event| event["payload"]["size_bytes"] != 0).cloned().collect();
        let modified = artifact_changes(&with_content)
            .iter()
            .filter(|(change, _)| change == "modified")
            .count();
        assert_eq!(modified, files);
        let evaluations = |feature: &str| {
            let is_evaluation = |event: &&Value| {
                event["event_type"] == "mission_dossier_snapshot_computed"
                    && event["feature_slug"] == feature
            };
            new.iter().filter(is_evaluation).count()
        };
        assert_eq!((evaluations(FEATURE), evaluations("002-y")), (1, 1));
    }
    daemon.stop();
}

#[test]
fn worktree_is_held_by_its_own_index_lock() {
    let mut project = Project::complete();
    if !create_repository(&project, 20) {
        return;
    }
    let tree = project.home().join("tree");
    let root = project.root.to_str().unwrap().to_owned();
    sh(&["git", "-C", &root, "worktree", "add", "-q", tree.to_str().unwrap(), "one"]);
    project.root = tree.canonicalize().unwrap();
    let git = fs::read_to_string(tree.join(".git")).unwrap();
    let lock =
        std::path::Path::new(git.trim().strip_prefix("gitdir: ").unwrap()).join("index.lock");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    fs::write(&lock, "").unwrap();
    fs::remove_file(project.feature_dir().join("research/only-one.md")).unwrap();
    wait_for("a deferred deletion", || {
        let overview = daemon.get_json(&format!("/api/dossier/overview?feature={FEATURE}"));
        (overview["watch"] == "settling").then_some(())
    });
    fs::remove_file(&lock).unwrap();
    wait_for("the end of the git hold", || {
        let overview = daemon.get_json(&format!("/api/dossier/overview?feature={FEATURE}"));
        (overview["watch"] == "live").then_some(())
    });
    assert_eq!(
        deleted(&assert_invariants(&project, &daemon, &mut journal)),
        ["research/only-one.md"]
    );
    // A lock that is not removed holds changes for two seconds at most.
    fs::write(&lock, "").unwrap();
    fs::remove_file(project.feature_dir().join("research/0/0.md")).unwrap();
    wait_for("the deletion", || (!journal.read_new(&daemon).is_empty()).then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    assert!(lock.exists());
    daemon.stop();
}

#[test]
fn git_lock_defers_evaluations_and_also_deletions_found_at_start() {
    let project = Project::complete().config("settle: {git_ms: 30000}\n");
    project.write("kitty-specs/002-y/spec.md", "x\n");
    if !create_repository(&project, 2) {
        return;
    }
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let lock = project.root.join(".git/index.lock");
    let settling = |daemon: &Daemon| {
        let watch = &daemon.overview(FEATURE)["watch"];
        (watch == "settling").then_some(())
    };
    let evaluations = |events: &[Value]| {
        let is_evaluation =
            |event: &&Value| event["event_type"] == "mission_dossier_snapshot_computed";
        events.iter().filter(is_evaluation).count()
    };
    fs::write(&lock, "").unwrap();
    write_file(&project.feature_dir().join("spec.md"), b"changed\n");
    let new = wait_for("the change", || {
        let new = journal.read_new(&daemon);
        (!new.is_empty()).then_some(new)
    });
    assert_eq!(artifact_changes(&new), [("modified".to_owned(), "spec.md".to_owned())]);
    assert_eq!(evaluations(&new), 0);
    wait_for("a deferred evaluation", || settling(&daemon));
    fs::remove_file(&lock).unwrap();
    assert_eq!(evaluations(&assert_invariants(&project, &daemon, &mut journal)), 1);
    daemon.stop();

    let (moved_spec, moved_feature) = (project.home().join("spec"), project.home().join("feature"));
    let (spec, other) =
        (project.feature_dir().join("spec.md"), project.root.join("kitty-specs/002-y"));
    fs::write(&lock, "").unwrap();
    fs::rename(&spec, &moved_spec).unwrap();
    fs::rename(&other, &moved_feature).unwrap();
    let daemon = project.start_daemon();
    wait_for("deferred deletions", || settling(&daemon));
    fs::rename(&moved_spec, &spec).unwrap();
    fs::rename(&moved_feature, &other).unwrap();
    fs::remove_file(&lock).unwrap();
    assert_eq!(artifact_changes(&assert_invariants(&project, &daemon, &mut journal)), []);
    daemon.stop();
}

#[test]
fn scrub_finds_mapped_writes_and_causes_no_events_itself() {
    let project = Project::complete().config("scrub: 1s\n");
    for number in 0..500 {
        project
            .write(&format!("kitty-specs/{FEATURE}/research/{number}.md"), format!("{number}\n"));
    }
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let script = "import mmap,sys\nf=open(sys.argv[1],'r+b')\nm=mmap.mmap(f.fileno(),0)\nm[0:1]=b'X'\nm.flush()\n";
    let path = project.feature_dir().join("research/7.md");
    let mapped = Command::new("python3").args(["-c", script]).arg(&path).status();
    if !mapped.is_ok_and(|status| status.success()) {
        not_run("writes through a memory mapping (no working `python3`)");
        return;
    }
    let new = wait_for("the change", || {
        let new = journal.read_new(&daemon);
        (!new.is_empty()).then_some(new)
    });
    assert_eq!(artifact_changes(&new)[0], ("modified".to_owned(), "research/7.md".to_owned()));
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

#[test]
fn link_in_place_of_a_directory_hides_no_event_of_what_it_leads_to() {
    let project = Project::complete();
    let dir = project.feature_dir().join("research");
    let write =
        |path: &str| project.write(&format!("kitty-specs/{FEATURE}/research/{path}"), "a\n");
    let replace = || {
        fs::remove_dir_all(dir.join("old")).unwrap();
        symlink("new", dir.join("old")).unwrap();
    };
    write("old/deep/a.md");
    write("new/deep/a.md");
    let mut journal = JournalReader::default();
    let daemon = project.start_daemon();
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
    replace();
    let daemon = project.start_daemon();
    assert_invariants(&project, &daemon, &mut journal);
    write("new/deep/b.md");
    assert_invariants(&project, &daemon, &mut journal);
    // The same while it runs.
    fs::remove_file(dir.join("old")).unwrap();
    write("old/deep/a.md");
    assert_invariants(&project, &daemon, &mut journal);
    replace();
    write("new/deep/c.md");
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

//! What the daemon says and does where the kernel's events are not all there is to know: queues that
//! overflow, limits, roots that go, rights that are lost, git's checkouts.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::invariants::{JournalReader, artifact_changes, assert_invariants};
use crate::support::kernel::{Mount, WatchStatus, can_run, is_root, send_signal, sh, wrap_command};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, NOBODY_UID, Project, copy_dir, not_run, write_file};

/// Events that no one reads until the queue is full.
fn overflow(project: &Project, daemon: &Daemon, meanwhile: impl FnOnce()) {
    let process = daemon.pid();
    send_signal(process, Signal::STOP);
    for round in 0..200 {
        for file in 0..200 {
            let path = project.feature_dir().join(format!("tasks/WP{file:03}.md"));
            fs::write(path, format!("{round} {file}\n")).unwrap();
        }
    }
    meanwhile();
    send_signal(process, Signal::CONT);
}

fn with_files() -> Project {
    let project = Project::complete();
    for file in 0..200 {
        project.write(&format!("kitty-specs/{FEATURE}/tasks/WP{file:03}.md"), "first\n");
    }
    project
}

fn deleted(events: &[Value]) -> Vec<String> {
    let deleted =
        artifact_changes(events).into_iter().filter(|(what, _)| what == "deleted_after_scan");
    deleted.map(|(_, path)| path).collect()
}

#[test]
fn after_an_overflow_everything_is_watched_anew_and_nothing_is_invented() {
    let project = with_files();
    let folder = project.feature_dir().join("research");
    write_file(&folder.join("notes.md"), b"one\n");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    overflow(&project, &daemon, || {
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
    });
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(deleted(&new), ["research/notes.md"]);
    let log = daemon.log();
    assert!(log.contains("inotify events were lost (queue overflow"), "{log}");
    assert!(log.contains("rescanning project"), "{log}");
    // A directory made again while events were lost is watched again.
    write_file(&folder.join("late.md"), b"late\n");
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(artifact_changes(&new), [("added".to_owned(), "research/late.md".to_owned())]);
    project.wait_for_watch(&daemon, "live");
    daemon.stop();
}

#[test]
fn twenty_thousand_folders_that_go_at_once_leave_no_watch() {
    const FOLDERS: u64 = 20_000;
    let project = Project::complete();
    let many = project.feature_dir().join("research/many");
    for number in 0..FOLDERS {
        fs::create_dir_all(many.join(format!("{}/{number}", number % 100))).unwrap();
    }
    write_file(&many.join("7/7/file.md"), b"x\n");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let WatchStatus { watched: before, total, .. } = project.watch_status(&daemon);
    assert!(before > FOLDERS && before == total, "{before} of {total}");
    fs::remove_dir_all(&many).unwrap();
    wait_for("no watch of what is gone", || {
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
    assert!(kernel < 100, "the kernel keeps {kernel} watches");
    daemon.stop();
}

/// A daemon in a user namespace of its own, with a limit of the kernel lowered there.
fn limited(project: &Project, limit: &str, to: u32) -> Option<Daemon> {
    let script = format!("echo {to} > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
    let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", &script];
    let mut trial: Vec<&str> = wrapper.to_vec();
    trial.push("true");
    if !can_run("a limit of inotify", &trial) {
        return None;
    }
    let daemon = project.spawn_daemon(wrap_command(&wrapper, &project.daemon_command()));
    daemon.wait_until_ready();
    Some(daemon)
}

fn raise(daemon: &Daemon, limit: &str) {
    let pid = daemon.pid().as_raw_nonzero().to_string();
    let script = format!("echo 100000 > /proc/sys/user/{limit}");
    sh(&["nsenter", "--user", "--preserve-credentials", "--target", &pid, "sh", "-c", &script]);
}

#[test]
fn folders_for_which_no_watch_is_left_are_looked_at_again_and_again() {
    let project = Project::complete();
    for number in 0..30 {
        project.write(&format!("kitty-specs/{FEATURE}/research/{number}/a.md"), "one\n");
    }
    let Some(daemon) = limited(&project, "max_inotify_watches", 12) else {
        return;
    };
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let WatchStatus { state, watched, total, detail } = project.watch_status(&daemon);
    assert_eq!(state, "degraded");
    assert!(watched <= 12 && total > 30, "{watched} of {total}");
    let said = format!("watching {watched} of {total} folders");
    assert!(detail.starts_with(&said) && detail.contains("max_user_watches"), "{detail}");
    assert_eq!(daemon.overview(FEATURE)["watch"], "degraded");
    for number in 0..30 {
        project.write(&format!("kitty-specs/{FEATURE}/research/{number}/a.md"), "two\n");
    }
    let hash = crate::support::sha256(b"two\n");
    wait_for("what no event tells of", || {
        let export = daemon.get_json(&format!("/api/dossier/snapshots/export?feature={FEATURE}"));
        let all = export["artifact_summaries"].as_array().unwrap();
        let new = all.iter().filter(|one| one["content_hash_sha256"] == hash.as_str()).count();
        (new == 30).then_some(())
    });
    raise(&daemon, "max_inotify_watches");
    project.wait_for_watch(&daemon, "live");
    assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(daemon.overview(FEATURE)["watch"], "live");
}

#[test]
fn without_a_watcher_everything_is_looked_at_again_and_again() {
    let project = Project::complete();
    let Some(daemon) = limited(&project, "max_inotify_instances", 0) else {
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
    wait_for("what no event tells of", || {
        let export = daemon.get_json(&format!("/api/dossier/snapshots/export?feature={FEATURE}"));
        let all = export["artifact_summaries"].as_array().unwrap();
        all.iter().any(|one| one["content_hash_sha256"] == hash.as_str()).then_some(())
    });
    raise(&daemon, "max_inotify_instances");
    project.wait_for_watch(&daemon, "live");
    assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(daemon.status()["synced"], "cookie");
}

#[test]
fn a_root_that_is_moved_away_deletes_nothing_and_is_found_again() {
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
    write_file(&elsewhere.join(format!("kitty-specs/{FEATURE}/research/new.md")), b"new\n");
    fs::rename(&elsewhere, &project.root).unwrap();
    project.wait_for_watch(&daemon, "live");
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(artifact_changes(&new), [("added".to_owned(), "research/new.md".to_owned())]);
    daemon.stop();
}

#[test]
fn a_root_whose_folder_above_is_moved_away_is_not_taken_for_what_comes_in_its_place() {
    let mut project = Project::complete();
    let (above, aside) = (project.home().join("above"), project.home().join("aside"));
    fs::create_dir_all(above.join("mid")).unwrap();
    let root = above.canonicalize().unwrap().join("mid/project");
    fs::rename(&project.root, &root).unwrap();
    project.root = root;
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let state = |status: &Value| status["projects"][0]["watch"]["state"].clone();
    // It is noticed though no one asks.
    fs::rename(&above, &aside).unwrap();
    project.wait_for_watch(&daemon, "root_unavailable");
    fs::rename(&aside, &above).unwrap();
    project.wait_for_watch(&daemon, "live");
    assert_eq!(artifact_changes(&assert_invariants(&project, &daemon, &mut journal)), []);
    // And whoever asks, hears of it at once.
    fs::rename(&above, &aside).unwrap();
    assert_eq!(state(&daemon.status()), "root_unavailable");
    copy_dir(&aside, &above);
    project.write(&format!("kitty-specs/{FEATURE}/spec.md"), "# Of the copy\n");
    project.wait_for_watch(&daemon, "live");
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert_eq!(artifact_changes(&new), [("modified".to_owned(), "spec.md".to_owned())]);
    // The copy is what is watched from now on.
    project.write(&format!("kitty-specs/{FEATURE}/spec.md"), "# Again\n");
    fs::write(aside.join(format!("mid/project/kitty-specs/{FEATURE}/plan.md")), "of old").unwrap();
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
fn a_root_made_again_is_watched_again_and_every_deletion_is_said_once() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let before = crate::support::present_files(&project.feature_dir()).len();
    for round in 0..3 {
        fs::remove_dir_all(&project.root).unwrap();
        fs::create_dir(&project.root).unwrap();
        project.write(&format!("kitty-specs/{FEATURE}/spec.md"), format!("{round}\n"));
        wait_for("the new file", || {
            let export = daemon.get(&format!("/api/dossier/snapshots/export?feature={FEATURE}"));
            export
                .body
                .contains(&crate::support::sha256(format!("{round}\n").as_bytes()))
                .then_some(())
        });
        project.wait_for_watch(&daemon, "live");
        let new = assert_invariants(&project, &daemon, &mut journal);
        let mut gone = deleted(&new);
        gone.dedup();
        assert!(gone.len() <= before, "{gone:?}");
    }
    daemon.stop();
}

#[test]
fn an_unmounted_root_is_waited_for() {
    if !is_root("an unmounted root") {
        return;
    }
    // Below a mount point, and one itself.
    for below in ["project", "."] {
        let mut project = Project::complete();
        let kept = project.home().join("kept");
        let mount = project.home().join("mount");
        fs::create_dir(&kept).unwrap();
        let inside = if below == "." { kept.clone() } else { kept.join(below) };
        fs::rename(&project.root, &inside).unwrap();
        let mounted = Mount::new(&["--bind", kept.to_str().unwrap()], &mount);
        fs::create_dir(&project.root).unwrap();
        project.root = mount.join(below).canonicalize().unwrap();
        let daemon = project.start_daemon();
        let mut journal = JournalReader::default();
        assert_invariants(&project, &daemon, &mut journal);
        mounted.unmount();
        project.wait_for_watch(&daemon, "root_unavailable");
        assert_eq!(artifact_changes(&journal.read_new(&daemon)), []);
        write_file(&inside.join(format!("kitty-specs/{FEATURE}/research/new.md")), b"new\n");
        let mounted = Mount::new(&["--bind", kept.to_str().unwrap()], &mount);
        project.wait_for_watch(&daemon, "live");
        let new = assert_invariants(&project, &daemon, &mut journal);
        assert_eq!(artifact_changes(&new), [("added".to_owned(), "research/new.md".to_owned())]);
        daemon.stop();
        drop(mounted);
        drop(project);
    }
}

#[test]
fn rights_that_are_lost_are_said_and_regained() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::complete();
    project.write(&format!("kitty-specs/{FEATURE}/research/deep/a.md"), "a\n");
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
    // The socket is for its own user only, so what it says is asked for as that one.
    let ask = |target: &str| -> Value {
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
    if !can_run("rights that are lost", &["curl", "--version"]) {
        return;
    }
    let mut daemon = project.spawn_daemon(command);
    let wait_for = |what: &str, done: &dyn Fn(&Value) -> bool| {
        wait_for(what, || done(&ask("/api/status?sync=true")["projects"][0]).then_some(()));
    };
    let feature = |project: &Value| project["features"][0].clone();
    wait_for("an index", &|project| feature(project)["completeness_status"] == "complete");
    let set = |path: &std::path::Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let total = |project: &Value| feature(project)["artifact_counts"]["total"].as_u64();
    // A directory of the feature: one entry that is unreadable.
    let folder = project.feature_dir().join("research");
    set(&folder, 0o000);
    wait_for("an unreadable folder", &|project| {
        feature(project)["artifact_counts"].to_string().contains("\"total\"")
            && ask(&format!("/api/dossier/snapshots/export?feature={FEATURE}"))
                .to_string()
                .contains("\"relative_path\":\"research\"")
    });
    set(&folder, 0o755);
    wait_for("a readable folder", &|_| {
        ask(&format!("/api/dossier/snapshots/export?feature={FEATURE}"))
            .to_string()
            .contains("research/deep/a.md")
    });
    // The feature.
    set(&project.feature_dir(), 0o000);
    wait_for("an unreadable feature", &|project| {
        let feature = feature(project);
        feature["watch"] == "unreadable" && feature["completeness_status"] == "unknown"
    });
    set(&project.feature_dir(), 0o755);
    wait_for("a readable feature", &|project| feature(project)["watch"] == "live");
    // The root.
    set(&project.root, 0o000);
    wait_for("an unreadable root", &|project| project["watch"]["state"] == "unreadable");
    set(&project.root, 0o755);
    wait_for("a readable root", &|project| {
        project["watch"]["state"] == "live" && total(project).is_some()
    });
    let page = ask("/api/events?since=start");
    assert_eq!(deleted(page["events"].as_array().unwrap()), [] as [String; 0]);
    send_signal(
        rustix::process::Pid::from_raw(i32::try_from(daemon.child_id()).unwrap()).unwrap(),
        Signal::TERM,
    );
    daemon.wait_for_exit();
}

/// A repository with two branches between which every file of two features differs.
fn repository(project: &Project, files: usize) -> bool {
    if !can_run("git's checkouts", &["git", "--version"]) {
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

/// Checks a branch out, and gives the events that this made.
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
fn a_checkout_has_one_result_and_deletes_only_what_it_deletes() {
    let project = Project::complete().config("settle: {git_ms: 30000}\n");
    let files = 10_000;
    if !repository(&project, files) {
        return;
    }
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let root = project.root.to_str().unwrap().to_owned();
    for (branch, gone) in [("one", "research/only-two.md"), ("two", "research/only-one.md")] {
        let new = checkout(&project, &root, &daemon, &mut journal, branch);
        assert_eq!(deleted(&new), [gone]);
        // A git that was kept from running between making a file and filling it may have one
        // seen empty, as it then was; with content each is seen once.
        let filled: Vec<_> =
            new.iter().filter(|event| event["payload"]["size_bytes"] != 0).cloned().collect();
        let modified =
            artifact_changes(&filled).iter().filter(|(what, _)| what == "modified").count();
        assert_eq!(modified, files);
        let verdicts = |feature: &str| {
            let of = |event: &&Value| {
                event["event_type"] == "mission_dossier_snapshot_computed"
                    && event["feature_slug"] == feature
            };
            new.iter().filter(of).count()
        };
        assert_eq!((verdicts(FEATURE), verdicts("002-y")), (1, 1));
    }
    daemon.stop();
}

#[test]
fn a_worktree_is_held_by_its_own_lock() {
    let mut project = Project::complete();
    if !repository(&project, 20) {
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
    wait_for("a deletion that waits", || {
        let overview = daemon.get_json(&format!("/api/dossier/overview?feature={FEATURE}"));
        (overview["watch"] == "settling").then_some(())
    });
    fs::remove_file(&lock).unwrap();
    wait_for("the end of the hold", || {
        let overview = daemon.get_json(&format!("/api/dossier/overview?feature={FEATURE}"));
        (overview["watch"] == "live").then_some(())
    });
    assert_eq!(
        deleted(&assert_invariants(&project, &daemon, &mut journal)),
        ["research/only-one.md"]
    );
    // One that stays holds for two seconds and no longer.
    fs::write(&lock, "").unwrap();
    fs::remove_file(project.feature_dir().join("research/0/0.md")).unwrap();
    wait_for("the deletion", || (!journal.read_new(&daemon).is_empty()).then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    assert!(lock.exists());
    daemon.stop();
}

#[test]
fn a_verdict_waits_for_git_whatever_changed_and_deletions_also_at_a_start() {
    let project = Project::complete().config("settle: {git_ms: 30000}\n");
    project.write("kitty-specs/002-y/spec.md", "x\n");
    if !repository(&project, 2) {
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
    let verdicts = |events: &[Value]| {
        let of = |event: &&Value| event["event_type"] == "mission_dossier_snapshot_computed";
        events.iter().filter(of).count()
    };
    fs::write(&lock, "").unwrap();
    write_file(&project.feature_dir().join("spec.md"), b"changed\n");
    let new = wait_for("the change", || {
        let new = journal.read_new(&daemon);
        (!new.is_empty()).then_some(new)
    });
    assert_eq!(artifact_changes(&new), [("modified".to_owned(), "spec.md".to_owned())]);
    assert_eq!(verdicts(&new), 0);
    wait_for("a verdict that waits", || settling(&daemon));
    fs::remove_file(&lock).unwrap();
    assert_eq!(verdicts(&assert_invariants(&project, &daemon, &mut journal)), 1);
    daemon.stop();

    let aside = project.home().join("aside");
    let whole = project.home().join("whole");
    let (spec, other) =
        (project.feature_dir().join("spec.md"), project.root.join("kitty-specs/002-y"));
    fs::write(&lock, "").unwrap();
    fs::rename(&spec, &aside).unwrap();
    fs::rename(&other, &whole).unwrap();
    let daemon = project.start_daemon();
    wait_for("deletions that wait", || settling(&daemon));
    fs::rename(&aside, &spec).unwrap();
    fs::rename(&whole, &other).unwrap();
    fs::remove_file(&lock).unwrap();
    assert_eq!(artifact_changes(&assert_invariants(&project, &daemon, &mut journal)), []);
    daemon.stop();
}

#[test]
fn reading_everything_again_raises_no_event_and_finds_what_none_told_of() {
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
        not_run("writes through a mapping (no working `python3`)");
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

//! What the daemon says and does when the disk fails its store: full, read-only, failing, corrupt;
//! and when the process has no descriptor left.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use rustix::process::{Pid, Signal};

use crate::support::invariants::{JournalReader, artifact_changes, assert_invariants};
use crate::support::kernel::{Mount, can_run, is_root, send_signal, sh, wrap_command};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, sha256, write_file};

/// A project whose daemon keeps its state on a small file system of its own.
fn on_a_small_disk(what: &str) -> Option<(Project, Mount)> {
    if !is_root(what) {
        return None;
    }
    let project = Project::complete();
    let mount = Mount::new(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], &project.state_dir());
    Some((project, mount))
}

fn store_state(daemon: &Daemon) -> (String, String) {
    let status = daemon.get_json("/api/status");
    let text = |name: &str| status["store"][name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("detail"))
}

fn wait_for_store(daemon: &Daemon, state: &str) -> String {
    wait_for(&format!("a store that is {state}"), || {
        let (now, detail) = store_state(daemon);
        (now == state).then_some(detail)
    })
}

/// Holds that what is asked for is the truth on the disk, though the store cannot be written.
fn queries_go_on(project: &Project, daemon: &Daemon, text: &str) {
    write_file(&project.feature_dir().join("spec.md"), text.as_bytes());
    let export = daemon.export(FEATURE);
    let all = export["artifact_summaries"].as_array().unwrap();
    let spec = all.iter().find(|one| one["relative_path"] == "spec.md").unwrap();
    assert_eq!(spec["content_hash_sha256"], sha256(text.as_bytes()));
}

#[test]
fn a_full_disk_is_said_and_outlived() {
    let Some((project, mount)) = on_a_small_disk("a full disk") else {
        return;
    };
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let ballast = mount.0.join("ballast");
    let mut file = File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    // The log has some room of its own.
    let mut round = 0;
    let detail = wait_for("a full disk", || {
        round += 1;
        queries_go_on(&project, &daemon, &format!("{round}\n"));
        let (state, detail) = store_state(&daemon);
        (state == "degraded").then_some(detail)
    });
    assert!(detail.contains("full"), "{detail}");
    queries_go_on(&project, &daemon, "while it is full\n");
    let failures = || {
        let metrics = daemon.get("/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with("dossierd_commit_failures_total "));
        line.unwrap().split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = failures();
    wait_for("three more tries", || (failures() >= before + 3).then_some(()));
    assert!(!daemon.log().contains("can be written again"), "{}", daemon.log());
    fs::remove_file(&ballast).unwrap();
    wait_for_store(&daemon, "ok");
    wait_for("a word of that", || daemon.log().contains("can be written again").then_some(()));
    queries_go_on(&project, &daemon, "after that\n");
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

/// Holds that a daemon that could not open its store says so, answers, and goes on from what the
/// store holds when it can be opened.
fn begins_without_a_store(project: &Project, mend: impl FnOnce(), journal: &mut JournalReader) {
    let daemon = project.start_daemon();
    let (state, detail) = store_state(&daemon);
    assert_eq!(state, "degraded");
    assert!(detail.contains("dossierd.sqlite3"), "{detail}");
    queries_go_on(project, &daemon, "without a store\n");
    mend();
    wait_for_store(&daemon, "ok");
    queries_go_on(project, &daemon, "after that\n");
    let new = assert_invariants(project, &daemon, journal);
    let seen = artifact_changes(&new);
    let known = journal.events.len() > new.len();
    let modified = seen.iter().all(|seen| *seen == ("modified".to_owned(), "spec.md".to_owned()));
    assert!(!known || modified, "what was known is no news: {seen:?}");
    daemon.stop();
}

#[test]
fn a_disk_that_is_full_at_the_start_is_said_and_outlived() {
    let Some((project, mount)) = on_a_small_disk("a disk that is full at the start") else {
        return;
    };
    let ballast = mount.0.join("ballast");
    let mut journal = JournalReader::default();
    let mut file = File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    begins_without_a_store(&project, || fs::remove_file(&ballast).unwrap(), &mut journal);
}

#[test]
fn a_disk_that_is_read_only_at_the_start_is_said_and_outlived() {
    let Some((project, mount)) = on_a_small_disk("a disk that is read-only at the start") else {
        return;
    };
    let mut journal = JournalReader::default();
    let daemon = project.start_daemon();
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
    let path = mount.0.to_str().unwrap().to_owned();
    sh(&["mount", "-o", "remount,ro", &path]);
    let writable = || sh(&["mount", "-o", "remount,rw", &path]);
    begins_without_a_store(&project, writable, &mut journal);
}

#[test]
fn a_disk_that_becomes_read_only_is_said_and_outlived() {
    let Some((project, mount)) = on_a_small_disk("a disk that becomes read-only") else {
        return;
    };
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let path = mount.0.to_str().unwrap();
    // Files that are open for writing keep a real disk from this; the store is made to let go.
    let kernel_refuses = std::process::Command::new("mount")
        .args(["-o", "remount,ro", path])
        .output()
        .is_ok_and(|output| !output.status.success());
    if kernel_refuses {
        // What is open stays writable then: nothing may change for the daemon.
        queries_go_on(&project, &daemon, "still\n");
        assert_eq!(store_state(&daemon).0, "ok");
    } else {
        queries_go_on(&project, &daemon, "read-only\n");
        wait_for_store(&daemon, "degraded");
        sh(&["mount", "-o", "remount,rw", path]);
        wait_for_store(&daemon, "ok");
    }
    queries_go_on(&project, &daemon, "after that\n");
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

/// A daemon some of whose system calls fail; ended by a signal to itself, for its tracer is not it.
struct Failing {
    daemon: Daemon,
    process: Pid,
}

impl Failing {
    fn start(project: &Project, inject: &str) -> Option<Self> {
        let trace = project.home().join("trace");
        let call = inject.split(':').next().unwrap();
        let (inject, call) = (format!("inject={inject}"), format!("trace={call}"));
        let trace = trace.to_str().unwrap();
        let wrapper = ["strace", "-f", "-qq", "-o", trace, "-e", &call, "-e", &inject];
        let mut trial = wrapper.to_vec();
        trial.push("true");
        if !can_run("system calls that fail", &trial) {
            return None;
        }
        let daemon = project.spawn_daemon(wrap_command(&wrapper, &project.daemon_command()));
        daemon.wait_until_ready();
        let process = daemon.pid();
        Some(Self { daemon, process })
    }

    fn stop(mut self) {
        send_signal(self.process, Signal::TERM);
        self.daemon.wait_for_exit();
    }
}

#[test]
fn writes_that_fail_are_said_and_outlived() {
    for inject in [
        "pwrite64:error=EIO:when=60..66",
        "fsync:error=EIO:when=12..13",
        "pwrite64:error=ENOSPC:when=60..66",
    ] {
        let project = Project::complete();
        project.start_daemon().stop();
        let Some(failing) = Failing::start(&project, inject) else {
            return;
        };
        let mut journal = JournalReader::default();
        let mut round = 0;
        wait_for(&format!("{inject}: something that fails"), || {
            round += 1;
            queries_go_on(&project, &failing.daemon, &format!("{round}\n"));
            failing.daemon.log().contains("not durable").then_some(())
        });
        wait_for_store(&failing.daemon, "ok");
        assert_invariants(&project, &failing.daemon, &mut journal);
        failing.stop();
        // What a fresh start finds is the same.
        let daemon = project.start_daemon();
        assert_invariants(&project, &daemon, &mut journal);
        daemon.stop();
    }
}

fn store_file(project: &Project) -> PathBuf {
    project.state_dir().join("dossierd.sqlite3")
}

fn set_aside(project: &Project) -> Vec<PathBuf> {
    let entries = fs::read_dir(project.state_dir()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_store = |path: &PathBuf| {
        let name = path.to_str().unwrap();
        name.contains("sqlite3.corrupt-") && !name.ends_with("-wal") && !name.ends_with("-shm")
    };
    paths.filter(is_store).collect()
}

#[test]
fn a_corrupt_store_is_set_aside_and_built_again() {
    for damage in ["header", "middle"] {
        let project = Project::complete();
        let daemon = project.start_daemon();
        assert_invariants(&project, &daemon, &mut JournalReader::default());
        let before = daemon.status()["instance"].clone();
        daemon.stop();
        let mut file = File::options().write(true).open(store_file(&project)).unwrap();
        let length = file.metadata().unwrap().len();
        let (from, count) = if damage == "header" { (0, 100) } else { (4096, length - 4096) };
        file.seek(SeekFrom::Start(from)).unwrap();
        file.write_all(&vec![0x5a; usize::try_from(count).unwrap()]).unwrap();
        drop(file);
        let daemon = project.start_daemon();
        wait_for("a store set aside", || (set_aside(&project).len() == 1).then_some(()));
        wait_for_store(&daemon, "ok");
        let mut journal = JournalReader::default();
        let new = assert_invariants(&project, &daemon, &mut journal);
        assert_eq!(artifact_changes(&new).iter().filter(|(what, _)| what == "added").count(), 5);
        let aside = set_aside(&project);
        assert_eq!(aside.len(), 1, "{damage}");
        let status = daemon.status();
        assert_ne!(status["instance"], before);
        assert_eq!(status["store"]["state"], "ok");
        let detail = status["store"]["detail"].as_str().unwrap();
        assert!(detail.contains(aside[0].to_str().unwrap()), "{detail}");
        assert!(daemon.log().contains(aside[0].to_str().unwrap()));
        let kept = fs::read(&aside[0]).unwrap();
        assert!(kept.windows(8).any(|bytes| bytes == [0x5a; 8]), "{damage}: not what it was");
        daemon.stop();
    }
}

#[test]
fn a_store_that_becomes_corrupt_is_set_aside_while_it_runs() {
    let project = Project::complete();
    for number in 0..400 {
        project
            .write(&format!("kitty-specs/{FEATURE}/research/{number}.md"), format!("{number}\n"));
    }
    project.start_daemon().stop();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let before = daemon.status()["instance"].clone();
    let mut file = File::options().write(true).open(store_file(&project)).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0x5a; usize::try_from(length - 4096).unwrap()]).unwrap();
    drop(file);
    let mut round = 0;
    wait_for("a new store", || {
        round += 1;
        for number in (round % 7..400).step_by(7) {
            let path = format!("kitty-specs/{FEATURE}/research/{number}.md");
            project.write(&path, format!("{round} {number}\n"));
        }
        (daemon.status()["instance"] != before).then_some(())
    });
    assert_eq!(set_aside(&project).len(), 1);
    wait_for_store(&daemon, "ok");
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    daemon.stop();
}

#[test]
fn without_a_descriptor_nothing_is_taken_for_unreadable() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    // One connection is there before; the next could not be accepted.
    let process = daemon.pid();
    let open = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).unwrap().count();
    let set = |limit: u64| {
        rustix::process::prlimit(
            Some(process),
            rustix::process::Resource::Nofile,
            rustix::process::Rlimit { current: Some(limit), maximum: Some(4096) },
        )
        .unwrap()
    };
    set(open as u64 - 2);
    for number in 0..50 {
        project
            .write(&format!("kitty-specs/{FEATURE}/research/{number}.md"), format!("{number}\n"));
    }
    write_file(&project.feature_dir().join("spec.md"), b"changed\n");
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    wait_for("what the log says", || daemon.log().contains("no descriptor").then_some(()));
    set(4096);
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert!(!new.iter().any(|event| event["payload"]["reason_code"] == "unreadable"), "{new:#?}");
    daemon.stop();
}

#[test]
fn after_a_power_cut_index_and_journal_are_of_one_moment() {
    let what = "a power cut";
    if !is_root(what) || !can_run(what, &["mkfs.ext4", "-V"]) {
        return;
    }
    let project = Project::complete();
    let image = project.home().join("image");
    let mounted = |image: &PathBuf, at: &PathBuf| {
        Mount::new(&["-o", "loop,noauto_da_alloc", image.to_str().unwrap()], at)
    };
    File::create(&image).unwrap().set_len(48 << 20).unwrap();
    sh(&["mkfs.ext4", "-q", "-F", image.to_str().unwrap()]);
    let disk = mounted(&image, &project.state_dir());
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    for round in 0..300 {
        let path = format!("kitty-specs/{FEATURE}/research/{}.md", round % 40);
        project.write(&path, format!("{round}\n"));
        if round == 200 {
            assert_invariants(&project, &daemon, &mut journal);
        }
    }
    // What is on the disk now is what a machine without power would find.
    let copy = project.home().join("copy");
    sh(&["cp", image.to_str().unwrap(), copy.to_str().unwrap()]);
    assert_invariants(&project, &daemon, &mut journal);
    daemon.kill();
    disk.unmount();
    let disk = mounted(&copy, &project.state_dir());
    let daemon = project.start_daemon();
    assert_eq!(set_aside(&project), [] as [PathBuf; 0]);
    // The law folds the journal from its begin: it and the index say the same.
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    daemon.stop();
    drop(disk);
}

#[test]
fn a_clock_that_jumps_changes_no_order() {
    let what = "a clock that jumps";
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !std::path::Path::new(library).exists() {
        crate::support::not_run(&format!("{what} (no libfaketime)"));
        return;
    }
    let project = Project::complete();
    let mut journal = JournalReader::default();
    for time in ["+0d", "-400d", "+400d", "-1d"] {
        let mut command = project.daemon_command();
        command.env("LD_PRELOAD", library).env("FAKETIME", time).env("DONT_FAKE_MONOTONIC", "1");
        let daemon = project.spawn_daemon(command);
        daemon.wait_until_ready();
        write_file(&project.feature_dir().join("spec.md"), time.as_bytes());
        // It reads the journal on, and holds that numbers and ids only grow.
        assert_invariants(&project, &daemon, &mut journal);
        daemon.stop();
    }
}

#[test]
fn a_burst_of_events_makes_the_journal_no_longer_than_it_may_be() {
    let project = Project::complete().config("journal: {max_bytes: 200 KiB}\n");
    for number in 0..2_000 {
        project.write(&format!("kitty-specs/{FEATURE}/research/{number}.md"), "note\n");
    }
    let daemon = project.start_daemon();
    daemon.export(FEATURE);
    let first = || daemon.get_json("/api/events?since=start&limit=1")["events"][0]["seq"].as_u64();
    wait_for("what is too old to go", || first().filter(|first| *first > 1_000));
    daemon.stop();
}

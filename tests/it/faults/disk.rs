//! Faults of the disk that has the store: full, read-only, failing, corrupt, without power; no free
//! file descriptor; clock jumps.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use rustix::process::{Pid, Signal};

use crate::support::invariants::{JournalReader, artifact_changes, assert_invariants};
use crate::support::kernel::{Mount, can_run, fill_disk, is_root, send_signal, sh, wrap_command};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, not_run, sha256, write_file};

/// Creates a project whose state directory is a small file system; returns `None` and reports it
/// without root.
fn with_small_disk(what: &str) -> Option<(Project, Mount)> {
    if !is_root(what) {
        return None;
    }
    let project = Project::complete();
    let mount =
        Mount::new(&["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"], &project.state_dir());
    Some((project, mount))
}

/// Returns state and detail of the store, without waiting for earlier changes.
fn store_state(daemon: &Daemon) -> (String, String) {
    let status = daemon.get_json("/api/status");
    let text = |name: &str| status["store"][name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("detail"))
}

/// Waits until the store has the state; returns its detail.
fn wait_for_store(daemon: &Daemon, state: &str) -> String {
    wait_for(&format!("store state `{state}`"), || {
        let (now, detail) = store_state(daemon);
        (now == state).then_some(detail)
    })
}

/// Changes a file, and checks that the daemon shows the change although it may not be able to store
/// it.
fn assert_change_is_shown(project: &Project, daemon: &Daemon, text: &str) {
    write_file(&project.feature_dir().join("spec.md"), text.as_bytes());
    let export = daemon.export(FEATURE);
    let artifacts = export["artifact_summaries"].as_array().unwrap();
    let spec = artifacts.iter().find(|artifact| artifact["relative_path"] == "spec.md").unwrap();
    assert_eq!(spec["content_hash_sha256"], sha256(text.as_bytes()));
}

#[test]
fn full_disk_is_reported_and_recovered_from() {
    let Some((project, mount)) = with_small_disk("a full disk") else {
        return;
    };
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let ballast = mount.0.join("ballast");
    fill_disk(&ballast);
    // The write-ahead log still has some allocated space.
    let mut attempt = 0;
    let detail = wait_for("a full disk", || {
        attempt += 1;
        assert_change_is_shown(&project, &daemon, &format!("{attempt}\n"));
        let (state, detail) = store_state(&daemon);
        (state == "degraded").then_some(detail)
    });
    assert!(detail.contains("full"), "{detail}");
    assert_change_is_shown(&project, &daemon, "disk full\n");
    let failures = || {
        let metrics = daemon.get("/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with("dossierd_commit_failures_total "));
        line.unwrap().split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = failures();
    wait_for("three more attempts", || (failures() >= before + 3).then_some(()));
    assert!(!daemon.log().contains("store writes succeed again"), "{}", daemon.log());
    fs::remove_file(&ballast).unwrap();
    wait_for_store(&daemon, "ok");
    wait_for("the log line", || daemon.log().contains("store writes succeed again").then_some(()));
    assert_change_is_shown(&project, &daemon, "recovered\n");
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

/// Checks that a daemon that cannot open its store reports it and answers requests, and that it
/// continues with the contents of the store after `fix`.
fn assert_starts_without_store(project: &Project, fix: impl FnOnce(), journal: &mut JournalReader) {
    let daemon = project.start_daemon();
    let (state, detail) = store_state(&daemon);
    assert_eq!(state, "degraded");
    assert!(detail.contains("dossierd.sqlite3"), "{detail}");
    assert_change_is_shown(project, &daemon, "without a store\n");
    fix();
    wait_for_store(&daemon, "ok");
    assert_change_is_shown(project, &daemon, "recovered\n");
    let new = assert_invariants(project, &daemon, journal);
    let changes = artifact_changes(&new);
    let had_events = journal.events.len() > new.len();
    let only_modified =
        changes.iter().all(|change| *change == ("modified".to_owned(), "spec.md".to_owned()));
    assert!(!had_events || only_modified, "stored artifacts are not reported again: {changes:?}");
    daemon.stop();
}

#[test]
fn full_disk_at_start_is_reported_and_recovered_from() {
    let Some((project, mount)) = with_small_disk("a full disk at the start") else {
        return;
    };
    let ballast = mount.0.join("ballast");
    let mut journal = JournalReader::default();
    fill_disk(&ballast);
    assert_starts_without_store(&project, || fs::remove_file(&ballast).unwrap(), &mut journal);
}

#[test]
fn read_only_disk_at_start_is_reported_and_recovered_from() {
    let Some((project, mount)) = with_small_disk("a read-only disk at the start") else {
        return;
    };
    let mut journal = JournalReader::default();
    let daemon = project.start_daemon();
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
    let path = mount.0.to_str().unwrap().to_owned();
    sh(&["mount", "-o", "remount,ro", &path]);
    let writable = || sh(&["mount", "-o", "remount,rw", &path]);
    assert_starts_without_store(&project, writable, &mut journal);
}

#[test]
fn disk_that_becomes_read_only_is_reported_and_recovered_from() {
    let Some((project, mount)) = with_small_disk("a disk that becomes read-only") else {
        return;
    };
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let path = mount.0.to_str().unwrap();
    // The kernel refuses to remount a file system read-only while files are open for writing.
    let is_refused = std::process::Command::new("mount")
        .args(["-o", "remount,ro", path])
        .output()
        .is_ok_and(|output| !output.status.success());
    if is_refused {
        // The open files are still writable, so nothing changes for the daemon.
        assert_change_is_shown(&project, &daemon, "still writable\n");
        assert_eq!(store_state(&daemon).0, "ok");
    } else {
        assert_change_is_shown(&project, &daemon, "read-only\n");
        wait_for_store(&daemon, "degraded");
        sh(&["mount", "-o", "remount,rw", path]);
        wait_for_store(&daemon, "ok");
    }
    assert_change_is_shown(&project, &daemon, "recovered\n");
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

/// A daemon whose system calls `strace` makes fail. Signals go to the daemon itself, not to
/// `strace`.
struct FailingDaemon {
    daemon: Daemon,
    process: Pid,
}

impl FailingDaemon {
    fn start(project: &Project, inject: &str) -> Option<Self> {
        let trace = project.home().join("trace");
        let call = inject.split(':').next().unwrap();
        let (inject, call) = (format!("inject={inject}"), format!("trace={call}"));
        let trace = trace.to_str().unwrap();
        let wrapper = ["strace", "-f", "-qq", "-o", trace, "-e", &call, "-e", &inject];
        let mut trial = wrapper.to_vec();
        trial.push("true");
        if !can_run("failing system calls", &trial) {
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
fn failing_writes_are_reported_and_recovered_from() {
    for inject in [
        "pwrite64:error=EIO:when=60..66",
        "fsync:error=EIO:when=7..8",
        "pwrite64:error=ENOSPC:when=60..66",
    ] {
        let project = Project::complete();
        project.start_daemon().stop();
        let Some(failing) = FailingDaemon::start(&project, inject) else {
            return;
        };
        let mut journal = JournalReader::default();
        let mut attempt = 0;
        wait_for(&format!("{inject}: a failed write"), || {
            attempt += 1;
            assert_change_is_shown(&project, &failing.daemon, &format!("{attempt}\n"));
            failing.daemon.log().contains("store write failed").then_some(())
        });
        // What was logged is published a moment later.
        wait_for(&format!("{inject}: a write that succeeds"), || {
            failing.daemon.log().contains("store writes succeed again").then_some(())
        });
        wait_for_store(&failing.daemon, "ok");
        assert_invariants(&project, &failing.daemon, &mut journal);
        failing.stop();
        // A restart finds the same state.
        let daemon = project.start_daemon();
        assert_invariants(&project, &daemon, &mut journal);
        daemon.stop();
    }
}

fn store_file(project: &Project) -> PathBuf {
    project.state_dir().join("dossierd.sqlite3")
}

/// Returns the paths of quarantined stores.
fn quarantined_stores(project: &Project) -> Vec<PathBuf> {
    let entries = fs::read_dir(project.state_dir()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_store = |path: &PathBuf| {
        let name = path.to_str().unwrap();
        name.contains("sqlite3.corrupt-") && !name.ends_with("-wal") && !name.ends_with("-shm")
    };
    paths.filter(is_store).collect()
}

#[test]
fn corrupt_store_is_quarantined_and_rebuilt() {
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
        wait_for("a quarantined store", || (quarantined_stores(&project).len() == 1).then_some(()));
        wait_for_store(&daemon, "ok");
        let mut journal = JournalReader::default();
        let new = assert_invariants(&project, &daemon, &mut journal);
        assert_eq!(
            artifact_changes(&new).iter().filter(|(change, _)| change == "added").count(),
            5
        );
        let quarantined = quarantined_stores(&project);
        assert_eq!(quarantined.len(), 1, "{damage}");
        let status = daemon.status();
        assert_ne!(status["instance"], before);
        assert_eq!(status["store"]["state"], "ok");
        let detail = status["store"]["detail"].as_str().unwrap();
        assert!(detail.contains(quarantined[0].to_str().unwrap()), "{detail}");
        assert!(daemon.log().contains(quarantined[0].to_str().unwrap()));
        let bytes = fs::read(&quarantined[0]).unwrap();
        assert!(bytes.windows(8).any(|part| part == [0x5a; 8]), "{damage}: not the corrupt file");
        daemon.stop();
    }
}

#[test]
fn store_corrupted_while_running_is_quarantined_and_rebuilt() {
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
    let mut iteration = 0;
    wait_for("a new store", || {
        iteration += 1;
        for number in (iteration % 7..400).step_by(7) {
            let path = format!("kitty-specs/{FEATURE}/research/{number}.md");
            project.write(&path, format!("{iteration} {number}\n"));
        }
        (daemon.status()["instance"] != before).then_some(())
    });
    assert_eq!(quarantined_stores(&project).len(), 1);
    wait_for_store(&daemon, "ok");
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    daemon.stop();
}

#[test]
fn lack_of_descriptors_marks_no_file_unreadable() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    // The new limit is below the number of open descriptors, so no file can be opened.
    let process = daemon.pid();
    let open = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).unwrap().count();
    let set_limit = |limit: u64| {
        rustix::process::prlimit(
            Some(process),
            rustix::process::Resource::Nofile,
            rustix::process::Rlimit { current: Some(limit), maximum: Some(4096) },
        )
        .unwrap()
    };
    set_limit(open as u64 - 2);
    for number in 0..50 {
        project
            .write(&format!("kitty-specs/{FEATURE}/research/{number}.md"), format!("{number}\n"));
    }
    write_file(&project.feature_dir().join("spec.md"), b"changed\n");
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    wait_for("the log line", || daemon.log().contains("out of file descriptors").then_some(()));
    set_limit(4096);
    let new = assert_invariants(&project, &daemon, &mut journal);
    assert!(!new.iter().any(|event| event["payload"]["reason_code"] == "unreadable"), "{new:#?}");
    daemon.stop();
}

#[test]
fn lack_of_descriptors_changes_no_metadata() {
    const MANIFEST: &str = ".kittify/missions/software-dev/expected-artifacts.yaml";
    let manifest = "mission_type: software-dev\nmanifest_version: '7'\nrequired_always:\n  \
                    - {artifact_key: input.spec, artifact_class: input, path_pattern: spec.md}\n";
    let runs =
        format!("{{\"{FEATURE}\": {{\"run_id\": \"r\", \"run_dir\": \".kittify/runtime/1\"}}}}");
    let project = Project::complete()
        .file(MANIFEST, manifest)
        .file(".kittify/runtime/feature-runs.json", runs)
        .file(".kittify/runtime/1/state.json", "{\"issued_step_id\": \"plan\"}");
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let before = daemon.overview(FEATURE);
    assert_eq!((&before["drift"]["state"], &before["step"]), (&"in_parity".into(), &"plan".into()));
    // A connection that is open needs no further descriptor.
    let mut connection = std::os::unix::net::UnixStream::connect(project.socket()).unwrap();
    let mut metadata_reads = || {
        connection.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        let mut buffer = [0; 4096];
        loop {
            let length = connection.read(&mut buffer).unwrap();
            text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            let value = text.split("\ndossierd_metadata_reads_total ").nth(1);
            if let Some((value, _)) = value.and_then(|rest| rest.split_once('\n')) {
                // The rest of the response is read, too.
                let head = text.split_once("\r\n\r\n").unwrap();
                let length = head.0.split("content-length: ").nth(1).unwrap();
                let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
                if head.1.len() >= length {
                    return value.parse::<u64>().unwrap();
                }
            }
        }
    };
    let process = daemon.pid();
    // A limit below which so many numbers of descriptors are free.
    let limit_with = |free: usize| {
        let open = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).unwrap();
        let number = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().to_str().unwrap().parse::<u64>().unwrap()
        };
        let open: std::collections::BTreeSet<u64> = open.map(number).collect();
        (0..).filter(|number| !open.contains(number)).nth(free).unwrap()
    };
    let set_limit = |limit: u64| {
        let limit = rustix::process::Rlimit { current: Some(limit), maximum: Some(4096) };
        rustix::process::prlimit(Some(process), rustix::process::Resource::Nofile, limit).unwrap();
    };
    // Not `meta.json`, which is read again when the file is checked.
    let files = [
        project.root.join(MANIFEST),
        project.root.join(".kittify/runtime/1/state.json"),
        project.root.join(".kittify/config.yaml"),
        project.baseline_file(),
    ];
    for free in 0..8 {
        set_limit(limit_with(free));
        for _ in 0..3 {
            let reads = metadata_reads();
            for file in &files {
                let copy = file.with_file_name(".copy");
                fs::copy(file, &copy).unwrap();
                fs::rename(&copy, file).unwrap();
            }
            wait_for("the metadata to be read", || (metadata_reads() > reads).then_some(()));
        }
        set_limit(4096);
        let events = assert_invariants(&project, &daemon, &mut journal);
        assert!(events.is_empty(), "{free} descriptors: {events:#?}");
        let after = daemon.overview(FEATURE);
        for field in
            ["completeness_status", "drift", "step", "step_source", "manifest_version", "mission"]
        {
            assert_eq!(after[field], before[field], "{free} descriptors: {after:#}");
        }
    }
    daemon.stop();
}

#[test]
fn index_and_journal_agree_after_a_power_failure() {
    let what = "a power failure";
    if !is_root(what) || !can_run(what, &["mkfs.ext4", "-V"]) {
        return;
    }
    let project = Project::complete();
    let image = project.home().join("image");
    let mount = |image: &PathBuf, at: &PathBuf| {
        Mount::new(&["-o", "loop,noauto_da_alloc", image.to_str().unwrap()], at)
    };
    File::create(&image).unwrap().set_len(48 << 20).unwrap();
    sh(&["mkfs.ext4", "-q", "-F", image.to_str().unwrap()]);
    let disk = mount(&image, &project.state_dir());
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    for number in 0..300 {
        let path = format!("kitty-specs/{FEATURE}/research/{}.md", number % 40);
        project.write(&path, format!("{number}\n"));
        if number == 200 {
            assert_invariants(&project, &daemon, &mut journal);
        }
    }
    // The image now is what remains after a power failure.
    let copy = project.home().join("copy");
    sh(&["cp", image.to_str().unwrap(), copy.to_str().unwrap()]);
    assert_invariants(&project, &daemon, &mut journal);
    daemon.kill();
    disk.unmount();
    let disk = mount(&copy, &project.state_dir());
    let daemon = project.start_daemon();
    assert_eq!(quarantined_stores(&project), [] as [PathBuf; 0]);
    // The journal is read from its start, so it must describe the state in the index.
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    daemon.stop();
    drop(disk);
}

#[test]
fn clock_jumps_do_not_change_the_order_of_events() {
    let what = "clock jumps";
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !std::path::Path::new(library).exists() {
        not_run(&format!("{what} (no libfaketime)"));
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
        // Continues to read the journal, and checks that sequence numbers and ids are in order.
        assert_invariants(&project, &daemon, &mut journal);
        daemon.stop();
    }
}

#[test]
fn journal_is_pruned_during_a_burst_of_events() {
    let project = Project::complete().config("journal: {max_bytes: 200 KiB}\n");
    for number in 0..2_000 {
        project.write(&format!("kitty-specs/{FEATURE}/research/{number}.md"), "note\n");
    }
    let daemon = project.start_daemon();
    daemon.export(FEATURE);
    let first = || daemon.get_json("/api/events?since=start&limit=1")["events"][0]["seq"].as_u64();
    wait_for("old events to be deleted", || first().filter(|first| *first > 1_000));
    daemon.stop();
}

#[test]
fn stop_syncs_no_file_that_can_be_made_again() {
    const FEATURES: usize = 40;
    let project = Project::complete();
    let spec = |feature: usize| format!("kitty-specs/{feature:03}-y/spec.md");
    for feature in 0..FEATURES {
        project.write(&spec(feature), "# Spec\n");
    }
    let trace = project.home().join("trace");
    let (text, call) = (trace.to_str().unwrap(), "trace=fsync,fdatasync");
    let wrapper = ["strace", "-f", "-qq", "-o", text, "-e", call];
    let mut trial = wrapper.to_vec();
    trial.push("true");
    if !can_run("syncs at a stop", &trial) {
        return;
    }
    let mut daemon = project.spawn_daemon(wrap_command(&wrapper, &project.daemon_command()));
    daemon.wait_until_ready();
    let process = daemon.pid();
    for feature in 0..FEATURES {
        project.write(&spec(feature), "# Another spec\n");
    }
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    let syncs = || fs::read_to_string(&trace).unwrap().matches("sync(").count();
    let before = syncs();
    send_signal(process, Signal::TERM);
    daemon.wait_for_exit();
    let during_stop = syncs() - before;
    assert!(during_stop < FEATURES / 2, "{during_stop} syncs during the stop");
    for feature in 0..FEATURES {
        let file = format!(".kittify/dossiers/{feature:03}-y/snapshot-latest.json");
        let text = fs::read_to_string(project.root.join(&file)).unwrap();
        assert!(text.contains(&crate::support::sha256(b"# Another spec\n")), "{file}: {text}");
    }
}

//! Start, stop and restart of the daemon: one process at a time, the socket, files that a restart
//! opens.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::daemon::snapshot_file::snapshot_file;
use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, not_run, panic_variable, write_file};

/// Maximum duration of a stop without pending work, which usually takes much less.
const MAX_STOP_DURATION: Duration = Duration::from_secs(5);

#[test]
fn only_one_of_fifty_daemons_started_at_once_runs() {
    const STARTS: usize = 50;
    let project = Project::complete();
    let mut daemons: Vec<Daemon> =
        (0..STARTS).map(|_| project.spawn_daemon(project.daemon_command())).collect();
    wait_for("49 daemons to exit", || {
        let running = daemons.iter_mut().filter_map(|daemon| daemon.is_running().then_some(()));
        (running.count() == 1).then_some(())
    });
    let index = daemons.iter_mut().position(Daemon::is_running).unwrap();
    let first = daemons.remove(index);
    for mut other in daemons {
        assert!(!other.wait_for_exit().success());
    }
    first.wait_until_ready();
    assert_invariants(&project, &first, &mut JournalReader::default());
    assert_eq!(first.status()["pid"], first.child_id());
    first.kill();
    assert!(project.socket().exists(), "a killed daemon leaves its socket");
    let next = project.start_daemon();
    assert_invariants(&project, &next, &mut JournalReader::default());
    next.stop();
    assert!(!project.socket().exists(), "a clean stop removes the socket");
}

#[test]
fn malloc_settings_have_defaults_that_the_environment_overrides() {
    let project = Project::complete();
    let malloc_settings = |variables: &[(&str, &str)]| {
        let daemon = project.spawn_daemon({
            let mut command = project.daemon_command();
            command.envs(variables.iter().copied());
            command
        });
        daemon.wait_until_ready();
        let environment = fs::read(format!("/proc/{}/environ", daemon.child_id())).unwrap();
        let name = fs::read_to_string(format!("/proc/{}/comm", daemon.child_id())).unwrap();
        assert_eq!(name, "dossierd\n");
        daemon.stop();
        let settings = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let mut settings: Vec<String> = settings
            .filter(|setting| setting.starts_with("MALLOC_"))
            .map(std::borrow::Cow::into_owned)
            .collect();
        settings.sort_unstable();
        settings
    };
    assert_eq!(malloc_settings(&[]), ["MALLOC_ARENA_MAX=2", "MALLOC_TRIM_THRESHOLD_=131072"]);
    let other = malloc_settings(&[("MALLOC_ARENA_MAX", "7")]);
    assert_eq!(other, ["MALLOC_ARENA_MAX=7", "MALLOC_TRIM_THRESHOLD_=131072"]);
}

#[test]
fn stop_is_quick_and_writes_the_last_snapshot() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    // An open stream does not delay the stop.
    let _stream = daemon.open_stream("", &[]);
    write_file(&project.feature_dir().join("spec.md"), b"# Spec, last change\n");
    let export = daemon.export(FEATURE);
    let start = Instant::now();
    daemon.stop();
    assert!(start.elapsed() < MAX_STOP_DURATION, "{:?}", start.elapsed());
    let written = fs::read(snapshot_file(&project)).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), export);
    let daemon = project.start_daemon();
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

#[test]
fn stop_leaves_the_store_in_one_file_also_after_events_were_read() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    let _stream = daemon.open_stream("?since=start", &[]);
    daemon.stop();
    let names = fs::read_dir(project.state_dir()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    let of_store = names.iter().filter(|name| name.to_str().unwrap().contains("dossierd.sqlite3"));
    assert_eq!(of_store.collect::<Vec<_>>(), ["dossierd.sqlite3"], "{names:?}");
    // The content store may not have been opened yet.
    let of_history = names.iter().filter(|name| name.to_str().unwrap().contains("history.sqlite3"));
    assert!(
        of_history.collect::<Vec<_>>().iter().all(|name| *name == "history.sqlite3"),
        "{names:?}"
    );
}

#[test]
fn socket_and_its_directories_are_private() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&project.socket()), 0o600);
    assert_eq!(mode(project.socket().parent().unwrap()), 0o700);
    assert_eq!(mode(&project.state_dir()), 0o700);
    daemon.stop();
}

/// Creates something at the path of the socket.
type Plant = fn(&Path);

#[test]
fn file_planted_at_the_socket_path_is_rejected_and_left_unchanged() {
    let remove = "remove it, or choose another socket with --socket";
    let cases: [(&str, &str, Plant); 4] = [
        ("a symbolic link", remove, |path| symlink("/tmp/elsewhere.sock", path).unwrap()),
        ("not a socket", remove, |path| fs::write(path, "mine").unwrap()),
        ("not a socket", remove, |path| fs::create_dir(path).unwrap()),
        ("can be entered by other users", "or `chmod 700` this one if only you use it", |path| {
            let dir = path.parent().unwrap();
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }),
    ];
    for (message, fix, plant) in cases {
        let project = Project::complete();
        let socket = project.socket();
        let dir = socket.parent().unwrap();
        fs::create_dir_all(dir).unwrap();
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
        plant(&socket);
        let before = fs::symlink_metadata(&socket).map(|found| found.file_type()).ok();
        let mut daemon = project.spawn_daemon(project.daemon_command());
        assert!(!daemon.wait_for_exit().success());
        assert!(daemon.log().contains(message), "{message}: {}", daemon.log());
        assert!(daemon.log().contains(fix), "{fix}: {}", daemon.log());
        let after = fs::symlink_metadata(&socket).map(|found| found.file_type()).ok();
        assert_eq!(before, after, "{message}");
    }
    // A socket on which another process listens is left unchanged.
    let project = Project::complete();
    let socket = project.socket();
    write_file(&socket, b"");
    fs::remove_file(&socket).unwrap();
    let dir = socket.parent().unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut daemon = project.spawn_daemon(project.daemon_command());
    assert!(!daemon.wait_for_exit().success());
    let log = daemon.log();
    assert!(log.contains("already answers") && log.contains("--socket"), "the fix: {log}");
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
    drop(listener);
    // A socket on which no process listens is replaced.
    project.start_daemon().stop();
}

/// Starts a daemon under `strace` until it is ready; returns the system calls that opened files
/// named `artifact-*`. Returns `None` and reports it if there is no `strace`.
fn opened_at_start(project: &Project) -> Option<Vec<String>> {
    let trace = project.home().join("trace");
    let mut trial = Command::new("strace");
    trial.args(["-f", "-o"]).arg(&trace).arg("true").stderr(Stdio::null());
    if !trial.status().is_ok_and(|status| status.success()) {
        not_run("which files a restart opens (no working `strace`)");
        return None;
    }
    let daemon_command = project.daemon_command();
    let command = project.command(&[]);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-e", "trace=openat,openat2,open", "-o"]).arg(&trace);
    traced.arg(daemon_command.get_program()).args(daemon_command.get_args());
    traced.current_dir(&project.root).env_clear();
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut daemon = project.spawn_daemon(traced);
    daemon.wait_until_ready();
    daemon.status();
    // The history reads each new version again, and would continue at the next start.
    // Its thread has a low priority, and `strace` makes everything slow.
    let begin = Instant::now();
    while daemon.get_json("/api/history")["backlog"] != 0 {
        assert!(begin.elapsed() < Duration::from_mins(3), "not all versions are stored");
        std::thread::sleep(Duration::from_millis(20));
    }
    // The signal is for the daemon, not for `strace`.
    let id = daemon.status()["pid"].as_i64().unwrap();
    let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    daemon.wait_for_exit();
    let text = fs::read_to_string(&trace).unwrap();
    Some(text.lines().filter(|line| line.contains("artifact-")).map(str::to_owned).collect())
}

#[test]
fn restart_opens_no_unchanged_artifact() {
    const FILES: usize = 300;
    let project = Project::complete();
    for number in 0..FILES {
        let path =
            project.feature_dir().join(format!("research/{}/artifact-{number}.md", number % 7));
        write_file(&path, format!("{number}\n").as_bytes());
    }
    let Some(first) = opened_at_start(&project) else {
        return;
    };
    assert!(first.len() >= FILES, "the first start reads all artifacts: {}", first.len());
    let again = opened_at_start(&project).unwrap();
    assert_eq!(again, [] as [String; 0]);
    write_file(&project.feature_dir().join("research/3/artifact-3.md"), b"changed\n");
    let changed = opened_at_start(&project).unwrap();
    assert!(!changed.is_empty());
    assert!(changed.iter().all(|line| line.contains("artifact-3.md")), "{changed:#?}");
}

#[test]
fn project_without_features_becomes_ready() {
    let project = Project::new();
    let daemon = project.start_daemon();
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    daemon.stop();
}

#[test]
fn panic_of_any_thread_ends_the_daemon_with_an_error() {
    for thread in ["engine", "project", "hash", "snapshots", "snapshot", "checkpoint"] {
        let project = Project::complete().env(panic_variable(), thread);
        let mut daemon = project.spawn_daemon(project.daemon_command());
        assert_eq!(daemon.wait_for_exit().code(), Some(101), "{thread}: {}", daemon.log());
        let logged = format!(
            "a thread panicked; this is a bug in dossierd, please report it thread=\"{thread}\""
        );
        assert!(daemon.log().contains(&logged), "{}", daemon.log());
    }
}

#[test]
fn first_start_reads_the_metadata_at_most_three_times() {
    let project = Project::empty();
    let slugs: Vec<String> = (1..40).map(|number| format!("{number:03}-more")).collect();
    for slug in &slugs {
        project.write(&format!("kitty-specs/{slug}/spec.md"), "# Spec\n");
    }
    let daemon = project.start_daemon();
    for slug in &slugs {
        let file = project.root.join(format!(".kittify/dossiers/{slug}/snapshot-latest.json"));
        wait_for("the snapshot file", || file.exists().then_some(()));
    }
    daemon.status();
    let metrics = daemon.get("/metrics").body;
    let reads =
        metrics.lines().find_map(|line| line.strip_prefix("dossierd_metadata_reads_total "));
    let reads: u64 = reads.unwrap().parse().unwrap();
    assert!(reads <= 3, "{reads}");
    daemon.stop();
}

#[test]
fn state_and_socket_directories_that_are_removed_are_created_again_with_their_content() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    let events = |daemon: &Daemon| {
        let page = daemon.get_json("/api/events?since=start&limit=1000");
        page["events"].as_array().unwrap().iter().map(|one| one["event_id"].clone()).collect()
    };
    let before: Vec<Value> = events(&daemon);
    assert!(!before.is_empty());
    let files = [
        project.state_dir().join("dossierd.lock"),
        project.state_dir().join("dossierd.sqlite3"),
        project.socket(),
    ];
    assert!(files.iter().all(|file| file.exists()), "{files:?}");
    // Twice: what was created again is kept as well.
    for _ in 0..2 {
        for dir in [project.state_dir(), project.runtime_dir()] {
            fs::remove_dir_all(dir).unwrap();
        }
        wait_for("the files to be created again", || {
            files.iter().all(|file| file.exists()).then_some(())
        });
        wait_for("the daemon to be reachable", || {
            (project.run_client(&["status"]).code == 0).then_some(())
        });
    }
    wait_for("the store to work", || (daemon.get_json("/healthz")["status"] == "ok").then_some(()));
    // Nothing is lost, no other daemon can start, and what happens from now on is kept.
    assert_eq!(events(&daemon)[..before.len()], before);
    let mut second = project.spawn_daemon(project.daemon_command());
    assert!(!second.wait_for_exit().success());
    write_file(&project.feature_dir().join("spec.md"), b"changed\n");
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    let after: Vec<Value> = events(&daemon);
    assert!(after.len() > before.len());
    daemon.stop();
    let daemon = project.start_daemon();
    assert_eq!(events(&daemon)[..after.len()], after);
    daemon.stop();
}

#[test]
fn a_stop_does_not_wait_for_a_history_that_does_not_end() {
    let project = Project::complete();
    let hang = project.home().join("hang");
    let project = project.hang_file(&hang);
    let daemon = project.start_daemon();
    fs::write(&hang, "history").unwrap();
    daemon.stop();
}

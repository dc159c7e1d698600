//! Upgrades: commands and daemons of different versions, and the migration of a store of an older
//! format, also through kills.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::fake_server::{FakeServer, proxy};
use crate::support::invariants::{assert_snapshots_equal, without_volatile_fields};
use crate::support::kernel::{can_run, wrap_command};
use crate::support::process::Daemon;
use crate::support::systemd::UserManager;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, write_file};

/// SQL of a store of each older format, oldest first.
const OLDER_FORMATS: &[&str] = &[
    include_str!("../../golden/store-v1.sql"),
    include_str!("../../golden/store-v2.sql"),
    include_str!("../../golden/store-v3.sql"),
];

/// The current format.
const FORMAT: u32 = 4;

/// Creates a store of format 1 in the state directory; returns its path.
pub(crate) fn create_store_of_format_1(project: &Project) -> PathBuf {
    create_store(project, OLDER_FORMATS[0])
}

fn create_store(project: &Project, golden: &str) -> PathBuf {
    let state = project.state_dir();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&state).unwrap();
    let store = state.join("dossierd.sqlite3");
    Connection::open(&store).unwrap().execute_batch(golden).unwrap();
    store
}

/// Checks the integrity of a store, and returns its format.
#[track_caller]
pub(crate) fn format_of(store: &Path) -> u32 {
    let connection = Connection::open(store).unwrap();
    let integrity: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok", "{}", store.display());
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// Checks that the journal has the events of the older store, then those of the project, and that
/// the state equals a scan.
#[track_caller]
fn assert_nothing_lost(project: &Project, daemon: &Daemon) {
    let export = daemon.export(FEATURE);
    assert_snapshots_equal(
        &without_volatile_fields(export),
        &without_volatile_fields(project.snapshot()),
    );
    let page = daemon.get_json("/api/events?since=start");
    let events = page["events"].as_array().unwrap();
    let ids = events.iter().take(3).map(|event| event["event_id"].as_str().unwrap());
    assert_eq!(
        ids.collect::<Vec<_>>(),
        ["01HF7YAT00CHF7R06RJVWGENCG", "01HF7YAT00CHF7R06RJVWGENCH", "01HF7YAT045V69RHXJS1ST0916"]
    );
    assert!(events.len() > 3, "{page:#}");
    for (seq, event) in (1_u64..).zip(events) {
        assert_eq!(event["seq"], seq, "{event:#}");
    }
}

#[test]
fn command_works_with_older_and_newer_daemons() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    // An older daemon omits newer fields. A newer daemon sends unknown fields.
    let older = |body: &str| {
        let Ok(mut value) = serde_json::from_str::<Value>(body) else {
            return body.to_owned();
        };
        if let Some(fields) = value.as_object_mut().filter(|fields| fields.contains_key("pid")) {
            fields["version"] = "0.0.9".into();
            for newer in ["config", "delivery"] {
                fields.remove(newer);
            }
        }
        value.to_string()
    };
    let newer = |body: &str| body.replace('{', "{\"added_later\":{},").replace(",}", "}");
    let fake = |version, change: fn(&str) -> String| {
        let socket = project.home().join(version).join("dossierd.sock");
        FakeServer::start(&socket, proxy(&project, version, change))
    };
    for (version, fake) in
        [("0.0.9", fake("dossierd/0.0.9", older)), ("9.0.0", fake("dossierd/9.0.0", newer))]
    {
        let socket = fake.socket.to_str().unwrap();
        let versions =
            format!("the daemon has version {version}, this command {}", env!("CARGO_PKG_VERSION"));
        for arguments in [
            &["status"][..],
            &["status", FEATURE],
            &["artifacts", FEATURE],
            &["show", FEATURE, "input.spec.main"],
            &["drift", FEATURE],
            &["events"],
            &["rescan"],
            &["project", "list"],
            &["delivery", "list"],
        ] {
            let same_version = project.run_client(arguments);
            let run = project.run_client(&[arguments, &["--socket", socket]].concat());
            assert_eq!(run.code, same_version.code, "{arguments:?} {version}: {run:?}");
            assert_eq!(run.stdout, same_version.stdout, "{arguments:?} {version}");
            assert_eq!(run.stderr.matches(&versions).count(), 1, "{arguments:?}: {run:?}");
            assert!(!same_version.stderr.contains("has version"), "{same_version:?}");
        }
        // `verify` compares every field, so unknown fields are differences, reported with the
        // versions.
        let run = project.run_client(&["verify", "--socket", socket]);
        assert_eq!(run.code, i32::from(version == "9.0.0"), "{run:?}");
        assert!(run.stderr.contains(&versions), "{run:?}");
    }
    daemon.stop();
}

#[test]
fn store_of_older_format_is_migrated_and_copied() {
    for (format, golden) in (1..).zip(OLDER_FORMATS) {
        let project = Project::complete();
        let store = create_store(&project, golden);
        let daemon = project.start_daemon();
        assert_nothing_lost(&project, &daemon);
        daemon.stop();
        assert_eq!(format_of(&store), FORMAT);
        let copy = store.with_extension(format!("sqlite3.format-{format}"));
        assert_eq!(format_of(&copy), format);
        // The copy can be restored and migrated again.
        fs::rename(&copy, &store).unwrap();
        let daemon = project.start_daemon();
        assert_nothing_lost(&project, &daemon);
        daemon.stop();
    }
}

#[test]
fn kill_at_any_write_of_the_migration_loses_nothing() {
    let mut killed_after_copy = 0;
    for number in 1.. {
        let project = Project::complete();
        let store = create_store_of_format_1(&project);
        let inject = format!("inject=pwrite64,fsync,fdatasync,rename:signal=KILL:when={number}");
        let trace = project.home().join("trace");
        let wrapper = [
            "strace",
            "-f",
            "-qq",
            "-o",
            trace.to_str().unwrap(),
            "-e",
            "trace=pwrite64,fsync,fdatasync,rename",
            "-e",
            &inject,
        ];
        let mut trial = wrapper.to_vec();
        trial.push("true");
        if !can_run("kills during a migration", &trial) {
            return;
        }
        let mut killed = project.spawn_daemon(wrap_command(&wrapper, &project.daemon_command()));
        let is_migrated = wait_for("the exit, or the end of the migration", || {
            let opened = killed.log().contains("store opened");
            (opened || !killed.is_running()).then_some(opened)
        });
        if is_migrated {
            // The process of the command is `strace`; the trace has the id of the daemon.
            let trace = fs::read_to_string(&trace).unwrap();
            let process = trace.split_whitespace().next().unwrap().parse().unwrap();
            let _ = kill_process(Pid::from_raw(process).unwrap(), Signal::KILL);
        }
        killed.wait_for_exit();
        let copy = store.with_extension("sqlite3.format-1");
        if copy.exists() {
            killed_after_copy += 1;
            assert_eq!(format_of(&copy), 1, "at {number}: an incomplete copy has another name");
        } else if is_migrated {
            panic!("at {number}: migrated without a copy");
        }
        let daemon = project.start_daemon();
        assert_nothing_lost(&project, &daemon);
        daemon.stop();
        assert_eq!((format_of(&store), format_of(&copy)), (FORMAT, 1), "at {number}");
        if is_migrated {
            break;
        }
        assert!(number < 200, "the migration does not end");
    }
    assert!(killed_after_copy > 1, "never killed between the copy and the end of the migration");
}

#[test]
fn install_over_an_older_version_migrates_its_store() {
    let project = Project::complete();
    let store = create_store_of_format_1(&project);
    let Some(mut manager) = UserManager::start(&project) else {
        return;
    };
    // The unit and the store of an older version.
    let unit = project.home().join(".config/systemd/user/dossierd.service");
    write_file(&unit, b"[Service]\nExecStart=/bin/sleep infinity\n");
    manager.sh("systemctl --user daemon-reload && systemctl --user start dossierd.service");
    let output = manager.sh("dossierd service install");
    assert!(output.contains("kept the old file as"), "{output}");
    assert!(output.contains("ready: watching"), "{output}");
    let daemon = project.service_daemon();
    assert_nothing_lost(&project, &daemon);
    // Installed again from another path while files change; no event is lost.
    let copy = "mkdir -p ~/newer && cp $(command -v dossierd) ~/newer/dossierd";
    manager.sh(copy);
    write_file(&project.feature_dir().join("research.md"), b"while it is replaced\n");
    manager.sh("~/newer/dossierd service install");
    assert_nothing_lost(&project, &daemon);
    let page = daemon.get_json("/api/events?since=start");
    let last = page["events"].as_array().unwrap().iter().rev();
    let mut last = last.filter(|event| event["payload"]["relative_path"] == "research.md");
    assert_eq!(last.next().unwrap()["payload"]["change"], "added");
    manager.sh("dossierd service uninstall");
    assert_eq!(format_of(&store), FORMAT);
}

//! Upgrades: a command and a daemon of different versions, and a store of an older format, which is
//! brought to this one whatever happens meanwhile.

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

/// A store of each format before this one.
const OLDER: &[&str] =
    &[include_str!("../../golden/store-v1.sql"), include_str!("../../golden/store-v2.sql")];

/// Puts a store of the first format where the daemon keeps its own.
pub(crate) fn store_of_format_1(project: &Project) -> PathBuf {
    store_by(project, OLDER[0])
}

fn store_by(project: &Project, golden: &str) -> PathBuf {
    let state = project.state_dir();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&state).unwrap();
    let store = state.join("dossierd.sqlite3");
    Connection::open(&store).unwrap().execute_batch(golden).unwrap();
    store
}

/// A sound store's format.
#[track_caller]
pub(crate) fn format_of(store: &Path) -> u32 {
    let connection = Connection::open(store).unwrap();
    let sound: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok", "{}", store.display());
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// The events of the store of an older format, and then the project's.
#[track_caller]
fn nothing_is_lost(project: &Project, daemon: &Daemon) {
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
    for (at, event) in (1_u64..).zip(events) {
        assert_eq!(event["seq"], at, "{event:#}");
    }
}

#[test]
fn a_command_and_a_daemon_of_other_versions() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    // Older: it does not say yet what later ones say. Newer: it says what is not known here.
    let older = |body: &str| {
        let Ok(mut said) = serde_json::from_str::<Value>(body) else {
            return body.to_owned();
        };
        if let Some(fields) = said.as_object_mut().filter(|fields| fields.contains_key("pid")) {
            fields["version"] = "0.0.9".into();
            for later in ["config", "delivery"] {
                fields.remove(later);
            }
        }
        said.to_string()
    };
    let newer = |body: &str| body.replace('{', "{\"said_later\":{},").replace(",}", "}");
    let fake = |version, change: fn(&str) -> String| {
        let socket = project.home().join(version).join("dossierd.sock");
        FakeServer::start(&socket, proxy(&project, version, change))
    };
    for (version, fake) in
        [("0.0.9", fake("dossierd/0.0.9", older)), ("9.0.0", fake("dossierd/9.0.0", newer))]
    {
        let socket = fake.socket.to_str().unwrap();
        let versions = format!(
            "the daemon is of version {version}, this command of {}",
            env!("CARGO_PKG_VERSION")
        );
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
            let of_same = project.run_client(arguments);
            let run = project.run_client(&[arguments, &["--socket", socket]].concat());
            assert_eq!(run.code, of_same.code, "{arguments:?} {version}: {run:?}");
            assert_eq!(run.stdout, of_same.stdout, "{arguments:?} {version}");
            assert_eq!(run.stderr.matches(&versions).count(), 1, "{arguments:?}: {run:?}");
            assert!(!of_same.stderr.contains("of version"), "{of_same:?}");
        }
        // It compares every field: what only a newer one says is a difference, said with the reason.
        let run = project.run_client(&["verify", "--socket", socket]);
        assert_eq!(run.code, i32::from(version == "9.0.0"), "{run:?}");
        assert!(run.stderr.contains(&versions), "{run:?}");
    }
    daemon.stop();
}

#[test]
fn a_store_of_an_older_format_is_brought_to_this_one_and_a_copy_kept() {
    for (format, golden) in (1..).zip(OLDER) {
        let project = Project::complete();
        let store = store_by(&project, golden);
        let daemon = project.start_daemon();
        nothing_is_lost(&project, &daemon);
        daemon.stop();
        assert_eq!(format_of(&store), 3);
        let copy = store.with_extension(format!("sqlite3.format-{format}"));
        assert_eq!(format_of(&copy), format);
        // With the copy put back, all is as it was.
        fs::rename(&copy, &store).unwrap();
        let daemon = project.start_daemon();
        nothing_is_lost(&project, &daemon);
        daemon.stop();
    }
}

#[test]
fn killed_at_any_write_of_it_nothing_is_lost() {
    let mut began = 0;
    for number in 1.. {
        let project = Project::complete();
        let store = store_of_format_1(&project);
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
        if !can_run("a change of the store's format that is killed", &trial) {
            return;
        }
        let mut killed = project.spawn_daemon(wrap_command(&wrapper, &project.daemon_command()));
        let past = wait_for("its end, or that it is past the change", || {
            let opened = killed.log().contains("store opened");
            (opened || !killed.is_running()).then_some(opened)
        });
        if past {
            // Its tracer is not it.
            let trace = fs::read_to_string(&trace).unwrap();
            let process = trace.split_whitespace().next().unwrap().parse().unwrap();
            let _ = kill_process(Pid::from_raw(process).unwrap(), Signal::KILL);
        }
        killed.wait_for_exit();
        let copy = store.with_extension("sqlite3.format-1");
        if copy.exists() {
            began += 1;
            assert_eq!(format_of(&copy), 1, "at {number}: only a whole copy has that name");
        } else if past {
            panic!("at {number}: the format was changed without a copy");
        }
        let daemon = project.start_daemon();
        nothing_is_lost(&project, &daemon);
        daemon.stop();
        assert_eq!((format_of(&store), format_of(&copy)), (3, 1), "at {number}");
        if past {
            break;
        }
        assert!(number < 200, "the change has no end");
    }
    assert!(began > 1, "it was never killed between the copy and the end");
}

#[test]
fn installed_over_an_older_one_its_store_comes_along() {
    let project = Project::complete();
    let store = store_of_format_1(&project);
    let Some(mut manager) = UserManager::start(&project) else {
        return;
    };
    // What an older version left: its unit, and its store.
    let unit = project.home().join(".config/systemd/user/dossierd.service");
    write_file(&unit, b"[Service]\nExecStart=/bin/sleep infinity\n");
    manager.sh("systemctl --user daemon-reload && systemctl --user start dossierd.service");
    let said = manager.sh("dossierd service install");
    assert!(said.contains("what it said is kept as"), "{said}");
    assert!(said.contains("ready: watching"), "{said}");
    let daemon = project.service_daemon();
    nothing_is_lost(&project, &daemon);
    // Again by another file at another place, while things happen; no event is lost over it.
    let copy = "mkdir -p ~/newer && cp $(command -v dossierd) ~/newer/dossierd";
    manager.sh(copy);
    write_file(&project.feature_dir().join("research.md"), b"while it is replaced\n");
    manager.sh("~/newer/dossierd service install");
    nothing_is_lost(&project, &daemon);
    let ends = daemon.get_json("/api/events?since=start");
    let last = ends["events"].as_array().unwrap().iter().rev();
    let mut last = last.filter(|event| event["payload"]["relative_path"] == "research.md");
    assert_eq!(last.next().unwrap()["payload"]["change"], "added");
    manager.sh("dossierd service uninstall");
    assert_eq!(format_of(&store), 3);
}

//! `dossierd watch`: the current problems, then every event, over restarts of the daemon; and the
//! daemon that it starts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::support::client::{RunningCommand, redact_times};
use crate::support::fake_server::{FakeResponse, FakeServer, proxy};
use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, bakery_dir, write_file};

fn watch(project: &Project, arguments: &[&str]) -> RunningCommand {
    RunningCommand::start(project.client_command(&[&["watch"], arguments].concat()))
}

#[test]
fn watch_prints_current_problems_then_events() {
    let project = Project::copy_of(&bakery_dir());
    let daemon = project.start_daemon();
    let mut live = watch(&project, &[]);
    let mut lines = live.lines_until("no baseline");
    let feature = project.root.join("kitty-specs/003-delivery-slots");
    let spec = fs::read(feature.join("spec.md")).unwrap();
    for (path, text) in [("spec.md", Some(&b"# Another\n"[..])), ("plan.md", None)] {
        match text {
            Some(text) => write_file(&feature.join(path), text),
            None => fs::remove_file(feature.join(path)).unwrap(),
        }
        // Into a pipe, each event is one line; the last of these is the evaluation.
        lines.extend(live.lines_until(if text.is_some() { "; drifted" } else { "incomplete" }));
    }
    daemon.export("003-delivery-slots");
    // The numbers of changed lines follow if they are known soon.
    let lines: Vec<&str> = lines.iter().filter_map(|line| line.split(" +").next()).collect();
    insta::assert_snapshot!(project.redact(&lines.join("\n")));
    write_file(&feature.join("spec.md"), &spec);
    live.lines_until("modified");
    live.interrupt();
}

#[test]
fn watch_reports_restored_parity() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    wait_for("parity", || {
        (daemon.overview(FEATURE)["drift"]["state"] == "in_parity").then_some(())
    });
    let mut live = watch(&project, &[FEATURE]);
    assert!(live.next_line().contains("1 of 1 features without problems"), "the current state");
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    let deleted = live.lines_until("1 missing").join("\n");
    assert!(deleted.contains("deleted      plan.md (required)"), "{deleted}");
    assert!(deleted.contains("now incomplete 3/4"), "{deleted}");
    write_file(&project.feature_dir().join("plan.md"), b"# Plan\n");
    let restored = live.lines_until("parity restored").join("\n");
    assert!(restored.contains("restored     plan.md (required)"), "{restored}");
    write_file(&project.feature_dir().join("meta.json"), b"{");
    let unknown = live.lines_until("now unknown").join("\n");
    assert!(unknown.contains("; because: meta.json:1:"), "{unknown}");
    fs::remove_file(project.feature_dir().join("meta.json")).unwrap();
    live.lines_until("now complete");
    let manifest = ".kittify/missions/software-dev/expected-artifacts.yaml";
    project.write(manifest, "mission_type: software-dev\nno-such-field: 1\n");
    let unknown = live.lines_until("now unknown").join("\n");
    assert!(unknown.contains(&format!("is invalid ({manifest}:2:1)")), "{unknown}");
    live.interrupt();
}

#[test]
fn watch_json_prints_the_state_then_every_event() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut live = watch(&project, &["--json"]);
    let state = live.next_json();
    let status = daemon.status();
    let cursor = format!("{}:{}", status["instance"].as_str().unwrap(), status["seq"]);
    assert_eq!((&state["event_type"], &state["cursor"]), (&"state".into(), &cursor.into()));
    let features = |value: &Value| {
        let mut features = value["projects"][0]["features"].clone();
        features[0].as_object_mut().unwrap().remove("racy").unwrap();
        features
    };
    assert_eq!(features(&state), features(&status));
    let mut journal = JournalReader::default();
    journal.read_new(&daemon);
    write_file(&project.feature_dir().join("spec.md"), b"changed\n");
    let new = assert_invariants(&project, &daemon, &mut journal);
    let printed: Vec<Value> = new.iter().map(|_| live.next_json()).collect();
    assert_eq!(printed, new);
    live.interrupt();

    let since = format!("{}:2", status["instance"].as_str().unwrap());
    let mut later = watch(&project, &["--json", "--since", &since]);
    assert_eq!(
        later.next_json(),
        journal.events[2],
        "the event after the cursor, without the state"
    );
    later.interrupt();
}

#[test]
fn watch_of_a_feature_prints_only_its_events() {
    let project = Project::complete().file("kitty-specs/002-y/spec.md", "y\n");
    let _daemon = project.start_daemon();
    let mut live = watch(&project, &[FEATURE]);
    assert!(
        !live.lines_until("no baseline").concat().contains("002-y"),
        "the state has only the feature"
    );
    write_file(&project.root.join("kitty-specs/002-y/spec.md"), b"other\n");
    write_file(&project.feature_dir().join("spec.md"), b"selected\n");
    assert!(live.next_line().contains("001-x  modified"), "only events of the feature");
    live.interrupt();
}

#[test]
fn watch_continues_over_stops_and_kills_without_gap_or_repetition() {
    let project = Project::complete();
    let mut daemon = project.start_daemon();
    let mut live = watch(&project, &["--json"]);
    let mut journal = JournalReader::default();
    let state = live.next_json();
    let start = state["cursor"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let start: usize = start.parse().unwrap();
    for iteration in 0..4 {
        write_file(&project.feature_dir().join(format!("{iteration}.md")), b"while it runs\n");
        if iteration % 2 == 0 {
            daemon.kill();
        } else {
            daemon.stop();
        }
        live.wait_for_stderr("the connection to the daemon is lost");
        write_file(&project.feature_dir().join("spec.md"), format!("{iteration}\n").as_bytes());
        daemon = project.start_daemon();
        live.wait_for_stderr("the connection to the daemon is restored");
        live.stderr_lines.clear();
    }
    assert_invariants(&project, &daemon, &mut journal);
    let new = &journal.events[start..];
    let printed: Vec<Value> = new.iter().map(|_| live.next_json()).collect();
    assert_eq!(printed, new);
    assert_eq!(live.interrupt(), Vec::<String>::new());
}

#[test]
fn watch_retries_if_the_daemon_disconnects_during_a_gap() {
    let project = Project::complete();
    let _daemon = project.start_daemon();
    let real = proxy(&project, "dossierd/0.1.0", str::to_owned);
    let (has_followed, has_closed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let fake = FakeServer::start(&project.home().join("fake/dossierd.sock"), move |request| {
        if request.contains("/api/events") {
            has_followed.store(true, Ordering::SeqCst);
            let body = "event: gap\ndata: {\"reason\":\"retention\"}\n\n".to_owned();
            return Some(FakeResponse { status: 200, server: "dossierd/0.1.0", body });
        }
        // The first request for the current state after a gap gets no response.
        let closes =
            has_followed.load(Ordering::SeqCst) && !has_closed.swap(true, Ordering::SeqCst);
        if closes { None } else { real(request) }
    });
    let mut live = watch(&project, &["--socket", fake.socket.to_str().unwrap()]);
    live.lines_until("no baseline");
    live.lines_until("gap: retention; the current state follows");
    live.lines_until("no baseline");
    live.wait_for_stderr("warning: cannot send a request to the daemon");
    live.interrupt();
}

#[test]
fn burst_is_summarised_in_one_line_on_a_terminal() {
    let project = Project::complete();
    let _daemon = project.start_daemon();
    let Some(command) = project.terminal_command(100, &["watch"]) else { return };
    let mut live = RunningCommand::start(command);
    live.lines_until("no baseline");
    // Moved in by one rename, so the files are one batch even on a slow machine.
    let dir = project.root.join("made");
    for number in 0..40 {
        write_file(&dir.join(format!("{number}.md")), b"note\n");
    }
    fs::rename(dir, project.feature_dir().join("notes")).unwrap();
    let shown = anstream::adapter::strip_str(&live.next_line()).to_string();
    assert_eq!(redact_times(shown.trim_end()), "TIME  001-x  40 added artifacts");
    live.type_text("\x03");
    assert_eq!(live.wait_for_exit(), Some(0));
}

/// Stops the daemon that a command started in the background, when dropped.
struct BackgroundDaemon<'p>(&'p Project);

impl Drop for BackgroundDaemon<'_> {
    fn drop(&mut self) {
        let stopped = self.0.client_command(&["stop"]).output().unwrap();
        assert!(stopped.status.success() || std::thread::panicking(), "{stopped:?}");
    }
}

/// Creates a project that is named in the configuration.
fn configured_project() -> Project {
    Project::complete().config("projects: [{path: ROOT}]\n")
}

#[test]
fn watch_starts_a_daemon_that_keeps_running() {
    let project = configured_project();
    let mut live = watch(&project, &[]);
    let _background = BackgroundDaemon(&project);
    live.lines_until("no baseline");
    live.wait_for_stderr("started one in the background");
    live.interrupt();
    let status = project.run_client(&["status", "--json"]).assert_success().json();
    let log = fs::read_to_string(project.state_dir().join("daemon.log")).unwrap();
    assert!(log.contains("listening"), "{log}");
    let mode = fs::metadata(project.state_dir().join("daemon.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The daemon has its own session and no terminal.
    let pid = status["pid"].as_u64().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(fields[3], pid.to_string(), "session: {stat}");
    assert_eq!(fields[4], "0", "terminal: {stat}");
    assert_eq!(fs::read_link(format!("/proc/{pid}/fd/0")).unwrap(), Path::new("/dev/null"));
}

#[test]
fn ten_watch_commands_at_once_start_one_daemon() {
    let project = configured_project();
    let mut all: Vec<RunningCommand> = (0..10).map(|_| watch(&project, &[])).collect();
    for live in &mut all {
        live.lines_until("no baseline");
    }
    let _background = BackgroundDaemon(&project);
    let log = fs::read_to_string(project.state_dir().join("daemon.log")).unwrap();
    assert_eq!(log.matches("store opened").count(), 1, "{log}");
    assert!(!log.contains("already"), "{log}");
    write_file(&project.feature_dir().join("spec.md"), b"changed\n");
    for live in &mut all {
        assert!(live.next_line().contains("modified"), "every command prints the event");
    }
    for live in all {
        live.interrupt();
    }
}

#[test]
fn watch_reports_why_the_daemon_cannot_start() {
    let project = configured_project();
    let open = project.home().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    let run = project.run_client(&["watch", "--socket", open.join("my.sock").to_str().unwrap()]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("the daemon exited while starting"), "{run:?}");
    assert!(
        run.stderr.contains("can be entered by other users"),
        "the end of the log is printed: {run:?}"
    );
}

/// Puts a fake `systemctl` with this script into `PATH`; it records its arguments.
fn with_systemctl(project: Project, script: &str) -> Project {
    let dir = project.home().join("bin");
    fs::create_dir_all(&dir).unwrap();
    let program = dir.join("systemctl");
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" >> '{}/calls'\n{script}\n", dir.display()))
        .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    project.env("PATH", path)
}

#[test]
fn watch_starts_the_installed_unit() {
    let daemon = env!("CARGO_BIN_EXE_dossierd");
    let script = format!(
        "case \"$2\" in\n\
         start) setsid '{daemon}' run </dev/null >/dev/null 2>\"$HOME/unit.log\" & ;;\n\
         cat) exit 0 ;;\n\
         show) case \"$4\" in *MainPID) cat \"$HOME/pid\" ;; *) echo always ;; esac ;;\n\
         *) exit 1 ;;\nesac"
    );
    let project = with_systemctl(configured_project(), &script);
    let mut live = watch(&project, &[]);
    live.lines_until("no baseline");
    live.wait_for_stderr("started the user unit dossierd.service");
    live.interrupt();
    assert!(
        !project.state_dir().join("daemon.log").exists(),
        "no daemon is started in the background"
    );
    let pid = project.run_client(&["status", "--json"]).assert_success().json()["pid"].clone();
    fs::write(project.home().join("pid"), pid.to_string()).unwrap();
    let stopped = project.run_client(&["stop"]).assert_success();
    assert!(stopped.stderr.contains("dossierd.service will restart the daemon"), "{stopped:?}");
    let calls = fs::read_to_string(project.home().join("bin/calls")).unwrap();
    assert!(calls.contains("--user start dossierd.service"), "{calls}");
}

#[test]
fn watch_starts_a_daemon_if_the_unit_does_not_start() {
    let script = "case \"$2\" in cat) exit 0 ;; *) echo 'it is masked' >&2; exit 1 ;; esac";
    let project = with_systemctl(configured_project(), script);
    let mut live = watch(&project, &[]);
    let _background = BackgroundDaemon(&project);
    live.wait_for_stderr("it is masked");
    live.wait_for_stderr("started one in the background");
    live.lines_until("no baseline");
    live.interrupt();
}

//! The connection of commands to the daemon: which socket they use, invalid responses, hostile
//! names, and that responses reflect earlier writes.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use dossierd::client::{Client, RequestPath};
use serde_json::{Value, json};

use crate::support::client::RunningCommand;
use crate::support::fake_server::{FakeResponse, FakeServer};
use crate::support::wait::wait_for;
use crate::support::{
    COMMAND_TIMEOUT, FEATURE, Project, expected_hashes, find_artifact, not_run, run, sha256,
    write_file,
};

#[test]
fn stop_waits_until_the_daemon_has_exited() {
    let project = Project::complete();
    let mut daemon = project.start_daemon();
    let run = project.run_client(&["stop"]).assert_success();
    assert!(
        run.stderr.contains(&format!("stopped the daemon (process {})", daemon.child_id())),
        "{run:?}"
    );
    assert!(!daemon.is_running(), "the daemon has exited when the command exits");
    assert!(daemon.wait_for_exit().success());
    project.run_client(&["stop"]).assert_failure(3, "no daemon listens");
}

#[test]
fn socket_is_selected_by_flag_or_variable() {
    let project = Project::complete();
    let socket = project.home().join("elsewhere/my.sock");
    let mut command = project.daemon_command();
    command.arg("--socket").arg(&socket);
    let _daemon = project.spawn_daemon(command);
    wait_for("the socket", || {
        fs::symlink_metadata(&socket).ok().filter(|it| it.file_type().is_socket())
    });
    let by_flag = project
        .run_client(&["status", FEATURE, "--socket", socket.to_str().unwrap()])
        .assert_success();
    assert!(by_flag.stdout.starts_with(FEATURE), "{by_flag:?}");
    let mut by_variable = project.client_command(&["events", "--type", "snapshot_computed"]);
    by_variable.env("DOSSIERD_SOCKET", &socket);
    let by_variable = run(by_variable, COMMAND_TIMEOUT).assert_success();
    assert!(by_variable.stdout.contains(FEATURE), "{by_variable:?}");
    // Where nothing listens at the usual path, the daemon of the state directory is found.
    project.run_client(&["events"]).assert_success();
    let other = project.home().join("other.sock");
    let other = project.run_client(&["events", "--socket", other.to_str().unwrap()]);
    other.assert_failure(3, "no daemon listens");
}

#[test]
fn socket_of_another_user_gets_no_request() {
    if !rustix::process::geteuid().is_root() {
        return not_run("a socket of another user (needs root)");
    }
    let project = Project::complete();
    let socket = project.home().join("run/dossierd.sock");
    let was_asked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let set_asked = std::sync::Arc::clone(&was_asked);
    let _fake = FakeServer::start(&socket, move |_: &str| {
        set_asked.store(true, std::sync::atomic::Ordering::SeqCst);
        Some(FakeResponse { status: 200, server: "dossierd/0.1.0", body: "{}".into() })
    });
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    let socket = socket.to_str().unwrap();
    let Some(run) = project.run_as_nobody(&["events", "--socket", socket]) else { return };
    run.assert_failure(3, "is served by another user (0)");
    assert!(!was_asked.load(std::sync::atomic::Ordering::SeqCst), "no request is sent");
}

#[test]
fn log_of_a_background_daemon_is_not_written_through_a_link_or_fifo() {
    let project = Project::complete();
    let target = project.home().join("theirs");
    write_file(&target, b"unchanged\n");
    let log = project.state_dir().join("daemon.log");
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&target, &log).unwrap();
    let run = project.run_client(&["watch"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("daemon.log"), "{run:?}");
    fs::remove_file(&log).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &log,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert_eq!(
        project.run_client(&["watch"]).code,
        1,
        "a FIFO without a reader is not opened either"
    );
    assert_eq!(fs::read(&target).unwrap(), b"unchanged\n");
    assert!(!project.socket().exists());
}

#[test]
fn problem_of_the_daemon_is_reported_with_its_hint() {
    let one = Project::complete();
    let two = Project::complete();
    let _daemon = one.start_daemon_over(&[&two.root]);
    let mut nowhere = one.client_command(&["status", FEATURE]);
    nowhere.current_dir("/");
    let run = run(nowhere, COMMAND_TIMEOUT);
    run.assert_failure(1, "is a feature of");
    assert!(run.stderr.contains("`--project ROOT`"), "the hint: {run:?}");
    // The current directory or `--project` selects one of them.
    one.run_client(&["status", FEATURE]).assert_success();
    one.run_client(&["status", FEATURE, "--project", two.root.to_str().unwrap()]).assert_success();
}

#[test]
fn invalid_response_is_reported_as_an_error() {
    let project = Project::complete();
    for (index, (status, body)) in [
        (Some(200), "no json"),
        (Some(200), "[1, 2]"),
        (Some(502), "<html>"),
        (None, "closes the connection"),
    ]
    .into_iter()
    .enumerate()
    {
        let socket = project.home().join(format!("fake-{index}/dossierd.sock"));
        let fake = FakeServer::start(&socket, move |_: &str| {
            let body = body.to_owned();
            status.map(|status| FakeResponse { status, server: "other", body })
        });
        let socket = fake.socket.to_str().unwrap();
        for arguments in [&["status"][..], &["status", FEATURE], &["events"], &["stop"]] {
            let run = project.run_client(&[arguments, &["--socket", socket]].concat());
            run.assert_failure(1, "error: ");
            assert_eq!(run.stdout, "");
        }
    }
}

/// A name with control sequences for a terminal.
const HOSTILE_NAME: &str = "a\x1b[2J\n\u{202e}b\u{9b}31m.md";

#[test]
fn hostile_names_from_the_daemon_are_escaped() {
    let project = Project::complete().artifact(HOSTILE_NAME, "x\n");
    write_file(
        &project.root.join("kitty-specs").join(format!("{HOSTILE_NAME}.d/spec.md")),
        b"skipped\n",
    );
    let step =
        json!({ FEATURE: {"run_id": "r", "run_dir": "\u{1b}]0;x\u{7}", "mission_key": "\u{202e}"}});
    project.write(".kittify/runtime/feature-runs.json", step.to_string());
    let daemon = project.start_daemon();
    let mut live = RunningCommand::start(project.client_command(&["watch", "--color", "always"]));
    let mut lines = live.lines_until("no baseline");
    fs::remove_file(project.feature_dir().join(HOSTILE_NAME)).unwrap();
    lines.extend(live.lines_until("deleted"));
    live.interrupt();
    daemon.export(FEATURE);
    let mut shown = lines.join("\n");
    for arguments in [
        &["status"][..],
        &["status", FEATURE],
        &["events"],
        &["verify"],
        &["status", "--json"],
        &["events", "--json"],
        &["status", HOSTILE_NAME],
        &["events", HOSTILE_NAME],
    ] {
        let run = project.run_client(&[arguments, &["--color", "always"]].concat());
        shown.push_str(&run.stdout);
        shown.push_str(&run.stderr);
    }
    let plain = anstream::adapter::strip_str(&shown).to_string();
    let is_unsafe = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert_eq!(plain.matches(is_unsafe).collect::<Vec<_>>(), Vec::<&str>::new());
    // `strip_str` would hide other sequences, so each must be a colour, which ends with `m`.
    for sequence in shown.split('\x1b').skip(1) {
        let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        assert_eq!(&sequence[end..=end], "m", "{sequence:?}");
    }
    assert!(plain.contains("deleted") && plain.contains(r"\u{1b}[2J\n"), "{plain}");
}

/// Returns the number of writes; `DOSSIERD_ROUNDS` overrides it.
fn iterations() -> u32 {
    std::env::var("DOSSIERD_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

#[test]
fn synced_request_reflects_every_earlier_write() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let spec = project.feature_dir().join("spec.md");
    runtime.block_on(async {
        let mut client = Client::connect(&project.socket()).await.unwrap();
        for iteration in 0..iterations() {
            let text = format!("# Spec {iteration}\n");
            let target = match iteration % 4 {
                0 => {
                    // Replaced by a rename, as editors do.
                    let new = project.root.join("new");
                    write_file(&new, text.as_bytes());
                    fs::rename(&new, &spec).unwrap();
                    "/api/dossier/snapshots/export"
                }
                _ => {
                    write_file(&spec, text.as_bytes());
                    "/api/dossier/snapshots/export"
                }
            };
            let target = RequestPath::new(target).with("feature", FEATURE).with_sync();
            let snapshot: Value = client.get(&target).await.unwrap().parse().unwrap();
            let listed = find_artifact(&snapshot, "spec.md");
            assert_eq!(
                listed["content_hash_sha256"],
                sha256(text.as_bytes()),
                "iteration {iteration}"
            );
        }
    });
    // By the command, with a new connection each time.
    for iteration in 0..20 {
        let text = format!("# Spec again {iteration}\n");
        write_file(&spec, text.as_bytes());
        let shown = project.run_client(&["status", FEATURE, "--json"]).assert_success().json();
        let tree = expected_hashes(&project.feature_dir()).1;
        assert_eq!(shown["tree_hash_sha256"], tree, "iteration {iteration}");
    }
    drop(daemon);
}

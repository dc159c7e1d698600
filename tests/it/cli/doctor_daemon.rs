//! `dossierd doctor`: problems of a running daemon, the kernel and the clock. Each is caused if
//! that is possible, otherwise a fake daemon reports it.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::cli::doctor::{assert_finding, findings};
use crate::support::fake_server::{FakeResponse, FakeServer, proxy};
use crate::support::kernel::{can_run, is_root, wrap_command};
use crate::support::wait::wait_for;
use crate::support::{CommandOutput, FEATURE, Project, not_run, read_tree, run, write_file};

/// Timeout for the doctor, shorter than the timeout of other commands.
const DOCTOR_TIMEOUT: Duration = Duration::from_secs(45);

/// Runs a command that is the doctor; returns its findings.
fn run_doctor(command: Command) -> Vec<Value> {
    findings(&run(command, DOCTOR_TIMEOUT))
}

fn doctor(project: &Project) -> Vec<Value> {
    run_doctor(project.client_command(&["doctor", "--json"]))
}

/// Runs the doctor with a fake daemon, which replaces `from` by `to` in the responses of the real
/// one.
#[track_caller]
fn doctor_with_response(project: &Project, from: &'static str, to: &'static str) -> Vec<Value> {
    let socket = project.home().join("fake").join(to.len().to_string()).join("dossierd.sock");
    let fake = FakeServer::start(
        &socket,
        proxy(project, "dossierd/0.1.0", move |body| {
            assert!(body.contains(from) || !body.contains("\"pid\""), "`{from}` is not in {body}");
            body.replacen(from, to, 1)
        }),
    );
    run_doctor(project.client_command(&[
        "doctor",
        "--json",
        "--socket",
        fake.socket.to_str().unwrap(),
    ]))
}

#[test]
fn daemon_that_accepts_connections_but_never_answers_is_an_error() {
    let project = Project::complete();
    fs::create_dir_all(project.socket().parent().unwrap()).unwrap();
    let _listener = UnixListener::bind(project.socket()).unwrap();
    let found = doctor(&project);
    assert_finding(&found, "error", "daemon", "accepts connections and did not respond within 3 s");
    // The other checks still run.
    assert_finding(&found, "ok", "file system", "a local disk");
}

#[test]
fn hung_engine_is_an_error() {
    let hang = Project::complete();
    let file = hang.home().join("hang");
    let project = hang.hang_file(&file);
    let daemon = project.start_daemon();
    fs::write(&file, "").unwrap();
    let found = doctor(&project);
    assert_finding(&found, "error", "daemon", "the engine did not respond within 5 s");
    assert_finding(&found, "ok", "daemon", ", version ");
    fs::remove_file(&file).unwrap();
    daemon.stop();
}

#[test]
fn other_server_at_the_socket_is_an_error() {
    let project = Project::complete();
    for (status, body) in [(200, "<html>"), (404, ""), (200, "{\"status\":\"ok\"}")] {
        let socket = project.home().join(format!("other-{status}-{}", body.len()));
        let fake = FakeServer::start(&socket.join("s"), move |_| {
            Some(FakeResponse { status, server: "nginx", body: body.to_owned() })
        });
        let socket = fake.socket.to_str().unwrap();
        let found = run_doctor(project.client_command(&["doctor", "--json", "--socket", socket]));
        assert_finding(&found, "error", "daemon", "cannot parse the daemon's response");
    }
}

#[test]
fn socket_of_another_user_is_an_error() {
    let project = Project::complete();
    if !is_root("a socket that another user serves") {
        return;
    }
    let shared = tempfile::tempdir().unwrap();
    let socket = shared.path().join("s/dossierd.sock");
    let id = crate::support::NOBODY_UID;
    std::os::unix::fs::chown(shared.path(), Some(id), Some(id)).unwrap();
    let socket = socket.to_str().unwrap();
    let Some(mut command) = project.command_as_nobody(&["run", "--socket", socket]) else {
        return;
    };
    command.env("HOME", shared.path());
    let daemon = project.spawn_daemon(command);
    wait_for(&format!("a daemon of another user: {}", daemon.log()), || {
        std::os::unix::net::UnixStream::connect(socket).ok()
    });
    let found = run_doctor(project.client_command(&["doctor", "--json", "--socket", socket]));
    assert_finding(&found, "error", "daemon", "is served by another user");
    assert_finding(&found, "error", "socket", "belongs to another user");
    assert_finding(&found, "error", "socket folder", "belongs to another user");
}

#[test]
fn daemon_of_another_version_is_a_warning() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let own = "\"version\":\"0.1.0\"";
    assert_eq!(env!("CARGO_PKG_VERSION"), "0.1.0", "change the versions below too");
    for other in ["\"version\":\"0.0.9\"", "\"version\":\"12.0.0\""] {
        let found = doctor_with_response(&project, own, other);
        let other = other.split('"').nth(3).unwrap();
        assert_finding(
            &found,
            "warning",
            "daemon",
            &format!(", version {other}; this command has version 0.1.0"),
        );
    }
    daemon.stop();
}

#[test]
fn status_of_the_daemon_is_reported() {
    let project =
        Project::complete().config("webhook: {url: 'http://127.0.0.1:9/', secret_env: HOOK}\n");
    let project = project.env("HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAAAAA=");
    let daemon = project.start_daemon();
    // Nothing listens on that port.
    let found = wait_for("a failed delivery", || {
        let found = doctor(&project);
        found.iter().any(|finding| finding["check"] == "delivery").then_some(found)
    });
    assert_finding(&found, "warning", "delivery", "webhook: ");
    daemon.stop();
    fs::remove_file(project.config_file()).unwrap();

    let daemon = project.start_daemon();
    let found = doctor_with_response(
        &project,
        "\"state\":\"ok\",\"detail\":null}",
        "\"state\":\"degraded\",\"detail\":\"disk full\"}",
    );
    assert_finding(&found, "error", "store", "not durable: disk full");
    fs::rename(&project.root, project.root.with_file_name("away")).unwrap();
    let mut command = project.client_command(&["doctor", "--json"]);
    command.current_dir(project.home());
    let found = wait_for("the missing root to be reported", || {
        let mut again = Command::new(command.get_program());
        again.args(command.get_args()).env_clear().current_dir(project.home());
        again.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let found = run_doctor(again);
        found.iter().any(|finding| finding["check"] == "watching").then_some(found)
    });
    assert_finding(&found, "error", "watching", project.root.to_str().unwrap());
    assert_finding(&found, "error", "project", "cannot read ");
    daemon.stop();
}

#[test]
fn features_that_cannot_be_evaluated_are_reported() {
    let project = Project::complete()
        .file("kitty-specs/002-y/spec.md", "x")
        .file("kitty-specs/002-y/meta.json", "{\"mission\": \"no-such-mission\"}")
        .file("kitty-specs/003-z/spec.md", "x")
        .file("kitty-specs/003-z/meta.json", "{")
        .file("kitty-specs/no\nfeature/spec.md", "x");
    let daemon = project.start_daemon();
    let ok = |found: &[Value]| found.iter().any(|one| one["check"] == "features");
    let found = doctor(&project);
    assert!(!ok(&found), "{found:#?}");
    assert_finding(&found, "warning", "feature", "002-y: completeness is unknown: no manifest");
    assert_finding(&found, "warning", "feature", "003-z: ");
    assert_finding(&found, "warning", "layout", "is skipped");
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    fs::write(project.baseline_file(), "{").unwrap();
    daemon.get_json("/api/status?sync=true");
    assert_finding(&doctor(&project), "warning", "feature", "001-x: its baseline is corrupt");
    project.write(".kittify/missions/software-dev/expected-artifacts.yaml", "nonsense: 1\n");
    daemon.get_json("/api/status?sync=true");
    assert_finding(&doctor(&project), "error", "files", "nonsense");
    daemon.stop();

    let healthy = Project::complete();
    let daemon = healthy.start_daemon();
    assert!(ok(&doctor(&healthy)));
    daemon.stop();
}

#[test]
fn starting_daemon_is_ok() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let socket = project.home().join("starting/dossierd.sock");
    let forward = proxy(&project, "dossierd/0.1.0", str::to_owned);
    let fake = FakeServer::start(&socket, move |request| {
        let mut response = forward(request)?;
        if request.starts_with("GET /healthz") {
            response.status = 503;
            response.body = "{\"status\":\"starting\",\"indexed\":3,\"of\":7}".to_owned();
        }
        Some(response)
    });
    let socket = fake.socket.to_str().unwrap();
    let found = run_doctor(project.client_command(&["doctor", "--json", "--socket", socket]));
    assert_finding(&found, "ok", "daemon", "starting; 3 of 7 features are indexed");
    daemon.stop();
}

#[test]
fn low_inotify_limits_are_reported() {
    for (limit, value, level, message) in [
        ("max_inotify_watches", 1, "warning", "watching 1 of"),
        ("max_inotify_instances", 0, "warning", "max_user_instances"),
    ] {
        let project = Project::complete();
        let script = format!("echo {value} > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
        let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", &script];
        let mut trial: Vec<&str> = wrapper.to_vec();
        trial.push("true");
        if !can_run("the doctor with limits of inotify", &trial) {
            return;
        }
        let daemon = project.spawn_daemon(wrap_command(&wrapper, &project.daemon_command()));
        daemon.wait_until_ready();
        assert_finding(&doctor(&project), level, "watching", message);
        // The limit also applies to the doctor.
        let found =
            run_doctor(wrap_command(&wrapper, &project.client_command(&["doctor", "--json"])));
        let (level, message) = match limit {
            "max_inotify_watches" => ("error", "user.max_inotify_watches is 1"),
            _ => ("warning", "user.max_inotify_instances is only 0"),
        };
        assert_finding(&found, level, "inotify", message);
        daemon.stop();
    }
}

#[test]
fn clock_that_was_set_back_or_never_set_is_reported() {
    let project = Project::complete();
    project.start_daemon().stop();
    if !can_run("the doctor with a wrong clock", &["faketime", "-f", "-1d", "true"]) {
        return;
    }
    for (time, level, message) in [
        ("-1d", "warning", "in the future; the clock was set back"),
        ("@2001-01-01 00:00:00", "error", "before this program was released"),
    ] {
        let command = project.client_command(&["doctor", "--json"]);
        assert_finding(
            &run_doctor(wrap_command(&["faketime", "-f", time], &command)),
            level,
            "clock",
            message,
        );
    }
}

#[test]
fn unusable_state_directory_is_an_error() {
    let project = Project::complete();
    write_file(&project.state_dir(), b"a file");
    assert_finding(&doctor(&project), "error", "state folder", "is not a directory");
    fs::remove_file(project.state_dir()).unwrap();
    fs::create_dir_all(project.state_dir()).unwrap();
    let set_mode = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(project.state_dir(), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o500);
    assert_finding(&doctor(&project), "error", "state folder", "is not writable");
    set_mode(0o700);
    if is_root("a state folder of another user") {
        let id = Some(crate::support::NOBODY_UID);
        std::os::unix::fs::chown(project.state_dir(), id, id).unwrap();
        assert_finding(&doctor(&project), "error", "state folder", "belongs to another user");
    }
}

#[test]
fn no_project_is_a_warning() {
    let project = Project::empty();
    let mut command = project.client_command(&["doctor", "--json"]);
    command.current_dir(project.home());
    assert_finding(
        &run_doctor(command),
        "warning",
        "projects",
        "no project is watched, and the current directory is in none",
    );
}

#[test]
fn store_of_an_older_format_is_not_migrated() {
    let project = Project::complete();
    let store = crate::service::upgrade::create_store_of_format_1(&project);
    let before = read_tree(&project.home());
    let found = doctor(&project);
    assert_finding(&found, "ok", "store", "valid: 3 events");
    assert_finding(&found, "error", "project", "cannot read /home/p");
    let after = read_tree(&project.home());
    assert_eq!(before.len() + 1, after.len(), "only the directory `run` is new");
    assert_eq!(crate::service::upgrade::format_of(&store), 1);
}

#[test]
fn git_environment_of_a_hook_is_ignored() {
    let project = Project::complete();
    let git_init = |dir: &std::path::Path| {
        let mut command = Command::new("git");
        command.args(["init", "--quiet"]).arg(dir).env("HOME", project.home());
        command.output().is_ok_and(|output| output.status.success())
    };
    let other = project.home().join("other");
    if !git_init(&project.root) || !git_init(&other) {
        not_run("the environment of a git hook (no working `git`)");
        return;
    }
    write_file(&project.root.join(".kittify/dossiers/.gitignore"), b"*\n");
    let mut command = project.client_command(&["doctor", "--json"]);
    command.env("GIT_DIR", other.join(".git")).env("GIT_WORK_TREE", &other);
    assert_finding(&run_doctor(command), "ok", "git", ".kittify/dossiers is ignored");
}

/// The text output has the same findings.
#[test]
fn summary_counts_the_findings() {
    let project = Project::complete().config("setle: {}\n");
    let shown: CommandOutput = project.run_client(&["doctor"]);
    assert_eq!(shown.code, 1);
    let last = shown.stdout.lines().last().unwrap();
    assert!(last.contains(" checks: 1 error, "), "{shown:?}");
    assert!(shown.stdout.contains(FEATURE) || shown.stdout.contains("setle"), "{shown:?}");
}

//! `dossierd doctor` of what a daemon, the kernel and the clock do to it: each is brought about for
//! real where that can be done, and played by a daemon that lies where it cannot.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::cli::doctor::{findings, says};
use crate::support::fake_server::{FakeServer, proxy};
use crate::support::kernel::{can_run, is_root, wrap_command};
use crate::support::wait::wait_for;
use crate::support::{CommandOutput, FEATURE, Project, run, write_file};

/// The doctor has said what it has to say long before a client gives up, which is after a minute.
const SOON: Duration = Duration::from_secs(45);

fn doctor_of(command: Command) -> Vec<Value> {
    findings(&run(command, SOON))
}

fn doctor(project: &Project) -> Vec<Value> {
    doctor_of(project.client_command(&["doctor", "--json"]))
}

/// The real daemon's answers with `from` made `to`.
#[track_caller]
fn doctor_hears(project: &Project, from: &'static str, to: &'static str) -> Vec<Value> {
    let socket = project.home().join("fake").join(to.len().to_string()).join("dossierd.sock");
    let fake = FakeServer::start(
        &socket,
        proxy(project, "dossierd/0.1.0", move |body| {
            assert!(body.contains(from) || !body.contains("\"pid\""), "`{from}` is not in {body}");
            body.replacen(from, to, 1)
        }),
    );
    doctor_of(project.client_command(&[
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
    says(&found, "error", "daemon", "takes connections, and has not answered within 3 s");
    // And all else is still looked at.
    says(&found, "ok", "file system", "a disk of this machine");
}

#[test]
fn hung_engine_is_an_error() {
    let hang = Project::complete();
    let file = hang.home().join("hang");
    let project = hang.hang_file(&file);
    let daemon = project.start_daemon();
    fs::write(&file, "").unwrap();
    let found = doctor(&project);
    says(&found, "error", "daemon", "its engine has not answered within 5 s");
    says(&found, "ok", "daemon", "of version");
    fs::remove_file(&file).unwrap();
    daemon.stop();
}

#[test]
fn other_server_at_the_socket_is_an_error() {
    let project = Project::complete();
    for (status, body) in [(200, "<html>"), (404, ""), (200, "{\"status\":\"ok\"}")] {
        let socket = project.home().join(format!("other-{status}-{}", body.len()));
        let fake = FakeServer::start(&socket.join("s"), move |_| {
            Some(crate::support::fake_server::FakeResponse {
                status,
                server: "nginx",
                body: body.to_owned(),
            })
        });
        let socket = fake.socket.to_str().unwrap();
        let found = doctor_of(project.client_command(&["doctor", "--json", "--socket", socket]));
        says(&found, "error", "daemon", "cannot parse the daemon's response");
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
    let served = project.spawn_daemon(command);
    wait_for(&format!("a daemon of another user: {}", served.log()), || {
        std::os::unix::net::UnixStream::connect(socket).ok()
    });
    let found = doctor_of(project.client_command(&["doctor", "--json", "--socket", socket]));
    says(&found, "error", "daemon", "is served by another user");
    says(&found, "error", "socket", "is another user's");
    says(&found, "error", "socket folder", "is another user's");
}

#[test]
fn daemon_of_another_version_is_a_warning() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let own = "\"version\":\"0.1.0\"";
    assert_eq!(env!("CARGO_PKG_VERSION"), "0.1.0", "and here, please");
    for other in ["\"version\":\"0.0.9\"", "\"version\":\"12.0.0\""] {
        let found = doctor_hears(&project, own, other);
        let other = other.split('"').nth(3).unwrap();
        says(&found, "warning", "daemon", &format!("of version {other}, this command is 0.1.0"));
    }
    daemon.stop();
}

#[test]
fn status_of_the_daemon_is_reported() {
    let project =
        Project::complete().config("webhook: {url: 'http://127.0.0.1:9/', secret_env: HOOK}\n");
    let project = project.env("HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAAAAA=");
    let daemon = project.start_daemon();
    // Nothing listens there.
    let found = wait_for("a delivery that fails", || {
        let found = doctor(&project);
        found.iter().any(|finding| finding["check"] == "delivery").then_some(found)
    });
    says(&found, "warning", "delivery", "webhook: ");
    daemon.stop();
    fs::remove_file(project.config_file()).unwrap();

    let daemon = project.start_daemon();
    let found = doctor_hears(
        &project,
        "\"state\":\"ok\",\"detail\":null}",
        "\"state\":\"degraded\",\"detail\":\"disk full\"}",
    );
    says(&found, "error", "store", "not durable: disk full");
    fs::rename(&project.root, project.root.with_file_name("away")).unwrap();
    let mut command = project.client_command(&["doctor", "--json"]);
    command.current_dir(project.home());
    let found = wait_for("the root to be missed", || {
        let mut again = Command::new(command.get_program());
        again.args(command.get_args()).env_clear().current_dir(project.home());
        again.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let found = doctor_of(again);
        found.iter().any(|finding| finding["check"] == "watching").then_some(found)
    });
    says(&found, "error", "watching", project.root.to_str().unwrap());
    says(&found, "error", "project", "cannot be read");
    daemon.stop();
}

#[test]
fn starting_daemon_is_ok() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let socket = project.home().join("starting/dossierd.sock");
    let pass = proxy(&project, "dossierd/0.1.0", str::to_owned);
    let fake = FakeServer::start(&socket, move |request| {
        let mut said = pass(request)?;
        if request.starts_with("GET /healthz") {
            said.status = 503;
            said.body = "{\"status\":\"starting\",\"indexed\":3,\"of\":7}".to_owned();
        }
        Some(said)
    });
    let socket = fake.socket.to_str().unwrap();
    let found = doctor_of(project.client_command(&["doctor", "--json", "--socket", socket]));
    says(&found, "ok", "daemon", "it starts: 3 of 7 features are indexed");
    daemon.stop();
}

#[test]
fn low_inotify_limits_are_reported() {
    for (limit, to, level, message) in [
        ("max_inotify_watches", 1, "warning", "watching 1 of"),
        ("max_inotify_instances", 0, "warning", "max_user_instances"),
    ] {
        let project = Project::complete();
        let script = format!("echo {to} > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
        let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", &script];
        let mut trial: Vec<&str> = wrapper.to_vec();
        trial.push("true");
        if !can_run("what the doctor says of limits of inotify", &trial) {
            return;
        }
        let daemon = project.spawn_daemon(wrap_command(&wrapper, &project.daemon_command()));
        daemon.wait_until_ready();
        says(&doctor(&project), level, "watching", message);
        // Where the limit counts for the doctor, too.
        let found =
            doctor_of(wrap_command(&wrapper, &project.client_command(&["doctor", "--json"])));
        let (level, said) = match limit {
            "max_inotify_watches" => ("error", "user.max_inotify_watches is 1"),
            _ => ("warning", "user.max_inotify_instances is only 0"),
        };
        says(&found, level, "inotify", said);
        daemon.stop();
    }
}

#[test]
fn clock_that_was_set_back_or_never_set_is_reported() {
    let project = Project::complete();
    project.start_daemon().stop();
    if !can_run("what the doctor says of the clock", &["faketime", "-f", "-1d", "true"]) {
        return;
    }
    for (time, level, message) in [
        ("-1d", "warning", "later than now: it was set back"),
        ("@2001-01-01 00:00:00", "error", "before this program was made"),
    ] {
        let command = project.client_command(&["doctor", "--json"]);
        says(
            &doctor_of(wrap_command(&["faketime", "-f", time], &command)),
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
    says(&doctor(&project), "error", "state folder", "is no folder");
    fs::remove_file(project.state_dir()).unwrap();
    fs::create_dir_all(project.state_dir()).unwrap();
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(project.state_dir(), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o500);
    says(&doctor(&project), "error", "state folder", "cannot be written");
    mode(0o700);
    if is_root("a state folder of another user") {
        let id = Some(crate::support::NOBODY_UID);
        std::os::unix::fs::chown(project.state_dir(), id, id).unwrap();
        says(&doctor(&project), "error", "state folder", "is another user's");
    }
}

#[test]
fn no_project_is_a_warning() {
    let project = Project::empty();
    let mut command = project.client_command(&["doctor", "--json"]);
    command.current_dir(project.home());
    says(&doctor_of(command), "warning", "projects", "none is watched, and none is here");
}

#[test]
fn store_of_an_older_format_is_not_migrated() {
    let project = Project::complete();
    let store = crate::service::upgrade::create_store_of_format_1(&project);
    let before = crate::support::read_tree(&project.home());
    let found = doctor(&project);
    says(&found, "ok", "store", "it is sound: 3 events");
    says(&found, "error", "project", "/home/p cannot be read");
    let after = crate::support::read_tree(&project.home());
    assert_eq!(before.len() + 1, after.len(), "but `run`");
    assert_eq!(crate::service::upgrade::format_of(&store), 1);
}

#[test]
fn git_environment_of_a_hook_is_ignored() {
    let project = Project::complete();
    let git = |folder: &std::path::Path| {
        let mut command = Command::new("git");
        command.args(["init", "--quiet"]).arg(folder).env("HOME", project.home());
        command.output().is_ok_and(|output| output.status.success())
    };
    let other = project.home().join("other");
    if !git(&project.root) || !git(&other) {
        crate::support::not_run("of which repository git is asked (no working `git`)");
        return;
    }
    write_file(&project.root.join(".kittify/dossiers/.gitignore"), b"*\n");
    let mut command = project.client_command(&["doctor", "--json"]);
    command.env("GIT_DIR", other.join(".git")).env("GIT_WORK_TREE", &other);
    says(&doctor_of(command), "ok", "git", ".kittify/dossiers is ignored");
}

/// That a run of the doctor by people says the same.
#[test]
fn summary_counts_the_findings() {
    let project = Project::complete().config("setle: {}\n");
    let shown: CommandOutput = project.run_client(&["doctor"]);
    assert_eq!(shown.code, 1);
    let last = shown.stdout.lines().last().unwrap();
    assert!(last.contains(" checks: 1 wrong, "), "{shown:?}");
    assert!(shown.stdout.contains(FEATURE) || shown.stdout.contains("setle"), "{shown:?}");
}

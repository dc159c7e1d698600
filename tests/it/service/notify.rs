//! Notifications to the service manager, received by the test instead of systemd: readiness,
//! status, watchdog, reload, stop.

use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use serde_json::json;

use crate::support::process::Daemon;
use crate::support::wait::{WAIT_TIMEOUT, wait_for};
use crate::support::{Project, not_run, write_file};

/// A daemon whose notifications the test receives.
struct NotifyingDaemon {
    socket: UnixDatagram,
    daemon: Daemon,
}

impl NotifyingDaemon {
    fn start(project: &Project, watchdog_us: &str) -> Self {
        let path = project.home().join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        let mut command = project.daemon_command();
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", watchdog_us);
        Self { socket, daemon: project.spawn_daemon(command) }
    }

    /// Returns the lines of the next message.
    #[track_caller]
    fn next(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("a message before the timeout");
        let text = String::from_utf8(message[..length].to_vec()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Returns the messages up to the first with a line that begins with `line`, which is included.
    #[track_caller]
    fn messages_until(&self, line: &str) -> Vec<Vec<String>> {
        let mut messages = Vec::new();
        let deadline = Instant::now() + WAIT_TIMEOUT;
        loop {
            let message = self.next();
            let found = message.iter().any(|text| text.starts_with(line));
            messages.push(message);
            if found {
                return messages;
            }
            assert!(Instant::now() < deadline, "no {line} in {messages:#?}");
        }
    }

    fn send_signal(&self, signal: rustix::process::Signal) {
        let pid =
            rustix::process::Pid::from_raw(i32::try_from(self.daemon.child_id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

#[test]
fn ready_is_sent_when_the_index_is_complete_and_the_socket_answers() {
    let project = Project::complete();
    let supervised = NotifyingDaemon::start(&project, "60000000");
    let messages = supervised.messages_until("READY=1");
    assert_eq!(supervised.daemon.get("/healthz").status, 200);
    let ready = messages.last().unwrap();
    assert_eq!(ready[1], "STATUS=watching 1 feature in 1 project");
    // The start extends its timeout, so that a long one does not look like a hang.
    assert_eq!(messages[0], ["STATUS=opening the store", "EXTEND_TIMEOUT_USEC=60000000"]);
    // The status follows the state, and a stop is announced before anything is closed.
    std::fs::rename(&project.root, project.root.with_file_name("away")).unwrap();
    let unavailable = supervised.messages_until("STATUS=watching 1 feature in 1 project; ");
    assert!(unavailable.last().unwrap()[0].ends_with("is unavailable"), "{unavailable:#?}");
    supervised.send_signal(rustix::process::Signal::TERM);
    let last = supervised.messages_until("STOPPING=1");
    assert!(last.last().unwrap()[1].starts_with("STATUS=stopping"));
}

#[test]
fn watchdog_messages_stop_while_the_engine_hangs() {
    let project = Project::complete();
    let hang = project.home().join("hang");
    let project = project.hang_file(&hang);
    let supervised = NotifyingDaemon::start(&project, "200000");
    supervised.messages_until("READY=1");
    for _ in 0..3 {
        supervised.messages_until("WATCHDOG=1");
    }
    std::fs::write(&hang, "").unwrap();
    wait_for("the daemon to detect the hung engine", || {
        supervised.daemon.log().contains("the engine does not respond").then_some(())
    });
    // The async runtime still works, so a timer there would not detect the hang.
    assert_eq!(supervised.daemon.get("/healthz").status, 200);
    std::fs::remove_file(&hang).unwrap();
    supervised.messages_until("WATCHDOG=1");
    supervised.daemon.stop();
}

#[test]
fn stop_does_not_wait_for_a_hung_engine() {
    let project = Project::complete();
    let hang = project.home().join("hang");
    let project = project.hang_file(&hang);
    let mut supervised = NotifyingDaemon::start(&project, "60000000");
    supervised.messages_until("READY=1");
    std::fs::write(&hang, "").unwrap();
    supervised.send_signal(rustix::process::Signal::TERM);
    supervised.messages_until("STOPPING=1");
    assert_eq!(supervised.daemon.wait_for_exit().code(), Some(1));
    assert!(supervised.daemon.log().contains("did not stop within"), "{}", supervised.daemon.log());
}

#[test]
fn reload_is_announced_and_always_finished() {
    let project = Project::complete();
    let supervised = NotifyingDaemon::start(&project, "60000000");
    supervised.messages_until("READY=1");
    // A change of the file, without a signal.
    write_file(&project.config_file(), b"setle: {}\n");
    let reload = supervised.messages_until("RELOADING=1").pop().unwrap();
    assert!(reload.iter().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reload:?}");
    let ready = supervised.messages_until("READY=1").pop().unwrap();
    assert!(ready[1].contains("invalid configuration"), "{ready:?}");
    std::fs::write(project.config_file(), "log: debug\n").unwrap();
    supervised.messages_until("RELOADING=1");
    let ready = supervised.messages_until("READY=1").pop().unwrap();
    assert!(!ready[1].contains("invalid configuration"), "{ready:?}");
    // A reload without changes is finished too, because systemd waits for it.
    let reload = |supervised: &NotifyingDaemon| {
        supervised.send_signal(rustix::process::Signal::HUP);
        supervised.messages_until("RELOADING=1");
        supervised.messages_until("READY=1");
        supervised.daemon.log().matches("configuration reloaded without changes").count()
    };
    assert_eq!(reload(&supervised), 1);
    // The log level is part of the configuration.
    std::fs::write(project.config_file(), "log: error\n").unwrap();
    wait_for("the log level to change", || {
        let before =
            supervised.daemon.log().matches("configuration reloaded without changes").count();
        (reload(&supervised) == before).then_some(())
    });
    supervised.daemon.stop();
}

#[test]
fn invalid_configuration_is_waited_for_and_reported() {
    let project = Project::complete().config("setle: {}\n");
    let by_hand = project.run(&["run"]);
    assert_eq!(by_hand.code, 78, "{by_hand:?}");
    let supervised = NotifyingDaemon::start(&project, "200000");
    let ready = supervised.messages_until("READY=1").pop().unwrap();
    assert!(ready[1].starts_with("STATUS=waiting for a valid configuration"), "{ready:?}");
    for _ in 0..3 {
        supervised.messages_until("WATCHDOG=1");
    }
    let health = supervised.daemon.get("/healthz");
    assert_eq!((health.status, health.json()), (503, json!({"status": "configuration"})));
    let problem = supervised.daemon.get("/api/status").assert_problem(503, "unavailable");
    assert_eq!(problem["hint_code"], "invalid_configuration");
    assert!(!project.state_dir().join("dossierd.sqlite3").exists());
    for arguments in [
        &["status"][..],
        &["watch"],
        &["events"],
        &["events", "--follow"],
        &["verify"],
        &["project", "list"],
        &["delivery", "list"],
        &["rescan"],
    ] {
        let run = project.run_client(arguments);
        assert_eq!(run.code, 78, "{arguments:?}: {run:?}");
        assert!(run.stderr.contains("did you mean `settle`?"), "{arguments:?}: {run:?}");
    }
    assert_eq!(project.run_client(&["doctor"]).code, 1);
    // Another error, then none.
    write_file(&project.config_file(), b"colour: {}\n");
    let status = "STATUS=waiting for a valid configuration: ";
    wait_for("the other error", || {
        let message = supervised.next();
        message.iter().any(|line| line.starts_with(status) && line.contains("colour")).then_some(())
    });
    write_file(&project.config_file(), b"log: debug\n");
    let ready = supervised.messages_until("READY=1").pop().unwrap();
    assert_eq!(ready[1], "STATUS=watching 1 feature in 1 project");
    assert_eq!(supervised.daemon.get("/healthz").status, 200);
    project.run_client(&["status"]).assert_success();
    supervised.daemon.stop();
}

#[test]
fn stop_ends_the_wait_for_a_valid_configuration() {
    let project = Project::complete().config("setle: {}\n");
    let supervised = NotifyingDaemon::start(&project, "60000000");
    supervised.messages_until("READY=1");
    supervised.daemon.stop();
}

#[test]
fn unit_files_pass_systemd_analyze() {
    let mut command = std::process::Command::new("systemd-analyze");
    command.args(["--user", "--man=no", "verify"]);
    let dir = crate::support::repository().join("systemd");
    let project = Project::empty();
    // The program of the unit must exist.
    let text = std::fs::read_to_string(dir.join("dossierd.service")).unwrap();
    let text = text.replace("/usr/bin/dossierd", env!("CARGO_BIN_EXE_dossierd"));
    write_file(&project.root.join("dossierd.service"), text.as_bytes());
    let socket = std::fs::read(dir.join("dossierd.socket")).unwrap();
    write_file(&project.root.join("dossierd.socket"), &socket);
    let drop_in = std::fs::read(dir.join("dossierd.service.d/namespaces.conf")).unwrap();
    write_file(&project.root.join("dossierd.service.d/namespaces.conf"), &drop_in);
    command.args(["dossierd.service", "dossierd.socket"]).current_dir(&project.root);
    command.env("XDG_RUNTIME_DIR", project.home());
    match command.output() {
        Err(_) => not_run("the unit files (no `systemd-analyze`)"),
        Ok(output) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            if stderr.contains("Failed to initialize manager") {
                not_run("the unit files (`systemd-analyze` does not work here)");
                return;
            }
            assert!(output.status.success() && stderr.is_empty(), "{stderr}");
        }
    }
}

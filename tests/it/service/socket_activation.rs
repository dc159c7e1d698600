//! Socket activation: the socket that systemd passes is used, and anything else is rejected.

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use serde_json::Value;

use crate::support::kernel::can_run;
use crate::support::process::Daemon;
use crate::support::wait::{WAIT_TIMEOUT, wait_for};
use crate::support::{COMMAND_TIMEOUT, Project, run};

/// Returns a command that runs the daemon with descriptors from 3 on, which the Python code `make`
/// creates, as systemd passes them. Returns `None` and reports it if there is no Python.
fn activated_daemon(project: &Project, make: &str, count: u32) -> Option<Command> {
    if !can_run("socket activation", &["python3", "-c", ""]) {
        return None;
    }
    let script = format!(
        "import os, socket, sys\n\
         def at(fd, file):\n    keep.append(file)\n    file.fileno() == fd or os.dup2(file.fileno(), fd)\n    \
         os.set_inheritable(fd, True)\n\
         keep = []\n\
         def unix(kind, path, listen=True):\n    s = socket.socket(socket.AF_UNIX, kind)\n    \
         s.bind(path)\n    keep.append(s)\n    listen and s.listen()\n    return s\n\
         path = sys.argv[1]\n\
         os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)\n\
         {make}\n\
         os.environ['LISTEN_PID'] = str(os.getpid())\n\
         os.environ['LISTEN_FDS'] = '{count}'\n\
         os.execv(sys.argv[2], sys.argv[2:])\n"
    );
    let daemon = project.daemon_command();
    let mut command = Command::new("python3");
    command.args(["-c", &script]).arg(project.socket()).arg(daemon.get_program());
    command.args(daemon.get_args()).current_dir(&project.root).env_clear();
    command.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(command)
}

#[test]
fn listening_socket_is_served() {
    let project = Project::complete();
    let make = "at(3, unix(socket.SOCK_STREAM, path))";
    let Some(command) = activated_daemon(&project, make, 1) else {
        return;
    };
    let daemon: Daemon = project.spawn_daemon(command);
    daemon.wait_until_ready();
    assert_eq!(daemon.get("/healthz").status, 200);
    daemon.stop();
    assert!(project.socket().exists(), "the socket belongs to systemd");
}

#[test]
fn kept_dashboard_is_adopted_and_an_invalid_one_is_not() {
    let project = Project::complete();
    let socket = "at(3, unix(socket.SOCK_STREAM, path))";
    let names = "os.environ['LISTEN_FDNAMES'] = 'dossierd.socket:dashboard:dashboard-sessions'";
    let listener = "tcp = socket.create_server(('127.0.0.1', 0)); keep.append(tcp); at(4, tcp)";
    let sessions = "at(5, os.fdopen(os.memfd_create('x'), 'w'))";
    for (listener, sessions, is_adopted) in [
        (listener, sessions, true),
        // Not on loopback, not listening, no file with sessions: the dashboard is closed.
        (&*listener.replace("127.0.0.1", "0.0.0.0"), sessions, false),
        (
            "tcp = socket.socket(); tcp.bind(('127.0.0.1', 0)); keep.append(tcp); at(4, tcp)",
            sessions,
            false,
        ),
        ("at(4, open('/dev/null'))", sessions, false),
        (listener, "r, w = os.pipe(); os.dup2(r, 5); os.set_inheritable(5, True)", false),
    ] {
        let make = format!("{socket}\n{listener}\n{sessions}\n{names}");
        let Some(command) = activated_daemon(&project, &make, 3) else {
            return;
        };
        let daemon: Daemon = project.spawn_daemon(command);
        daemon.wait_until_ready();
        let dashboard = daemon.get_json("/api/dashboard");
        assert_eq!(dashboard["address"].is_string(), is_adopted, "{listener}: {dashboard:#}");
        if is_adopted {
            // The file was empty: the next daemon must find what this one serves.
            let file = format!("/proc/{}/fd/5", daemon.child_id());
            let sessions = std::fs::read_to_string(file).unwrap();
            assert!(sessions.contains("\"token\""), "{sessions}");
        }
        assert_eq!(daemon.request("POST", "/api/dashboard", "").status, 200);
        daemon.stop();
        std::fs::remove_file(project.socket()).unwrap();
    }
}

#[test]
fn part_of_a_kept_dashboard_is_closed() {
    let listener = |at: u32| {
        format!(
            "tcp = socket.create_server(('127.0.0.1', 0)); keep.append(tcp); at({at}, tcp)\n\
             open(path + '.ports', 'a').write(str(tcp.getsockname()[1]) + ' ')"
        )
    };
    let sessions = |at: u32| format!("at({at}, os.fdopen(os.memfd_create('x'), 'w'))");
    for (names, descriptors) in [
        ("dashboard", vec![listener(4)]),
        ("dashboard-sessions", vec![sessions(4)]),
        ("dashboard:dashboard:dashboard-sessions", vec![listener(4), listener(5), sessions(6)]),
    ] {
        let project = Project::complete();
        let notifications = project.home().join("notify.sock");
        let notified = UnixDatagram::bind(&notifications).unwrap();
        notified.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        let make = format!(
            "at(3, unix(socket.SOCK_STREAM, path))\n{}\n\
             os.environ['LISTEN_FDNAMES'] = 'dossierd.socket:{names}'",
            descriptors.join("\n")
        );
        let count = u32::try_from(1 + descriptors.len()).unwrap();
        let Some(mut command) = activated_daemon(&project, &make, count) else {
            return;
        };
        command.env("NOTIFY_SOCKET", &notifications);
        let daemon: Daemon = project.spawn_daemon(command);
        daemon.wait_until_ready();
        assert_eq!(daemon.get_json("/api/dashboard")["address"], Value::Null, "{names}");
        // Their clients would wait for ever.
        let ports = format!("{}.ports", project.socket().display());
        for port in std::fs::read_to_string(ports).unwrap_or_default().split_whitespace() {
            let refused = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{names}");
        }
        let mut removed = 0;
        while removed < 2 {
            let mut message = [0; 4096];
            let length =
                notified.recv(&mut message).expect("a message that has systemd close both");
            removed += usize::from(message[..length].starts_with(b"FDSTOREREMOVE=1"));
        }
        daemon.stop();
    }
}

#[test]
fn invalid_descriptor_is_rejected_with_the_reason() {
    for (make, count, reason) in [
        ("at(3, open('/dev/null'))", 1, "is not a socket"),
        (
            "s = socket.create_server(('127.0.0.1', 0)); at(3, s)",
            1,
            "not a valid unix stream socket",
        ),
        ("at(3, unix(socket.SOCK_DGRAM, path, False))", 1, "not a valid unix stream socket"),
        ("at(3, unix(socket.SOCK_STREAM, path, False))", 1, "it does not listen"),
        ("a, b = socket.socketpair(); at(3, a)", 1, "it does not listen"),
        ("at(3, unix(socket.SOCK_STREAM, '\\0dossierd-test'))", 1, "it has no path"),
        (
            "at(3, unix(socket.SOCK_STREAM, path)); at(4, unix(socket.SOCK_STREAM, path + '2'))",
            2,
            "expected one socket, got 2",
        ),
        ("os.closerange(3, 20)", 1, "is not a socket"),
    ] {
        let project = Project::complete();
        // Abstract socket names are global, so this one is made unique.
        let make = make.replace("dossierd-test", project.home().to_str().unwrap());
        let Some(command) = activated_daemon(&project, &make, count) else {
            return;
        };
        let run = run(command, COMMAND_TIMEOUT);
        run.assert_failure(1, "cannot use the socket passed by systemd");
        run.assert_failure(1, reason);
        assert!(
            !project.state_dir().join("dossierd.sqlite3").exists(),
            "the store was not created"
        );
    }
}

#[test]
fn socket_whose_file_was_removed_is_reported() {
    let project = Project::complete();
    let make = "at(3, unix(socket.SOCK_STREAM, path)); os.unlink(path)";
    let Some(command) = activated_daemon(&project, make, 1) else {
        return;
    };
    let daemon: Daemon = project.spawn_daemon(command);
    wait_for("the log line", || {
        daemon.log().contains("cannot connect to the daemon's own socket").then_some(())
    });
    daemon.stop();
}

#[test]
fn sockets_for_another_process_are_ignored() {
    let project = Project::complete();
    let mut command = project.daemon_command();
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    let daemon = project.spawn_daemon(command);
    daemon.wait_until_ready();
    daemon.stop();
}

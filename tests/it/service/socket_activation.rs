//! What a service manager hands over: the one socket that is served, and all that is none.

use std::process::Command;

use crate::support::kernel::can_run;
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{COMMAND_TIMEOUT, Project, run};

/// Hands over what `make` puts at descriptor 3 and after, as systemd does, to what follows.
fn handing_over(project: &Project, make: &str, count: u32) -> Option<Command> {
    if !can_run("what a service manager hands over", &["python3", "-c", ""]) {
        return None;
    }
    let script = format!(
        "import os, socket, sys\n\
         def at(fd, thing):\n    keep.append(thing)\n    thing.fileno() == fd or os.dup2(thing.fileno(), fd)\n    \
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
    let of_daemon = project.daemon_command();
    let mut command = Command::new("python3");
    command.args(["-c", &script]).arg(project.socket()).arg(of_daemon.get_program());
    command.args(of_daemon.get_args()).current_dir(&project.root).env_clear();
    command.envs(of_daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(command)
}

#[test]
fn a_socket_that_listens_is_served() {
    let project = Project::complete();
    let make = "at(3, unix(socket.SOCK_STREAM, path))";
    let Some(command) = handing_over(&project, make, 1) else {
        return;
    };
    let daemon: Daemon = project.spawn_daemon(command);
    daemon.wait_until_ready();
    assert_eq!(daemon.get("/healthz").status, 200);
    daemon.stop();
    assert!(project.socket().exists(), "its maker will make use of it again");
}

#[test]
fn anything_else_is_refused_and_said() {
    for (make, count, said) in [
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
        // Names of no path are one for the machine.
        let make = make.replace("dossierd-test", project.home().to_str().unwrap());
        let Some(command) = handing_over(&project, &make, count) else {
            return;
        };
        let run = run(command, COMMAND_TIMEOUT);
        run.assert_failure(1, "cannot use the socket passed by systemd");
        run.assert_failure(1, said);
        assert!(!project.state_dir().join("dossierd.sqlite3").exists(), "nothing was begun");
    }
}

#[test]
fn one_whose_file_was_removed_is_said() {
    let project = Project::complete();
    let make = "at(3, unix(socket.SOCK_STREAM, path)); os.unlink(path)";
    let Some(command) = handing_over(&project, make, 1) else {
        return;
    };
    let daemon: Daemon = project.spawn_daemon(command);
    wait_for("that it says so", || {
        daemon.log().contains("cannot connect to the daemon's own socket").then_some(())
    });
    daemon.stop();
}

#[test]
fn what_was_meant_for_another_process_is_left_alone() {
    let project = Project::complete();
    let mut command = project.daemon_command();
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    let daemon = project.spawn_daemon(command);
    daemon.wait_until_ready();
    daemon.stop();
}

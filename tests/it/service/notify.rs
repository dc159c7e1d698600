//! What a service manager is told: read from the socket that it would read from, so that it holds
//! also where no systemd is.

use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use crate::support::process::Daemon;
use crate::support::wait::{WAIT_TIMEOUT, wait_for};
use crate::support::{Project, not_run, write_file};

/// A daemon under something that listens as systemd would.
struct Watched {
    socket: UnixDatagram,
    daemon: Daemon,
}

impl Watched {
    fn start(project: &Project, watchdog_us: &str) -> Self {
        let path = project.home().join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        let mut command = project.daemon_command();
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", watchdog_us);
        Self { socket, daemon: project.spawn_daemon(command) }
    }

    /// The next message.
    #[track_caller]
    fn next(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("a message within the time");
        let text = String::from_utf8(message[..length].to_vec()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Messages up to the first that has `line`.
    #[track_caller]
    fn until(&self, line: &str) -> Vec<Vec<String>> {
        let mut messages = Vec::new();
        let deadline = Instant::now() + WAIT_TIMEOUT;
        loop {
            let message = self.next();
            let found = message.iter().any(|said| said.starts_with(line));
            messages.push(message);
            if found {
                return messages;
            }
            assert!(Instant::now() < deadline, "no {line} in {messages:#?}");
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid =
            rustix::process::Pid::from_raw(i32::try_from(self.daemon.child_id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

#[test]
fn it_is_ready_when_all_is_indexed_and_the_socket_answers() {
    let project = Project::complete();
    let watched = Watched::start(&project, "60000000");
    let messages = watched.until("READY=1");
    assert_eq!(watched.daemon.get("/healthz").status, 200);
    let ready = messages.last().unwrap();
    assert_eq!(ready[1], "STATUS=watching 1 feature in 1 project");
    // However long that takes, it is not taken for a start that hangs.
    assert_eq!(messages[0], ["STATUS=opening the store", "EXTEND_TIMEOUT_USEC=60000000"]);
    // What happens is said, and a stop is announced before anything is taken down.
    std::fs::rename(&project.root, project.root.with_file_name("away")).unwrap();
    let gone = watched.until("STATUS=watching 1 feature in 1 project; ");
    assert!(gone.last().unwrap()[0].ends_with("is unavailable"), "{gone:#?}");
    watched.signal(rustix::process::Signal::TERM);
    let last = watched.until("STOPPING=1");
    assert!(last.last().unwrap()[1].starts_with("STATUS=stopping"));
}

#[test]
fn signs_of_life_come_from_the_engine_and_end_with_it() {
    let project = Project::complete();
    let hang = project.home().join("hang");
    let project = project.hang_file(&hang);
    let watched = Watched::start(&project, "200000");
    watched.until("READY=1");
    for _ in 0..3 {
        watched.until("WATCHDOG=1");
    }
    std::fs::write(&hang, "").unwrap();
    wait_for("the daemon to see that its engine hangs", || {
        watched.daemon.log().contains("the engine does not answer").then_some(())
    });
    // The runtime lives, as a timer would have shown.
    assert_eq!(watched.daemon.get("/healthz").status, 200);
    std::fs::remove_file(&hang).unwrap();
    watched.until("WATCHDOG=1");
    watched.daemon.stop();
}

#[test]
fn a_stop_does_not_wait_for_an_engine_that_hangs() {
    let project = Project::complete();
    let hang = project.home().join("hang");
    let project = project.hang_file(&hang);
    let mut watched = Watched::start(&project, "60000000");
    watched.until("READY=1");
    std::fs::write(&hang, "").unwrap();
    watched.signal(rustix::process::Signal::TERM);
    watched.until("STOPPING=1");
    assert_eq!(watched.daemon.wait_for_exit().code(), Some(1));
    assert!(watched.daemon.log().contains("did not stop within"), "{}", watched.daemon.log());
}

#[test]
fn a_reload_is_announced_and_ends_whatever_comes_of_it() {
    let project = Project::complete();
    let watched = Watched::start(&project, "60000000");
    watched.until("READY=1");
    // A change by itself, before any signal.
    write_file(&project.config_file(), b"setle: {}\n");
    let reload = watched.until("RELOADING=1").pop().unwrap();
    assert!(reload.iter().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reload:?}");
    let ready = watched.until("READY=1").pop().unwrap();
    assert!(ready[1].contains("invalid configuration"), "{ready:?}");
    std::fs::write(project.config_file(), "log: debug\n").unwrap();
    watched.until("RELOADING=1");
    let ready = watched.until("READY=1").pop().unwrap();
    assert!(!ready[1].contains("broken"), "{ready:?}");
    // One that changes nothing is answered, too, for systemd waits for it.
    let asked = |watched: &Watched| {
        watched.signal(rustix::process::Signal::HUP);
        watched.until("RELOADING=1");
        watched.until("READY=1");
        watched.daemon.log().matches("nothing in it has changed").count()
    };
    assert_eq!(asked(&watched), 1);
    // What is logged is part of what is taken up.
    std::fs::write(project.config_file(), "log: error\n").unwrap();
    wait_for("the silence", || {
        let before = watched.daemon.log().matches("nothing in it has changed").count();
        (asked(&watched) == before).then_some(())
    });
    watched.daemon.stop();
}

#[test]
fn the_units_are_sound() {
    let mut command = std::process::Command::new("systemd-analyze");
    command.args(["--user", "--man=no", "verify"]);
    let folder = crate::support::repository().join("systemd");
    let project = Project::empty();
    // What is run must be there.
    let text = std::fs::read_to_string(folder.join("dossierd.service")).unwrap();
    let text = text.replace("/usr/bin/dossierd", env!("CARGO_BIN_EXE_dossierd"));
    write_file(&project.root.join("dossierd.service"), text.as_bytes());
    let socket = std::fs::read(folder.join("dossierd.socket")).unwrap();
    write_file(&project.root.join("dossierd.socket"), &socket);
    let drop_in = std::fs::read(folder.join("dossierd.service.d/namespaces.conf")).unwrap();
    write_file(&project.root.join("dossierd.service.d/namespaces.conf"), &drop_in);
    command.args(["dossierd.service", "dossierd.socket"]).current_dir(&project.root);
    command.env("XDG_RUNTIME_DIR", project.home());
    match command.output() {
        Err(_) => not_run("whether the units are sound (no `systemd-analyze`)"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            if said.contains("Failed to initialize manager") {
                not_run("whether the units are sound (`systemd-analyze` does not work here)");
                return;
            }
            assert!(output.status.success() && said.is_empty(), "{said}");
        }
    }
}

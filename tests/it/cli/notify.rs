//! `watch --notify` with a real notification service on a private D-Bus session.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::client::RunningCommand;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, not_run};

/// Python of the system, which has the module of Debian's `python3-dbusmock`.
const PYTHON: &str = "/usr/bin/python3";

/// A bus that starts no service of this machine.
const BUS_CONFIG: &str = "<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><policy \
                          context='default'><allow send_destination='*' eavesdrop='true'/><allow \
                          eavesdrop='true'/><allow own='*'/></policy></busconfig>";

/// A D-Bus session of its own.
struct Session {
    bus: Child,
    service: Option<Child>,
    address: String,
    log: PathBuf,
}

impl Session {
    fn start(project: &Project) -> Self {
        let config = project.home().join("bus.conf");
        fs::write(&config, BUS_CONFIG).unwrap();
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--nofork", "--nopidfile", "--print-address", "--config-file"]).arg(&config);
        let mut bus = bus.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let log = project.home().join("notifications.log");
        Self { bus, service: None, address: address.trim().to_owned(), log }
    }

    fn start_service(&mut self) {
        let mut service = Command::new(PYTHON);
        service.args(["-m", "dbusmock", "--session", "--template", "notification_daemon"]);
        service.arg("--logfile").arg(&self.log);
        service.env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        service.stdout(Stdio::null()).stderr(Stdio::null());
        self.service = Some(service.spawn().unwrap());
        wait_for("the notification service", || self.has_service().then_some(()));
    }

    fn has_service(&self) -> bool {
        let mut call = Command::new("dbus-send");
        call.args(["--session", "--print-reply", "--dest=org.freedesktop.Notifications"]);
        call.args([
            "/org/freedesktop/Notifications",
            "org.freedesktop.Notifications.GetCapabilities",
        ]);
        let call = call.env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        call.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Returns the calls that show a notification.
    fn notifications(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        // A body can have several lines.
        text.split(" Notify ").skip(1).map(str::to_owned).collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for child in self.service.iter_mut().chain([&mut self.bus]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn watch(project: &Project, address: &str) -> RunningCommand {
    let mut command = project.client_command(&["watch", "--notify"]);
    command.env("DBUS_SESSION_BUS_ADDRESS", address);
    let mut live = RunningCommand::start(command);
    live.lines_until("features without problems");
    live
}

#[test]
fn changes_are_shown_by_the_notification_service_together_and_as_urgent_as_they_are() {
    let can_import = Command::new(PYTHON).args(["-c", "import dbusmock"]).output();
    if !can_import.is_ok_and(|output| output.status.success()) {
        not_run("notifications (no `python3-dbusmock`)");
        return;
    }
    let project = Project::complete().artifact("<b>.md", "x");
    let _daemon = project.start_daemon();
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    let mut session = Session::start(&project);
    session.start_service();
    let mut live = watch(&project, &session.address);
    for name in ["plan.md", "<b>.md"] {
        fs::remove_file(project.feature_dir().join(name)).unwrap();
    }
    live.lines_until("incomplete");
    let shown = wait_for("a notification", || session.notifications().into_iter().next());
    for part in [
        "\"dossierd\" 0 \"\" \"project: 001-x\"",
        "deleted: plan.md (required)",
        "deleted: &lt;b&gt;.md",
        "\"urgency\": 2",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // The next one of the feature replaces it, ten seconds later.
    project.write(&format!("kitty-specs/{FEATURE}/plan.md"), "# Plan\n");
    live.lines_until("complete 4/4");
    project.write(&format!("kitty-specs/{FEATURE}/meta.json"), "{");
    live.lines_until("now unknown");
    let next = wait_for("another notification", || session.notifications().into_iter().nth(1));
    for part in ["\"dossierd\" 1 \"\"", "now complete", "now unknown: meta.json:1:"] {
        assert!(next.contains(part), "{part}: {next}");
    }
    assert!(!live.all_stderr().contains("warning"), "{}", live.all_stderr());
    live.interrupt();
}

#[test]
fn absent_notification_service_is_reported_and_changes_are_still_printed() {
    let project = Project::complete();
    let _daemon = project.start_daemon();
    let session = Session::start(&project);
    for (address, expected) in [
        (session.address.as_str(), "no notification service runs in this session"),
        (
            "unix:path=/nonexistent/bus",
            "cannot reach the D-Bus session at unix:path=/nonexistent/bus",
        ),
        ("", "there is no D-Bus session"),
    ] {
        let mut live = watch(&project, address);
        live.wait_for_stderr(expected);
        project.write(&format!("kitty-specs/{FEATURE}/spec.md"), address);
        live.lines_until("modified");
        live.interrupt();
    }
}

#[test]
fn lines_do_not_wait_for_a_bus_that_does_not_answer() {
    let project = Project::complete();
    let _daemon = project.start_daemon();
    let socket = project.home().join("bus");
    // Connections wait in its queue.
    let _bus = UnixListener::bind(&socket).unwrap();
    let mut live = watch(&project, &format!("unix:path={}", socket.display()));
    project.write(&format!("kitty-specs/{FEATURE}/spec.md"), "# Other\n");
    live.lines_until("modified");
    let stderr = live.all_stderr();
    assert!(!stderr.contains("notifications"), "the lines came before the timeout: {stderr}");
    live.wait_for_stderr("no reply within 10 s; until this is fixed nothing is shown");
    live.interrupt();
}

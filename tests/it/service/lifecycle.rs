//! The user service under `systemd --user`: install, start, watchdog, reload, upgrade, uninstall.
//! `tests/systemd-user` starts a separate manager, never that of the host.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use serde_json::Value;

use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::process::Daemon;
use crate::support::systemd::UserManager;
use crate::support::wait::{WAIT_TIMEOUT, wait_for};
use crate::support::{Project, hang_variable, not_run, write_file};

const INSTALL: &str = "dossierd service install";

/// Installs the service and waits until it is ready; returns `None` where systemd does not run.
fn install(project: &Project) -> Option<(UserManager, Daemon)> {
    let mut manager = UserManager::start(project)?;
    manager.sh(INSTALL);
    Some((manager, project.service_daemon()))
}

/// Writes a drop-in of the service.
fn write_drop_in(project: &Project, text: &str) {
    let path = ".config/systemd/user/dossierd.service.d/test.conf";
    write_file(&project.home().join(path), text.as_bytes());
}

#[test]
fn service_survives_kill_and_stop_from_install_to_uninstall() {
    let project = Project::complete();
    let Some(mut manager) = UserManager::start(&project) else {
        return;
    };
    let dry = manager.sh("dossierd service install --dry-run");
    assert_eq!(dry.lines().filter(|line| line.starts_with("would ")).count(), 7, "{dry}");
    assert!(!project.home().join(".config/systemd/user/dossierd.service").exists());
    assert!(!project.state_dir().exists());
    assert_eq!(manager.shell("dossierd service status").0, 3);

    let output = manager.sh(INSTALL);
    for step in ["wrote HOME/.config/systemd/user/dossierd.service", "ready: watching", "lingering"]
    {
        assert!(project.redact_paths(&output).contains(step), "`{step}` is not in {output}");
    }
    assert!(project.redact_paths(&output).contains("added the project ROOT"), "{output}");
    // A second installation changes nothing.
    let again = manager.sh(INSTALL);
    assert!(!again.contains("wrote") && !again.contains("systemctl"), "{again}");
    assert_eq!(manager.property("NRestarts"), "0");
    let shown = wait_for("the status line", || {
        let shown = manager.shell("systemctl --user status --no-pager dossierd.service").1;
        shown.contains("Status: \"watching 1 feature in 1 project\"").then_some(shown)
    });
    assert!(shown.contains("Active: active (running)"), "{shown}");
    let verify = "systemd-analyze --user verify ~/.config/systemd/user/dossierd.{service,socket}";
    assert_eq!(manager.sh(verify), "");
    let status: Value =
        serde_json::from_str(&manager.sh("dossierd service status --json")).unwrap();
    assert_eq!(status["active"], "active");
    assert_eq!(status["version"], status["client_version"]);
    let mode = fs::metadata(project.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let daemon = project.service_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    manager.sh("systemctl --user kill --signal KILL dossierd.service");
    write_file(&project.feature_dir().join("research.md"), b"while it was killed\n");
    // A client that connects before the restart waits until it is answered.
    assert_invariants(&project, &daemon, &mut journal);
    manager.wait_for_property("NRestarts", |restarts| restarts == "1");

    let start = Instant::now();
    manager.sh("systemctl --user stop dossierd.service");
    assert_eq!(manager.property("Result"), "success");
    assert!(start.elapsed() < WAIT_TIMEOUT);
    // The first connection starts the service, waits and is answered.
    write_file(&project.feature_dir().join("research.md"), b"while it was stopped\n");
    assert_invariants(&project, &daemon, &mut journal);
    manager.wait_for_property("ActiveState", |state| state == "active");

    let output = manager.sh("dossierd service uninstall");
    assert!(
        project.redact_paths(&output).contains("removed HOME/.config/systemd/user/dossierd.socket")
    );
    assert_eq!(manager.property("LoadState"), "not-found");
    let user = project.home().join(".config/systemd/user");
    let left = manager.sh(&format!("find {} -type f -o -type l", user.display()));
    assert_eq!(left, "", "no unit file remains");
    assert!(!project.socket().parent().unwrap().exists());
    assert!(project.state_dir().join("dossierd.sqlite3").exists(), "the store remains");
    let none = manager.sh("dossierd service uninstall");
    assert!(none.contains("not installed"), "{none}");
}

#[test]
fn second_daemon_or_service_reports_the_running_one() {
    let project = Project::complete();
    let Some((mut manager, daemon)) = install(&project) else {
        return;
    };
    let before = daemon.status()["pid"].clone();
    for stop in ["", "systemctl --user stop dossierd.service;"] {
        let (code, output) = manager.shell(&format!("{stop} dossierd run"));
        assert_eq!(code, 1, "{output}");
        assert!(
            output.contains("the user service dossierd.service already listens at"),
            "{output}"
        );
    }
    // After the stop, the second command started the service by its socket.
    assert_ne!(daemon.status()["pid"], before);
    // The service is not installed while another daemon runs.
    manager.sh("dossierd service uninstall");
    let own = project.start_daemon();
    let (code, output) = manager.shell(INSTALL);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("a daemon that is not the service is running"), "{output}");
    assert!(!project.home().join(".config/systemd/user/dossierd.service").exists());
    own.stop();
}

#[test]
fn watchdog_restarts_a_hung_engine() {
    let project = Project::complete();
    let hang = project.home().join("hang");
    let text = format!(
        "[Service]\nWatchdogSec=2\nLimitCORE=0\nEnvironment={}={}\n",
        hang_variable(),
        hang.display()
    );
    write_drop_in(&project, &text);
    let Some((mut manager, daemon)) = install(&project) else {
        return;
    };
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    fs::write(&hang, "").unwrap();
    // Requests that do not need the engine are still answered.
    assert_eq!(daemon.get("/healthz").status, 200);
    manager.wait_for_property("NRestarts", |restarts| restarts != "0");
    assert!(manager.journal().contains("Watchdog timeout"), "{}", manager.journal());
    write_file(&project.feature_dir().join("research.md"), b"while it hung\n");
    fs::remove_file(&hang).unwrap();
    assert_invariants(&project, &daemon, &mut journal);
    manager.wait_for_property("ActiveState", |state| state == "active");
}

#[test]
fn configuration_is_reloaded_and_an_invalid_one_is_reported() {
    let project = Project::complete();
    let Some((mut manager, daemon)) = install(&project) else {
        return;
    };
    let other = Project::complete();
    let projects = |daemon: &Daemon| daemon.status()["projects"].as_array().unwrap().len();
    assert_eq!(projects(&daemon), 1);
    assert_eq!(daemon.status()["config"]["state"], "ok");
    let valid = format!("projects:\n  - path: {}\n", other.root.display());
    // The change of the file is enough, although its directory did not exist before.
    write_file(&project.config_file(), valid.as_bytes());
    wait_for("the second project", || (projects(&daemon) == 2).then_some(()));

    write_file(&project.config_file(), b"projects: []\nsetle: {}\n");
    let config = wait_for("the invalid configuration to be reported", || {
        let config = daemon.status()["config"].clone();
        (config["state"] == "broken").then_some(config)
    });
    let error = &config["errors"][0];
    assert_eq!((&error["line"], &error["column"]), (&2.into(), &1.into()), "{config:#}");
    assert!(error["message"].as_str().unwrap().contains("did you mean `settle`?"), "{config:#}");
    assert_eq!(projects(&daemon), 2, "the previous configuration stays in effect");
    manager.wait_for_property("StatusText", |text| text.contains("invalid configuration"));
    assert!(manager.journal().contains("the last valid one stays in use"));

    // A reload by systemd sends SIGHUP.
    write_file(&project.config_file(), b"projects: []\n");
    manager.sh("systemctl --user reload dossierd.service");
    wait_for("the valid configuration", || {
        (daemon.status()["config"]["state"] == "ok").then_some(())
    });
    assert_eq!(projects(&daemon), 1);
    manager.wait_for_property("StatusText", |text| !text.contains("invalid"));
    assert_eq!(manager.property("NRestarts"), "0");
}

#[test]
fn service_with_an_invalid_configuration_waits_until_it_is_corrected() {
    let project = Project::complete();
    let Some((mut manager, daemon)) = install(&project) else {
        return;
    };
    manager.sh("systemctl --user stop dossierd.service");
    write_file(&project.config_file(), b"setle: {}\n");
    // As a status bar asks, more often than the limit of starts allows.
    for attempt in 0..12 {
        let (code, output) = manager.shell("dossierd status");
        assert_eq!(code, 78, "{attempt}: {output}");
        assert!(output.contains("did you mean `settle`?"), "{attempt}: {output}");
    }
    manager.wait_for_property("StatusText", |text| text.contains("waiting for a valid"));
    let socket = "systemctl --user show dossierd.socket -P ActiveState";
    assert_eq!(
        (manager.property("ActiveState").as_str(), manager.sh(socket).trim()),
        ("active", "active")
    );
    write_file(&project.config_file(), b"projects: []\n");
    daemon.wait_until_ready();
    manager.sh("dossierd status");
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    assert_eq!(manager.property("NRestarts"), "0");
}

#[test]
fn systemd_journal_has_priorities_and_fields() {
    let project = Project::complete();
    let Some((mut manager, _daemon)) = install(&project) else {
        return;
    };
    let (code, output) =
        manager.shell("journalctl --no-pager --output json SYSLOG_IDENTIFIER=dossierd");
    if code != 0 || output.trim().is_empty() {
        not_run("the entries in the systemd journal (no journal)");
        return;
    }
    let entries: Vec<Value> =
        output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let watching = entries
        .iter()
        .find(|entry| entry["MESSAGE"].as_str().is_some_and(|text| text.starts_with("watching ")));
    let watching = watching.unwrap_or_else(|| panic!("{output}"));
    assert_eq!(watching["PRIORITY"], "6");
    assert_eq!(watching["DOSSIERD_ROOT"], project.root.to_str().unwrap());
    assert_eq!(watching["DOSSIERD_FEATURES"], "1");
}

#[test]
fn replaced_program_is_restarted_without_losing_events() {
    let project = Project::complete();
    let Some((mut manager, daemon)) = install(&project) else {
        return;
    };
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let before = daemon.status()["pid"].clone();
    let program = project.home().join("newer/dossierd");
    let copy = format!(
        "mkdir -p {0} && cp {1} {0}/dossierd",
        program.parent().unwrap().display(),
        env!("CARGO_BIN_EXE_dossierd")
    );
    manager.sh(&copy);
    write_file(&project.feature_dir().join("research.md"), b"while it is replaced\n");
    let output = manager.sh(&format!("{} service install", program.display()));
    assert!(output.contains("restart dossierd.service"), "{output}");
    assert_invariants(&project, &daemon, &mut journal);
    assert_ne!(daemon.status()["pid"], before);
    // A unit that was edited is replaced, and the edited one is renamed.
    let unit = project.home().join(".config/systemd/user/dossierd.service");
    let edited = fs::read_to_string(&unit).unwrap().replace("WatchdogSec=60", "WatchdogSec=90");
    fs::write(&unit, &edited).unwrap();
    let output = manager.sh(&format!("{} service install", program.display()));
    assert!(output.contains("kept the old file as"), "{output}");
    assert_eq!(fs::read_to_string(unit.with_extension("service.old")).unwrap(), edited);
    let pid = daemon.status()["pid"].clone();
    // Another file at the same path, as after an upgrade of the package.
    manager.sh(&format!("{copy}.new && mv {0}.new {0}", program.display()));
    let output = manager.sh(&format!("{} service install", program.display()));
    assert!(output.contains("restart dossierd.service") && !output.contains("wrote"), "{output}");
    assert_ne!(daemon.status()["pid"], pid);
    assert_invariants(&project, &daemon, &mut journal);
}

#[test]
fn service_works_with_user_namespace_hardening() {
    let project = Project::complete();
    let Some(mut manager) = UserManager::start(&project) else {
        return;
    };
    let (code, output) = manager.shell("dossierd service install --namespaces");
    // The exit codes of systemd where namespaces are denied, see systemd.exec(5).
    if code != 0 && ["217", "226"].contains(&manager.property("ExecMainStatus").as_str()) {
        not_run("hardening by user namespaces (they are denied)");
        return;
    }
    assert_eq!(code, 0, "{output}");
    assert_eq!(manager.property("PrivateUsers"), "yes");
    assert_invariants(&project, &project.service_daemon(), &mut JournalReader::default());
    manager.sh("dossierd service uninstall");
    let user = project.home().join(".config/systemd/user");
    assert!(!user.join("dossierd.service.d").exists());
}

#[test]
fn install_without_systemd_reports_the_reason() {
    let project = Project::complete();
    let run = project.run(&["service", "install"]);
    let reasons = ["the systemd user manager does not respond", "`systemctl` is not installed"];
    assert_eq!(run.code, 1, "{run:?}");
    assert!(reasons.iter().any(|reason| run.stderr.contains(reason)), "{run:?}");
    assert!(!project.home().join(".config/systemd").exists());
    // A dry run works without systemd.
    let dry = project.run(&["service", "install", "--dry-run"]).assert_success();
    assert!(reasons.iter().any(|reason| dry.stderr.contains(reason)), "{dry:?}");
    insta::assert_snapshot!(
        project.redact_paths(&dry.stdout).lines().filter(|line| !line.starts_with("lingering"))
            .collect::<Vec<_>>().join("\n"),
        @"
    would write HOME/.config/systemd/user/dossierd.service
    would write HOME/.config/systemd/user/dossierd.socket
    would run systemctl --user daemon-reload
    would run systemctl --user enable dossierd.service dossierd.socket
    would add the project ROOT
    would run systemctl --user restart dossierd.socket
    would run systemctl --user start dossierd.service
    "
    );
    assert!(!project.home().join(".config").exists() && !project.state_dir().exists());
    let dry = project.run(&["service", "uninstall", "--dry-run"]).assert_success();
    assert!(dry.stdout.contains("is not installed"), "{dry:?}");
}

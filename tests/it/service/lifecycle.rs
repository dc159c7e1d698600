//! The user service under a real `systemd --user`: installed, started, watched over, stopped, taken
//! away. Which manager that is, `tests/systemd-user` says: one of its own, never the host's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use serde_json::Value;

use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::process::Daemon;
use crate::support::systemd::UserManager;
use crate::support::wait::{WAIT_TIMEOUT, wait_for};
use crate::support::{Project, hang_variable, write_file};

const INSTALL: &str = "dossierd service install";

/// An installed service that is ready.
fn installed(project: &Project) -> Option<(UserManager, Daemon)> {
    let mut manager = UserManager::start(project)?;
    manager.sh(INSTALL);
    Some((manager, project.service_daemon()))
}

fn drop_in(project: &Project, text: &str) {
    let path = ".config/systemd/user/dossierd.service.d/test.conf";
    write_file(&project.home().join(path), text.as_bytes());
}

#[test]
fn installed_started_killed_stopped_and_taken_away() {
    let project = Project::complete();
    let Some(mut manager) = UserManager::start(&project) else {
        return;
    };
    let dry = manager.sh("dossierd service install --dry-run");
    assert_eq!(dry.lines().filter(|line| line.starts_with("would ")).count(), 7, "{dry}");
    assert!(!project.home().join(".config/systemd/user/dossierd.service").exists());
    assert!(!project.state_dir().exists());
    assert_eq!(manager.shell("dossierd service status").0, 3);

    let said = manager.sh(INSTALL);
    for step in ["wrote HOME/.config/systemd/user/dossierd.service", "ready: watching", "lingering"]
    {
        assert!(project.redact_paths(&said).contains(step), "`{step}` is not in {said}");
    }
    assert!(project.redact_paths(&said).contains("watches ROOT"), "{said}");
    // Which changes nothing a second time.
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
    write_file(&project.feature_dir().join("research.md"), b"while it was away\n");
    // A client that comes meanwhile waits, and is answered.
    assert_invariants(&project, &daemon, &mut journal);
    manager.wait_for_property("NRestarts", |restarts| restarts == "1");

    let begun = Instant::now();
    manager.sh("systemctl --user stop dossierd.service");
    assert_eq!(manager.property("Result"), "success");
    assert!(begun.elapsed() < WAIT_TIMEOUT);
    // The first connection starts it, waits, and gets its answer.
    write_file(&project.feature_dir().join("research.md"), b"while it was stopped\n");
    assert_invariants(&project, &daemon, &mut journal);
    manager.wait_for_property("ActiveState", |state| state == "active");

    let gone = manager.sh("dossierd service uninstall");
    assert!(
        project.redact_paths(&gone).contains("removed HOME/.config/systemd/user/dossierd.socket")
    );
    assert_eq!(manager.property("LoadState"), "not-found");
    let user = project.home().join(".config/systemd/user");
    let left = manager.sh(&format!("find {} -type f -o -type l", user.display()));
    assert_eq!(left, "", "units are left");
    assert!(!project.socket().parent().unwrap().exists());
    assert!(project.state_dir().join("dossierd.sqlite3").exists(), "what was indexed stays");
    let none = manager.sh("dossierd service uninstall");
    assert!(none.contains("not installed"), "{none}");
}

#[test]
fn a_run_beside_the_service_finds_it_and_says_so() {
    let project = Project::complete();
    let Some((mut manager, daemon)) = installed(&project) else {
        return;
    };
    let before = daemon.status()["pid"].clone();
    for stop in ["", "systemctl --user stop dossierd.service;"] {
        let (code, said) = manager.shell(&format!("{stop} dossierd run"));
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("the user service dossierd.service already listens at"), "{said}");
    }
    // The second one only woke it.
    assert_ne!(daemon.status()["pid"], before);
    // And a daemon that was there first is not fought either.
    manager.sh("dossierd service uninstall");
    let own = project.start_daemon();
    let (code, said) = manager.shell(INSTALL);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("runs already that is not the service"), "{said}");
    assert!(!project.home().join(".config/systemd/user/dossierd.service").exists());
    own.stop();
}

#[test]
fn a_hung_engine_is_ended_by_the_watchdog_and_started_again() {
    let project = Project::complete();
    let hang = project.home().join("hang");
    let text = format!(
        "[Service]\nWatchdogSec=2\nLimitCORE=0\nEnvironment={}={}\n",
        hang_variable(),
        hang.display()
    );
    drop_in(&project, &text);
    let Some((mut manager, daemon)) = installed(&project) else {
        return;
    };
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    fs::write(&hang, "").unwrap();
    // The runtime still answers what needs no engine.
    assert_eq!(daemon.get("/healthz").status, 200);
    manager.wait_for_property("NRestarts", |restarts| restarts != "0");
    assert!(manager.journal().contains("Watchdog timeout"), "{}", manager.journal());
    write_file(&project.feature_dir().join("research.md"), b"while it hung\n");
    fs::remove_file(&hang).unwrap();
    assert_invariants(&project, &daemon, &mut journal);
    manager.wait_for_property("ActiveState", |state| state == "active");
}

#[test]
fn the_configuration_is_taken_up_and_a_broken_one_is_said_everywhere() {
    let project = Project::complete();
    let Some((mut manager, daemon)) = installed(&project) else {
        return;
    };
    let other = Project::complete();
    let projects = |daemon: &Daemon| daemon.status()["projects"].as_array().unwrap().len();
    assert_eq!(projects(&daemon), 1);
    assert_eq!(daemon.status()["config"]["state"], "ok");
    let sound = format!("projects:\n  - path: {}\n", other.root.display());
    // By its change alone; the directory was not there before.
    write_file(&project.config_file(), sound.as_bytes());
    wait_for("the second project", || (projects(&daemon) == 2).then_some(()));

    write_file(&project.config_file(), b"projects: []\nsetle: {}\n");
    let config = wait_for("the broken one to be said", || {
        let config = daemon.status()["config"].clone();
        (config["state"] == "broken").then_some(config)
    });
    let error = &config["errors"][0];
    assert_eq!((&error["line"], &error["column"]), (&2.into(), &1.into()), "{config:#}");
    assert!(error["message"].as_str().unwrap().contains("did you mean `settle`?"), "{config:#}");
    assert_eq!(projects(&daemon), 2, "the old one goes on");
    manager.wait_for_property("StatusText", |text| text.contains("invalid configuration"));
    assert!(manager.journal().contains("the last valid one stays in use"));

    // And by SIGHUP, as systemd asks.
    write_file(&project.config_file(), b"projects: []\n");
    manager.sh("systemctl --user reload dossierd.service");
    wait_for("the mended one", || (daemon.status()["config"]["state"] == "ok").then_some(()));
    assert_eq!(projects(&daemon), 1);
    manager.wait_for_property("StatusText", |text| !text.contains("broken"));
    assert_eq!(manager.property("NRestarts"), "0");
}

#[test]
fn the_journal_has_priorities_and_fields() {
    let project = Project::complete();
    let Some((mut manager, _daemon)) = installed(&project) else {
        return;
    };
    let (code, said) =
        manager.shell("journalctl --no-pager --output json SYSLOG_IDENTIFIER=dossierd");
    if code != 0 || said.trim().is_empty() {
        crate::support::not_run("what the journal holds: there is no journal");
        return;
    }
    let entries: Vec<Value> =
        said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let watching = entries
        .iter()
        .find(|entry| entry["MESSAGE"].as_str().is_some_and(|text| text.starts_with("watching ")));
    let watching = watching.unwrap_or_else(|| panic!("{said}"));
    assert_eq!(watching["PRIORITY"], "6");
    assert_eq!(watching["DOSSIERD_ROOT"], project.root.to_str().unwrap());
    assert_eq!(watching["DOSSIERD_FEATURES"], "1");
}

#[test]
fn another_program_in_its_place_is_started_and_no_event_is_lost() {
    let project = Project::complete();
    let Some((mut manager, daemon)) = installed(&project) else {
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
    let said = manager.sh(&format!("{} service install", program.display()));
    assert!(said.contains("restart dossierd.service"), "{said}");
    assert_invariants(&project, &daemon, &mut journal);
    assert_ne!(daemon.status()["pid"], before);
    // A unit of another hand is replaced, and not lost.
    let unit = project.home().join(".config/systemd/user/dossierd.service");
    let edited = fs::read_to_string(&unit).unwrap().replace("WatchdogSec=60", "WatchdogSec=90");
    fs::write(&unit, &edited).unwrap();
    let said = manager.sh(&format!("{} service install", program.display()));
    assert!(said.contains("what it said is kept as"), "{said}");
    assert_eq!(fs::read_to_string(unit.with_extension("service.old")).unwrap(), edited);
    let pid = daemon.status()["pid"].clone();
    // The same path, another file: an upgrade in place.
    manager.sh(&format!("{copy}.new && mv {0}.new {0}", program.display()));
    let said = manager.sh(&format!("{} service install", program.display()));
    assert!(said.contains("restart dossierd.service") && !said.contains("wrote"), "{said}");
    assert_ne!(daemon.status()["pid"], pid);
    assert_invariants(&project, &daemon, &mut journal);
}

#[test]
fn hardened_by_namespaces_it_works_the_same() {
    let project = Project::complete();
    let Some(mut manager) = UserManager::start(&project) else {
        return;
    };
    let (code, said) = manager.shell("dossierd service install --namespaces");
    // Where namespaces are denied systemd says so by these (systemd.exec(5)).
    if code != 0 && ["217", "226"].contains(&manager.property("ExecMainStatus").as_str()) {
        crate::support::not_run("hardening by namespaces: they are denied here");
        return;
    }
    assert_eq!(code, 0, "{said}");
    assert_eq!(manager.property("PrivateUsers"), "yes");
    assert_invariants(&project, &project.service_daemon(), &mut JournalReader::default());
    manager.sh("dossierd service uninstall");
    let user = project.home().join(".config/systemd/user");
    assert!(!user.join("dossierd.service.d").exists());
}

#[test]
fn without_systemd_it_is_said_what_to_do() {
    let project = Project::complete();
    let run = project.run(&["service", "install"]);
    let said = ["no systemd user manager answers", "there is no `systemctl` here"];
    assert_eq!(run.code, 1, "{run:?}");
    assert!(said.iter().any(|said| run.stderr.contains(said)), "{run:?}");
    assert!(!project.home().join(".config/systemd").exists());
    // What would be done can be said without it.
    let dry = project.run(&["service", "install", "--dry-run"]).assert_success();
    assert!(said.iter().any(|said| dry.stderr.contains(said)), "{dry:?}");
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

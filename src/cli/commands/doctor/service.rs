//! Checks the user service: installed, running, up to date, and actually hardened.

use crate::cli::commands::doctor::daemon::DaemonInfo;
use crate::cli::commands::doctor::finding::Findings;
use crate::cli::daemon::systemctl::{
    UnitProperties, check_user_manager, is_linger_enabled, linger_label, service_properties,
    user_unit_dir,
};
use crate::config::UserDirs;
use crate::daemon::systemd_units::{
    SERVICE_NAME, SOCKET_NAME, is_same_except_program, render_units,
};

pub(crate) fn check_service(findings: &mut Findings, dirs: &UserDirs, daemon: Option<&DaemonInfo>) {
    let check = "service";
    if check_user_manager().is_err() {
        findings.ok(check, "there is no systemd user manager");
        return;
    }
    let (Ok(service), Ok(socket)) = (service_properties(), UnitProperties::query(SOCKET_NAME))
    else {
        return;
    };
    if !service.is_loaded() {
        findings.ok(check, "not installed; run `dossierd service install` to install it");
        return;
    }
    let install = "run `dossierd service install`";
    let state = format!("{SERVICE_NAME} is {}", service.get("ActiveState"));
    match service.get("ActiveState") {
        "failed" => {
            let message = format!("{SERVICE_NAME} failed: {}", service.get("Result"));
            findings.error(check, message, "see `journalctl --user --unit dossierd`");
        }
        "active" if !socket.is_active() => {
            findings.warning(check, format!("{state}, but its socket is not"), install);
        }
        _ => findings.ok(check, state),
    }
    if let (Some(daemon), Some(pid)) = (daemon, service.main_pid())
        && u32::try_from(pid).is_ok_and(|pid| pid != daemon.pid)
    {
        let message =
            format!("process {} responds at the socket, but is not the service", daemon.pid);
        findings.warning(check, message, "run `dossierd stop`, or wait until the service is ready");
    }
    if service.get("UnitFileState") == "disabled" {
        findings.warning(check, "not started at login", install);
    }
    if service.get("NeedDaemonReload") == "yes" {
        let fix = "`systemctl --user daemon-reload`";
        findings.warning(check, "its units have changed, but systemd has not reloaded them", fix);
    }
    check_outdated_units(findings, dirs);
    if let Some(pid) = service.main_pid() {
        check_hardening(findings, pid);
    }
    let linger = is_linger_enabled();
    match linger {
        Some(false) => findings.warning(
            "lingering",
            "off: the service ends when you log out",
            "`loginctl enable-linger`, if it should keep running",
        ),
        _ => findings.ok("lingering", linger_label(linger)),
    }
}

/// Checks that the installed units are those of this version, apart from the program they run.
fn check_outdated_units(findings: &mut Findings, dirs: &UserDirs) {
    let Ok(units) = render_units(std::path::Path::new("/"), &[], false) else {
        return;
    };
    for unit in units {
        let path = user_unit_dir(dirs).join(unit.name);
        let Ok(installed) = std::fs::read_to_string(&path) else {
            continue;
        };
        if !is_same_except_program(&installed, &unit.text) {
            let message = format!("{} differs from the unit of this version", path.display());
            let fix = "run `dossierd service install`; put your own settings into a drop-in: \
                       `systemctl --user edit dossierd.service`";
            findings.warning("service", message, fix);
        }
    }
}

/// Checks the hardening by what the kernel reports of the process, not by the unit.
fn check_hardening(findings: &mut Findings, pid: i32) {
    let check = "hardening";
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return;
    };
    let has = |name: &str, value: &str| {
        status.lines().any(|line| line.split_once(":\t") == Some((name, value)))
    };
    if has("NoNewPrivs", "1") && has("Seccomp", "2") {
        findings.ok(check, "no new privileges; system calls are filtered");
    } else {
        findings.warning(
            check,
            "system calls are not filtered, or new privileges are possible",
            "run `systemctl --user cat dossierd.service` to find the drop-in that disables it",
        );
    }
}

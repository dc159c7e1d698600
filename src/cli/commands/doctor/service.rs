//! The user service: installed, running, up to date, and hardened in effect.

use crate::cli::commands::doctor::daemon::DaemonInfo;
use crate::cli::commands::doctor::finding::Findings;
use crate::cli::daemon::systemctl::{
    UnitProperties, check_user_manager, is_linger_enabled, linger_label, service_properties as ask,
    user_unit_dir,
};
use crate::config::UserDirs;
use crate::daemon::systemd_units::{
    SERVICE_NAME, SOCKET_NAME, is_same_except_program, render_units,
};

pub(crate) fn check_service(found: &mut Findings, folders: &UserDirs, asked: Option<&DaemonInfo>) {
    let check = "service";
    if check_user_manager().is_err() {
        found.ok(check, "no systemd user manager here");
        return;
    }
    let (Ok(service), Ok(socket)) = (ask(), UnitProperties::query(SOCKET_NAME)) else {
        return;
    };
    if !service.is_loaded() {
        found.ok(check, "it is not installed; `dossierd service install` installs it");
        return;
    }
    let install = "`dossierd service install`";
    let state = format!("{SERVICE_NAME} is {}", service.get("ActiveState"));
    match service.get("ActiveState") {
        "failed" => {
            let message = format!("{SERVICE_NAME} failed: {}", service.get("Result"));
            found.error(check, message, "`journalctl --user --unit dossierd` tells why");
        }
        "active" if !socket.is_active() => {
            found.warning(check, format!("{state}, and its socket is not"), install);
        }
        _ => found.ok(check, state),
    }
    if let (Some(asked), Some(pid)) = (asked, service.main_pid())
        && u32::try_from(pid).is_ok_and(|pid| pid != asked.pid)
    {
        let message = format!("process {} answers, and is not the service", asked.pid);
        found.warning(check, message, "`dossierd stop`, or wait until the service is ready");
    }
    if service.get("UnitFileState") == "disabled" {
        found.warning(check, "it is not started at login", install);
    }
    if service.get("NeedDaemonReload") == "yes" {
        let mend = "`systemctl --user daemon-reload`";
        found.warning(check, "its units have changed, and systemd has not read them", mend);
    }
    check_outdated_units(found, folders);
    if let Some(pid) = service.main_pid() {
        check_hardening(found, pid);
    }
    let lingers = is_linger_enabled();
    match lingers {
        Some(false) => found.warning(
            "lingering",
            "off: the service ends when you log out",
            "`loginctl enable-linger`, if it should stay",
        ),
        _ => found.ok("lingering", linger_label(lingers)),
    }
}

/// Units that `install` wrote, and would write otherwise now. What they run may differ.
fn check_outdated_units(found: &mut Findings, folders: &UserDirs) {
    let Ok(wanted) = render_units(std::path::Path::new("/"), &[], false) else {
        return;
    };
    for unit in wanted {
        let path = user_unit_dir(folders).join(unit.name);
        let Ok(there) = std::fs::read_to_string(&path) else {
            continue;
        };
        if !is_same_except_program(&there, &unit.text) {
            let message = format!("{} is not as this version writes it", path.display());
            let mend = "`dossierd service install`; what is your own belongs into a drop-in: \
                        `systemctl --user edit dossierd.service`";
            found.warning("service", message, mend);
        }
    }
}

/// What the kernel says of the process, whatever the unit says.
fn check_hardening(found: &mut Findings, pid: i32) {
    let check = "hardening";
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return;
    };
    let is = |name: &str, value: &str| {
        status.lines().any(|line| line.split_once(":\t") == Some((name, value)))
    };
    if is("NoNewPrivs", "1") && is("Seccomp", "2") {
        found.ok(check, "no new privileges, and system calls are filtered");
    } else {
        found.warning(
            check,
            "system calls are not filtered, or new privileges not ruled out",
            "`systemctl --user cat dossierd.service` shows which drop-in takes it away",
        );
    }
}

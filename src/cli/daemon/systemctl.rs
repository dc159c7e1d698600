//! Runs `systemctl --user` and reads properties of units.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::render::output;
use crate::config::UserDirs;
use crate::daemon::systemd_units::{SERVICE_NAME, SOCKET_NAME};

/// Runs `systemctl --user` and returns its standard output, which is a pipe: no pager is started.
pub(crate) fn run_systemctl(arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(arguments).stdin(Stdio::null());
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "`systemctl` is not installed; without systemd, start the daemon with `dossierd run`"
            )
        }
        output => output.context("cannot run systemctl")?,
    };
    if !output.status.success() {
        let cause = String::from_utf8_lossy(&output.stderr);
        let cause = cause.lines().map(str::trim).filter(|line| !line.is_empty());
        let cause = cause.collect::<Vec<_>>().join("; ");
        bail!("`systemctl --user {}` failed: {cause}", arguments.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Checks that the user's service manager responds.
pub(crate) fn check_user_manager() -> anyhow::Result<()> {
    run_systemctl(&["show", "--property=Version"]).map(|_| ()).context(
        "the systemd user manager does not respond; log in (XDG_RUNTIME_DIR must be set), or run \
         `loginctl enable-linger`",
    )
}

/// Checks the service manager like [`check_user_manager`]; in a dry run it is not required.
pub(crate) fn check_user_manager_unless_dry_run(dry_run: bool) -> anyhow::Result<()> {
    match check_user_manager() {
        Err(error) if dry_run => output::note(&format!("{error:#}; the steps below were not run")),
        response => response?,
    }
    Ok(())
}

/// Properties of a unit by name, as `systemctl show` prints them.
#[derive(Debug, Default)]
pub(crate) struct UnitProperties(BTreeMap<String, String>);

impl UnitProperties {
    /// Reads all properties of a unit.
    pub(crate) fn query(unit: &str) -> anyhow::Result<Self> {
        let text = run_systemctl(&["show", unit])?;
        let lines = text.lines().filter_map(|line| line.split_once('='));
        Ok(Self(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    /// Reads the properties; in a dry run without a service manager there are none.
    pub(crate) fn query_or_empty(unit: &str, dry_run: bool) -> anyhow::Result<Self> {
        match Self::query(unit) {
            Err(_) if dry_run => Ok(Self::default()),
            result => result,
        }
    }

    /// Returns one property; empty if it is not set.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Returns true if the unit is active or becomes active.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "activating" | "reloading")
    }

    /// Returns true if a unit file of this name was loaded.
    pub(crate) fn is_loaded(&self) -> bool {
        self.get("LoadState") == "loaded"
    }

    /// Returns the main process, if it runs.
    pub(crate) fn main_pid(&self) -> Option<i32> {
        self.get("MainPID").parse().ok().filter(|pid| *pid > 0)
    }
}

/// Returns the properties of the service.
pub(crate) fn service_properties() -> anyhow::Result<UnitProperties> {
    UnitProperties::query(SERVICE_NAME)
}

/// Returns true if the service unit is installed.
pub(crate) fn is_service_installed() -> bool {
    run_systemctl(&["cat", SERVICE_NAME]).is_ok()
}

/// Starts the service.
pub(crate) fn start_service() -> anyhow::Result<()> {
    run_systemctl(&["start", SERVICE_NAME])
        .map(drop)
        .with_context(|| format!("cannot start the user unit {SERVICE_NAME}"))
}

/// Returns a sentence for each unit that will start the daemon again after process `pid` has ended.
pub(crate) fn restart_hints(pid: i32) -> Vec<String> {
    let mut hints = Vec::new();
    if property("MainPID").as_deref() == Some(&pid.to_string()) {
        let restart = property("Restart").unwrap_or_default();
        hints.push(match restart.as_str() {
            "always" | "on-success" => format!(
                "the user unit {SERVICE_NAME} will restart the daemon; to prevent it, run `systemctl \
                 --user stop {SERVICE_NAME}`"
            ),
            _ => format!("the user unit {SERVICE_NAME} will start the daemon at the next login"),
        });
    }
    if run_systemctl(&["is-active", "--quiet", SOCKET_NAME]).is_ok() {
        hints.push(format!(
            "the user unit {SOCKET_NAME} will start the daemon when a client connects; to prevent \
             it, run `systemctl --user stop {SOCKET_NAME}`"
        ));
    }
    hints
}

/// Returns one property of the service; `None` if it is empty or systemd does not respond.
fn property(name: &str) -> Option<String> {
    let property = format!("--property={name}");
    let text = run_systemctl(&["show", SERVICE_NAME, &property, "--value"]).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Returns the directory of the user's own units.
pub(crate) fn user_unit_dir(dirs: &UserDirs) -> PathBuf {
    dirs.config_dir.parent().unwrap_or(Path::new("/")).join("systemd/user")
}

/// Returns true if the user's services keep running after logout; `None` if that is unknown.
pub(crate) fn is_linger_enabled() -> Option<bool> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let mut command = Command::new("loginctl");
    command.args(["show-user", &uid, "--property=Linger", "--value"]).stdin(Stdio::null());
    let result = command.output().ok().filter(|output| output.status.success());
    match result.as_ref().map(|output| output.stdout.trim_ascii()) {
        Some(b"yes") => Some(true),
        Some(b"no") => Some(false),
        // logind does not know the user, who is not logged in: read its state directory.
        _ => {
            let name = ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok())?;
            let dir = Path::new("/var/lib/systemd/linger");
            dir.is_dir().then(|| dir.join(name).exists())
        }
    }
}

/// Describes whether lingering is enabled.
pub(crate) fn linger_label(is_enabled: Option<bool>) -> &'static str {
    match is_enabled {
        Some(true) => "on: the service runs from boot, also while you are logged out",
        Some(false) => {
            "off: the service ends when you log out; run `loginctl enable-linger` to keep it running"
        }
        None => "unknown; run `loginctl enable-linger` to keep the service running after logout",
    }
}

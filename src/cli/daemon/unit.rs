//! The systemd user unit, as `systemctl` tells of it.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// The unit's name.
pub(crate) const NAME: &str = "dossierd.service";
/// That of the socket that may start it.
const SOCKET: &str = "dossierd.socket";

/// Whether the user's service manager knows the unit.
pub(crate) fn is_service_installed() -> bool {
    has_succeeded(&["cat", NAME])
}

/// Starts it.
pub(crate) fn start_service() -> anyhow::Result<()> {
    let mut command = systemctl(&["start", NAME]);
    let output = command.stderr(Stdio::piped()).output().context("cannot run systemctl")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("the user unit {NAME} does not start: {why}");
    }
    Ok(())
}

/// What would bring the daemon back that is process `pid`, in words.
pub(crate) fn restart_hints(pid: i32) -> Vec<String> {
    let mut said = Vec::new();
    if property("MainPID").as_deref() == Some(&pid.to_string()) {
        let restart = property("Restart").unwrap_or_default();
        said.push(match restart.as_str() {
            "always" | "on-success" => {
                format!("the user unit {NAME} starts it again; `systemctl --user stop {NAME}`")
            }
            _ => format!("the user unit {NAME} starts it again at the next login"),
        });
    }
    if has_succeeded(&["is-active", "--quiet", SOCKET]) {
        said.push(format!(
            "the user unit {SOCKET} starts it when a client connects; \
             `systemctl --user stop {SOCKET}`"
        ));
    }
    said
}

fn property(name: &str) -> Option<String> {
    let property = format!("--property={name}");
    let output = systemctl(&["show", NAME, &property, "--value"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

fn has_succeeded(arguments: &[&str]) -> bool {
    systemctl(arguments).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn systemctl(arguments: &[&str]) -> Command {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

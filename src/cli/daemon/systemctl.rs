//! The user's systemd, asked and told by `run_systemctl`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::render::output;
use crate::config::UserDirs;
use crate::daemon::systemd_units::{SERVICE_NAME, SOCKET_NAME};

/// Runs `systemctl --user` and returns what it printed. No `--no-pager`: systemctl starts no pager
/// where its standard output is a pipe.
pub(crate) fn run_systemctl(arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(arguments).stdin(Stdio::null());
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("there is no `systemctl` here: without systemd, run `dossierd run` yourself")
        }
        output => output.context("cannot run systemctl")?,
    };
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.lines().map(str::trim).filter(|line| !line.is_empty());
        let why = why.collect::<Vec<_>>().join("; ");
        bail!("`systemctl --user {}` failed: {why}", arguments.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Fails with the mend where no user manager answers.
pub(crate) fn check_user_manager() -> anyhow::Result<()> {
    run_systemctl(&["show", "--property=Version"]).map(|_| ()).context(
        "no systemd user manager answers; it needs a login session (XDG_RUNTIME_DIR is set in \
         one), or `loginctl enable-linger`",
    )
}

/// The same, before something is done; where it is only said, what is missing is only noted.
pub(crate) fn check_user_manager_unless_dry_run(dry_run: bool) -> anyhow::Result<()> {
    match check_user_manager() {
        Err(error) if dry_run => output::note(&format!("{error:#}; this is what would be done")),
        answer => answer?,
    }
    Ok(())
}

/// Properties of a unit, by their names.
#[derive(Debug, Default)]
pub(crate) struct UnitProperties(BTreeMap<String, String>);

impl UnitProperties {
    /// Asks for all of them.
    pub(crate) fn query(unit: &str) -> anyhow::Result<Self> {
        let text = run_systemctl(&["show", unit])?;
        let lines = text.lines().filter_map(|line| line.split_once('='));
        Ok(Self(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    /// The same; where only what would be done is said, no manager needs to be there.
    pub(crate) fn query_or_empty(unit: &str, dry_run: bool) -> anyhow::Result<Self> {
        match Self::query(unit) {
            Err(_) if dry_run => Ok(Self::default()),
            asked => asked,
        }
    }

    /// One; empty where there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether it runs, or is about to.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "activating" | "reloading")
    }

    /// Whether there is a unit of that name.
    pub(crate) fn is_loaded(&self) -> bool {
        self.get("LoadState") == "loaded"
    }

    /// The main process, where there is one.
    pub(crate) fn main_pid(&self) -> Option<i32> {
        self.get("MainPID").parse().ok().filter(|pid| *pid > 0)
    }
}

/// The service as it is.
pub(crate) fn service_properties() -> anyhow::Result<UnitProperties> {
    UnitProperties::query(SERVICE_NAME)
}

/// Whether the user's service manager knows the unit.
pub(crate) fn is_service_installed() -> bool {
    run_systemctl(&["cat", SERVICE_NAME]).is_ok()
}

/// Starts the service.
pub(crate) fn start_service() -> anyhow::Result<()> {
    run_systemctl(&["start", SERVICE_NAME])
        .map(drop)
        .with_context(|| format!("cannot start the user unit {SERVICE_NAME}"))
}

/// What would bring the daemon back that is process `pid`, in words.
pub(crate) fn restart_hints(pid: i32) -> Vec<String> {
    let mut hints = Vec::new();
    if property("MainPID").as_deref() == Some(&pid.to_string()) {
        let restart = property("Restart").unwrap_or_default();
        hints.push(match restart.as_str() {
            "always" | "on-success" => format!(
                "the user unit {SERVICE_NAME} starts it again; `systemctl --user stop {SERVICE_NAME}`"
            ),
            _ => format!("the user unit {SERVICE_NAME} starts it again at the next login"),
        });
    }
    if run_systemctl(&["is-active", "--quiet", SOCKET_NAME]).is_ok() {
        hints.push(format!(
            "the user unit {SOCKET_NAME} starts it when a client connects; \
             `systemctl --user stop {SOCKET_NAME}`"
        ));
    }
    hints
}

/// One property of the service; `None` where it is empty or systemd does not answer.
fn property(name: &str) -> Option<String> {
    let property = format!("--property={name}");
    let text = run_systemctl(&["show", SERVICE_NAME, &property, "--value"]).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The directory of the user's own units.
pub(crate) fn user_unit_dir(folders: &UserDirs) -> PathBuf {
    folders.config_dir.parent().unwrap_or(Path::new("/")).join("systemd/user")
}

/// Whether the user's services go on without a login; `None` where that cannot be told.
pub(crate) fn is_linger_enabled() -> Option<bool> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let mut command = Command::new("loginctl");
    command.args(["show-user", &uid, "--property=Linger", "--value"]).stdin(Stdio::null());
    let said = command.output().ok().filter(|output| output.status.success());
    match said.as_ref().map(|output| output.stdout.trim_ascii()) {
        Some(b"yes") => Some(true),
        Some(b"no") => Some(false),
        // Not logged in, as far as logind knows; what it keeps tells.
        _ => {
            let name = ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok())?;
            let kept = Path::new("/var/lib/systemd/linger");
            kept.is_dir().then(|| kept.join(name).exists())
        }
    }
}

/// What to say of lingering.
pub(crate) fn linger_label(lingers: Option<bool>) -> &'static str {
    match lingers {
        Some(true) => "on: the service runs from boot on, also when you are logged out",
        Some(false) => {
            "off: the service ends when you log out; `loginctl enable-linger` has it stay"
        }
        None => "not known here; `loginctl enable-linger` has the service stay when you log out",
    }
}

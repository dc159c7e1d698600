//! `dossierd service install`: units for this very program, enabled, started and ready; saying each
//! step that it takes. What is as it should be is left as it is.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::cli::args::{ProjectArgs, ServiceInstallArgs, SocketArgs};
use crate::cli::daemon::connection::DaemonConnection;
use crate::cli::daemon::systemctl;
use crate::cli::daemon::systemctl::{
    UnitProperties, check_user_manager_unless_dry_run, is_linger_enabled, linger_label,
    run_systemctl, service_properties, user_unit_dir,
};
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::cli::scope::Scope;
use crate::cli::user_dirs::user_dirs;
use crate::client::RequestPath;
use crate::config::Config;
use crate::daemon::add_project;
use crate::daemon::systemd_units::{
    NAMESPACES_NAME, PACKAGED_PROGRAM, SERVICE_NAME, SOCKET_NAME, SystemdUnit,
    is_same_except_program, render_units,
};
use crate::wire::status::Status;

/// Where packages put units for all users.
const PACKAGED_UNIT_DIR: &str = "/usr/lib/systemd/user";

pub(crate) fn run(args: &ServiceInstallArgs) -> anyhow::Result<CommandExit> {
    let folders = user_dirs()?;
    // Before anything is changed: with this the daemon would not start.
    Config::load(&folders.config_file())?;
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let projects = projects_to_add(&args.projects)?;
    check_user_manager_unless_dry_run(args.dry_run)?;
    let mut steps = InstallSteps { dry_run: args.dry_run };
    let running = steps.query(SERVICE_NAME)?;
    let listens = steps.query(SOCKET_NAME)?.is_active();
    reject_other_daemon(running.is_active() || listens)?;

    let folder = user_unit_dir(&folders);
    let environment = xdg_variables();
    let packaged = program == Path::new(PACKAGED_PROGRAM)
        && environment.is_empty()
        && Path::new(PACKAGED_UNIT_DIR).join(SERVICE_NAME).exists()
        && !folder.join(SERVICE_NAME).exists();
    let mut wanted = render_units(&program, &environment, args.namespaces)?;
    if packaged {
        print_line(&format!("the units of the package in {PACKAGED_UNIT_DIR} are used"))?;
        wanted.retain(|unit| unit.name == NAMESPACES_NAME);
    }
    let mut changed = Vec::new();
    for unit in &wanted {
        if steps.write_unit(&folder, unit)? {
            changed.push(unit.name);
        }
    }
    if !changed.is_empty() || running.get("NeedDaemonReload") == "yes" {
        steps.systemctl(&["daemon-reload"])?;
    }
    steps.enable()?;
    let mut later = Vec::new();
    for project in &projects {
        match steps.add_project(&folders.state_dir, project, running.is_active()) {
            // One that is about to be replaced, and of no use any more.
            Err(_) if running.is_active() => later.push(project),
            added => added?,
        }
    }
    if projects.is_empty() {
        print_line("no project is here; `dossierd project add PATH` adds one")?;
    }
    steps.start(&running, &program, &changed)?;
    for project in later {
        steps.add_project(&folders.state_dir, project, true)?;
    }
    print_line(&format!("lingering: {}", linger_label(is_linger_enabled())))?;
    Ok(CommandExit::Success)
}

/// The projects that are named, or the one that the current directory is in.
fn projects_to_add(said: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    if !said.is_empty() {
        let canonical = |path: &PathBuf| {
            let root = path.canonicalize().with_context(|| path.display().to_string())?;
            if root.is_dir() { Ok(root) } else { bail!("{} is no folder", root.display()) }
        };
        return said.iter().map(canonical).collect();
    }
    let here = ProjectArgs { project: None, json: false, socket: SocketArgs { socket: None } };
    Ok(Scope::resolve(None, &here)?.root.into_iter().collect())
}

/// Variables that say where the daemon's directories are, which the service manager may not know.
fn xdg_variables() -> Vec<(&'static str, String)> {
    let set = |name| std::env::var(name).ok().filter(|value| value.starts_with('/'));
    ["XDG_CONFIG_HOME", "XDG_STATE_HOME"]
        .into_iter()
        .filter_map(|name| Some((name, set(name)?)))
        .collect()
}

/// A daemon beside the service would keep it from its lock and its socket.
fn reject_other_daemon(is_service: bool) -> anyhow::Result<()> {
    if is_service {
        return Ok(());
    }
    let Some(mut link) = DaemonConnection::connect_if_running(&SocketArgs { socket: None })? else {
        return Ok(());
    };
    let status: Status<'_> = link.get_json(&RequestPath::new("/api/status"))?;
    bail!(
        "a daemon runs already that is not the service (process {}); end it with `dossierd stop`, \
         then install again",
        status.pid
    )
}

/// Has a project watched from now on: by the daemon where it runs, else it finds it when it starts.
fn add_watched_project(state: &Path, project: &Path, runs: bool) -> anyhow::Result<()> {
    if !runs {
        return Ok(add_project(state, project)?);
    }
    let path = project.to_str().context("its path is not UTF-8")?;
    let body = serde_json::json!({ "path": path, "keep": true }).to_string();
    let mut link = DaemonConnection::connect(&SocketArgs { socket: None })?;
    link.post(&RequestPath::new("/api/projects"), body.into_bytes())?;
    Ok(())
}

fn print_line(text: &str) -> anyhow::Result<()> {
    let mut to = output::stdout_human();
    writeln!(to, "{}", crate::core::path::escape_unprintable(text))?;
    Ok(to.flush()?)
}

/// What is done, each step said; or only said.
struct InstallSteps {
    dry_run: bool,
}

impl InstallSteps {
    /// What the service manager says of a unit.
    fn query(&self, unit: &str) -> anyhow::Result<UnitProperties> {
        UnitProperties::query_or_empty(unit, self.dry_run)
    }

    /// Does `done` and says so; says `would` where nothing is to be done.
    fn run_step(
        &mut self,
        would: &str,
        done: &str,
        act: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.dry_run {
            return print_line(&format!("would {would}"));
        }
        act()?;
        print_line(done)
    }

    fn systemctl(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let line = format!("systemctl --user {}", arguments.join(" "));
        self.run_step(&format!("run {line}"), &format!("ran {line}"), || {
            run_systemctl(arguments).map(|_| ())
        })
    }

    /// Writes a unit that is not as it should be; one of another hand is kept beside it.
    fn write_unit(&mut self, folder: &Path, unit: &SystemdUnit) -> anyhow::Result<bool> {
        let path = folder.join(unit.name);
        let shown = path.display().to_string();
        let there = match fs::read(&path) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).context(shown),
        };
        if there.as_deref() == Some(&unit.text) {
            return Ok(false);
        }
        let old = folder.join(format!("{}.old", unit.name));
        let kept = there.as_deref().is_some_and(|text| !is_same_except_program(text, &unit.text));
        let (would, done) = if kept {
            let old = old.display();
            (
                format!("replace {shown}, and keep what it says as {old}"),
                format!("replaced {shown}; what it said is kept as {old}"),
            )
        } else {
            (format!("write {shown}"), format!("wrote {shown}"))
        };
        self.run_step(&would, &done, || {
            fs::create_dir_all(path.parent().unwrap_or(folder)).with_context(|| shown.clone())?;
            if kept {
                fs::rename(&path, &old).with_context(|| shown.clone())?;
            }
            let new = folder.join(format!("{}.new", unit.name));
            fs::write(&new, &unit.text).with_context(|| shown.clone())?;
            fs::rename(&new, &path).with_context(|| shown.clone())
        })?;
        Ok(true)
    }

    /// Has a project watched from now on.
    fn add_project(&mut self, state: &Path, project: &Path, runs: bool) -> anyhow::Result<()> {
        let shown = project.display();
        self.run_step(&format!("add the project {shown}"), &format!("watches {shown}"), || {
            add_watched_project(state, project, runs).with_context(|| format!("cannot add {shown}"))
        })
    }

    fn enable(&mut self) -> anyhow::Result<()> {
        let enabled = |unit| run_systemctl(&["is-enabled", unit]).is_ok();
        if enabled(SERVICE_NAME) && enabled(SOCKET_NAME) {
            return Ok(());
        }
        self.systemctl(&["enable", SERVICE_NAME, SOCKET_NAME])
    }

    /// Has the service run this program by these units. The socket stays open over a restart where
    /// its own unit has not changed, so that clients wait and are not refused.
    fn start(
        &mut self,
        running: &UnitProperties,
        program: &Path,
        changed: &[&str],
    ) -> anyhow::Result<()> {
        if !self.dry_run && !service_properties()?.is_loaded() {
            bail!(
                "systemd does not find {SERVICE_NAME} where it was written; are XDG_CONFIG_HOME \
                 or HOME other than in your login session?"
            );
        }
        let listens = self.query(SOCKET_NAME)?.is_active();
        let mut active = running.is_active();
        if active && (!listens || changed.contains(&SOCKET_NAME)) {
            self.systemctl(&["stop", SERVICE_NAME])?;
            active = false;
        }
        let stale = running.main_pid().is_some_and(|pid| !is_running_program(pid, program));
        let verb = match active {
            false => Some("start"),
            true if stale || !changed.is_empty() => Some("restart"),
            true => None,
        };
        if !listens || changed.contains(&SOCKET_NAME) {
            self.systemctl(&["restart", SOCKET_NAME])?;
        }
        if let Some(verb) = verb {
            self.systemctl(&[verb, SERVICE_NAME]).context(
                "the service does not start; `journalctl --user --unit dossierd` tells more",
            )?;
        }
        if self.dry_run {
            return Ok(());
        }
        // A client may have had it started meanwhile; it is ready when this comes back.
        print_line(&format!("ready: {}", systemctl::service_properties()?.get("StatusText")))
    }
}

/// Whether process `pid` runs the program that lies there now.
fn is_running_program(pid: i32, program: &Path) -> bool {
    // Of a program that was replaced this says `… (deleted)`.
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|runs| runs == program)
}

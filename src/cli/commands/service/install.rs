//! `dossierd service install`: writes units for this program, enables and starts them, and waits
//! until the service is ready. Prints each step, and skips steps that are not needed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::cli::args::{LoneArgs, ProjectArgs, ServiceInstallArgs, SocketArgs};
use crate::cli::daemon::connection::DaemonConnection;
use crate::cli::daemon::systemctl::{
    UnitProperties, check_user_manager_unless_dry_run, is_linger_enabled, linger_label,
    run_systemctl, service_properties, user_unit_dir,
};
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::cli::replace_file::replace_file;
use crate::cli::scope::Scope;
use crate::cli::user_dirs::user_dirs;
use crate::client::RequestPath;
use crate::config::{Config, UserDirs};
use crate::daemon::add_project;
use crate::daemon::systemd_units::{
    NAMESPACES_NAME, PACKAGED_PROGRAM, SERVICE_NAME, SOCKET_NAME, SystemdUnit,
    is_same_except_program, render_units,
};
use crate::wire::status::Status;

/// Directory of the units that packages install for all users.
const PACKAGED_UNIT_DIR: &str = "/usr/lib/systemd/user";

pub(crate) fn run(args: &ServiceInstallArgs) -> anyhow::Result<CommandExit> {
    let dirs = user_dirs()?;
    if let Some(foreign) = dirs.find_foreign_dir() {
        return Err(foreign.into());
    }
    // The daemon would not start with an invalid configuration: fail before changing anything.
    Config::load(&dirs.config_file())?;
    let program = std::env::current_exe().context("cannot determine the path of this program")?;
    let projects = projects_to_add(&args.projects)?;
    check_user_manager_unless_dry_run(args.dry_run)?;
    let mut steps = InstallSteps { dry_run: args.dry_run };
    let running = steps.query(SERVICE_NAME)?;
    let is_listening = steps.query(SOCKET_NAME)?.is_active();
    reject_other_daemon(running.is_active() || is_listening)?;

    let dir = user_unit_dir(&dirs);
    let environment = xdg_variables();
    let is_packaged = program == Path::new(PACKAGED_PROGRAM)
        && environment.is_empty()
        && Path::new(PACKAGED_UNIT_DIR).join(SERVICE_NAME).exists()
        && !dir.join(SERVICE_NAME).exists();
    let mut units = render_units(&program, &environment, args.namespaces)?;
    if is_packaged {
        print_line(&format!("using the units of the package in {PACKAGED_UNIT_DIR}"))?;
        units.retain(|unit| unit.name == NAMESPACES_NAME);
    }
    let mut changed = Vec::new();
    for unit in &units {
        if steps.write_unit(&dir, unit)? {
            changed.push(unit.name);
        }
    }
    if !changed.is_empty() || running.get("NeedDaemonReload") == "yes" {
        steps.systemctl(&["daemon-reload"])?;
    }
    steps.enable()?;
    let mut later = Vec::new();
    for project in &projects {
        match steps.add_project(&dirs, project, running.is_active()) {
            // The running daemon may be too old for the request; it is restarted below.
            Err(_) if running.is_active() => later.push(project),
            added => added?,
        }
    }
    if projects.is_empty() {
        print_line(
            "the current directory is in no project; run `dossierd project add PATH` to add one",
        )?;
    }
    steps.start(&running, &program, &changed)?;
    for project in later {
        steps.add_project(&dirs, project, true)?;
    }
    print_line(&format!("lingering: {}", linger_label(is_linger_enabled())))?;
    Ok(CommandExit::Success)
}

/// Returns the canonical roots of the named projects, or the project of the current directory.
fn projects_to_add(named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    if !named.is_empty() {
        let canonical = |path: &PathBuf| {
            let root = path.canonicalize().with_context(|| path.display().to_string())?;
            if root.is_dir() { Ok(root) } else { bail!("{} is not a directory", root.display()) }
        };
        return named.iter().map(canonical).collect();
    }
    let current = ProjectArgs {
        project: None,
        lone: LoneArgs::default(),
        json: false,
        socket: SocketArgs { socket: None },
    };
    Ok(Scope::resolve(None, &current)?.root.into_iter().collect())
}

/// Returns the variables that determine the daemon's directories, if they are set: the service
/// manager may have other values.
fn xdg_variables() -> Vec<(&'static str, String)> {
    let value = |name| std::env::var(name).ok().filter(|value| value.starts_with('/'));
    ["XDG_CONFIG_HOME", "XDG_STATE_HOME"]
        .into_iter()
        .filter_map(|name| Some((name, value(name)?)))
        .collect()
}

/// Fails if a daemon runs that is not the service: it holds the lock and the socket.
fn reject_other_daemon(is_service: bool) -> anyhow::Result<()> {
    if is_service {
        return Ok(());
    }
    let Some(mut connection) = DaemonConnection::connect_if_running(&SocketArgs { socket: None })?
    else {
        return Ok(());
    };
    let status: Status<'_> = connection.get_json(&RequestPath::new("/api/status"))?;
    bail!(
        "a daemon that is not the service is running (process {}); run `dossierd stop`, then \
         install again",
        status.pid
    )
}

/// Adds a project through the daemon if it runs, otherwise in its store.
fn add_watched_project(dirs: &UserDirs, project: &Path, is_running: bool) -> anyhow::Result<()> {
    if !is_running {
        return Ok(add_project(dirs, project)?);
    }
    DaemonConnection::connect(&SocketArgs { socket: None })?.add_project(project).map(drop)
}

fn print_line(text: &str) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    writeln!(out, "{}", crate::core::path::escape_unprintable(text))?;
    Ok(out.flush()?)
}

/// Runs and prints the steps; in a dry run only prints them.
struct InstallSteps {
    dry_run: bool,
}

impl InstallSteps {
    /// Returns the properties of a unit.
    fn query(&self, unit: &str) -> anyhow::Result<UnitProperties> {
        UnitProperties::query_or_empty(unit, self.dry_run)
    }

    /// Runs `action` and prints `done`; in a dry run only prints `would`.
    fn run_step(
        &mut self,
        would: &str,
        done: &str,
        action: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.dry_run {
            return print_line(&format!("would {would}"));
        }
        action()?;
        print_line(done)
    }

    fn systemctl(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let line = format!("systemctl --user {}", arguments.join(" "));
        self.run_step(&format!("run {line}"), &format!("ran {line}"), || {
            run_systemctl(arguments).map(|_| ())
        })
    }

    /// Writes a unit if it differs; returns true if it did. A unit that differs in more than the
    /// program, for example one with edits, is kept as `.old`.
    fn write_unit(&mut self, dir: &Path, unit: &SystemdUnit) -> anyhow::Result<bool> {
        let path = dir.join(unit.name);
        let shown = path.display().to_string();
        let existing = match fs::read(&path) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).context(format!("cannot read {shown}")),
        };
        if existing.as_deref() == Some(&unit.text) {
            return Ok(false);
        }
        let old = dir.join(format!("{}.old", unit.name));
        let is_edited =
            existing.as_deref().is_some_and(|text| !is_same_except_program(text, &unit.text));
        let (would, done) = if is_edited {
            let old = old.display();
            (
                format!("replace {shown} and keep the old file as {old}"),
                format!("replaced {shown}; kept the old file as {old}"),
            )
        } else {
            (format!("write {shown}"), format!("wrote {shown}"))
        };
        self.run_step(&would, &done, || {
            let parent = path.parent().unwrap_or(dir);
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot create {}", parent.display()))?;
            if is_edited {
                fs::rename(&path, &old).with_context(|| format!("cannot rename {shown}"))?;
            }
            replace_file(&path, &unit.text)
        })?;
        Ok(true)
    }

    /// Adds a project to the daemon.
    fn add_project(
        &mut self,
        dirs: &UserDirs,
        project: &Path,
        is_running: bool,
    ) -> anyhow::Result<()> {
        let shown = project.display();
        self.run_step(
            &format!("add the project {shown}"),
            &format!("added the project {shown}"),
            || {
                add_watched_project(dirs, project, is_running)
                    .with_context(|| format!("cannot add {shown}"))
            },
        )
    }

    /// Enables the service and its socket unless they are enabled.
    fn enable(&mut self) -> anyhow::Result<()> {
        let is_enabled = |unit| run_systemctl(&["is-enabled", unit]).is_ok();
        if is_enabled(SERVICE_NAME) && is_enabled(SOCKET_NAME) {
            return Ok(());
        }
        self.systemctl(&["enable", SERVICE_NAME, SOCKET_NAME])
    }

    /// Starts or restarts what runs another program or changed units. The socket stays open during a
    /// restart unless its own unit changed, so that clients wait and are not refused.
    fn start(
        &mut self,
        running: &UnitProperties,
        program: &Path,
        changed: &[&str],
    ) -> anyhow::Result<()> {
        if !self.dry_run && !service_properties()?.is_loaded() {
            bail!(
                "systemd does not find {SERVICE_NAME}; set XDG_CONFIG_HOME and HOME as in your login \
                 session"
            );
        }
        let is_listening = self.query(SOCKET_NAME)?.is_active();
        let mut is_active = running.is_active();
        if is_active && (!is_listening || changed.contains(&SOCKET_NAME)) {
            self.systemctl(&["stop", SERVICE_NAME])?;
            is_active = false;
        }
        let is_stale = running.main_pid().is_some_and(|pid| !is_running_program(pid, program));
        let verb = match is_active {
            false => Some("start"),
            true if is_stale || !changed.is_empty() => Some("restart"),
            true => None,
        };
        if !is_listening || changed.contains(&SOCKET_NAME) {
            self.systemctl(&["restart", SOCKET_NAME])?;
        }
        if let Some(verb) = verb {
            self.systemctl(&[verb, SERVICE_NAME])
                .context("cannot start the service; see `journalctl --user --unit dossierd`")?;
        }
        if self.dry_run {
            return Ok(());
        }
        // `systemctl start` returns when the service is ready, also if a client started it first.
        print_line(&format!("ready: {}", service_properties()?.get("StatusText")))
    }
}

/// Returns true if process `pid` runs the file that is now at `program`.
fn is_running_program(pid: i32, program: &Path) -> bool {
    // For a replaced file the link ends with ` (deleted)`, see proc_pid_exe(5).
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|running| running == program)
}

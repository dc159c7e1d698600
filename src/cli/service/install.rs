//! `dossierd service install`: units for this very program, enabled, started and ready; saying each
//! step that it takes. What is as it should be is left as it is.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::manager::{
    self, Properties, lingers, reachable_unless_dry, say_lingering, service, systemctl, unit_folder,
};
use crate::cli::args::{ProjectArgs, ServiceInstallArgs, SocketArgs};
use crate::cli::exit::Exit;
use crate::cli::link::{self, Link};
use crate::cli::out;
use crate::cli::place::Place;
use crate::client::Target;
use crate::config::Config;
use crate::service::add_project;
use crate::service::units::{
    NAMESPACES_NAME, PACKAGED_PROGRAM, SERVICE_NAME, SOCKET_NAME, Unit, differ_by_program_only,
    units,
};
use crate::wire::status::Status;

/// Where packages put units for all users.
const PACKAGED_UNITS: &str = "/usr/lib/systemd/user";

pub(super) fn run(args: &ServiceInstallArgs) -> anyhow::Result<Exit> {
    let folders = link::folders()?;
    // Before anything is changed: with this the daemon would not start.
    Config::load(&folders.config_file())?;
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let projects = projects(&args.projects)?;
    reachable_unless_dry(args.dry_run)?;
    let mut steps = Steps { dry: args.dry_run };
    let running = steps.look(SERVICE_NAME)?;
    let listens = steps.look(SOCKET_NAME)?.is_active();
    refuse_another(running.is_active() || listens)?;

    let folder = unit_folder(&folders);
    let environment = environment();
    let packaged = program == Path::new(PACKAGED_PROGRAM)
        && environment.is_empty()
        && Path::new(PACKAGED_UNITS).join(SERVICE_NAME).exists()
        && !folder.join(SERVICE_NAME).exists();
    let mut wanted = units(&program, &environment, args.namespaces)?;
    if packaged {
        say(&format!("the units of the package in {PACKAGED_UNITS} are used"))?;
        wanted.retain(|unit| unit.name == NAMESPACES_NAME);
    }
    let mut changed = Vec::new();
    for unit in &wanted {
        if steps.write(&folder, unit)? {
            changed.push(unit.name);
        }
    }
    if !changed.is_empty() || running.get("NeedDaemonReload") == "yes" {
        steps.systemctl(&["daemon-reload"])?;
    }
    steps.enable()?;
    let mut later = Vec::new();
    for project in &projects {
        match steps.add(&folders.state, project, running.is_active()) {
            // One that is about to be replaced, and of no use any more.
            Err(_) if running.is_active() => later.push(project),
            added => added?,
        }
    }
    if projects.is_empty() {
        say("no project is here; `dossierd project add PATH` adds one")?;
    }
    steps.start(&running, &program, &changed)?;
    for project in later {
        steps.add(&folders.state, project, true)?;
    }
    say(&format!("lingering: {}", say_lingering(lingers())))?;
    Ok(Exit::Done)
}

/// The projects that are named, or the one that the current folder is in.
fn projects(said: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    if !said.is_empty() {
        let canonical = |path: &PathBuf| {
            let root = path.canonicalize().with_context(|| path.display().to_string())?;
            if root.is_dir() { Ok(root) } else { bail!("{} is no folder", root.display()) }
        };
        return said.iter().map(canonical).collect();
    }
    let here = ProjectArgs { project: None, json: false, socket: SocketArgs { socket: None } };
    Ok(Place::of(None, &here)?.root.into_iter().collect())
}

/// Variables that say where the daemon's folders are, which the service manager may not know.
fn environment() -> Vec<(&'static str, String)> {
    let set = |name| std::env::var(name).ok().filter(|value| value.starts_with('/'));
    ["XDG_CONFIG_HOME", "XDG_STATE_HOME"]
        .into_iter()
        .filter_map(|name| Some((name, set(name)?)))
        .collect()
}

/// A daemon beside the service would keep it from its lock and its socket.
fn refuse_another(is_service: bool) -> anyhow::Result<()> {
    if is_service {
        return Ok(());
    }
    let Some(mut link) = Link::find(&SocketArgs { socket: None })? else {
        return Ok(());
    };
    let status: Status<'_> = link.read(&Target::new("/api/status"))?;
    bail!(
        "a daemon runs already that is not the service (process {}); end it with `dossierd stop`, \
         then install again",
        status.pid
    )
}

/// Has a project watched from now on: by the daemon where it runs, else it finds it when it starts.
fn add(state: &Path, project: &Path, runs: bool) -> anyhow::Result<()> {
    if !runs {
        return Ok(add_project(state, project)?);
    }
    let path = project.to_str().context("its path is not UTF-8")?;
    let body = serde_json::json!({ "path": path, "keep": true }).to_string();
    let mut link = Link::open(&SocketArgs { socket: None })?;
    link.post(&Target::new("/api/projects"), body.into_bytes())?;
    Ok(())
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut to = out::people();
    writeln!(to, "{}", crate::core::path::printable(text))?;
    Ok(to.flush()?)
}

/// What is done, each step said; or only said.
struct Steps {
    dry: bool,
}

impl Steps {
    /// What the service manager says of a unit.
    fn look(&self, unit: &str) -> anyhow::Result<Properties> {
        Properties::as_far_as_known(unit, self.dry)
    }

    /// Does `done` and says so; says `would` where nothing is to be done.
    fn step(
        &mut self,
        would: &str,
        done: &str,
        act: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.dry {
            return say(&format!("would {would}"));
        }
        act()?;
        say(done)
    }

    fn systemctl(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let line = format!("systemctl --user {}", arguments.join(" "));
        self.step(&format!("run {line}"), &format!("ran {line}"), || {
            systemctl(arguments).map(|_| ())
        })
    }

    /// Writes a unit that is not as it should be; one of another hand is kept beside it.
    fn write(&mut self, folder: &Path, unit: &Unit) -> anyhow::Result<bool> {
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
        let kept = there.as_deref().is_some_and(|text| !differ_by_program_only(text, &unit.text));
        let (would, done) = if kept {
            let old = old.display();
            (
                format!("replace {shown}, and keep what it says as {old}"),
                format!("replaced {shown}; what it said is kept as {old}"),
            )
        } else {
            (format!("write {shown}"), format!("wrote {shown}"))
        };
        self.step(&would, &done, || {
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
    fn add(&mut self, state: &Path, project: &Path, runs: bool) -> anyhow::Result<()> {
        let shown = project.display();
        self.step(&format!("add the project {shown}"), &format!("watches {shown}"), || {
            add(state, project, runs).with_context(|| format!("cannot add {shown}"))
        })
    }

    fn enable(&mut self) -> anyhow::Result<()> {
        let enabled = |unit| systemctl(&["is-enabled", unit]).is_ok();
        if enabled(SERVICE_NAME) && enabled(SOCKET_NAME) {
            return Ok(());
        }
        self.systemctl(&["enable", SERVICE_NAME, SOCKET_NAME])
    }

    /// Has the service run this program by these units. The socket stays open over a restart where
    /// its own unit has not changed, so that clients wait and are not refused.
    fn start(
        &mut self,
        running: &Properties,
        program: &Path,
        changed: &[&str],
    ) -> anyhow::Result<()> {
        if !self.dry && !service()?.is_loaded() {
            bail!(
                "systemd does not find {SERVICE_NAME} where it was written; are XDG_CONFIG_HOME \
                 or HOME other than in your login session?"
            );
        }
        let listens = self.look(SOCKET_NAME)?.is_active();
        let mut active = running.is_active();
        if active && (!listens || changed.contains(&SOCKET_NAME)) {
            self.systemctl(&["stop", SERVICE_NAME])?;
            active = false;
        }
        let stale = running.main_pid().is_some_and(|pid| !runs(pid, program));
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
        if self.dry {
            return Ok(());
        }
        // A client may have had it started meanwhile; it is ready when this comes back.
        say(&format!("ready: {}", manager::service()?.get("StatusText")))
    }
}

/// Whether process `pid` runs the program that lies there now.
fn runs(pid: i32, program: &Path) -> bool {
    // Of a program that was replaced this says `… (deleted)`.
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|runs| runs == program)
}

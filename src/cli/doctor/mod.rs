//! `dossierd doctor`: what keeps dossierd from working well, each with its mend.
//!
//! It changes nothing, waits for nothing that does not come, and goes on after whatever it finds. It
//! starts nothing; where systemd listens for a service that is stopped, systemd starts that.

mod daemon;
mod files;
mod finding;
mod git;
mod machine;
mod shell;
mod unit;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use owo_colors::OwoColorize as _;

use super::args::DoctorArgs;
use super::exit::Exit;
use super::place::Place;
use super::{link, out};
use crate::config::{Config, ConfigState};
use crate::core::path::printable;
use finding::{Finding, Findings, Level};

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let findings = examine(args)?;
    let worst = findings.iter().map(|finding| finding.level).max();
    if args.project.json {
        out::print_json(&findings)?;
    } else {
        show(&findings)?;
    }
    Ok(if worst == Some(Level::Error) { Exit::Failed } else { Exit::Done })
}

fn examine(args: &DoctorArgs) -> anyhow::Result<Vec<Finding>> {
    let folders = link::folders()?;
    let socket = args.project.socket.path()?;
    let mut found = Findings::default();

    let (config, state) = ConfigState::read(&folders.config_file());
    files::config(&mut found, &state);
    let config = config.unwrap_or_default();
    files::folder(&mut found, "state folder", &folders.state);
    files::socket(&mut found, &folders, &socket);
    let asked = daemon::ask(&mut found, &args.project.socket);
    let store = files::store(&mut found, &folders.state);
    let last_event = store.as_ref().map(|store| Duration::from_millis(store.last_event_ms));
    let last_event = last_event.map(|since| SystemTime::UNIX_EPOCH + since);
    found.add(machine::clock(SystemTime::now(), last_event));

    let kept = store.map(|store| store.projects).unwrap_or_default();
    let roots = roots(args, &config, kept, asked.as_ref());
    if roots.is_empty() {
        found.warning(
            "projects",
            "none is watched, and none is here",
            "`dossierd project add PATH`",
        );
    }
    let need = match &asked {
        Some(asked) => asked.folders,
        None => roots.iter().map(|root| files::folders_below(root, &config, &folders)).sum(),
    };
    machine::inotify(&mut found, Path::new("/proc"), need);
    files::kind(&mut found, "state folder", &folders.state, files::Use::Store);
    for root in &roots {
        files::project(&mut found, root);
        files::kind(&mut found, "file system", root, files::Use::Watched);
        git::ignored(&mut found, root);
    }
    unit::service(&mut found, &folders, asked.as_ref());
    Ok(found.all)
}

/// All that is or would be watched, and the project that the current folder is in.
fn roots(
    args: &DoctorArgs,
    config: &Config,
    kept: Vec<PathBuf>,
    asked: Option<&daemon::Asked>,
) -> BTreeSet<PathBuf> {
    let mut roots: BTreeSet<PathBuf> = match asked {
        Some(asked) => asked.roots.iter().cloned().collect(),
        None => {
            let configured = config.projects.iter().map(|project| project.path.clone());
            configured.chain(kept).collect()
        }
    };
    // What is wrong with the configuration is said already.
    roots.extend(Place::of(None, &args.project).ok().and_then(|place| place.root));
    roots
}

fn show(findings: &[Finding]) -> anyhow::Result<()> {
    let mut to = out::people();
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok".green().to_string(),
            Level::Warning => "warning".yellow().to_string(),
            Level::Error => "error".red().to_string(),
        };
        writeln!(to, "{level}: {}: {}", finding.check, printable(&finding.message))?;
        if let Some(mend) = &finding.mend {
            writeln!(to, "    mend: {}", printable(mend))?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    writeln!(to, "{} checks: {errors} wrong, {warnings} odd", findings.len())?;
    Ok(to.flush()?)
}

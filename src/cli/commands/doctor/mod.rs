//! `dossierd doctor`: what keeps dossierd from working well, each with its mend.
//!
//! It changes nothing, waits for nothing that does not come, and goes on after whatever it finds. It
//! starts nothing; where systemd listens for a service that is stopped, systemd starts that.

mod daemon;
mod files;
mod finding;
mod git;
mod machine;
mod service;
mod shell;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use owo_colors::OwoColorize as _;

use crate::cli::args::DoctorArgs;
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::cli::scope::Scope;
use crate::cli::user_dirs::user_dirs;
use crate::config::{Config, LoadedConfig};
use crate::core::path::escape_unprintable;
use finding::{Finding, FindingLevel, Findings};

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<CommandExit> {
    let findings = run_checks(args)?;
    let worst = findings.iter().map(|finding| finding.level).max();
    if args.project.json {
        output::print_json(&findings)?;
    } else {
        print_findings(&findings)?;
    }
    Ok(if worst == Some(FindingLevel::Error) { CommandExit::Failed } else { CommandExit::Success })
}

fn run_checks(args: &DoctorArgs) -> anyhow::Result<Vec<Finding>> {
    let folders = user_dirs()?;
    let socket = args.project.socket.path()?;
    let mut found = Findings::default();

    let LoadedConfig { config, state } = LoadedConfig::from_file(&folders.config_file());
    files::check_config(&mut found, &state);
    let config = config.unwrap_or_default();
    files::check_private_dir(&mut found, "state folder", &folders.state_dir);
    files::check_socket(&mut found, &folders, &socket);
    let asked = daemon::check_daemon(&mut found, &args.project.socket);
    let store = files::check_store(&mut found, &folders.state_dir);
    let last_event = store.as_ref().map(|store| Duration::from_millis(store.last_event_ms));
    let last_event = last_event.map(|since| SystemTime::UNIX_EPOCH + since);
    found.add(machine::check_clock(SystemTime::now(), last_event));

    let kept = store.map(|store| store.projects).unwrap_or_default();
    let roots = project_roots(args, &config, kept, asked.as_ref());
    if roots.is_empty() {
        found.warning(
            "projects",
            "none is watched, and none is here",
            "`dossierd project add PATH`",
        );
    }
    let need = match &asked {
        Some(asked) => asked.dir_count,
        None => roots.iter().map(|root| files::count_dirs_to_watch(root, &config, &folders)).sum(),
    };
    machine::check_inotify_limits(&mut found, Path::new("/proc"), need);
    files::check_file_system(
        &mut found,
        "state folder",
        &folders.state_dir,
        files::FileSystemUse::Store,
    );
    for root in &roots {
        files::check_project(&mut found, root);
        files::check_file_system(&mut found, "file system", root, files::FileSystemUse::Watched);
        git::check_gitignore(&mut found, root);
    }
    service::check_service(&mut found, &folders, asked.as_ref());
    Ok(found.all)
}

/// All that is or would be watched, and the project that the current directory is in.
fn project_roots(
    args: &DoctorArgs,
    config: &Config,
    kept: Vec<PathBuf>,
    asked: Option<&daemon::DaemonInfo>,
) -> BTreeSet<PathBuf> {
    let mut roots: BTreeSet<PathBuf> = match asked {
        Some(asked) => asked.roots.iter().cloned().collect(),
        None => {
            let configured = config.projects.iter().map(|project| project.path.clone());
            configured.chain(kept).collect()
        }
    };
    // What is wrong with the configuration is said already.
    roots.extend(Scope::resolve(None, &args.project).ok().and_then(|place| place.root));
    roots
}

fn print_findings(findings: &[Finding]) -> anyhow::Result<()> {
    let mut to = output::stdout_human();
    for finding in findings {
        let level = match finding.level {
            FindingLevel::Ok => "ok".green().to_string(),
            FindingLevel::Warning => "warning".yellow().to_string(),
            FindingLevel::Error => "error".red().to_string(),
        };
        writeln!(to, "{level}: {}: {}", finding.check, escape_unprintable(&finding.message))?;
        if let Some(mend) = &finding.fix {
            writeln!(to, "    mend: {}", escape_unprintable(mend))?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (count(FindingLevel::Error), count(FindingLevel::Warning));
    writeln!(to, "{} checks: {errors} wrong, {warnings} odd", findings.len())?;
    Ok(to.flush()?)
}

//! `dossierd doctor`: diagnoses problems with the installation and suggests fixes.
//!
//! It changes nothing, has a timeout for everything, and continues after each finding. It starts
//! nothing itself; connecting to a socket of systemd starts the service.

mod daemon;
mod features;
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
    let dirs = user_dirs()?;
    let socket = args.project.socket.path()?;
    let mut findings = Findings::default();

    let LoadedConfig { config, state } = LoadedConfig::from_file(&dirs.config_file());
    files::check_config(&mut findings, &state);
    let config = config.unwrap_or_default();
    files::check_private_dir(&mut findings, "state folder", &dirs.state_dir);
    files::check_socket(&mut findings, &dirs, &socket);
    let daemon = daemon::check_daemon(&mut findings, &args.project.socket);
    let store = files::check_store(&mut findings, &dirs.state_dir);
    files::check_history(&mut findings, &config.history, &dirs.state_dir);
    let last_event = store.as_ref().map(|store| Duration::from_millis(store.last_event_ms));
    let last_event = last_event.map(|since| SystemTime::UNIX_EPOCH + since);
    findings.add(machine::check_clock(SystemTime::now(), last_event));

    let stored = store.map(|store| store.projects).unwrap_or_default();
    let roots = project_roots(args, &config, stored, daemon.as_ref());
    if roots.is_empty() {
        findings.warning(
            "projects",
            "no project is watched, and the current directory is in none",
            "run `dossierd project add PATH`",
        );
    }
    let need = match &daemon {
        Some(daemon) => daemon.dir_count,
        None => roots.iter().map(|root| files::count_dirs_to_watch(root, &config, &dirs)).sum(),
    };
    machine::check_inotify_limits(&mut findings, Path::new("/proc"), need);
    files::check_file_system(
        &mut findings,
        "state folder",
        &dirs.state_dir,
        files::FileSystemUse::Store,
    );
    for root in &roots {
        files::check_project(&mut findings, root);
        files::check_file_system(&mut findings, "file system", root, files::FileSystemUse::Watched);
        git::check_gitignore(&mut findings, root);
        if !daemon.as_ref().is_some_and(|daemon| daemon.roots.contains(root)) {
            features::scan_features(&mut findings, root);
        }
    }
    service::check_service(&mut findings, &dirs, daemon.as_ref());
    Ok(findings.all)
}

/// Returns the projects that are or would be watched, and that of the current directory.
fn project_roots(
    args: &DoctorArgs,
    config: &Config,
    stored: Vec<PathBuf>,
    daemon: Option<&daemon::DaemonInfo>,
) -> BTreeSet<PathBuf> {
    let mut roots: BTreeSet<PathBuf> = match daemon {
        Some(daemon) => daemon.roots.iter().cloned().collect(),
        None => {
            let configured = config.projects.iter().map(|project| project.path.clone());
            configured.chain(stored).collect()
        }
    };
    // An error here is that the configuration is invalid, which is a finding already.
    roots.extend(Scope::resolve(None, &args.project).ok().and_then(|scope| scope.root));
    roots
}

fn print_findings(findings: &[Finding]) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    for finding in findings {
        let level = match finding.level {
            FindingLevel::Ok => "ok".green().to_string(),
            FindingLevel::Warning => "warning".yellow().to_string(),
            FindingLevel::Error => "error".red().to_string(),
        };
        writeln!(out, "{level}: {}: {}", finding.check, output::printable(&finding.message))?;
        if let Some(fix) = &finding.fix {
            writeln!(out, "    fix: {}", output::printable(fix))?;
        }
    }
    let count = |level, noun: &str| {
        let count = findings.iter().filter(|finding| finding.level == level).count();
        format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
    };
    let errors = count(FindingLevel::Error, "error");
    let warnings = count(FindingLevel::Warning, "warning");
    writeln!(out, "{} checks: {errors}, {warnings}", findings.len())?;
    Ok(out.flush()?)
}

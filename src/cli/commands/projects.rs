//! `dossierd project add|remove|list`: by the daemon where one runs, else in its store.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::json;

use crate::cli::args::{DaemonArgs, ProjectPathArgs, ProjectsArgs, ProjectsCommand};
use crate::cli::daemon::connection::{DaemonConnection, has_problem_status};
use crate::cli::exit::CommandExit;
use crate::cli::render::{output, table};
use crate::cli::scope::root_text;
use crate::cli::user_dirs::user_dirs;
use crate::client::RequestPath;
use crate::config::Config;
use crate::core::identity::root_id;
use crate::core::path::escape_unprintable;
use crate::daemon::{add_project, list_projects, remove_project};
use crate::engine::survey::settings;
use crate::project::{FeatureDir, Machine, locate};
use crate::wire::status::Status;

/// A project, as `--json` prints it.
#[derive(Serialize)]
struct ProjectEntry {
    project: String,
    root: String,
    root_id: String,
}

impl ProjectEntry {
    fn new(root: &Path) -> Self {
        let name = root.file_name().unwrap_or(OsStr::new("/"));
        Self {
            project: root_text(Path::new(name)),
            root: root_text(root),
            root_id: root_id(&Machine::current().id, root.as_os_str().as_bytes()),
        }
    }
}

pub(crate) fn run(args: &ProjectsArgs) -> anyhow::Result<CommandExit> {
    match &args.command {
        ProjectsCommand::Add(args) => add(args),
        ProjectsCommand::Remove(args) => remove(args),
        ProjectsCommand::List(args) => list(args),
    }
}

fn add(args: &ProjectPathArgs) -> anyhow::Result<CommandExit> {
    let folders = user_dirs()?;
    let config = Config::load(&folders.config_file())?;
    let root = find_root(&config, &args.path)?;
    match DaemonConnection::connect_if_running(&args.daemon.socket)? {
        Some(mut link) => {
            let body = serde_json::to_vec(&json!({"path": root_text(&root), "keep": true}))?;
            link.post(&RequestPath::new("/api/projects"), body)?;
        }
        None => {
            add_project(&folders.state_dir, &root)?;
            output::note("no daemon runs; it is watched when one does");
        }
    }
    print_result(&args.daemon, &ProjectEntry::new(&root), "added")
}

fn remove(args: &ProjectPathArgs) -> anyhow::Result<CommandExit> {
    let folders = user_dirs()?;
    let config = Config::load(&folders.config_file())?;
    let root = match find_root(&config, &args.path) {
        Ok(root) => root,
        // What is not there any more may still be known.
        Err(_) if !args.path.exists() => trim_trailing_slashes(&std::path::absolute(&args.path)?),
        Err(error) => return Err(error),
    };
    let shown = root.display();
    if config.find_project(&root).is_some() {
        let file = folders.config_file();
        bail!("{shown} is named in {}; take it out there", file.display());
    }
    match DaemonConnection::connect_if_running(&args.daemon.socket)? {
        Some(mut link) => {
            let target = RequestPath::new("/api/projects").with("project", &root_text(&root));
            match link.delete(&target) {
                Err(error) if has_problem_status(&error, 404) => bail!("{shown} is not watched"),
                answer => answer?,
            };
        }
        None => {
            if !remove_project(&folders.state_dir, &root)? {
                bail!("{shown} was not added; `dossierd project list`");
            }
        }
    }
    print_result(&args.daemon, &ProjectEntry::new(&root), "removed")
}

fn list(args: &DaemonArgs) -> anyhow::Result<CommandExit> {
    let projects = match DaemonConnection::connect_if_running(&args.socket)? {
        Some(mut link) => {
            let status: Status<'_> = link.get_json(&RequestPath::new("/api/status"))?;
            let named = status.projects.iter().map(|project| ProjectEntry {
                project: project.project.to_string(),
                root: project.root.to_string(),
                root_id: project.root_id.to_string(),
            });
            named.collect()
        }
        None => stored_projects()?,
    };
    if args.json {
        output::print_json(&projects)?;
        return Ok(CommandExit::Success);
    }
    let mut out = output::stdout_human();
    if projects.is_empty() {
        writeln!(out, "no projects; `dossierd project add PATH`")?;
    } else {
        let mut table = table::with_headings(&["PROJECT", "ROOT"]);
        for ProjectEntry { project, root, .. } in &projects {
            table.add_row([escape_unprintable(project), escape_unprintable(root)]);
        }
        write!(out, "{}", table::render(table))?;
    }
    out.flush()?;
    Ok(CommandExit::Success)
}

/// What a daemon would watch if one were started now.
fn stored_projects() -> anyhow::Result<Vec<ProjectEntry>> {
    let folders = user_dirs()?;
    let config = Config::load(&folders.config_file())?;
    let configured = config.projects.iter().map(|project| {
        let path = &project.path;
        path.canonicalize().unwrap_or_else(|_| path.clone())
    });
    let mut roots: Vec<PathBuf> = configured.collect();
    // Nothing is made where nothing ever ran.
    if folders.state_dir.exists() {
        roots.extend(list_projects(&folders.state_dir)?);
    }
    roots.sort();
    roots.dedup();
    output::note("no daemon runs; these are watched when one does");
    Ok(roots.iter().map(|root| ProjectEntry::new(root)).collect())
}

/// The root of the project that `path` is in, or `path` itself.
fn find_root(config: &Config, path: &Path) -> anyhow::Result<PathBuf> {
    let canonical = path.canonicalize().with_context(|| path.display().to_string())?;
    if !canonical.is_dir() {
        bail!("{} is no folder", path.display());
    }
    let Ok(located) = locate(&canonical, |root| settings(config, root)) else {
        return Ok(canonical);
    };
    match located.features.as_deref() {
        Some([FeatureDir { path: None, .. }]) => Ok(canonical),
        _ => Ok(located.root),
    }
}

/// An absolute path without a slash at its end.
fn trim_trailing_slashes(path: &Path) -> PathBuf {
    let mut bytes = path.as_os_str().as_bytes().to_vec();
    while bytes.len() > 1 && bytes.ends_with(b"/") {
        bytes.pop();
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn print_result(
    args: &DaemonArgs,
    named: &ProjectEntry,
    what: &str,
) -> anyhow::Result<CommandExit> {
    if args.json {
        output::print_json(named)?;
    } else {
        output::note(&format!("{} {what}", named.root));
    }
    Ok(CommandExit::Success)
}

//! `dossierd project add|remove|list`: through the daemon if one runs, otherwise in its store.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::cli::args::{DaemonArgs, ProjectPathArgs, ProjectsArgs, ProjectsCommand};
use crate::cli::daemon::connection::{DaemonConnection, has_problem_status};
use crate::cli::exit::CommandExit;
use crate::cli::local::target::with_locator;
use crate::cli::render::{output, table};
use crate::cli::scope::root_text;
use crate::cli::user_dirs::user_dirs;
use crate::client::RequestPath;
use crate::config::Config;
use crate::core::identity::root_id;
use crate::core::path::escape_unprintable;
use crate::daemon::{add_project, list_projects, remove_project};
use crate::project::{LoneFeature, Machine};
use crate::wire::status::Status;

/// A project as `--json` prints it.
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
    let dirs = user_dirs()?;
    let config = Config::load_resolved(&dirs.config_file())?;
    let root = find_root(&config, &args.path)?;
    let result = match DaemonConnection::connect_if_running(&args.daemon.socket)? {
        Some(mut connection) => {
            if connection.add_project(&root)? {
                "added"
            } else {
                "watched already:"
            }
        }
        None => {
            let is_known =
                config.find_project(&root).is_some() || list_projects(&dirs)?.contains(&root);
            add_project(&dirs, &root)?;
            output::note("no daemon runs; the next one will watch the project");
            if is_known { "added before:" } else { "added" }
        }
    };
    print_result(&args.daemon, &ProjectEntry::new(&root), result)
}

fn remove(args: &ProjectPathArgs) -> anyhow::Result<CommandExit> {
    let dirs = user_dirs()?;
    let config = Config::load_resolved(&dirs.config_file())?;
    let root = match find_root(&config, &args.path) {
        Ok(root) => root,
        // A project whose directory was deleted may still be stored.
        Err(_) if !args.path.exists() => trim_trailing_slashes(&std::path::absolute(&args.path)?),
        Err(error) => return Err(error),
    };
    let shown = root.display();
    if config.find_project(&root).is_some() {
        let file = dirs.config_file();
        bail!("{shown} is listed in {}; remove it there", file.display());
    }
    match DaemonConnection::connect_if_running(&args.daemon.socket)? {
        Some(mut connection) => {
            let path = RequestPath::new("/api/projects").with("project", &root_text(&root));
            match connection.delete(&path) {
                Err(error) if has_problem_status(&error, 404) => {
                    bail!("{shown} is not watched; see `dossierd project list`")
                }
                response => response?,
            };
        }
        None => {
            if !remove_project(&dirs, &root)? {
                bail!("{shown} is not a stored project; run `dossierd project list` to list them");
            }
        }
    }
    print_result(&args.daemon, &ProjectEntry::new(&root), "removed")
}

fn list(args: &DaemonArgs) -> anyhow::Result<CommandExit> {
    let projects = match DaemonConnection::connect_if_running(&args.socket)? {
        Some(mut connection) => {
            let status: Status<'_> = connection.get_json(&RequestPath::new("/api/status"))?;
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
        writeln!(out, "no projects; run `dossierd project add PATH` to add one")?;
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

/// Returns the projects that a daemon would watch if it were started now.
fn stored_projects() -> anyhow::Result<Vec<ProjectEntry>> {
    let dirs = user_dirs()?;
    let config = Config::load_resolved(&dirs.config_file())?;
    let configured = config.projects.iter().map(|project| project.path.clone());
    let mut roots: Vec<PathBuf> = configured.collect();
    roots.extend(list_projects(&dirs)?);
    roots.sort();
    roots.dedup();
    if !roots.is_empty() {
        output::note("no daemon runs; the next one will watch these projects");
    }
    Ok(roots.iter().map(|root| ProjectEntry::new(root)).collect())
}

/// Returns the root of the project that contains `path`, or `path` itself.
fn find_root(config: &Config, path: &Path) -> anyhow::Result<PathBuf> {
    let canonical =
        path.canonicalize().with_context(|| format!("cannot access {}", path.display()))?;
    if !canonical.is_dir() {
        bail!("{} is not a directory; name the root of a project", path.display());
    }
    let located = with_locator(config, &user_dirs()?.layouts_dir(), |locator| {
        locator.locate(&canonical, LoneFeature::Refuse)
    });
    Ok(located.map_or(canonical, |located| located.root))
}

/// Removes the slashes at the end of a path; `/` is kept.
fn trim_trailing_slashes(path: &Path) -> PathBuf {
    let mut bytes = path.as_os_str().as_bytes().to_vec();
    while bytes.len() > 1 && bytes.ends_with(b"/") {
        bytes.pop();
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn print_result(
    args: &DaemonArgs,
    project: &ProjectEntry,
    result: &str,
) -> anyhow::Result<CommandExit> {
    if args.json {
        output::print_json(project)?;
    } else {
        output::note(&format!("{result} {}", project.root));
    }
    Ok(CommandExit::Success)
}

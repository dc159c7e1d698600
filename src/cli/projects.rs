//! `dossierd project add|remove|list`: by the daemon where one runs, else in its store.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::json;

use super::args::{ProjectListArgs, ProjectPathArgs, ProjectsArgs, ProjectsCommand};
use super::exit::Exit;
use super::link::{Link, folders, is_refusal};
use super::place::root_text;
use super::{out, table};
use crate::client::Target;
use crate::config::Config;
use crate::core::identity::root_id;
use crate::core::path::printable;
use crate::engine::survey::settings;
use crate::project::{FeatureDir, Machine, locate};
use crate::service::{add_project, list_projects, remove_project};
use crate::wire::status::Status;

/// A project, as `--json` prints it.
#[derive(Serialize)]
struct Named {
    project: String,
    root: String,
    root_id: String,
}

impl Named {
    fn new(root: &Path) -> Self {
        let name = root.file_name().unwrap_or(OsStr::new("/"));
        Self {
            project: root_text(Path::new(name)),
            root: root_text(root),
            root_id: root_id(&Machine::this().id, root.as_os_str().as_bytes()),
        }
    }
}

pub(super) fn run(args: &ProjectsArgs) -> anyhow::Result<Exit> {
    match &args.command {
        ProjectsCommand::Add(args) => add(args),
        ProjectsCommand::Remove(args) => remove(args),
        ProjectsCommand::List(args) => list(args),
    }
}

fn add(args: &ProjectPathArgs) -> anyhow::Result<Exit> {
    let folders = folders()?;
    let config = Config::load(&folders.config_file())?;
    let root = meant(&config, &args.path)?;
    match Link::find(&args.list.socket)? {
        Some(mut link) => {
            let body = serde_json::to_vec(&json!({"path": root_text(&root), "keep": true}))?;
            link.post(&Target::new("/api/projects"), body)?;
        }
        None => {
            add_project(&folders.state, &root)?;
            out::note("no daemon runs; it is watched when one does");
        }
    }
    done(&args.list, &Named::new(&root), "added")
}

fn remove(args: &ProjectPathArgs) -> anyhow::Result<Exit> {
    let folders = folders()?;
    let config = Config::load(&folders.config_file())?;
    let root = match meant(&config, &args.path) {
        Ok(root) => root,
        // What is not there any more may still be known.
        Err(_) if !args.path.exists() => plain(&std::path::absolute(&args.path)?),
        Err(error) => return Err(error),
    };
    let shown = root.display();
    if config.project(&root).is_some() {
        let file = folders.config_file();
        bail!("{shown} is named in {}; take it out there", file.display());
    }
    match Link::find(&args.list.socket)? {
        Some(mut link) => {
            let target = Target::new("/api/projects").with("project", &root_text(&root));
            match link.delete(&target) {
                Err(error) if is_refusal(&error, 404) => bail!("{shown} is not watched"),
                answer => answer?,
            };
        }
        None => {
            if !remove_project(&folders.state, &root)? {
                bail!("{shown} was not added; `dossierd project list`");
            }
        }
    }
    done(&args.list, &Named::new(&root), "removed")
}

fn list(args: &ProjectListArgs) -> anyhow::Result<Exit> {
    let projects = match Link::find(&args.socket)? {
        Some(mut link) => {
            let status: Status<'_> = link.read(&Target::new("/api/status"))?;
            let named = status.projects.iter().map(|project| Named {
                project: project.project.to_string(),
                root: project.root.to_string(),
                root_id: project.root_id.to_string(),
            });
            named.collect()
        }
        None => kept()?,
    };
    if args.json {
        out::print_json(&projects)?;
        return Ok(Exit::Done);
    }
    let mut out = out::people();
    if projects.is_empty() {
        writeln!(out, "no projects; `dossierd project add PATH`")?;
    } else {
        let mut table = table::table(&["PROJECT", "ROOT"]);
        for Named { project, root, .. } in &projects {
            table.add_row([printable(project), printable(root)]);
        }
        write!(out, "{}", table::text(table))?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// What a daemon would watch if one were started now.
fn kept() -> anyhow::Result<Vec<Named>> {
    let folders = folders()?;
    let config = Config::load(&folders.config_file())?;
    let configured = config.projects.iter().map(|project| {
        let path = &project.path;
        path.canonicalize().unwrap_or_else(|_| path.clone())
    });
    let mut roots: Vec<PathBuf> = configured.collect();
    // Nothing is made where nothing ever ran.
    if folders.state.exists() {
        roots.extend(list_projects(&folders.state)?);
    }
    roots.sort();
    roots.dedup();
    out::note("no daemon runs; these are watched when one does");
    Ok(roots.iter().map(|root| Named::new(root)).collect())
}

/// The root of the project that `path` is in, or `path` itself.
fn meant(config: &Config, path: &Path) -> anyhow::Result<PathBuf> {
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
fn plain(path: &Path) -> PathBuf {
    let mut bytes = path.as_os_str().as_bytes().to_vec();
    while bytes.len() > 1 && bytes.ends_with(b"/") {
        bytes.pop();
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn done(args: &ProjectListArgs, named: &Named, what: &str) -> anyhow::Result<Exit> {
    if args.json {
        out::print_json(named)?;
    } else {
        out::note(&format!("{} {what}", named.root));
    }
    Ok(Exit::Done)
}

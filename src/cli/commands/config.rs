//! `dossierd config`: what is in force, what is wrong, where it lies, and how to begin.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::cli::args::{ConfigArgs, ConfigCommand, ConfigFileArgs};
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::cli::user_dirs::user_dirs;
use crate::config::{Config, EXAMPLE, LoadedConfig};
use crate::core::diagnostics::FileError;
use crate::core::path::escape_unprintable;

/// What `check --json` says.
#[derive(Serialize)]
struct ConfigReport<'a> {
    path: String,
    state: &'static str,
    errors: &'a [FileError],
    warnings: &'a [String],
}

pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<CommandExit> {
    match &args.command {
        ConfigCommand::Show(args) => show(args),
        ConfigCommand::Check(args) => check(args),
        ConfigCommand::Path => print_path(),
        ConfigCommand::Init => init(),
    }
}

/// The file that is meant. One that is named must be there.
fn config_path(args: &ConfigFileArgs) -> anyhow::Result<PathBuf> {
    match &args.file {
        Some(file) if !file.exists() => bail!("{} is not there", file.display()),
        Some(file) => Ok(file.clone()),
        None => Ok(user_dirs()?.config_file()),
    }
}

fn show(args: &ConfigFileArgs) -> anyhow::Result<CommandExit> {
    let file = config_path(args)?;
    let effective = Config::load(&file)?.effective();
    if args.json {
        output::print_json(&effective)?;
        return Ok(CommandExit::Success);
    }
    if !file.exists() {
        output::note(&format!("{} is not there: these are the defaults", file.display()));
    }
    let text = serde_yaml::to_string(&effective).context("cannot write the configuration")?;
    let mut to = output::stdout_human();
    for line in text.lines() {
        writeln!(to, "{}", escape_unprintable(line))?;
    }
    to.flush()?;
    Ok(CommandExit::Success)
}

fn check(args: &ConfigFileArgs) -> anyhow::Result<CommandExit> {
    let file = config_path(args)?;
    let LoadedConfig { config, state } = LoadedConfig::from_file(&file);
    let warnings = config.as_ref().map(warnings).unwrap_or_default();
    let broken = !state.errors.is_empty();
    if args.json {
        output::print_json(&ConfigReport {
            path: file.display().to_string(),
            state: if broken { "broken" } else { "ok" },
            errors: &state.errors,
            warnings: &warnings,
        })?;
    } else {
        for error in &state.errors {
            output::error(&error.to_string());
        }
        for warning in &warnings {
            output::warn(warning);
        }
        if !broken {
            let there = if file.exists() { "is sound" } else { "is not there: all is default" };
            let mut to = output::stdout_human();
            writeln!(to, "{} {there}", escape_unprintable(&file.display().to_string()))?;
            to.flush()?;
        }
    }
    Ok(if broken { CommandExit::InvalidFile } else { CommandExit::Success })
}

/// What can be said and is most likely not meant.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for (place, project) in config.projects.iter().enumerate() {
        let shown = project.path.display();
        if !project.path.is_dir() {
            warnings.push(format!("projects[{place}]: {shown} is not there, or no folder"));
        }
        if project.features.as_ref().is_some_and(Vec::is_empty) {
            warnings
                .push(format!("projects[{place}]: features is empty: nothing is watched there"));
        }
        let same = |other: &&crate::config::ProjectConfig| other.path == project.path;
        if config.projects[..place].iter().any(|other| same(&other)) {
            warnings.push(format!("projects[{place}]: {shown} is said twice; the first counts"));
        }
    }
    let settle = config.effective_settle();
    if settle.max_ms < settle.quiet_ms {
        warnings.push("settle: max_ms is less than quiet_ms, which then never counts".to_owned());
    }
    warnings
}

fn print_path() -> anyhow::Result<CommandExit> {
    let mut to = output::stdout_human();
    writeln!(to, "{}", escape_unprintable(&user_dirs()?.config_file().display().to_string()))?;
    to.flush()?;
    Ok(CommandExit::Success)
}

/// The example is this version's in any case; what counts is never touched.
fn init() -> anyhow::Result<CommandExit> {
    let file = user_dirs()?.config_file();
    let example = file.with_file_name("config.example.yaml");
    let folder = file.parent().context("the configuration has no folder")?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let shown = example.display().to_string();
    let mut to = output::stdout_human();
    if fs::read_to_string(&example).is_ok_and(|text| text == EXAMPLE) {
        writeln!(to, "{} is there already", escape_unprintable(&shown))?;
    } else {
        let new = example.with_extension("new");
        fs::write(&new, EXAMPLE).with_context(|| shown.clone())?;
        fs::rename(&new, &example).with_context(|| shown.clone())?;
        writeln!(to, "wrote {}", escape_unprintable(&shown))?;
    }
    if !file.exists() {
        let file = file.display().to_string();
        writeln!(
            to,
            "what counts is {}: write there what should differ",
            escape_unprintable(&file)
        )?;
    }
    to.flush()?;
    Ok(CommandExit::Success)
}

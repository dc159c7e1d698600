//! `dossierd config show|check|path|init`: prints or checks the configuration, or writes an example.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::cli::args::{ConfigArgs, ConfigCommand, ConfigFileArgs};
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::cli::replace_file::replace_file;
use crate::cli::user_dirs::user_dirs;
use crate::config::{Config, EXAMPLE, LoadedConfig};
use crate::core::diagnostics::FileError;
use crate::core::path::escape_unprintable;

/// The output of `config check --json`.
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

/// Returns the path of the configuration. A named file must exist.
fn config_path(args: &ConfigFileArgs) -> anyhow::Result<PathBuf> {
    match &args.file {
        Some(file) if !file.exists() => bail!("{} does not exist", file.display()),
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
        output::note(&format!("{} does not exist; these are the defaults", file.display()));
    }
    let text = serde_yaml::to_string(&effective).context("cannot format the configuration")?;
    let mut out = output::stdout_human();
    for line in text.lines() {
        writeln!(out, "{}", escape_unprintable(line))?;
    }
    out.flush()?;
    Ok(CommandExit::Success)
}

fn check(args: &ConfigFileArgs) -> anyhow::Result<CommandExit> {
    let file = config_path(args)?;
    let LoadedConfig { config, state } = LoadedConfig::from_file(&file);
    let warnings = config.as_ref().map(warnings).unwrap_or_default();
    let is_invalid = !state.errors.is_empty();
    if args.json {
        output::print_json(&ConfigReport {
            path: file.display().to_string(),
            state: if is_invalid { "broken" } else { "ok" },
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
        if !is_invalid {
            let result =
                if file.exists() { "is valid" } else { "does not exist; the defaults apply" };
            let mut out = output::stdout_human();
            writeln!(out, "{} {result}", escape_unprintable(&file.display().to_string()))?;
            out.flush()?;
        }
    }
    Ok(if is_invalid { CommandExit::InvalidFile } else { CommandExit::Success })
}

/// Returns settings that are valid and probably mistakes.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, project) in config.projects.iter().enumerate() {
        let path = project.path.display();
        if !project.path.is_dir() {
            warnings
                .push(format!("projects[{index}]: {path} does not exist or is not a directory"));
        }
        if project.features.as_ref().is_some_and(Vec::is_empty) {
            warnings.push(format!(
                "projects[{index}]: `features` is empty, so nothing is watched there"
            ));
        }
        let same = |other: &&crate::config::ProjectConfig| other.path == project.path;
        if config.projects[..index].iter().any(|other| same(&other)) {
            warnings.push(format!(
                "projects[{index}]: {path} is listed twice; only the first entry is used"
            ));
        }
    }
    let settle = config.effective_settle();
    if settle.max_ms < settle.quiet_ms {
        warnings
            .push("settle: max_ms is less than quiet_ms, which therefore has no effect".to_owned());
    }
    warnings
}

fn print_path() -> anyhow::Result<CommandExit> {
    let mut out = output::stdout_human();
    writeln!(out, "{}", escape_unprintable(&user_dirs()?.config_file().display().to_string()))?;
    out.flush()?;
    Ok(CommandExit::Success)
}

/// Writes the example of this version, also over an older one. The configuration is never changed.
fn init() -> anyhow::Result<CommandExit> {
    let file = user_dirs()?.config_file();
    let example = file.with_file_name("config.example.yaml");
    let dir = file.parent().context("the configuration has no directory")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let shown = example.display().to_string();
    let mut out = output::stdout_human();
    if fs::read_to_string(&example).is_ok_and(|text| text == EXAMPLE) {
        writeln!(out, "{} is up to date", escape_unprintable(&shown))?;
    } else {
        replace_file(&example, EXAMPLE)?;
        writeln!(out, "wrote {}", escape_unprintable(&shown))?;
    }
    if !file.exists() {
        let file = file.display().to_string();
        writeln!(
            out,
            "dossierd reads only {}: list there the settings you want to change",
            escape_unprintable(&file)
        )?;
    }
    out.flush()?;
    Ok(CommandExit::Success)
}

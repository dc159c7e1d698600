//! Replaces short names of features in the arguments by their slugs, before a command runs.

use std::ffi::{OsStr, OsString};

use anyhow::bail;

use crate::cli::args::{BaselineCommand, CliCommand, FeatureArgs, HistoryCommand, ProjectArgs};
use crate::cli::local::target::{LocalTarget, is_path};
use crate::cli::render::{labels, output};
use crate::core::feature_name::{NameForms, NameMatch, match_feature};
use crate::core::path::escape_unprintable;

/// No feature is named, and the current directory is in none.
#[derive(Debug, thiserror::Error)]
#[error(
    "no feature is named, and the current directory is in none; name one as FEATURE{0}; see --help"
)]
pub(super) struct NoFeatureNamed(String);

/// Selects the feature of the current directory where none is named.
fn select_current(names: Vec<&mut OsString>, project: &ProjectArgs) -> anyhow::Result<()> {
    for name in names.into_iter().filter(|name| name.is_empty()) {
        let here = LocalTarget::from_feature_name_lenient(OsStr::new("."), project);
        if here.is_err() {
            let known = LocalTarget::slugs_lenient(project);
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let known = if known.is_empty() {
                String::new()
            } else {
                format!(", such as {}", labels::join_truncated(&known))
            };
            return Err(NoFeatureNamed(known).into());
        }
        *name = ".".into();
    }
    Ok(())
}

/// Replaces short names, with a note. A name that selects nothing is left to the command, which reports it, or
/// finds a feature that does not exist any more.
pub(super) fn expand_feature_names(command: &mut CliCommand) -> anyhow::Result<()> {
    // What a command that writes is to change is named.
    if let Some((names, project, NameForms::Any)) = feature_names(command) {
        select_current(names, project)?;
    }
    let Some((names, project, forms)) = feature_names(command) else { return Ok(()) };
    let mut names: Vec<&mut OsString> =
        names.into_iter().filter(|name| !is_path(name) && name.to_str().is_some()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let slugs = LocalTarget::slugs_lenient(project);
    let slugs: Vec<&str> = slugs.iter().map(String::as_str).collect();
    for name in &mut names {
        let text = name.to_string_lossy().into_owned();
        match match_feature(&text, &slugs, forms) {
            NameMatch::One(slug) if slug == text => {}
            NameMatch::One(slug) => {
                // The name may be that of a feature that was deleted.
                output::note(&format!("`{text}` selects {}", escape_unprintable(slug)));
                **name = slug.into();
            }
            NameMatch::Unknown if forms == NameForms::Number => {
                if let NameMatch::One(slug) = match_feature(&text, &slugs, NameForms::Any) {
                    bail!(
                        "`{text}` may be {}; a command that changes something takes the whole slug, a path or \
                         the number",
                        escape_unprintable(slug)
                    )
                }
            }
            NameMatch::Unknown => {}
            NameMatch::Ambiguous(all) => {
                let all = labels::join_truncated(&all);
                bail!("`{text}` is ambiguous: it may be {all}; name more of it")
            }
        }
    }
    Ok(())
}

/// Names of features in the arguments, with the project, and which short forms are accepted.
type FeatureNames<'a> = (Vec<&'a mut OsString>, &'a ProjectArgs, NameForms);

/// Returns the name of one feature.
#[expect(clippy::unnecessary_wraps, reason = "it is the result of one kind of commands")]
fn one(args: &mut FeatureArgs, forms: NameForms) -> Option<FeatureNames<'_>> {
    Some((vec![&mut args.feature], &args.project, forms))
}

fn feature_names(command: &mut CliCommand) -> Option<FeatureNames<'_>> {
    use NameForms::{Any, Number};
    match command {
        CliCommand::Status(args) => {
            Some((args.selection.feature.iter_mut().collect(), &args.selection.project, Any))
        }
        CliCommand::Watch(args) => {
            Some((args.selection.feature.iter_mut().collect(), &args.selection.project, Any))
        }
        CliCommand::Events(args) => Some((args.features.iter_mut().collect(), &args.project, Any)),
        CliCommand::Verify(args) | CliCommand::Rescan(args) => {
            Some((args.feature.iter_mut().collect(), &args.project, Any))
        }
        CliCommand::Artifacts(args) => one(&mut args.feature, Any),
        CliCommand::Show(args) => one(&mut args.feature, Any),
        CliCommand::Drift(args) => one(&mut args.feature, Any),
        CliCommand::Diff(args) => one(&mut args.feature, Any),
        CliCommand::Log(args) => one(&mut args.feature, Any),
        CliCommand::Report(args) => one(&mut args.feature, Any),
        CliCommand::Restore(args) => one(&mut args.feature, Number),
        CliCommand::Baseline(args) => match &mut args.command {
            BaselineCommand::Accept(args) => {
                Some((args.features.iter_mut().collect(), &args.project, Number))
            }
            BaselineCommand::Show(args) | BaselineCommand::Log(args) => one(args, Any),
            BaselineCommand::Clear(args) => one(args, Number),
        },
        CliCommand::History(args) => match &mut args.command {
            HistoryCommand::Purge(args) => {
                Some((args.feature.iter_mut().collect(), &args.project, Number))
            }
            HistoryCommand::Status(_) => None,
        },
        _ => None,
    }
}

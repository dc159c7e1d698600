//! Replaces short names of features in the arguments by their slugs, before a command runs.

use std::ffi::OsString;

use anyhow::bail;

use crate::cli::args::{BaselineCommand, CliCommand, HistoryCommand, ProjectArgs};
use crate::cli::local::target::{LocalTarget, is_path};
use crate::cli::render::output;
use crate::core::feature_name::{NameForms, NameMatch, match_feature};
use crate::core::path::escape_unprintable;

/// Replaces short names, with a note. A name that selects nothing is left to the command, which reports it, or
/// finds a feature that does not exist any more.
pub(super) fn expand_feature_names(command: &mut CliCommand) -> anyhow::Result<()> {
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
            NameMatch::Unknown => {}
            NameMatch::Ambiguous(all) => {
                bail!("`{text}` is ambiguous: it may be {}; name more of it", all.join(", "))
            }
        }
    }
    Ok(())
}

/// Returns the names of features in the arguments, with the project, and which short forms are accepted.
fn feature_names(
    command: &mut CliCommand,
) -> Option<(Vec<&mut OsString>, &ProjectArgs, NameForms)> {
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
        CliCommand::Artifacts(args) => {
            Some((vec![&mut args.feature.feature], &args.feature.project, Any))
        }
        CliCommand::Show(args) => {
            Some((vec![&mut args.feature.feature], &args.feature.project, Any))
        }
        CliCommand::Drift(args) => {
            Some((vec![&mut args.feature.feature], &args.feature.project, Any))
        }
        CliCommand::Diff(args) => {
            Some((vec![&mut args.feature.feature], &args.feature.project, Any))
        }
        CliCommand::Log(args) => {
            Some((vec![&mut args.feature.feature], &args.feature.project, Any))
        }
        CliCommand::Report(args) => {
            Some((vec![&mut args.feature.feature], &args.feature.project, Any))
        }
        CliCommand::Restore(args) => {
            Some((vec![&mut args.feature.feature], &args.feature.project, Number))
        }
        CliCommand::Baseline(args) => match &mut args.command {
            BaselineCommand::Accept(args) => {
                Some((args.features.iter_mut().collect(), &args.project, Number))
            }
            BaselineCommand::Show(args) | BaselineCommand::Log(args) => {
                Some((vec![&mut args.feature], &args.project, Any))
            }
            BaselineCommand::Clear(args) => Some((vec![&mut args.feature], &args.project, Number)),
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

//! The command line: parses arguments, runs a command, prints its result and sets the exit code.
//!
//! Each command has one file or directory in `commands`; `render` formats what they print. Data is
//! written to standard output, everything else to standard error. Text from files and from the
//! daemon is escaped before it is printed.

mod agent_hook;
mod args;
mod artifact_filters;
mod artifact_names;
mod commands;
mod completion;
mod daemon;
mod evaluation;
mod exec;
mod exit;
mod exit_on_signal;
mod feature_names;
#[cfg(test)]
mod fuzz_corpora;
mod local;
#[cfg(feature = "mcp")]
mod mcp;
mod notify;
mod output_file;
mod render;
mod replace_file;
mod runtime;
mod scope;
#[cfg(feature = "top")]
mod top;
mod user_dirs;

use std::process::ExitCode;

use crate::core::diagnostics::FileError;
use crate::core::history::revision::RevisionError;
use crate::core::path::is_unprintable;
use crate::history::restore::RestorePlanError;
use crate::history::states::PastStateError;
use crate::project::{GitError, LocateError};
use crate::wire::hint::HintCode;
use args::{Cli, CliCommand, Color};
use artifact_filters::UnknownFilterValue;
use exit::CommandExit;
use feature_names::NoFeatureNamed;

/// Parses the arguments of this process and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    // First, because it also applies to errors about the arguments.
    Color::from_raw_args(std::env::args_os().skip(1)).apply();
    let mut cli = match Cli::parse_args() {
        Ok(cli) => cli,
        Err(error) => return report_usage_error(&error),
    };
    cli.color.apply();
    if cli.utc {
        render::time_text::set_utc();
    }
    if cli.quiet {
        render::output::set_quiet();
    }
    if let Some(directory) = &cli.directory
        && let Err(error) = std::env::set_current_dir(directory)
    {
        let text = format!("cannot change to the directory {}: {error}", directory.display());
        render::output::error(&text);
        return CommandExit::Usage.into();
    }
    crate::scan::raise_descriptor_limit();
    if cli.can_use_pager() {
        render::pager::enable(render::terminal::size(), render::output::warn);
    }
    let expanded = feature_names::expand_feature_names(&mut cli.command);
    let exit = expanded.and_then(|()| dispatch(&cli)).unwrap_or_else(|error| report_error(&error));
    render::pager::finish();
    exit.into()
}

/// Prints what is wrong with the arguments, or the requested help or version.
///
/// Clap repeats arguments unescaped, and a shell may have expanded file names into them; with
/// unprintable characters the text is printed escaped and without colour.
fn report_usage_error(error: &clap::Error) -> ExitCode {
    let mut arguments = std::env::args_os();
    let is_printable =
        arguments.all(|argument| !argument.to_string_lossy().contains(is_unprintable));
    // A closed stream is not an error: there is nowhere to report it.
    if is_printable {
        let text = error.render().ansi().to_string();
        let _ = if error.use_stderr() {
            render::output::eprint_styled(&text)
        } else {
            render::output::print_styled(&text)
        };
    } else {
        render::output::eprint_line(
            render::output::printable_lines(&error.render().to_string()).trim_end(),
        );
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
}

fn dispatch(cli: &Cli) -> anyhow::Result<CommandExit> {
    match &cli.command {
        CliCommand::Run(args) => commands::run::run(args),
        CliCommand::Status(args) => commands::status::run(args),
        CliCommand::Watch(args) => commands::watch::run(args),
        #[cfg(feature = "top")]
        CliCommand::Top(args) => commands::top::run(args),
        CliCommand::Events(args) => commands::events::run(args),
        CliCommand::Verify(args) => commands::verify::run(args),
        CliCommand::Rescan(args) => commands::rescan::run(args),
        CliCommand::Project(args) => commands::projects::run(args),
        CliCommand::Dashboard(args) => commands::dashboard::run(args),
        CliCommand::Stop(args) => commands::stop::run(args),
        CliCommand::Scan(args) => commands::scan::run(args),
        CliCommand::Check(args) => commands::check::run(args),
        CliCommand::Artifacts(args) => commands::artifacts::run(args),
        CliCommand::Show(args) => commands::show::run(args),
        CliCommand::Drift(args) => commands::drift::run(args),
        CliCommand::Diff(args) => {
            commands::diff::run(args).or_else(|error| Ok(report_diff_error(&error)))
        }
        CliCommand::Log(args) => commands::log::run(args),
        CliCommand::Restore(args) => commands::restore::run(args),
        CliCommand::History(args) => commands::history::run(args),
        CliCommand::Report(args) => commands::report::run(args),
        CliCommand::Baseline(args) => commands::baseline::run(args),
        CliCommand::Service(args) => commands::service::run(args),
        CliCommand::Config(args) => commands::config::run(args),
        CliCommand::Init(args) => commands::init::run(args),
        CliCommand::Layouts(args) => commands::layouts::run(args),
        CliCommand::Doctor(args) => commands::doctor::run(args),
        CliCommand::Delivery(args) => commands::delivery::run(args),
        #[cfg(feature = "mcp")]
        CliCommand::Mcp(args) => commands::mcp::run(args),
        CliCommand::AgentHook(args) => commands::agent_hook::run(args),
        CliCommand::CompleteWord(args) => commands::complete_word::run(args),
        CliCommand::Completions(args) => commands::completions::print_completions(args),
        CliCommand::Man(args) => commands::completions::print_man_page(args),
    }
}

/// Prints an error of `diff`, whose exit code 1 means that there is a difference.
fn report_diff_error(error: &anyhow::Error) -> CommandExit {
    match report_error(error) {
        CommandExit::Failed => CommandExit::Usage,
        exit => exit,
    }
}

/// Prints the error and returns the exit code for it. A closed pipe is not an error: the reader
/// does not want more.
fn report_error(error: &anyhow::Error) -> CommandExit {
    if render::output::is_closed_pipe(error) {
        return CommandExit::Success;
    }
    let locate_error = error.chain().find_map(|cause| cause.downcast_ref::<LocateError>());
    render::output::error(&match locate_error {
        // All markers are too many for a message.
        Some(LocateError::NotRecognised { path, .. }) => format!(
            "{} is in no project: no layout recognises it or a directory above it; `dossierd layouts` lists what is \
             looked for; use `--feature` if it is a feature by itself, or `dossierd init --layout NAME` to make it a \
             project",
            path.display()
        ),
        _ => format!("{error:#}"),
    });
    if daemon::connection::is_unreachable(error) {
        return CommandExit::NoDaemon;
    }
    let is_unnamed = error.chain().any(|cause| {
        cause.downcast_ref::<NoFeatureNamed>().is_some()
            || cause.downcast_ref::<UnknownFilterValue>().is_some()
    });
    if is_unnamed || matches!(locate_error, Some(LocateError::NotRecognised { .. })) {
        return CommandExit::Usage;
    }
    if error.chain().any(|cause| cause.downcast_ref::<GitError>().is_some()) {
        return CommandExit::Usage;
    }
    let is_revision = error.chain().any(|cause| {
        cause.downcast_ref::<PastStateError>().is_some()
            || cause.downcast_ref::<RestorePlanError>().is_some()
            || cause.downcast_ref::<RevisionError>().is_some()
    });
    let hints = [HintCode::InvalidRevision, HintCode::NoSuchVersion];
    if is_revision || hints.into_iter().any(|hint| daemon::connection::has_hint(error, hint)) {
        return CommandExit::Usage;
    }
    let is_invalid = error.chain().any(|cause| cause.downcast_ref::<FileError>().is_some())
        || daemon::connection::has_hint(error, HintCode::InvalidConfiguration);
    if is_invalid { CommandExit::InvalidFile } else { CommandExit::Failed }
}

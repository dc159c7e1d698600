//! The command line: parses, dispatches, prints, and says with which code to exit.
//!
//! One file per command; what is fetched is apart from how it is shown. Data goes to standard
//! output, all else to standard error, and nothing foreign reaches either unescaped.

mod args;
mod artifacts;
mod asked;
mod baseline;
mod check;
mod config_cmd;
mod dashboard;
mod delivery;
mod doctor;
mod drift;
mod ending;
mod events;
mod exit;
mod generate;
mod glance;
mod happening;
mod heap;
mod journal;
mod link;
mod logging;
mod out;
mod place;
mod projects;
mod report;
mod rescan;
mod run;
mod scan;
mod service;
mod show;
mod start;
mod status;
mod stop;
mod table;
mod target;
mod terminal;
mod unit;
mod verify;
mod watch;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use crate::core::findings::FileError;
use crate::core::path::is_unprintable;
use args::{Cli, CliCommand, Color};
use exit::CommandExit;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    // Also of what is wrong with them.
    Color::from_raw_args(std::env::args_os().skip(1)).apply();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report_usage_error(&error),
    };
    cli.color.apply();
    crate::scan::raise_descriptor_limit();
    match dispatch(&cli) {
        Ok(exit) => exit.into(),
        Err(error) => report_error(&error).into(),
    }
}

/// Says what is wrong with the command line, or prints the help or version that was asked for.
/// What a shell made of file names is foreign too, and clap gives arguments back as they are.
fn report_usage_error(error: &clap::Error) -> ExitCode {
    let mut arguments = std::env::args_os();
    let plain = arguments.all(|argument| !argument.to_string_lossy().contains(is_unprintable));
    // There is no one to tell where the stream is closed.
    if plain {
        let text = error.render().ansi().to_string();
        let _ =
            if error.use_stderr() { out::eprint_styled(&text) } else { out::print_styled(&text) };
    } else {
        out::eprint_line(out::printable_lines(&error.render().to_string()).trim_end());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
}

fn dispatch(cli: &Cli) -> anyhow::Result<CommandExit> {
    match &cli.command {
        CliCommand::Run(args) => run::run(args),
        CliCommand::Status(args) => status::run(args),
        CliCommand::Watch(args) => watch::run(args),
        CliCommand::Events(args) => events::run(args),
        CliCommand::Verify(args) => verify::run(args),
        CliCommand::Rescan(args) => rescan::run(args),
        CliCommand::Project(args) => projects::run(args),
        CliCommand::Dashboard(args) => dashboard::run(args),
        CliCommand::Stop(args) => stop::run(args),
        CliCommand::Scan(args) => scan::run(args),
        CliCommand::Check(args) => check::run(args),
        CliCommand::Artifacts(args) => artifacts::run(args),
        CliCommand::Show(args) => show::run(args),
        CliCommand::Drift(args) => drift::run(args),
        CliCommand::Report(args) => report::run(args),
        CliCommand::Baseline(args) => baseline::run(args),
        CliCommand::Service(args) => service::run(args),
        CliCommand::Config(args) => config_cmd::run(args),
        CliCommand::Doctor(args) => doctor::run(args),
        CliCommand::Delivery(args) => delivery::run(args),
        CliCommand::Completions(args) => generate::print_completions(args),
        CliCommand::Man(args) => generate::print_man_page(args),
    }
}

/// Says what went wrong. A reader that has seen enough and closed the pipe is nothing wrong.
fn report_error(error: &anyhow::Error) -> CommandExit {
    if out::is_closed_pipe(error) {
        return CommandExit::Success;
    }
    out::error(&format!("{error:#}"));
    if link::is_unreachable(error) {
        return CommandExit::NoDaemon;
    }
    let broken_file = error.chain().find_map(|cause| cause.downcast_ref::<FileError>());
    if broken_file.is_some() { CommandExit::InvalidFile } else { CommandExit::Failed }
}

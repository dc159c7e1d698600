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
use args::{Cli, Color, Command};
use exit::Exit;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    // Also of what is wrong with them.
    Color::said_in(std::env::args_os().skip(1)).apply();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    cli.color.apply();
    crate::scan::raise_descriptor_limit();
    match run(&cli) {
        Ok(exit) => exit.into(),
        Err(error) => report(&error).into(),
    }
}

/// Says what is wrong with the command line, or prints the help or version that was asked for.
/// What a shell made of file names is foreign too, and clap gives arguments back as they are.
fn refuse(error: &clap::Error) -> ExitCode {
    let mut arguments = std::env::args_os();
    let plain = arguments.all(|argument| !argument.to_string_lossy().contains(is_unprintable));
    // There is no one to tell where the stream is closed.
    if plain {
        let text = error.render().ansi().to_string();
        let _ = if error.use_stderr() { out::say_as_is(&text) } else { out::print_as_is(&text) };
    } else {
        out::say(out::printable_lines(&error.render().to_string()).trim_end());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
}

fn run(cli: &Cli) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Status(args) => status::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Events(args) => events::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Rescan(args) => rescan::run(args),
        Command::Project(args) => projects::run(args),
        Command::Dashboard(args) => dashboard::run(args),
        Command::Stop(args) => stop::run(args),
        Command::Scan(args) => scan::run(args),
        Command::Check(args) => check::run(args),
        Command::Artifacts(args) => artifacts::run(args),
        Command::Show(args) => show::run(args),
        Command::Drift(args) => drift::run(args),
        Command::Report(args) => report::run(args),
        Command::Baseline(args) => baseline::run(args),
        Command::Service(args) => service::run(args),
        Command::Config(args) => config_cmd::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Delivery(args) => delivery::run(args),
        Command::Completions(args) => generate::completions(args),
        Command::Man(args) => generate::man(args),
    }
}

/// Says what went wrong. A reader that has seen enough and closed the pipe is nothing wrong.
fn report(error: &anyhow::Error) -> Exit {
    if out::is_closed_pipe(error) {
        return Exit::Done;
    }
    out::error(&format!("{error:#}"));
    if link::is_unreachable(error) {
        return Exit::NoDaemon;
    }
    let broken_file = error.chain().find_map(|cause| cause.downcast_ref::<FileError>());
    if broken_file.is_some() { Exit::BrokenFile } else { Exit::Failed }
}

//! The command line: parses, dispatches, prints, and says with which code to exit.
//!
//! One file per command; what is fetched is apart from how it is shown. Data goes to standard
//! output, all else to standard error, and nothing foreign reaches either unescaped.

mod args;
mod artifacts;
mod baseline;
mod check;
mod drift;
mod exit;
mod generate;
mod out;
mod scan;
mod show;
mod table;
mod target;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use crate::core::findings::FileError;
use args::{Cli, Command};
use exit::Exit;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.color.apply();
    crate::scan::raise_descriptor_limit();
    match run(&cli) {
        Ok(exit) => exit.into(),
        Err(error) => report(&error).into(),
    }
}

fn run(cli: &Cli) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Scan(args) => scan::run(args),
        Command::Check(args) => check::run(args),
        Command::Artifacts(args) => artifacts::run(args),
        Command::Show(args) => show::run(args),
        Command::Drift(args) => drift::run(args),
        Command::Baseline(args) => baseline::run(args),
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
    if error.chain().any(<dyn std::error::Error + 'static>::is::<FileError>) {
        Exit::BrokenFile
    } else {
        Exit::Failed
    }
}

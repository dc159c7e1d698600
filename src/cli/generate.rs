//! `dossierd completions` and `dossierd man`: made from the commands' own descriptions.

use std::fs;
use std::io::Write as _;

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::args::{Cli, CompletionsArgs, ManArgs};
use super::exit::CommandExit;
use super::out;

pub(super) fn print_completions(args: &CompletionsArgs) -> anyhow::Result<CommandExit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dossierd", &mut script);
    let mut out = out::stdout_machine();
    out.write_all(&script)?;
    out.flush()?;
    Ok(CommandExit::Success)
}

pub(super) fn print_man_page(args: &ManArgs) -> anyhow::Result<CommandExit> {
    let command = Cli::command();
    if let Some(dir) = &args.dir {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        clap_mangen::generate_to(command, dir).with_context(|| dir.display().to_string())?;
        return Ok(CommandExit::Success);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    let mut out = out::stdout_machine();
    out.write_all(&page)?;
    out.flush()?;
    Ok(CommandExit::Success)
}

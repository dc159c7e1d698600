//! `dossierd completions` and `dossierd man`: generated from the definitions of the arguments.

use std::fs;
use std::io::Write as _;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::cli::args::{Cli, CompletionsArgs, ManArgs};
use crate::cli::exit::CommandExit;
use crate::cli::render::output;

pub(crate) fn print_completions(args: &CompletionsArgs) -> anyhow::Result<CommandExit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dossierd", &mut script);
    let mut out = output::stdout_machine();
    out.write_all(&script)?;
    out.flush()?;
    Ok(CommandExit::Success)
}

pub(crate) fn print_man_page(args: &ManArgs) -> anyhow::Result<CommandExit> {
    let command = Cli::command();
    if let Some(dir) = &args.dir {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        clap_mangen::generate_to(command, dir)
            .with_context(|| format!("cannot write the manual pages to {}", dir.display()))?;
        return Ok(CommandExit::Success);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    let mut out = output::stdout_machine();
    out.write_all(&page)?;
    out.flush()?;
    Ok(CommandExit::Success)
}

//! `dossierd completions` and `dossierd man`: generated from the definitions of the arguments.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::args::{Cli, CompletionsArgs, ManArgs, examples_of};
use crate::cli::completion::script;
use crate::cli::exit::CommandExit;
use crate::cli::render::output;

pub(crate) fn print_completions(args: &CompletionsArgs) -> anyhow::Result<CommandExit> {
    let script = script(args.shell, &mut Cli::command());
    let mut out = output::stdout_machine();
    out.write_all(script.as_bytes())?;
    out.flush()?;
    Ok(CommandExit::Success)
}

pub(crate) fn print_man_page(args: &ManArgs) -> anyhow::Result<CommandExit> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    if let Some(dir) = &args.dir {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        write_pages(&command, "", dir)
            .with_context(|| format!("cannot write the manual pages to {}", dir.display()))?;
        return Ok(CommandExit::Success);
    }
    let page = man_page(&command, "")?;
    let mut out = output::stdout_machine();
    out.write_all(&page)?;
    out.flush()?;
    Ok(CommandExit::Success)
}

/// Writes the pages of a command and its subcommands.
fn write_pages(command: &clap::Command, words: &str, dir: &Path) -> io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write_pages(sub, format!("{words} {}", sub.get_name()).trim_start(), dir)?;
    }
    let name = Man::new(command.clone()).get_filename();
    fs::write(dir.join(name), man_page(command, words)?)
}

/// Returns the page of a command: what its arguments define, then the sections that are the same for all, and its
/// examples.
fn man_page(command: &clap::Command, words: &str) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    let mut roff = Roff::new();
    for (title, entries) in
        [("EXIT STATUS", EXIT_STATUS), ("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT)]
    {
        roff.control("SH", [title]);
        push_entries(&mut roff, entries, "");
    }
    roff.control("SH", ["EXAMPLES"]);
    push_entries(&mut roff, examples_of(words), "dossierd ");
    roff.to_writer(&mut page)?;
    Ok(page)
}

fn push_entries(roff: &mut Roff, entries: &[(&str, &str)], prefix: &str) {
    for (name, text) in entries {
        roff.control("TP", []);
        roff.text([bold(format!("{prefix}{name}"))]);
        roff.text([roman(*text)]);
    }
}

/// Exit codes of all commands; those of one command are in its description.
const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Success."),
    ("1", "Failure; also: verify, diff or doctor found something, restore left files out."),
    ("2", "Wrong usage; a path that no layout recognises; a revision that is none or is not kept."),
    ("3", "The command needs a daemon, and none responds."),
    ("10, 11, 12", "check and status --short: a feature is incomplete, has drifted, or both."),
    ("13", "Something cannot be examined or synchronised."),
    ("78", "A manifest, a meta.json or the configuration is invalid."),
];

const FILES: &[(&str, &str)] = &[
    (
        "$XDG_CONFIG_HOME/dossierd/config.yaml",
        "Configuration of the user; ~/.config without the variable.",
    ),
    (
        "$XDG_STATE_HOME/dossierd/",
        "Index, journal and stored versions; ~/.local/state without the variable.",
    ),
    ("$XDG_RUNTIME_DIR/dossierd/dossierd.sock", "Socket of the daemon."),
    (".dossierd/config.yaml", "Configuration of a project, which its team commits."),
    (".dossierd/baselines/", "Baselines that the team shares."),
    (".kittify/dossiers/, .dossierd/dossiers/", "Baselines of this machine, and snapshots."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("DOSSIERD_SOCKET", "Socket of the daemon; --socket takes precedence."),
    ("DOSSIERD_LOG", "Log filter of the daemon."),
    (
        "DOSSIERD_PAGER, PAGER",
        "Pager for long output on a terminal; less by default, none if empty.",
    ),
    ("NO_COLOR, CLICOLOR_FORCE", "Output without colour, or always with colour."),
    ("HOME, XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR", "Where the files are."),
];

//! `dossierd complete-word`: what the completion scripts run. It prints candidates for the last word and ends with 1 if
//! there are none, so that the shell completes the word in another way.

use std::io::Write as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::CommandFactory as _;

use crate::cli::args::{Cli, CompleteWordArgs, CompletingShell};
use crate::cli::completion::{BashLine, CompletionCandidate, TypedArguments, find_candidates};
use crate::cli::exit::CommandExit;
use crate::cli::render::output;

/// Time after which the shell is not kept waiting any longer. Unoptimized builds, with which tests are made, need more.
const ANSWER_TIMEOUT: Duration =
    Duration::from_millis(if cfg!(debug_assertions) { 10_000 } else { 150 });

pub(crate) fn run(args: &CompleteWordArgs) -> anyhow::Result<CommandExit> {
    output::set_quiet();
    let texts: Vec<String> =
        args.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (words, bash) = match args.shell {
        CompletingShell::Bash => {
            let text = |at: usize| texts.get(at).map_or("", String::as_str);
            let line = BashLine::parse(text(0), text(1));
            (line.words.clone(), Some(line))
        }
        CompletingShell::Zsh | CompletingShell::Fish => (texts, None),
    };
    let mut program = Cli::command();
    program.build();
    let typed = TypedArguments::parse(&program, &words);
    if typed.kind.is_none() {
        return Ok(CommandExit::Failed);
    }
    // Fish completes the value of an option without the option.
    let has_prefix = args.shell != CompletingShell::Fish;
    let prefix = if has_prefix { typed.prefix.clone() } else { String::new() };
    let (sender, answer) = mpsc::channel();
    let finding = move || drop(sender.send(find_candidates(&typed)));
    thread::Builder::new().name("complete-word".to_owned()).spawn(finding)?;
    let found = answer.recv_timeout(ANSWER_TIMEOUT).unwrap_or_default();
    let lines: Vec<String> = found
        .iter()
        .filter_map(|CompletionCandidate { value, description }| {
            let word = format!("{prefix}{value}");
            match &bash {
                Some(line) => line.insertion(&word),
                None => Some(format!("{word}\t{description}")),
            }
        })
        .collect();
    if lines.is_empty() {
        return Ok(CommandExit::Failed);
    }
    let mut out = output::stdout_machine();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(CommandExit::Success)
}

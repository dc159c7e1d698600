//! The formats of `check`, and where each is written.
//!
//! `-o` belongs to the `--format` before it, which clap cannot express: both are parsed here.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueEnum};

/// A format of the result of `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum CheckFormat {
    /// For people
    Text,
    /// One JSON object
    Json,
    /// Annotations of GitHub Actions
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML: a test case for each feature
    Junit,
    /// Markdown, for a summary or a comment
    Markdown,
}

/// The formats that are written, each with its file; `None` is standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct CheckOutputs(pub(in crate::cli) Vec<(CheckFormat, Option<PathBuf>)>);

impl CheckOutputs {
    /// Returns true if standard output is JSON.
    pub(in crate::cli) fn has_json(&self) -> bool {
        self.0.iter().any(|(format, file)| *format == CheckFormat::Json && file.is_none())
    }

    /// Returns true if text is written to standard output, and nothing else is written.
    pub(in crate::cli) fn is_text_only(&self) -> bool {
        self.0.iter().all(|(format, file)| *format == CheckFormat::Text && file.is_none())
    }
}

impl CheckFormat {
    /// Returns true if nothing else may be in the same file.
    fn is_document(self) -> bool {
        matches!(self, Self::Json | Self::Sarif | Self::Junit)
    }
}

impl Args for CheckOutputs {
    fn augment_args(command: Command) -> Command {
        let format = Arg::new("format")
            .long("format")
            .value_name("FORMAT")
            .value_parser(clap::value_parser!(CheckFormat))
            .action(ArgAction::Append)
            .help("Format of the result; can be repeated [default: text]");
        let output = Arg::new("output")
            .long("output")
            .short('o')
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .action(ArgAction::Append)
            .help("Write the format before it to a file; `-` is standard output");
        let json = Arg::new("json")
            .long("json")
            .short('j')
            .action(ArgAction::SetTrue)
            .conflicts_with("format")
            .help("Print JSON, as `--format json`");
        command.arg(format).arg(output).arg(json)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for CheckOutputs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut formats: Vec<(usize, CheckFormat)> = indexed(matches, "format");
        if formats.is_empty() {
            let json = matches.get_flag("json");
            formats.push((0, if json { CheckFormat::Json } else { CheckFormat::Text }));
        }
        let files: Vec<(usize, PathBuf)> = indexed(matches, "output");
        assign(&formats, &files)
            .map(Self)
            .map_err(|message| clap::Error::raw(ErrorKind::ArgumentConflict, message + "\n"))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Returns the values of an argument with their positions on the command line.
fn indexed<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Vec<(usize, T)> {
    let indices = matches.indices_of(id).into_iter().flatten();
    let values = matches.get_many::<T>(id).into_iter().flatten();
    indices.zip(values.cloned()).collect()
}

/// Assigns each file to the format before it; if there are as many files as formats, in their order.
fn assign(
    formats: &[(usize, CheckFormat)],
    files: &[(usize, PathBuf)],
) -> Result<Vec<(CheckFormat, Option<PathBuf>)>, String> {
    let is_paired = formats.len() == files.len();
    let mut outputs: Vec<(CheckFormat, Option<PathBuf>)> =
        formats.iter().map(|(_, format)| (*format, None)).collect();
    for (number, (position, file)) in files.iter().enumerate() {
        let before = formats.iter().rposition(|(at, _)| at < position);
        let index = if is_paired { number } else { before.unwrap_or_default() };
        let Some((_, target)) = outputs.get_mut(index) else { continue };
        if target.replace(file.clone()).is_some() {
            return Err(format!(
                "`-o {}`: the format before it has a file already; write `--format FORMAT -o FILE` for \
                 each",
                file.display()
            ));
        }
    }
    for (_, file) in &mut outputs {
        if file.as_ref().is_some_and(|file| file.as_os_str() == "-") {
            *file = None;
        }
    }
    let on_stdout = || outputs.iter().filter(|(_, file)| file.is_none());
    if on_stdout().count() > 1 && on_stdout().any(|(format, _)| format.is_document()) {
        return Err(
            "`json`, `sarif` and `junit` cannot share standard output with another format; add \
                    `-o FILE`"
                .to_owned(),
        );
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::CheckFormat::{Github, Json, Junit, Sarif, Text};
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct TestCommand {
        #[command(flatten)]
        outputs: CheckOutputs,
    }

    fn parse(text: &str) -> Result<Vec<(CheckFormat, Option<&'static str>)>, ErrorKind> {
        let arguments = ["x"].into_iter().chain(text.split_whitespace());
        let parsed: Result<TestCommand, _> = clap::Parser::try_parse_from(arguments);
        let name = |file: PathBuf| match file.to_str() {
            Some("a") => "a",
            Some("b") => "b",
            _ => panic!("{}", file.display()),
        };
        let outputs = parsed.map_err(|error| error.kind())?.outputs.0;
        Ok(outputs.into_iter().map(|(format, file)| (format, file.map(name))).collect())
    }

    #[test]
    fn each_file_belongs_to_the_format_before_it() {
        for (text, expected) in [
            ("", vec![(Text, None)]),
            ("--json", vec![(Json, None)]),
            ("-o a", vec![(Text, Some("a"))]),
            ("--json -o a", vec![(Json, Some("a"))]),
            ("-o a --format sarif", vec![(Sarif, Some("a"))]),
            ("--format text --format sarif -o a", vec![(Text, None), (Sarif, Some("a"))]),
            ("--format sarif -o a --format text", vec![(Sarif, Some("a")), (Text, None)]),
            (
                "--format sarif --format junit -o a -o b",
                vec![(Sarif, Some("a")), (Junit, Some("b"))],
            ),
            ("--format text --format github", vec![(Text, None), (Github, None)]),
            ("--format sarif -o -", vec![(Sarif, None)]),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn documents_are_alone_in_their_file() {
        for text in [
            "--format json --format text",
            "--format sarif --format junit",
            "--format text -o a -o b",
            "--json --format text",
        ] {
            assert_eq!(parse(text), Err(ErrorKind::ArgumentConflict), "{text}");
        }
        assert_eq!(parse("--format xml"), Err(ErrorKind::InvalidValue));
    }
}

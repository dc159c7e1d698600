//! Standard output and standard error: colour where it is wanted, nothing that a terminal must not
//! receive, and no panic when a reader goes away.

use std::io::{self, BufWriter, Write as _};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use owo_colors::OwoColorize as _;

use crate::core::path::{escape_unprintable, is_unprintable};
use crate::wire::json;

/// Standard output for people: colours are taken out where they are not wanted.
pub(crate) fn stdout_human() -> BufWriter<AutoStream<io::StdoutLock<'static>>> {
    BufWriter::new(auto_stream(io::stdout().lock()))
}

/// Text in colours for standard output.
pub(crate) fn print_styled(text: &str) -> io::Result<()> {
    let mut out = stdout_human();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Text in colours for standard error.
pub(crate) fn eprint_styled(text: &str) -> io::Result<()> {
    auto_stream(io::stderr().lock()).write_all(text.as_bytes())
}

/// Whether `stream` shows colours. `anstream` takes any `CLICOLOR_FORCE` for a yes, also `0`.
pub(crate) fn color_choice<S: RawStream + io::IsTerminal>(stream: &S) -> ColorChoice {
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|said| said == value);
    if ColorChoice::global() != ColorChoice::Auto || !is("CLICOLOR_FORCE", "0") {
        return AutoStream::choice(stream);
    }
    let refused = std::env::var_os("NO_COLOR").is_some_and(|said| !said.is_empty())
        || is("CLICOLOR", "0")
        || is("TERM", "dumb")
        || std::env::var_os("TERM").is_none();
    if !refused && io::IsTerminal::is_terminal(stream) {
        ColorChoice::Always
    } else {
        ColorChoice::Never
    }
}

/// `stream`, from which colours are taken out where they are not wanted.
pub(crate) fn auto_stream<S: RawStream + io::IsTerminal>(stream: S) -> AutoStream<S> {
    let choice = color_choice(&stream);
    AutoStream::new(stream, choice)
}

/// Standard output for programs.
pub(crate) fn stdout_machine() -> BufWriter<io::StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// Prints one JSON object on a line.
pub(crate) fn print_json(value: &impl serde::Serialize) -> io::Result<()> {
    let mut out = stdout_machine();
    out.write_all(&json::to_line(value)?)?;
    out.flush()
}

/// Prints an answer as it came.
pub(crate) fn print_body(body: &[u8]) -> io::Result<()> {
    let mut out = stdout_machine();
    out.write_all(body)?;
    out.flush()
}

/// Says something beside the data.
pub(crate) fn note(text: &str) {
    eprint_line(&format!("{} {}", "note:".bold().cyan(), escape_unprintable(text)));
}

/// Says what is odd.
pub(crate) fn warn(text: &str) {
    eprint_line(&format!("{} {}", "warning:".bold().yellow(), escape_unprintable(text)));
}

/// Says what is wrong.
pub(crate) fn error(text: &str) {
    eprint_line(&format_error(text));
}

/// The line that says what is wrong.
pub(crate) fn format_error(text: &str) -> String {
    format!("{} {}", "error:".bold().red(), escape_unprintable(text))
}

/// Says a line as it is. Standard error may be closed; there is no one to tell then.
pub(crate) fn eprint_line(line: &str) {
    let _ = writeln!(auto_stream(io::stderr().lock()), "{line}");
}

/// Whether a reader that has seen enough closed the pipe.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(closed)
}

/// For what must be brought to its end, and ends with its own code, whether or not someone reads.
pub(crate) fn ignore_closed_pipe(printed: anyhow::Result<()>) -> anyhow::Result<()> {
    match printed {
        Err(error) if is_closed_pipe(&error) => Ok(()),
        printed => printed,
    }
}

/// Foreign text of several lines: its line ends stay, tabs become spaces, all else that is
/// unprintable is escaped.
pub(crate) fn printable_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push('\n'),
            '\t' => out.push_str("    "),
            c if is_unprintable(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::printable_lines;

    #[test]
    fn lines_keep_their_ends_only() {
        assert_eq!(printable_lines("a\tb\r\nc\x1b[2J\n"), "a    b\\r\nc\\u{1b}[2J\n");
    }
}

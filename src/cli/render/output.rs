//! Writes to standard output and standard error: with colours if they are wanted, with unprintable
//! characters escaped, and without a panic when a pipe is closed.

use std::io::{self, BufWriter, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use owo_colors::OwoColorize as _;

use crate::cli::render::pager::{self, PagedStdout};
use crate::core::error::without_error_numbers;
use crate::core::path::{escape_unprintable, is_unprintable};
use crate::wire::json;

/// Returns standard output for text, which strips colours if they are not wanted, and goes through a pager where one is
/// used.
pub(crate) fn stdout_human() -> BufWriter<AutoStream<Box<dyn io::Write>>> {
    let choice = color_choice(&io::stdout());
    BufWriter::new(AutoStream::new(Box::new(PagedStdout), choice))
}

/// Prints text that may contain colours to standard output.
pub(crate) fn print_styled(text: &str) -> io::Result<()> {
    let mut out = stdout_human();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints text that may contain colours to standard error.
pub(crate) fn eprint_styled(text: &str) -> io::Result<()> {
    auto_stream(io::stderr().lock()).write_all(text.as_bytes())
}

/// Returns whether to use colours on `stream`. Handles `CLICOLOR_FORCE=0` itself: `anstream` takes
/// any value for a yes.
pub(crate) fn color_choice<S: RawStream + io::IsTerminal>(stream: &S) -> ColorChoice {
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|set| set == value);
    if ColorChoice::global() != ColorChoice::Auto || !is("CLICOLOR_FORCE", "0") {
        return AutoStream::choice(stream);
    }
    let is_disabled = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty())
        || is("CLICOLOR", "0")
        || is("TERM", "dumb")
        || std::env::var_os("TERM").is_none();
    if !is_disabled && io::IsTerminal::is_terminal(stream) {
        ColorChoice::Always
    } else {
        ColorChoice::Never
    }
}

/// Wraps `stream` so that colours are stripped if they are not wanted.
pub(crate) fn auto_stream<S: RawStream + io::IsTerminal>(stream: S) -> AutoStream<S> {
    let choice = color_choice(&stream);
    AutoStream::new(stream, choice)
}

/// Returns standard output for data, which is written unchanged.
pub(crate) fn stdout_machine() -> BufWriter<io::StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// Prints a value as one line of JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> io::Result<()> {
    let mut out = stdout_machine();
    out.write_all(&json::to_line(value)?)?;
    out.flush()
}

/// Prints the body of a response unchanged.
pub(crate) fn print_body(body: &[u8]) -> io::Result<()> {
    let mut out = stdout_machine();
    out.write_all(body)?;
    out.flush()
}

/// True if notes and warnings are not printed.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Prints no notes and warnings from now on.
pub(crate) fn set_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// Returns true if notes and warnings are not printed.
pub(crate) fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Prints a note to standard error.
pub(crate) fn note(text: &str) {
    if is_quiet() {
        return;
    }
    eprint_line(&format!("{} {}", "note:".bold().cyan(), printable(text)));
}

/// Prints a warning to standard error.
pub(crate) fn warn(text: &str) {
    if is_quiet() {
        return;
    }
    eprint_line(&format!("{} {}", "warning:".bold().yellow(), printable(text)));
}

/// Prints an error to standard error.
pub(crate) fn error(text: &str) {
    eprint_line(&format_error(text));
}

/// Returns the line that [`error`] prints.
pub(crate) fn format_error(text: &str) -> String {
    format!("{} {}", "error:".bold().red(), printable(text))
}

/// Escapes a message for people, without the numbers of errors.
pub(crate) fn printable(text: &str) -> String {
    escape_unprintable(&without_error_numbers(text)).into_owned()
}

/// Prints a line to standard error unchanged. Failures are ignored: they cannot be reported.
pub(crate) fn eprint_line(line: &str) {
    let mut text = AutoStream::new(Vec::new(), color_choice(&io::stderr()));
    let _ = writeln!(text, "{line}");
    pager::write_stderr(&text.into_inner());
}

/// Returns true if the error is that the reader closed the pipe.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(closed)
}

/// Turns a closed pipe into success, for commands that must finish and return their own exit code
/// even if their output is no longer read.
pub(crate) fn ignore_closed_pipe(printed: anyhow::Result<()>) -> anyhow::Result<()> {
    match printed {
        Err(error) if is_closed_pipe(&error) => Ok(()),
        printed => printed,
    }
}

/// Escapes unprintable characters of a text with several lines. Line feeds are kept; tabs become four
/// spaces.
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
    use super::{printable, printable_lines};

    #[test]
    fn numbers_of_system_errors_are_left_out_of_messages() {
        for (text, expected) in [
            ("x: Not found (os error 2)", "x: Not found"),
            ("a (os error 13): b (os error 2); c", "a: b; c"),
            ("a (os error x) (os error ", "a (os error x) (os error "),
            ("a\x1b", "a\\u{1b}"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }

    #[test]
    fn printable_lines_escapes_everything_but_line_feeds() {
        assert_eq!(printable_lines("a\tb\r\nc\x1b[2J\n"), "a    b\\r\nc\\u{1b}[2J\n");
    }
}

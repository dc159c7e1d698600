//! Shows output that does not fit on the terminal in a pager, as git does.
//!
//! What a command prints is held back until it exceeds the screen. Then the pager is started and gets all of it, and what
//! follows; otherwise it is printed at the end. What goes to standard error is held in the same order if that is a terminal too.

use std::io::{self, IsTerminal as _, Write};
use std::mem;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::runtime::new_runtime;

/// Options of `less` if `LESS` does not name others: end at once if all fits, pass colours, leave the text on the screen.
const LESS_OPTIONS: &str = "FRX";
/// Characters without which a command is a program and its options, separated by spaces.
const SHELL_CHARACTERS: &str = "|&;<>()$`\\\"'*?[#~=%\t\n";

static OUTPUT: Mutex<State> = Mutex::new(State::Direct);

/// Where output goes.
enum State {
    /// To the streams.
    Direct,
    /// Nowhere yet.
    Held(Held),
    /// To the pager.
    Paged(Child),
    /// Nowhere: the pager has ended.
    Dropped,
}

/// Output that fits on the screen so far.
struct Held {
    pager: Pager,
    columns: usize,
    rows: usize,
    /// Reports that the pager cannot start.
    report: fn(&str),
    used: UsedRows,
    parts: Vec<(Stream, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

/// Command of the pager.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pager {
    command: String,
    /// True if a variable names it.
    is_named: bool,
}

impl Pager {
    /// Selects the pager by the values of `DOSSIERD_PAGER` and `PAGER`; `None` if one of them disables it.
    fn select(own: Option<String>, general: Option<String>) -> Option<Self> {
        let named = own.or(general);
        let is_named = named.is_some();
        let command = named.unwrap_or_else(|| "less".to_owned()).trim().to_owned();
        (!command.is_empty() && command != "cat").then_some(Self { command, is_named })
    }

    /// Starts the pager. `None` if it cannot be started.
    fn start(&self) -> Option<Child> {
        let is_plain = !self.command.contains(|c| SHELL_CHARACTERS.contains(c));
        let mut command = if is_plain {
            let mut words = self.command.split(' ').filter(|word| !word.is_empty());
            let mut command = Command::new(words.next()?);
            command.args(words);
            command
        } else {
            let mut command = Command::new("sh");
            command.args(["-c", &self.command]);
            command
        };
        if std::env::var_os("LESS").is_none() {
            command.env("LESS", LESS_OPTIONS);
        }
        let child = command.stdin(Stdio::piped()).spawn().ok()?;
        // The pager handles Ctrl-C; a command that ended before it would leave the terminal to two programs. The handler
        // stays when the runtime ends.
        if let Ok(runtime) = new_runtime() {
            let _context = runtime.enter();
            let _ = signal(SignalKind::interrupt());
        }
        Some(child)
    }
}

/// Rows of the terminal that a text needs.
#[derive(Debug, Default, PartialEq, Eq)]
struct UsedRows {
    complete: usize,
    column: usize,
    /// True in a sequence that sets colours.
    in_escape: bool,
}

impl UsedRows {
    fn add(&mut self, text: &[u8], columns: usize) {
        for byte in text {
            match byte {
                b'\n' => {
                    self.complete += 1;
                    self.column = 0;
                }
                0x1b => self.in_escape = true,
                byte if self.in_escape => self.in_escape = !byte.is_ascii_alphabetic(),
                // Continues a character of several bytes.
                0x80..=0xbf => {}
                _ => {
                    if self.column == columns {
                        self.complete += 1;
                        self.column = 0;
                    }
                    self.column += 1;
                }
            }
        }
    }
}

/// Holds output back from now on, if standard output is a terminal, of this `size`, that a pager can use. `report` reports
/// that the pager cannot start.
pub(crate) fn enable(size: Option<(usize, usize)>, report: fn(&str)) {
    let variable = |name: &str| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
    let is_dumb = variable("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb");
    let size = size.filter(|_| !is_dumb);
    let pager = Pager::select(variable("DOSSIERD_PAGER"), variable("PAGER"));
    if let (Some((columns, rows)), Some(pager)) = (size, pager) {
        let (used, parts) = (UsedRows::default(), Vec::new());
        *state() = State::Held(Held { pager, columns, rows, report, used, parts });
    }
}

/// Prints what is held back, or waits for the pager. Must be called before the program ends.
pub(crate) fn finish() {
    let ended = mem::replace(&mut *state(), State::Direct);
    match ended {
        State::Held(held) => {
            let _ = print(&held.parts);
        }
        State::Paged(mut child) => {
            drop(child.stdin.take());
            let _ = child.wait();
        }
        State::Direct | State::Dropped => {}
    }
}

/// Standard output, or what replaces it.
pub(crate) struct PagedStdout;

impl Write for PagedStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(Stream::Stdout, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match *state() {
            State::Direct => io::stdout().flush(),
            _ => Ok(()),
        }
    }
}

/// Writes to standard error. Failures are ignored: they cannot be reported.
pub(crate) fn write_stderr(bytes: &[u8]) {
    if io::stderr().is_terminal() {
        let _ = write(Stream::Stderr, bytes);
    } else {
        let _ = io::stderr().write_all(bytes);
    }
}

fn state() -> MutexGuard<'static, State> {
    OUTPUT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    let mut state = state();
    match &mut *state {
        State::Direct => print(&[(stream, bytes)]),
        State::Held(held) => {
            held.used.add(bytes, held.columns);
            held.parts.push((stream, bytes.to_vec()));
            // One row is for the prompt of the shell, or of the pager.
            if held.used.complete < held.rows {
                return Ok(());
            }
            let (pager, report) = (held.pager.clone(), held.report);
            let parts = mem::take(&mut held.parts);
            let Some(mut child) = pager.start() else {
                *state = State::Direct;
                drop(state);
                if pager.is_named {
                    report(&format!(
                        "cannot start the pager `{}`; set DOSSIERD_PAGER to another one, or to nothing",
                        pager.command
                    ));
                }
                return print(&parts);
            };
            let is_open = parts.iter().all(|(_, bytes)| write_to(&mut child, bytes));
            *state = if is_open { State::Paged(child) } else { wait(child) };
            Ok(())
        }
        State::Paged(child) => {
            if !write_to(child, bytes)
                && let State::Paged(child) = mem::replace(&mut *state, State::Dropped)
            {
                *state = wait(child);
            }
            Ok(())
        }
        State::Dropped => Ok(()),
    }
}

/// Writes to the pager; returns false if it does not read any more, because its user has seen enough.
fn write_to(child: &mut Child, bytes: &[u8]) -> bool {
    child.stdin.as_mut().is_some_and(|stdin| stdin.write_all(bytes).is_ok())
}

fn wait(mut child: Child) -> State {
    drop(child.stdin.take());
    let _ = child.wait();
    State::Dropped
}

fn print<T: AsRef<[u8]>>(parts: &[(Stream, T)]) -> io::Result<()> {
    for (stream, bytes) in parts {
        match stream {
            Stream::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes.as_ref())?;
                out.flush()?;
            }
            Stream::Stderr => {
                let _ = io::stderr().write_all(bytes.as_ref());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pager_is_selected_by_the_variables() {
        let pager = |command: &str, is_named| Some(Pager { command: command.to_owned(), is_named });
        let text = |text: &str| Some(text.to_owned());
        for (own, general, expected) in [
            (None, None, pager("less", false)),
            (None, text("more"), pager("more", true)),
            (text("most -s"), text("more"), pager("most -s", true)),
            (None, text(""), None),
            (text(""), text("more"), None),
            (text("cat"), None, None),
            (None, text(" cat "), None),
        ] {
            assert_eq!(
                Pager::select(own.clone(), general.clone()),
                expected,
                "{own:?} {general:?}"
            );
        }
    }

    #[test]
    fn rows_are_counted_as_the_terminal_wraps() {
        for (text, complete, column) in [
            ("", 0, 0),
            ("abc", 0, 3),
            ("abcd", 0, 4),
            ("abcde", 1, 1),
            ("abcd\n", 1, 0),
            ("a\nb\n", 2, 0),
            ("\x1b[1mab\x1b[0mcd\n", 1, 0),
            ("äöüß\n", 1, 0),
        ] {
            let mut rows = UsedRows::default();
            // In parts, as they are written.
            for byte in text.as_bytes() {
                rows.add(&[*byte], 4);
            }
            assert_eq!(rows, UsedRows { complete, column, in_escape: false }, "{text:?}");
        }
    }
}

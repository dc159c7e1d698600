//! Sets up the daemon's log: to journald with priorities and fields if standard error is connected to
//! it, otherwise as lines to standard error. If that is the daemon's own log file, its size is bounded.

use std::borrow::Cow;
use std::fmt::Debug;
use std::io::{self, Write};
use std::os::linux::fs::MetadataExt as _;
use std::path::Path;
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::cli::commands::run::journald::JournaldLayer;
use crate::cli::commands::run::lost_lines::LostLines;
use crate::cli::daemon::log_file::BoundedLog;
use crate::core::path::escape_unprintable;

/// Maximum number of bytes of a line. A pipe or terminal that can be written at all takes so many
/// without blocking (`PIPE_BUF`, see pipe(7)).
const MAX_LINE_BYTES: usize = 4096;

/// Replaces the log filter while the daemon runs.
pub(crate) struct LogFilterHandle(reload::Handle<EnvFilter, Registry>);

impl LogFilterHandle {
    /// Replaces the filter.
    pub(crate) fn set(&self, filter: EnvFilter) {
        // Fails only if the subscriber was dropped, which does not happen.
        let _ = self.0.reload(filter);
    }
}

/// Installs the global log subscriber. The daemon's own log file is in `state_dir`.
pub(crate) fn init(filter: EnvFilter, state_dir: &Path) -> LogFilterHandle {
    let (filter, handle) = reload::Layer::new(filter);
    let journal = stderr_is_journal().then(|| JournaldLayer::connect().ok()).flatten();
    if let Some(file) = BoundedLog::of_stderr(state_dir) {
        // Cannot be set already: this is called once.
        let _ = LOG_FILE.set(file);
    }
    let lines = journal.is_none().then(|| {
        fmt::layer()
            .with_writer(|| StderrLines { lost: &LOST_LINES, file: LOG_FILE.get() })
            .with_target(false)
            .fmt_fields(debug_fn(write_field).delimited(" "))
            .with_ansi(is_terminal())
            .boxed()
    });
    tracing_subscriber::registry().with(filter).with(journal).with(lines).init();
    LogFilterHandle(handle)
}

static LOST_LINES: LostLines = LostLines::new();

/// The file of the log, if standard error is the daemon's own.
static LOG_FILE: OnceLock<BoundedLog> = OnceLock::new();

/// Writes a field as `tracing_subscriber` does, but escapes what would end the line, or control a
/// terminal: values contain names of files.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let text = format!("{value:?}");
    let value = escape_unprintable(&text);
    match field.name() {
        "message" => write!(writer, "{value}"),
        name => write!(writer, "{name}={value}"),
    }
}

/// Writes lines to standard error as long as that does not block: a reader that does not read must
/// not stop the daemon.
struct StderrLines<'a> {
    lost: &'a LostLines,
    file: Option<&'a BoundedLog>,
}

impl Write for StderrLines<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let write = |line: &[u8]| match self.file {
            Some(file) => file.write(&cut_line(line)),
            None => write_if_ready(line),
        };
        self.lost.write(line, |notice| format!("{notice}\n").into_bytes(), write);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a line without what exceeds the maximum; it still ends with a line end.
fn cut_line(line: &[u8]) -> Cow<'_, [u8]> {
    if line.len() <= MAX_LINE_BYTES {
        return line.into();
    }
    let mut cut = line[..MAX_LINE_BYTES - 1].to_vec();
    cut.push(b'\n');
    cut.into()
}

/// Writes to standard error if that does not block.
fn write_if_ready(line: &[u8]) -> bool {
    let stderr = io::stderr();
    let mut descriptor = [PollFd::new(&stderr, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let is_ready = poll(&mut descriptor, Some(&now)).is_ok_and(|ready| ready > 0);
    is_ready && stderr.lock().write_all(&cut_line(line)).is_ok()
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

/// Returns true if `JOURNAL_STREAM` is the device and inode of standard error (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|file| stream == format!("{}:{}", file.st_dev(), file.st_ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_and_stay_lines() {
        let line = |length: usize| [&vec![b'x'; length - 1][..], b"\n"].concat();
        for (length, cut) in [(2, 2), (4096, 4096), (4097, 4096), (100_000, 4096)] {
            assert_eq!(*cut_line(&line(length)), *line(cut), "{length}");
        }
    }
}

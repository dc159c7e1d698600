//! Where the daemon's log goes: to the journal with priorities and fields where standard error is
//! the journal's, else as lines to standard error.

use std::os::linux::fs::MetadataExt as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::cli::commands::run::journald::JournaldLayer;

/// Changes what is logged from now on.
pub(crate) struct LogFilterHandle(reload::Handle<EnvFilter, Registry>);

impl LogFilterHandle {
    pub(crate) fn set(&self, filter: EnvFilter) {
        // Fails only where there is no log any more.
        let _ = self.0.reload(filter);
    }
}

/// Begins the log.
pub(crate) fn init(filter: EnvFilter) -> LogFilterHandle {
    let (filter, handle) = reload::Layer::new(filter);
    let journal = stderr_is_journal().then(|| JournaldLayer::connect().ok()).flatten();
    let lines = journal.is_none().then(|| {
        fmt::layer()
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_ansi(is_terminal())
            .boxed()
    });
    tracing_subscriber::registry().with(filter).with(journal).with(lines).init();
    LogFilterHandle(handle)
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

/// Whether `JOURNAL_STREAM` names the file that standard error is (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(said) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|found| said == format!("{}:{}", found.st_dev(), found.st_ino()))
}

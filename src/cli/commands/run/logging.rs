//! Sets up the daemon's log: to journald with priorities and fields if standard error is connected to
//! it, otherwise as lines to standard error.

use std::os::linux::fs::MetadataExt as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::cli::commands::run::journald::JournaldLayer;

/// Replaces the log filter while the daemon runs.
pub(crate) struct LogFilterHandle(reload::Handle<EnvFilter, Registry>);

impl LogFilterHandle {
    /// Replaces the filter.
    pub(crate) fn set(&self, filter: EnvFilter) {
        // Fails only if the subscriber was dropped, which does not happen.
        let _ = self.0.reload(filter);
    }
}

/// Installs the global log subscriber.
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

/// Returns true if `JOURNAL_STREAM` is the device and inode of standard error (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|file| stream == format!("{}:{}", file.st_dev(), file.st_ino()))
}

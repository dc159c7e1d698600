//! Shows the progress of a scan on a terminal.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar};

use crate::scan::Progress;

/// Delay before the progress is shown, so that a short scan shows none.
const PROGRESS_DELAY: Duration = Duration::from_millis(300);

/// Shows the progress of a scan on standard error until it is dropped.
pub(crate) struct ProgressSpinner {
    /// Counters that the scan updates.
    pub(crate) progress: Arc<Progress>,
    stop: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl ProgressSpinner {
    /// Starts the display. Does nothing if standard error is not a terminal.
    pub(crate) fn start() -> Self {
        let progress = Arc::new(Progress::default());
        let spawn = || {
            let (stop, stopped) = mpsc::channel();
            let progress = Arc::clone(&progress);
            let thread = thread::Builder::new().name("progress".to_owned());
            Some((stop, thread.spawn(move || run_spinner(&progress, &stopped)).ok()?))
        };
        let stop = if io::stderr().is_terminal() { spawn() } else { None };
        Self { progress, stop }
    }
}

impl Drop for ProgressSpinner {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.stop.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

fn run_spinner(progress: &Progress, stopped: &mpsc::Receiver<()>) {
    let mut wait = PROGRESS_DELAY;
    let mut bar = None;
    while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        wait = PROGRESS_DELAY / 3;
        let bar = bar.get_or_insert_with(ProgressBar::new_spinner);
        let files = HumanCount(progress.files.load(Relaxed));
        let bytes = HumanBytes(progress.bytes.load(Relaxed));
        bar.set_message(format!("{files} files, {bytes}"));
        bar.tick();
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

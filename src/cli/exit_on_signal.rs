//! How commands end that go on until someone has seen enough: by Ctrl-C or a reader that went away,
//! at once and without a fault, whatever the command is doing.

use std::io;
use std::process::exit;
use std::sync::mpsc;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::runtime::new_runtime;

/// Exit code of a process that SIGTERM ended, as shells have it.
const SIGTERM_EXIT_CODE: i32 = 128 + 15;

/// Ends the process when it is interrupted, or when the reader of its output goes away. `restore`
/// is written to the terminal before.
///
/// On threads of their own: the command may be waiting for a reader that does not read.
pub(super) fn exit_on_signal_or_closed_pipe(restore: &'static str) {
    let end = move |code| {
        // Past the stream's lock, which the command may hold.
        let _ = rustix::io::write(io::stdout(), restore.as_bytes());
        exit(code);
    };
    let (ready, is_ready) = mpsc::channel();
    let signals = thread::Builder::new().name("signals".to_owned());
    let _ = signals.spawn(move || {
        let Ok(runtime) = new_runtime() else { return };
        let code = runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).ok()?;
            let mut terminate = signal(SignalKind::terminate()).ok()?;
            let _ = ready.send(());
            Some(tokio::select! {
                _ = interrupt.recv() => 0,
                _ = terminate.recv() => SIGTERM_EXIT_CODE,
            })
        });
        if let Some(code) = code {
            end(code);
        }
    });
    // Or it could not be set up, and a signal ends the process as it always does.
    let _ = is_ready.recv();
    let hangup = thread::Builder::new().name("stdout-hangup".to_owned());
    let _ = hangup.spawn(move || {
        wait_for_closed_stdout();
        end(0);
    });
}

/// Waits until no one can read standard output any more, for ever where that cannot be.
fn wait_for_closed_stdout() {
    let stdout = io::stdout();
    loop {
        // Nothing is asked for, so that only what is always told wakes it: error and hang-up.
        let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut asked, None) {
            Ok(1..) => return,
            Ok(0) | Err(Errno::INTR) => {}
            Err(_) => thread::park(),
        }
    }
}

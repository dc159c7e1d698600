//! Ends streaming commands on Ctrl-C, SIGTERM or a closed pipe: at once, whatever the command is
//! doing.

use std::io;
use std::process::exit;
use std::sync::mpsc;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::exec::terminate_running;
use crate::cli::runtime::new_runtime;

/// Exit code of a process ended by SIGTERM, by the convention of shells.
const SIGTERM_EXIT_CODE: i32 = 128 + 15;

/// Exits on SIGINT, on SIGTERM, and when the reader of standard output closes it. `restore` is
/// written to the terminal before, and the commands of `--exec` are asked to end.
///
/// Two threads wait for this, because the command itself may be blocked in a write to a reader that
/// does not read. If a thread cannot be created, a signal ends the process by default.
pub(super) fn exit_on_signal_or_closed_pipe(restore: &'static str) {
    let end = move |code| {
        // Without the lock of `Stdout`, which the command may hold.
        let _ = rustix::io::write(io::stdout(), restore.as_bytes());
        terminate_running();
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
    // Returns an error if the handlers could not be installed.
    let _ = is_ready.recv();
    let hangup = thread::Builder::new().name("stdout-hangup".to_owned());
    let _ = hangup.spawn(move || {
        wait_for_closed_stdout();
        end(0);
    });
}

/// Waits until the reader of standard output has closed it; forever if it is not a pipe.
fn wait_for_closed_stdout() {
    let stdout = io::stdout();
    loop {
        // Without requested events, poll(2) reports only errors and hang-ups.
        let mut descriptors = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut descriptors, None) {
            Ok(1..) => return,
            Ok(0) | Err(Errno::INTR) => {}
            Err(_) => thread::park(),
        }
    }
}

//! The commands that run now, so that they end with this process.

use std::io;
use std::process::{Child, Command};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::core::sync::lock;
use crate::scan::with_original_descriptor_limit;

static RUNNING: Mutex<Running> = Mutex::new(Running { groups: Vec::new(), is_ending: false });

struct Running {
    /// Process groups, each that of a command.
    groups: Vec<Pid>,
    is_ending: bool,
}

/// Starts a command, unless this process is ending.
pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
    // Under the lock, so that no command starts unnoticed while all are ended.
    let mut running = lock(&RUNNING);
    if running.is_ending {
        return Err(io::Error::other("this command is ending"));
    }
    let child = with_original_descriptor_limit(|| command.spawn())?;
    running.groups.push(Pid::from_child(&child));
    Ok(child)
}

/// Forgets a command that has ended. To be called before it is waited for: then another process may get its
/// number.
pub(super) fn forget(group: Pid) {
    lock(&RUNNING).groups.retain(|running| *running != group);
}

/// Asks all running commands to end, with their children.
pub(in crate::cli) fn terminate_running() {
    let mut running = lock(&RUNNING);
    running.is_ending = true;
    for group in &running.groups {
        let _ = kill_process_group(*group, Signal::TERM);
    }
}

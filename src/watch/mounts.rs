//! Reports mounts and unmounts, by poll(2) on `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
//!
//! File events do not report them: a mount hides the watched directory, and unmounting a bind mount
//! leaves its file system in use elsewhere.

use std::fs::File;
use std::io;

use rustix::event::{PollFd, PollFlags, poll};

/// Starts a thread that calls `on_change` after each change of the mount table, until it returns
/// false, and `on_failure` if it can no longer wait for changes.
///
/// # Errors
/// If the mount table cannot be opened or the thread cannot be created.
pub fn watch_mounts(
    mut on_change: impl FnMut() -> bool + Send + 'static,
    on_failure: impl FnOnce(io::Error) + Send + 'static,
) -> io::Result<()> {
    let table = File::open("/proc/self/mountinfo")?;
    let wait_for_changes = move || {
        loop {
            let mut fds = [PollFd::new(&table, PollFlags::PRI)];
            match poll(&mut fds, None) {
                Ok(_) if on_change() => {}
                Ok(_) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return on_failure(error.into()),
            }
        }
    };
    std::thread::Builder::new()
        .name("mounts".to_owned())
        .stack_size(64 << 10)
        .spawn(wait_for_changes)?;
    Ok(())
}

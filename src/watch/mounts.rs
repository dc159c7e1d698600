//! Hears of every mount and unmount: file events do not tell of a new mount, nor of the end of one
//! that is another name for a file system still in use.

use std::fs::File;
use std::io;

use rustix::event::{PollFd, PollFlags, poll};

/// Calls `changed` on a thread of its own after every change of what is mounted where, for as long
/// as it says so.
///
/// # Errors
/// Where the system has no table of mounts, or no thread to give.
pub fn watch_mounts(mut on_change: impl FnMut() -> bool + Send + 'static) -> io::Result<()> {
    let table = File::open("/proc/self/mountinfo")?;
    let wait_for_changes = move || {
        loop {
            let mut fds = [PollFd::new(&table, PollFlags::PRI)];
            match poll(&mut fds, None) {
                Ok(_) if on_change() => {}
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => return,
            }
        }
    };
    std::thread::Builder::new()
        .name("mounts".to_owned())
        .stack_size(64 << 10)
        .spawn(wait_for_changes)?;
    Ok(())
}

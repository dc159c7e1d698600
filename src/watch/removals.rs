//! Reports that directories of our own, or files in them, were removed, moved away or hidden by a mount:
//! they are open, so nothing else would show it.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

/// How often a directory that does not exist is looked for.
const MISSING_PAUSE: Duration = Duration::from_secs(1);

/// Starts a thread that calls `on_change` when an entry of one of `dirs`, or such a directory itself,
/// may have been removed or hidden, until it returns false. While such a directory does not exist, `on_change` is
/// called each second.
///
/// # Errors
/// If the inotify instance or the thread cannot be created, or the mount table cannot be opened.
pub fn watch_removals(
    dirs: Vec<PathBuf>,
    mut on_change: impl FnMut() -> bool + Send + 'static,
) -> io::Result<()> {
    let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let mounts = File::open("/proc/self/mountinfo")?;
    // Returns true if all of them exist.
    let watch_all = move |inotify: &_| {
        let flags = WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM;
        let watch = |dir: &PathBuf| add_watch(inotify, dir, flags | WatchFlags::ONLYDIR);
        // One that exists and cannot be watched will not be watched a second later either.
        let is_missing = |dir: &&PathBuf| matches!(watch(dir), Err(Errno::NOENT | Errno::NOTDIR));
        dirs.iter().filter(is_missing).count() == 0
    };
    let mut is_complete = watch_all(&inotify);
    let wait_for_changes = move || {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&inotify, &mut buffer);
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(inotify.as_fd(), PollFlags::IN),
                PollFd::new(&mounts, PollFlags::PRI),
            ];
            let pause = Timespec::try_from(MISSING_PAUSE).ok().filter(|_| !is_complete);
            let is_changed = match poll(&mut fds, pause.as_ref()) {
                Ok(ready) => ready > 0,
                Err(Errno::INTR) => continue,
                Err(_) => return,
            };
            while events.next().is_ok() {}
            // Watched first, so that nothing is missed in between.
            let was_complete = std::mem::replace(&mut is_complete, watch_all(&inotify));
            // One that is missing may have been created and removed again since the last look.
            if (is_changed || !was_complete || !is_complete) && !on_change() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("removals".to_owned());
    thread.stack_size(64 << 10).spawn(wait_for_changes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn removals_in_a_directory_and_of_it_are_reported_also_after_it_was_created_again() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("own");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), "x").unwrap();
        let (send, changes) = mpsc::channel();
        watch_removals(vec![dir.clone()], move || send.send(()).is_ok()).unwrap();
        let next = || changes.recv_timeout(Duration::from_secs(10)).expect("a report within 10 s");
        fs::remove_file(dir.join("file")).unwrap();
        next();
        for _ in 0..2 {
            fs::remove_dir(&dir).unwrap();
            next();
            while changes.try_recv().is_ok() {}
            // Created some time later; that is reported as well.
            fs::create_dir(&dir).unwrap();
            next();
        }
    }
}

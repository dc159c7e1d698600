//! Reports that files of our own, or the directories that they are in, were removed, moved away or hidden by a
//! mount: they are open, so nothing else would show it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

/// How often a directory that does not exist is looked for.
const MISSING_PAUSE: Duration = Duration::from_secs(1);

/// Starts a thread that calls `on_change` when one of `files`, or the directory that it is in, may have been
/// removed or hidden, until it returns false. While such a directory does not exist, `on_change` is called each
/// second. Other files there come and go.
///
/// # Errors
/// If the inotify instance or the thread cannot be created, or the mount table cannot be opened.
pub fn watch_removals(
    files: &[PathBuf],
    mut on_change: impl FnMut() -> bool + Send + 'static,
) -> io::Result<()> {
    let dirs: BTreeSet<PathBuf> =
        files.iter().filter_map(|file| Some(file.parent()?.to_owned())).collect();
    let names: BTreeSet<OsString> =
        files.iter().filter_map(|file| Some(file.file_name()?.to_owned())).collect();
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
            match poll(&mut fds, pause.as_ref()) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return,
            }
            let mut is_changed = fds[1].revents().contains(PollFlags::PRI);
            while let Ok(event) = events.next() {
                // Without a name it is about the directory itself.
                let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                is_changed |= name.is_none_or(|name| names.contains(name));
            }
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
        for name in ["file", "other", "temporary"] {
            fs::write(dir.join(name), "x").unwrap();
        }
        let (send, changes) = mpsc::channel();
        let files = [dir.join("file"), dir.join("other")];
        watch_removals(&files, move || send.send(()).is_ok()).unwrap();
        let next = || changes.recv_timeout(Duration::from_secs(10)).expect("a report within 10 s");
        for name in ["temporary", "file"] {
            fs::remove_file(dir.join(name)).unwrap();
        }
        next();
        fs::remove_file(dir.join("other")).unwrap();
        next();
        assert!(changes.try_recv().is_err(), "a file of another name was reported");
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

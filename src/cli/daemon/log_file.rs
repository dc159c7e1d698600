//! The log file of a daemon that a command started in the background: opened without following a link, and
//! bounded. A full file becomes `daemon.log.old`, which replaces the one before.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::core::sync::lock;
use crate::ownership::{check_private_file, private_open_options};

/// Maximum size of the file in bytes. A longer one is renamed first; both together have twice the size.
const MAX_LOG_BYTES: u64 = 8 << 20;

/// Returns the path of the log in a state directory.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("daemon.log")
}

/// Opens the log for a new daemon, after renaming a full one.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
        rename(path)?;
    }
    let file = private_open_options().append(true).create(true).open(path)?;
    check_private_file(&file)?;
    Ok(file)
}

fn rename(path: &Path) -> io::Result<()> {
    fs::rename(path, path.with_extension("log.old"))
}

/// The log of this process, which is kept below its maximum size.
pub(crate) struct BoundedLog {
    path: PathBuf,
    max_bytes: u64,
    /// Called with the file that replaces a full one.
    on_replaced: fn(&File),
    open: Mutex<OpenLog>,
}

struct OpenLog {
    file: File,
    bytes: u64,
}

impl BoundedLog {
    /// Returns the log in the state directory if standard error is that file. Standard error is
    /// redirected to each file that replaces it.
    pub(crate) fn of_stderr(state_dir: &Path) -> Option<Self> {
        let path = path(state_dir);
        let stderr = fs::metadata("/proc/self/fd/2").ok()?;
        let found = fs::symlink_metadata(&path).ok()?;
        let is_same = found.is_file() && (found.dev(), found.ino()) == (stderr.dev(), stderr.ino());
        // What is not written here, such as the message of a panic, goes to the same file.
        let redirect = |file: &File| {
            let _ = rustix::stdio::dup2_stderr(file);
        };
        is_same.then(|| Self::open(path, MAX_LOG_BYTES, redirect).ok()).flatten()
    }

    fn open(path: PathBuf, max_bytes: u64, on_replaced: fn(&File)) -> io::Result<Self> {
        let file = private_open_options().append(true).open(&path)?;
        check_private_file(&file)?;
        let open = Mutex::new(OpenLog { bytes: file.metadata()?.len(), file });
        Ok(Self { path, max_bytes, on_replaced, open })
    }

    /// Writes a line, to a new file if the present one is full. Returns false if that is not possible.
    pub(crate) fn write(&self, line: &[u8]) -> bool {
        let mut open = lock(&self.open);
        let length = line.len() as u64;
        if open.bytes.saturating_add(length) > self.max_bytes && open.bytes > 0 {
            let renamed = match rename(&self.path) {
                // It was removed, or an earlier attempt could not create the new file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                renamed => renamed,
            };
            let replaced = renamed.and_then(|()| {
                private_open_options().append(true).create_new(true).open(&self.path)
            });
            let Ok(file) = replaced else {
                return false;
            };
            (self.on_replaced)(&file);
            *open = OpenLog { file, bytes: 0 };
        }
        let written = open.file.write_all(line).is_ok();
        open.bytes += length;
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_log_is_not_written() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("other users can write"), "{error}");
        assert!(BoundedLog::open(path, 100, |_| {}).is_err());
    }

    #[test]
    fn log_is_bounded_and_keeps_the_newest_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        fs::write(&path, "before\n").unwrap();
        let log = BoundedLog::open(path.clone(), 100, |_| {}).unwrap();
        let old = dir.path().join("daemon.log.old");
        for number in 0..200 {
            assert!(log.write(format!("line {number}\n").as_bytes()));
            let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
            assert!(length(&path) <= 100 && length(&old) <= 100);
            let text =
                fs::read_to_string(&old).unwrap_or_default() + &fs::read_to_string(&path).unwrap();
            let kept = (number - 8).max(0)..=number;
            for number in kept {
                assert!(text.contains(&format!("line {number}\n")), "{number}: {text}");
            }
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        // A line that is longer than the maximum is not lost.
        assert!(log.write(&[b'x'; 200]));
        assert!(log.write(b"last\n"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "last\n");
    }

    #[test]
    fn log_that_cannot_be_replaced_loses_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        fs::write(&path, "").unwrap();
        let log = BoundedLog::open(path.clone(), 10, |_| {}).unwrap();
        assert!(log.write(b"12345678\n"));
        fs::create_dir_all(dir.path().join("daemon.log.old/x")).unwrap();
        assert!(!log.write(b"12345678\n"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "12345678\n");
        fs::remove_dir_all(dir.path().join("daemon.log.old")).unwrap();
        assert!(log.write(b"87654321\n"));
    }

    #[test]
    fn log_that_was_removed_is_replaced_by_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        fs::write(&path, "").unwrap();
        let log = BoundedLog::open(path.clone(), 10, |_| {}).unwrap();
        assert!(log.write(b"12345678\n"));
        fs::remove_file(&path).unwrap();
        assert!(log.write(b"87654321\n"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "87654321\n");
    }

    #[test]
    fn links_and_special_files_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        std::os::unix::fs::symlink(dir.path().join("target"), &path).unwrap();
        assert!(open(&path).is_err());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(open(&path).is_err());
        assert!(!dir.path().join("target").exists());
    }
}

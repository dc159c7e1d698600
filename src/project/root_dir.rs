//! Reads and writes files below a directory; opens paths one component at a time and follows no
//! link.
//!
//! A durable [`RootDir::replace`] writes a temporary file, syncs it, renames it and syncs the directory.
//! After a crash the old file or the new one is there, possibly next to a hidden temporary file. It
//! is implemented here because no library combines this with staying below a descriptor.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat, fchmod, fstat, mkdirat, openat,
    renameat, renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use uuid::Uuid;

use crate::core::artifact::DevIno;
use crate::core::path::RelPath;
use crate::core::progress::{begin_long_step, begin_step};
use crate::core::sync::lock;

/// A directory with a descriptor that is closed while the project is inactive, because an open
/// descriptor keeps the file system from being unmounted.
#[derive(Debug)]
pub(super) struct RootDir {
    path: PathBuf,
    /// Identifies the directory that was opened, whatever is at the path later.
    dev_ino: DevIno,
    fd: Mutex<Option<Arc<OwnedFd>>>,
    /// Something could not be opened because the process lacks file descriptors or memory.
    is_exhausted: AtomicBool,
}

/// The parent directory of an entry: the root or a directory below it.
enum Parent {
    Root(Arc<OwnedFd>),
    Subdir(OwnedFd),
}

impl AsFd for Parent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(dir) => dir.as_fd(),
            Self::Subdir(dir) => dir.as_fd(),
        }
    }
}

/// Why a file or directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The error of the operating system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A symbolic link instead of a file or directory.
    #[error("symbolic link, not followed")]
    Symlink,
    /// Neither a regular file nor a symbolic link.
    #[error("not a regular file")]
    NotRegularFile,
    /// Larger than the maximum size of such a file.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
}

impl From<Errno> for ReadError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// An entry of a directory.
pub(super) struct DirEntry {
    pub(super) name: Vec<u8>,
    pub(super) kind: FileType,
}

/// Maximum size of a file that is replaced by [`RootDir::exchange_file`]; a larger one stays.
const MAX_EXCHANGED_BYTES: u64 = 64 << 20;

/// Time limit for writing a file and syncing it to a slow disk.
const SYNC_LIMIT: Duration = Duration::from_secs(10);

const PATH_FLAGS: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const LIST_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Fails if there is an entry at the path.
const CREATE_FLAGS: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl RootDir {
    /// Opens the directory at a canonical path.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (fd, dev_ino) = open_with_dev_ino(path)?;
        let fd = Mutex::new(Some(Arc::new(fd)));
        Ok(Self { path: path.to_owned(), dev_ino, fd, is_exhausted: AtomicBool::new(false) })
    }

    /// Creates a directory that cannot be opened: each operation fails without a system call.
    pub(super) fn unavailable(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            dev_ino: DevIno::default(),
            fd: Mutex::default(),
            is_exhausted: AtomicBool::new(false),
        }
    }

    /// Returns true if this was created by [`RootDir::unavailable`].
    pub(super) fn is_unavailable(&self) -> bool {
        self.dev_ino == DevIno::default()
    }

    /// Returns device and inode.
    pub(super) fn dev_ino(&self) -> DevIno {
        self.dev_ino
    }

    /// Closes the descriptor until it is needed again.
    pub(super) fn close_fd(&self) {
        *lock(&self.fd) = None;
    }

    /// Returns false if the descriptor is closed. Does not wait.
    pub(super) fn holds_fd(&self) -> bool {
        self.fd.try_lock().map_or(true, |fd| fd.is_some())
    }

    /// Returns true if the process lacked file descriptors or memory since the last call: what was read
    /// meanwhile, here and with [`RootDir::read_outside`], may be incomplete.
    pub(super) fn take_exhausted(&self) -> bool {
        self.is_exhausted.swap(false, Ordering::Relaxed)
    }

    fn note<T>(&self, result: Result<T, Errno>) -> Result<T, Errno> {
        if let Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM) = result {
            self.is_exhausted.store(true, Ordering::Relaxed);
        }
        result
    }

    fn open_at(
        &self,
        dir: impl AsFd,
        name: impl rustix::path::Arg,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        self.note(open_at(dir, name, flags))
    }

    /// Reads a regular file by path and follows links: for files of the system and of git.
    pub(super) fn read_outside(
        &self,
        path: &Path,
        max_bytes: u64,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let opened = self.note(open_path(path, READ_FLAGS.difference(OFlags::NOFOLLOW)));
        read_regular(opened, max_bytes)
    }

    /// Returns the names in a directory outside, in order, and follows links; none if it cannot be read.
    pub(super) fn list_outside(&self, path: &Path) -> Vec<Vec<u8>> {
        let opened = self.note(open_path(path, LIST_FLAGS.difference(OFlags::NOFOLLOW)));
        let entries = opened.and_then(|dir| self.note(Dir::new(dir)));
        let names = entries.into_iter().flatten().flatten();
        let mut names: Vec<Vec<u8>> =
            names.map(|entry| entry.file_name().to_bytes().to_vec()).collect();
        names.retain(|name| name != b"." && name != b"..");
        names.sort_unstable();
        names
    }

    /// Returns the descriptor, reopened if necessary. Fails with ESTALE if the directory is not at
    /// its path any more: nothing is known of what it contains.
    fn fd(&self) -> Result<Arc<OwnedFd>, Errno> {
        begin_step();
        if self.is_unavailable() {
            return Err(Errno::STALE);
        }
        let mut open_fd = lock(&self.fd);
        if let Some(fd) = &*open_fd {
            return Ok(Arc::clone(fd));
        }
        let opened = self.note(open_with_dev_ino(&self.path));
        let (fd, dev_ino) = opened.map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Errno::STALE,
            error => error,
        })?;
        if dev_ino != self.dev_ino {
            return Err(Errno::STALE);
        }
        Ok(Arc::clone(open_fd.insert(Arc::new(fd))))
    }

    /// Opens the directory at `path` for listing; `None` opens this directory.
    pub(super) fn open_dir(&self, path: Option<&RelPath>) -> io::Result<OwnedFd> {
        let Some(path) = path else {
            return Ok(self.open_at(self.fd()?, c".", LIST_FLAGS)?);
        };
        Ok(self.open_at(self.open_parent(path)?, path.file_name(), LIST_FLAGS)?)
    }

    /// Returns the content of the file at `path`; `None` if it does not exist.
    pub(super) fn read(
        &self,
        path: &RelPath,
        max_bytes: u64,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        // Checked before the file is opened, because opening a FIFO wakes its writer.
        match self.file_type(path) {
            Ok(FileType::RegularFile) => {}
            Ok(FileType::Symlink) => return Err(ReadError::Symlink),
            Ok(_) => return Err(ReadError::NotRegularFile),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.classify_error(path, error)),
        }
        let parent = self.open_parent(path)?;
        read_regular(self.open_at(parent, path.file_name(), READ_FLAGS), max_bytes)
    }

    /// Opens the regular file at `path` for reading; returns `None` if that fails.
    pub(super) fn open_file(&self, path: &RelPath) -> Option<File> {
        let parent = self.open_parent(path).ok()?;
        let file = self.open_at(parent, path.file_name(), READ_FLAGS).map(File::from).ok()?;
        file.metadata().is_ok_and(|metadata| metadata.is_file()).then_some(file)
    }

    /// Returns [`ReadError::Symlink`] if a parent of `path` is a symbolic link, otherwise `error`.
    fn classify_error(&self, path: &RelPath, error: Errno) -> ReadError {
        let bytes = path.as_bytes();
        let slashes = (0..bytes.len()).filter(|at| bytes[*at] == b'/');
        let mut parents = slashes.filter_map(|at| RelPath::new(&bytes[..at]).ok());
        if parents.any(|parent| self.is_symlink(&parent)) {
            ReadError::Symlink
        } else {
            error.into()
        }
    }

    /// Returns true if the directory at `path` exists.
    pub(super) fn has_dir(&self, path: &RelPath) -> Result<bool, ReadError> {
        Ok(self.open_if_exists(Some(path))?.is_some())
    }

    fn open_if_exists(&self, path: Option<&RelPath>) -> Result<Option<OwnedFd>, ReadError> {
        let error = match self.open_dir(path) {
            Ok(dir) => return Ok(Some(dir)),
            Err(error) => error,
        };
        match (Errno::from_io_error(&error), path) {
            (Some(Errno::NOENT), _) => Ok(None),
            (Some(Errno::NOTDIR | Errno::LOOP), Some(path)) if self.is_symlink(path) => {
                Err(ReadError::Symlink)
            }
            (Some(errno), Some(path)) => Err(self.classify_error(path, errno)),
            _ => Err(error.into()),
        }
    }

    /// Returns the entries of the directory at `path`, ordered by name; `None` lists this
    /// directory. A missing directory has no entries.
    pub(super) fn list(&self, path: Option<&RelPath>) -> Result<Vec<DirEntry>, ReadError> {
        let Some(dir) = self.open_if_exists(path)? else {
            return Ok(Vec::new());
        };
        let mut entries = Vec::new();
        // What cannot be opened for want of a descriptor is not what is there.
        let duplicate = self.note(duplicate(&dir))?;
        for entry in Dir::new(duplicate)? {
            let entry = self.note(entry)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(_) => FileType::Unknown,
                },
                known => known,
            };
            entries.push(DirEntry { name: name.to_bytes().to_vec(), kind });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Returns true if there is a directory at `path`.
    pub(super) fn is_dir(&self, path: &RelPath) -> bool {
        self.open_dir(Some(path)).is_ok()
    }

    /// Replaces the file at `path` atomically and durably. Creates missing parent directories.
    pub(super) fn replace(&self, path: &RelPath, bytes: &[u8]) -> io::Result<()> {
        let parent = self.create_parent(path)?;
        let dir = parent.as_fd();
        let temporary = temporary_name();
        begin_long_step(SYNC_LIMIT);
        let result = write_new(dir, &temporary, bytes)
            .and_then(|file| file.sync_all())
            .and_then(|()| Ok(renameat(dir, &temporary, dir, path.file_name())?))
            .and_then(|()| sync_dir(dir));
        if result.is_err() {
            let _ = unlinkat(dir, &temporary, AtFlags::empty());
        }
        result
    }

    /// Creates the file at `path` durably, with all of its content at once and these permissions; 0 for
    /// those of its directory. Creates missing parent directories. Fails with EEXIST if there is an entry.
    pub(super) fn create_file(&self, path: &RelPath, bytes: &[u8], mode: u32) -> io::Result<()> {
        let parent = self.create_parent(path)?;
        let dir = parent.as_fd();
        let temporary = temporary_name();
        begin_long_step(SYNC_LIMIT);
        let result = write_new_with_mode(dir, &temporary, bytes, mode)
            .and_then(|file| file.sync_all())
            .and_then(|()| rename_to(dir, &temporary, path.file_name(), RenameFlags::NOREPLACE))
            .and_then(|()| sync_dir(dir));
        if result.is_err() {
            let _ = unlinkat(dir, &temporary, AtFlags::empty());
        }
        result
    }

    /// Replaces the regular file at `path` durably, if its content is accepted by `is_expected`. The file
    /// is exchanged first and read then, so that no later write to its path is lost. Returns false, and
    /// leaves it in its place, if its content is another one.
    pub(super) fn exchange_file(
        &self,
        path: &RelPath,
        bytes: &[u8],
        mode: u32,
        is_expected: impl Fn(&[u8]) -> bool,
    ) -> io::Result<bool> {
        if self.file_type(path)? != FileType::RegularFile {
            return Err(io::Error::other("it is not a regular file"));
        }
        let parent = self.open_parent(path)?;
        let (dir, name) = (parent.as_fd(), path.file_name());
        let temporary = temporary_name();
        let is_same = |name: &[u8]| {
            let found = read_regular(self.open_at(dir, name, READ_FLAGS), MAX_EXCHANGED_BYTES);
            found.is_ok_and(|found| found.is_some_and(|bytes| is_expected(&bytes)))
        };
        begin_long_step(SYNC_LIMIT);
        let write = || {
            let file = write_new_with_mode(dir, &temporary, bytes, mode)?;
            file.sync_all()?;
            let own = VersionId::of(&fstat(&file)?);
            match renameat_with(dir, &temporary, dir, name, RenameFlags::EXCHANGE) {
                // The file system knows only the plain form.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                    let is_same = is_same(name);
                    if is_same {
                        renameat(dir, &temporary, dir, name)?;
                    }
                    Ok(Written::Plainly { is_same })
                }
                exchanged => exchanged.map(|()| Written::Exchanged(own)).map_err(io::Error::from),
            }
        };
        let result = match write() {
            Ok(Written::Exchanged(own)) if !is_same(temporary.as_bytes()) => {
                // From here on the temporary file is that of another program, until it is put back.
                return put_back(dir, &temporary, name, &own).map(|()| false);
            }
            Ok(Written::Exchanged(_)) => Ok(true),
            Ok(Written::Plainly { is_same }) => Ok(is_same),
            Err(error) => Err(error),
        };
        let _ = unlinkat(dir, &temporary, AtFlags::empty());
        sync_dir(dir)?;
        result
    }

    /// Returns the directory at `path` and what identifies it; `None` if there is none.
    pub(super) fn find_dir(&self, path: &RelPath) -> io::Result<Option<(OwnedFd, DevIno)>> {
        match self.open_dir(Some(path)) {
            Ok(dir) => {
                let stat = fstat(&dir)?;
                Ok(Some((dir, DevIno { device: stat.st_dev, inode: stat.st_ino })))
            }
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates the directory at `path`, whose parent exists. Returns false if there is an entry already.
    pub(super) fn create_dir(&self, path: &RelPath) -> io::Result<bool> {
        let parent = self.open_parent(path)?;
        match create_subdir(parent.as_fd(), path.file_name()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the directory at `path` if it is empty.
    pub(super) fn remove_dir(&self, path: &RelPath) -> io::Result<()> {
        let parent = self.open_parent(path)?;
        Ok(unlinkat(parent, path.file_name(), AtFlags::REMOVEDIR)?)
    }

    /// Creates an empty file at `path` and removes it, which causes events in its directory. An
    /// existing file or link is removed.
    pub(super) fn touch_and_remove(&self, path: &RelPath) -> io::Result<()> {
        let parent = self.open_parent(path)?;
        let created = openat(&parent, path.file_name(), CREATE_FLAGS, Mode::from_raw_mode(0o600));
        let removed = unlinkat(&parent, path.file_name(), AtFlags::empty());
        created?;
        Ok(removed?)
    }

    /// Removes the file at `path` durably. Returns true if there was one.
    pub(super) fn remove(&self, path: &RelPath) -> io::Result<bool> {
        let parent = match self.open_parent(path) {
            Ok(parent) => parent,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let dir = parent.as_fd();
        begin_long_step(SYNC_LIMIT);
        match unlinkat(dir, path.file_name(), AtFlags::empty()) {
            Ok(()) => sync_dir(dir).map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns true if there is an entry at `path`.
    pub(super) fn exists(&self, path: &RelPath) -> bool {
        self.file_type(path).is_ok()
    }

    fn is_symlink(&self, path: &RelPath) -> bool {
        self.file_type(path).is_ok_and(|kind| kind == FileType::Symlink)
    }

    /// Returns true if the link at `path` points to a directory, which is not opened.
    pub(super) fn is_symlink_to_dir(&self, path: &RelPath) -> bool {
        let Ok(parent) = self.open_parent(path) else {
            return false;
        };
        statat(parent, path.file_name(), AtFlags::empty())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    /// Returns the type of the entry at `path`; does not follow a link.
    pub(super) fn file_type(&self, path: &RelPath) -> Result<FileType, Errno> {
        let stat = statat(self.open_parent(path)?, path.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode))
    }

    /// Opens the parent directory of `path`.
    fn open_parent(&self, path: &RelPath) -> Result<Parent, Errno> {
        self.walk_to_parent(path, |dir, name| self.open_at(dir, name, PATH_FLAGS))
    }

    fn create_parent(&self, path: &RelPath) -> io::Result<Parent> {
        let parent = self.walk_to_parent(path, |dir, name| match create_subdir(dir, name) {
            Ok(()) | Err(Errno::EXIST) => self.open_at(dir, name, PATH_FLAGS),
            Err(error) => Err(error),
        });
        Ok(parent?)
    }

    fn walk_to_parent(
        &self,
        path: &RelPath,
        mut open_subdir: impl FnMut(BorrowedFd<'_>, &[u8]) -> Result<OwnedFd, Errno>,
    ) -> Result<Parent, Errno> {
        let mut dir_names = path.components();
        dir_names.next_back();
        let mut current = Parent::Root(self.fd()?);
        for name in dir_names {
            current = Parent::Subdir(open_subdir(current.as_fd(), name)?);
        }
        Ok(current)
    }
}

/// Replaces the file `name` in an open directory by another one atomically. Fails with ENOENT, and leaves
/// nothing, if there is none: a file that is removed meanwhile does not return.
pub(super) fn replace_existing(dir: &OwnedFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    // An exchange would move a directory away.
    let found = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR.into());
    }
    rename_new(dir.as_fd(), name, bytes, RenameFlags::EXCHANGE)
}

/// Creates the file `name` in an open directory, with all of its content at once. Fails with EEXIST if
/// there is an entry already.
pub(super) fn create_new(dir: &OwnedFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    rename_new(dir.as_fd(), name, bytes, RenameFlags::NOREPLACE)
}

/// Removes the file `name` from an open directory.
pub(super) fn remove_from(dir: &OwnedFd, name: &str) -> io::Result<()> {
    Ok(unlinkat(dir, name, AtFlags::empty())?)
}

fn rename_new(dir: BorrowedFd<'_>, name: &str, bytes: &[u8], flags: RenameFlags) -> io::Result<()> {
    let temporary = temporary_name();
    let result = write_new(dir, &temporary, bytes).and_then(|_| {
        match renameat_with(dir, &temporary, dir, name, flags) {
            // The file system knows only the plain form.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                let exists = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|_| ());
                match (exists, flags == RenameFlags::EXCHANGE) {
                    (Ok(()), false) => return Err(Errno::EXIST.into()),
                    (Err(error), true) => return Err(error.into()),
                    (Ok(()), true) | (Err(_), false) => renameat(dir, &temporary, dir, name)?,
                }
            }
            renamed => renamed?,
        }
        Ok(())
    });
    // After an exchange it is the former file.
    if result.is_err() || flags == RenameFlags::EXCHANGE {
        let _ = unlinkat(dir, &temporary, AtFlags::empty());
    }
    result
}

/// How a file was written in the place of another one.
enum Written {
    /// It was exchanged for the other one, which has the temporary name.
    Exchanged(VersionId),
    /// It was renamed, if the other one had the expected content just before.
    Plainly { is_same: bool },
}

/// What identifies one version of a file: device, inode, size and time of modification.
#[derive(PartialEq, Eq)]
struct VersionId(u64, u64, i64, (i64, i64));

impl VersionId {
    fn of(stat: &Stat) -> Self {
        let modified = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default());
        Self(stat.st_dev, stat.st_ino, stat.st_size, modified)
    }
}

/// Exchanges the file of another program back to its name and removes `own`, which is there. If that was
/// replaced again meanwhile, its newest content gets the name. A file that is not `own` is never removed:
/// the error names it.
fn put_back(dir: BorrowedFd<'_>, temporary: &str, name: &[u8], own: &VersionId) -> io::Result<()> {
    let kept = |error: io::Error| {
        io::Error::new(error.kind(), format!("{error}; its former content is kept as {temporary}"))
    };
    let exchange = || match renameat_with(dir, temporary, dir, name, RenameFlags::EXCHANGE) {
        // It was removed meanwhile.
        Err(Errno::NOENT) => rename_to(dir, temporary, name, RenameFlags::NOREPLACE),
        exchanged => exchanged.map_err(io::Error::from),
    };
    exchange().map_err(kept)?;
    let stat = match statat(dir, temporary, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return sync_dir(dir),
        stat => stat.map_err(|error| kept(error.into()))?,
    };
    if VersionId::of(&stat) != *own {
        exchange().map_err(kept)?;
        sync_dir(dir)?;
        return Err(kept(io::Error::other("another program writes it at the same time")));
    }
    unlinkat(dir, temporary, AtFlags::empty())?;
    sync_dir(dir)
}

/// Renames a file in a directory; the file system must know the flags, or nothing is renamed unless the
/// plain form has the same effect.
fn rename_to(dir: BorrowedFd<'_>, from: &str, to: &[u8], flags: RenameFlags) -> io::Result<()> {
    match renameat_with(dir, from, dir, to, flags) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if flags == RenameFlags::NOREPLACE => {
            if statat(dir, to, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Err(Errno::EXIST.into());
            }
            Ok(renameat(dir, from, dir, to)?)
        }
        renamed => Ok(renamed?),
    }
}

fn temporary_name() -> String {
    format!(".dossierd-{}", Uuid::new_v4().simple())
}

/// Opens the directory at `path`; returns it with device and inode.
fn open_with_dev_ino(path: &Path) -> Result<(OwnedFd, DevIno), Errno> {
    let fd = open_path(path, PATH_FLAGS)?;
    let stat = fstat(&fd)?;
    Ok((fd, DevIno { device: stat.st_dev, inode: stat.st_ino }))
}

/// Reads a regular file that was opened without blocking; returns `None` if it does not exist.
fn read_regular(
    opened: Result<OwnedFd, Errno>,
    max_bytes: u64,
) -> Result<Option<Vec<u8>>, ReadError> {
    let file = match opened {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(ReadError::Symlink),
        Err(Errno::NXIO) => return Err(ReadError::NotRegularFile),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadError::NotRegularFile);
    }
    if metadata.len() > max_bytes {
        return Err(ReadError::TooLarge(max_bytes));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(ReadError::TooLarge(max_bytes));
    }
    Ok(Some(bytes))
}

/// Reads a regular file of the system by path and follows links.
pub(super) fn read_path(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, ReadError> {
    read_regular(open_path(path, READ_FLAGS.difference(OFlags::NOFOLLOW)), max_bytes)
}

fn open_at(dir: impl AsFd, name: impl rustix::path::Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    #[cfg(test)]
    open_limit::count()?;
    openat(dir, name, flags, Mode::empty())
}

fn duplicate(dir: &OwnedFd) -> Result<OwnedFd, Errno> {
    #[cfg(test)]
    open_limit::count()?;
    fcntl_dupfd_cloexec(dir, 0)
}

fn open_path(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    #[cfg(test)]
    open_limit::count()?;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Makes one of the next calls on this thread that open something fail, as without a free descriptor.
#[cfg(test)]
pub(super) mod open_limit {
    use std::cell::Cell;

    use rustix::io::Errno;

    thread_local! {
        static CALLS_LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// Has the call after `calls` others fail.
    pub(in crate::project) fn set(calls: usize) {
        CALLS_LEFT.set(Some(calls));
    }

    /// Returns true if no call has failed since [`set`].
    pub(in crate::project) fn is_unused() -> bool {
        CALLS_LEFT.take().is_some()
    }

    pub(super) fn count() -> Result<(), Errno> {
        match CALLS_LEFT.get() {
            Some(0) => {
                CALLS_LEFT.set(None);
                Err(Errno::MFILE)
            }
            left => {
                CALLS_LEFT.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}

/// Creates a directory with the mode of its parent.
fn create_subdir(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let mode = fstat(parent)?.st_mode & 0o777;
    mkdirat(parent, name, Mode::from_raw_mode(mode))?;
    set_mode(&openat(parent, name, LIST_FLAGS, Mode::empty())?, mode);
    Ok(())
}

/// Creates a file. Who may read or write its directory may do that with the file.
fn write_new(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> io::Result<File> {
    write_new_with_mode(dir, name, bytes, 0)
}

/// Creates a file with these permissions; 0 for those of [`write_new`].
fn write_new_with_mode(
    dir: BorrowedFd<'_>,
    name: &str,
    bytes: &[u8],
    mode: u32,
) -> io::Result<File> {
    let mode = if mode == 0 { fstat(dir)?.st_mode & 0o666 } else { mode & 0o777 };
    let mut file = File::from(openat(dir, name, CREATE_FLAGS, Mode::from_raw_mode(mode))?);
    set_mode(&file, mode);
    file.write_all(bytes)?;
    Ok(file)
}

/// Sets the mode of what was just created if the umask has changed it. Otherwise there would be one more
/// event about it.
fn set_mode(created: &impl AsFd, mode: u32) {
    let Ok(found) = fstat(created) else { return };
    if found.st_mode & 0o777 != mode {
        // The kernel passes on the bit for the group by itself. Some file systems have no modes.
        let _ = fchmod(created, Mode::from_raw_mode(mode | found.st_mode & 0o7000));
    }
}

/// Syncs a directory. It is opened again, because a descriptor with `O_PATH` cannot be synced.
fn sync_dir(dir: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fsync(openat(dir, c".", LIST_FLAGS, Mode::empty())?)?)
}

#[cfg(test)]
mod tests;

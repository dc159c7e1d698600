//! Files beneath a directory, reached one component at a time and never through a link.
//!
//! No library does both, to stay beneath a descriptor and to replace a file durably; hence
//! [`RootDir::replace`]: temporary file, sync, rename, sync of the directory. A crash leaves the old
//! file or the new one, and at worst a hidden temporary file beside it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use uuid::Uuid;

use crate::core::path::RelPath;
use crate::core::sync::lock;

/// A directory by its descriptor, which is held while there is something to do: a held one keeps its
/// file system from being unmounted.
#[derive(Debug)]
pub(super) struct RootDir {
    path: PathBuf,
    /// Device and inode of the directory that is meant, whatever lies at the path later.
    dev_ino: DevIno,
    fd: Mutex<Option<Arc<OwnedFd>>>,
}

/// Device and inode, which identify a file or directory while it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct DevIno {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// The directory that holds something: the one that was opened first, or one below it.
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

/// Why a file or directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system's refusal.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A link where a file or directory should be.
    #[error("symbolic link, not followed")]
    Symlink,
    /// Neither file nor link.
    #[error("not a regular file")]
    NotRegularFile,
    /// More than is ever read of such a file.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
}

impl From<Errno> for ReadError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// A directory's entry: its name and kind.
pub(super) struct DirEntry {
    pub(super) name: Vec<u8>,
    pub(super) kind: FileType,
}

const PATH_FLAGS: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const LIST_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// A file that was not there.
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
        Ok(Self { path: path.to_owned(), dev_ino, fd })
    }

    /// The directory at a path at which nothing can be opened.
    pub(super) fn unavailable(path: &Path) -> Self {
        Self { path: path.to_owned(), dev_ino: DevIno::default(), fd: Mutex::default() }
    }

    /// Device and inode.
    pub(super) fn dev_ino(&self) -> DevIno {
        self.dev_ino
    }

    /// Lets go of the descriptor until it is needed again.
    pub(super) fn close_fd(&self) {
        *lock(&self.fd) = None;
    }

    /// The descriptor. Opening it again fails where another directory has taken the place.
    fn fd(&self) -> Result<Arc<OwnedFd>, Errno> {
        let mut open_fd = lock(&self.fd);
        if let Some(fd) = &*open_fd {
            return Ok(Arc::clone(fd));
        }
        let (fd, dev_ino) = open_with_dev_ino(&self.path)?;
        if dev_ino != self.dev_ino {
            return Err(Errno::STALE);
        }
        Ok(Arc::clone(open_fd.insert(Arc::new(fd))))
    }

    /// A descriptor for listing the directory at `path`, or this one.
    pub(super) fn open_dir(&self, path: Option<&RelPath>) -> io::Result<OwnedFd> {
        let Some(path) = path else {
            return Ok(openat(self.fd()?, c".", LIST_FLAGS, Mode::empty())?);
        };
        Ok(openat(self.open_parent(path)?, path.file_name(), LIST_FLAGS, Mode::empty())?)
    }

    /// The bytes of the file at `path`; `None` where there is nothing.
    pub(super) fn read(&self, path: &RelPath, max: u64) -> Result<Option<Vec<u8>>, ReadError> {
        // Asked before it is opened: opening a FIFO wakes its writer.
        match self.file_type(path) {
            Ok(FileType::RegularFile) => {}
            Ok(FileType::Symlink) => return Err(ReadError::Symlink),
            Ok(_) => return Err(ReadError::NotRegularFile),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.classify_error(path, error)),
        }
        let parent = self.open_parent(path)?;
        read_regular(openat(parent, path.file_name(), READ_FLAGS, Mode::empty()), max)
    }

    /// The regular file at `path`, to be read; `None` where there is none that can be.
    pub(super) fn open_file(&self, path: &RelPath) -> Option<File> {
        let parent = self.open_parent(path).ok()?;
        let file =
            openat(parent, path.file_name(), READ_FLAGS, Mode::empty()).map(File::from).ok()?;
        file.metadata().is_ok_and(|found| found.is_file()).then_some(file)
    }

    /// Says that it is a link where that is why a directory on the way cannot be entered.
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

    /// The entries of the directory at `path`, or of this one, in order of name; none where there is
    /// no such directory.
    pub(super) fn list(&self, path: Option<&RelPath>) -> Result<Vec<DirEntry>, ReadError> {
        let dir = match self.open_dir(path) {
            Ok(dir) => dir,
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT) => return Ok(Vec::new()),
                Some(Errno::NOTDIR | Errno::LOOP)
                    if path.is_some_and(|path| self.is_symlink(path)) =>
                {
                    return Err(ReadError::Symlink);
                }
                Some(errno) if path.is_some() => {
                    return Err(path.map_or(error.into(), |path| self.classify_error(path, errno)));
                }
                _ => return Err(error.into()),
            },
        };
        let mut entries = Vec::new();
        for entry in Dir::new(dir.try_clone()?)? {
            let entry = entry?;
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

    /// Whether there is a directory at `path`.
    pub(super) fn is_dir(&self, path: &RelPath) -> bool {
        self.open_dir(Some(path)).is_ok()
    }

    /// Replaces the file at `path` as a whole and durably, making the directories on the way.
    pub(super) fn replace(&self, path: &RelPath, bytes: &[u8]) -> io::Result<()> {
        let parent = self.create_parent(path)?;
        let dir = parent.as_fd();
        let temporary = format!(".dossierd-{}", Uuid::new_v4().simple());
        let result = write_new(dir, &temporary, bytes)
            .and_then(|()| Ok(renameat(dir, &temporary, dir, path.file_name())?))
            .and_then(|()| sync_dir(dir));
        if result.is_err() {
            let _ = unlinkat(dir, &temporary, AtFlags::empty());
        }
        result
    }

    /// Makes an empty file at `path` and takes it away again, so that whoever watches its directory
    /// hears of it. What is there already is only taken away, a link as itself.
    pub(super) fn touch_and_remove(&self, path: &RelPath) -> io::Result<()> {
        let parent = self.open_parent(path)?;
        let created = openat(&parent, path.file_name(), CREATE_FLAGS, Mode::from_raw_mode(0o600));
        let removed = unlinkat(&parent, path.file_name(), AtFlags::empty());
        created?;
        Ok(removed?)
    }

    /// Removes the file at `path`, durably. Says whether there was one.
    pub(super) fn remove(&self, path: &RelPath) -> io::Result<bool> {
        let parent = match self.open_parent(path) {
            Ok(parent) => parent,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let dir = parent.as_fd();
        match unlinkat(dir, path.file_name(), AtFlags::empty()) {
            Ok(()) => sync_dir(dir).map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is anything at `path`.
    pub(super) fn exists(&self, path: &RelPath) -> bool {
        self.file_type(path).is_ok()
    }

    fn is_symlink(&self, path: &RelPath) -> bool {
        self.file_type(path).is_ok_and(|kind| kind == FileType::Symlink)
    }

    /// Whether the link at `path` leads to a directory, wherever that is: it is only asked, not entered.
    pub(super) fn is_symlink_to_dir(&self, path: &RelPath) -> bool {
        let Ok(parent) = self.open_parent(path) else {
            return false;
        };
        statat(parent, path.file_name(), AtFlags::empty())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    /// What is at `path`, links not followed.
    pub(super) fn file_type(&self, path: &RelPath) -> Result<FileType, Errno> {
        let stat = statat(self.open_parent(path)?, path.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode))
    }

    /// The directory that holds `path`.
    fn open_parent(&self, path: &RelPath) -> Result<Parent, Errno> {
        self.walk_to_parent(path, |dir, name| openat(dir, name, PATH_FLAGS, Mode::empty()))
    }

    fn create_parent(&self, path: &RelPath) -> io::Result<Parent> {
        let parent = self.walk_to_parent(path, |dir, name| {
            match mkdirat(dir, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => openat(dir, name, PATH_FLAGS, Mode::empty()),
                Err(error) => Err(error),
            }
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

/// The directory at a path, and its device and inode.
fn open_with_dev_ino(path: &Path) -> Result<(OwnedFd, DevIno), Errno> {
    let fd = rustix::fs::open(path, PATH_FLAGS, Mode::empty())?;
    let stat = fstat(&fd)?;
    Ok((fd, DevIno { device: stat.st_dev, inode: stat.st_ino }))
}

/// Reads a whole regular file that was opened so that it cannot block; `None` where there is none.
pub(super) fn read_regular(
    opened: Result<OwnedFd, Errno>,
    max: u64,
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
    if metadata.len() > max {
        return Err(ReadError::TooLarge(max));
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(ReadError::TooLarge(max));
    }
    Ok(Some(bytes))
}

/// Reads a regular file by path, links followed: for files of the system and of git.
pub(super) fn read_path(path: &Path, max: u64) -> Result<Option<Vec<u8>>, ReadError> {
    read_regular(
        rustix::fs::open(path, READ_FLAGS.difference(OFlags::NOFOLLOW), Mode::empty()),
        max,
    )
}

fn write_new(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::from(openat(dir, name, CREATE_FLAGS, Mode::from_raw_mode(0o666))?);
    file.write_all(bytes)?;
    file.sync_all()
}

/// Syncs a directory, which a descriptor opened for its path only cannot do.
fn sync_dir(dir: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fsync(openat(dir, c".", LIST_FLAGS, Mode::empty())?)?)
}

#[cfg(test)]
mod tests;

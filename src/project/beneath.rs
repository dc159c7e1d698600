//! Files beneath a folder, reached one component at a time and never through a link.
//!
//! No library does both, to stay beneath a descriptor and to replace a file durably; hence
//! [`Folder::replace`]: temporary file, sync, rename, sync of the folder. A crash leaves the old
//! file or the new one, and at worst a hidden temporary file beside it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use uuid::Uuid;

use crate::core::path::RelPath;

/// A folder by its descriptor, which is held while there is something to do: a held one keeps its
/// file system from being unmounted.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Device and inode of the folder that is meant, whatever lies at the path later.
    place: (u64, u64),
    held: Mutex<Option<Arc<OwnedFd>>>,
}

/// The folder that holds something: the one that was opened first, or one below it.
enum Parent {
    Own(Arc<OwnedFd>),
    Below(OwnedFd),
}

impl AsFd for Parent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(folder) => folder.as_fd(),
            Self::Below(folder) => folder.as_fd(),
        }
    }
}

/// Why a file or folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system's refusal.
    #[error(transparent)]
    Os(#[from] io::Error),
    /// A link where a file or folder should be.
    #[error("symbolic link, not followed")]
    Link,
    /// Neither file nor link.
    #[error("not a regular file")]
    NotRegular,
    /// More than is ever read of such a file.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
}

impl From<Errno> for ReadError {
    fn from(error: Errno) -> Self {
        Self::Os(error.into())
    }
}

/// A folder's entry: its name and kind.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) kind: FileType,
}

const PATH: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const LIST: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// A file that was not there.
const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the folder at a canonical path.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (folder, place) = open_place(path)?;
        let held = Mutex::new(Some(Arc::new(folder)));
        Ok(Self { path: path.to_owned(), place, held })
    }

    /// The folder at a path at which nothing can be opened.
    pub(super) fn absent(path: &Path) -> Self {
        Self { path: path.to_owned(), place: (0, 0), held: Mutex::default() }
    }

    /// Device and inode.
    pub(super) fn place(&self) -> (u64, u64) {
        self.place
    }

    /// Lets go of the descriptor until it is needed again.
    pub(super) fn release(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The descriptor. Opening it again fails where another folder has taken the place.
    fn own(&self) -> Result<Arc<OwnedFd>, Errno> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = &*held {
            return Ok(Arc::clone(folder));
        }
        let (folder, place) = open_place(&self.path)?;
        if place != self.place {
            return Err(Errno::STALE);
        }
        Ok(Arc::clone(held.insert(Arc::new(folder))))
    }

    /// A descriptor for listing the folder at `path`, or this one.
    pub(super) fn descriptor(&self, path: Option<&RelPath>) -> io::Result<OwnedFd> {
        let Some(path) = path else {
            return Ok(openat(self.own()?, c".", LIST, Mode::empty())?);
        };
        Ok(openat(self.parent_of(path)?, path.file_name(), LIST, Mode::empty())?)
    }

    /// The bytes of the file at `path`; `None` where there is nothing.
    pub(super) fn read(&self, path: &RelPath, max: u64) -> Result<Option<Vec<u8>>, ReadError> {
        // Asked before it is opened: opening a FIFO wakes its writer.
        match self.kind(path) {
            Ok(FileType::RegularFile) => {}
            Ok(FileType::Symlink) => return Err(ReadError::Link),
            Ok(_) => return Err(ReadError::NotRegular),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.explain(path, error)),
        }
        let parent = self.parent_of(path)?;
        read_regular(openat(parent, path.file_name(), READ, Mode::empty()), max)
    }

    /// The regular file at `path`, to be read; `None` where there is none that can be.
    pub(super) fn open_file(&self, path: &RelPath) -> Option<File> {
        let parent = self.parent_of(path).ok()?;
        let file = openat(parent, path.file_name(), READ, Mode::empty()).map(File::from).ok()?;
        file.metadata().is_ok_and(|found| found.is_file()).then_some(file)
    }

    /// Says that it is a link where that is why a folder on the way cannot be entered.
    fn explain(&self, path: &RelPath, error: Errno) -> ReadError {
        let bytes = path.as_bytes();
        let slashes = (0..bytes.len()).filter(|at| bytes[*at] == b'/');
        let mut folders = slashes.filter_map(|at| RelPath::new(&bytes[..at]).ok());
        if folders.any(|folder| self.is_link(&folder)) { ReadError::Link } else { error.into() }
    }

    /// The entries of the folder at `path`, or of this one, in order of name; none where there is
    /// no such folder.
    pub(super) fn list(&self, path: Option<&RelPath>) -> Result<Vec<Entry>, ReadError> {
        let descriptor = match self.descriptor(path) {
            Ok(descriptor) => descriptor,
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT) => return Ok(Vec::new()),
                Some(Errno::NOTDIR | Errno::LOOP)
                    if path.is_some_and(|path| self.is_link(path)) =>
                {
                    return Err(ReadError::Link);
                }
                Some(errno) if path.is_some() => {
                    return Err(path.map_or(error.into(), |path| self.explain(path, errno)));
                }
                _ => return Err(error.into()),
            },
        };
        let mut entries = Vec::new();
        for entry in Dir::new(descriptor.try_clone()?)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match statat(&descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(_) => FileType::Unknown,
                },
                known => known,
            };
            entries.push(Entry { name: name.to_bytes().to_vec(), kind });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Whether there is a folder at `path`.
    pub(super) fn has_folder(&self, path: &RelPath) -> bool {
        self.descriptor(Some(path)).is_ok()
    }

    /// Replaces the file at `path` as a whole and durably, making the folders on the way.
    pub(super) fn replace(&self, path: &RelPath, bytes: &[u8]) -> io::Result<()> {
        let parent = self.make_parent_of(path)?;
        let folder = parent.as_fd();
        let temporary = format!(".dossierd-{}", Uuid::new_v4().simple());
        let result = write_new(folder, &temporary, bytes)
            .and_then(|()| Ok(renameat(folder, &temporary, folder, path.file_name())?))
            .and_then(|()| sync(folder));
        if result.is_err() {
            let _ = unlinkat(folder, &temporary, AtFlags::empty());
        }
        result
    }

    /// Makes an empty file at `path` and takes it away again, so that whoever watches its folder
    /// hears of it. What is there already is only taken away, a link as itself.
    pub(super) fn flash(&self, path: &RelPath) -> io::Result<()> {
        let parent = self.parent_of(path)?;
        let made = openat(&parent, path.file_name(), NEW, Mode::from_raw_mode(0o600));
        let taken = unlinkat(&parent, path.file_name(), AtFlags::empty());
        made?;
        Ok(taken?)
    }

    /// Removes the file at `path`, durably. Says whether there was one.
    pub(super) fn remove(&self, path: &RelPath) -> io::Result<bool> {
        let parent = match self.parent_of(path) {
            Ok(parent) => parent,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let folder = parent.as_fd();
        match unlinkat(folder, path.file_name(), AtFlags::empty()) {
            Ok(()) => sync(folder).map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is anything at `path`.
    pub(super) fn exists(&self, path: &RelPath) -> bool {
        self.kind(path).is_ok()
    }

    fn is_link(&self, path: &RelPath) -> bool {
        self.kind(path).is_ok_and(|kind| kind == FileType::Symlink)
    }

    /// Whether the link at `path` leads to a folder, wherever that is: it is only asked, not entered.
    pub(super) fn leads_to_folder(&self, path: &RelPath) -> bool {
        let Ok(parent) = self.parent_of(path) else {
            return false;
        };
        statat(parent, path.file_name(), AtFlags::empty())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    /// What is at `path`, links not followed.
    pub(super) fn kind(&self, path: &RelPath) -> Result<FileType, Errno> {
        let stat = statat(self.parent_of(path)?, path.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode))
    }

    /// The folder that holds `path`.
    fn parent_of(&self, path: &RelPath) -> Result<Parent, Errno> {
        self.walk(path, |folder, name| openat(folder, name, PATH, Mode::empty()))
    }

    fn make_parent_of(&self, path: &RelPath) -> io::Result<Parent> {
        let made = self.walk(path, |folder, name| {
            match mkdirat(folder, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => openat(folder, name, PATH, Mode::empty()),
                Err(error) => Err(error),
            }
        });
        Ok(made?)
    }

    fn walk(
        &self,
        path: &RelPath,
        mut enter: impl FnMut(BorrowedFd<'_>, &[u8]) -> Result<OwnedFd, Errno>,
    ) -> Result<Parent, Errno> {
        let mut folders = path.components();
        folders.next_back();
        let mut current = Parent::Own(self.own()?);
        for name in folders {
            current = Parent::Below(enter(current.as_fd(), name)?);
        }
        Ok(current)
    }
}

/// The folder at a path, and its device and inode.
fn open_place(path: &Path) -> Result<(OwnedFd, (u64, u64)), Errno> {
    let folder = rustix::fs::open(path, PATH, Mode::empty())?;
    let stat = fstat(&folder)?;
    Ok((folder, (stat.st_dev, stat.st_ino)))
}

/// Reads a whole regular file that was opened so that it cannot block; `None` where there is none.
pub(super) fn read_regular(
    opened: Result<OwnedFd, Errno>,
    max: u64,
) -> Result<Option<Vec<u8>>, ReadError> {
    let file = match opened {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(ReadError::Link),
        Err(Errno::NXIO) => return Err(ReadError::NotRegular),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadError::NotRegular);
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
    read_regular(rustix::fs::open(path, READ.difference(OFlags::NOFOLLOW), Mode::empty()), max)
}

fn write_new(folder: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::from(openat(folder, name, NEW, Mode::from_raw_mode(0o666))?);
    file.write_all(bytes)?;
    file.sync_all()
}

/// Syncs a folder, which a descriptor opened for its path only cannot do.
fn sync(folder: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fsync(openat(folder, c".", LIST, Mode::empty())?)?)
}

#[cfg(test)]
mod tests;

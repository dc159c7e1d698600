//! One entry of a directory: what kind it is, and opening it so that it can do no harm.
//!
//! What the directory's own listing calls special is never opened: opening a FIFO wakes its writer,
//! and opening a device can do anything. What was swapped in between cannot block either.

use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::hash::{NOT_REGULAR, ReadOptions, ReadResult, read_stable};

/// `error_detail` of a link.
pub(super) const SYMBOLIC_LINK: &str = "symbolic link, not followed";

const LIST_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// What an entry is, as far as a scan cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    Dir,
    File,
    Symlink,
    Special,
}

impl From<FileType> for EntryKind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Dir,
            FileType::RegularFile => Self::File,
            FileType::Symlink => Self::Symlink,
            _ => Self::Special,
        }
    }
}

/// The kind of an entry whose directory's listing does not say.
pub(super) fn entry_kind(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<EntryKind> {
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode).into())
}

/// Opens a directory within a directory.
pub(super) fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(dir, name, LIST_FLAGS, Mode::empty())
}

/// Opens a file within a directory so that nothing it may have become can block.
pub(super) fn open_file(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(dir, name, READ_FLAGS, Mode::empty())
}

/// Reads an entry that is no directory; `None` when it is not there any more.
pub(super) fn read_entry(
    dir: BorrowedFd<'_>,
    name: &CStr,
    kind: EntryKind,
    options: ReadOptions<'_>,
    buffer: &mut [u8],
) -> Option<ReadResult> {
    match kind {
        EntryKind::Symlink => return Some(ReadResult::unreadable(SYMBOLIC_LINK, 0)),
        EntryKind::Special => return Some(ReadResult::unreadable(NOT_REGULAR, 0)),
        EntryKind::File | EntryKind::Dir => {}
    }
    match open_file(dir, name) {
        Ok(mut file) => Some(read_stable(&mut file, options, buffer)),
        Err(Errno::NOENT) => None,
        Err(Errno::LOOP) => Some(ReadResult::unreadable(SYMBOLIC_LINK, 0)),
        Err(Errno::NXIO) => Some(ReadResult::unreadable(NOT_REGULAR, 0)),
        Err(error) => Some(ReadResult::from_io_error(&error.into(), stat_size(dir, name))),
    }
}

/// Size of a file that cannot be opened.
fn stat_size(dir: BorrowedFd<'_>, name: &CStr) -> u64 {
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.ok().and_then(|stat| u64::try_from(stat.st_size).ok()).unwrap_or_default()
}

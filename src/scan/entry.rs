//! Opens and reads one directory entry without side effects.
//!
//! Entries that the listing reports as special are never opened: opening a FIFO wakes its writer,
//! and opening a device may have any effect. If an entry is replaced after it was listed, the open
//! flags ensure that opening it does not block.

use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::hash::{NOT_REGULAR, ReadOptions, ReadResult, read_stable};

/// `error_detail` of a symbolic link.
pub(super) const SYMBOLIC_LINK: &str = "symbolic link, not followed";

const LIST_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// The type of a directory entry, as far as a scan distinguishes it.
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

/// Returns the kind of an entry whose directory listing does not include it (`DT_UNKNOWN`).
pub(super) fn entry_kind(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<EntryKind> {
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode).into())
}

/// Opens a subdirectory of `dir` for listing.
pub(super) fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(dir, name, LIST_FLAGS, Mode::empty())
}

/// Opens a file in `dir` without following a link and without blocking on a FIFO.
pub(super) fn open_file(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(dir, name, READ_FLAGS, Mode::empty())
}

/// Reads an entry other than a directory; returns `None` if it no longer exists.
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

/// Returns the size of a file that cannot be opened, or 0.
fn stat_size(dir: BorrowedFd<'_>, name: &CStr) -> u64 {
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.ok().and_then(|stat| u64::try_from(stat.st_size).ok()).unwrap_or_default()
}

//! Checks one path of a feature: stat, and a read only if the signature changed.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;

use crate::core::artifact::{CHANGED_WHILE_READ, FileSignature, Observation};
use crate::core::churn::ChurnRules;
use crate::core::content::StaticHash;
use crate::core::file_kind::FileKind;
use crate::core::path::RelPath;
use crate::scan::entry::{EntryKind, open_dir, read_entry};
use crate::scan::hash::{
    ReadOptions, ReadResult, TransientFailure, is_resource_exhausted, signature_of,
};
use crate::scan::limits::ScanLimits;

/// Size up to which a file that changed while it was read is read again at once. A larger one is tried again later
/// (`docs/specification.md#settling`).
const MAX_RETRIED_BYTES: u64 = 1 << 20;

/// The state of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathState {
    /// There is no entry.
    Missing,
    /// The directory of the feature cannot be opened, so nothing is known of what is in it: it may have been
    /// moved, deleted, or become unreadable.
    FeatureUnavailable,
    /// A regular file with the known signature; it was not read.
    Unchanged,
    /// A directory, and whether its entries can be listed and accessed.
    Dir {
        /// True if they can.
        accessible: bool,
    },
    /// A directory above the path cannot be entered: its path, and the error of the operating
    /// system.
    ParentUnreadable(RelPath, String),
    /// Any other entry, read.
    Read(Observation),
    /// A file that changed during each read attempt.
    Unstable,
    /// The process is out of file descriptors or memory, so nothing is known.
    OutOfResources,
    /// The directory from which paths are opened is not the one that was opened before, so nothing
    /// is known.
    RootReplaced,
    /// A file larger than [`ReadLimit::UpTo`]; it was not read.
    TooLarge,
}

/// The largest file that a check may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadLimit {
    /// Up to this many bytes; larger files are [`PathState::TooLarge`].
    UpTo(u64),
    /// Any size within [`ScanLimits::max_file_bytes`].
    Unlimited,
}

/// Checks `path` below the directory `feature`. A file whose signature is still `known` is not
/// opened.
#[must_use]
pub fn check_path(
    feature: OwnedFd,
    path: &RelPath,
    known: Option<&FileSignature>,
    read_limit: ReadLimit,
    churn: &ChurnRules,
    limits: &ScanLimits,
    buffer: &mut [u8],
) -> PathState {
    let mut dir = feature;
    let mut parent_length = 0;
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        let Ok(name) = CString::new(component) else {
            return PathState::Missing;
        };
        if components.peek().is_some() {
            parent_length += component.len() + 1;
            dir = match open_dir(dir.as_fd(), &name) {
                Ok(dir) => dir,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return PathState::Missing,
                Err(error) => return parent_unreadable(path, parent_length - 1, &error.into()),
            };
            continue;
        }
        let stat = match statat(&dir, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return PathState::Missing,
            Err(error) if parent_length > 0 => {
                return parent_unreadable(path, parent_length - 1, &error.into());
            }
            Err(error) => return read_failed(path, &error.into()),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let signature = signature_of(&stat);
        if kind == FileType::Directory {
            return PathState::Dir { accessible: is_accessible(dir.as_fd(), &name) };
        }
        if kind == FileType::RegularFile {
            if known == Some(&signature) {
                return PathState::Unchanged;
            }
            if let ReadLimit::UpTo(max_bytes) = read_limit
                && signature.size > max_bytes
                && signature.size <= limits.max_file_bytes
            {
                return PathState::TooLarge;
            }
        }
        let churn = churn.of_file(path);
        let options = ReadOptions {
            kind: FileKind::from_path(path),
            churn: churn.as_ref(),
            static_part: StaticHash::Compute,
            limits,
            max_retried_bytes: MAX_RETRIED_BYTES,
        };
        let result = read_entry(dir.as_fd(), &name, EntryKind::from(kind), options, buffer);
        let Some(result) = result else {
            return PathState::Missing;
        };
        match result.transient {
            Some(TransientFailure::Unstable) => return PathState::Unstable,
            Some(TransientFailure::OutOfResources) => return PathState::OutOfResources,
            None => {}
        }
        let is_linked = kind == FileType::RegularFile && stat.st_nlink > 1;
        let observation = result.into_observation(path.clone());
        return PathState::Read(Observation { is_linked, ..observation });
    }
    PathState::Missing
}

/// Reads `path` below the directory `feature`, which is not a directory, as a scan does. Returns `None` if
/// there is no such entry any more.
#[must_use]
pub fn read_path(
    feature: OwnedFd,
    path: &RelPath,
    churn: &ChurnRules,
    limits: &ScanLimits,
    buffer: &mut [u8],
) -> Option<Observation> {
    let failed = |detail: &str| ReadResult::unreadable(detail, 0).into_observation(path.clone());
    match check_path(feature, path, None, ReadLimit::Unlimited, churn, limits, buffer) {
        PathState::Read(seen) => Some(seen),
        PathState::Unstable => Some(failed(CHANGED_WHILE_READ)),
        PathState::OutOfResources => Some(failed("out of file descriptors or memory")),
        PathState::Missing
        | PathState::FeatureUnavailable
        | PathState::Unchanged
        | PathState::Dir { .. }
        | PathState::ParentUnreadable(..)
        | PathState::RootReplaced
        | PathState::TooLarge => None,
    }
}

/// Returns the state of `path` if the directory named by its first `length` bytes cannot be
/// entered.
fn parent_unreadable(path: &RelPath, length: usize, error: &io::Error) -> PathState {
    match RelPath::new(&path.as_bytes()[..length]) {
        _ if is_resource_exhausted(error) => PathState::OutOfResources,
        Ok(parent) => PathState::ParentUnreadable(parent, error.to_string()),
        Err(_) => PathState::Missing,
    }
}

/// Returns true if a directory can be listed and its entries be accessed.
fn is_accessible(parent: BorrowedFd<'_>, name: &CStr) -> bool {
    let dir = open_dir(parent, name);
    dir.is_ok_and(|dir| statat(&dir, c".", AtFlags::empty()).is_ok())
}

fn read_failed(path: &RelPath, error: &io::Error) -> PathState {
    if is_resource_exhausted(error) {
        return PathState::OutOfResources;
    }
    PathState::Read(ReadResult::from_io_error(error, 0).into_observation(path.clone()))
}

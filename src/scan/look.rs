//! Looking at one path of a feature: what is there now, read only if its signature says so.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;

use super::Limits;
use super::entry::{EntryKind, open_folder, read_entry};
use super::hash::{How, Passing, is_starved, signature_of};
use crate::core::artifact::{ErrorReason, Fault, Observation, Signature, State};
use crate::core::content::{Kind, StaticPart};
use crate::core::path::RelPath;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing.
    Gone,
    /// A file with the signature that is known.
    Unchanged,
    /// A folder.
    Folder,
    /// A folder on the way cannot be entered: which, and why.
    Hidden(RelPath, String),
    /// An entry that is no folder, read.
    Seen(Observation),
    /// A file that changed with every try to read it.
    Restless,
    /// The process had no descriptor or memory left to look with.
    Starved,
    /// A file too large for the fast lane.
    Large,
}

/// How much may be read in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Files up to this many bytes; larger ones are [`Look::Large`].
    Fast(u64),
    /// Files of any size.
    Slow,
}

/// Looks at `path` below the open `feature`. A file that still has the signature `known` is not
/// opened.
#[must_use]
pub fn look(
    feature: OwnedFd,
    path: &RelPath,
    known: Option<&Signature>,
    lane: Lane,
    limits: &Limits,
    buffer: &mut [u8],
) -> Look {
    let mut folder = feature;
    let mut done = 0;
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        let Ok(name) = CString::new(component) else {
            return Look::Gone;
        };
        if components.peek().is_some() {
            done += component.len() + 1;
            folder = match open_folder(folder.as_fd(), &name) {
                Ok(folder) => folder,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Look::Gone,
                Err(error) => return hidden(path, done - 1, &error.into()),
            };
            continue;
        }
        let stat = match statat(&folder, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Look::Gone,
            Err(error) if done > 0 => return hidden(path, done - 1, &error.into()),
            Err(error) => return seen_unreadable(path, &error.into()),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let signature = signature_of(&stat);
        if kind == FileType::Directory {
            return Look::Folder;
        }
        if kind == FileType::RegularFile {
            if known == Some(&signature) {
                return Look::Unchanged;
            }
            if let Lane::Fast(max) = lane
                && signature.size > max
                && signature.size <= limits.file_bytes
            {
                return Look::Large;
            }
        }
        let how = How { kind: Kind::of(path), static_part: StaticPart::Hash, limits };
        let reading = read_entry(folder.as_fd(), &name, EntryKind::from(kind), how, buffer);
        let Some(reading) = reading else {
            return Look::Gone;
        };
        match reading.passing {
            Some(Passing::Restless) => return Look::Restless,
            Some(Passing::Starved) => return Look::Starved,
            None => {}
        }
        return Look::Seen(Observation {
            path: path.clone(),
            size_bytes: reading.size,
            state: reading.state,
            wp_id: reading.wp_id,
            signature: reading.signature,
            racy: reading.racy,
        });
    }
    Look::Gone
}

/// The folder that is the first `length` bytes of `path` cannot be entered.
fn hidden(path: &RelPath, length: usize, error: &io::Error) -> Look {
    match RelPath::new(&path.as_bytes()[..length]) {
        _ if is_starved(error) => Look::Starved,
        Ok(folder) => Look::Hidden(folder, error.to_string()),
        Err(_) => Look::Gone,
    }
}

fn seen_unreadable(path: &RelPath, error: &io::Error) -> Look {
    if is_starved(error) {
        return Look::Starved;
    }
    let detail = error.to_string().into();
    let fault = Fault { reason: ErrorReason::Unreadable, detail: Some(detail) };
    Look::Seen(Observation {
        path: path.clone(),
        size_bytes: 0,
        state: State::Absent(fault),
        wp_id: None,
        signature: None,
        racy: false,
    })
}

//! Reads the content of one artifact, to show it. Opens it as a scan does, and hashes nothing.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use super::entry::{open_dir, open_file};
use super::hash::NOT_REGULAR;
use crate::core::path::RelPath;

/// Returns the first `max_bytes` bytes of the file at `path` below the directory `feature`.
///
/// # Errors
/// Those of [`read_file`].
pub fn read_content(feature: OwnedFd, path: &RelPath, max_bytes: u64) -> io::Result<Vec<u8>> {
    read_file(feature, path, max_bytes).map(|(bytes, _)| bytes)
}

/// Returns the first `max_bytes` bytes of the file at `path` below the directory `feature`, and its
/// permissions.
///
/// # Errors
/// Those of the operating system; a symbolic link is refused at each component of the path.
pub fn read_file(feature: OwnedFd, path: &RelPath, max_bytes: u64) -> io::Result<(Vec<u8>, u32)> {
    let mut dir = feature;
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        let name = CString::new(component)?;
        if components.peek().is_some() {
            dir = open_dir(dir.as_fd(), &name)?;
            continue;
        }
        let file = File::from(open_file(dir.as_fd(), &name)?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other(NOT_REGULAR));
        }
        let mut bytes = Vec::new();
        file.take(max_bytes).read_to_end(&mut bytes)?;
        return Ok((bytes, metadata.mode() & 0o777));
    }
    Err(io::Error::other("the path is empty"))
}

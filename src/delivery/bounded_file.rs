//! Reads small files that the configuration names. Does not check who may read them.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Reads a regular file of at most `max_bytes`, following links. Returns its content and metadata.
pub(crate) fn read(path: &Path, max_bytes: u64) -> io::Result<(Vec<u8>, Metadata)> {
    // Without NONBLOCK, opening a FIFO waits until a process opens it for writing.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("larger than {max_bytes} bytes")));
    }
    Ok((bytes, metadata))
}

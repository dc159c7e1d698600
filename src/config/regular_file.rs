//! Reads the files of the configuration directory, which may be links to elsewhere.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Maximum size of a file; a larger one is an error.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Reads a file of at most [`MAX_CONFIG_BYTES`]. It is opened without blocking, so that a FIFO in
/// its place cannot stop the daemon.
pub(super) fn read_regular_file(file: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(file, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(io::Error::other(format!("larger than {MAX_CONFIG_BYTES} bytes")));
    }
    Ok(bytes)
}

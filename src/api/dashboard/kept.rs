//! What the service manager keeps of an open dashboard over a restart of the daemon: the listener, and
//! a file in memory with its sessions.
//!
//! As long as the listener is kept, no other process can have had the port, so its sessions stay
//! valid. Without a service manager both end with the process.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{MemfdFlags, memfd_create};

/// Maximum size of the file with the sessions; more is not read.
const MAX_BYTES: u64 = 1 << 20;

/// An open dashboard that the service manager has kept.
#[derive(Debug)]
pub struct KeptDashboard {
    /// The listener; its clients have waited since the last daemon ended.
    pub listener: TcpListener,
    /// The file with its sessions.
    pub sessions: File,
}

/// What the service manager is to do.
#[derive(Debug)]
pub enum KeepRequest<'a> {
    /// Keep these until they are removed.
    Keep {
        /// The listener.
        listener: BorrowedFd<'a>,
        /// The file with its sessions.
        sessions: BorrowedFd<'a>,
    },
    /// Close what is kept.
    Remove,
}

/// A file in memory, with the sessions of a listener. The service manager has it open as well.
pub(crate) struct KeptFile(File);

impl KeptFile {
    pub(crate) fn create() -> io::Result<Self> {
        let file = memfd_create("dossierd-dashboard", MemfdFlags::CLOEXEC)?;
        Ok(Self(File::from(file)))
    }

    /// Takes over a file that was kept; returns it with its content.
    pub(crate) fn from_kept(file: File) -> io::Result<(Self, Vec<u8>)> {
        let mut content = Vec::new();
        (&file).rewind()?;
        (&file).take(MAX_BYTES).read_to_end(&mut content)?;
        Ok((Self(file), content))
    }

    /// Replaces the content. If the daemon is killed meanwhile, it is invalid, and the sessions end.
    pub(crate) fn write(&self, content: &[u8]) -> io::Result<()> {
        self.0.set_len(0)?;
        (&self.0).rewind()?;
        (&self.0).write_all(content)
    }
}

impl AsFd for KeptFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_replaced_and_read_again() {
        let file = KeptFile::create().unwrap();
        file.write(b"longer").unwrap();
        file.write(b"short").unwrap();
        // As the next daemon gets it.
        let copy = File::from(file.as_fd().try_clone_to_owned().unwrap());
        let (kept, content) = KeptFile::from_kept(copy).unwrap();
        assert_eq!(content, b"short");
        kept.write(b"next").unwrap();
        let copy = File::from(file.as_fd().try_clone_to_owned().unwrap());
        assert_eq!(KeptFile::from_kept(copy).unwrap().1, b"next");
    }
}

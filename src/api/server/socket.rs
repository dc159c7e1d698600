//! The local socket: made so that only its owner can reach it, and served with limits.
//!
//! A socket file that is there is never displaced on trust: whoever holds the daemon's lock asks
//! first whether someone answers, and takes away only a socket of its own user that no one serves.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use interprocess::local_socket::tokio::Listener;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName as _};
use interprocess::os::unix::local_socket::ListenerOptionsExt as _;
use interprocess::os::unix::uds_local_socket;

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system refused something.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// Another daemon answers there.
    #[error(
        "a daemon already answers at {path}; end it with `dossierd stop --socket {path}`, or choose \
         another socket with --socket",
        path = .0.display()
    )]
    InUse(PathBuf),
    /// What is there is not ours to take away.
    #[error("{path} is {what}, and left as it is; remove it, or choose another with --socket", path = path.display())]
    NotReplaceable {
        /// The socket's path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Others could take the socket away, or could have put the directory there.
    #[error(
        "{path} is {what}, and left as it is; choose a socket in a folder of its own with --socket{mend}",
        path = path.display()
    )]
    UnsafeDirectory {
        /// The directory of the socket.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// What else helps.
        mend: &'static str,
    },
}

/// Makes the socket at `path`, whose lock the caller holds.
///
/// # Errors
/// [`SocketError`]; what is there is left as it was.
pub fn bind(path: &Path) -> Result<Listener, SocketError> {
    let error = |action, path: &Path| {
        let path = path.to_owned();
        move |source| SocketError::Io { action, path, source }
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    ensure_private_dir(folder)?;
    remove_stale_socket(path)?;
    let name = path.to_fs_name::<GenericFilePath>().map_err(error("name", path))?;
    ListenerOptions::new().name(name).mode(0o600).create_tokio().map_err(error("listen at", path))
}

/// Takes over a listener that the service manager made, and will make a new one of: its file is
/// left alone, now and at the end.
///
/// # Errors
/// When it cannot be used.
pub fn adopt_systemd_socket(listener: UnixListener) -> io::Result<Listener> {
    Ok(uds_local_socket::tokio::Listener::try_from(OwnedFd::from(listener))?.into())
}

/// Makes the socket's directory, or refuses one that others can enter.
fn ensure_private_dir(folder: &Path) -> Result<(), SocketError> {
    let error = |action| {
        let path = folder.to_owned();
        move |source| SocketError::Io { action, path, source }
    };
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(error("make the folder"))?;
    let metadata = fs::symlink_metadata(folder).map_err(error("look at"))?;
    let wrong = if metadata.is_symlink() {
        ("a symbolic link", "")
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        ("a folder of another user", "")
    } else if metadata.mode() & 0o077 != 0 {
        // With the sticky bit it is meant for all.
        let shared = metadata.mode() & 0o1000 != 0;
        let mend = if shared { "" } else { ", or, if it is yours alone, `chmod 700` it" };
        ("a folder that other users can enter", mend)
    } else {
        return Ok(());
    };
    let (what, mend) = wrong;
    Err(SocketError::UnsafeDirectory { path: folder.to_owned(), what, mend })
}

/// Takes away a socket that no one serves, and nothing else.
fn remove_stale_socket(path: &Path) -> Result<(), SocketError> {
    let foreign = |what| SocketError::NotReplaceable { path: path.to_owned(), what };
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(SocketError::Io { action: "look at", path: path.to_owned(), source });
        }
        Ok(metadata) => metadata,
    };
    if metadata.is_symlink() {
        return Err(foreign("a symbolic link"));
    }
    if !metadata.file_type().is_socket() {
        return Err(foreign("no socket"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(foreign("a socket of another user"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|source| SocketError::Io { action: "remove", path: path.to_owned(), source }),
        Err(source) => Err(SocketError::Io { action: "connect to", path: path.to_owned(), source }),
    }
}

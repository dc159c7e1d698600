//! Creates the daemon's Unix socket, so that only its owner can reach it. It does not accept.
//!
//! An existing file is never replaced unless it is a socket of this user to which nothing listens:
//! the caller holds the daemon's lock, and a connection is tried first.

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

use crate::ownership::{PrivateDirError, check_parents};

/// Why the socket cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A system call failed.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The socket, or its directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another process accepts connections at the path.
    #[error(
        "a daemon already answers at {path}; stop it with `dossierd stop --socket {path}`, or \
         choose another socket with --socket",
        path = .0.display()
    )]
    InUse(PathBuf),
    /// The path exists and is not a socket of this user.
    #[error(
        "cannot create the socket {path}: the path is {what}; remove it, or choose another socket \
         with --socket",
        path = path.display()
    )]
    NotReplaceable {
        /// The socket's path.
        path: PathBuf,
        /// What exists there.
        what: &'static str,
    },
    /// Other users could exchange the directory.
    #[error(transparent)]
    UnsafeParent(#[from] PrivateDirError),
    /// Other users could replace the socket, or could have created the directory.
    #[error(
        "cannot create a socket in {path}: the directory {what}; choose a socket in a private \
         directory with --socket{chmod}",
        path = path.display()
    )]
    UnsafeDirectory {
        /// The directory of the socket.
        path: PathBuf,
        /// Why it is unsafe.
        what: &'static str,
        /// The alternative fix, where there is one.
        chmod: &'static str,
    },
}

/// Creates the socket at `path`, mode 0600, and its directory, mode 0700. The caller holds the
/// daemon's lock, and removes the socket before releasing it.
///
/// # Errors
/// If the path or the directory is unsafe, in use, or cannot be created; existing files are not
/// changed then.
pub fn bind(path: &Path) -> Result<Listener, SocketError> {
    let error = |action, path: &Path| {
        let path = path.to_owned();
        move |source| SocketError::Io { action, path, source }
    };
    ensure_private_dir(path.parent().unwrap_or(Path::new(".")))?;
    remove_stale_socket(path)?;
    let name = path.to_fs_name::<GenericFilePath>().map_err(error("use the socket path", path))?;
    let options = ListenerOptions::new().name(name).mode(0o600).reclaim_name(false);
    options.create_tokio().map_err(error("listen on", path))
}

/// Adopts a socket from systemd's socket activation. systemd owns its file, which is therefore not
/// removed when the daemon stops.
///
/// # Errors
/// If the descriptor cannot be registered with the runtime.
pub fn adopt_systemd_socket(listener: UnixListener) -> io::Result<Listener> {
    Ok(uds_local_socket::tokio::Listener::try_from(OwnedFd::from(listener))?.into())
}

/// Creates the socket's directory, or checks that only this user can enter the existing one.
fn ensure_private_dir(dir: &Path) -> Result<(), SocketError> {
    let error = |action| {
        let path = dir.to_owned();
        move |source| SocketError::Io { action, path, source }
    };
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    created.map_err(error("create the directory"))?;
    let metadata = fs::symlink_metadata(dir).map_err(error("read the metadata of"))?;
    let (what, chmod) = if metadata.is_symlink() {
        ("is a symbolic link", "")
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        ("belongs to another user", "")
    } else if metadata.mode() & 0o077 != 0 {
        // The sticky bit marks a directory that is shared on purpose, such as /tmp.
        let is_shared = metadata.mode() & 0o1000 != 0;
        let chmod = if is_shared { "" } else { ", or `chmod 700` this one if only you use it" };
        ("can be entered by other users", chmod)
    } else {
        return Ok(check_parents(dir)?);
    };
    Err(SocketError::UnsafeDirectory { path: dir.to_owned(), what, chmod })
}

/// Removes a socket of this user that refuses connections, and nothing else.
fn remove_stale_socket(path: &Path) -> Result<(), SocketError> {
    let not_replaceable = |what| SocketError::NotReplaceable { path: path.to_owned(), what };
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(SocketError::Io {
                action: "read the metadata of",
                path: path.to_owned(),
                source,
            });
        }
        Ok(metadata) => metadata,
    };
    if metadata.is_symlink() {
        return Err(not_replaceable("a symbolic link"));
    }
    if !metadata.file_type().is_socket() {
        return Err(not_replaceable("not a socket"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(not_replaceable("a socket of another user"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|source| SocketError::Io { action: "remove", path: path.to_owned(), source }),
        Err(source) => Err(SocketError::Io { action: "connect to", path: path.to_owned(), source }),
    }
}

//! Socket activation: the listener passed by systemd, and which process already owns the socket.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use interprocess::local_socket::traits::{Stream as _, StreamCommon as _};
use interprocess::local_socket::{GenericFilePath, Stream, ToFsName as _};
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

/// A listening socket passed by systemd.
#[derive(Debug)]
pub(crate) struct InheritedSocket {
    pub(crate) listener: UnixListener,
    pub(crate) path: PathBuf,
}

/// Returns true if systemd has passed a listener to this process (`sd_listen_fds(3)`).
pub(crate) fn has_inherited_listener() -> bool {
    let own = std::process::id().to_string();
    std::env::var("LISTEN_PID").is_ok_and(|process| process == own)
}

/// Returns the listener passed by systemd, if there is one (`sd_listen_fds(3)`). Must be called before
/// threads are created, because it removes the variables from the environment.
pub(crate) fn take_inherited_listener() -> io::Result<Option<InheritedSocket>> {
    let mut descriptors = ListenFd::from_env();
    if descriptors.len() > 1 {
        // A client of a socket that is not served would wait forever.
        let message = format!("expected one socket, got {}", descriptors.len());
        return Err(io::Error::other(message));
    }
    let Some(listener) = descriptors.take_unix_listener(0)? else {
        return Ok(None);
    };
    if !socket_acceptconn(&listener)? {
        return Err(io::Error::other("it does not listen; set `Accept=no` in the socket unit"));
    }
    let address = listener.local_addr()?;
    let path = address.as_pathname().ok_or_else(|| io::Error::other("it has no path"))?;
    let path = std::path::absolute(path)?;
    Ok(Some(InheritedSocket { listener, path }))
}

/// Which process owns a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketOwner {
    /// No process listens.
    None,
    /// The user's systemd, which starts the service when a client connects.
    ServiceManager,
    /// Another process.
    Process,
}

/// Connects to a socket to find its owner. If that is systemd, it starts the service.
pub(crate) fn find_socket_owner(socket: &Path) -> SocketOwner {
    let Ok(stream) = socket.to_fs_name::<GenericFilePath>().and_then(Stream::connect) else {
        return SocketOwner::None;
    };
    let Some(pid) = stream.peer_creds().ok().and_then(|peer| peer.pid()) else {
        return SocketOwner::Process;
    };
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    if name.is_ok_and(|name| name.trim_end() == "systemd") {
        SocketOwner::ServiceManager
    } else {
        SocketOwner::Process
    }
}

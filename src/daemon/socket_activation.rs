//! The socket that the service manager made, and whether someone else serves it already.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use interprocess::local_socket::traits::{Stream as _, StreamCommon as _};
use interprocess::local_socket::{GenericFilePath, Stream, ToFsName as _};
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

/// A listening socket that the service manager created.
#[derive(Debug)]
pub(crate) struct InheritedSocket {
    pub(crate) listener: UnixListener,
    pub(crate) path: PathBuf,
}

/// The listener that was handed over, and its path. To be called before there are threads: it
/// takes the variables out of the environment.
pub(crate) fn take_inherited_listener() -> io::Result<Option<InheritedSocket>> {
    let mut handed_over = ListenFd::from_env();
    if handed_over.len() > 1 {
        // Whoever connects to the others would wait without end.
        let many = format!("{} were handed over, and one is served", handed_over.len());
        return Err(io::Error::other(many));
    }
    let Some(listener) = handed_over.take_unix_listener(0)? else {
        return Ok(None);
    };
    if !socket_acceptconn(&listener)? {
        return Err(io::Error::other(
            "it does not listen; `Accept=no` has it handed over as it is",
        ));
    }
    let address = listener.local_addr()?;
    let path = address.as_pathname().ok_or_else(|| io::Error::other("it has no path"))?;
    let path = std::path::absolute(path)?;
    Ok(Some(InheritedSocket { listener, path }))
}

/// Who answers at a socket, before anything is done that would be in their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketOwner {
    /// Nobody.
    None,
    /// The user's service manager, which starts the service for whoever connects.
    ServiceManager,
    /// A process.
    Process,
}

/// Asks who holds it, by connecting: where that is the service manager, it starts the service.
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

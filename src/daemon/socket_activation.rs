//! Socket activation: what systemd passes to the daemon, and which process already owns the socket.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use interprocess::local_socket::traits::{Stream as _, StreamCommon as _};
use interprocess::local_socket::{GenericFilePath, Stream, ToFsName as _};
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::api::KeptDashboard;

/// Names of the descriptors that the daemon has systemd keep over a restart (`FDNAME=`).
pub(crate) const DASHBOARD_LISTENER: &str = "dashboard";
pub(crate) const DASHBOARD_SESSIONS: &str = "dashboard-sessions";

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

/// What systemd has passed to this process.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// The socket of the socket unit.
    pub(crate) socket: Option<InheritedSocket>,
    /// The dashboard of the last daemon.
    pub(crate) dashboard: InheritedDashboard,
}

/// What systemd has kept of the dashboard.
#[derive(Debug)]
pub(crate) enum InheritedDashboard {
    None,
    Complete(KeptDashboard),
    /// Nothing that can be used; systemd still has it.
    Incomplete,
}

/// Returns what systemd has passed (`sd_listen_fds_with_names(3)`). Must be called before threads are
/// created, because it removes the variables from the environment.
pub(crate) fn take_inherited() -> io::Result<Inherited> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut descriptors = ListenFd::from_env();
    let mut names = names.split(':').map(str::to_owned);
    let names: Vec<String> =
        (0..descriptors.len()).map(|_| names.next().unwrap_or_default()).collect();
    let with_name =
        |name: &str| -> Vec<usize> { (0..names.len()).filter(|at| names[*at] == name).collect() };
    let (listeners, sessions) = (with_name(DASHBOARD_LISTENER), with_name(DASHBOARD_SESSIONS));
    let is_kept = |at: &usize| listeners.contains(at) || sessions.contains(at);
    let sockets: Vec<usize> = (0..names.len()).filter(|at| !is_kept(at)).collect();
    let socket = match sockets[..] {
        [] => None,
        [at] => take_socket(&mut descriptors, at)?,
        // A client of a socket that is not served would wait forever.
        _ => {
            let message = format!("expected one socket, got {}", sockets.len());
            return Err(io::Error::other(message));
        }
    };
    let has_kept = !listeners.is_empty() || !sessions.is_empty();
    // Taken in any case: a listener that is not adopted is closed, or its clients would wait for ever.
    let listeners: Vec<TcpListener> = listeners
        .into_iter()
        .filter_map(|at| descriptors.take_tcp_listener(at).ok().flatten())
        .collect();
    let sessions: Vec<File> = sessions
        .into_iter()
        .filter_map(|at| open_descriptor(descriptors.take_raw_fd(at).ok().flatten()?).ok())
        .collect();
    let dashboard = match (<[_; 1]>::try_from(listeners), <[_; 1]>::try_from(sessions)) {
        (Ok([listener]), Ok([sessions])) => {
            InheritedDashboard::Complete(KeptDashboard { listener, sessions })
        }
        // A part of one, or of several, of which nobody knows what belongs together.
        _ if has_kept => InheritedDashboard::Incomplete,
        _ => InheritedDashboard::None,
    };
    Ok(Inherited { socket, dashboard })
}

fn take_socket(descriptors: &mut ListenFd, at: usize) -> io::Result<Option<InheritedSocket>> {
    let Some(listener) = descriptors.take_unix_listener(at)? else {
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

/// Opens the file of an inherited descriptor again. The descriptor itself stays open.
fn open_descriptor(descriptor: std::os::fd::RawFd) -> io::Result<File> {
    File::options().read(true).write(true).open(format!("/proc/self/fd/{descriptor}"))
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

//! `dossierd stop`: sends SIGTERM to the daemon and waits until it has ended.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cli::args::SocketArgs;
use crate::cli::daemon::connection::DaemonConnection;
use crate::cli::daemon::systemctl;
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::client::RequestPath;
use crate::wire::status::Status;

/// Timeout for the daemon to end; longer than the 10 s after which it exits without the engine.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) fn run(args: &SocketArgs) -> anyhow::Result<CommandExit> {
    let mut connection = DaemonConnection::connect(args)?;
    let pid = daemon_pid(&mut connection)?;
    let restart_hints = systemctl::restart_hints(pid);
    let process = Pid::from_raw(pid).context("the daemon reports an invalid process ID")?;
    let process =
        pidfd_open(process, PidfdFlags::empty()).context("cannot find the daemon's process")?;
    // The pidfd refers to this process even if its ID is reused. Before it was opened, the ID may
    // have been reused already.
    if daemon_pid(&mut connection)? != pid {
        bail!(
            "the daemon was just replaced by another process; nothing was stopped; run the command again"
        );
    }
    drop(connection);
    pidfd_send_signal(&process, Signal::TERM).context("cannot stop the daemon")?;
    let mut descriptors = [PollFd::new(&process, PollFlags::IN)];
    let deadline = Timespec::try_from(STOP_TIMEOUT)?;
    if poll(&mut descriptors, Some(&deadline)).context("cannot wait for the end of the daemon")?
        == 0
    {
        bail!(
            "process {pid} did not end within {} s; run `kill -KILL {pid}` to end it",
            STOP_TIMEOUT.as_secs()
        );
    }
    output::note(&format!("stopped the daemon (process {pid})"));
    for hint in restart_hints {
        output::note(&hint);
    }
    Ok(CommandExit::Success)
}

/// Returns the process ID that the daemon reports. If another process created the socket, which
/// systemd does for socket activation, the process must at least belong to this user.
fn daemon_pid(connection: &mut DaemonConnection) -> anyhow::Result<i32> {
    let status: Status<'_> = connection.get_json(&RequestPath::new("/api/status"))?;
    let pid = i32::try_from(status.pid).context("the daemon reports an invalid process ID")?;
    if connection.peer_pid() != Some(pid) {
        let own = rustix::process::geteuid().as_raw();
        let owner = std::fs::metadata(format!("/proc/{pid}"));
        let owner = owner.map(|found| std::os::unix::fs::MetadataExt::uid(&found));
        if owner.ok() != Some(own) {
            bail!("the daemon reports process {pid}, which belongs to another user; not stopped");
        }
    }
    Ok(pid)
}

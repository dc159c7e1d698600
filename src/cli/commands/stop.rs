//! `dossierd stop`: ends the daemon and waits until it has ended.

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

/// The longest that a stop takes; the daemon itself gives up after 10 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) fn run(args: &SocketArgs) -> anyhow::Result<CommandExit> {
    let mut link = DaemonConnection::connect(args)?;
    let pid = daemon_pid(&mut link)?;
    let returns = systemctl::restart_hints(pid);
    let process = Pid::from_raw(pid).context("the daemon does not say which process it is")?;
    let process = pidfd_open(process, PidfdFlags::empty()).context("cannot find the daemon")?;
    // Now the number cannot come to mean another process; before, it could have.
    if daemon_pid(&mut link)? != pid {
        bail!("the daemon was replaced just now; nothing was stopped");
    }
    drop(link);
    pidfd_send_signal(&process, Signal::TERM).context("cannot stop the daemon")?;
    let mut ends = [PollFd::new(&process, PollFlags::IN)];
    let deadline = Timespec::try_from(STOP_TIMEOUT)?;
    if poll(&mut ends, Some(&deadline)).context("cannot wait for the end of the daemon")? == 0 {
        bail!("process {pid} has not ended after {} s", STOP_TIMEOUT.as_secs());
    }
    output::note(&format!("the daemon has ended (process {pid})"));
    for line in returns {
        output::note(&line);
    }
    Ok(CommandExit::Success)
}

/// The process that answers. It made the socket, except where a service manager did that for it.
fn daemon_pid(link: &mut DaemonConnection) -> anyhow::Result<i32> {
    let status: Status<'_> = link.get_json(&RequestPath::new("/api/status"))?;
    let said = i32::try_from(status.pid).context("the daemon does not say which process it is")?;
    if link.peer_pid() != Some(said) {
        let own = rustix::process::geteuid().as_raw();
        let owner = std::fs::metadata(format!("/proc/{said}"));
        let owner = owner.map(|found| std::os::unix::fs::MetadataExt::uid(&found));
        if owner.ok() != Some(own) {
            bail!("the daemon says that it is process {said}, which is none of yours");
        }
    }
    Ok(said)
}

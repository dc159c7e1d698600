//! `dossierd stop`: ends the daemon and waits until it has ended.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::args::SocketArgs;
use super::exit::Exit;
use super::link::Link;
use super::{out, unit};
use crate::client::Target;
use crate::wire::status::Status;

/// The longest that a stop takes; the daemon itself gives up after 10 s.
const DEADLINE: Duration = Duration::from_secs(15);

pub(super) fn run(args: &SocketArgs) -> anyhow::Result<Exit> {
    let mut link = Link::open(args)?;
    let pid = daemon(&mut link)?;
    let returns = unit::returns(pid);
    let process = Pid::from_raw(pid).context("the daemon does not say which process it is")?;
    let process = pidfd_open(process, PidfdFlags::empty()).context("cannot find the daemon")?;
    // Now the number cannot come to mean another process; before, it could have.
    if daemon(&mut link)? != pid {
        bail!("the daemon was replaced just now; nothing was stopped");
    }
    drop(link);
    pidfd_send_signal(&process, Signal::TERM).context("cannot stop the daemon")?;
    let mut ends = [PollFd::new(&process, PollFlags::IN)];
    let deadline = Timespec::try_from(DEADLINE)?;
    if poll(&mut ends, Some(&deadline)).context("cannot wait for the end of the daemon")? == 0 {
        bail!("process {pid} has not ended after {} s", DEADLINE.as_secs());
    }
    out::note(&format!("the daemon has ended (process {pid})"));
    for line in returns {
        out::note(&line);
    }
    Ok(Exit::Done)
}

/// The process that answers. It made the socket, except where a service manager did that for it.
fn daemon(link: &mut Link) -> anyhow::Result<i32> {
    let status: Status<'_> = link.read(&Target::new("/api/status"))?;
    let said = i32::try_from(status.pid).context("the daemon does not say which process it is")?;
    if link.peer() != Some(said) {
        let own = rustix::process::geteuid().as_raw();
        let owner = std::fs::metadata(format!("/proc/{said}"));
        let owner = owner.map(|found| std::os::unix::fs::MetadataExt::uid(&found));
        if owner.ok() != Some(own) {
            bail!("the daemon says that it is process {said}, which is none of yours");
        }
    }
    Ok(said)
}

//! The daemon, as it answers. One that does not is said soon: nothing here is waited for for long.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::args::SocketArgs;
use crate::cli::commands::doctor::finding::Findings;
use crate::cli::daemon::connection::{DaemonConnection, is_not_running};
use crate::client::RequestPath;
use crate::wire::delivery::DeliveryState;
use crate::wire::status::{ConfigHealth, Health, ProjectWatchState, Status, StoreState};

/// A daemon that lives says at once how it is.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// An engine that lives has looked at everything by then, or compared it with the disk.
const SYNC_TIMEOUT: Duration = Duration::from_secs(5);

/// What it said.
pub(crate) struct DaemonInfo {
    pub(crate) pid: u32,
    pub(crate) roots: Vec<PathBuf>,
    /// Directories that it watches, or should.
    pub(crate) dir_count: u64,
}

/// Asks; a socket of systemd's starts it.
pub(crate) fn check_daemon(found: &mut Findings, socket: &SocketArgs) -> Option<DaemonInfo> {
    let check = "daemon";
    let mut link = match DaemonConnection::connect(socket) {
        Ok(link) => link,
        Err(error) if is_not_running(&error) => {
            let mend = "`dossierd service install`, or `dossierd run`";
            found.warning(check, "none runs: nothing is watched", mend);
            return None;
        }
        Err(error) => {
            found.error(check, format!("{error:#}"), "`dossierd service status` tells more");
            return None;
        }
    };
    match query_daemon(found, &mut link) {
        Ok(asked) => asked,
        Err(error) => {
            found.error(check, format!("{error:#}"), STOP_DAEMON_FIX);
            None
        }
    }
}

const STOP_DAEMON_FIX: &str = "end it with `dossierd stop`, or by its number, and start it again; if it is \
                      no dossierd, choose another socket: --socket";

fn query_daemon(
    found: &mut Findings,
    link: &mut DaemonConnection,
) -> anyhow::Result<Option<DaemonInfo>> {
    let check = "daemon";
    let Some(health) = link.health_with_timeout(RESPONSE_TIMEOUT)? else {
        // Where systemd made the socket this is systemd.
        let peer = link.peer_pid().filter(|pid| *pid > 0);
        let who = peer.map_or("what listens".to_owned(), |pid| format!("process {pid}"));
        let message = format!(
            "{who} at {} takes connections, and has not answered within {} s",
            link.socket().display(),
            RESPONSE_TIMEOUT.as_secs()
        );
        found.error(check, message, STOP_DAEMON_FIX);
        return Ok(None);
    };
    let status = RequestPath::new("/api/status");
    if let Health::Starting { indexed, of } = health {
        found.ok(check, format!("it starts: {indexed} of {of} features are indexed"));
    } else if let Some(answer) = link.get_with_timeout(&status.clone().with_sync(), SYNC_TIMEOUT)? {
        return Ok(Some(check_and_summarize(found, &answer.parse()?)));
    } else {
        found.error(
            check,
            format!("its engine has not answered within {} s", SYNC_TIMEOUT.as_secs()),
            "as a service it is started again within a minute; else `dossierd stop`, and start it \
             again",
        );
        // On that connection one answer is still owed.
        link.reconnect()?;
    }
    let answer = link.get_with_timeout(&status, RESPONSE_TIMEOUT)?;
    let Some(answer) = answer else {
        let message = format!("it has not said its state within {} s", RESPONSE_TIMEOUT.as_secs());
        found.error(check, message, STOP_DAEMON_FIX);
        return Ok(None);
    };
    Ok(Some(check_and_summarize(found, &answer.parse()?)))
}

fn check_and_summarize(found: &mut Findings, status: &Status<'_>) -> DaemonInfo {
    check_status(found, status);
    DaemonInfo {
        pid: status.pid,
        roots: status.projects.iter().map(|project| PathBuf::from(&*project.root)).collect(),
        dir_count: status.projects.iter().map(|project| project.watch.total).sum(),
    }
}

fn check_status(found: &mut Findings, status: &Status<'_>) {
    let check = "daemon";
    let own = env!("CARGO_PKG_VERSION");
    let message = format!("process {} of version {}", status.pid, status.version);
    let replaced = std::fs::read_link(format!("/proc/{}/exe", status.pid))
        .is_ok_and(|program| program.to_string_lossy().ends_with(" (deleted)"));
    let mend = "`dossierd service install`, or stop it and start it again";
    if status.version != own {
        found.warning(check, format!("{message}, this command is {own}"), mend);
    } else if replaced {
        found.warning(check, format!("{message}; its program was replaced since"), mend);
    } else {
        found.ok(check, message);
    }
    if status.store.state == StoreState::Degraded {
        let why = status.store.detail.as_deref().unwrap_or("the store cannot be written");
        let mend = "make room on its disk, or mount it writable; it heals by itself";
        found.error("store", format!("what is shown is not durable: {why}"), mend);
    }
    if let Some(config) = &status.config
        && config.state == ConfigHealth::Broken
    {
        let mend = "mend the file: it is read again at once";
        found.error("configuration", "the daemon goes on with the one before it", mend);
    }
    for sink in status.delivery.iter().filter(|sink| sink.state != DeliveryState::Ok) {
        let why = sink.last_error.as_deref().unwrap_or("no reason is known");
        let message = if sink.state == DeliveryState::DeadLetters {
            format!("{}: {} events were refused, and are set aside", sink.sink, sink.dead_letters)
        } else {
            format!("{}: {} events wait: {why}", sink.sink, sink.lag)
        };
        let mend = "`dossierd delivery list` tells more; `retry` and `drop` decide";
        found.warning("delivery", message, mend);
    }
    check_watch_states(found, status);
}

fn check_watch_states(found: &mut Findings, status: &Status<'_>) {
    for project in &status.projects {
        let detail = project.watch.detail.as_deref().unwrap_or("no reason is known");
        let message = format!("{}: {detail}", project.root);
        match project.watch.state {
            ProjectWatchState::Live
            | ProjectWatchState::Rescanning
            | ProjectWatchState::Unwatched => {}
            ProjectWatchState::Polling | ProjectWatchState::Degraded => {
                found.warning("watching", message, "what inotify and file system say here");
            }
            ProjectWatchState::Unreadable | ProjectWatchState::RootUnavailable => {
                found.error("watching", message, "bring it back, or `dossierd project remove` it");
            }
        }
    }
}

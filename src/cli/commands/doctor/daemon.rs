//! Checks the running daemon by its own status. Every request has a short timeout.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::args::SocketArgs;
use crate::cli::commands::doctor::features::check_features;
use crate::cli::commands::doctor::finding::Findings;
use crate::cli::daemon::connection::{DaemonConnection, is_not_running};
use crate::client::RequestPath;
use crate::wire::dashboard::{DashboardState, PeerCheck};
use crate::wire::delivery::DeliveryState;
use crate::wire::status::{
    ConfigHealth, Health, InotifyStatus, ProjectWatchState, Status, StoreState,
};

/// Timeout for requests that the daemon answers without its engine.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout for a request with `sync=true`, which needs the engine.
const SYNC_TIMEOUT: Duration = Duration::from_secs(5);

/// What other checks need of the daemon's status.
pub(crate) struct DaemonInfo {
    pub(crate) pid: u32,
    /// Roots of the watched projects.
    pub(crate) roots: Vec<PathBuf>,
    /// Number of directories that are watched or should be.
    pub(crate) dir_count: u64,
}

/// Checks the daemon. With socket activation, connecting starts the service.
pub(crate) fn check_daemon(findings: &mut Findings, socket: &SocketArgs) -> Option<DaemonInfo> {
    let check = "daemon";
    let mut connection = match DaemonConnection::connect(socket) {
        Ok(connection) => connection,
        Err(error) if is_not_running(&error) => {
            let fix = "run `dossierd service install`, or `dossierd run`";
            findings.warning(check, "not running; no project is watched", fix);
            return None;
        }
        Err(error) => {
            findings.error(check, format!("{error:#}"), "see `dossierd service status`");
            return None;
        }
    };
    match query_daemon(findings, &mut connection) {
        Ok(daemon) => {
            if daemon.is_some() {
                check_dashboard(findings, &mut connection);
            }
            daemon
        }
        Err(error) => {
            findings.error(check, format!("{error:#}"), STOP_DAEMON_FIX);
            None
        }
    }
}

const STOP_DAEMON_FIX: &str = "restart it: `dossierd stop` (or `kill PID`), then `dossierd run`; if \
                               the process is not dossierd, use another socket with `--socket`";

fn query_daemon(
    findings: &mut Findings,
    connection: &mut DaemonConnection,
) -> anyhow::Result<Option<DaemonInfo>> {
    let check = "daemon";
    let Some(health) = connection.health_with_timeout(RESPONSE_TIMEOUT)? else {
        // With socket activation this is systemd, which created the socket.
        let peer = connection.peer_pid().filter(|pid| *pid > 0);
        let process = peer.map_or("the process".to_owned(), |pid| format!("process {pid}"));
        let message = format!(
            "{process} at {} accepts connections and did not respond within {} s",
            connection.socket().display(),
            RESPONSE_TIMEOUT.as_secs()
        );
        findings.error(check, message, STOP_DAEMON_FIX);
        return Ok(None);
    };
    if let Health::Configuration = health {
        let message = "waiting for a valid configuration; nothing is watched";
        let fix = "correct the file; `dossierd config check` shows the errors";
        findings.error(check, message, fix);
        return Ok(None);
    }
    let status = RequestPath::new("/api/status");
    if let Health::Starting { indexed, of } = health {
        findings.ok(check, format!("starting; {indexed} of {of} features are indexed"));
    } else if let Some(response) =
        connection.get_with_timeout(&status.clone().with_sync(), SYNC_TIMEOUT)?
    {
        return Ok(Some(check_and_summarize(findings, &response.parse()?)));
    } else {
        findings.error(
            check,
            format!("the engine did not respond within {} s", SYNC_TIMEOUT.as_secs()),
            "wait a minute if it runs as a service, which restarts it; otherwise run `dossierd stop` \
             and start it again",
        );
        // The late response would be taken for that of the next request.
        connection.reconnect()?;
    }
    let response = connection.get_with_timeout(&status, RESPONSE_TIMEOUT)?;
    let Some(response) = response else {
        let message = format!("did not report its status within {} s", RESPONSE_TIMEOUT.as_secs());
        findings.error(check, message, STOP_DAEMON_FIX);
        return Ok(None);
    };
    Ok(Some(check_and_summarize(findings, &response.parse()?)))
}

/// Checks that the daemon can find out which user connects to the dashboard.
fn check_dashboard(findings: &mut Findings, connection: &mut DaemonConnection) {
    let check = "dashboard";
    let path = RequestPath::new("/api/dashboard");
    // An older daemon does not know the request.
    let Ok(Some(response)) = connection.get_with_timeout(&path, RESPONSE_TIMEOUT) else { return };
    let Ok(dashboard) = response.parse::<DashboardState>() else { return };
    let state = match &dashboard.address {
        Some(address) => format!("open at {address}, {} sessions", dashboard.sessions.len()),
        None => "closed".to_owned(),
    };
    let fix = "run `dossierd service install`, which renews the unit; remove drop-ins that set \
               `RestrictAddressFamilies=` or `ProcSubset=`";
    match dashboard.peer_check {
        PeerCheck::SockDiag => findings.ok(check, state),
        PeerCheck::ProcNet => {
            let message = format!(
                "{state}; the daemon cannot use `NETLINK_SOCK_DIAG`, and reads `/proc/net/tcp` to find \
                 out who connects"
            );
            findings.warning(check, message, fix);
        }
        PeerCheck::None => {
            let message = format!(
                "{state}; the daemon cannot find out which user connects, so everyone is refused"
            );
            findings.error(check, message, fix);
        }
    }
}

fn check_and_summarize(findings: &mut Findings, status: &Status<'_>) -> DaemonInfo {
    check_status(findings, status);
    DaemonInfo {
        pid: status.pid,
        roots: status.projects.iter().map(|project| PathBuf::from(&*project.root)).collect(),
        dir_count: status.projects.iter().map(|project| project.watch.total).sum(),
    }
}

fn check_status(findings: &mut Findings, status: &Status<'_>) {
    let check = "daemon";
    let own = env!("CARGO_PKG_VERSION");
    let message = format!("process {}, version {}", status.pid, status.version);
    let is_replaced = std::fs::read_link(format!("/proc/{}/exe", status.pid))
        .is_ok_and(|program| program.to_string_lossy().ends_with(" (deleted)"));
    let fix = "run `dossierd service install`, or stop the daemon and start it again";
    if status.version != own {
        findings.warning(check, format!("{message}; this command has version {own}"), fix);
    } else if is_replaced {
        findings.warning(
            check,
            format!("{message}; its program was replaced since it started"),
            fix,
        );
    } else {
        findings.ok(check, message);
    }
    if status.store.state == StoreState::Degraded {
        let cause = status.store.detail.as_deref().unwrap_or("cannot write the store");
        let fix = "free disk space or make the store writable; the daemon then recovers by itself";
        findings.error("store", format!("the reported state is not durable: {cause}"), fix);
    }
    if let Some(config) = &status.config
        && config.state == ConfigHealth::Broken
    {
        let fix = "correct the file; the daemon reloads it at once";
        findings.error("configuration", "the daemon still uses the last valid one", fix);
    }
    if let Some(usage) = &status.inotify {
        check_inotify_usage(findings, usage);
    }
    for sink in status.delivery.iter().filter(|sink| sink.state != DeliveryState::Ok) {
        let error = sink.last_error.as_deref().unwrap_or("unknown error");
        let message = if sink.state == DeliveryState::DeadLetters {
            format!("{}: {} dead letters, rejected by the receiver", sink.sink, sink.dead_letters)
        } else {
            format!("{}: {} undelivered events: {error}", sink.sink, sink.lag)
        };
        let fix = "see `dossierd delivery list`, then use `dossierd delivery retry` or `drop`";
        findings.warning("delivery", message, fix);
    }
    check_watch_states(findings, status);
    check_features(findings, status);
}

fn check_inotify_usage(findings: &mut Findings, usage: &InotifyStatus) {
    let InotifyStatus { instances, max_instances, shared_instances, watches } = usage;
    let message = format!(
        "{instances} inotify instances of at most {max_instances} ({shared_instances} shared by several \
         projects); {watches} directories are watched"
    );
    if instances < max_instances {
        findings.ok("instances", message);
    } else {
        let message = format!("{message}; projects that need another one are polled");
        let fix = "raise the limit, a quarter of which the daemon uses: \
                   `sudo sysctl fs.inotify.max_user_instances=1024`";
        findings.warning("instances", message, fix);
    }
}

fn check_watch_states(findings: &mut Findings, status: &Status<'_>) {
    for project in &status.projects {
        let detail = project.watch.detail.as_deref().unwrap_or("unknown cause");
        let message = format!("{}: {detail}", project.root);
        match project.watch.state {
            ProjectWatchState::Live
            | ProjectWatchState::Rescanning
            | ProjectWatchState::Unwatched => {}
            ProjectWatchState::Polling | ProjectWatchState::Degraded => {
                findings.warning(
                    "watching",
                    message,
                    "see the findings `inotify` and `file system`",
                );
            }
            ProjectWatchState::Unreadable
            | ProjectWatchState::RootUnavailable
            | ProjectWatchState::Unresponsive => {
                findings.error(
                    "watching",
                    message,
                    "restore the directory, or remove the project with `dossierd project remove`",
                );
            }
        }
    }
}

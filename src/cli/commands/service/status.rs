//! `dossierd service status`: whether it is installed, runs, and is this program.

use std::io::Write as _;

use serde::Serialize;

use crate::cli::args::{ServiceStatusArgs, SocketArgs};
use crate::cli::daemon::connection::DaemonConnection;
use crate::cli::daemon::systemctl::{
    UnitProperties, check_user_manager, is_linger_enabled, linger_label, service_properties,
};
use crate::cli::exit::CommandExit;
use crate::cli::render::output;
use crate::client::RequestPath;
use crate::core::path::escape_unprintable;
use crate::daemon::systemd_units::{SERVICE_NAME, SOCKET_NAME};
use crate::wire::status::Status;

/// What is known of the service.
#[derive(Debug, Serialize)]
struct ServiceStatus {
    installed: bool,
    enabled: bool,
    /// `ActiveState` of systemd.
    active: String,
    /// `SubState`.
    sub: String,
    /// `Result`: how it ended last.
    result: String,
    /// The line that the daemon shows.
    status: String,
    pid: Option<i32>,
    restarts: u64,
    unit: String,
    socket_active: bool,
    socket: Option<String>,
    version: Option<String>,
    client_version: &'static str,
    lingering: Option<bool>,
}

pub(crate) fn run(args: &ServiceStatusArgs) -> anyhow::Result<CommandExit> {
    check_user_manager()?;
    let report = query_status()?;
    if args.json {
        output::print_json(&report)?;
    } else {
        print_status(&report)?;
    }
    Ok(if report.active == "active" { CommandExit::Success } else { CommandExit::NoDaemon })
}

fn query_status() -> anyhow::Result<ServiceStatus> {
    let (service, socket) = (service_properties()?, UnitProperties::query(SOCKET_NAME)?);
    // A look must not start what does not run.
    let version = service.is_active().then(running_version).flatten();
    let text = |name| service.get(name).to_owned();
    let listen = socket.get("Listen").split_once(" (").map(|(path, _)| path.to_owned());
    Ok(ServiceStatus {
        installed: service.is_loaded(),
        enabled: service.get("UnitFileState") == "enabled",
        active: text("ActiveState"),
        sub: text("SubState"),
        result: text("Result"),
        status: text("StatusText"),
        pid: service.main_pid(),
        restarts: service.get("NRestarts").parse().unwrap_or_default(),
        unit: text("FragmentPath"),
        socket_active: socket.is_active(),
        socket: listen,
        version,
        client_version: env!("CARGO_PKG_VERSION"),
        lingering: is_linger_enabled(),
    })
}

fn running_version() -> Option<String> {
    let mut link = DaemonConnection::connect_if_running(&SocketArgs { socket: None }).ok()??;
    let status: Status<'_> = link.get_json(&RequestPath::new("/api/status")).ok()?;
    Some(status.version.into_owned())
}

fn print_status(report: &ServiceStatus) -> anyhow::Result<()> {
    let mut to = output::stdout_human();
    if !report.installed {
        writeln!(to, "the service is not installed; `dossierd service install` installs it")?;
        return Ok(to.flush()?);
    }
    let mut line = |name: &str, text: &str| writeln!(to, "{name:10} {}", escape_unprintable(text));
    let process = report.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    line("service", &format!("{SERVICE_NAME} is {} ({}){process}", report.active, report.sub))?;
    if !report.status.is_empty() {
        line("says", &report.status)?;
    }
    if report.result != "success" {
        line(
            "ended",
            &format!("{}; `journalctl --user --unit dossierd` tells more", report.result),
        )?;
    }
    if report.restarts > 0 {
        line("restarts", &report.restarts.to_string())?;
    }
    if let Some(version) = &report.version {
        let own = report.client_version;
        let mend = "; `dossierd service install` has it run this one";
        let skew = if version == own { String::new() } else { format!(", this is {own}{mend}") };
        line("version", &format!("{version}{skew}"))?;
    }
    line("unit", &report.unit)?;
    let socket = report.socket.as_deref().unwrap_or("");
    line("socket", if report.socket_active { socket } else { "not listening" })?;
    line("at login", if report.enabled { "is started" } else { "is not started" })?;
    line("lingering", linger_label(report.lingering))?;
    Ok(to.flush()?)
}

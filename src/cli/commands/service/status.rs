//! `dossierd service status`: prints whether the service is installed and runs this program.

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

/// The output of `service status --json`.
#[derive(Debug, Serialize)]
struct ServiceStatus {
    installed: bool,
    enabled: bool,
    /// systemd's `ActiveState`.
    active: String,
    /// systemd's `SubState`.
    sub: String,
    /// systemd's `Result`: how the service ended last.
    result: String,
    /// systemd's `StatusText`: the daemon's status line.
    status: String,
    pid: Option<i32>,
    restarts: u64,
    /// Path of the unit file.
    unit: String,
    socket_active: bool,
    /// Path of the socket.
    socket: Option<String>,
    /// Version of the running daemon.
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
    // Connecting to the socket of an inactive service would start it.
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
    let mut connection =
        DaemonConnection::connect_if_running(&SocketArgs { socket: None }).ok()??;
    let status: Status<'_> = connection.get_json(&RequestPath::new("/api/status")).ok()?;
    Some(status.version.into_owned())
}

fn print_status(report: &ServiceStatus) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    if !report.installed {
        writeln!(
            out,
            "the service is not installed; run `dossierd service install` to install it"
        )?;
        return Ok(out.flush()?);
    }
    let mut line = |name: &str, text: &str| writeln!(out, "{name:10} {}", escape_unprintable(text));
    let process = report.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    line("service", &format!("{SERVICE_NAME} is {} ({}){process}", report.active, report.sub))?;
    if !report.status.is_empty() {
        line("status", &report.status)?;
    }
    if report.result != "success" {
        line("result", &format!("{}; see `journalctl --user --unit dossierd`", report.result))?;
    }
    if report.restarts > 0 {
        line("restarts", &report.restarts.to_string())?;
    }
    if let Some(version) = &report.version {
        let own = report.client_version;
        let fix = "; run `dossierd service install` to update it";
        let skew = if version == own {
            String::new()
        } else {
            format!("; this command has version {own}{fix}")
        };
        line("version", &format!("{version}{skew}"))?;
    }
    line("unit", &report.unit)?;
    let socket = report.socket.as_deref().unwrap_or("");
    line("socket", if report.socket_active { socket } else { "not listening" })?;
    line("at login", if report.enabled { "started" } else { "not started" })?;
    line("lingering", linger_label(report.lingering))?;
    Ok(out.flush()?)
}

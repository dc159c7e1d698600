//! A daemon for `watch` where none runs: the systemd user unit where it is installed, else one in the
//! background. Of many commands that want one at once, one starts it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::fs::OFlags;
use tokio::time::sleep;

use crate::cli::args::SocketArgs;
use crate::cli::daemon::connection::{DaemonConnection, POLL_INTERVAL, is_not_running};
use crate::cli::daemon::systemctl;
use crate::cli::render::output;
use crate::cli::runtime::new_runtime;
use crate::cli::user_dirs::user_dirs;
use crate::client::Client;
use crate::daemon::systemd_units::SERVICE_NAME;
use crate::wire::status::Health;

/// The longest that a daemon takes until it listens.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);
/// A log that is longer is begun anew; the old one is kept beside it.
const MAX_LOG_BYTES: u64 = 8 << 20;
/// How much of the log is shown when a daemon does not start.
const LOG_TAIL_BYTES: u64 = 2_000;

/// Gives the socket of a daemon that is ready, which is started if there is none.
pub(crate) fn ensure_running(args: &SocketArgs) -> anyhow::Result<PathBuf> {
    let socket = args.path()?;
    if DaemonConnection::connect_if_running(args)?.is_none() {
        let state = user_dirs()?.state_dir;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&state);
        made.with_context(|| state.display().to_string())?;
        let turn = state.join("starting.lock");
        let turn = File::options().create(true).truncate(false).write(true).mode(0o600).open(turn);
        let turn = turn.context("cannot take turns with others that start a daemon")?;
        turn.lock().context("cannot take turns with others that start a daemon")?;
        // Another command may have started it meanwhile.
        if DaemonConnection::connect_if_running(args)?.is_none() {
            start_daemon(args, &socket, &state)?;
        }
    }
    let runtime = new_runtime()?;
    runtime.block_on(async { wait_until_ready(&mut Client::connect(&socket).await?).await })?;
    Ok(socket)
}

fn start_daemon(args: &SocketArgs, socket: &Path, state: &Path) -> anyhow::Result<()> {
    // The unit's daemon listens at the usual place.
    if args.socket.is_none() && systemctl::is_service_installed() {
        match systemctl::start_service() {
            Ok(()) => {
                output::note(&format!("no daemon ran; started the user unit {}", SERVICE_NAME));
                return wait_until_listening(socket, || Ok(()));
            }
            Err(error) => output::warn(&format!("{error:#}; starting a daemon in the background")),
        }
    }
    let log = state.join("daemon.log");
    let mut daemon = spawn_daemon(args, &log)?;
    output::note(&format!(
        "no daemon ran; started one in the background (process {}, log {}); `dossierd stop` ends it",
        daemon.id(),
        log.display()
    ));
    let listens = wait_until_listening(socket, || match daemon.try_wait()? {
        None => Ok(()),
        Some(status) => bail!("the daemon ended early ({status}):\n{}", log_tail(&log)),
    });
    // No one else waits for its end.
    let _ = thread::Builder::new().name("daemon-wait".to_owned()).spawn(move || daemon.wait());
    listens
}

fn spawn_daemon(args: &SocketArgs, log: &Path) -> anyhow::Result<Child> {
    let about = || log.display().to_string();
    if fs::symlink_metadata(log).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
        fs::rename(log, log.with_extension("log.old")).with_context(about)?;
    }
    // Neither through a link, nor into a pipe that no one reads.
    let beside = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = File::options();
    options.create(true).append(true).mode(0o600).custom_flags(beside);
    let to = options.open(log).with_context(about)?;
    if !to.metadata().with_context(about)?.is_file() {
        bail!("{} is no file; remove it", log.display());
    }
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let mut command = Command::new(&program);
    command.args(["run", "--detached"]);
    if let Some(socket) = &args.socket {
        command.arg("--socket").arg(std::path::absolute(socket)?);
    }
    // In no directory that someone may want to unmount.
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(to);
    command.spawn().with_context(|| format!("cannot start {}", program.display()))
}

/// Waits until something answers; `alive` fails when nothing ever will.
fn wait_until_listening(
    socket: &Path,
    mut alive: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        match DaemonConnection::connect_to(socket) {
            Ok(_) => return Ok(()),
            Err(error) if is_not_running(&error) => {}
            Err(error) => return Err(error),
        }
        alive()?;
        if begun.elapsed() > LISTEN_TIMEOUT {
            bail!("the daemon does not listen after {} s", LISTEN_TIMEOUT.as_secs());
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until the first index of everything stands.
pub(crate) async fn wait_until_ready(client: &mut Client) -> anyhow::Result<()> {
    while let Health::Starting { .. } = client.health().await? {
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// The end of the log.
fn log_tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_else(|error| format!("{}: {error}", log.display()))
}

//! Starts a daemon for `watch` if none runs: the systemd user unit if it is installed, otherwise a
//! process in the background. A lock file makes sure that concurrent commands start only one.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::time::sleep;

use crate::cli::args::SocketArgs;
use crate::cli::daemon::connection::{DaemonConnection, POLL_INTERVAL, is_not_running};
use crate::cli::daemon::{log_file, systemctl};
use crate::cli::render::output;
use crate::cli::runtime::new_runtime;
use crate::cli::user_dirs::user_dirs;
use crate::client::Client;
use crate::daemon::systemd_units::SERVICE_NAME;
use crate::ownership::{check_private_file, ensure_private_dir, private_open_options};
use crate::wire::status::Health;

/// Timeout for a new daemon to listen at its socket.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Number of bytes of the log that are shown when a daemon does not start.
const LOG_TAIL_BYTES: u64 = 2_000;

/// Starts a daemon if none runs, waits until it is ready, and returns its socket.
pub(crate) fn ensure_running(args: &SocketArgs) -> anyhow::Result<PathBuf> {
    if DaemonConnection::connect_if_running(args)?.is_none() {
        let state = user_dirs()?.state_dir;
        ensure_private_dir(&state)?;
        let path = state.join("starting.lock");
        let context = || format!("cannot lock {}", path.display());
        let lock = private_open_options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.with_context(context)?;
        check_private_file(&lock).with_context(context)?;
        lock.lock().with_context(context)?;
        // Another command may have started a daemon while this one waited for the lock.
        if DaemonConnection::connect_if_running(args)?.is_none() {
            start_daemon(args, &args.path_of_new_daemon()?, &state)?;
        }
    }
    let socket = args.path()?;
    let runtime = new_runtime()?;
    runtime.block_on(async { wait_until_ready(&mut Client::connect(&socket).await?).await })?;
    Ok(socket)
}

fn start_daemon(args: &SocketArgs, socket: &Path, state: &Path) -> anyhow::Result<()> {
    // The unit's daemon listens at the default socket only.
    if args.socket.is_none() && systemctl::is_service_installed() {
        match systemctl::start_service() {
            Ok(()) => {
                output::note(&format!(
                    "no daemon was running; started the user unit {SERVICE_NAME}"
                ));
                return wait_until_listening(socket, || Ok(()));
            }
            Err(error) => output::warn(&format!("{error:#}; starting a daemon in the background")),
        }
    }
    let log = log_file::path(state);
    let mut daemon = spawn_daemon(args, &log)?;
    output::note(&format!(
        "no daemon was running; started one in the background (process {}, log {}); run `dossierd \
         stop` to stop it",
        daemon.id(),
        log.display()
    ));
    let result = wait_until_listening(socket, || match daemon.try_wait()? {
        None => Ok(()),
        Some(status) => bail!("the daemon exited while starting ({status}):\n{}", log_tail(&log)),
    });
    // Reaps the process if it ends before this command; without the thread it stays a zombie.
    let _ = thread::Builder::new().name("daemon-wait".to_owned()).spawn(move || daemon.wait());
    result
}

fn spawn_daemon(args: &SocketArgs, log: &Path) -> anyhow::Result<Child> {
    let stderr = log_file::open(log).with_context(|| log.display().to_string())?;
    let program = std::env::current_exe().context("cannot determine the path of this program")?;
    let mut command = Command::new(&program);
    command.args(["run", "--detached"]);
    if let Some(socket) = &args.socket {
        command.arg("--socket").arg(std::path::absolute(socket)?);
    }
    // Keeps no file system busy that the user may want to unmount.
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    command.spawn().with_context(|| format!("cannot start {}", program.display()))
}

/// Waits until a daemon listens. `check_alive` fails if the daemon cannot come up any more.
fn wait_until_listening(
    socket: &Path,
    mut check_alive: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        match DaemonConnection::connect_to(socket) {
            Ok(_) => return Ok(()),
            Err(error) if is_not_running(&error) => {}
            Err(error) => return Err(error),
        }
        check_alive()?;
        if started.elapsed() > LISTEN_TIMEOUT {
            bail!(
                "the daemon did not listen within {} s; run `dossierd doctor` to find the cause",
                LISTEN_TIMEOUT.as_secs()
            );
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until the daemon has completed its initial scan.
pub(crate) async fn wait_until_ready(client: &mut Client) -> anyhow::Result<()> {
    while let Health::Starting { .. } = client.health().await? {
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Returns the last [`LOG_TAIL_BYTES`] of the log.
fn log_tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = private_open_options().read(true).open(log)?;
        check_private_file(&file)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        // The daemon may still write.
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_else(|error| format!("{}: {error}", log.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn log_tail_is_the_end_of_the_log_of_this_user_and_nothing_of_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("daemon.log");
        fs::write(&log, "x".repeat(5_000) + "end\n").unwrap();
        fs::set_permissions(&log, Permissions::from_mode(0o600)).unwrap();
        let tail = log_tail(&log);
        assert!(tail.ends_with("xend") && tail.len() < 2_001, "{tail}");
        fs::set_permissions(&log, Permissions::from_mode(0o666)).unwrap();
        let tail = log_tail(&log);
        assert!(!tail.contains("end") && tail.contains("other users can write"), "{tail}");
    }
}

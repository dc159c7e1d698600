//! Composes the daemon: acquires the lock, opens the store, starts the engine, the socket and
//! delivery, and stops them in reverse order. Decides nothing about features.

mod claims;
mod invalid_config;
mod lock;
mod offline_projects;
mod own_files;
mod readiness;
mod reload;
mod socket_activation;
mod startup_timeout;
mod status_line;
mod systemd_notify;
pub mod systemd_units;
mod watchdog;

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout_at;
use tracing::{error, info, warn};

use crate::api::{
    ApiState, DashboardConfig, HistoryAccess, KeepRequest, KeptDashboard, SocketError, StartTime,
    adopt_systemd_socket, bind, run_dashboard, serve,
};
use crate::config::{Config, ConfigState, HistoryConfig, HttpConfig, UserDirs};
use crate::core::diagnostics::FileError;
use crate::core::sync::lock;
use crate::delivery::Delivery;
use crate::engine::command::Command;
use crate::engine::runtime::{EngineConfig, EngineError, EngineHandle, start};
use crate::history::writer::{HistoryContext, HistoryWriter};
use crate::history::{ContentReader, FILE_NAME as HISTORY_FILE};

use claims::Claims;
use invalid_config::ConfigWait;
use own_files::OwnFiles;
use reload::{Reloader, resolve_roots};
use socket_activation::{Inherited, InheritedDashboard, SocketOwner};
use startup_timeout::StartupTimeoutExtender;
use systemd_notify::SystemdNotifier;

pub use lock::LockError;
pub use offline_projects::{OfflineProjectsError, add_project, list_projects, remove_project};

/// Timeout for a clean stop; after it the daemon exits without waiting for the engine.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The part of it that delivery and the history may take.
const SINK_STOP_TIMEOUT: Duration = Duration::from_secs(4);
/// Timeout for the runtime's remaining tasks after that.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Options of [`run`].
pub struct DaemonOptions {
    /// The configuration, or why it is invalid: then the daemon waits until it is corrected.
    pub config: Result<Config, FileError>,
    /// The user's directories.
    pub user_dirs: UserDirs,
    /// Projects to watch in addition to those of the configuration, until this process ends.
    pub projects: Vec<PathBuf>,
    /// The socket to listen at; `None` for the default path.
    pub socket: Option<PathBuf>,
    /// Called with the configuration at the start, and with each one that a reload applies.
    pub on_config_applied: Box<dyn Fn(&Config) + Send>,
}

/// Why the daemon cannot start, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another daemon runs, or the lock file cannot be opened.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The engine cannot start, or stopped with an error.
    #[error(transparent)]
    EngineFailed(#[from] EngineError),
    /// The daemon cannot listen at the socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Systemd listens at the socket for the service.
    #[error(
        "the user service dossierd.service already listens at {path}; to watch a project with it, \
         run `dossierd project add PATH`; to run the daemon yourself, first run `systemctl --user \
         stop dossierd.socket dossierd.service`",
        path = .0.display()
    )]
    ServiceRunning(PathBuf),
    /// A system call failed.
    #[error("cannot {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The engine's thread ended without a stop command.
    #[error("the engine ended unexpectedly; this is a bug in dossierd, please report it")]
    EngineExited,
    /// A task that serves clients or the service manager ended.
    #[error("{0} ended unexpectedly; this is a bug in dossierd, please report it")]
    TaskEnded(&'static str),
    /// The engine did not commit its pending changes within the stop timeout (10 s).
    #[error("the engine did not stop within {} s", STOP_TIMEOUT.as_secs())]
    StopTimeout,
}

/// Returns true if a service manager started this process: it receives notifications, or has passed a
/// socket.
#[must_use]
pub fn is_service() -> bool {
    SystemdNotifier::from_env().is_enabled() || socket_activation::has_inherited_listener()
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// [`DaemonError`].
pub fn run(options: DaemonOptions) -> Result<(), DaemonError> {
    end_on_panic();
    // Everything is created with an explicit mode: 0600 and 0700, or in a project the bits of the directory.
    rustix::process::umask(rustix::fs::Mode::empty());
    let system = |action| move |source| DaemonError::Io { action, source };
    let notifier = SystemdNotifier::from_env();
    let Inherited { socket: inherited, dashboard } =
        socket_activation::take_inherited().map_err(system("use the socket passed by systemd"))?;
    let own = options.socket.clone().unwrap_or_else(|| options.user_dirs.socket_path());
    let own = std::path::absolute(own).map_err(system("determine the path of the socket"))?;
    let socket = inherited.as_ref().map_or(own, |inherited| inherited.path.clone());
    if inherited.is_none() && !notifier.is_enabled() {
        match socket_activation::find_socket_owner(&socket) {
            SocketOwner::None => {}
            SocketOwner::ServiceManager => return Err(DaemonError::ServiceRunning(socket)),
            SocketOwner::Process => return Err(SocketError::InUse(socket).into()),
        }
    }
    let lock = lock::acquire(&options.user_dirs.state_dir)?;
    if let Err(error) = lock.record_socket(&socket) {
        warn!(%error, "cannot record the path of the socket in the lock file");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("runtime")
        // glibc keeps some memory for each thread that has allocated.
        .max_blocking_threads(8)
        .build()
        .map_err(system("start the runtime"))?;
    let listener = inherited.map(|inherited| inherited.listener);
    let claims = Claims::new(lock);
    let dashboard = match dashboard {
        InheritedDashboard::None => None,
        InheritedDashboard::Complete(kept) => Some(kept),
        InheritedDashboard::Incomplete => {
            warn!("systemd has kept only a part of the dashboard; it stays closed");
            notifier.keep_dashboard(&KeepRequest::Remove);
            None
        }
    };
    let passed = (listener, dashboard);
    let run = run_until_stopped(options, notifier, passed, socket.clone(), claims.clone());
    let result = runtime.block_on(run);
    // Dropping the runtime would wait forever for a blocking task that does not end.
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
    claims.remove_socket(&socket);
    result
}

/// Has a panic of any thread end the process, with the exit code that Rust uses for the main thread:
/// what the others wait for would never arrive. A service manager starts the daemon again, and what
/// was committed is not lost.
fn end_on_panic() {
    const PANIC_EXIT_CODE: i32 = 101;
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        error!(thread, "a thread panicked; this is a bug in dossierd, please report it");
        default(panic);
        std::process::exit(PANIC_EXIT_CODE);
    }));
}

/// Starts everything, waits for a signal or the end of the engine, and stops everything.
async fn run_until_stopped(
    options: DaemonOptions,
    notifier: SystemdNotifier,
    (inherited, kept): (Option<UnixListener>, Option<KeptDashboard>),
    socket: PathBuf,
    claims: Claims,
) -> Result<(), DaemonError> {
    let system = |action| move |source| DaemonError::Io { action, source };
    // First: from here on a signal stops the daemon cleanly.
    let mut terminate = signal(SignalKind::terminate()).map_err(system("handle signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("handle signals"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(system("handle signals"))?;
    let own_socket = inherited.is_none().then(|| socket.clone());
    let adopted = inherited.map(adopt_systemd_socket).transpose();
    let adopted = adopted.map_err(system("use the socket passed by systemd"))?;
    let bind_own = || bind(&socket).inspect(|_| claims.add_socket(&socket));
    let listener = adopted.map_or_else(bind_own, Ok)?;
    let started = StartTime::now();
    let file = std::path::absolute(options.user_dirs.config_file())
        .map_err(system("determine the path of the configuration"))?;
    let wait = ConfigWait { file: &file, listener: &listener, notifier };
    let stop = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    let Some(config) = wait.until_valid(options.config, stop, &mut hangup).await else {
        return Ok(());
    };
    (options.on_config_applied)(&config);
    let (state, config_state) = watch::channel(ConfigState::ok(&file));
    let state_dir = options.user_dirs.state_dir.clone();
    let (resolved, roots) = resolve_roots(&config);
    let plan = plan_engine(resolved, options.projects, &options.user_dirs);
    let running: EngineHandle = {
        // A migration or the recovery after a crash may take long.
        let _extender = StartupTimeoutExtender::start(notifier);
        start(plan)?
    };
    let (inbox, views) = (Arc::clone(&running.inbox), Arc::clone(&running.views));
    info!(socket = %socket.display(), "listening");
    // No path is relative from here on; the directory where it was started can be unmounted.
    let _ = std::env::set_current_dir("/");
    let (http, http_config) = watch::channel(config.http);
    let delivery = Delivery::start(
        config.webhook.clone(),
        Arc::clone(&inbox),
        Arc::clone(&views),
        running.journal.clone(),
    );
    let delivery = Arc::new(Mutex::new(delivery));
    let on_config_applied = with_delivery_reload(options.on_config_applied, &delivery);
    let history =
        start_history(&running, &state_dir, &config).map_err(system("start the history"))?;
    let reloader = Reloader {
        file,
        config,
        roots,
        inbox: Arc::clone(&inbox),
        views: Arc::clone(&views),
        notifier,
        config_state: state,
        on_config_applied: Box::new(move |config| {
            on_config_applied(config);
            http.send_replace(config.http);
            history.config.send_replace(config.history.clone());
        }),
    };
    let (stop, stopped) = watch::channel(false);
    let dashboard = dashboard_config(http_config, kept, notifier, &state_dir, &stopped);
    let state = config_state.clone();
    let api = Arc::new(ApiState::new(&running, state, started, dashboard, history.access));
    let mut dashboard = tokio::spawn(run_dashboard(Arc::clone(&api)));
    let files = (state_dir, running.store.clone());
    let own_files = OwnFiles::new(claims, files, own_socket, &inbox, &api, &stopped);
    let mut own_files = tokio::spawn(own_files.keep());
    let mut serving = tokio::spawn(serve(listener, api, stopped));
    let mut background_tasks =
        tokio::spawn(run_background_tasks(reloader, hangup, socket, config_state, history.ready));
    let mut engine = std::pin::pin!(spawn_blocking(move || running.thread.join()));
    let unexpected_end = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        result = &mut engine => Some(result),
        _ = &mut serving => return Err(DaemonError::TaskEnded("the server")),
        Ok(Err(error)) = &mut own_files => return Err(error.into()),
        _ = &mut dashboard => return Err(DaemonError::TaskEnded("the dashboard")),
        _ = &mut background_tasks => return Err(DaemonError::TaskEnded("the reloader")),
    };
    if let Some(result) = unexpected_end {
        return Err(unexpected_end_error(result));
    }
    info!("stopping");
    background_tasks.abort();
    dashboard.abort();
    notifier.notify_stopping();
    let begun = tokio::time::Instant::now();
    // The history continues where it was: on a busy system its thread, of low priority, may not end in time.
    let history = spawn_blocking(move || history.writer.stop());
    // Before the engine, which commits the delivery cursor and closes the journal.
    let delivered = spawn_blocking(move || lock(&delivery).stop());
    let _ = timeout_at(begun + SINK_STOP_TIMEOUT, delivered).await;
    let _ = inbox.command(Command::Stop);
    let result = timeout_at(begun + STOP_TIMEOUT, engine).await;
    let _ = timeout_at(begun + SINK_STOP_TIMEOUT, history).await;
    stop.send_replace(true);
    let _ = serving.await;
    match result {
        Ok(Ok(Ok(result))) => Ok(result?),
        Ok(_) => Err(DaemonError::EngineExited),
        Err(_) => Err(DaemonError::StopTimeout),
    }
}

fn unexpected_end_error(
    result: Result<std::thread::Result<Result<(), EngineError>>, JoinError>,
) -> DaemonError {
    error!("the engine ended unexpectedly");
    match result {
        Ok(Ok(Err(error))) => error.into(),
        _ => DaemonError::EngineExited,
    }
}

/// The writer of the history, and what others need of it.
struct StartedHistory {
    writer: Arc<HistoryWriter>,
    access: HistoryAccess,
    config: watch::Sender<HistoryConfig>,
    ready: watch::Sender<bool>,
}

fn start_history(
    engine: &EngineHandle,
    state_dir: &Path,
    config: &Config,
) -> io::Result<StartedHistory> {
    let (config, config_changes) = watch::channel(config.history.clone());
    let (ready, is_ready) = watch::channel(false);
    let context = HistoryContext::new(engine, state_dir.to_owned(), config_changes, is_ready);
    let writer = HistoryWriter::start(context)?;
    let access = HistoryAccess {
        writer: Arc::clone(&writer),
        reader: ContentReader::new(state_dir),
        path: state_dir.join(HISTORY_FILE),
    };
    Ok(StartedHistory { writer, access, config, ready })
}

fn plan_engine(config: Config, projects: Vec<PathBuf>, dirs: &UserDirs) -> EngineConfig {
    let mut plan = EngineConfig::new(config, dirs.state_dir.clone());
    plan.extra_roots = projects;
    plan.user_missions = Some(dirs.missions_dir());
    plan.project_list = Some(dirs.project_list());
    plan
}

/// Returns the settings of the dashboard, which systemd keeps over a restart.
fn dashboard_config(
    http: watch::Receiver<HttpConfig>,
    kept: Option<KeptDashboard>,
    notifier: SystemdNotifier,
    state_dir: &Path,
    stopped: &watch::Receiver<bool>,
) -> DashboardConfig {
    DashboardConfig {
        http,
        kept: Mutex::new(kept),
        keep: Box::new(move |request| notifier.keep_dashboard(&request)),
        former_state_file: state_dir.join("dashboard.json"),
        stop: stopped.clone(),
    }
}

/// Returns a callback that calls `on_config_applied` and then reloads delivery.
fn with_delivery_reload(
    on_config_applied: Box<dyn Fn(&Config) + Send>,
    delivery: &Arc<Mutex<Delivery>>,
) -> Box<dyn Fn(&Config) + Send> {
    let delivery = Arc::clone(delivery);
    let newest = Arc::new(Mutex::new(None));
    Box::new(move |config| {
        on_config_applied(config);
        lock(&newest).clone_from(&config.webhook);
        let (delivery, newest) = (Arc::clone(&delivery), Arc::clone(&newest));
        // Blocks until the delivery cursor is committed. Reloads may run in any order, so each
        // applies the newest configuration.
        drop(spawn_blocking(move || {
            let mut delivery = lock(&delivery);
            let webhook = lock(&newest).clone();
            delivery.reload(webhook);
        }));
    })
}

/// Reports readiness to systemd, then reloads the configuration and, under systemd, feeds the
/// watchdog and updates the status line. Never returns.
async fn run_background_tasks(
    reloader: Reloader,
    hangup: Signal,
    socket: PathBuf,
    config: watch::Receiver<ConfigState>,
    ready: watch::Sender<bool>,
) {
    let (notifier, inbox, views) =
        (reloader.notifier, Arc::clone(&reloader.inbox), Arc::clone(&reloader.views));
    readiness::wait_until_ready(notifier, &inbox, &views, &socket).await;
    info!("ready");
    ready.send_replace(true);
    notifier.notify_ready(&status_line::format_status(&views.load(), &config.borrow()));
    let reload = reloader.run(hangup);
    if notifier.is_enabled() {
        let (watchdog, status) = (
            watchdog::feed_watchdog(notifier, inbox),
            status_line::update_status_line(notifier, views, config),
        );
        tokio::join!(reload, watchdog, status);
    } else {
        reload.await;
    }
}

//! The daemon's composition: takes the lock, opens the store, starts the engine and the socket, and
//! stops them in the opposite order.

mod lock;
mod offline_projects;
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
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;
use tracing::{error, info};

use crate::api::{
    ApiState, DashboardConfig, SocketError, StartTime, adopt_systemd_socket, bind, run_dashboard,
    serve,
};
use crate::config::{Config, ConfigState, UserDirs};
use crate::core::sync::lock;
use crate::delivery::Delivery;
use crate::engine::inbox::Command;
use crate::engine::run::{EngineError, Plan, Running, start};

use reload::Reloader;
use socket_activation::SocketOwner;
use startup_timeout::StartupTimeoutExtender;
use systemd_notify::SystemdNotifier;

pub use lock::LockError;
pub use offline_projects::{OfflineProjectsError, add_project, list_projects, remove_project};

/// How long a stop may take before what is left is given up.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long what is of no more use may take to end after that.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// What to run with.
pub struct DaemonOptions {
    /// The configuration.
    pub config: Config,
    /// The user's directories.
    pub user_dirs: UserDirs,
    /// Projects to watch beside those of the configuration, this life only.
    pub projects: Vec<PathBuf>,
    /// Where to listen, if not at the usual place.
    pub socket: Option<PathBuf>,
    /// Told of each configuration that comes into use later.
    pub on_config_applied: Box<dyn Fn(&Config) + Send>,
}

/// What ends the daemon, or keeps it from starting.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another one runs, or the lock cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The engine cannot start, or ended with a fault.
    #[error(transparent)]
    EngineFailed(#[from] EngineError),
    /// The socket cannot be served.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The service answers, or will as soon as someone asks.
    #[error(
        "the user service dossierd.service answers at {path}: `dossierd project add PATH` has it \
         watch a project; to run another in its place, first `systemctl --user stop \
         dossierd.socket dossierd.service`",
        path = .0.display()
    )]
    ServiceRunning(PathBuf),
    /// The system refused something.
    #[error("cannot {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// The engine ended by itself.
    #[error("the engine ended early; this is a fault of dossierd")]
    EngineExited,
    /// What had to be written was not within the time that a stop may take.
    #[error("the engine did not stop within {} s", STOP_TIMEOUT.as_secs())]
    StopTimeout,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// [`DaemonError`].
pub fn run(options: DaemonOptions) -> Result<(), DaemonError> {
    let system = |action| move |source| DaemonError::Io { action, source };
    let manager = SystemdNotifier::from_env();
    let inherited = socket_activation::take_inherited_listener()
        .map_err(system("use the socket handed over"))?;
    let usual = options.socket.clone().unwrap_or_else(|| options.user_dirs.socket_path());
    let usual = std::path::absolute(usual).map_err(system("tell where the socket is to be"))?;
    let socket = inherited.as_ref().map_or(usual, |inherited| inherited.path.clone());
    if inherited.is_none() && !manager.is_enabled() {
        match socket_activation::find_socket_owner(&socket) {
            SocketOwner::None => {}
            SocketOwner::ServiceManager => return Err(DaemonError::ServiceRunning(socket)),
            SocketOwner::Process => return Err(SocketError::InUse(socket).into()),
        }
    }
    let _lock = lock::acquire(&options.user_dirs.state_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("runtime")
        // Each thread that ever allocated keeps some memory.
        .max_blocking_threads(8)
        .build()
        .map_err(system("start the runtime"))?;
    let listener = inherited.map(|inherited| inherited.listener);
    let ended = runtime.block_on(run_until_stopped(options, manager, listener, socket));
    // Else what does not end would be waited for without end.
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
    ended
}

/// From the start of the engine to its end.
async fn run_until_stopped(
    options: DaemonOptions,
    manager: SystemdNotifier,
    inherited: Option<UnixListener>,
    socket: PathBuf,
) -> Result<(), DaemonError> {
    let system = |action| move |source| DaemonError::Io { action, source };
    // Before anything is there that a signal must not leave behind.
    let mut terminate = signal(SignalKind::terminate()).map_err(system("await signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("await signals"))?;
    let hangup = signal(SignalKind::hangup()).map_err(system("await signals"))?;
    let listener = match inherited {
        Some(listener) => {
            adopt_systemd_socket(listener).map_err(system("use the socket handed over"))?
        }
        None => bind(&socket)?,
    };
    let started = StartTime::now();
    let file = std::path::absolute(options.user_dirs.config_file())
        .map_err(system("tell where the configuration lies"))?;
    let (state, config_state) = watch::channel(ConfigState::ok(&file));
    let kept = options.user_dirs.state_dir.join("dashboard.json");
    let mut plan = Plan::new(options.config.clone(), options.user_dirs.state_dir.clone());
    plan.roots = options.projects;
    plan.user_missions = Some(options.user_dirs.missions_dir());
    let Running { inbox, views, journal, store, thread } = {
        // A store whose format changes, or that has much to recover, takes its time.
        let _opening = StartupTimeoutExtender::start(manager);
        start(plan)?
    };
    info!(socket = %socket.display(), "listening");
    // From here on no path is relative, and where it was started can be unmounted.
    let _ = std::env::set_current_dir("/");
    let (http, listen) = watch::channel(options.config.http.listen());
    let delivery = Delivery::start(
        options.config.webhook.clone(),
        Arc::clone(&inbox),
        Arc::clone(&views),
        journal.clone(),
    );
    let delivery = Arc::new(Mutex::new(delivery));
    let used = with_delivery_reload(options.on_config_applied, &delivery);
    let reloader = Reloader {
        file,
        config: options.config,
        inbox: Arc::clone(&inbox),
        views: Arc::clone(&views),
        manager,
        config_state: state,
        on_config_applied: Box::new(move |config| {
            used(config);
            http.send_replace(config.http.listen());
        }),
    };
    let (of_api, to_show) = (Arc::clone(&inbox), Arc::clone(&views));
    let (stop, stopped) = watch::channel(false);
    let dashboard = DashboardConfig { listen, state_file: kept, stop: stopped.clone() };
    let api =
        ApiState::new(of_api, to_show, &journal, store, config_state.clone(), started, dashboard);
    let api = Arc::new(api);
    let dashboard = tokio::spawn(run_dashboard(Arc::clone(&api)));
    let serving = tokio::spawn(serve(listener, api, stopped));
    let care = tokio::spawn(run_background_tasks(reloader, hangup, socket, config_state));
    let engine = spawn_blocking(move || thread.join());
    let mut engine = std::pin::pin!(engine);
    let early = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = &mut engine => Some(ended),
    };
    if let Some(ended) = early {
        error!("the engine ended early");
        return match ended {
            Ok(Ok(Err(error))) => Err(error.into()),
            _ => Err(DaemonError::EngineExited),
        };
    }
    info!("stopping");
    care.abort();
    dashboard.abort();
    manager.notify_stopping();
    let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
    // Before the engine, which notes what was delivered.
    let delivered = spawn_blocking(move || lock(&delivery).stop());
    let _ = timeout_at(deadline, delivered).await;
    let _ = inbox.command(Command::Stop);
    let ended = timeout_at(deadline, engine).await;
    stop.send_replace(true);
    let _ = serving.await;
    match ended {
        Ok(Ok(Ok(result))) => Ok(result?),
        Ok(_) => Err(DaemonError::EngineExited),
        Err(_) => Err(DaemonError::StopTimeout),
    }
}

/// Lets delivery go on by a configuration that comes into use, too.
fn with_delivery_reload(
    used: Box<dyn Fn(&Config) + Send>,
    delivery: &Arc<Mutex<Delivery>>,
) -> Box<dyn Fn(&Config) + Send> {
    let delivery = Arc::clone(delivery);
    let wanted = Arc::new(Mutex::new(None));
    Box::new(move |config| {
        used(config);
        lock(&wanted).clone_from(&config.webhook);
        let (delivery, wanted) = (Arc::clone(&delivery), Arc::clone(&wanted));
        // It waits until what was delivered is noted. Of several that wait any may be the last: each
        // goes by what is wanted then.
        drop(spawn_blocking(move || {
            let mut delivery = lock(&delivery);
            let webhook = lock(&wanted).clone();
            delivery.reload(webhook);
        }));
    })
}

/// What goes on beside the engine and the socket while the daemon lives: readiness is told once,
/// then signs of life, what is going on, and changes of the configuration; without end.
async fn run_background_tasks(
    reloader: Reloader,
    hangup: Signal,
    socket: PathBuf,
    config: watch::Receiver<ConfigState>,
) {
    let (manager, inbox, views) =
        (reloader.manager, Arc::clone(&reloader.inbox), Arc::clone(&reloader.views));
    readiness::wait_until_ready(manager, &inbox, &views, &socket).await;
    info!("ready");
    manager.notify_ready(&status_line::format_status(&views.world(), &config.borrow()));
    let reload = reloader.run(hangup);
    if manager.is_enabled() {
        let (pulse, status) = (
            watchdog::feed_watchdog(manager, inbox),
            status_line::update_status_line(manager, views, config),
        );
        tokio::join!(reload, pulse, status);
    } else {
        reload.await;
    }
}

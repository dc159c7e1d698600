//! The daemon's composition: takes the lock, opens the store, starts the engine and the socket, and
//! stops them in the opposite order.

mod inherited;
mod kept;
mod lock;
mod manager;
mod opening;
mod pulse;
mod ready;
mod reload;
mod words;

pub mod units;

use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;
use tracing::{error, info};

use crate::api::{Api, DashboardPlan, SocketError, adopt, bind, keep_dashboard, serve};
use crate::config::{Config, ConfigState, Folders};
use crate::core::time::Timestamp;
use crate::deliver::Delivery;
use crate::engine::inbox::Command;
use crate::engine::run::{EngineError, Plan, Running, start};

use inherited::Holder;
use manager::Manager;
use opening::Opening;
use reload::Reloader;

pub use kept::{ProjectsError, add_project, list_projects, remove_project};
pub use lock::LockError;

/// How long a stop may take before what is left is given up.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How long what is of no more use may take to end after that.
const LEFT_OVER: Duration = Duration::from_millis(500);

/// What to run with.
pub struct Options {
    /// The configuration.
    pub config: Config,
    /// The user's folders.
    pub folders: Folders,
    /// Projects to watch beside those of the configuration, this life only.
    pub projects: Vec<PathBuf>,
    /// Where to listen, if not at the usual place.
    pub socket: Option<PathBuf>,
    /// Told of each configuration that comes into use later.
    pub used: Box<dyn Fn(&Config) + Send>,
}

/// What ends the daemon, or keeps it from starting.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Another one runs, or the lock cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The engine cannot start, or ended with a fault.
    #[error(transparent)]
    Faulty(#[from] EngineError),
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
    IsService(PathBuf),
    /// The system refused something.
    #[error("cannot {action}")]
    System {
        /// What was being done.
        action: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// The engine ended by itself.
    #[error("the engine ended early; this is a fault of dossierd")]
    Engine,
    /// What had to be written was not within the time that a stop may take.
    #[error("the engine did not stop within {} s", STOP_DEADLINE.as_secs())]
    Deadline,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// [`ServiceError`].
pub fn run(options: Options) -> Result<(), ServiceError> {
    let system = |action| move |source| ServiceError::System { action, source };
    let manager = Manager::of_process();
    let inherited = inherited::listener().map_err(system("use the socket handed over"))?;
    let usual = options.socket.clone().unwrap_or_else(|| options.folders.socket());
    let usual = std::path::absolute(usual).map_err(system("tell where the socket is to be"))?;
    let socket = inherited.as_ref().map_or(usual, |(_, path)| path.clone());
    if inherited.is_none() && !manager.listens() {
        match inherited::holder(&socket) {
            Holder::None => {}
            Holder::ServiceManager => return Err(ServiceError::IsService(socket)),
            Holder::Process => return Err(SocketError::Taken(socket).into()),
        }
    }
    let _lock = lock::take(&options.folders.state)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Each thread that ever allocated keeps some memory.
        .max_blocking_threads(8)
        .build()
        .map_err(system("start the runtime"))?;
    let listener = inherited.map(|(listener, _)| listener);
    let ended = runtime.block_on(live(options, manager, listener, socket));
    // Else what does not end would be waited for without end.
    runtime.shutdown_timeout(LEFT_OVER);
    ended
}

/// From the start of the engine to its end.
async fn live(
    options: Options,
    manager: Manager,
    inherited: Option<UnixListener>,
    socket: PathBuf,
) -> Result<(), ServiceError> {
    let system = |action| move |source| ServiceError::System { action, source };
    // Before anything is there that a signal must not leave behind.
    let mut terminate = signal(SignalKind::terminate()).map_err(system("await signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("await signals"))?;
    let hangup = signal(SignalKind::hangup()).map_err(system("await signals"))?;
    let listener = match inherited {
        Some(listener) => adopt(listener).map_err(system("use the socket handed over"))?,
        None => bind(&socket)?,
    };
    let started = (Timestamp::from(SystemTime::now()), Instant::now());
    let file = std::path::absolute(options.folders.config_file())
        .map_err(system("tell where the configuration lies"))?;
    let (state, config_state) = watch::channel(ConfigState::sound(&file));
    let kept = options.folders.state.join("dashboard.json");
    let mut plan = Plan::new(options.config.clone(), options.folders.state.clone());
    plan.roots = options.projects;
    plan.user_missions = Some(options.folders.missions());
    let Running { inbox, views, journal, store, thread } = {
        // A store whose format changes, or that has much to recover, takes its time.
        let _opening = Opening::begin(manager);
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
    let used = deliver_by(options.used, &delivery);
    let reloader = Reloader {
        file,
        config: options.config,
        inbox: Arc::clone(&inbox),
        views: Arc::clone(&views),
        manager,
        state,
        used: Box::new(move |config| {
            used(config);
            http.send_replace(config.http.listen());
        }),
    };
    let (of_api, to_show) = (Arc::clone(&inbox), Arc::clone(&views));
    let (stop, stopped) = watch::channel(false);
    let dashboard = DashboardPlan { listen, file: kept, stop: stopped.clone() };
    let api = Api::new(of_api, to_show, &journal, store, config_state.clone(), started, dashboard);
    let api = Arc::new(api);
    let dashboard = tokio::spawn(keep_dashboard(Arc::clone(&api)));
    let serving = tokio::spawn(serve(listener, api, stopped));
    let care = tokio::spawn(care(reloader, hangup, socket, config_state));
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
            _ => Err(ServiceError::Engine),
        };
    }
    info!("stopping");
    care.abort();
    dashboard.abort();
    manager.stopping();
    let deadline = tokio::time::Instant::now() + STOP_DEADLINE;
    // Before the engine, which notes what was delivered.
    let delivered = spawn_blocking(move || lock_of(&delivery).stop());
    let _ = timeout_at(deadline, delivered).await;
    let _ = inbox.command(Command::Stop);
    let ended = timeout_at(deadline, engine).await;
    stop.send_replace(true);
    let _ = serving.await;
    match ended {
        Ok(Ok(Ok(result))) => Ok(result?),
        Ok(_) => Err(ServiceError::Engine),
        Err(_) => Err(ServiceError::Deadline),
    }
}

/// Lets delivery go on by a configuration that comes into use, too.
fn deliver_by(
    used: Box<dyn Fn(&Config) + Send>,
    delivery: &Arc<Mutex<Delivery>>,
) -> Box<dyn Fn(&Config) + Send> {
    let delivery = Arc::clone(delivery);
    let wanted = Arc::new(Mutex::new(None));
    Box::new(move |config| {
        used(config);
        lock_of(&wanted).clone_from(&config.webhook);
        let (delivery, wanted) = (Arc::clone(&delivery), Arc::clone(&wanted));
        // It waits until what was delivered is noted. Of several that wait any may be the last: each
        // goes by what is wanted then.
        drop(spawn_blocking(move || {
            let mut delivery = lock_of(&delivery);
            let webhook = lock_of(&wanted).clone();
            delivery.reload(webhook);
        }));
    })
}

fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What goes on beside the engine and the socket while the daemon lives: readiness is told once,
/// then signs of life, what is going on, and changes of the configuration; without end.
async fn care(
    reloader: Reloader,
    hangup: Signal,
    socket: PathBuf,
    config: watch::Receiver<ConfigState>,
) {
    let (manager, inbox, views) =
        (reloader.manager, Arc::clone(&reloader.inbox), Arc::clone(&reloader.views));
    ready::wait(manager, &inbox, &views, &socket).await;
    info!("ready");
    manager.ready(&words::status(&views.world(), &config.borrow()));
    let reload = reloader.run(hangup);
    if manager.listens() {
        let (pulse, status) =
            (pulse::feed_watchdog(manager, inbox), pulse::keep_status(manager, views, config));
        tokio::join!(reload, pulse, status);
    } else {
        reload.await;
    }
}

//! The daemon's composition: takes the lock, opens the store, starts the engine and the socket, and
//! stops them in the opposite order.

mod kept;
mod lock;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info};

use crate::api::{Api, SocketError, bind, serve};
use crate::config::{Config, Folders};
use crate::core::time::Timestamp;
use crate::engine::inbox::Command;
use crate::engine::run::{EngineError, Plan, Running, start};

pub use kept::{ProjectsError, add_project, list_projects, remove_project};
pub use lock::LockError;

/// How long a stop may take before what is left is given up.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// What to run with.
#[derive(Debug)]
pub struct Options {
    /// The configuration.
    pub config: Config,
    /// The user's folders.
    pub folders: Folders,
    /// Projects to watch beside those of the configuration, this life only.
    pub projects: Vec<PathBuf>,
    /// Where to listen, if not at the usual place.
    pub socket: Option<PathBuf>,
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
    let state = options.folders.state.clone();
    let socket = options.socket.clone().unwrap_or_else(|| options.folders.socket());
    let socket = std::path::absolute(socket).map_err(|source| ServiceError::System {
        action: "tell where the socket is to be",
        source,
    })?;
    let _lock = lock::take(&state)?;
    let mut plan = Plan::new(options.config, state);
    plan.roots = options.projects;
    plan.user_missions = Some(options.folders.missions());
    let system = |action| move |source| ServiceError::System { action, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the runtime"))?;
    runtime.block_on(async {
        // Before anything is there that a signal must not leave behind.
        let mut terminate = signal(SignalKind::terminate()).map_err(system("await signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system("await signals"))?;
        let listener = bind(&socket)?;
        let started = (Timestamp::from(SystemTime::now()), Instant::now());
        let Running { inbox, views, journal, store, thread } = start(plan)?;
        info!(socket = %socket.display(), "listening");
        // From here on no path is relative, and where it was started can be unmounted.
        let _ = std::env::set_current_dir("/");
        let api = Api::new(Arc::clone(&inbox), Arc::clone(&views), &journal, store, started);
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, Arc::new(api), stopped));
        let engine = tokio::task::spawn_blocking(move || thread.join());
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
        let _ = inbox.command(Command::Stop);
        let ended = tokio::time::timeout(STOP_DEADLINE, engine).await;
        stop.send_replace(true);
        let _ = serving.await;
        match ended {
            Ok(Ok(Ok(result))) => Ok(result?),
            Ok(_) => Err(ServiceError::Engine),
            Err(_) => Err(ServiceError::Deadline),
        }
    })
}

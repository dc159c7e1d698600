//! Opens the store and starts the engine thread.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::Engine;
use super::projects::Grounds;
use crate::config::{Config, SettleConfig};
use crate::engine::inbox::Inbox;
use crate::engine::view::Views;
use crate::project::Machine;
use crate::store::{Journal, OpenedStore, Store, StoreError};
use crate::watch::{Backend, DebounceTimes, HintSink, NotifyWatcher, WatchError, watch_mounts};

/// Creates a file watcher that sends its hints to a sink.
pub(super) type Watchers =
    Arc<dyn Fn(HintSink) -> Result<Box<dyn Backend>, WatchError> + Send + Sync>;

/// What an engine is started with.
pub struct Plan {
    /// The configuration, with the projects to watch.
    pub config: Config,
    /// Roots to watch in addition to those of the configuration and of the store, until the daemon
    /// stops.
    pub roots: Vec<PathBuf>,
    /// Directory of the user's own missions.
    pub user_missions: Option<PathBuf>,
    /// Directory of the daemon's own files.
    pub state: PathBuf,
    pub(super) watchers: Watchers,
}

impl Plan {
    /// Creates a plan with the configuration, the state directory and inotify.
    #[must_use]
    pub fn new(config: Config, state: PathBuf) -> Self {
        let inotify = |sink| Ok(Box::new(NotifyWatcher::new(sink)?) as Box<dyn Backend>);
        Self { config, roots: Vec::new(), user_missions: None, state, watchers: Arc::new(inotify) }
    }
}

/// The engine cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A project's root cannot be opened.
    #[error("cannot watch {path}", path = path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The system refuses to create a thread.
    #[error(
        "cannot start a thread; raise the limit of tasks (`ulimit -u`, `TasksMax` of the service)"
    )]
    Thread(#[source] io::Error),
}

/// Handle of a running engine.
#[derive(Debug)]
pub struct Running {
    /// Receives commands.
    pub inbox: Arc<Inbox>,
    /// Provides the published state.
    pub views: Arc<Views>,
    /// Reads committed events.
    pub journal: Journal,
    /// Path of the store file.
    pub store: PathBuf,
    /// The engine thread; its result is the error that ended it.
    pub thread: JoinHandle<Result<(), EngineError>>,
}

/// Opens the store and starts the engine thread.
///
/// A corrupt store is quarantined, never deleted, and all projects are indexed again.
///
/// # Errors
/// [`EngineError`] if the store cannot be used, one of [`Plan::roots`] is not a directory, or the
/// system refuses to create a thread.
pub fn start(plan: Plan) -> Result<Running, EngineError> {
    let mut extra_roots = BTreeSet::new();
    for path in plan.roots {
        let directory = |root: PathBuf| {
            let is_dir = root.metadata()?.is_dir();
            is_dir.then_some(root).ok_or_else(|| io::ErrorKind::NotADirectory.into())
        };
        let canonical = path.canonicalize().and_then(directory);
        extra_roots.insert(canonical.map_err(|source| EngineError::Root { path, source })?);
    }
    let opened = open_store(&plan.state)?;
    let (path, journal) = (opened.store.path().to_owned(), opened.store.journal());
    let grounds = Grounds {
        config: plan.config,
        user_missions: plan.user_missions,
        state: plan.state,
        watchers: plan.watchers,
        extra_roots,
        machine: Machine::current(),
        next_id: 0,
    };
    let (inbox, views) = (Arc::new(Inbox::default()), Arc::new(Views::default()));
    let weak_inbox = Arc::downgrade(&inbox);
    let on_mount = move || weak_inbox.upgrade().map(|inbox| inbox.mounts_changed()).is_some();
    if let Err(error) = watch_mounts(on_mount) {
        warn!(%error, "cannot watch mounts and unmounts");
    }
    let (engine_inbox, engine_views) = (Arc::clone(&inbox), Arc::clone(&views));
    let run = move || Engine::new(grounds, opened, engine_inbox, engine_views)?.run();
    let thread =
        Builder::new().name("engine".to_owned()).spawn(run).map_err(EngineError::Thread)?;
    Ok(Running { inbox, views, journal, store: path, thread })
}

/// The store, possibly without its content.
pub(super) struct Begun {
    pub(super) store: Store,
    /// Path to which a corrupt store was moved.
    pub(super) quarantined: Option<PathBuf>,
    /// Why the store could not be opened, if that may be temporary.
    pub(super) load_error: Option<StoreError>,
}

/// Opens the store. If the disk refuses that temporarily, the engine runs without it and retries.
fn open_store(state: &Path) -> Result<Begun, StoreError> {
    let OpenedStore { store, quarantined, .. } =
        match Store::open_or_recreate(state, &boot_id(), SystemTime::now().into()) {
            Ok(opened) => opened,
            Err(error) if error.is_transient() => {
                let store = Store::unavailable(state)?;
                return Ok(Begun { store, quarantined: None, load_error: Some(error) });
            }
            Err(error) => return Err(error),
        };
    if let Some(path) = &quarantined {
        warn!(path = %path.display(), "the store was corrupt and is quarantined");
    }
    let (path, instance, seq) = (store.path().display(), store.instance(), store.seq());
    info!(store = %path, instance, seq, "store opened");
    Ok(Begun { store, quarantined, load_error: None })
}

/// Returns the identifier of this boot of the machine, or an empty string if it cannot be read.
pub(in crate::engine) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Returns the debounce times of the configuration, with defaults for those that are not set.
pub(super) fn debounce_times(settle: &SettleConfig) -> DebounceTimes {
    let default = DebounceTimes::default();
    let or = |millis: Option<u64>, default| millis.map_or(default, Duration::from_millis);
    DebounceTimes {
        new_file_delay: or(settle.appear_ms, default.new_file_delay),
        quiet_period: or(settle.quiet_ms, default.quiet_period),
        max_wait: or(settle.max_ms, default.max_wait),
        deletion_grace: or(settle.vanish_ms, default.deletion_grace),
        git_lock_timeout: or(settle.git_ms, default.git_lock_timeout),
    }
}

/// Creates an empty directory that only the user can access, after removing what is at the path.
pub(super) fn recreate_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let _ = std::fs::remove_dir_all(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

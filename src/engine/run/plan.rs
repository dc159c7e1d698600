//! What an engine starts from: the plan, the roots, the store.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
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

/// Makes a watcher that hands its hints to a sink.
pub(super) type Watchers =
    Arc<dyn Fn(HintSink) -> Result<Box<dyn Backend>, WatchError> + Send + Sync>;

/// What to watch.
pub struct Plan {
    /// The configuration, whose projects are watched.
    pub config: Config,
    /// Roots to watch beside those and the ones that the store remembers.
    pub roots: Vec<PathBuf>,
    /// The user's own missions.
    pub user_missions: Option<PathBuf>,
    /// Directory of the daemon's own files.
    pub state: PathBuf,
    pub(super) watchers: Watchers,
}

impl Plan {
    /// A plan by that configuration, with the kernel's events.
    #[must_use]
    pub fn new(config: Config, state: PathBuf) -> Self {
        let kernel = |sink| Ok(Box::new(NotifyWatcher::new(sink)?) as Box<dyn Backend>);
        Self { config, roots: Vec::new(), user_missions: None, state, watchers: Arc::new(kernel) }
    }
}

/// What keeps an engine from starting, or ends it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A project's root cannot be reached.
    #[error("cannot watch {path}", path = path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A running engine.
#[derive(Debug)]
pub struct Running {
    /// Where to put commands.
    pub inbox: Arc<Inbox>,
    /// Where to take pictures.
    pub views: Arc<Views>,
    /// Reads the journal.
    pub journal: Journal,
    /// The store's file.
    pub store: PathBuf,
    /// Its thread, which gives the fault that ended it.
    pub thread: JoinHandle<Result<(), EngineError>>,
}

/// Opens the store and starts an engine over it. A store that is corrupt is set aside, never
/// deleted, and everything is indexed anew.
///
/// # Errors
/// [`EngineError`] when the store cannot be used, or a root that was asked for is not there.
pub fn start(plan: Plan) -> Result<Running, EngineError> {
    let mut extra_roots = BTreeSet::new();
    for path in plan.roots {
        let folder = |root: PathBuf| {
            let is_dir_at = root.metadata()?.is_dir();
            is_dir_at.then_some(root).ok_or_else(|| io::ErrorKind::NotADirectory.into())
        };
        let canonical = path.canonicalize().and_then(folder);
        extra_roots.insert(canonical.map_err(|source| EngineError::Root { path, source })?);
    }
    let begun = open_store(&plan.state)?;
    let (path, store) = (begun.store.path().to_owned(), &begun.store);
    let journal = store.journal();
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
    let for_mounts = Arc::downgrade(&inbox);
    let heard = move || for_mounts.upgrade().map(|inbox| inbox.mounts_changed()).is_some();
    if let Err(error) = watch_mounts(heard) {
        warn!(%error, "mounts and unmounts are not heard of");
    }
    let (for_engine, its_views) = (Arc::clone(&inbox), Arc::clone(&views));
    let thread =
        std::thread::spawn(move || Engine::new(grounds, begun, for_engine, its_views).run());
    Ok(Running { inbox, views, journal, store: path, thread })
}

/// The store, as far as it could be opened.
pub(super) struct Begun {
    pub(super) store: Store,
    pub(super) set_aside: Option<PathBuf>,
    /// Why it could not, where that may pass.
    pub(super) load_error: Option<StoreError>,
}

/// Opens the store; where the disk refuses that for now, everything runs without it until it does
/// not.
fn open_store(state: &Path) -> Result<Begun, StoreError> {
    let OpenedStore { store, quarantined: set_aside, .. } =
        match Store::open_or_recreate(state, &boot_id(), SystemTime::now().into()) {
            Ok(opened) => opened,
            Err(error) if error.is_transient() => {
                let store = Store::unavailable(state)?;
                return Ok(Begun { store, set_aside: None, load_error: Some(error) });
            }
            Err(error) => return Err(error),
        };
    if let Some(aside) = &set_aside {
        warn!(aside = %aside.display(), "the store was corrupt and is set aside");
    }
    let (path, instance, seq) = (store.path().display(), store.instance(), store.seq());
    info!(store = %path, instance, seq, "store opened");
    Ok(Begun { store, set_aside, load_error: None })
}

/// What tells this start of the machine from others.
pub(in crate::engine) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The settling that the configuration sets.
pub(super) fn debounce_times(said: &SettleConfig) -> DebounceTimes {
    let default = DebounceTimes::default();
    let or = |said: Option<u64>, default| said.map_or(default, Duration::from_millis);
    DebounceTimes {
        new_file_delay: or(said.appear_ms, default.new_file_delay),
        quiet_period: or(said.quiet_ms, default.quiet_period),
        max_wait: or(said.max_ms, default.max_wait),
        deletion_grace: or(said.vanish_ms, default.deletion_grace),
        git_lock_timeout: or(said.git_ms, default.git_lock_timeout),
    }
}

/// An empty private directory.
pub(super) fn recreate_private_dir(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let _ = std::fs::remove_dir_all(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

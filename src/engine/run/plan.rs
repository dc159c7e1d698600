//! What an engine starts from: the plan, the roots, the store.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{error, info};

use super::Engine;
use crate::config::{Config, SettleConfig};
use crate::engine::inbox::Inbox;
use crate::engine::view::Views;
use crate::store::{Journal, Store, StoreError};
use crate::watch::{Backend, Kernel, SettleTimes, Sink, WatchError};

/// Makes a watcher that hands its hints to a sink.
pub(super) type Watchers = Box<dyn Fn(Sink) -> Result<Box<dyn Backend>, WatchError> + Send>;

/// What to watch.
pub struct Plan {
    /// The configuration, whose projects are watched.
    pub config: Config,
    /// Roots to watch beside those and the ones that the store remembers.
    pub roots: Vec<PathBuf>,
    /// The user's own missions.
    pub user_missions: Option<PathBuf>,
    /// Folder of the daemon's own files.
    pub state: PathBuf,
    pub(super) watchers: Watchers,
}

impl Plan {
    /// A plan by that configuration, with the kernel's events.
    #[must_use]
    pub fn new(config: Config, state: PathBuf) -> Self {
        let kernel = |sink| Ok(Box::new(Kernel::new(sink)?) as Box<dyn Backend>);
        Self { config, roots: Vec::new(), user_missions: None, state, watchers: Box::new(kernel) }
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

/// Opens the store and starts an engine over it.
///
/// # Errors
/// [`EngineError`] when the store cannot be used, or a root cannot be reached.
pub fn start(plan: Plan) -> Result<Running, EngineError> {
    let store = Store::open(&plan.state, &boot_id())?.store;
    let (path, instance, seq) = (store.path().to_owned(), store.instance(), store.seq());
    info!(store = %path.display(), instance, seq, "store opened");
    let journal = store.journal();
    let roots = roots(&plan, &store)?;
    let (inbox, views) = (Arc::new(Inbox::default()), Arc::new(Views::default()));
    let (for_engine, its_views) = (Arc::clone(&inbox), Arc::clone(&views));
    let thread =
        std::thread::spawn(move || Engine::new(plan, roots, store, for_engine, its_views).run());
    Ok(Running { inbox, views, journal, store: path, thread })
}

/// Canonical roots, each once: of the configuration, of the store, of this life.
fn roots(plan: &Plan, store: &Store) -> Result<Vec<PathBuf>, EngineError> {
    let mut roots = Vec::new();
    let configured = plan.config.projects.iter().map(|project| project.path.clone());
    for path in configured.chain(store.projects()?) {
        match path.canonicalize() {
            Ok(root) => roots.push(root),
            Err(error) => error!(root = %path.display(), %error, "the project is not watched"),
        }
    }
    for path in &plan.roots {
        let canonical = path.canonicalize();
        roots.push(canonical.map_err(|source| EngineError::Root { path: path.clone(), source })?);
    }
    let mut seen = HashSet::new();
    roots.retain(|root| seen.insert(root.clone()));
    Ok(roots)
}

/// What tells this start of the machine from others.
fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The settling that the configuration sets.
pub(super) fn times(said: &SettleConfig) -> SettleTimes {
    let default = SettleTimes::default();
    let or = |said: Option<u64>, default| said.map_or(default, Duration::from_millis);
    SettleTimes {
        appear: or(said.appear_ms, default.appear),
        quiet: or(said.quiet_ms, default.quiet),
        max: or(said.max_ms, default.max),
        vanish: or(said.vanish_ms, default.vanish),
    }
}

/// An empty private folder.
pub(super) fn empty_folder(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let _ = std::fs::remove_dir_all(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

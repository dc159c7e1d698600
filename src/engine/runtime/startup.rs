//! Opens the store and starts the engine thread.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tracing::warn;

use super::event_loop::EventLoop;
use super::opened_store::{EngineError, open_store};
use super::project_factory::{ProjectFactory, WatcherFactory};
use crate::config::Config;
use crate::engine::inbox::Inbox;
use crate::engine::io::resolve::resolve_each;
use crate::engine::read_model::StatePublisher;
use crate::store::Journal;
use crate::watch::{Backend, NotifyWatcher, watch_mounts};

/// What an engine is started with.
pub struct EngineConfig {
    /// The configuration, with the projects to watch.
    pub config: Config,
    /// Roots to watch in addition to those of the configuration and of the store, until the daemon
    /// stops.
    pub extra_roots: Vec<PathBuf>,
    /// Directory of the user's own missions.
    pub user_missions: Option<PathBuf>,
    /// Directory of the daemon's own files.
    pub state: PathBuf,
    pub(super) watchers: WatcherFactory,
}

impl EngineConfig {
    /// Creates a configuration of an engine that uses inotify.
    #[must_use]
    pub fn new(config: Config, state: PathBuf) -> Self {
        let inotify = |sink| Ok(Box::new(NotifyWatcher::new(sink)?) as Box<dyn Backend>);
        let watchers = Arc::new(inotify);
        Self { config, extra_roots: Vec::new(), user_missions: None, state, watchers }
    }
}

/// Handle of a running engine.
#[derive(Debug)]
pub struct EngineHandle {
    /// Receives commands.
    pub inbox: Arc<Inbox>,
    /// Provides the published state.
    pub views: Arc<StatePublisher>,
    /// Reads committed events.
    pub journal: Journal,
    /// Path of the store file.
    pub store: PathBuf,
    /// The engine thread; its result is the error that ended it.
    pub thread: JoinHandle<Result<(), EngineError>>,
}

/// Returns the canonical path of a directory.
///
/// # Errors
/// Those of the operating system; `NotADirectory` for anything else than a directory.
pub fn canonical_dir(path: &Path) -> io::Result<PathBuf> {
    let root = path.canonicalize()?;
    let is_dir = root.metadata()?.is_dir();
    is_dir.then_some(root).ok_or_else(|| io::ErrorKind::NotADirectory.into())
}

/// Opens the store and starts the engine thread.
///
/// A corrupt store is quarantined, never deleted, and all projects are indexed again.
///
/// # Errors
/// [`EngineError`] if the store cannot be used, one of [`EngineConfig::extra_roots`] is not a
/// directory, or the system refuses to create a thread.
pub fn start(config: EngineConfig) -> Result<EngineHandle, EngineError> {
    let mut extra_roots = BTreeSet::new();
    for (path, canonical) in resolve_each(config.extra_roots, canonical_dir) {
        extra_roots.insert(canonical.map_err(|source| EngineError::Root { path, source })?);
    }
    let opened = open_store(&config.state)?;
    let (path, journal) = (opened.store.path().to_owned(), opened.store.journal());
    let (inbox, views) = (Arc::new(Inbox::default()), Arc::new(StatePublisher::default()));
    let factory = ProjectFactory::new(
        config.config,
        config.user_missions,
        config.state,
        config.watchers,
        extra_roots,
        Arc::clone(&inbox),
    );
    let (changed, failed) = (Arc::downgrade(&inbox), Arc::downgrade(&inbox));
    let on_mount = move || changed.upgrade().map(|inbox| inbox.mounts_changed()).is_some();
    let on_failure = move |error| {
        failed.upgrade().into_iter().for_each(|inbox| inbox.thread_failed("mounts", &error));
    };
    if let Err(error) = watch_mounts(on_mount, on_failure) {
        warn!(%error, "cannot watch mounts and unmounts");
    }
    let (engine_inbox, engine_views) = (Arc::clone(&inbox), Arc::clone(&views));
    let run = move || EventLoop::new(factory, opened, engine_inbox, engine_views)?.run();
    let thread =
        Builder::new().name("engine".to_owned()).spawn(run).map_err(EngineError::Thread)?;
    Ok(EngineHandle { inbox, views, journal, store: path, thread })
}

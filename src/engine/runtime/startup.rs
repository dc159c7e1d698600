//! Opens the store and starts the engine thread.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tracing::warn;

use super::event_loop::EventLoop;
use super::opened_store::{EngineError, open_store};
use super::project_factory::ProjectFactory;
use super::registry::Registry;
use crate::config::{Config, ProjectList};
use crate::engine::inbox::Inbox;
use crate::engine::io::call_pool::CallPool;
use crate::engine::io::project_calls::ProjectCalls;
use crate::engine::io::resolve::{resolve_dir, resolve_projects};
use crate::engine::read_model::StatePublisher;
use crate::store::Journal;
use crate::watch::{ShardPool, watch_mounts};

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
    /// The list of projects that were added by command; `None` to use only the store.
    pub project_list: Option<ProjectList>,
    pub(super) shards: ShardPool,
}

impl EngineConfig {
    /// Creates a configuration of an engine that uses inotify.
    #[must_use]
    pub fn new(config: Config, state: PathBuf) -> Self {
        let shards = ShardPool::inotify();
        Self {
            config,
            extra_roots: Vec::new(),
            user_missions: None,
            state,
            project_list: None,
            shards,
        }
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
    /// Runs calls of clients that access a project's files.
    pub calls: ProjectCalls,
    /// The inotify instances of the watched projects.
    pub shards: ShardPool,
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
/// [`EngineError`] if the store cannot be used, one of [`EngineConfig::extra_roots`] is not a
/// directory, or the system refuses to create a thread.
pub fn start(config: EngineConfig) -> Result<EngineHandle, EngineError> {
    let mut extra_roots = BTreeSet::new();
    for path in config.extra_roots {
        let canonical = resolve_dir(&path);
        extra_roots.insert(canonical.map_err(|source| EngineError::Root { path, source })?);
    }
    let mut configured = config.config;
    resolve_projects(&mut configured);
    let (shards, list) = (config.shards, config.project_list);
    let opened = open_store(&config.state)?;
    let (path, journal) = (opened.store.path().to_owned(), opened.store.journal());
    let (inbox, views) = (Arc::new(Inbox::default()), Arc::new(StatePublisher::default()));
    let factory = ProjectFactory::new(
        configured,
        config.user_missions,
        config.state,
        shards.clone(),
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
    let pool = CallPool::new();
    let calls = ProjectCalls::new(pool.clone());
    let (engine_inbox, engine_views) = (Arc::clone(&inbox), Arc::clone(&views));
    let run = move || {
        let registry = Registry::new(factory, list);
        EventLoop::new(registry, opened, pool, engine_inbox, engine_views)?.run()
    };
    let thread =
        Builder::new().name("engine".to_owned()).spawn(run).map_err(EngineError::Thread)?;
    Ok(EngineHandle { inbox, views, journal, calls, shards, store: path, thread })
}

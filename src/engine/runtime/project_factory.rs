//! Creates watched projects from the configuration. Which roots are watched is decided in
//! `registry`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;
use uuid::Uuid;

use super::watched_project::{WatchSettings, WatchedProject};
use crate::config::Config;
use crate::core::path::FeatureSlug;
use crate::engine::clock::Tick;
use crate::engine::ids::ProjectId;
use crate::engine::inbox::Inbox;
use crate::engine::io::call_pool::CallPool;
use crate::engine::io::executor::ProjectContext;
use crate::engine::reconcile::feature::StoredFeature;
use crate::engine::settings::{debounce_times, limits, settings};
use crate::project::Machine;
use crate::scan::MountTable;
use crate::store::boot_id;
use crate::watch::{AncestorWatcher, HintSink, RootWatcher, ShardPool};

/// What all projects are started with.
pub(super) struct ProjectFactory {
    pub(super) config: Config,
    user_missions: Option<PathBuf>,
    /// Directory of the daemon's own files.
    state: PathBuf,
    shards: ShardPool,
    /// Roots to watch until the daemon stops, in addition to those of the configuration and store.
    pub(super) extra_roots: BTreeSet<PathBuf>,
    machine: Machine,
    /// `None` if inotify refused it.
    pub(super) ancestors: Option<AncestorWatcher>,
    /// `None` if the system has none.
    mount_table: Option<Arc<MountTable>>,
    inbox: Arc<Inbox>,
    /// Number of the next project. Numbers are not reused, so the result of a check that was
    /// started for a removed project reaches no other.
    next_id: ProjectId,
}

impl ProjectFactory {
    pub(super) fn new(
        config: Config,
        user_missions: Option<PathBuf>,
        state: PathBuf,
        shards: ShardPool,
        extra_roots: BTreeSet<PathBuf>,
        inbox: Arc<Inbox>,
    ) -> Self {
        let machine = Machine::current();
        let next_id = ProjectId::FIRST;
        let (moved, failed) = (Arc::downgrade(&inbox), Arc::downgrade(&inbox));
        let ancestors = AncestorWatcher::start(
            move || moved.upgrade().into_iter().for_each(|inbox| inbox.mounts_changed()),
            move |error| {
                failed
                    .upgrade()
                    .into_iter()
                    .for_each(|inbox| inbox.thread_failed("ancestors", &error));
            },
        );
        let ancestors = ancestors.inspect_err(
            |error| warn!(%error, "cannot watch the parent directories of project roots"),
        );
        let mount_table = MountTable::open(Uuid::parse_str(&boot_id()).ok())
            .inspect_err(|error| warn!(%error, "cannot read what is mounted below project roots"));
        Self {
            config,
            user_missions,
            state,
            shards,
            extra_roots,
            machine,
            ancestors: ancestors.ok(),
            mount_table: mount_table.ok().map(Arc::new),
            inbox,
            next_id,
        }
    }

    /// Starts to watch a project; `stored` are its features in the store. If `worktree` is given, it is git's
    /// directory of the worktree that the root must be in.
    pub(super) fn start(
        &mut self,
        root: &Path,
        worktree: Option<PathBuf>,
        stored: BTreeMap<FeatureSlug, StoredFeature>,
        pool: &CallPool,
        now: Tick,
    ) -> WatchedProject {
        let id = self.next_id;
        self.next_id = id.next();
        let cookies = self.state.join("cookies").join(id.to_string());
        if let Err(error) = recreate_private_dir(&cookies) {
            let path = cookies.display();
            warn!(%path, %error, "cannot create the directory for sync cookies");
        }
        let (inbox, shards, path) = (Arc::clone(&self.inbox), self.shards.clone(), root.to_owned());
        let hints: HintSink = Arc::new(move |hint| inbox.hint(id, hint));
        let make_watcher =
            Arc::new(move |share| RootWatcher::join(&shards, &path, share, Arc::clone(&hints)));
        let settings = self.settings(root);
        let context = ProjectContext {
            id,
            settings: Arc::new(settings.for_reconciler()),
            project_settings: settings.project.clone(),
            machine: self.machine.clone(),
            worktree,
            cookies,
            make_watcher,
            ancestors: self.ancestors.clone(),
            mount_table: self.mount_table.clone(),
        };
        WatchedProject::start(settings, context, Arc::clone(&self.inbox), stored, pool, now)
    }

    /// Returns the settings of the project at `root`; a change of them restarts it.
    pub(super) fn settings(&self, root: &Path) -> WatchSettings {
        WatchSettings {
            root: root.to_owned(),
            user_missions: self.user_missions.clone(),
            project: settings(&self.config, root),
            limits: limits(&self.config.limits),
            times: debounce_times(&self.config.settle),
            scrub: self.config.scrub.period(),
        }
    }

    /// Replaces the configuration, in which the paths of projects are resolved. Returns the one
    /// before.
    pub(super) fn set_config(&mut self, config: Config) -> Config {
        std::mem::replace(&mut self.config, config)
    }

    /// Returns the roots that the configuration names, canonical if they exist.
    pub(super) fn configured_roots(&self) -> impl Iterator<Item = PathBuf> {
        self.config.projects.iter().map(|project| project.path.clone())
    }

    /// Returns the identity of this machine, from which that of a root is derived.
    pub(super) fn machine_id(&self) -> &str {
        &self.machine.id
    }
}

/// Creates an empty directory that only the user can access, after removing what is at the path.
fn recreate_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let _ = std::fs::remove_dir_all(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

//! Decides which projects are watched, and starts and stops them.
//!
//! A project is watched if the configuration names it, the store contains it, or it was requested
//! until the daemon stops.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tracing::{debug, info};

use super::commit::Committer;
use super::project_factory::ProjectFactory;
use super::watched_project::WatchedProject;
use crate::config::Config;
use crate::core::identity::root_id;
use crate::core::path::FeatureSlug;
use crate::engine::clock::Tick;
use crate::engine::command::{AddError, RemoveError};
use crate::engine::ids::ProjectId;
use crate::engine::io::hash_pool::HashPool;
use crate::engine::reconcile::feature::StoredFeature;
use crate::project::FeatureDir;
use crate::watch::AncestorWatcher;

/// The watched projects.
pub(super) struct Registry {
    pub(super) factory: ProjectFactory,
    /// `None` if inotify refused it. Then a root that was moved together with a parent directory is
    /// noticed only when a client requests the project.
    ancestor_watcher: Option<AncestorWatcher>,
    pub(super) projects: BTreeMap<ProjectId, WatchedProject>,
}

impl Registry {
    pub(super) fn new(factory: ProjectFactory, ancestor_watcher: Option<AncestorWatcher>) -> Self {
        Self { factory, ancestor_watcher, projects: BTreeMap::new() }
    }

    /// Starts all projects that are to be watched.
    pub(super) fn start_all(&mut self, committer: &mut Committer, pool: &HashPool, now: Tick) {
        for root in self.desired_roots(committer, now) {
            self.start(&root, committer, pool, now);
        }
    }

    /// Restarts all projects from the stored state.
    pub(super) fn restart_all(&mut self, committer: &mut Committer, pool: &HashPool, now: Tick) {
        let ids: Vec<ProjectId> = self.projects.keys().copied().collect();
        for id in ids {
            self.stop(id);
        }
        self.start_all(committer, pool, now);
    }

    /// Restarts the projects whose root was missing and exists again.
    pub(super) fn restart_returned(
        &mut self,
        committer: &mut Committer,
        pool: &HashPool,
        now: Tick,
    ) {
        let returned = self.projects.values().filter(|project| project.state.needs_restart());
        let returned: Vec<ProjectId> = returned.map(|project| project.id).collect();
        for id in returned {
            self.restart(id, committer, pool, now);
        }
    }

    /// Adds a project: stored if `keep` is true, otherwise until the daemon stops.
    pub(super) fn add(
        &mut self,
        root: &Path,
        keep: bool,
        committer: &mut Committer,
        pool: &HashPool,
        now: Tick,
    ) -> Result<ProjectId, AddError> {
        let error = |source| AddError::Root { path: root.to_owned(), source };
        let root = root.canonicalize().map_err(error)?;
        if !root.metadata().map_err(error)?.is_dir() {
            return Err(error(io::ErrorKind::NotADirectory.into()));
        }
        if keep {
            committer.store.add_project(&root, now.wall)?;
        } else {
            self.factory.extra_roots.insert(root.clone());
        }
        let known = self.find(&root);
        Ok(known.unwrap_or_else(|| self.start(&root, committer, pool, now)))
    }

    /// Removes a project and its stored state. Its events stay in the journal.
    pub(super) fn remove(
        &mut self,
        id: ProjectId,
        committer: &mut Committer,
    ) -> Result<(), RemoveError> {
        let Some(project) = self.projects.get(&id) else {
            return Ok(());
        };
        let root = project.settings.root.clone();
        if self.factory.configured_roots().any(|configured| configured == root) {
            return Err(RemoveError::Configured(root));
        }
        committer.store.remove_project(&root, &project.state.info().root_id)?;
        self.factory.extra_roots.remove(&root);
        self.stop(id);
        Ok(())
    }

    /// Applies a new configuration and returns a description of each change.
    ///
    /// A project with changed settings is restarted from its stored state, so events are emitted
    /// only for real differences.
    pub(super) fn reload(
        &mut self,
        config: Config,
        committer: &mut Committer,
        pool: &HashPool,
        now: Tick,
    ) -> Vec<String> {
        let before = std::mem::replace(&mut self.factory.config, config);
        let mut changes = Vec::new();
        if before.journal != self.factory.config.journal {
            changes.push("the retention of the journal changed".to_owned());
            committer.prune_now(now);
        }
        let desired = self.desired_roots(committer, now);
        let ids: Vec<ProjectId> = self.projects.keys().copied().collect();
        for id in ids {
            let Some(project) = self.projects.get(&id) else {
                continue;
            };
            let root = project.settings.root.clone();
            if !desired.contains(&root) {
                changes.push(format!("{} is no longer watched", root.display()));
                self.stop(id);
            } else if project.settings != self.factory.settings(&root) {
                changes.push(format!("{} is watched with new settings", root.display()));
                self.restart(id, committer, pool, now);
            }
        }
        for root in desired {
            if self.find(&root).is_none() {
                changes.push(format!("{} is now watched", root.display()));
                self.start(&root, committer, pool, now);
            }
        }
        for change in &changes {
            info!(change, "configuration changed");
        }
        changes
    }

    /// Returns all roots to watch. If the store cannot be read, these include the roots that are
    /// watched now.
    fn desired_roots(&self, committer: &mut Committer, now: Tick) -> BTreeSet<PathBuf> {
        let stored = committer.store.projects().unwrap_or_else(|error| {
            committer.on_load_failed(&error, now);
            self.projects.values().map(|project| project.settings.root.clone()).collect()
        });
        let extra = self.factory.extra_roots.iter().cloned();
        self.factory.configured_roots().chain(stored).chain(extra).collect()
    }

    fn find(&self, root: &Path) -> Option<ProjectId> {
        let project = self.projects.values().find(|project| project.settings.root == root);
        project.map(|project| project.id)
    }

    fn start(
        &mut self,
        root: &Path,
        committer: &mut Committer,
        pool: &HashPool,
        now: Tick,
    ) -> ProjectId {
        let stored = self.load(root, committer, now);
        let mut project = self.factory.start(root, stored, pool, now);
        let id = project.id;
        // After the project, which needs the inotify watches more if few are left.
        let ancestors = self.ancestor_watcher.as_mut();
        if let Err(error) = ancestors.map_or(Ok(()), |watcher| watcher.watch(id.as_usize(), root)) {
            debug!(root = %root.display(), %error, "cannot watch all parent directories");
        }
        // The root may have been moved before the directories above it were watched.
        project.state.probe_root();
        project.run_effects(pool, now);
        info!(root = %root.display(), features = project.state.feature_count(), "watching project");
        self.projects.insert(id, project);
        id
    }

    fn stop(&mut self, id: ProjectId) {
        if let Some(project) = self.projects.remove(&id) {
            info!(root = %project.settings.root.display(), "stopped watching project");
            let _ = std::fs::remove_dir_all(&project.cookies);
        }
        if let Some(watcher) = &mut self.ancestor_watcher {
            watcher.unwatch(id.as_usize());
        }
    }

    fn restart(&mut self, id: ProjectId, committer: &mut Committer, pool: &HashPool, now: Tick) {
        if let Some(project) = self.projects.get(&id) {
            let root = project.settings.root.clone();
            self.stop(id);
            self.start(&root, committer, pool, now);
        }
    }

    /// Returns the stored features of a project; none if they cannot be loaded.
    fn load(
        &self,
        root: &Path,
        committer: &mut Committer,
        now: Tick,
    ) -> BTreeMap<FeatureSlug, StoredFeature> {
        let root_id = root_id(self.factory.machine_id(), root.as_os_str().as_bytes());
        let features = committer.store.load_features(&root_id).unwrap_or_else(|error| {
            committer.on_load_failed(&error, now);
            Vec::new()
        });
        let loaded = features.into_iter().map(|stored| {
            let dir = |path| FeatureDir { slug: stored.slug.clone(), path };
            let feature = StoredFeature {
                dir: stored.dir.map(dir),
                entries: stored.entries,
                absent: stored.absent,
                tombstones: stored.tombstones,
                last_published: stored.last_published,
                gone_since: stored.gone_since,
            };
            (stored.slug, feature)
        });
        loaded.collect()
    }
}

//! Decides which projects are watched, and starts and stops them.
//!
//! A project is watched if the configuration names it, the store contains it, it was requested until the
//! daemon stops, or it is a worktree of one that has its worktrees followed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{info, warn};

use super::commit::Committer;
use super::project_factory::ProjectFactory;
use super::watched_project::WatchedProject;
use super::worktrees::{WorktreeOf, find_worktrees};
use crate::config::{Config, ProjectList};
use crate::core::feature::DossierTimes;
use crate::core::identity::root_id;
use crate::core::path::FeatureSlug;
use crate::engine::clock::Tick;
use crate::engine::command::{AddError, RemoveError};
use crate::engine::ids::ProjectId;
use crate::engine::io::call_pool::CallPool;
use crate::engine::reconcile::event::ProjectInfo;
use crate::engine::reconcile::feature::StoredFeature;
use crate::project::FeatureDir;

/// The watched projects.
pub(super) struct Registry {
    pub(super) factory: ProjectFactory,
    /// The list of projects that were added by command, as a file.
    list: Option<ProjectList>,
    pub(super) projects: BTreeMap<ProjectId, WatchedProject>,
    /// The worktrees of the projects, by root.
    worktrees: BTreeMap<PathBuf, WorktreeOf>,
    /// Those of them that are watched only because they are followed.
    followed: BTreeSet<PathBuf>,
    /// What `worktrees` was found by.
    seen: Vec<SeenProject>,
}

/// A project and what was known of its files.
type SeenProject = (ProjectId, Arc<ProjectInfo>);
type SeenProjectRef<'a> = (ProjectId, &'a Arc<ProjectInfo>);

impl Registry {
    pub(super) fn new(factory: ProjectFactory, list: Option<ProjectList>) -> Self {
        Self {
            factory,
            list,
            projects: BTreeMap::new(),
            worktrees: BTreeMap::new(),
            followed: BTreeSet::new(),
            seen: Vec::new(),
        }
    }

    /// Starts all projects that are to be watched.
    pub(super) fn start_all(&mut self, committer: &mut Committer, pool: &CallPool, now: Tick) {
        for root in self.desired_roots(committer, now) {
            self.start(&root, committer, pool, now);
        }
    }

    /// Restarts all projects from the stored state.
    pub(super) fn restart_all(&mut self, committer: &mut Committer, pool: &CallPool, now: Tick) {
        let ids: Vec<ProjectId> = self.projects.keys().copied().collect();
        let former: Vec<_> = ids.into_iter().filter_map(|id| self.stop(id, pool)).collect();
        self.start_all(committer, pool, now);
        for former in former {
            let id = self.find(&former.settings.root);
            if let Some(project) = id.and_then(|id| self.projects.get_mut(&id)) {
                project.continue_view(former);
            }
        }
    }

    /// Restarts the projects whose root was missing and exists again.
    pub(super) fn restart_returned(
        &mut self,
        committer: &mut Committer,
        pool: &CallPool,
        now: Tick,
    ) {
        let returned = self.projects.values().filter(|project| project.state.needs_restart());
        let returned: Vec<ProjectId> = returned.map(|project| project.id).collect();
        for id in returned {
            self.restart(id, committer, pool, now);
        }
    }

    /// Starts the worktrees of projects that have them followed, and stops those that went.
    pub(super) fn follow_worktrees(
        &mut self,
        committer: &mut Committer,
        pool: &CallPool,
        now: Tick,
    ) {
        let infos = || self.projects.iter().map(|(id, project)| (*id, project.state.info()));
        let is_same = |(seen, now): (&SeenProject, SeenProjectRef<'_>)| {
            seen.0 == now.0 && Arc::ptr_eq(&seen.1, now.1)
        };
        if self.seen.len() == self.projects.len() && self.seen.iter().zip(infos()).all(is_same) {
            return;
        }
        let projects = infos().map(|(_, info)| (&*info.root_id, info.worktrees.as_deref()));
        self.worktrees = find_worktrees(projects, &self.worktrees);
        let gone: Vec<PathBuf> = self
            .followed
            .iter()
            .filter(|root| !self.worktrees.contains_key(*root))
            .cloned()
            .collect();
        for root in gone {
            self.followed.remove(&root);
            let Some(id) = self.find(&root) else { continue };
            let stopped = self.stop(id, pool);
            let root_id = stopped.map(|project| project.state.info().root_id.clone());
            let removed = committer.store.remove_project(&root, &root_id.unwrap_or_default());
            if let Err(error) = removed {
                warn!(root = %root.display(), %error, "the state of a worktree is not removed");
            }
        }
        let new: Vec<PathBuf> =
            self.worktrees.keys().filter(|root| self.find(root).is_none()).cloned().collect();
        for root in new {
            self.followed.insert(root.clone());
            self.start(&root, committer, pool, now);
        }
        for project in self.projects.values_mut() {
            let of = self.worktrees.get(&project.settings.root);
            let is_only_followed = self.followed.contains(&project.settings.root);
            project.set_main(of.map(|of| Arc::clone(&of.main)), is_only_followed);
        }
        let infos = self.projects.iter().map(|(id, one)| (*id, Arc::clone(one.state.info())));
        self.seen = infos.collect();
    }

    /// Adds a project with a canonical root: stored if `keep` is true, otherwise until the daemon stops.
    pub(super) fn add(
        &mut self,
        root: &Path,
        keep: bool,
        committer: &mut Committer,
        pool: &CallPool,
        now: Tick,
    ) -> Result<ProjectId, AddError> {
        if keep {
            committer.store.add_project(root, now.wall)?;
            self.add_to_list(root);
        } else {
            self.factory.extra_roots.insert(root.to_owned());
        }
        let was_followed = self.followed.remove(root);
        match self.find(root) {
            // It is watched whatever its `.git` is.
            Some(id) if was_followed => Ok(self.restart(id, committer, pool, now).unwrap_or(id)),
            Some(id) => Ok(id),
            None => Ok(self.start(root, committer, pool, now)),
        }
    }

    /// Removes a project and its stored state. Its events stay in the journal.
    pub(super) fn remove(
        &mut self,
        id: ProjectId,
        committer: &mut Committer,
        pool: &CallPool,
    ) -> Result<(), RemoveError> {
        let Some(project) = self.projects.get(&id) else {
            return Ok(());
        };
        let root = project.settings.root.clone();
        if self.factory.configured_roots().any(|configured| configured == root) {
            return Err(RemoveError::Configured(root));
        }
        if self.followed.contains(&root) {
            return Err(RemoveError::Worktree(root));
        }
        if let Some(list) = &self.list {
            list.remove(&root)?;
        }
        committer.store.remove_project(&root, &project.state.info().root_id)?;
        self.factory.extra_roots.remove(&root);
        self.stop(id, pool);
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
        pool: &CallPool,
        now: Tick,
    ) -> Vec<String> {
        let before = self.factory.set_config(config);
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
                self.stop(id, pool);
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
        let added = self.added_roots(committer, now);
        let extra = self.factory.extra_roots.iter().cloned();
        let followed = self.followed.iter().cloned();
        self.factory.configured_roots().chain(added).chain(extra).chain(followed).collect()
    }

    /// Returns the projects that were added by command. The store and the list each get those that only
    /// the other one has: one of both may have been lost.
    fn added_roots(&self, committer: &mut Committer, now: Tick) -> BTreeSet<PathBuf> {
        let (listed, errors) = match self.list.as_ref().map(ProjectList::load) {
            None => (BTreeSet::new(), Vec::new()),
            Some(Ok(loaded)) => loaded,
            Some(Err(error)) => (BTreeSet::new(), vec![error]),
        };
        for error in &errors {
            warn!(%error, "the list of projects is incomplete");
        }
        let stored: BTreeSet<PathBuf> = match committer.store.projects() {
            Ok(stored) => stored.into_iter().collect(),
            Err(error) => {
                committer.on_load_failed(&error, now);
                let watched = self.projects.values().map(|project| project.settings.root.clone());
                return watched.chain(listed).collect();
            }
        };
        for root in listed.difference(&stored) {
            if let Err(error) = committer.store.add_project(root, now.wall) {
                warn!(root = %root.display(), %error, "cannot store a project of the list");
            }
        }
        for root in stored.difference(&listed) {
            self.add_to_list(root);
        }
        stored.into_iter().chain(listed).collect()
    }

    fn add_to_list(&self, root: &Path) {
        if let Some(Err(error)) = self.list.as_ref().map(|list| list.add(root)) {
            // The store has the project, too.
            warn!(%error, "a project is not in the list of projects");
        }
    }

    fn find(&self, root: &Path) -> Option<ProjectId> {
        let project = self.projects.values().find(|project| project.settings.root == root);
        project.map(|project| project.id)
    }

    fn start(
        &mut self,
        root: &Path,
        committer: &mut Committer,
        pool: &CallPool,
        now: Tick,
    ) -> ProjectId {
        let stored = self.load(root, committer, now);
        let git_dir = self.worktrees.get(root).filter(|_| self.followed.contains(root));
        let git_dir = git_dir.map(|of| of.git_dir.clone());
        let mut project = self.factory.start(root, git_dir, stored, pool, now);
        let id = project.id;
        // The root may have been moved before the directories above it were watched.
        project.state.probe_root();
        project.run_effects(pool);
        self.projects.insert(id, project);
        id
    }

    fn stop(&mut self, id: ProjectId, pool: &CallPool) -> Option<WatchedProject> {
        if let Some(ancestors) = &self.factory.ancestors {
            ancestors.unwatch(id.as_usize());
        }
        let project = self.projects.remove(&id)?;
        info!(root = %project.settings.root.display(), "stopped watching project");
        pool.clear(id);
        let _ = std::fs::remove_dir_all(project.cookies());
        Some(project)
    }

    /// Returns the new number of the project.
    fn restart(
        &mut self,
        id: ProjectId,
        committer: &mut Committer,
        pool: &CallPool,
        now: Tick,
    ) -> Option<ProjectId> {
        let former = self.stop(id, pool)?;
        let root = former.settings.root.clone();
        let id = self.start(&root, committer, pool, now);
        if let Some(project) = self.projects.get_mut(&id) {
            project.continue_view(former);
        }
        Some(id)
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
            let dir = |path| FeatureDir::stored(stored.slug.clone(), path);
            let feature = StoredFeature {
                dir: stored.dir.map(dir),
                entries: stored.entries,
                absent: stored.absent,
                tombstones: stored.tombstones,
                last_published: stored.last_published,
                gone_since: stored.gone_since,
                mounts: stored.mounts,
                times: DossierTimes {
                    created_at: Some(stored.first_seen),
                    updated_at: Some(stored.updated_at),
                },
            };
            (stored.slug, feature)
        });
        loaded.collect()
    }
}

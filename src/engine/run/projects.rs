//! Decides which projects are watched, and starts and stops them.
//!
//! A project is watched if the configuration names it, the store contains it, or it was requested
//! until the daemon stops.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use tracing::{debug, info, warn};

use super::Engine;
use super::plan::{Watchers, debounce_times, recreate_private_dir};
use crate::config::Config;
use crate::core::path::FeatureSlug;
use crate::engine::feature::Stored;
use crate::engine::inbox::{AddError, ProjectId, RemoveError};
use crate::engine::project::{LiveProject, Now, Setup};
use crate::engine::survey::{limits, settings};
use crate::project::{FeatureDir, Machine};
use crate::store::StoreError;

/// What all projects are started with.
pub(super) struct Grounds {
    pub(super) config: Config,
    pub(super) user_missions: Option<PathBuf>,
    /// Directory of the daemon's own files.
    pub(super) state: PathBuf,
    pub(super) watchers: Watchers,
    /// Roots to watch until the daemon stops, in addition to those of the configuration and store.
    pub(super) extra_roots: BTreeSet<PathBuf>,
    pub(super) machine: Machine,
    /// Number of the next project. Numbers are not reused, so the result of a check that was
    /// started for a removed project reaches no other.
    pub(super) next_id: ProjectId,
}

impl Grounds {
    fn setup(&mut self, root: &Path) -> Setup {
        let id = self.next_id;
        self.next_id += 1;
        Setup {
            id,
            cookies: self.state.join("cookies").join(id.to_string()),
            settings: settings(&self.config, root),
            root: root.to_owned(),
            machine: self.machine.clone(),
            user_missions: self.user_missions.clone(),
            limits: limits(&self.config.limits),
            times: debounce_times(&self.config.settle),
            scrub: self.config.scrub.period(),
        }
    }

    /// Returns the roots that the configuration names, canonical if they exist.
    fn configured(&self) -> impl Iterator<Item = PathBuf> {
        self.config
            .projects
            .iter()
            .map(|project| project.path.canonicalize().unwrap_or_else(|_| project.path.clone()))
    }
}

impl Engine {
    pub(super) fn start_projects(&mut self) {
        for root in self.desired_roots() {
            self.start_project(&root);
        }
    }

    /// Returns all roots to watch. If the store cannot be read, these include the roots that are
    /// watched now.
    fn desired_roots(&mut self) -> BTreeSet<PathBuf> {
        let stored = self.store.projects().unwrap_or_else(|error| {
            self.on_load_failed(&error);
            self.projects.values().map(|project| project.setup.root.clone()).collect()
        });
        let extra = self.grounds.extra_roots.iter().cloned();
        self.grounds.configured().chain(stored).chain(extra).collect()
    }

    fn start_project(&mut self, root: &Path) -> ProjectId {
        let setup = self.grounds.setup(root);
        let id = setup.id;
        if let Err(error) = recreate_private_dir(&setup.cookies) {
            let path = setup.cookies.display();
            warn!(%path, %error, "cannot create the directory for sync cookies");
        }
        let (inbox, watchers) = (self.inbox.clone(), self.grounds.watchers.clone());
        let make = Box::new(move || {
            let inbox = inbox.clone();
            watchers(std::sync::Arc::new(move |hint| inbox.hint(id, hint)))
        });
        let stored = self.stored(&setup);
        let now = self.now();
        let mut project = LiveProject::start(setup, make, stored, &self.pool, now);
        // After the project, which needs the inotify watches more if few are left.
        let watched = self
            .ancestor_watcher
            .as_mut()
            .map_or(Ok(()), |ancestor_watcher| ancestor_watcher.watch(id, root));
        if let Err(error) = watched {
            debug!(root = %root.display(), %error, "cannot watch all parent directories");
        }
        project.check_root(self.now());
        info!(root = %root.display(), features = project.feature_count(), "watching project");
        self.projects.insert(id, project);
        id
    }

    fn stop_project(&mut self, id: ProjectId) {
        if let Some(project) = self.projects.remove(&id) {
            info!(root = %project.setup.root.display(), "stopped watching project");
            let _ = std::fs::remove_dir_all(&project.setup.cookies);
        }
        if let Some(ancestor_watcher) = &mut self.ancestor_watcher {
            ancestor_watcher.unwatch(id);
        }
    }

    /// Restarts all projects from the stored state.
    pub(super) fn restart_projects(&mut self, now: Now) {
        self.commits.load_failed = false;
        let ids: Vec<ProjectId> = self.projects.keys().copied().collect();
        for id in ids {
            self.stop_project(id);
        }
        self.start_projects();
        self.publish(now);
    }

    /// Restarts the projects whose root was missing and exists again.
    pub(super) fn restart_returned(&mut self) {
        let returned = self.projects.values().filter(|project| project.needs_restart());
        let returned: Vec<ProjectId> = returned.map(|project| project.setup.id).collect();
        for id in returned {
            self.restart_project(id);
        }
    }

    fn restart_project(&mut self, id: ProjectId) {
        if let Some(project) = self.projects.get(&id) {
            let root = project.setup.root.clone();
            self.stop_project(id);
            self.start_project(&root);
        }
    }

    fn stored(&mut self, setup: &Setup) -> BTreeMap<FeatureSlug, Stored> {
        let root = std::os::unix::ffi::OsStrExt::as_bytes(setup.root.as_os_str());
        let root_id = crate::core::identity::root_id(&setup.machine.id, root);
        let features = match self.store.load_features(&root_id) {
            Ok(features) => features,
            Err(error) => {
                self.on_load_failed(&error);
                Vec::new()
            }
        };
        features
            .into_iter()
            .map(|stored| {
                let dir = |path| FeatureDir { slug: stored.slug.clone(), path };
                let known = Stored {
                    dir: stored.dir.map(dir),
                    entries: stored.entries,
                    absent: stored.absent,
                    tombstones: stored.tombstones,
                    announced: stored.last_published,
                    gone_since: stored.gone_since,
                };
                (stored.slug, known)
            })
            .collect()
    }

    /// Records that the stored state cannot be loaded; nothing is committed until it is.
    fn on_load_failed(&mut self, error: &StoreError) {
        self.commits.load_failed = true;
        if self.commits.degraded.is_none() {
            self.on_store_error(error, self.now());
        }
    }

    fn id_of(&self, root: &Path) -> Option<ProjectId> {
        self.projects.values().find(|live| live.setup.root == root).map(|live| live.setup.id)
    }

    /// Adds a project: stored if `keep` is true, otherwise until the daemon stops.
    pub(super) fn add_project(
        &mut self,
        root: &Path,
        keep: bool,
        now: Now,
    ) -> Result<ProjectId, AddError> {
        let error = |source| AddError::Root { path: root.to_owned(), source };
        let root = root.canonicalize().map_err(error)?;
        if !root.metadata().map_err(error)?.is_dir() {
            return Err(error(io::ErrorKind::NotADirectory.into()));
        }
        if keep {
            self.store.add_project(&root, now.at)?;
        } else {
            self.grounds.extra_roots.insert(root.clone());
        }
        let known = self.id_of(&root);
        Ok(known.unwrap_or_else(|| self.start_project(&root)))
    }

    /// Removes a project and its stored state. Its events stay in the journal.
    pub(super) fn remove_project(&mut self, id: ProjectId) -> Result<(), RemoveError> {
        let Some(project) = self.projects.get(&id) else {
            return Ok(());
        };
        let root = project.setup.root.clone();
        if self.grounds.configured().any(|configured| configured == root) {
            return Err(RemoveError::Configured(root));
        }
        self.store.remove_project(&root, &project.project.root_id)?;
        self.grounds.extra_roots.remove(&root);
        self.stop_project(id);
        Ok(())
    }

    /// Applies a new configuration and returns a description of each change.
    ///
    /// A project with changed settings is restarted from its stored state, so events are emitted
    /// only for real differences.
    pub(super) fn reload(&mut self, config: Config, now: Now) -> Vec<String> {
        let before = std::mem::replace(&mut self.grounds.config, config);
        let mut changes = Vec::new();
        if before.journal != self.grounds.config.journal {
            changes.push("the retention of the journal changed".to_owned());
            self.commits.prune_at = now.elapsed;
        }
        let wanted = self.desired_roots();
        let ids: Vec<ProjectId> = self.projects.keys().copied().collect();
        for id in ids {
            let Some(live) = self.projects.get(&id) else {
                continue;
            };
            let root = live.setup.root.clone();
            let config = &self.grounds.config;
            let same = live.setup.settings == settings(config, &root)
                && live.setup.limits == limits(&config.limits)
                && live.setup.times == debounce_times(&config.settle)
                && live.setup.scrub == config.scrub.period();
            if !wanted.contains(&root) {
                changes.push(format!("{} is no longer watched", root.display()));
                self.stop_project(id);
            } else if !same {
                changes.push(format!("{} is watched with new settings", root.display()));
                self.restart_project(id);
            }
        }
        for root in wanted {
            if self.id_of(&root).is_none() {
                changes.push(format!("{} is now watched", root.display()));
                self.start_project(&root);
            }
        }
        for change in &changes {
            info!(change, "configuration changed");
        }
        changes
    }
}

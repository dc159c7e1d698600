//! Which projects are watched, and why: the configuration names them, the store remembers them, or
//! someone asked for this life only. A project is watched while one of these holds.

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

/// What projects are started with.
pub(super) struct Grounds {
    pub(super) config: Config,
    pub(super) user_missions: Option<PathBuf>,
    /// Directory of the daemon's own files.
    pub(super) state: PathBuf,
    pub(super) watchers: Watchers,
    /// Roots to watch in this life, beside those of the configuration and of the store.
    pub(super) extra_roots: BTreeSet<PathBuf>,
    pub(super) machine: Machine,
    /// Numbers are not used again: what is under way for a project that is gone finds no other.
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

    /// Roots that the configuration names, canonical where they are there.
    fn configured(&self) -> impl Iterator<Item = PathBuf> {
        self.config
            .projects
            .iter()
            .map(|said| said.path.canonicalize().unwrap_or_else(|_| said.path.clone()))
    }
}

impl Engine {
    pub(super) fn start_projects(&mut self) {
        for root in self.desired_roots() {
            self.start_project(&root);
        }
    }

    /// All roots that are to be watched, as far as is known: where the store cannot say, those that
    /// are watched stay.
    fn desired_roots(&mut self) -> BTreeSet<PathBuf> {
        let from_unreachable_store = self.store.projects().unwrap_or_else(|error| {
            self.on_load_failed(&error);
            self.projects.values().map(|project| project.setup.root.clone()).collect()
        });
        let extra_roots = self.grounds.extra_roots.iter().cloned();
        self.grounds.configured().chain(from_unreachable_store).chain(extra_roots).collect()
    }

    fn start_project(&mut self, root: &Path) -> ProjectId {
        let setup = self.grounds.setup(root);
        let id = setup.id;
        if let Err(error) = recreate_private_dir(&setup.cookies) {
            warn!(path = %setup.cookies.display(), %error, "answers cannot wait for cookies");
        }
        let (inbox, watchers) = (self.inbox.clone(), self.grounds.watchers.clone());
        let make = Box::new(move || {
            let inbox = inbox.clone();
            watchers(std::sync::Arc::new(move |hint| inbox.hint(id, hint)))
        });
        let stored = self.stored(&setup);
        let now = self.now();
        let mut project = LiveProject::start(setup, make, stored, &self.pool, now);
        // After the project, which needs the watches more where there are few.
        let held = self
            .ancestor_watcher
            .as_mut()
            .map_or(Ok(()), |ancestor_watcher| ancestor_watcher.watch(id, root));
        if let Err(error) = held {
            debug!(root = %root.display(), %error, "not all moves above it are heard of");
        }
        project.check_root(self.now());
        info!(root = %root.display(), features = project.feature_count(), "watching");
        self.projects.insert(id, project);
        id
    }

    fn stop_project(&mut self, id: ProjectId) {
        if let Some(project) = self.projects.remove(&id) {
            info!(root = %project.setup.root.display(), "not watched any more");
            let _ = std::fs::remove_dir_all(&project.setup.cookies);
        }
        if let Some(ancestor_watcher) = &mut self.ancestor_watcher {
            ancestor_watcher.unwatch(id);
        }
    }

    /// Begins all projects anew from what the store holds.
    pub(super) fn restart_projects(&mut self, now: Now) {
        self.commits.load_failed = false;
        let ids: Vec<ProjectId> = self.projects.keys().copied().collect();
        for id in ids {
            self.stop_project(id);
        }
        self.start_projects();
        self.publish(now);
    }

    /// Begins those anew whose root was away and is there again.
    pub(super) fn restart_returned(&mut self) {
        let back = self.projects.values().filter(|project| project.needs_restart());
        let back: Vec<ProjectId> = back.map(|project| project.setup.id).collect();
        for id in back {
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

    /// Takes that what was known cannot be read: nothing is committed before it is.
    fn on_load_failed(&mut self, error: &StoreError) {
        self.commits.load_failed = true;
        if self.commits.degraded.is_none() {
            self.on_store_error(error, self.now());
        }
    }

    fn id_of(&self, root: &Path) -> Option<ProjectId> {
        self.projects.values().find(|live| live.setup.root == root).map(|live| live.setup.id)
    }

    /// Watches a project from now on: always, or in this life.
    pub(super) fn add_project(
        &mut self,
        root: &Path,
        keep: bool,
        now: Now,
    ) -> Result<ProjectId, AddError> {
        let refused = |source| AddError::Root { path: root.to_owned(), source };
        let root = root.canonicalize().map_err(refused)?;
        if !root.metadata().map_err(refused)?.is_dir() {
            return Err(refused(io::ErrorKind::NotADirectory.into()));
        }
        if keep {
            self.store.add_project(&root, now.at)?;
        } else {
            self.grounds.extra_roots.insert(root.clone());
        }
        let known = self.id_of(&root);
        Ok(known.unwrap_or_else(|| self.start_project(&root)))
    }

    /// Forgets a project; its events stay in the journal.
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

    /// Goes on with another configuration: what it changes of a project begins that one anew from
    /// what is known, so nothing is announced but what differs. Gives what changed, in words.
    pub(super) fn reload(&mut self, config: Config, now: Now) -> Vec<String> {
        let before = std::mem::replace(&mut self.grounds.config, config);
        let mut changes = Vec::new();
        if before.journal != self.grounds.config.journal {
            changes.push("how long the journal is kept".to_owned());
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
                changes.push(format!("{} is not watched any more", root.display()));
                self.stop_project(id);
            } else if !same {
                changes.push(format!("{} is watched by other settings", root.display()));
                self.restart_project(id);
            }
        }
        for root in wanted {
            if self.id_of(&root).is_none() {
                changes.push(format!("{} is watched", root.display()));
                self.start_project(&root);
            }
        }
        for change in &changes {
            info!(change, "configuration");
        }
        changes
    }
}

//! Commits pending changes and their events in one transaction, prunes the journal, and handles
//! store failures. What the changes of a feature are is decided in `feature`.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::Engine;
use super::plan::boot_id;
use crate::core::error::error_chain;
use crate::core::path::{FeatureSlug, escape_bytes};
use crate::engine::feature::{Due, LiveFeature};
use crate::engine::project::Now;
use crate::store::{EventOrigin, FeatureChange, StoreError};

/// Time from a failed store access to the next attempt.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often the journal is pruned.
const PRUNE_INTERVAL: Duration = Duration::from_hours(1);
/// Time between the steps of one pruning, which are short so that hints are not delayed.
const PRUNE_STEP_INTERVAL: Duration = Duration::from_millis(100);

/// Health of the store: last write error, next retry, pruning schedule.
#[derive(Debug)]
pub(super) struct Commits {
    /// Why the published state is not durable; `None` if it is.
    pub(super) degraded: Option<String>,
    /// The error that was logged last, until a commit succeeds; the same error is logged once.
    logged: Option<String>,
    /// Message about a corrupt store that was quarantined.
    pub(super) quarantined: Option<String>,
    /// True if the stored state of a project could not be loaded. Nothing is committed until it is,
    /// because a commit would announce all files as new.
    pub(super) load_failed: bool,
    /// Time of the next attempt after a failure; nothing is committed before.
    pub(super) retry_at: Duration,
    pub(super) prune_at: Duration,
    /// Events pruned since this number was last logged.
    pruned_events: u64,
}

impl Commits {
    pub(super) fn new(quarantined: Option<&Path>) -> Self {
        Self {
            degraded: None,
            logged: None,
            quarantined: quarantined.map(quarantine_message),
            load_failed: false,
            retry_at: Duration::ZERO,
            prune_at: PRUNE_INTERVAL,
            pruned_events: 0,
        }
    }

    /// Returns when the store needs attention without a new hint.
    pub(super) fn next_due(&self) -> Duration {
        if self.degraded.is_some() { self.prune_at.min(self.retry_at) } else { self.prune_at }
    }
}

impl Engine {
    /// Commits all pending changes in one transaction, announces it, and then commits the
    /// evaluations of the changed features in another: computing these takes longest.
    pub(super) fn commit(&mut self, now: Now) {
        if now.elapsed < self.commits.retry_at || !self.recover_store(now) {
            return;
        }
        self.commit_each(now, |feature| feature.take_commit(now.elapsed, now.at));
        self.views.notify_seq(self.store.seq());
        for project in self.projects.values_mut() {
            // The commit made an evaluation pending, which a git hold defers.
            project.update_git_hold(now);
        }
        self.commit_each(now, |feature| feature.take_evaluation(now.elapsed, now.at));
        // Logged only after the commits: a nearly full disk may accept the small write of the
        // barrier and still refuse these.
        if self.commits.degraded.is_none() && self.commits.logged.take().is_some() {
            info!("store writes succeed again");
        }
    }

    fn commit_each(&mut self, now: Now, take: impl Fn(&mut LiveFeature) -> Option<Due>) {
        if now.elapsed < self.commits.retry_at {
            return;
        }
        let mut commits = Vec::new();
        let mut changes = Vec::new();
        for (id, project) in &mut self.projects {
            let origin = Arc::new(EventOrigin {
                project: project.project.name.to_string(),
                root_id: project.project.root_id.clone(),
                project_uuid: project.project.project_uuid.clone(),
                node_id: project.project.node_id.clone(),
            });
            for slug in project.removed_features.clone() {
                changes.push(FeatureChange {
                    forget: true,
                    ..FeatureChange::new(Arc::clone(&origin), slug)
                });
            }
            let metadata_refresh_due = project.refresh_due;
            project.for_each_active(|slug, feature| {
                feature.metadata_refresh_due = metadata_refresh_due;
                if let Some(mut commit) = take(feature) {
                    changes.push(change(&origin, slug, &mut commit));
                    commits.push((*id, slug.clone(), commit));
                }
            });
        }
        if changes.is_empty() {
            return;
        }
        match self.store.commit(changes, now.at) {
            Ok(types) => {
                self.views.counters().committed(&types);
                self.upkeep.committed();
                self.commits.degraded = None;
                self.schedule_prune_if_oversized(now);
                self.projects.values_mut().for_each(|project| project.removed_features.clear());
                for (id, slug, commit) in commits {
                    if let Some(feature) = self.feature(id, &slug) {
                        feature.committed(commit, now.elapsed);
                    }
                }
            }
            Err(error) => self.on_store_error(&error, now),
        }
    }

    /// Prunes the journal soon if it exceeds its limit by a sixteenth, so that a burst of events
    /// does not fill the disk before the next regular pruning.
    fn schedule_prune_if_oversized(&mut self, now: Now) {
        let max = self.grounds.config.journal.max_bytes();
        if self.store.journal_bytes() > max.saturating_add(max / 16) {
            self.commits.prune_at = self.commits.prune_at.min(now.elapsed + PRUNE_STEP_INTERVAL);
        }
    }

    /// Records that the store cannot be accessed and schedules the next attempt. The published
    /// state stays correct, but is not durable.
    pub(super) fn on_store_error(&mut self, error: &StoreError, now: Now) {
        self.views.counters().failed();
        let text = error_chain(error);
        if self.commits.logged.as_ref() != Some(&text) {
            error!(error = text, "store write failed; serving state that is not yet persisted");
            self.commits.logged = Some(text.clone());
        }
        self.commits.degraded = Some(text);
        // A corrupt database does not recover by waiting: reopen it at once.
        let pause = if error.is_corrupt() { Duration::ZERO } else { STORE_RETRY_INTERVAL };
        self.commits.retry_at = now.elapsed + pause;
        self.store.record_error(error);
    }

    /// Returns true if the store can be used, after an attempt to recover it if it could not.
    ///
    /// After a disk failure the store is reopened first, because only then its content is known. A
    /// barrier checks that it can be written.
    fn recover_store(&mut self, now: Now) -> bool {
        if self.commits.degraded.is_none() {
            return true;
        }
        if !self.store.is_trusted()
            && let Err(error) = self.reopen(now)
        {
            self.on_store_error(&error, now);
            return false;
        }
        match self.store.barrier() {
            Ok(_) => self.commits.degraded = None,
            Err(error) => self.on_store_error(&error, now),
        }
        if self.commits.degraded.is_none() && self.commits.load_failed {
            self.restart_projects(now);
        }
        self.commits.degraded.is_none()
    }

    fn reopen(&mut self, now: Now) -> Result<(), StoreError> {
        let (instance, seq) = (self.store.instance().to_owned(), self.store.seq());
        if let Some(path) = self.store.reopen(&boot_id(), now.at)? {
            warn!(path = %path.display(), "the store was corrupt and is quarantined");
            self.commits.quarantined = Some(quarantine_message(&path));
        }
        self.upkeep.replace(self.store.checkpointer());
        info!(instance = self.store.instance(), seq = self.store.seq(), "store reopened");
        if self.store.instance() != instance || self.store.seq() != seq {
            // The file contains another state than the one that was committed last.
            self.restart_projects(now);
        }
        Ok(())
    }

    /// Prunes events that exceed the journal's limits, one step in each call.
    pub(super) fn prune(&mut self, now: Now) {
        if now.elapsed < self.commits.prune_at || self.commits.degraded.is_some() {
            return;
        }
        self.commits.prune_at = now.elapsed + PRUNE_INTERVAL;
        let limits = &self.grounds.config.journal;
        match self.store.prune(limits.max_age(), limits.max_bytes(), now.at) {
            Ok(pruned) if pruned.events == 0 => {
                let events = std::mem::take(&mut self.commits.pruned_events);
                if events > 0 {
                    info!(events, "journal pruned");
                }
            }
            Ok(pruned) => {
                self.commits.pruned_events += pruned.events;
                self.commits.prune_at = now.elapsed + PRUNE_STEP_INTERVAL;
                for retired in pruned.tombstones {
                    for project in self.projects.values_mut() {
                        if project.project.root_id == retired.root_id
                            && let Some(feature) = project.activate(&retired.slug)
                        {
                            feature.retire_tombstone(&retired.path);
                        }
                    }
                }
            }
            Err(error) => self.on_store_error(&error, now),
        }
    }
}

fn quarantine_message(path: &Path) -> String {
    let path = escape_bytes(path.as_os_str().as_bytes());
    format!("a corrupt store was quarantined as {path}; all projects were indexed again")
}

/// Builds the store's change from a feature's commit. Moves out what the feature does not need
/// again when the commit has succeeded.
fn change(origin: &Arc<EventOrigin>, slug: &FeatureSlug, commit: &mut Due) -> FeatureChange {
    FeatureChange {
        upserts: std::mem::take(&mut commit.set),
        removed: std::mem::take(&mut commit.removed),
        absent: commit.absent.clone(),
        tombstones: commit.tombstones.clone(),
        cleared_tombstones: commit.tombstones_gone.clone(),
        last_published: commit.announced.clone(),
        dir: commit.dir.clone().map(|dir| dir.path),
        gone_since: commit.absent.is_some().then_some(commit.gone_since),
        events: std::mem::take(&mut commit.events),
        ..FeatureChange::new(Arc::clone(origin), slug.clone())
    }
}

//! What is due becomes durable here: rows and events in one transaction, the journal's length, and
//! what follows when the disk fails.

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
use crate::engine::upkeep::Upkeep;
use crate::store::{EventOrigin, FeatureChange, StoreError};

/// After a commit that failed, the next try.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often the journal is looked at, and how soon again while there is something to drop.
const PRUNE_INTERVAL: Duration = Duration::from_hours(1);
const PRUNE_STEP_INTERVAL: Duration = Duration::from_millis(100);

/// How well the store takes what it is given.
#[derive(Debug)]
pub(super) struct Commits {
    /// Why what is shown is not durable.
    pub(super) degraded: Option<String>,
    /// What was logged of that, until it is over.
    logged: Option<String>,
    /// What became of a store that could not be used.
    pub(super) set_aside: Option<String>,
    /// Whether what was known of a project could not be read: nothing is committed without that.
    pub(super) load_failed: bool,
    /// No commit is tried before.
    pub(super) retry_at: Duration,
    pub(super) prune_at: Duration,
    /// Events that were dropped since that was last logged.
    pruned_events: u64,
}

impl Commits {
    pub(super) fn new(set_aside: Option<&Path>) -> Self {
        Self {
            degraded: None,
            logged: None,
            set_aside: set_aside.map(quarantine_message),
            load_failed: false,
            retry_at: Duration::ZERO,
            prune_at: PRUNE_INTERVAL,
            pruned_events: 0,
        }
    }

    /// When something is to be tried without a new hint.
    pub(super) fn next_due(&self) -> Duration {
        if self.degraded.is_some() { self.prune_at.min(self.retry_at) } else { self.prune_at }
    }
}

impl Engine {
    /// Commits all that is due: what changed in one transaction, and once that is told the verdicts
    /// on it in another. Working these out can take longer than anything else here.
    pub(super) fn commit(&mut self, now: Now) {
        if now.elapsed < self.commits.retry_at || !self.recover_store(now) {
            return;
        }
        self.commit_each(now, |feature| feature.take_commit(now.elapsed, now.at));
        self.views.announce(self.store.seq());
        for project in self.projects.values_mut() {
            // A verdict is owed from here on, and git may have the tree.
            project.update_git_hold(now);
        }
        self.commit_each(now, |feature| feature.take_evaluation(now.elapsed, now.at));
        // Only now: a disk with room for a mark may have none for what is due.
        if self.commits.degraded.is_none() && self.commits.logged.take().is_some() {
            info!("the store can be written again");
        }
    }

    fn commit_each(&mut self, now: Now, due: impl Fn(&mut LiveFeature) -> Option<Due>) {
        if now.elapsed < self.commits.retry_at {
            return;
        }
        let mut dues = Vec::new();
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
                if let Some(mut due) = due(feature) {
                    changes.push(change(&origin, slug, &mut due));
                    dues.push((*id, slug.clone(), due));
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
                for (id, slug, due) in dues {
                    if let Some(feature) = self.feature(id, &slug) {
                        feature.committed(due, now.elapsed);
                    }
                }
            }
            Err(error) => self.on_store_error(&error, now),
        }
    }

    /// Shortens the journal soon when it has become longer than it may be by a sixteenth: a burst of
    /// events shall not fill the disk until the hour is over.
    fn schedule_prune_if_oversized(&mut self, now: Now) {
        let max = self.grounds.config.journal.max_bytes();
        if self.store.journal_bytes() > max.saturating_add(max / 16) {
            self.commits.prune_at = self.commits.prune_at.min(now.elapsed + PRUNE_STEP_INTERVAL);
        }
    }

    /// Takes that the store could not be written: what is shown is true, and not durable.
    pub(super) fn on_store_error(&mut self, error: &StoreError, now: Now) {
        self.views.counters().failed();
        let text = error_chain(error);
        if self.commits.logged.as_ref() != Some(&text) {
            error!(error = text, "the store cannot be written; what is shown is not durable");
            self.commits.logged = Some(text.clone());
        }
        self.commits.degraded = Some(text);
        // Waiting mends no file that is not what was written.
        let pause = if error.is_corrupt() { Duration::ZERO } else { STORE_RETRY_INTERVAL };
        self.commits.retry_at = now.elapsed + pause;
        self.store.record_error(error);
    }

    /// Whether the store can be tried: one that the disk failed is opened anew first, and what it
    /// then says is so. Where nothing is due, a barrier tells whether it can be written again.
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
        if let Some(aside) = self.store.reopen(&boot_id(), now.at)? {
            warn!(aside = %aside.display(), "the store was corrupt and is set aside");
            self.commits.set_aside = Some(quarantine_message(&aside));
        }
        let upkeep = Upkeep::start(self.store.checkpointer(), Arc::clone(&self.inbox));
        std::mem::replace(&mut self.upkeep, upkeep).stop();
        info!(instance = self.store.instance(), seq = self.store.seq(), "store opened again");
        if self.store.instance() != instance || self.store.seq() != seq {
            // What was taken for committed is not what it holds.
            self.restart_projects(now);
        }
        Ok(())
    }

    /// Drops what the journal keeps no longer, a step at a time.
    pub(super) fn prune(&mut self, now: Now) {
        if now.elapsed < self.commits.prune_at || self.commits.degraded.is_some() {
            return;
        }
        self.commits.prune_at = now.elapsed + PRUNE_INTERVAL;
        let kept = &self.grounds.config.journal;
        match self.store.prune(kept.max_age(), kept.max_bytes(), now.at) {
            Ok(pruned) if pruned.events == 0 => {
                let events = std::mem::take(&mut self.commits.pruned_events);
                if events > 0 {
                    info!(events, "the journal was shortened");
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

fn quarantine_message(aside: &Path) -> String {
    let aside = escape_bytes(aside.as_os_str().as_bytes());
    format!("a corrupt store was set aside as {aside}; everything was indexed anew")
}

/// What is to be written of what is due; what only the store needs is taken out.
fn change(origin: &Arc<EventOrigin>, slug: &FeatureSlug, due: &mut Due) -> FeatureChange {
    FeatureChange {
        upserts: std::mem::take(&mut due.set),
        removed: std::mem::take(&mut due.removed),
        absent: due.absent.clone(),
        tombstones: due.tombstones.clone(),
        cleared_tombstones: due.tombstones_gone.clone(),
        last_published: due.announced.clone(),
        dir: due.dir.clone().map(|dir| dir.path),
        gone_since: due.absent.is_some().then_some(due.gone_since),
        events: std::mem::take(&mut due.events),
        ..FeatureChange::new(Arc::clone(origin), slug.clone())
    }
}

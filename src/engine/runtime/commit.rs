//! Commits pending changes and their events in one transaction, prunes the journal, and handles
//! store failures. What a feature's changes are is decided in `reconcile`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};
use uuid::Uuid;

use super::watched_project::WatchedProject;
use crate::config::RetentionConfig;
use crate::core::backoff::Backoff;
use crate::core::error::error_chain;
use crate::core::path::{FeatureSlug, escape_bytes};
use crate::engine::clock::Tick;
use crate::engine::ids::ProjectId;
use crate::engine::io::call_pool::CallPool;
use crate::engine::io::wal_checkpointer::WalCheckpointer;
use crate::engine::read_model::StatePublisher;
use crate::engine::reconcile::event::Event;
use crate::engine::reconcile::pending::FeatureCommit;
use crate::store::{EventOrigin, FeatureChange, FilePlace, Store, StoreError, StoreTime, boot_id};

/// Time from the first failed store access to the next attempt; after each further one it is twice as
/// long.
const STORE_PAUSE_MIN: Duration = Duration::from_millis(250);
const STORE_PAUSE_MAX: Duration = Duration::from_secs(8);
/// Why nothing is committed while the store's file was removed or replaced.
const NOT_IN_PLACE: &str = "the store's file was removed or replaced";
/// How often the journal is pruned.
const PRUNE_INTERVAL: Duration = Duration::from_hours(1);
/// Time between the steps of one pruning, which are short so that hints are not delayed.
const PRUNE_STEP_INTERVAL: Duration = Duration::from_millis(100);

/// The only writer of the store.
pub(super) struct Committer {
    pub(super) store: Store,
    pub(super) health: StoreHealth,
    pub(super) checkpointer: WalCheckpointer,
    views: Arc<StatePublisher>,
}

/// Health of the store: last write error, next retry, pruning schedule.
#[derive(Debug)]
pub(super) struct StoreHealth {
    /// Why the published state is not durable; `None` if it is.
    pub(super) degraded: Option<String>,
    /// The error that was logged last, until a commit succeeds; the same error is logged once.
    logged: Option<String>,
    /// Message about a corrupt store that was quarantined.
    pub(super) quarantined: Option<String>,
    /// True if the stored state of a project could not be loaded. Nothing is committed until it is,
    /// because a commit would announce all files as new.
    load_failed: bool,
    /// Time of the next attempt after a failure; nothing is committed before.
    pub(super) retry_at: Duration,
    retries: Backoff,
    prune_at: Duration,
    /// Events pruned since this number was last logged.
    pruned_events: u64,
}

/// Whether the store can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recovery {
    /// Changes can be committed.
    Usable,
    /// The store contains another state than was committed last, or its state could not be loaded
    /// before: all projects must be restarted from it.
    NeedsRestart,
    /// Nothing can be committed before [`StoreHealth::retry_at`].
    Unusable,
}

type Projects = BTreeMap<ProjectId, WatchedProject>;

impl StoreHealth {
    fn new(quarantined: Option<&Path>) -> Self {
        Self {
            degraded: None,
            logged: None,
            quarantined: quarantined.map(quarantine_message),
            load_failed: false,
            retry_at: Duration::ZERO,
            retries: Backoff::default(),
            prune_at: PRUNE_INTERVAL,
            pruned_events: 0,
        }
    }

    fn retry_after_pause(&mut self, now: Tick) {
        // Several errors may follow from one failure.
        if self.retry_at <= now.monotonic {
            let pause = self.retries.next_pause(STORE_PAUSE_MIN, STORE_PAUSE_MAX);
            self.retry_at = now.monotonic + pause;
        }
    }

    /// Returns when the store needs attention without a new hint.
    pub(super) fn next_due(&self) -> Duration {
        if self.degraded.is_some() { self.prune_at.min(self.retry_at) } else { self.prune_at }
    }
}

impl Committer {
    pub(super) fn new(
        store: Store,
        quarantined: Option<&Path>,
        checkpointer: WalCheckpointer,
        views: Arc<StatePublisher>,
    ) -> Self {
        Self { store, health: StoreHealth::new(quarantined), checkpointer, views }
    }

    /// Commits all pending changes in one transaction, announces it, and then commits the
    /// evaluations of the changed features in another: computing these takes longest.
    pub(super) fn commit(
        &mut self,
        projects: &mut Projects,
        retention: &RetentionConfig,
        pool: &CallPool,
        now: Tick,
    ) {
        self.commit_each(projects, retention, now, |project| project.state.take_changes(now));
        self.views.notify_seq(self.store.seq());
        for project in projects.values_mut() {
            project.state.prepare_evaluations();
            project.run_effects(pool);
        }
        self.commit_each(projects, retention, now, |project| {
            project.state.take_evaluations(Uuid::new_v4, now)
        });
        // Logged only after the commits: a nearly full disk may accept the small write of the
        // barrier and still refuse these.
        if self.health.degraded.is_none() && self.health.logged.take().is_some() {
            info!("store writes succeed again");
        }
    }

    /// Commits in one transaction what `take` returns for each project, and the removal of features
    /// that are forgotten.
    fn commit_each(
        &mut self,
        projects: &mut Projects,
        retention: &RetentionConfig,
        now: Tick,
        take: impl Fn(&mut WatchedProject) -> Vec<(FeatureSlug, FeatureCommit)>,
    ) {
        if now.monotonic < self.health.retry_at {
            return;
        }
        let mut commits = Vec::new();
        let mut changes = Vec::new();
        for (id, project) in projects.iter_mut() {
            let taken = take(project);
            let forgotten = project.state.forgotten();
            if taken.is_empty() && forgotten.is_empty() {
                continue;
            }
            let info = project.state.info();
            let origin = Arc::new(EventOrigin {
                project: info.name.to_string(),
                root_id: info.root_id.clone(),
                project_uuid: info.project_uuid.clone(),
                node_id: info.node_id.clone(),
            });
            for slug in forgotten {
                let change = FeatureChange::new(Arc::clone(&origin), slug.clone());
                changes.push(FeatureChange { forget: true, ..change });
            }
            for (slug, mut commit) in taken {
                changes.push(to_change(&origin, &slug, &mut commit));
                commits.push((*id, slug, commit));
            }
        }
        if changes.is_empty() {
            return;
        }
        match self.store.commit(changes, now.wall) {
            Ok(committed) => {
                self.views.metrics().committed(&committed.types);
                self.views.recent_events().add(
                    self.store.instance(),
                    self.store.seq(),
                    committed.events,
                );
                self.store.note_time(StoreTime::at(now.wall));
                self.checkpointer.committed();
                self.health.degraded = None;
                self.health.retries = Backoff::default();
                self.schedule_prune_if_oversized(retention, now);
                for project in projects.values_mut() {
                    project.state.on_forgotten();
                }
                for (id, slug, commit) in commits {
                    if let Some(project) = projects.get_mut(&id) {
                        project.state.on_committed(&slug, commit, now);
                    }
                }
            }
            Err(error) => self.on_store_error(&error, now),
        }
    }

    /// Records that the store cannot be accessed and schedules the next attempt. The published
    /// state stays correct, but is not durable.
    pub(super) fn on_store_error(&mut self, error: &StoreError, now: Tick) {
        self.views.metrics().failed();
        let text = error_chain(error);
        if self.health.logged.as_ref() != Some(&text) {
            error!(error = text, "store write failed; serving state that is not yet persisted");
            self.health.logged = Some(text.clone());
        }
        self.health.degraded = Some(text);
        // A corrupt database does not recover by waiting: it is reopened at once, but once only.
        let is_first = self.health.retries.attempts() == 0;
        self.health.retry_after_pause(now);
        if error.is_corrupt() && is_first {
            self.health.retry_at = now.monotonic;
        }
        self.store.record_error(error);
    }

    /// Records that the stored state cannot be loaded; nothing is committed until it is.
    pub(super) fn on_load_failed(&mut self, error: &StoreError, now: Tick) {
        self.health.load_failed = true;
        if self.health.degraded.is_none() {
            self.on_store_error(error, now);
        }
    }

    /// Tries to recover the store if it could not be used.
    ///
    /// After a disk failure the store is reopened first, because only then its content is known. A
    /// barrier checks that it can be written.
    pub(super) fn recover(&mut self, now: Tick) -> Recovery {
        if now.monotonic < self.health.retry_at {
            return Recovery::Unusable;
        }
        if self.health.degraded.is_none() {
            return Recovery::Usable;
        }
        let mut is_other_state = false;
        if !self.store.is_trusted() {
            match self.reopen(now) {
                Ok(is_other) => is_other_state = is_other,
                Err(error) => {
                    self.on_store_error(&error, now);
                    return Recovery::Unusable;
                }
            }
        }
        match self.store.barrier() {
            // What is written to a removed file would be lost.
            Ok(_) if self.store.file_place() != FilePlace::Own => {
                self.health.degraded = Some(NOT_IN_PLACE.to_owned());
                self.health.retry_after_pause(now);
            }
            // The pauses start over after a commit only: that may need space which a barrier does not.
            Ok(_) => self.health.degraded = None,
            Err(error) => self.on_store_error(&error, now),
        }
        let is_usable = self.health.degraded.is_none();
        if is_other_state || is_usable && self.health.load_failed {
            self.health.load_failed = false;
            return Recovery::NeedsRestart;
        }
        if is_usable { Recovery::Usable } else { Recovery::Unusable }
    }

    /// Opens the store again. Returns true if the file contains another state than the one that was
    /// committed last.
    fn reopen(&mut self, now: Tick) -> Result<bool, StoreError> {
        let (instance, seq) = (self.store.instance().to_owned(), self.store.seq());
        if let Some(path) = self.store.reopen(&boot_id(), now.wall)? {
            warn!(path = %path.display(), "the store was corrupt and is quarantined");
            self.health.quarantined = Some(quarantine_message(&path));
        }
        self.use_store_file();
        Ok(self.store.instance() != instance || self.store.seq() != seq)
    }

    /// Writes the store's file again if it was removed, or opens the one that replaced it. The projects
    /// are restarted from it, since it is another instance. Returns false if that failed.
    pub(super) fn restore_file(&mut self, now: Tick) -> bool {
        let restored = match self.store.file_place() {
            FilePlace::Own => return true,
            FilePlace::Nothing => {
                error!(
                    "the store was removed while it is in use; writing its content to a new file"
                );
                self.store.restore_file(&boot_id()).map(|()| self.use_store_file())
            }
            FilePlace::Other => {
                error!("the store was replaced while it is in use; continuing with the other file");
                self.reopen(now).map(drop)
            }
        };
        match restored {
            Ok(()) => {
                self.health.degraded = Some(NOT_IN_PLACE.to_owned());
                self.health.load_failed = true;
                self.health.retry_at = now.monotonic;
                true
            }
            Err(error) => {
                self.on_store_error(&error, now);
                false
            }
        }
    }

    fn use_store_file(&mut self) {
        self.checkpointer.replace(self.store.checkpointer());
        info!(instance = self.store.instance(), seq = self.store.seq(), "store opened again");
    }

    /// Schedules pruning for this iteration.
    pub(super) fn prune_now(&mut self, now: Tick) {
        self.health.prune_at = now.monotonic;
    }

    /// Prunes the journal soon if it exceeds its limit by a sixteenth, so that a burst of events
    /// does not fill the disk before the next regular pruning.
    fn schedule_prune_if_oversized(&mut self, retention: &RetentionConfig, now: Tick) {
        let max = retention.max_bytes();
        if self.store.journal_bytes() > max.saturating_add(max / 16) {
            let soon = now.monotonic + PRUNE_STEP_INTERVAL;
            self.health.prune_at = self.health.prune_at.min(soon);
        }
    }

    /// Prunes events that exceed the journal's limits, one step in each call.
    pub(super) fn prune(
        &mut self,
        projects: &mut Projects,
        retention: &RetentionConfig,
        pool: &CallPool,
        now: Tick,
    ) {
        if now.monotonic < self.health.prune_at || self.health.degraded.is_some() {
            return;
        }
        self.health.prune_at = now.monotonic + PRUNE_INTERVAL;
        let time = StoreTime::at(now.wall);
        match self.store.prune(retention.max_age(), retention.max_bytes(), time) {
            Ok(pruned) if pruned.events == 0 => {
                let events = std::mem::take(&mut self.health.pruned_events);
                if events > 0 {
                    info!(events, "journal pruned");
                }
            }
            Ok(pruned) => {
                self.health.pruned_events += pruned.events;
                self.health.prune_at = now.monotonic + PRUNE_STEP_INTERVAL;
                for retired in pruned.tombstones {
                    let mut all = projects.values_mut();
                    let project = all.find(|one| one.state.info().root_id == retired.root_id);
                    if let Some(project) = project {
                        let (slug, path) = (retired.slug, retired.path);
                        project.handle(Event::TombstoneExpired { slug, path }, pool, now);
                    }
                }
            }
            Err(error) => self.on_store_error(&error, now),
        }
    }
}

/// Returns the message about a corrupt store that was moved to `path`.
fn quarantine_message(path: &Path) -> String {
    let path = escape_bytes(path.as_os_str().as_bytes());
    format!("a corrupt store was quarantined as {path}; all projects were indexed again")
}

/// Builds the store's change from a feature's commit. Moves out what the feature does not need
/// again when the commit has succeeded.
fn to_change(
    origin: &Arc<EventOrigin>,
    slug: &FeatureSlug,
    commit: &mut FeatureCommit,
) -> FeatureChange {
    FeatureChange {
        upserts: std::mem::take(&mut commit.upserts),
        removed: std::mem::take(&mut commit.removed),
        absent: commit.absent.clone(),
        tombstones: commit.tombstones.clone(),
        cleared_tombstones: commit.cleared_tombstones.clone(),
        last_published: commit.last_published.clone(),
        dir: commit.dir.clone().map(|dir| dir.path),
        mounts: commit.mounts.clone(),
        gone_since: commit.absent.is_some().then_some(commit.gone_since),
        events: std::mem::take(&mut commit.events),
        ..FeatureChange::new(Arc::clone(origin), slug.clone())
    }
}

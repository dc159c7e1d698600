//! Changes of a feature that are not committed, and the rows and events that a commit writes of
//! them. The transaction itself is in `run/commit.rs`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::LiveFeature;
use super::show::Projection;
use super::tombstones::tombstone;
use crate::core::artifact::ArtifactRef;
use crate::core::baseline::BaselineFile;
use crate::core::event::Payload;
use crate::core::feature_context::UnknownReason;
use crate::core::inventory::{EntryChange, InventoryEntry};
use crate::core::path::RelPath;
use crate::core::snapshot::MissionDossierSnapshot;
use crate::core::time::Timestamp;
use crate::core::transition::{
    Evaluation, EvaluationEvents, LastPublished, RemovalReason, absent_spec_events, artifact_event,
    evaluation_events,
};
use crate::engine::view::evaluate_drift;
use crate::project::FeatureDir;

/// Maximum time for which changes are collected into one commit while further checks are in flight.
pub(super) const BATCH_WINDOW: Duration = Duration::from_millis(20);
/// Minimum time between two evaluations of a feature that emit events.
pub(super) const EVALUATION_INTERVAL: Duration = Duration::from_millis(100);

/// Changes that are not committed. If a commit fails they stay here and are committed later.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The changed paths.
    pub(super) paths: BTreeMap<RelPath, PendingPath>,
    /// When the first of these changes was found.
    pub(super) since: Option<Duration>,
    /// True if the feature's context, metadata or listing changed.
    pub(super) context_changed: bool,
    /// True if the committed state has to be evaluated.
    pub(super) needs_evaluation: bool,
    /// True if a new baseline was accepted, so all tombstones are removed by this commit.
    pub(super) tombstones_cleared: bool,
    /// The feature's directory; `None` if the store contains it already.
    pub(super) dir: Option<FeatureDir>,
}

/// A changed path.
#[derive(Debug)]
pub(super) struct PendingPath {
    /// The artifact in the last commit; `None` if it had none.
    committed: Option<Arc<ArtifactRef>>,
    /// Why the artifact was removed, if it is not indexed any more.
    removal: RemovalReason,
}

/// What a commit writes of a feature: its changes, or its evaluation.
#[derive(Debug, Default)]
pub(in crate::engine) struct Due {
    pub(in crate::engine) set: Vec<InventoryEntry>,
    pub(in crate::engine) removed: Vec<RelPath>,
    pub(in crate::engine) absent: Option<Vec<String>>,
    pub(in crate::engine) tombstones: Vec<Arc<ArtifactRef>>,
    pub(in crate::engine) tombstones_gone: Vec<RelPath>,
    pub(in crate::engine) announced: Option<LastPublished>,
    /// Since when the feature's directory is missing.
    pub(in crate::engine) gone_since: Option<Timestamp>,
    /// The feature's directory; `None` if the store contains it already.
    pub(in crate::engine) dir: Option<FeatureDir>,
    pub(in crate::engine) events: Vec<Payload>,
}

impl LiveFeature {
    /// Sets the feature's directory; a change is written by the next commit.
    pub(in crate::engine) fn set_dir(&mut self, dir: FeatureDir) {
        if self.dir != dir {
            self.batch.dir = Some(dir.clone());
            self.dir = dir;
        }
    }

    /// Returns the earliest time of the next evaluation; `None` if it may run at once.
    pub(super) fn evaluation_due(&self) -> Option<Duration> {
        let checked_by = self.evaluation_deadline.filter(|_| !self.is_checked());
        let next = self.announced_at.map(|at| at + EVALUATION_INTERVAL);
        next.max(self.metadata_refresh_due).max(self.git_hold_until).max(checked_by)
    }

    /// Marks the feature as indexed if its initial scan is complete.
    pub(in crate::engine) fn mark_indexed_if_complete(&mut self, now: Duration) {
        let awaits_writes = !self.settle.is_empty() && now < self.initial_scan_deadline;
        self.indexed |= !self.in_flight.has_checks() && !awaits_writes;
    }

    /// Returns the changes to commit now, if there are any.
    ///
    /// If the commit succeeds, call [`LiveFeature::committed`]; if it fails, a later call returns
    /// the changes again.
    pub(in crate::engine) fn take_commit(&mut self, now: Duration, at: Timestamp) -> Option<Due> {
        let is_complete = !self.in_flight.has_checks()
            || self.batch.since.is_none_or(|since| since + BATCH_WINDOW <= now);
        let has_changes = !self.batch.paths.is_empty() || self.batch.context_changed;
        if !self.indexed || !has_changes || !is_complete {
            return None;
        }
        let mut commit = self.build_commit(at);
        self.drop_accepted(&mut commit.tombstones);
        self.tombstones.evict_oldest(&mut commit.tombstones_gone, &mut commit.tombstones);
        if commit.is_empty() && commit.absent.as_ref() == Some(&self.absent) {
            self.committed(commit, now);
            return None;
        }
        Some(commit)
    }

    /// Returns the evaluation to commit now, if one is pending.
    ///
    /// It evaluates committed state, so it follows the commit of the changes, and no event of a
    /// file waits for it.
    pub(in crate::engine) fn take_evaluation(
        &mut self,
        now: Duration,
        at: Timestamp,
    ) -> Option<Due> {
        let is_committed = self.batch.paths.is_empty() && !self.batch.context_changed;
        let is_pending = self.indexed && self.batch.needs_evaluation && is_committed;
        if !is_pending || self.evaluation_due().is_some_and(|due| now < due) {
            return None;
        }
        let evaluation = self.evaluate();
        let slug = self.dir.slug.clone();
        let known = self.announced.as_ref();
        let new_id = || Uuid::new_v4().to_string();
        let EvaluationEvents { events, last_published: announced } =
            evaluation_events(&slug, known, &evaluation, &self.metadata, at, new_id);
        self.evaluation = Some(evaluation);
        let is_unchanged = known == Some(&announced);
        let commit = Due { announced: Some(announced), events, ..Due::default() };
        if commit.is_empty() && is_unchanged {
            self.committed(commit, now);
            return None;
        }
        Some(commit)
    }

    fn build_commit(&mut self, at: Timestamp) -> Due {
        let mut commit = Due { gone_since: self.gone_since, ..Due::default() };
        for (path, PendingPath { committed: before, removal }) in &self.batch.paths {
            let entry = self.inventory.entries().get(path);
            // A file that is restored after its deletion was committed is compared with its
            // tombstone; a file that was created and deleted since the last commit emits no event.
            let returned = before.is_none() && entry.is_some();
            let restored = self.tombstones.get(path).filter(|_| returned);
            let changed = EntryChange {
                before: before.clone().or_else(|| restored.cloned()),
                after: entry.map(|entry| Arc::clone(&entry.artifact)),
            };
            commit.events.extend(artifact_event(&self.inventory, &changed, *removal));
            match (entry, before) {
                (Some(entry), _) => {
                    commit.set.push(entry.clone());
                    if self.tombstones.get(path).is_some() {
                        commit.tombstones_gone.push(path.clone());
                    }
                }
                (None, Some(before)) => {
                    commit.removed.push(path.clone());
                    if *removal == RemovalReason::Deleted {
                        commit.tombstones.push(tombstone(before));
                    }
                }
                (None, None) => {}
            }
        }
        if self.batch.tombstones_cleared {
            commit.tombstones_gone = self.tombstones.paths().cloned().collect();
        }
        // The content of a directory that cannot be read is unknown: keep what was announced.
        if let Some(UnknownReason::Unreadable(_)) = self.listing_blocker {
            commit.absent = Some(self.absent.clone());
            return commit;
        }
        if self.listing_blocker != Some(UnknownReason::Deleted) {
            commit.dir.clone_from(&self.batch.dir);
        }
        let absent: Vec<ArtifactRef> = self.inventory.absent_specs(at).collect();
        let deleted = |key: &str| {
            let is_cleared =
                |one: &ArtifactRef| commit.tombstones_gone.contains(&one.relative_path);
            let retained = self.tombstones.iter().filter(|one| !is_cleared(one));
            retained.chain(&commit.tombstones).any(|tombstone| &*tombstone.artifact_key == key)
        };
        let specs = absent_spec_events(&self.inventory, &self.absent, &absent, deleted);
        commit.events.extend(specs);
        commit.absent = Some(absent.iter().map(|spec| spec.artifact_key.to_string()).collect());
        commit
    }

    /// Removes a tombstone whose event was pruned from the journal.
    pub(in crate::engine) fn retire_tombstone(&mut self, path: &RelPath) {
        if self.tombstones.remove(path) {
            self.view = None;
        }
    }

    /// Returns true if a baseline was accepted since the last evaluation, while no daemon ran.
    pub(super) fn baseline_accepted_offline(&self) -> bool {
        let evaluated = self.announced.as_ref().and_then(|announced| announced.baseline);
        let baseline = &self.metadata.baseline;
        let is_other = evaluated.is_some_and(|known| known != baseline.fingerprint());
        is_other && matches!(baseline, BaselineFile::Valid(_))
    }

    /// After a baseline was accepted, drops the new tombstones of files that it does not contain.
    fn drop_accepted(&self, tombstones: &mut Vec<Arc<ArtifactRef>>) {
        if self.batch.tombstones_cleared
            && !tombstones.is_empty()
            && let BaselineFile::Valid(baseline) = &self.metadata.baseline
            && let Some(artifacts) = &baseline.artifacts
        {
            let accepted: HashSet<_> = artifacts.iter().map(|one| &one.relative_path).collect();
            tombstones.retain(|one| accepted.contains(&one.relative_path));
        }
    }

    /// Records that the changes or the evaluation were committed.
    pub(in crate::engine) fn committed(&mut self, commit: Due, now: Duration) {
        self.view = None;
        if let Some(announced) = commit.announced {
            self.batch.needs_evaluation = false;
            self.evaluation_deadline = None;
            if self.announced.as_ref() != Some(&announced) {
                self.projection = Projection::MayDiffer;
                self.announced_at = Some(now);
            }
            self.announced = Some(announced);
            return;
        }
        // The path of an unreadable feature was not written; a later commit writes it.
        let dir = self.batch.dir.take().filter(|_| commit.dir.is_none());
        self.batch = Batch { needs_evaluation: true, dir, ..Batch::default() };
        self.absent = commit.absent.unwrap_or_default();
        for path in &commit.tombstones_gone {
            self.tombstones.remove(path);
        }
        commit.tombstones.into_iter().for_each(|tombstone| self.tombstones.put(tombstone));
    }

    fn evaluate(&mut self) -> Evaluation {
        let parity = self.inventory.parity_hash();
        let tree = self.inventory.tree_hash();
        let drift = evaluate_drift(self.inventory.context(), &self.metadata, || {
            let dossier = self.inventory.to_dossier(Timestamp::default());
            MissionDossierSnapshot::compute(&dossier, Uuid::nil(), Timestamp::default())
        });
        Evaluation {
            parity_hash_sha256: parity,
            tree_hash_sha256: tree,
            counts: self.inventory.counts(),
            completeness: self.inventory.completeness(),
            missing_required: self.inventory.missing_required(),
            drift,
        }
    }
}

impl Due {
    /// Returns true if nothing has to be written, apart from `absent` and `announced`.
    fn is_empty(&self) -> bool {
        self.set.is_empty()
            && self.removed.is_empty()
            && self.tombstones.is_empty()
            && self.tombstones_gone.is_empty()
            && self.dir.is_none()
            && self.events.is_empty()
    }
}

impl Batch {
    /// Adds a change of a path. `before` is used only for the first change since the last commit.
    pub(super) fn add(
        &mut self,
        path: &RelPath,
        before: Option<&Arc<ArtifactRef>>,
        removal: RemovalReason,
        now: Duration,
    ) {
        self.since.get_or_insert(now);
        let new = || PendingPath { committed: before.cloned(), removal };
        self.paths.entry(path.clone()).or_insert_with(new).removal = removal;
    }

    /// Returns true if nothing has to be committed.
    pub(super) fn is_empty(&self) -> bool {
        self.is_settled(false)
    }

    /// Returns true if nothing has to be committed; ignores an evaluation that a git hold defers.
    pub(super) fn is_settled(&self, has_git_hold: bool) -> bool {
        self.paths.is_empty() && !self.context_changed && (has_git_hold || !self.needs_evaluation)
    }
}

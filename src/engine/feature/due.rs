//! What changed of a feature and is to be committed: the batch, and the events and rows made of it.

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
    Evaluation, LastPublished, RemovalReason, absent_spec_events, artifact_event, evaluation_events,
};
use crate::engine::view::judge_drift;
use crate::project::FeatureDir;

/// Results of one batch are gathered for at most this long.
pub(super) const BATCH_WINDOW: Duration = Duration::from_millis(20);
/// Verdict events of a feature are at least this far apart.
pub(super) const EVALUATION_INTERVAL: Duration = Duration::from_millis(100);

/// Changes that are not committed.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Each changed path as it was committed last, and why it is gone if it is.
    pub(super) paths: BTreeMap<RelPath, (Option<Arc<ArtifactRef>>, RemovalReason)>,
    pub(super) since: Option<Duration>,
    /// Whether something else than a path changed.
    pub(super) terms: bool,
    /// Whether a verdict is owed on what was committed.
    pub(super) verdict: bool,
    /// Whether the tombstones are done with, because a baseline was accepted.
    pub(super) tombstones_cleared: bool,
    /// Where its directory is, unless the store knows.
    pub(super) dir: Option<FeatureDir>,
}

/// What a commit writes of a feature: what changed of it, or the verdict on it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Due {
    pub(in crate::engine) set: Vec<InventoryEntry>,
    pub(in crate::engine) removed: Vec<RelPath>,
    pub(in crate::engine) absent: Option<Vec<String>>,
    pub(in crate::engine) tombstones: Vec<Arc<ArtifactRef>>,
    pub(in crate::engine) tombstones_gone: Vec<RelPath>,
    pub(in crate::engine) announced: Option<LastPublished>,
    /// Since when the directory is not there, beside what changed of its files.
    pub(in crate::engine) gone_since: Option<Timestamp>,
    /// Where its directory is, unless the store knows.
    pub(in crate::engine) dir: Option<FeatureDir>,
    pub(in crate::engine) events: Vec<Payload>,
}

impl LiveFeature {
    /// Takes where its directory is now.
    pub(in crate::engine) fn set_dir(&mut self, dir: FeatureDir) {
        if self.dir != dir {
            self.batch.dir = Some(dir.clone());
            self.dir = dir;
        }
    }

    pub(super) fn evaluation_due(&self) -> Option<Duration> {
        let evaluation_deadline = self.evaluation_deadline.filter(|_| !self.is_checked());
        let pause = self.announced_at.map(|at| at + EVALUATION_INTERVAL);
        pause.max(self.metadata_refresh_due).max(self.git_hold_until).max(evaluation_deadline)
    }

    /// Takes note when the first comparison with the disk is done.
    pub(in crate::engine) fn mark_indexed_if_complete(&mut self, now: Duration) {
        let writing = !self.settle.is_empty() && now < self.initial_scan_deadline;
        self.indexed |= !self.in_flight.has_checks() && !writing;
    }

    /// What changed of the files and is to be committed now, if anything. After a commit that
    /// succeeded comes [`LiveFeature::committed`]; after one that failed the same is due again.
    pub(in crate::engine) fn take_commit(&mut self, now: Duration, at: Timestamp) -> Option<Due> {
        let gathered = !self.in_flight.has_checks()
            || self.batch.since.is_none_or(|since| since + BATCH_WINDOW <= now);
        let changed = !self.batch.paths.is_empty() || self.batch.terms;
        if !self.indexed || !changed || !gathered {
            return None;
        }
        let mut due = self.build_commit(at);
        self.drop_accepted(&mut due.tombstones);
        self.tombstones.evict_oldest(&mut due.tombstones_gone, &mut due.tombstones);
        if due.is_empty() && due.absent.as_ref() == Some(&self.absent) {
            self.committed(due, now);
            return None;
        }
        Some(due)
    }

    /// The verdict that is to be committed now, if one is owed. It is one on what is committed, so
    /// it comes after that; and no event of a file waits for it.
    pub(in crate::engine) fn take_evaluation(
        &mut self,
        now: Duration,
        at: Timestamp,
    ) -> Option<Due> {
        let committed = self.batch.paths.is_empty() && !self.batch.terms;
        let owed = self.indexed && self.batch.verdict && committed;
        if !owed || self.evaluation_due().is_some_and(|due| now < due) {
            return None;
        }
        let verdict = self.evaluate();
        let slug = self.dir.slug.clone();
        let known = self.announced.as_ref();
        let new_id = || Uuid::new_v4().to_string();
        let (events, announced) =
            evaluation_events(&slug, known, &verdict, &self.bearings, at, new_id);
        self.verdict = Some(verdict);
        let same = known == Some(&announced);
        let due = Due { announced: Some(announced), events, ..Due::default() };
        if due.is_empty() && same {
            self.committed(due, now);
            return None;
        }
        Some(due)
    }

    fn build_commit(&mut self, at: Timestamp) -> Due {
        let mut due = Due { gone_since: self.gone_since, ..Due::default() };
        for (path, (before, gone)) in &self.batch.paths {
            let entry = self.inventory.entries().get(path);
            // What comes back after it was deleted is no news of its own; what came and went again
            // before it was committed is none at all.
            let returned = before.is_none() && entry.is_some();
            let restored = self.tombstones.get(path).filter(|_| returned);
            let changed = EntryChange {
                before: before.clone().or_else(|| restored.cloned()),
                after: entry.map(|entry| Arc::clone(&entry.artifact)),
            };
            due.events.extend(artifact_event(&self.inventory, &changed, *gone));
            match (entry, before) {
                (Some(entry), _) => {
                    due.set.push(entry.clone());
                    if self.tombstones.get(path).is_some() {
                        due.tombstones_gone.push(path.clone());
                    }
                }
                (None, Some(before)) => {
                    due.removed.push(path.clone());
                    if *gone == RemovalReason::Deleted {
                        due.tombstones.push(tombstone(before));
                    }
                }
                (None, None) => {}
            }
        }
        if self.batch.tombstones_cleared {
            due.tombstones_gone = self.tombstones.paths().cloned().collect();
        }
        // Of a directory that cannot be read nothing is known: what was announced of it stands.
        if let Some(UnknownReason::Unreadable(_)) = self.listing_blocker {
            due.absent = Some(self.absent.clone());
            return due;
        }
        if self.listing_blocker != Some(UnknownReason::Deleted) {
            due.dir.clone_from(&self.batch.dir);
        }
        let absent: Vec<ArtifactRef> = self.inventory.absent_specs(at).collect();
        let deleted = |key: &str| {
            let gone = |one: &ArtifactRef| due.tombstones_gone.contains(&one.relative_path);
            let kept = self.tombstones.iter().filter(|one| !gone(one));
            kept.chain(&due.tombstones).any(|tombstone| &*tombstone.artifact_key == key)
        };
        let specs = absent_spec_events(&self.inventory, &self.absent, &absent, deleted);
        due.events.extend(specs);
        due.absent = Some(absent.iter().map(|spec| spec.artifact_key.to_string()).collect());
        due
    }

    /// Takes that the event of a tombstone is kept no longer.
    pub(in crate::engine) fn retire_tombstone(&mut self, path: &RelPath) {
        if self.tombstones.remove(path) {
            self.view = None;
        }
    }

    /// Whether another baseline is there than the one by which it was judged last.
    pub(super) fn baseline_accepted_offline(&self) -> bool {
        let judged_by = self.announced.as_ref().and_then(|announced| announced.baseline);
        let baseline = &self.bearings.baseline;
        let other = judged_by.is_some_and(|known| known != baseline.fingerprint());
        other && matches!(baseline, BaselineFile::Valid(_))
    }

    /// When a baseline was accepted, drops what it accepted as gone.
    fn drop_accepted(&self, tombstones: &mut Vec<Arc<ArtifactRef>>) {
        if self.batch.tombstones_cleared
            && !tombstones.is_empty()
            && let BaselineFile::Valid(baseline) = &self.bearings.baseline
            && let Some(artifacts) = &baseline.artifacts
        {
            let there: HashSet<_> = artifacts.iter().map(|then| &then.relative_path).collect();
            tombstones.retain(|one| there.contains(&one.relative_path));
        }
    }

    /// Takes that what was due is committed.
    pub(in crate::engine) fn committed(&mut self, due: Due, now: Duration) {
        self.view = None;
        if let Some(announced) = due.announced {
            self.batch.verdict = false;
            self.evaluation_deadline = None;
            if self.announced.as_ref() != Some(&announced) {
                self.projection = Projection::MayDiffer;
                self.announced_at = Some(now);
            }
            self.announced = Some(announced);
            return;
        }
        // Where one lies that cannot be seen is told when it can.
        let dir = self.batch.dir.take().filter(|_| due.dir.is_none());
        self.batch = Batch { verdict: true, dir, ..Batch::default() };
        self.absent = due.absent.unwrap_or_default();
        for path in &due.tombstones_gone {
            self.tombstones.remove(path);
        }
        due.tombstones.into_iter().for_each(|tombstone| self.tombstones.put(tombstone));
    }

    fn evaluate(&mut self) -> Evaluation {
        let parity = self.inventory.parity_hash();
        let tree = self.inventory.tree_hash();
        let drift = judge_drift(self.inventory.context(), &self.bearings, || {
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
    /// Whether it has nothing that must be written; what is absent and announced aside.
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
    pub(super) fn note(
        &mut self,
        path: &RelPath,
        before: Option<&Arc<ArtifactRef>>,
        gone: RemovalReason,
        now: Duration,
    ) {
        self.since.get_or_insert(now);
        let entry = self.paths.entry(path.clone()).or_insert_with(|| (before.cloned(), gone));
        entry.1 = gone;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_settled(false)
    }

    /// The same, a verdict that is held aside.
    pub(super) fn is_settled(&self, held: bool) -> bool {
        self.paths.is_empty() && !self.terms && (held || !self.verdict)
    }
}

//! What is committed of a feature and what readers see of it: changes first, then an evaluation of
//! what was committed, so that no event of a file waits for an evaluation.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use uuid::Uuid;

use super::effect::EffectId;
use super::feature::{EVALUATION_INTERVAL, FeatureState};
use super::pending::{FeatureCommit, PathChange, PendingChanges};
use super::planted::{Bug, is_planted};
use super::tombstones::tombstone;
use crate::core::artifact::ArtifactRef;
use crate::core::baseline::BaselineFile;
use crate::core::feature::FeatureWatchState;
use crate::core::inventory::EntryChange;
use crate::core::path::RelPath;
use crate::core::snapshot::MissionDossierSnapshot;
use crate::core::time::Timestamp;
use crate::core::transition::{
    Evaluation, EvaluationEvents, RemovalReason, absent_spec_events, artifact_event,
    evaluation_events, kept_absences, reported_absences,
};
use crate::engine::clock::Tick;
use crate::engine::read_model::{FeatureView, evaluate_drift};

/// Longest time for which results are gathered into one commit while others are under way.
const GATHER_TIME: Duration = Duration::from_millis(20);

/// When a project's metadata is read next: an evaluation before that would be obsolete at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum MetadataRead {
    NotDue,
    DueAt(Duration),
    InFlight,
}

impl FeatureState {
    /// Returns the changes that are to be committed now. After a commit that succeeded
    /// [`FeatureState::on_committed`] follows; after one that failed the same is returned again.
    pub(in crate::engine) fn take_changes(&mut self, now: Tick) -> Option<FeatureCommit> {
        self.accept_mounts();
        let since = self.pending.since;
        let gathered = !self.work.is_checking()
            || since.is_none_or(|since| since + GATHER_TIME <= now.monotonic);
        if !self.is_indexed() || !self.pending.has_changes() || !gathered {
            return None;
        }
        let mut commit = self.make_commit(now.wall);
        self.drop_accepted_deletions(&mut commit.tombstones);
        self.tombstones.evict_oldest(&mut commit.cleared_tombstones, &mut commit.tombstones);
        commit.has_events = !commit.events.is_empty();
        Some(commit)
    }

    /// Returns true if committing `commit` would change nothing in the store.
    pub(in crate::engine) fn is_no_change(&self, commit: &FeatureCommit) -> bool {
        let same = match &commit.last_published {
            Some(last) => self.publication.last.as_ref() == Some(last),
            None => {
                commit.absent.as_ref() == Some(&self.absent)
                    && commit.gone_since == self.visibility.committed_gone_since
            }
        };
        commit.is_empty() && same
    }

    /// Returns the evaluation that is to be committed now, if one is owed: one of what is committed.
    pub(in crate::engine) fn take_evaluation(
        &mut self,
        metadata: MetadataRead,
        new_id: impl FnMut() -> Uuid,
        now: Tick,
    ) -> Option<FeatureCommit> {
        let waits = metadata == MetadataRead::InFlight || self.git.unchecked_since.is_some();
        if !self.can_evaluate()
            || waits
            || self.evaluation_due(metadata).is_some_and(|due| now.monotonic < due)
        {
            return None;
        }
        let evaluation = self.evaluate();
        let mut new_id = new_id;
        let EvaluationEvents { events, last_published } = evaluation_events(
            &self.dir.slug,
            self.previous_slug(),
            self.publication.last.as_ref(),
            &evaluation,
            &self.metadata,
            now.wall,
            || new_id().to_string(),
        );
        self.publication.evaluation = Some(evaluation);
        Some(FeatureCommit {
            last_published: Some(last_published),
            has_events: !events.is_empty(),
            events,
            ..FeatureCommit::default()
        })
    }

    /// Records that a commit was written. `newest` is the newest effect: git's lock must be looked
    /// for by a later one before what was committed is evaluated.
    pub(in crate::engine) fn on_committed(
        &mut self,
        commit: FeatureCommit,
        newest: EffectId,
        now: Tick,
    ) {
        self.publication.is_view_stale = true;
        if commit.has_events || self.times.created_at.is_none() {
            self.times.updated_at = Some(now.wall);
        }
        self.times.created_at.get_or_insert(now.wall);
        if let Some(last_published) = commit.last_published {
            self.pending.evaluation_owed = false;
            self.git.evaluation_deadline = None;
            if self.publication.last.as_ref() != Some(&last_published) {
                self.publication.snapshot_file_stale = true;
                self.publication.last_at = Some(now.monotonic);
            }
            self.publication.last = Some(last_published);
            return;
        }
        // The directory of a feature that cannot be read is stored when it can be.
        let dir = self.pending.dir.take().filter(|_| commit.dir.is_none());
        self.pending = PendingChanges { evaluation_owed: true, dir, ..PendingChanges::default() };
        if commit.mounts.is_some() {
            self.hidden.on_stored();
        }
        self.git.unchecked_since = Some(newest);
        self.visibility.committed_gone_since = commit.gone_since;
        self.absent = commit.absent.unwrap_or_default();
        let changes_tombstones =
            !commit.tombstones.is_empty() || !commit.cleared_tombstones.is_empty();
        for path in &commit.cleared_tombstones {
            self.tombstones.remove(path);
        }
        commit.tombstones.into_iter().for_each(|tombstone| self.tombstones.insert(tombstone));
        if changes_tombstones {
            self.keep_deleted_paths();
        }
        self.former_step = self.inventory.current_step().id;
    }

    /// Records that the store dropped the event of a deletion.
    pub(super) fn expire_tombstone(&mut self, path: &RelPath) {
        if self.tombstones.remove(path) {
            self.publication.is_view_stale = true;
        }
    }

    /// Returns when there is something to do without a new event.
    pub(super) fn next_due(&self, metadata: MetadataRead) -> Option<Duration> {
        let gather = self.pending.since.filter(|_| self.is_indexed());
        let gather = gather.map(|since| since + GATHER_TIME);
        let evaluation = self.can_evaluate() && metadata != MetadataRead::InFlight;
        let evaluation = evaluation.then(|| self.evaluation_due(metadata)).flatten();
        let evaluation = evaluation.filter(|_| self.git.unchecked_since.is_none());
        [self.work.next_due(), gather, evaluation].into_iter().flatten().min()
    }

    /// Returns true if an evaluation is owed, of a state that is committed.
    fn can_evaluate(&self) -> bool {
        self.is_indexed() && self.pending.evaluation_owed && !self.pending.has_changes()
    }

    fn evaluation_due(&self, metadata: MetadataRead) -> Option<Duration> {
        let checkout = self.git.evaluation_deadline.filter(|_| !self.is_examined());
        let interval = self.publication.last_at.map(|at| at + EVALUATION_INTERVAL);
        let metadata = match metadata {
            MetadataRead::DueAt(due) => Some(due),
            MetadataRead::NotDue | MetadataRead::InFlight => None,
        };
        interval.max(metadata).max(self.git.until).max(checkout)
    }

    fn make_commit(&self, at: Timestamp) -> FeatureCommit {
        let mut commit =
            FeatureCommit { gone_since: self.visibility.gone_since, ..FeatureCommit::default() };
        for (path, PathChange { before, removal }) in &self.pending.paths {
            let entry = self.inventory.entries().get(path);
            // A file that returns after its deletion is an ordinary change; one that was created
            // and deleted before it was committed owes no event.
            let returned = before.is_none() && entry.is_some();
            let restored = self.tombstones.get(path).filter(|_| returned);
            let changed = EntryChange {
                before: before.clone().or_else(|| restored.cloned()),
                after: entry.map(|entry| Arc::clone(&entry.artifact)),
            };
            let former_step = self.former_step.as_deref();
            let event = artifact_event(&self.inventory, former_step, &changed, *removal);
            commit.events.extend(event);
            match (entry, before) {
                (Some(entry), _) => {
                    commit.upserts.push(entry.clone());
                    if self.tombstones.get(path).is_some() {
                        commit.cleared_tombstones.push(path.clone());
                    }
                }
                (None, Some(before)) => {
                    commit.removed.push(path.clone());
                    if *removal == RemovalReason::Deleted && !before.is_restless() {
                        commit.tombstones.push(tombstone(before));
                    }
                }
                (None, None) => {}
            }
        }
        if self.pending.clears_tombstones {
            commit.cleared_tombstones = self.tombstones.paths().cloned().collect();
        }
        let is_seen = !self.is_unreadable() && !self.is_gone();
        let stores_dir = is_seen || self.times.created_at.is_none();
        if stores_dir {
            commit.dir.clone_from(&self.pending.dir);
        }
        // The mounts are those around the directory that is stored.
        if stores_dir || self.pending.dir.is_none() {
            commit.mounts = self.hidden.unstored().cloned();
        }
        if self.is_unreadable() {
            let events = &commit.events;
            let is_replaced = |key: &str| events.iter().any(|event| event.is_missing_file_of(key));
            commit.absent = Some(kept_absences(&self.inventory, &self.absent, is_replaced));
            return commit;
        }
        let absent: Vec<ArtifactRef> = self.inventory.absent_specs(at).collect();
        let earlier = is_planted(Bug::TombstonesHideSpecs).then(|| self.tombstones.iter());
        let deleted: Vec<&str> = commit
            .tombstones
            .iter()
            .chain(earlier.into_iter().flatten())
            .map(|tombstone| &*tombstone.artifact_key)
            .collect();
        let is_deleted = |key: &str| deleted.contains(&key);
        let specs = absent_spec_events(&self.inventory, &self.absent, &absent, is_deleted);
        let reported = reported_absences(&self.inventory, &self.absent, &absent, is_deleted);
        commit.events.extend(specs);
        commit.absent = Some(reported);
        commit
    }

    /// After a baseline was accepted, drops the tombstones of files that it does not have: their
    /// absence was accepted.
    fn drop_accepted_deletions(&self, tombstones: &mut Vec<Arc<ArtifactRef>>) {
        if self.pending.clears_tombstones
            && !tombstones.is_empty()
            && let BaselineFile::Valid(baseline) = &self.metadata.baseline
            && let Some(artifacts) = &baseline.artifacts
        {
            let accepted: HashSet<_> = artifacts.iter().map(|then| &then.relative_path).collect();
            tombstones.retain(|one| accepted.contains(&one.relative_path));
        }
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
            progress: self.inventory.current_step().file_progress.or(self.metadata.progress),
            drift,
        }
    }

    // --- What readers see ---

    /// Returns true once if the snapshot is published and its file may be another one. Nothing is written
    /// for a feature that is gone, or of which something may have been deleted: all of it may be about to be.
    pub(super) fn take_stale_snapshot_file(&mut self) -> bool {
        let published = self.publication.last.is_some() && self.pending.is_empty();
        let is_leaving = self.is_gone() || self.work.has_suspects();
        published && !is_leaving && std::mem::take(&mut self.publication.snapshot_file_stale)
    }

    /// Has the snapshot file written again, after that failed.
    pub(super) fn rewrite_snapshot_file(&mut self) {
        self.publication.snapshot_file_stale = true;
        self.publication.is_view_stale = true;
    }

    /// Returns true if readers see a state that is indexed.
    pub(super) fn is_shown_as_indexed(&self) -> bool {
        self.publication.view.as_ref().is_some_and(|view| view.indexed)
    }

    /// Returns what readers see of the feature, the same as before if nothing changed. Changes that
    /// are not committed are withheld while the store works.
    pub(super) fn view(
        &mut self,
        project: &Arc<str>,
        new_id: &mut impl FnMut() -> Uuid,
        store_works: bool,
        at: Timestamp,
    ) -> Arc<FeatureView> {
        let watch = self.watch_state();
        let is_uncommitted = self.is_indexed() && self.pending.has_changes();
        let withholds = store_works && is_uncommitted && !is_planted(Bug::PublishBeforeCommit);
        let view = self.publication.view.take();
        let was_indexed = view.as_ref().is_some_and(|view| view.indexed);
        let is_stale = self.publication.is_view_stale || was_indexed != self.is_indexed();
        let view = match view {
            Some(view) if (withholds || !is_stale) && view.watch == watch => view,
            Some(view) if withholds || !is_stale => Arc::new(view.with_watch(watch)),
            // Before the first commit there is no state to show instead.
            _ => self.make_view(project, new_id, !withholds, watch, at),
        };
        self.publication.is_view_stale &= withholds;
        self.publication.view = Some(Arc::clone(&view));
        view
    }

    fn watch_state(&self) -> FeatureWatchState {
        let settled = self.is_examined() && !self.waits_for_git();
        let reason = self.inventory.context().unknown_reason.as_ref();
        match FeatureWatchState::from_unknown_reason(reason) {
            FeatureWatchState::Live if !settled => FeatureWatchState::Settling,
            FeatureWatchState::Live if self.visibility.polled => FeatureWatchState::Degraded,
            watch => watch,
        }
    }

    fn make_view(
        &self,
        project: &Arc<str>,
        new_id: &mut impl FnMut() -> Uuid,
        may_be_indexed: bool,
        watch: FeatureWatchState,
        at: Timestamp,
    ) -> Arc<FeatureView> {
        let is_committed = self.pending.is_empty();
        let last = self.publication.last.as_ref();
        let snapshot_id = last.and_then(|last| last.snapshot_id.parse().ok());
        // A snapshot that is not published is computed when it is requested.
        let computed_at = last.filter(|_| is_committed).and_then(|last| last.computed_at);
        Arc::new(FeatureView {
            project: Arc::clone(project),
            dir: self.dir.clone(),
            indexed: self.is_indexed() && may_be_indexed,
            context: self.inventory.evaluated_context(),
            entries: self.inventory.entries().clone(),
            absent: self.inventory.absent_specs(at).map(Arc::new).collect(),
            tombstones: self.tombstones.iter().cloned().collect(),
            evaluation: self.publication.evaluation.clone().filter(|_| is_committed),
            snapshot_id: snapshot_id.unwrap_or_else(new_id),
            metadata: Arc::clone(&self.metadata),
            watch,
            computed_at: computed_at.unwrap_or(at),
            last_scanned_at: self.visibility.scanned_at,
            times: self.times,
            cached_feature: OnceLock::new(),
        })
    }
}

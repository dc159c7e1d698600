//! State of one watched feature: its inventory, changes that have not settled, and changes that are
//! not committed. It does no I/O.
//!
//! Changes are collected in a batch that contains, for each path, the last committed artifact.
//! Events are derived from that and from the inventory at the time of the commit, so a path that
//! changed twice emits one event, and one that changed back emits none.

mod due;
mod flights;
mod show;
mod tombstones;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::core::artifact::{ArtifactRef, Observation};
use crate::core::baseline::BaselineFile;
use crate::core::feature::FeatureMetadata;
use crate::core::feature_context::UnknownReason;
use crate::core::inventory::{EntryChange, Inventory, InventoryEntry};
use crate::core::path::RelPath;
use crate::core::sorted_chunks::{Keyed as _, SortedChunks};
use crate::core::time::Timestamp;
use crate::core::transition::{Evaluation, LastPublished, RemovalReason};
use crate::engine::view::FeatureView;
use crate::project::{FeatureDir, FeatureInputs};
use crate::scan::ScanLimits;
use crate::watch::{DebounceTimes, Debouncer};
pub(super) use due::Due;
use due::{BATCH_WINDOW, Batch, EVALUATION_INTERVAL};
pub(super) use flights::Flight;
use flights::Flights;
use show::Projection;
use tombstones::Tombstones;

/// A feature that is watched.
#[derive(Debug)]
pub(super) struct LiveFeature {
    pub(super) dir: FeatureDir,
    pub(super) inventory: Inventory,
    pub(super) settle: Debouncer,
    /// Paths that were found missing, and since when. They are checked again before they are
    /// recorded as deleted.
    pub(super) suspected_deletions: BTreeMap<RelPath, Duration>,
    /// Files to read again, and when: they were modified so shortly before they were read that a
    /// later change may have the same time stamp. The published entry stays meanwhile, so no client
    /// waits.
    pub(super) verifications: BTreeSet<(Duration, RelPath)>,
    /// Checks in flight.
    pub(super) in_flight: Flights,
    /// True after the initial scan; before it nothing is committed.
    pub(super) indexed: bool,
    /// Until when the initial scan waits for files that are being written, so that a new feature is
    /// published complete.
    pub(super) initial_scan_deadline: Duration,
    /// Why the last directory listing prevents evaluation, if it does.
    pub(super) listing_blocker: Option<UnknownReason>,
    /// Why the feature's metadata prevents evaluation, if it does.
    metadata_blocker: Option<UnknownReason>,
    /// Since when the feature's directory is missing.
    pub(super) gone_since: Option<Timestamp>,
    /// Number of entries in the last complete listing plus those found since: an upper bound.
    pub(super) entries: u64,
    /// Directories that cannot be read; each is one entry of the inventory.
    pub(super) unreadable_dirs: HashSet<RelPath>,
    /// End of the git hold; deletions and evaluations wait for it.
    pub(super) git_hold_until: Option<Duration>,
    /// Until when an evaluation after a git hold waits for all checks.
    evaluation_deadline: Option<Duration>,
    /// Paths whose deletion waits for the git hold.
    pub(super) held_deletions: BTreeSet<RelPath>,
    /// True if the deletion of the whole feature waits for the git hold.
    pub(super) feature_deletion_held: bool,
    /// True if some of the feature's directories are polled because they cannot be watched.
    pub(super) polled: bool,
    metadata: Arc<FeatureMetadata>,
    absent: Vec<String>,
    tombstones: Tombstones,
    batch: Batch,
    announced: Option<LastPublished>,
    announced_at: Option<Duration>,
    /// When the metadata is read again, if that is pending. An evaluation waits for it, because one
    /// by the old metadata would be superseded at once.
    pub(super) metadata_refresh_due: Option<Duration>,
    evaluation: Option<Evaluation>,
    /// Time of the last check of the disk; `None` if there was none since the daemon started.
    scanned_at: Option<Timestamp>,
    projection: Projection,
    view: Option<Arc<FeatureView>>,
}

/// A feature in the store.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// The feature's directory, if it is stored.
    pub(super) dir: Option<FeatureDir>,
    pub(super) entries: SortedChunks<InventoryEntry>,
    pub(super) absent: Vec<String>,
    /// In the order of deletion.
    pub(super) tombstones: Vec<Arc<ArtifactRef>>,
    pub(super) announced: Option<LastPublished>,
    pub(super) gone_since: Option<Timestamp>,
}

impl LiveFeature {
    /// Creates a feature from the stored state, classified by the current inputs.
    pub(super) fn new(
        dir: FeatureDir,
        inputs: FeatureInputs,
        mut stored: Stored,
        times: DebounceTimes,
        now: Duration,
    ) -> Self {
        let entries = std::mem::take(&mut stored.entries);
        let mut feature = Self::empty(dir, inputs, stored, times);
        for entry in entries {
            let indexed_at = entry.artifact.indexed_at;
            let changed = feature.inventory.insert_reclassified(entry, indexed_at);
            if let Some(before) = changed.and_then(|changed| changed.before) {
                feature.batch.add(
                    &before.relative_path,
                    Some(&before),
                    RemovalReason::Deleted,
                    now,
                );
            }
        }
        feature.batch.context_changed = true;
        feature.batch.tombstones_cleared = feature.baseline_accepted_offline();
        feature
    }

    /// Creates a feature from the stored state without reclassifying it, because the project's root
    /// cannot be read.
    pub(super) fn from_stored_unreadable(
        dir: FeatureDir,
        inputs: FeatureInputs,
        mut stored: Stored,
        times: DebounceTimes,
    ) -> Self {
        let entries = std::mem::take(&mut stored.entries);
        let mut feature = Self::empty(dir, inputs, stored, times);
        for entry in entries {
            feature.inventory.insert_as_is(entry);
        }
        feature
    }

    fn empty(dir: FeatureDir, inputs: FeatureInputs, stored: Stored, times: DebounceTimes) -> Self {
        let FeatureInputs { context, metadata } = inputs;
        let metadata_blocker = context.unknown_reason.clone();
        let unstored_dir = (stored.dir.as_ref() != Some(&dir)).then(|| dir.clone());
        Self {
            dir,
            inventory: Inventory::new(context),
            settle: Debouncer::new(times),
            suspected_deletions: BTreeMap::new(),
            verifications: BTreeSet::new(),
            in_flight: Flights::default(),
            indexed: false,
            initial_scan_deadline: Duration::ZERO,
            listing_blocker: None,
            metadata_blocker,
            gone_since: None,
            entries: 0,
            unreadable_dirs: HashSet::new(),
            git_hold_until: None,
            evaluation_deadline: None,
            held_deletions: BTreeSet::new(),
            feature_deletion_held: false,
            polled: false,
            metadata: Arc::new(metadata),
            absent: stored.absent,
            tombstones: Tombstones::new(stored.tombstones),
            batch: Batch { dir: unstored_dir, ..Batch::default() },
            announced: stored.announced,
            announced_at: None,
            metadata_refresh_due: None,
            evaluation: None,
            scanned_at: None,
            projection: Projection::MayDiffer,
            view: None,
        }
    }

    /// Returns true if a path is indexed.
    pub(super) fn contains(&self, path: &RelPath) -> bool {
        self.inventory.entries().get(path).is_some()
    }

    /// Adds entries that were found since the last listing. Returns true if the limit may be
    /// exceeded; the exact number is known only after a complete listing.
    pub(super) fn count_entries(&mut self, entries: u64, limits: &ScanLimits) -> bool {
        self.entries = self.entries.saturating_add(entries);
        self.entries > limits.max_entries
    }

    /// Returns true if a readable file is indexed at a path.
    pub(super) fn is_present(&self, path: &RelPath) -> bool {
        self.inventory.entries().get(path).is_some_and(|entry| entry.artifact.is_present())
    }

    /// Returns the indexed paths below a directory, or all.
    pub(super) fn paths_below(&self, dir: Option<&RelPath>) -> Vec<RelPath> {
        self.paths_without(dir, &HashSet::new())
    }

    /// Returns the indexed paths below a directory, or all, without those in `excluded`.
    pub(super) fn paths_without(
        &self,
        dir: Option<&RelPath>,
        excluded: &HashSet<&RelPath>,
    ) -> Vec<RelPath> {
        let entries = self.inventory.entries();
        let path = InventoryEntry::key;
        let Some(dir) = dir else {
            return entries
                .iter()
                .map(path)
                .filter(|path| !excluded.contains(path))
                .cloned()
                .collect();
        };
        let prefix = [dir.as_bytes(), b"/"].concat();
        entries
            .range_from(dir)
            .map(path)
            .skip_while(|path| !path.as_bytes().starts_with(&prefix) && path.as_bytes() < &*prefix)
            .take_while(|path| path.as_bytes().starts_with(&prefix))
            .filter(|path| !excluded.contains(path))
            .cloned()
            .collect()
    }

    /// Returns true if an observation differs from the indexed entry although the signature is the
    /// same: then neither an inotify event nor the file's time stamps showed the change.
    pub(super) fn is_undetected_change(&self, seen: &Observation) -> bool {
        self.inventory.entries().get(&seen.path).is_some_and(|known| {
            !known.racy
                && known.signature.is_some()
                && known.signature == seen.signature
                && known.artifact.state != seen.state
        })
    }

    /// Records an observation of a path.
    pub(super) fn set(&mut self, seen: Observation, at: Timestamp, now: Duration) {
        self.unreadable_dirs.remove(&seen.path);
        let path = seen.path.clone();
        let changed = self.inventory.set(seen, at);
        if changed.before != changed.after {
            self.projection = Projection::MayDiffer;
        }
        self.batch.add(&path, changed.before.as_ref(), RemovalReason::Deleted, now);
        self.view = None;
    }

    /// Removes a path from the inventory.
    pub(super) fn remove(&mut self, path: &RelPath, removal: RemovalReason, now: Duration) {
        self.suspected_deletions.remove(path);
        self.unreadable_dirs.remove(path);
        let changed = self.inventory.remove(path);
        if changed.before.is_some() {
            self.batch.add(path, changed.before.as_ref(), removal, now);
            self.projection = Projection::MayDiffer;
            self.view = None;
        }
    }

    /// Records that a path is a readable directory: an entry of that path was a file, or the
    /// directory while it was unreadable, and is removed.
    pub(super) fn on_dir_found(&mut self, path: &RelPath, now: Duration) {
        let was_unreadable = self.unreadable_dirs.remove(path);
        self.remove(
            path,
            if was_unreadable { RemovalReason::DirBecameReadable } else { RemovalReason::Deleted },
            now,
        );
    }

    /// Sets new inputs, and reclassifies all entries if the context changed.
    pub(super) fn set_inputs(&mut self, inputs: FeatureInputs, at: Timestamp, now: Duration) {
        let FeatureInputs { mut context, metadata } = inputs;
        self.metadata_blocker = context.unknown_reason.take();
        context.unknown_reason =
            self.listing_blocker.clone().or_else(|| self.metadata_blocker.clone());
        if !context.is_equivalent(self.inventory.context()) {
            self.projection = Projection::MayDiffer;
            for EntryChange { before, after: artifact } in
                self.inventory.reclassify_all(context, at)
            {
                if let Some(artifact) = artifact {
                    self.batch.add(
                        &artifact.relative_path,
                        before.as_ref(),
                        RemovalReason::Deleted,
                        now,
                    );
                }
            }
        }
        let is_accepted = match (&self.metadata.baseline, &metadata.baseline) {
            (before, BaselineFile::Valid(now)) => {
                !matches!(before, BaselineFile::Valid(before) if before == now)
            }
            _ => false,
        };
        self.metadata = Arc::new(metadata);
        self.batch.tombstones_cleared |= is_accepted;
        self.batch.context_changed = true;
        self.view = None;
    }

    /// Sets why the last listing prevents evaluation; `None` if it does not.
    pub(super) fn set_listing_blocker(&mut self, blocker: Option<UnknownReason>) {
        if self.listing_blocker != blocker {
            self.inventory
                .set_unknown_reason(blocker.clone().or_else(|| self.metadata_blocker.clone()));
            self.listing_blocker = blocker;
            self.batch.context_changed = true;
            self.view = None;
        }
    }

    /// Marks the feature as unreadable and drops all pending work.
    pub(super) fn mark_unreadable(&mut self, reason: &str) {
        self.settle.clear();
        self.suspected_deletions.clear();
        self.held_deletions.clear();
        self.verifications.clear();
        self.in_flight.clear();
        self.feature_deletion_held = false;
        if self.listing_blocker != Some(UnknownReason::Deleted) {
            self.set_listing_blocker(Some(UnknownReason::Unreadable(reason.to_owned())));
        }
    }

    /// Sets whether some of the feature's directories are polled.
    pub(super) fn set_polled(&mut self, polled: bool) {
        if std::mem::replace(&mut self.polled, polled) != polled {
            self.view = None;
        }
    }

    /// Records the time of a check of the disk.
    pub(super) fn set_scanned_at(&mut self, at: Timestamp) {
        self.scanned_at = Some(at);
    }

    /// Returns the paths to check now: those that have settled, and those to verify.
    pub(super) fn take_due_paths(&mut self, now: Duration) -> Vec<(RelPath, Flight)> {
        let settled = self.settle.take_due(now).into_iter();
        let mut paths: Vec<_> = settled.map(|path| (path, Flight::Check)).collect();
        while self.verifications.first().is_some_and(|(due, _)| *due <= now) {
            paths.extend(self.verifications.pop_first().map(|(_, path)| (path, Flight::Verify)));
        }
        paths
    }

    /// Returns true if nothing is pending, not even a verification.
    pub(super) fn is_idle(&self) -> bool {
        let is_verified = self.verifications.is_empty() && self.in_flight.is_empty();
        self.is_settled() && is_verified && !self.waits_for_git()
    }

    /// Returns true if nothing is pending until the next hint, and then frees memory.
    pub(super) fn try_deactivate(&mut self) -> bool {
        let is_idle = self.indexed && self.is_idle();
        if is_idle {
            // An emptied B-tree keeps its root node, and there are many features.
            self.settle.clear();
            self.suspected_deletions.clear();
            self.verifications.clear();
            self.in_flight.clear();
            self.held_deletions.clear();
        }
        is_idle
    }

    /// Returns true if no path is pending or in flight and nothing has to be committed; ignores
    /// what waits for the git hold.
    pub(super) fn is_settled(&self) -> bool {
        self.is_checked() && self.batch.is_settled(self.git_hold_until.is_some())
    }

    /// Returns true if a deletion or an evaluation waits for the git hold.
    pub(super) fn waits_for_git(&self) -> bool {
        let is_deferred = self.git_hold_until.is_some() && self.batch.needs_evaluation;
        is_deferred || !self.held_deletions.is_empty() || self.feature_deletion_held
    }

    /// Returns true if a deletion or an evaluation is pending.
    pub(super) fn may_wait_for_git(&self) -> bool {
        !self.suspected_deletions.is_empty() || self.batch.needs_evaluation || self.waits_for_git()
    }

    /// Ends the git hold: the held deletions are checked again.
    pub(super) fn release_git_hold(&mut self, now: Duration) {
        self.git_hold_until = None;
        self.evaluation_deadline = Some(now + EVALUATION_INTERVAL * 10);
        for path in std::mem::take(&mut self.held_deletions) {
            self.settle.schedule_at(&path, now);
        }
    }

    /// Returns true if there is a baseline file, valid or not.
    pub(super) fn has_baseline(&self) -> bool {
        !matches!(self.metadata.baseline, BaselineFile::Absent)
    }

    /// Returns true if all changes of paths are committed; an evaluation may be pending.
    pub(super) fn has_committed_paths(&self) -> bool {
        self.is_checked() && self.batch.paths.is_empty()
    }

    /// Returns true if no path is pending or in flight.
    pub(super) fn is_checked(&self) -> bool {
        self.settle.is_empty() && !self.in_flight.has_checks()
    }

    /// Returns when the feature needs attention without a new hint.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let commit = self.batch.since.filter(|_| self.indexed).map(|since| since + BATCH_WINDOW);
        let evaluation = self.batch.needs_evaluation.then(|| self.evaluation_due()).flatten();
        let verification = self.verifications.first().map(|(due, _)| *due);
        [self.settle.next_due(), verification, commit, evaluation].into_iter().flatten().min()
    }
}

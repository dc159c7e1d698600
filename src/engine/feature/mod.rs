//! One feature while it is watched: its inventory, what has not settled, what is not committed.
//!
//! Changes gather in a batch that remembers, for each path, what was committed of it last; events
//! are made from that and from what is true when the batch is committed. So a path that changed
//! twice owes one event, and one that changed back owes none.

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
    /// Paths that were seen to vanish, and when: they are looked at once more before that counts.
    pub(super) suspected_deletions: BTreeMap<RelPath, Duration>,
    /// Files written so shortly before they were read that they are read once more, by when. What
    /// is shown of them stands meanwhile, so no one waits for this.
    pub(super) verifications: BTreeSet<(Duration, RelPath)>,
    /// Paths that are being looked at.
    pub(super) in_flight: Flights,
    /// Whether the first comparison with the disk is done: before, nothing is committed.
    pub(super) indexed: bool,
    /// Until when that waits for what is being written; a feature that appears is seen whole.
    pub(super) initial_scan_deadline: Duration,
    /// What listing the feature met that keeps it from being judged.
    pub(super) listing_blocker: Option<UnknownReason>,
    /// What its inputs say that does.
    metadata_blocker: Option<UnknownReason>,
    /// Since when its directory is not there.
    pub(super) gone_since: Option<Timestamp>,
    /// How many entries there were when all of it was listed last, and have been met since: no
    /// fewer than there are.
    pub(super) entries: u64,
    /// Entries that are directories that could not be read.
    pub(super) unreadable_dirs: HashSet<RelPath>,
    /// Until when git has the work tree: deletions and verdicts wait.
    pub(super) git_hold_until: Option<Duration>,
    /// After that, a verdict waits until all is looked at, and no longer than this.
    evaluation_deadline: Option<Duration>,
    /// Paths whose deletion waits for git, and whether that of the whole feature does.
    pub(super) held_deletions: BTreeSet<RelPath>,
    pub(super) feature_deletion_held: bool,
    /// Whether some of its directories are not watched but looked at again and again.
    pub(super) polled: bool,
    bearings: Arc<FeatureMetadata>,
    absent: Vec<String>,
    tombstones: Tombstones,
    batch: Batch,
    announced: Option<LastPublished>,
    announced_at: Option<Duration>,
    /// When what steers will be read again, if it will: a verdict by what it was would be undone.
    pub(super) metadata_refresh_due: Option<Duration>,
    verdict: Option<Evaluation>,
    /// When something of it was last compared with the disk; `None` before that in this life.
    scanned_at: Option<Timestamp>,
    projection: Projection,
    view: Option<Arc<FeatureView>>,
}

/// What a store holds of a feature.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Where its directory was, if that is known.
    pub(super) dir: Option<FeatureDir>,
    pub(super) entries: SortedChunks<InventoryEntry>,
    pub(super) absent: Vec<String>,
    /// In the order in which they were deleted.
    pub(super) tombstones: Vec<Arc<ArtifactRef>>,
    pub(super) announced: Option<LastPublished>,
    pub(super) gone_since: Option<Timestamp>,
}

impl LiveFeature {
    /// A feature as it was stored, under its present inputs.
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
                feature.batch.note(
                    &before.relative_path,
                    Some(&before),
                    RemovalReason::Deleted,
                    now,
                );
            }
        }
        feature.batch.terms = true;
        feature.batch.tombstones_cleared = feature.baseline_accepted_offline();
        feature
    }

    /// A feature as it was stored, of which nothing can be seen now.
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
        let FeatureInputs { context: terms, metadata: bearings } = inputs;
        let metadata_blocker = terms.unknown_reason.clone();
        let untold = (stored.dir.as_ref() != Some(&dir)).then(|| dir.clone());
        Self {
            dir,
            inventory: Inventory::new(terms),
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
            bearings: Arc::new(bearings),
            absent: stored.absent,
            tombstones: Tombstones::new(stored.tombstones),
            batch: Batch { dir: untold, ..Batch::default() },
            announced: stored.announced,
            announced_at: None,
            metadata_refresh_due: None,
            verdict: None,
            scanned_at: None,
            projection: Projection::MayDiffer,
            view: None,
        }
    }

    /// Whether a path is indexed.
    pub(super) fn contains(&self, path: &RelPath) -> bool {
        self.inventory.entries().get(path).is_some()
    }

    /// Takes that so many entries more were met. Says whether there may be more than are allowed;
    /// how many there are only listing all of it tells.
    pub(super) fn count_entries(&mut self, entries: u64, limits: &ScanLimits) -> bool {
        self.entries = self.entries.saturating_add(entries);
        self.entries > limits.max_entries
    }

    /// Whether a file is at a path that could be read.
    pub(super) fn is_present(&self, path: &RelPath) -> bool {
        self.inventory.entries().get(path).is_some_and(|entry| entry.artifact.is_present())
    }

    /// The indexed paths below a directory, or all.
    pub(super) fn paths_below(&self, folder: Option<&RelPath>) -> Vec<RelPath> {
        self.paths_without(folder, &HashSet::new())
    }

    /// The same, but for some.
    pub(super) fn paths_without(
        &self,
        folder: Option<&RelPath>,
        some: &HashSet<&RelPath>,
    ) -> Vec<RelPath> {
        let entries = self.inventory.entries();
        let path = InventoryEntry::key;
        let Some(folder) = folder else {
            return entries.iter().map(path).filter(|path| !some.contains(path)).cloned().collect();
        };
        let prefix = [folder.as_bytes(), b"/"].concat();
        entries
            .range_from(folder)
            .map(path)
            .skip_while(|path| !path.as_bytes().starts_with(&prefix) && path.as_bytes() < &*prefix)
            .take_while(|path| path.as_bytes().starts_with(&prefix))
            .filter(|path| !some.contains(path))
            .cloned()
            .collect()
    }

    /// Whether what was seen at a path is other than what was known, under a signature that could
    /// be trusted: then neither an event nor the file's times told of the change.
    pub(super) fn is_undetected_change(&self, seen: &Observation) -> bool {
        self.inventory.entries().get(&seen.path).is_some_and(|known| {
            !known.racy
                && known.signature.is_some()
                && known.signature == seen.signature
                && known.artifact.state != seen.state
        })
    }

    /// Takes what was seen at a path.
    pub(super) fn set(&mut self, seen: Observation, at: Timestamp, now: Duration) {
        self.unreadable_dirs.remove(&seen.path);
        let path = seen.path.clone();
        let changed = self.inventory.set(seen, at);
        if changed.before != changed.after {
            self.projection = Projection::MayDiffer;
        }
        self.batch.note(&path, changed.before.as_ref(), RemovalReason::Deleted, now);
        self.view = None;
    }

    /// Takes that nothing is at a path any more.
    pub(super) fn remove(&mut self, path: &RelPath, gone: RemovalReason, now: Duration) {
        self.suspected_deletions.remove(path);
        self.unreadable_dirs.remove(path);
        let changed = self.inventory.remove(path);
        if changed.before.is_some() {
            self.batch.note(path, changed.before.as_ref(), gone, now);
            self.projection = Projection::MayDiffer;
            self.view = None;
        }
    }

    /// Takes that a directory that can be read is at a path: a file that was there is gone, and what
    /// could not be read was this directory.
    pub(super) fn on_dir_found(&mut self, path: &RelPath, now: Duration) {
        let hidden = self.unreadable_dirs.remove(path);
        self.remove(
            path,
            if hidden { RemovalReason::DirBecameReadable } else { RemovalReason::Deleted },
            now,
        );
    }

    /// Takes new inputs, and reclassifies everything if they change the terms.
    pub(super) fn take_inputs(&mut self, inputs: FeatureInputs, at: Timestamp, now: Duration) {
        let FeatureInputs { context: mut terms, metadata: bearings } = inputs;
        self.metadata_blocker = terms.unknown_reason.take();
        terms.unknown_reason =
            self.listing_blocker.clone().or_else(|| self.metadata_blocker.clone());
        if !terms.is_equivalent(self.inventory.context()) {
            self.projection = Projection::MayDiffer;
            for EntryChange { before, after: artifact } in self.inventory.reclassify_all(terms, at)
            {
                if let Some(artifact) = artifact {
                    self.batch.note(
                        &artifact.relative_path,
                        before.as_ref(),
                        RemovalReason::Deleted,
                        now,
                    );
                }
            }
        }
        let accepted = match (&self.bearings.baseline, &bearings.baseline) {
            (before, BaselineFile::Valid(now)) => {
                !matches!(before, BaselineFile::Valid(before) if before == now)
            }
            _ => false,
        };
        self.bearings = Arc::new(bearings);
        self.batch.tombstones_cleared |= accepted;
        self.batch.terms = true;
        self.view = None;
    }

    /// Takes what keeps the feature from being judged, or that nothing does.
    pub(super) fn set_listing_blocker(&mut self, unseen: Option<UnknownReason>) {
        if self.listing_blocker != unseen {
            self.inventory
                .set_unknown_reason(unseen.clone().or_else(|| self.metadata_blocker.clone()));
            self.listing_blocker = unseen;
            self.batch.terms = true;
            self.view = None;
        }
    }

    /// Takes that nothing of the feature can be seen now: what was under way counts no more.
    pub(super) fn mark_unreadable(&mut self, why: &str) {
        self.settle.clear();
        self.suspected_deletions.clear();
        self.held_deletions.clear();
        self.verifications.clear();
        self.in_flight.clear();
        self.feature_deletion_held = false;
        if self.listing_blocker != Some(UnknownReason::Deleted) {
            self.set_listing_blocker(Some(UnknownReason::Unreadable(why.to_owned())));
        }
    }

    /// Takes whether some of its directories are not watched.
    pub(super) fn set_polled(&mut self, polled: bool) {
        if std::mem::replace(&mut self.polled, polled) != polled {
            self.view = None;
        }
    }

    /// Takes that something of the feature was compared with the disk.
    pub(super) fn compared(&mut self, at: Timestamp) {
        self.scanned_at = Some(at);
    }

    /// The paths to look at by now: those that count, and those to be read once more.
    pub(super) fn take_due_paths(&mut self, now: Duration) -> Vec<(RelPath, Flight)> {
        let settled = self.settle.take_due(now).into_iter();
        let mut paths: Vec<_> = settled.map(|path| (path, Flight::Check)).collect();
        while self.verifications.first().is_some_and(|(due, _)| *due <= now) {
            paths.extend(self.verifications.pop_first().map(|(_, path)| (path, Flight::Verify)));
        }
        paths
    }

    /// Whether nothing is left to do, not even reading a file once more.
    pub(super) fn is_idle(&self) -> bool {
        let rechecked = self.verifications.is_empty() && self.in_flight.is_empty();
        self.is_settled() && rechecked && !self.waits_for_git()
    }

    /// Whether there is nothing to do with it until the next hint; then what was done keeps no room.
    pub(super) fn try_deactivate(&mut self) -> bool {
        let asleep = self.indexed && self.is_idle();
        if asleep {
            // A tree that was emptied one by one keeps its root, and there are many features.
            self.settle.clear();
            self.suspected_deletions.clear();
            self.verifications.clear();
            self.in_flight.clear();
            self.held_deletions.clear();
        }
        asleep
    }

    /// Whether nothing is waiting, being looked at, or uncommitted; what waits for git aside.
    pub(super) fn is_settled(&self) -> bool {
        self.is_checked() && self.batch.is_settled(self.git_hold_until.is_some())
    }

    /// Whether something counts only when git is done.
    pub(super) fn waits_for_git(&self) -> bool {
        let verdict = self.git_hold_until.is_some() && self.batch.verdict;
        verdict || !self.held_deletions.is_empty() || self.feature_deletion_held
    }

    /// Whether a deletion or a verdict is to come.
    pub(super) fn may_wait_for_git(&self) -> bool {
        !self.suspected_deletions.is_empty() || self.batch.verdict || self.waits_for_git()
    }

    /// Looks again at what waited for git.
    pub(super) fn release_git_hold(&mut self, now: Duration) {
        self.git_hold_until = None;
        self.evaluation_deadline = Some(now + EVALUATION_INTERVAL * 10);
        for path in std::mem::take(&mut self.held_deletions) {
            self.settle.schedule_at(&path, now);
        }
    }

    /// Whether there is a baseline, sound or not.
    pub(super) fn has_baseline(&self) -> bool {
        !matches!(self.bearings.baseline, BaselineFile::Absent)
    }

    /// Whether its deletions are committed; a verdict may be owed.
    pub(super) fn is_settled_but_verdict(&self) -> bool {
        self.is_checked() && self.batch.paths.is_empty()
    }

    /// Whether nothing is waiting or being looked at.
    pub(super) fn is_checked(&self) -> bool {
        self.settle.is_empty() && !self.in_flight.has_checks()
    }

    /// When something is to be done without a new hint.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let gather = self.batch.since.filter(|_| self.indexed).map(|since| since + BATCH_WINDOW);
        let verdict = self.batch.verdict.then(|| self.evaluation_due()).flatten();
        let recheck = self.verifications.first().map(|(due, _)| *due);
        [self.settle.next_due(), recheck, gather, verdict].into_iter().flatten().min()
    }
}

//! The state of one watched feature, and what observations do to it.
//!
//! Results of checks and listings arrive here; what is to be done about them leaves as
//! [`Followup`]s, which the project carries out. What is committed of it is in `feature_commit`.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::effect::{EffectId, RescanMode};
use super::event::ListError;
use super::in_flight::{Check, CheckKind};
use super::linked_files::LinkedFiles;
use super::path_work::{MissingResult, PathWork};
use super::pending::PendingChanges;
use super::planted::{Bug, is_planted};
use super::settings::ReconcileSettings;
use super::tombstones::Tombstones;
use crate::core::artifact::{
    Absence, ArtifactRef, ArtifactState, CHANGED_WHILE_READ, DevIno, ErrorReason, FileSignature,
    Observation,
};
use crate::core::baseline::BaselineFile;
use crate::core::feature::{DossierTimes, FeatureMetadata};
use crate::core::feature_context::UnknownReason;
use crate::core::hidden_files::{Disappearance, FilesOnMounts, HiddenFiles};
use crate::core::ignore::{IgnoreRules, IgnoredBy};
use crate::core::inventory::{EntryChange, Inventory, InventoryEntry};
use crate::core::mounts::Mounts;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::sorted_chunks::{Keyed as _, SortedChunks};
use crate::core::time::Timestamp;
use crate::core::transition::{Evaluation, LastPublished, RemovalReason};
use crate::engine::clock::Tick;
use crate::engine::read_model::FeatureView;
use crate::project::{FeatureDir, FeatureInputs, StateFiles};
use crate::scan::{Listing, PathState, UnreadableDir};
use crate::watch::{HintKind, ReadCost};

/// Minimum interval between the evaluations of a feature.
pub(super) const EVALUATION_INTERVAL: Duration = Duration::from_millis(100);
/// After git released its lock, an evaluation waits until all that git changed is checked, but no
/// longer than this.
const MAX_CHECKOUT_WAIT: Duration = Duration::from_secs(10);
/// Pause after the process ran out of file descriptors or memory.
pub(super) const OUT_OF_RESOURCES_PAUSE: Duration = Duration::from_secs(1);

/// A feature that is watched.
#[derive(Debug)]
pub(in crate::engine) struct FeatureState {
    pub(in crate::engine) dir: FeatureDir,
    pub(super) inventory: Inventory,
    pub(super) metadata: Arc<FeatureMetadata>,
    /// The files of the feature that the metadata depends on.
    state_files: StateFiles,
    /// Paths that are artifacts though files of their names are ignored by default.
    ignore_exceptions: BTreeSet<RelPath>,
    pub(super) work: PathWork,
    pub(super) visibility: Visibility,
    pub(super) hidden: HiddenFiles,
    /// Until the first comparison with the disk is done: nothing is committed before.
    pub(super) initial: Option<InitialComparison>,
    pub(super) git: HeldChanges,
    pub(super) pending: PendingChanges,
    /// Keys of the specs whose absence is reported, as they were committed last.
    pub(super) absent: Vec<String>,
    /// The step when the last change was committed.
    pub(super) former_step: Option<Arc<str>>,
    /// When it was committed first, and last with an event.
    pub(super) times: DossierTimes,
    pub(super) tombstones: Tombstones,
    pub(super) publication: Publication,
    /// Listings, and checks of the feature's directory, that are under way.
    examinations: usize,
    /// When it was found; `None` if an earlier run knew it.
    arrived_at: Option<Duration>,
    /// The feature that was moved here, if one was.
    previous_slug: Option<FeatureSlug>,
}

/// What can be seen of a feature.
#[derive(Debug, Default)]
pub(super) struct Visibility {
    /// Why the last listing prevents an evaluation, if it does.
    pub(super) listing_blocker: Option<UnknownReason>,
    /// Why the feature's metadata prevents an evaluation, if it does.
    pub(super) metadata_blocker: Option<UnknownReason>,
    /// Since when the feature's directory is missing.
    pub(super) gone_since: Option<Timestamp>,
    /// The same as it was committed last.
    pub(super) committed_gone_since: Option<Timestamp>,
    /// The newest listing that was applied. An older one may be of an earlier state.
    newest_listing: Option<EffectId>,
    /// Number of entries in the last complete listing, and found since: no fewer than there are.
    entries: u64,
    /// Entries that are directories that could not be read.
    unreadable_dirs: HashSet<RelPath>,
    /// Some of its directories are not watched but listed again and again.
    pub(super) polled: bool,
    /// Files with other names (hard links): a write by another name raises no event here.
    linked: LinkedFiles,
    /// The newest effect when mounts around it changed last: what earlier ones found may be of another file
    /// system.
    mounts_changed: Option<EffectId>,
    /// The same of any other mounts: what earlier ones did not find may have been hidden for a moment.
    other_mounts_changed: Option<EffectId>,
    /// When something of it was last compared with the disk; `None` before that in this run.
    pub(super) scanned_at: Option<Timestamp>,
}

/// The first comparison of a feature with the disk.
#[derive(Debug)]
pub(super) struct InitialComparison {
    /// Until when it waits for files that are being written, so that a new feature is published
    /// whole.
    deadline: Duration,
}

/// What waits for git.
#[derive(Debug, Default)]
pub(super) struct HeldChanges {
    /// Until when deletions and evaluations wait.
    pub(super) until: Option<Duration>,
    /// Until when an evaluation waits for the checks of what git changed.
    pub(super) evaluation_deadline: Option<Duration>,
    /// The deletion of the whole feature waits.
    feature_deletion: bool,
    /// Effects up to this one began before the evaluation was owed: git's lock must be looked for
    /// by a later one.
    pub(super) unchecked_since: Option<EffectId>,
}

/// What was published of a feature.
#[derive(Debug, Default)]
pub(super) struct Publication {
    /// The state that events reported last.
    pub(super) last: Option<LastPublished>,
    pub(super) last_at: Option<Duration>,
    pub(super) evaluation: Option<Evaluation>,
    /// The snapshot file may not be what the snapshot is.
    pub(super) snapshot_file_stale: bool,
    /// What readers see.
    pub(super) view: Option<Arc<FeatureView>>,
    /// The view is not what readers are to see.
    pub(super) is_view_stale: bool,
}

/// What the store holds of a feature.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct StoredFeature {
    /// Where its directory was, if that is known.
    pub(in crate::engine) dir: Option<FeatureDir>,
    pub(in crate::engine) entries: SortedChunks<InventoryEntry>,
    pub(in crate::engine) absent: Vec<String>,
    /// In the order of deletion.
    pub(in crate::engine) tombstones: Vec<Arc<ArtifactRef>>,
    pub(in crate::engine) last_published: Option<LastPublished>,
    pub(in crate::engine) gone_since: Option<Timestamp>,
    pub(in crate::engine) times: DossierTimes,
    /// On which mounts its files were seen, if that is known.
    pub(in crate::engine) mounts: Option<FilesOnMounts>,
}

/// The result of a check, and what it has cost.
#[derive(Debug)]
pub(super) struct CheckedFile {
    pub(super) state: PathState,
    pub(super) cost: ReadCost,
}

/// What is to be done about an observation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Followup {
    /// Check a path now.
    Check(RelPath, CheckKind),
    /// List a directory, renewing its watches.
    List(RelPath),
    /// Check the other names of a file.
    CheckLinks(RelPath, FileSignature),
    /// Read the project's metadata soon.
    RefreshMetadata,
    /// Read the metadata of the feature soon.
    ReadInputs,
    /// A deletion is confirmed but for the root and git.
    ProbeRoot,
    /// There may be more entries than the limit: list all of the feature.
    OverLimit,
    /// The last listing of all of it was within the limits.
    WithinLimit,
    /// Read the project's metadata soon, and list the feature if it is found.
    ListWhenFound,
    /// List the feature again later: nothing could be found out now.
    ListLater,
    /// Report that the process is out of file descriptors or memory.
    OutOfResources,
}

/// Has what was deleted, or is required by the baseline, count as there for a step that files show.
fn keep_deleted_paths(
    inventory: &mut Inventory,
    tombstones: &Tombstones,
    metadata: &FeatureMetadata,
) {
    if inventory.context().step_inputs.by_files {
        let deleted = tombstones.iter().map(|one| one.relative_path.clone());
        inventory.set_kept_paths(deleted.chain(metadata.required_by_baseline()).collect());
    }
}

impl FeatureState {
    /// Returns a feature as it was stored, classified by its present metadata.
    pub(super) fn new(
        dir: FeatureDir,
        inputs: FeatureInputs,
        mut stored: StoredFeature,
        mounts: &Mounts,
        context: &ReconcileSettings,
        now: Duration,
    ) -> Self {
        let entries = std::mem::take(&mut stored.entries);
        let mut feature = Self::empty(dir, inputs, stored, mounts, context);
        for entry in entries {
            let indexed_at = entry.artifact.indexed_at;
            let changed = feature.inventory.insert_reclassified(entry, indexed_at);
            if let Some(changed) = changed {
                feature.record_reclassified(changed, now);
            }
        }
        feature.pending.context_changed = true;
        feature.pending.clears_tombstones = feature.has_unpublished_baseline();
        feature
    }

    /// Returns a feature as it was stored, of which nothing can be read now.
    pub(super) fn from_store(
        dir: FeatureDir,
        inputs: FeatureInputs,
        mut stored: StoredFeature,
        context: &ReconcileSettings,
    ) -> Self {
        let entries = std::mem::take(&mut stored.entries);
        let mut feature = Self::empty(dir, inputs, stored, &Mounts::default(), context);
        for entry in entries {
            feature.inventory.insert_as_is(entry);
        }
        feature
    }

    fn empty(
        dir: FeatureDir,
        inputs: FeatureInputs,
        stored: StoredFeature,
        mounts: &Mounts,
        settings: &ReconcileSettings,
    ) -> Self {
        let FeatureInputs { context, metadata, state_files } = inputs;
        let ignore_exceptions =
            settings.ignore.exceptions(context.mission.as_deref(), &metadata.baseline);
        let is_stored = stored.dir.as_ref().is_some_and(|stored| stored.is_same_place(&dir));
        let unstored_dir = (!is_stored).then(|| dir.clone());
        let metadata_blocker = context.unknown_reason.clone();
        let present = mounts.around(dir.path.as_ref());
        // What is seen for the first time, or was stored without its mounts, is on the present ones.
        let hidden = match stored.mounts {
            Some(mounts) => HiddenFiles::restored(mounts, present),
            None => HiddenFiles::new(present),
        };
        let mut inventory = Inventory::new(context);
        let tombstones = Tombstones::new(stored.tombstones);
        keep_deleted_paths(&mut inventory, &tombstones, &metadata);
        let last = stored.last_published.as_ref();
        Self {
            dir,
            previous_slug: last.and_then(|last| last.previous_feature_slug.clone()),
            former_step: inventory.current_step().id,
            times: stored.times,
            inventory,
            metadata: Arc::new(metadata),
            state_files,
            ignore_exceptions,
            work: PathWork::new(settings.times),
            visibility: Visibility {
                metadata_blocker,
                committed_gone_since: stored.gone_since,
                ..Visibility::default()
            },
            hidden,
            initial: Some(InitialComparison { deadline: Duration::ZERO }),
            git: HeldChanges::default(),
            pending: PendingChanges { dir: unstored_dir, ..PendingChanges::default() },
            absent: stored.absent,
            tombstones,
            publication: Publication {
                last: stored.last_published,
                snapshot_file_stale: true,
                ..Publication::default()
            },
            examinations: 0,
            arrived_at: None,
        }
    }

    /// Records that no earlier run knew the feature.
    pub(super) fn set_arrived_at(&mut self, at: Duration) {
        self.arrived_at = Some(at);
    }

    pub(super) fn arrived_at(&self) -> Option<Duration> {
        self.arrived_at
    }

    /// Records that another feature was moved here: the next snapshot reports it.
    pub(super) fn set_previous_slug(&mut self, slug: FeatureSlug) {
        self.previous_slug = Some(slug);
        self.pending.context_changed = true;
    }

    pub(super) fn previous_slug(&self) -> Option<&FeatureSlug> {
        self.previous_slug.as_ref()
    }

    /// Returns what identifies its directory, or the one that it had.
    pub(super) fn dir_id(&self) -> Option<DevIno> {
        let stored = || self.publication.last.as_ref().and_then(|last| last.dir);
        self.metadata.dir.or_else(stored)
    }

    pub(super) fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Publishes the feature when all of it is compared; files that are being written are waited
    /// for until `deadline`.
    pub(super) fn compare_initially(&mut self, deadline: Duration) {
        self.initial = Some(InitialComparison { deadline });
    }

    /// Ends the first comparison, if all of it is done.
    pub(in crate::engine) fn finish_initial(&mut self, now: Duration) {
        let Some(initial) = &self.initial else {
            return;
        };
        let writing = self.work.is_debouncing() && now < initial.deadline;
        if !self.work.is_checking() && self.examinations == 0 && !writing {
            self.initial = None;
        }
    }

    pub(in crate::engine) fn is_indexed(&self) -> bool {
        self.initial.is_none()
    }

    // --- Hints ---

    /// Records a hint about a path that is not a directory.
    pub(super) fn on_hint(
        &mut self,
        path: &RelPath,
        kind: HintKind,
        context: &ReconcileSettings,
        now: Duration,
    ) {
        let grace = context.times.deletion_grace;
        if kind == HintKind::Removed || kind.is_moved_to() {
            for below in self.paths_below(Some(path)) {
                self.work.suspect(&below, grace, now);
            }
        }
        let indexed = self.is_indexed_path(path);
        if indexed || !self.is_ignored_by_default(path, &context.ignore) {
            self.work.on_hint(path, kind, indexed, grace, now);
        }
    }

    /// Returns the paths that are to be checked now.
    pub(super) fn take_due_paths(&mut self, now: Duration) -> Vec<(RelPath, CheckKind)> {
        self.work.take_due(now)
    }

    // --- Results of checks ---

    /// Records what a check found.
    pub(super) fn on_checked(
        &mut self,
        path: &RelPath,
        check: Check,
        checked: CheckedFile,
        context: &ReconcileSettings,
        newest: EffectId,
        now: Tick,
    ) -> Vec<Followup> {
        let CheckedFile { state, cost } = checked;
        let mut followups = Vec::new();
        let is_older = |change: Option<EffectId>| change >= Some(check.id);
        let is_missing = matches!(state, PathState::Missing | PathState::FeatureUnavailable);
        let is_outdated = is_older(self.visibility.mounts_changed)
            || is_missing && is_older(self.visibility.other_mounts_changed);
        if is_outdated {
            let kind = if check.again { CheckKind::Check } else { check.kind };
            followups.push(Followup::Check(path.clone(), kind));
            return followups;
        }
        // Of a directory, the listing that follows finds what happened since.
        let is_read_again =
            check.again && matches!(state, PathState::Read(_) | PathState::Unstable);
        if is_read_again {
            // Once it is known how long reading it takes.
        } else if check.again && !matches!(state, PathState::Dir { .. }) {
            followups.push(Followup::Check(path.clone(), CheckKind::Check));
        } else if check.kind == CheckKind::Recheck
            && self.work.is_pending(path)
            && !is_planted(Bug::RecheckIgnoresDebounce)
        {
            // The file is being written: it is published when it has settled, not half-written.
            return followups;
        }
        if let PathState::ParentUnreadable(..) = state
            && self.visibility.newest_listing > Some(check.id)
        {
            // The listing is newer, and may have read the directory.
            followups.push(Followup::Check(path.clone(), CheckKind::Check));
            return followups;
        }
        if let PathState::Read(_) | PathState::Unchanged = state
            && let Some(dir) = self.unreadable_dir_above(path)
        {
            // It can be read now, or one of the two results is older; listing it decides.
            followups.push(Followup::List(dir));
            if is_read_again {
                followups.push(Followup::Check(path.clone(), CheckKind::Check));
            }
            return followups;
        }
        self.note_examined(path, check, &state, now);
        let grace = context.times.deletion_grace;
        match state {
            PathState::Unchanged => {
                self.note_found(path);
                self.work.on_present(path);
                self.work.on_trusted(path);
            }
            PathState::Read(seen) => {
                self.on_read(path, seen, cost, context, now, &mut followups);
            }
            PathState::Missing if !self.is_indexed_path(path) => {
                self.work.on_trusted(path);
                // It may have been a directory.
                for below in self.paths_below(Some(path)) {
                    self.work.suspect(&below, grace, now.monotonic);
                }
            }
            PathState::Missing => {
                if self.state_files.contains(path) {
                    followups.push(Followup::ReadInputs);
                }
                let result = self.work.on_missing(path, check.began, grace, newest, now.monotonic);
                if result == MissingResult::Confirmed {
                    followups.push(Followup::ProbeRoot);
                }
            }
            PathState::FeatureUnavailable => {
                // What became of it is decided for all of its files at once; they stay as they are.
                self.work.forget(path);
                self.hidden.on_unchecked();
                followups.push(Followup::ListWhenFound);
            }
            PathState::Unstable => {
                self.work.retry_unstable(path, cost, now.monotonic);
                if !self.is_indexed_path(path) && !self.is_ignored_by_default(path, &context.ignore)
                {
                    self.set_unreadable(path, CHANGED_WHILE_READ.to_owned(), now);
                }
            }
            PathState::RootReplaced => {
                self.work.schedule_retry(path, OUT_OF_RESOURCES_PAUSE, now.monotonic);
                followups.push(Followup::ProbeRoot);
            }
            PathState::OutOfResources => {
                self.work.schedule_retry(path, OUT_OF_RESOURCES_PAUSE, now.monotonic);
            }
            PathState::ParentUnreadable(dir, error) => self.mark_unreadable(&dir, &error, now),
            // Its attributes changed, and nothing of what is below depends on that.
            PathState::Dir { accessible: true } if self.is_only_directory(path) => {
                self.work.on_present(path);
                // No listing follows.
                if check.again {
                    followups.push(Followup::Check(path.clone(), CheckKind::Check));
                }
            }
            PathState::Dir { .. } => {
                // The file that was there is gone; listing finds what is in the directory.
                self.on_directory(path, now.monotonic);
                followups.push(Followup::List(path.clone()));
            }
            PathState::TooLarge => {}
        }
        if is_read_again && self.work.read_again(path, now.monotonic) {
            followups.push(Followup::Check(path.clone(), CheckKind::Check));
        }
        followups
    }

    /// Records that a path was examined, and that a file was read.
    fn note_examined(&mut self, path: &RelPath, check: Check, state: &PathState, now: Tick) {
        let is_read = matches!(state, PathState::Unchanged | PathState::Read(_));
        let is_examined = is_read || matches!(state, PathState::Missing);
        if is_examined && (check.again || check.kind != CheckKind::Recheck) {
            self.visibility.scanned_at = Some(now.wall);
        }
        if is_read {
            self.work.note_read(path, check.id);
        }
    }

    /// Records what reading a file found.
    fn on_read(
        &mut self,
        path: &RelPath,
        seen: Observation,
        cost: ReadCost,
        context: &ReconcileSettings,
        now: Tick,
        followups: &mut Vec<Followup>,
    ) {
        // Nothing can be below a file.
        for below in self.paths_below(Some(path)) {
            self.work.suspect(&below, context.times.deletion_grace, now.monotonic);
        }
        if !self.is_indexed_path(path) && self.is_ignored_by_default(path, &context.ignore) {
            return self.work.on_trusted(path);
        }
        self.work.on_present(path);
        if seen.racy {
            let known = self.inventory.entries().get(path);
            let same = known.is_some_and(|known| known.artifact.state == seen.state);
            self.work.schedule_recheck(path, same, now.monotonic);
        } else {
            self.work.on_trusted(path);
        }
        if !self.is_indexed_path(path) && self.count_entries(1, context) {
            followups.push(Followup::OverLimit);
        }
        let hash = match &seen.state {
            ArtifactState::Present { hash, .. } => Some(*hash),
            ArtifactState::Absent(_) => None,
        };
        let linked = seen.signature.filter(|_| seen.is_linked);
        self.visibility.linked.set(path, linked.as_ref());
        let was_indexed = self.is_indexed_path(path);
        if !self.set(seen, now) {
            return;
        }
        if was_indexed {
            followups.extend(linked.map(|file| Followup::CheckLinks(path.clone(), file)));
            self.work.pause_reads(path, cost, now.monotonic);
        }
        if self.state_files.is_outdated(path, hash) {
            followups.push(Followup::ReadInputs);
        }
    }

    /// Records what reading a file only to verify it found. Returns true if its content changed
    /// though neither an event nor its times showed that.
    pub(super) fn on_verified(&mut self, path: &RelPath, state: PathState, now: Tick) -> bool {
        let Some(known) = self.inventory.entries().get(path) else {
            return false;
        };
        match state {
            PathState::Read(seen) if seen.state == known.artifact.state => false,
            PathState::Read(seen) if self.is_undetected_change(&seen) => {
                self.set(seen, now);
                true
            }
            // It is being written, or the process has nothing left to read it with.
            PathState::FeatureUnavailable
            | PathState::Unstable
            | PathState::OutOfResources
            | PathState::RootReplaced => false,
            _ => {
                self.work.schedule_at(path, now.monotonic);
                false
            }
        }
    }

    /// Decides about paths that checks found missing, now that the root was probed after them.
    pub(super) fn on_root_probed(&mut self, probe: EffectId, now: Tick) {
        for path in self.work.take_missing(probe) {
            match self.explain(&path) {
                Disappearance::Hidden(why) => self.hide(&path, why, now),
                Disappearance::Unmounted => {
                    self.remove(&path, RemovalReason::Unmounted, now.monotonic);
                }
                Disappearance::Deleted if self.git.until.is_some() => self.work.hold(path),
                Disappearance::Deleted => {
                    self.remove(&path, RemovalReason::Deleted, now.monotonic);
                }
            }
        }
        if self.git.unchecked_since.is_some_and(|since| since < probe) {
            self.git.unchecked_since = None;
        }
    }

    // --- Results of listings ---

    /// Records that a listing, or a check of the feature's directory, is under way.
    pub(super) fn begin_examination(&mut self) {
        self.examinations += 1;
    }

    /// Returns true if a newer listing than this one was applied; else this is the newest now.
    pub(super) fn is_listing_outdated(&mut self, listing: EffectId) -> bool {
        let newest = self.visibility.newest_listing.max(Some(listing));
        std::mem::replace(&mut self.visibility.newest_listing, newest) > Some(listing)
    }

    pub(super) fn end_examination(&mut self) {
        self.examinations = self.examinations.saturating_sub(1);
    }

    /// Records what a directory, or all of the feature, holds. A listing never deletes: what it
    /// does not have is suspected and checked.
    pub(super) fn on_listed(
        &mut self,
        dir: Option<&RelPath>,
        result: Result<Listing, ListError>,
        mode: RescanMode,
        context: &ReconcileSettings,
        now: Tick,
        followups: &mut Vec<Followup>,
    ) {
        self.end_examination();
        // Reading the metadata finds out whether a deleted feature was created again.
        if self.is_gone() {
            followups.push(Followup::RefreshMetadata);
            return;
        }
        let grace = context.times.deletion_grace;
        match (result, dir) {
            (Ok(listing), _) => self.apply_listing(dir, &listing, mode, context, now, followups),
            (Err(ListError::NotADirectory), Some(dir)) => {
                for below in self.paths_below(Some(dir)) {
                    self.work.suspect(&below, grace, now.monotonic);
                }
                // A file may be there. For a directory that is only polled, the watch of its parent
                // reports that.
                let indexed = self.is_indexed_path(dir);
                if indexed || mode != RescanMode::POLL {
                    self.work.debounce(dir, HintKind::CloseWrite, indexed, now.monotonic);
                }
            }
            // Reading the metadata finds that the feature's directory is missing, or another one.
            (Err(ListError::NotADirectory), None) => followups.push(Followup::ListWhenFound),
            (Err(ListError::OutOfResources), _) => {
                followups.extend([Followup::OutOfResources, Followup::ListLater]);
            }
            (Err(ListError::RootReplaced), _) => {
                followups.extend([Followup::ProbeRoot, Followup::ListLater]);
            }
            (Err(ListError::Unreadable { dir: Some(dir), error }), _) => {
                self.mark_unreadable(&dir, &error, now);
            }
            (Err(ListError::Unreadable { dir: None, error }), _) => {
                self.set_listing_blocker(Some(UnknownReason::Unreadable(error)));
            }
        }
    }

    fn apply_listing(
        &mut self,
        dir: Option<&RelPath>,
        listing: &Listing,
        mode: RescanMode,
        context: &ReconcileSettings,
        now: Tick,
        followups: &mut Vec<Followup>,
    ) {
        self.visibility.scanned_at = Some(now.wall);
        match dir {
            Some(dir) => {
                // A check that found a file there may have begun later than the listing.
                if self.is_indexed_path(dir) && !self.visibility.unreadable_dirs.contains(dir) {
                    followups.push(Followup::Check(dir.clone(), CheckKind::Check));
                } else {
                    self.on_directory(dir, now.monotonic);
                }
                if let Some(limit) = listing.limit_exceeded {
                    followups.push(Followup::OverLimit);
                    self.set_listing_blocker(Some(limit.into()));
                }
                // The directory itself is an entry, too.
                if self.count_entries(listing.entries + 1, context) {
                    followups.push(Followup::OverLimit);
                }
            }
            None => {
                let within = listing.limit_exceeded.is_none();
                followups.push(if within { Followup::WithinLimit } else { Followup::OverLimit });
                self.set_listing_blocker(listing.limit_exceeded.map(UnknownReason::from));
                self.visibility.entries = listing.entries;
                self.hidden.on_listed();
            }
        }
        for UnreadableDir { path, reason } in &listing.unreadable {
            self.mark_unreadable(path, reason, now);
        }
        let is_artifact =
            |path: &RelPath| !is_ignored_by_default(path, &self.ignore_exceptions, &context.ignore);
        let files = listing.files.iter().flatten().filter(|file| is_artifact(&file.path));
        let files: Vec<_> = files.collect();
        let mut found = Vec::new();
        for file in &files {
            let linked = file.signature.as_ref().filter(|_| file.is_linked);
            self.visibility.linked.set(&file.path, linked);
            let known = self.inventory.entries().get(&file.path);
            let same = known.is_some_and(|entry| {
                self.is_read_right(entry)
                    && entry.signature.is_some()
                    && entry.signature == file.signature
            });
            if same {
                found.push(file.path.clone());
                continue;
            }
            // A path that is debounced is checked when it has settled, however often it is listed.
            if self.work.is_pending(&file.path) {
                continue;
            }
            let indexed = known.is_some();
            if mode.debounce {
                self.work.debounce(&file.path, HintKind::CloseWrite, indexed, now.monotonic);
            } else {
                followups.push(Followup::Check(file.path.clone(), CheckKind::Check));
            }
        }
        for path in found {
            self.note_found(&path);
        }
        let grace = context.times.deletion_grace;
        let unreadable = listing.unreadable.iter().map(|dir| &dir.path);
        let listed: HashSet<&RelPath> =
            files.iter().map(|file| &file.path).chain(unreadable).collect();
        // What a check in flight found may be older than the listing.
        let is_in_dir = |path: &RelPath| dir.is_none_or(|dir| path.is_below(dir));
        self.work.check_again(|path| is_in_dir(path) && !listed.contains(path));
        for path in self.paths_without(dir, &listed) {
            // An ignored file may well be there; it is not an artifact any more.
            if let Some(ignored_by) = self.ignored_by(&path, &context.ignore) {
                self.work.cancel(&path);
                self.remove(&path, RemovalReason::Ignored(ignored_by), now.monotonic);
            } else if is_planted(Bug::DeleteFromListing) {
                self.remove(&path, RemovalReason::Deleted, now.monotonic);
            } else if !self.work.is_pending(&path) {
                if mode.debounce {
                    self.work.suspect(&path, grace, now.monotonic);
                } else {
                    self.work.suspect(&path, Duration::ZERO, now.monotonic);
                }
            }
        }
    }

    // --- Metadata ---

    /// Applies metadata that was read, and reclassifies all files if it changed their context.
    /// Returns true if it changed which files are artifacts, so that the feature is to be listed.
    pub(super) fn apply_inputs(
        &mut self,
        inputs: FeatureInputs,
        ignore: &IgnoreRules,
        now: Tick,
    ) -> bool {
        let FeatureInputs { mut context, mut metadata, state_files } = inputs;
        self.state_files = state_files;
        let mut exceptions = ignore.exceptions(context.mission.as_deref(), &metadata.baseline);
        if matches!(metadata.baseline, BaselineFile::Corrupt(_)) {
            // What it named is not known for now.
            exceptions.extend(self.ignore_exceptions.iter().cloned());
        }
        let selects_others = exceptions != self.ignore_exceptions;
        self.ignore_exceptions = exceptions;
        self.visibility.metadata_blocker = context.unknown_reason.take();
        context.unknown_reason = self.blocker();
        if !context.is_equivalent(self.inventory.context()) {
            self.publication.snapshot_file_stale = true;
            for changed in self.inventory.reclassify_all(context, now.wall) {
                self.record_reclassified(changed, now.monotonic);
            }
        }
        let accepted = match (&self.metadata.baseline, &metadata.baseline) {
            (before, BaselineFile::Valid(after)) => {
                !matches!(before, BaselineFile::Valid(before) if before == after)
            }
            _ => false,
        };
        // Of one that is missing, what it was counts.
        metadata.dir = metadata.dir.or(self.metadata.dir);
        let has_other_churn = self.metadata.churn != metadata.churn;
        self.metadata = Arc::new(metadata);
        if has_other_churn {
            self.read_by_other_churn(now.monotonic);
        }
        self.keep_deleted_paths();
        self.pending.clears_tombstones |= accepted;
        self.pending.context_changed = true;
        self.publication.is_view_stale = true;
        selects_others
    }

    /// Records that an artifact has other metadata now, or is none any more by the rules of its layout.
    fn record_reclassified(&mut self, changed: EntryChange, now: Duration) {
        let EntryChange { before, after } = changed;
        let removal = RemovalReason::Ignored(IgnoredBy::Configuration);
        let Some(path) = after.or_else(|| before.clone()).map(|one| one.relative_path.clone())
        else {
            return;
        };
        self.pending.record(&path, before.as_ref(), removal, now);
    }

    /// Has what was deleted, or is required by the baseline, count as there for the step.
    pub(super) fn keep_deleted_paths(&mut self) {
        keep_deleted_paths(&mut self.inventory, &self.tombstones, &self.metadata);
    }

    /// Returns true if a listing lacks files that the metadata depends on, so that no check of them
    /// follows.
    pub(super) fn lacks_state_files(&self, listing: &Listing) -> bool {
        let files: HashSet<&RelPath> =
            listing.files.iter().flatten().map(|file| &file.path).collect();
        self.state_files.lacks_checks(|path| files.contains(path))
    }

    /// Returns true if the metadata depends on the file at a path.
    pub(super) fn is_state_file(&self, path: &RelPath) -> bool {
        self.state_files.contains(path)
    }

    /// Returns true if the metadata depends on the file at a path outside of the feature, below the root.
    pub(super) fn depends_on_outside(&self, path: &RelPath) -> bool {
        self.state_files.contains_outside(path)
    }

    /// Records why the listing prevents an evaluation, or that nothing does.
    pub(super) fn set_listing_blocker(&mut self, reason: Option<UnknownReason>) {
        if self.visibility.listing_blocker != reason {
            self.visibility.listing_blocker = reason;
            self.apply_blocker();
        }
    }

    /// Returns what prevents an evaluation.
    fn blocker(&self) -> Option<UnknownReason> {
        let hidden = || {
            let (path, why) = self.hidden.first_hidden()?;
            Some(UnknownReason::Unavailable(format!("`{}`: {why}", path.text())))
        };
        let listing = self.visibility.listing_blocker.clone();
        listing.or_else(hidden).or_else(|| self.visibility.metadata_blocker.clone())
    }

    fn apply_blocker(&mut self) {
        let blocker = self.blocker();
        if self.inventory.context().unknown_reason != blocker {
            self.inventory.set_unknown_reason(blocker);
        }
        self.pending.context_changed = true;
        self.publication.is_view_stale = true;
    }

    /// Records that the feature's directory is another one.
    pub(super) fn relocate(&mut self, dir: FeatureDir, mounts: &Mounts) {
        if self.dir != dir {
            self.pending.dir = Some(dir.clone());
            self.dir = dir;
            self.hidden = HiddenFiles::new(mounts.around(self.dir.path.as_ref()));
        }
    }

    /// Records that the directory is there again, or is another one: the feature is published
    /// again when all of it is compared.
    pub(super) fn on_returned(&mut self, deadline: Duration) {
        self.set_listing_blocker(None);
        self.visibility.gone_since = None;
        self.compare_initially(deadline);
    }

    /// Removes all files: the feature's directory was deleted. The feature is kept, as gone.
    pub(super) fn on_deleted(&mut self, now: Tick) {
        self.git.feature_deletion = false;
        if self.is_gone() {
            return;
        }
        for path in self.paths_below(None) {
            self.work.cancel(&path);
            self.remove(&path, RemovalReason::Deleted, now.monotonic);
        }
        self.work.check_all_again();
        self.set_listing_blocker(Some(UnknownReason::Deleted));
        self.visibility.gone_since.get_or_insert(now.wall);
    }

    /// Records that nothing of the feature can be read: what was under way is worthless.
    pub(super) fn on_unreadable(&mut self, why: UnknownReason) {
        self.work.clear();
        self.examinations = 0;
        self.git.feature_deletion = false;
        if !self.is_gone() {
            self.set_listing_blocker(Some(why));
        }
        self.initial = None;
    }

    // --- Mounts ---

    /// Records that something was mounted or unmounted that is not around the feature, or for a moment: what
    /// effects up to `newest` do not find may be there. Returns the paths that were found missing, to be
    /// checked again.
    pub(super) fn on_other_mounts(&mut self, newest: EffectId) -> Vec<RelPath> {
        self.visibility.other_mounts_changed = Some(newest);
        self.work.take_all_missing()
    }

    /// Records what is mounted now, with the mount points that changed, and that what effects up to `newest`
    /// find may be of another file system.
    pub(super) fn set_mounts(&mut self, mounts: &Mounts, changed: &[RelPath], newest: EffectId) {
        self.hidden.set_present(mounts.around(self.dir.path.as_ref()), changed);
        self.visibility.mounts_changed = Some(newest);
        self.visibility.newest_listing = self.visibility.newest_listing.max(Some(newest));
        self.publication.is_view_stale = true;
    }

    fn explain(&self, path: &RelPath) -> Disappearance {
        if self.hidden.is_idle() || is_planted(Bug::DeleteHidden) {
            return Disappearance::Deleted;
        }
        self.hidden.explain(&self.path_in_project(path))
    }

    /// Returns why its missing directory would be hidden.
    pub(super) fn why_hidden(&self) -> Option<String> {
        match self.hidden.explain(self.dir.path.as_ref()?) {
            Disappearance::Hidden(why) => Some(why),
            Disappearance::Deleted | Disappearance::Unmounted => None,
        }
    }

    /// Returns true if its directory is known to be hidden, and the mounts are the same since.
    pub(super) fn is_hidden(&self) -> bool {
        let blocker = &self.visibility.listing_blocker;
        matches!(blocker, Some(UnknownReason::Unavailable(_))) && self.why_hidden().is_some()
    }

    /// Records that its directory is hidden.
    pub(super) fn on_hidden(&mut self, why: String) {
        if !self.is_gone() {
            self.set_listing_blocker(Some(UnknownReason::Unavailable(why)));
        }
        self.initial = None;
    }

    /// Records that the file at a path is hidden.
    fn hide(&mut self, path: &RelPath, why: String, now: Tick) {
        self.work.forget(path);
        let hidden = self.path_in_project(path);
        self.set_unreadable(path, why, now);
        self.hidden.on_hidden(hidden);
        self.apply_blocker();
    }

    /// Takes the present mounts for known, if all of the feature is seen.
    pub(super) fn accept_mounts(&mut self) {
        let is_seen = self.is_examined() && self.work.is_empty();
        let is_there = !self.is_gone() && !self.is_unreadable();
        if is_seen && is_there && self.hidden.accept_present() {
            self.pending.context_changed = true;
        }
    }

    /// Returns a path below the feature as one below the root of the project.
    fn path_in_project(&self, path: &RelPath) -> RelPath {
        let joined = self.dir.path.as_ref().map(|dir| dir.join(path.as_bytes()));
        joined.and_then(Result::ok).unwrap_or_else(|| path.clone())
    }

    /// Records whether some of its directories are polled.
    pub(super) fn set_polled(&mut self, polled: bool) {
        if std::mem::replace(&mut self.visibility.polled, polled) != polled {
            self.publication.is_view_stale = true;
        }
    }

    // --- Git ---

    /// Records until when git holds the work tree, and releases what waited if it does not.
    pub(super) fn set_git_hold(&mut self, until: Option<Duration>, now: Duration) {
        let was_waiting = self.git.until.is_some() || self.waits_for_git();
        if until.is_none() && was_waiting {
            self.git.evaluation_deadline = Some(now + MAX_CHECKOUT_WAIT);
            self.work.release_held(now);
        }
        self.git.until = until;
    }

    /// Defers the deletion of the whole feature.
    pub(super) fn hold_feature_deletion(&mut self) {
        self.git.feature_deletion = true;
    }

    /// Ends that. Returns true if it was deferred.
    pub(super) fn release_feature_deletion(&mut self) -> bool {
        std::mem::take(&mut self.git.feature_deletion)
    }

    /// Returns true if something waits until git is done.
    pub(super) fn waits_for_git(&self) -> bool {
        let evaluation = self.git.until.is_some() && self.pending.evaluation_owed;
        evaluation || self.work.is_holding() || self.git.feature_deletion
    }

    /// Returns true if a deletion or an evaluation may follow, so git's lock matters.
    pub(super) fn needs_git_state(&self) -> bool {
        self.work.has_suspects() || self.pending.evaluation_owed || self.waits_for_git()
    }

    // --- State ---

    /// Returns true if the feature's directory was deleted.
    pub(super) fn is_gone(&self) -> bool {
        self.visibility.listing_blocker == Some(UnknownReason::Deleted)
    }

    /// Returns true if the last listing could not read the feature's directory.
    pub(super) fn is_unreadable(&self) -> bool {
        let blocker = self.visibility.listing_blocker.as_ref();
        blocker.is_some_and(|reason| {
            matches!(
                reason,
                UnknownReason::Unreadable(_)
                    | UnknownReason::Unavailable(_)
                    | UnknownReason::Unresponsive(_)
            )
        })
    }

    pub(super) fn gone_since(&self) -> Option<Timestamp> {
        self.visibility.gone_since
    }

    pub(super) fn set_gone_since(&mut self, since: Option<Timestamp>) {
        self.visibility.gone_since = since;
    }

    /// Returns true if there is a baseline file, valid or not.
    pub(super) fn has_baseline(&self) -> bool {
        !matches!(self.metadata.baseline, BaselineFile::Absent)
    }

    /// Returns true if a baseline was accepted since the last evaluation was published.
    fn has_unpublished_baseline(&self) -> bool {
        let published = self.publication.last.as_ref().and_then(|last| last.baseline);
        let baseline = &self.metadata.baseline;
        let other = published.is_some_and(|known| known != baseline.fingerprint());
        other && matches!(baseline, BaselineFile::Valid(_))
    }

    /// Reads at once what waits because it keeps changing, if that does not take long.
    pub(super) fn read_restless(&mut self, now: Duration) {
        self.work.read_restless(now);
    }

    /// Returns true if events need not report every change: directories are polled, or files have
    /// other names.
    pub(super) fn has_silent_changes(&self) -> bool {
        self.visibility.polled || !self.visibility.linked.is_empty()
    }

    /// The files that have other names.
    pub(super) fn linked(&self) -> &LinkedFiles {
        &self.visibility.linked
    }

    /// Returns true if nothing is debounced, checked or listed.
    pub(in crate::engine) fn is_examined(&self) -> bool {
        self.work.is_settled() && self.examinations == 0
    }

    /// Returns true if nothing is debounced, checked or listed but files that were read by a check after
    /// `since`.
    pub(super) fn is_examined_since(&self, since: EffectId) -> bool {
        self.work.is_settled_since(since) && self.examinations == 0
    }

    /// Returns true if observations are to come that may contradict what is known.
    pub(super) fn is_being_checked(&self) -> bool {
        self.work.has_open_checks() || self.examinations > 0
    }

    /// Returns true if nothing is under way or uncommitted, but for what waits for git.
    pub(super) fn is_settled(&self) -> bool {
        self.is_examined() && self.is_evaluated()
    }

    /// The same, but for files that were read by a check after `since`.
    pub(super) fn is_settled_since(&self, since: EffectId) -> bool {
        self.is_examined_since(since) && self.is_evaluated()
    }

    fn is_evaluated(&self) -> bool {
        let evaluated = self.git.until.is_some() || !self.pending.evaluation_owed;
        !self.pending.has_changes() && evaluated
    }

    /// Returns true if nothing is left to do, not even a recheck.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_settled() && self.work.is_empty() && !self.waits_for_git()
    }

    /// Returns true if its deletions are committed; an evaluation may be owed.
    pub(super) fn is_committed(&self) -> bool {
        self.is_examined() && self.pending.paths.is_empty()
    }

    /// Releases memory and returns true if there is nothing to do until the next hint.
    pub(super) fn rest_if_done(&mut self) -> bool {
        let rests = self.is_indexed() && self.is_at_rest();
        if rests {
            self.work.rest();
        }
        rests
    }

    // --- The inventory ---

    pub(super) fn is_indexed_path(&self, path: &RelPath) -> bool {
        self.inventory.entries().get(path).is_some()
    }

    fn is_ignored_by_default(&self, path: &RelPath, ignore: &IgnoreRules) -> bool {
        is_ignored_by_default(path, &self.ignore_exceptions, ignore)
    }

    /// Returns why an indexed path is not an artifact any more although it may exist.
    fn ignored_by(&self, path: &RelPath, ignore: &IgnoreRules) -> Option<IgnoredBy> {
        if ignore.configured_pattern(path).is_some() {
            return Some(IgnoredBy::Configuration);
        }
        // Directories are not ignored by default.
        let is_file = !self.visibility.unreadable_dirs.contains(path);
        let ignored = is_file && self.is_ignored_by_default(path, ignore);
        ignored.then_some(IgnoredBy::DefaultName)
    }

    /// Counts entries that were found. Returns true if there may be more than are allowed; the
    /// exact number is known only after a complete listing.
    fn count_entries(&mut self, more: u64, context: &ReconcileSettings) -> bool {
        self.visibility.entries = self.visibility.entries.saturating_add(more);
        self.visibility.entries > context.limits.max_entries
    }

    /// Returns the indexed path after `path`.
    pub(super) fn file_after(&self, path: &RelPath) -> Option<RelPath> {
        let paths = self.inventory.entries().range_from(path).map(InventoryEntry::key);
        paths.into_iter().find(|next| *next > path).cloned()
    }

    /// Returns the indexed paths below a directory, or all of them.
    pub(super) fn paths_below(&self, dir: Option<&RelPath>) -> Vec<RelPath> {
        self.paths_without(dir, &HashSet::new())
    }

    /// Returns the indexed paths below a directory, or all, but for those of `without`.
    fn paths_without(&self, dir: Option<&RelPath>, without: &HashSet<&RelPath>) -> Vec<RelPath> {
        let entries = self.inventory.entries();
        let others = |path: &&RelPath| !without.contains(path);
        let Some(dir) = dir else {
            return entries.iter().map(InventoryEntry::key).filter(others).cloned().collect();
        };
        let prefix = [dir.as_bytes(), b"/"].concat();
        entries
            .range_from(dir)
            .map(InventoryEntry::key)
            .skip_while(|path| !path.as_bytes().starts_with(&prefix) && path.as_bytes() < &*prefix)
            .take_while(|path| path.as_bytes().starts_with(&prefix))
            .filter(others)
            .cloned()
            .collect()
    }

    /// Returns true if what was read of a file holds while its signature is the same: it did not change
    /// at that time, and its layout has not named other bookkeeping since.
    pub(super) fn is_read_right(&self, entry: &InventoryEntry) -> bool {
        let is_own = || match &entry.artifact.state {
            ArtifactState::Present { static_hash, .. } => {
                let churn = self.metadata.churn.of_file(&entry.artifact.relative_path);
                churn.is_none_or(|churn| churn.is_own(static_hash.as_deref()))
            }
            ArtifactState::Absent(_) => true,
        };
        !entry.racy && is_own()
    }

    /// Has the files read again in which other things are bookkeeping than when they were read.
    fn read_by_other_churn(&mut self, now: Duration) {
        let entries = self.inventory.entries().iter();
        let others = entries.filter(|entry| !entry.racy && !self.is_read_right(entry));
        let paths: Vec<RelPath> =
            others.map(|entry| entry.artifact.relative_path.clone()).collect();
        for path in &paths {
            self.work.schedule_at(path, now);
        }
    }

    /// Returns true if a file has other content than is known though its signature is the same and
    /// could be trusted: then neither an event nor the file's times showed the change.
    fn is_undetected_change(&self, seen: &Observation) -> bool {
        self.inventory.entries().get(&seen.path).is_some_and(|known| {
            !known.racy
                && known.signature.is_some()
                && known.signature == seen.signature
                && known.artifact.state != seen.state
        })
    }

    /// Records on which mount something was found at a path.
    fn note_found(&mut self, path: &RelPath) {
        if !self.hidden.is_idle() {
            let was_known = self.is_indexed_path(path);
            self.hidden.on_found(&self.path_in_project(path), was_known);
            // It is stored on which mount the file is, even if the file is as the one before.
            self.pending.context_changed |= self.hidden.unstored().is_some();
            self.apply_blocker();
        }
    }

    /// Sets what was observed at a path. Returns true if that is not what was known.
    fn set(&mut self, seen: Observation, now: Tick) -> bool {
        self.visibility.unreadable_dirs.remove(&seen.path);
        let path = seen.path.clone();
        self.note_found(&path);
        let known = self.inventory.entries().get(&path).cloned();
        let changed = self.inventory.set(seen, now.wall);
        if known.is_some() && known.as_ref() == self.inventory.entries().get(&path) {
            return false;
        }
        if changed.before != changed.after {
            self.publication.snapshot_file_stale = true;
        }
        self.pending.record(&path, changed.before.as_ref(), RemovalReason::Deleted, now.monotonic);
        self.publication.is_view_stale = true;
        true
    }

    /// Removes a path from the inventory.
    fn remove(&mut self, path: &RelPath, reason: RemovalReason, now: Duration) {
        self.work.forget(path);
        self.visibility.unreadable_dirs.remove(path);
        self.visibility.linked.remove(path);
        if !self.hidden.is_idle() {
            self.hidden.on_removed(&self.path_in_project(path));
            self.apply_blocker();
        }
        let changed = self.inventory.remove(path);
        if changed.before.is_some() {
            if reason == RemovalReason::Deleted && self.inventory.context().step_inputs.by_files {
                self.inventory.keep_path(path.clone());
            }
            self.pending.record(path, changed.before.as_ref(), reason, now);
            self.pending.forget_uncommitted(path);
            self.publication.snapshot_file_stale = true;
            self.publication.is_view_stale = true;
        }
    }

    /// Records that a readable directory is at a path: a file that was there is gone, and an entry
    /// for a directory that could not be read is obsolete.
    fn on_directory(&mut self, path: &RelPath, now: Duration) {
        self.work.check_again(|other| other == path);
        let reason = if self.visibility.unreadable_dirs.remove(path) {
            RemovalReason::DirBecameReadable
        } else {
            RemovalReason::Deleted
        };
        self.remove(path, reason, now);
    }

    /// Returns true if nothing is recorded that a readable directory at a path contradicts.
    fn is_only_directory(&self, path: &RelPath) -> bool {
        self.inventory.entries().get(path).is_none()
            && !self.visibility.unreadable_dirs.contains(path)
            && self.unreadable_dir_above(path).is_none()
    }

    /// Returns the directory above a path that is known as unreadable, if there is one.
    fn unreadable_dir_above(&self, path: &RelPath) -> Option<RelPath> {
        self.visibility.unreadable_dirs.iter().find(|dir| path.is_below(dir)).cloned()
    }

    /// Records that a directory cannot be read: it is one entry, and what was indexed below it is
    /// not known any more.
    fn mark_unreadable(&mut self, dir: &RelPath, error: &str, now: Tick) {
        // A check in flight may be of what was there before.
        self.work.on_present(dir);
        self.work.check_again(|path| path == dir);
        for path in self.paths_below(Some(dir)) {
            self.work.cancel(&path);
            self.remove(&path, RemovalReason::ParentUnreadable, now.monotonic);
        }
        self.set_unreadable(dir, error.to_owned(), now);
        self.visibility.unreadable_dirs.insert(dir.clone());
    }

    /// Records that what is at a path cannot be read.
    fn set_unreadable(&mut self, path: &RelPath, why: String, now: Tick) {
        let absence = Absence { reason: ErrorReason::Unreadable, detail: Some(why.into()) };
        let seen = Observation {
            path: path.clone(),
            size_bytes: 0,
            state: ArtifactState::Absent(absence),
            wp_id: None,
            signature: None,
            racy: false,
            is_linked: false,
        };
        self.set(seen, now);
    }
}

/// Returns true if a file at a path is not an artifact because of its name.
fn is_ignored_by_default(
    path: &RelPath,
    exceptions: &BTreeSet<RelPath>,
    ignore: &IgnoreRules,
) -> bool {
    ignore.default_name(path).is_some() && !exceptions.contains(path)
}

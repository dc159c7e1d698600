//! The state of one watched project: what each event changes, and what is due when.
//!
//! The components own their part of the state and its rules; here is how they work together. What
//! readers see and what is committed is in `project_view`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::effect::{
    Effect, EffectId, EffectQueue, EffectTag, Forget, KnownFeature, Purpose, Report, RescanMode,
};
use super::event::{
    DirState, Event, FeaturesMetadata, FoundRoot, GitLock, HintFileKind, InitialScan, Inspection,
    ListError, Metadata, MetadataError, ProjectInfo, RootStatus, RootUnavailable, WatchReport,
};
use super::feature::{CheckedFile, FeatureState, Followup, StoredFeature};
use super::feature_commit::MetadataRead;
use super::feature_table::{ArchiveSearch, FeatureTable};
use super::git_hold::GitHold;
use super::in_flight::CheckKind;
use super::mount_checks::MountChecks;
use super::poll::PollSchedule;
use super::refresh::{Refresh, RefreshScope};
use super::root::{LossKind, RootLoss, RootState, UNMOUNTED, looks_unmounted};
use super::scrub::ScrubCursor;
use super::settings::ReconcileSettings;
use super::snapshot_retry::SnapshotRetry;
use super::sync::{Awaited, SyncGoal, SyncProgress};
use super::watch_health::{RescanStep, RetryStep, WatchHealth};
use crate::core::artifact::FileSignature;
use crate::core::diagnostics::SkippedDir;
use crate::core::feature_context::UnknownReason;
use crate::core::hidden_files::FilesOnMounts;
use crate::core::mounts::{Mounts, is_around};
use crate::core::path::{FeatureSlug, RelPath, escape_bytes};
use crate::core::time::Timestamp;
use crate::engine::clock::Tick;
use crate::engine::read_model::FeatureView;
use crate::project::{
    FeatureDir, FeatureInputs, MetadataKind, is_dossier_dir, is_dossiers_home, is_worktree_path,
    name_of_baseline,
};
use crate::scan::{Listing, PathState};
use crate::watch::{HintKind, ReadCost};

/// Time after which readiness does not wait for a project whose file system has not responded.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a deleted feature without a baseline stays in the status.
const DELETED_FEATURE_RETENTION: Duration = Duration::from_hours(24);
/// Minimum pause before it is checked again whether a deleted feature can be forgotten.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a missing feature may have been moved to an archived one whose files are not known yet.
const ARCHIVE_TIMEOUT: Duration = Duration::from_mins(1);
/// Maximum number of hints kept during the first scan; beyond it everything is rescanned.
const MAX_EARLY_HINTS: usize = 65_536;

/// A project that is watched. Performs no I/O and reads no clock.
#[derive(Debug)]
pub(in crate::engine) struct ProjectState {
    pub(super) settings: Arc<ReconcileSettings>,
    pub(super) info: Arc<ProjectInfo>,
    pub(super) skipped: Vec<SkippedDir>,
    pub(super) features: FeatureTable,
    pub(super) root: RootState,
    /// What is mounted below the root.
    mounts: Mounts,
    mount_checks: MountChecks,
    /// The newest effect when something was mounted, or a directory above the root was moved, maybe for a
    /// moment: effects until then may have found what was at the path of the root meanwhile.
    moved_at: Option<EffectId>,
    /// A probe of the root was requested during the first scan, or while one was under way.
    probe_requested: bool,
    /// Something happened since the last probe of the root was requested.
    changed_since_probe: bool,
    pub(super) health: WatchHealth,
    poll: PollSchedule,
    git: GitHold,
    pub(super) scrub: ScrubCursor,
    pub(super) snapshots: SnapshotRetry,
    refresh: Refresh,
    pub(super) published: Published,
    /// The process was out of file descriptors or memory at the last check.
    pub(super) out_of_resources: bool,
    pub(super) effects: EffectQueue,
    /// Until the first scan is done: what the store holds, and hints that arrived meanwhile.
    starting: Option<Starting>,
}

/// What waits for the first scan.
#[derive(Debug, Default)]
struct Starting {
    stored: BTreeMap<FeatureSlug, StoredFeature>,
    hints: Vec<(PathBuf, HintKind)>,
    /// A comparison that was requested: the first scan may have read before.
    rescan: Option<RescanMode>,
    /// When it began, until the file system has responded.
    unanswered_since: Option<Duration>,
    /// The file system did not respond soon, so that readiness does not wait for the project.
    is_late: bool,
}

impl Starting {
    /// Returns by when the file system is to have responded; `None` if it has, or that passed.
    fn first_answer_due(&self) -> Option<Duration> {
        let since = self.unanswered_since.filter(|_| !self.is_late);
        since.map(|since| since + FIRST_ANSWER_TIMEOUT)
    }
}

/// What was shown and what the store is to forget.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// Something else than a feature changed.
    pub(super) changed: bool,
    pub(super) ready: bool,
    pub(super) features: Vec<Arc<FeatureView>>,
    pub(super) forgotten: Vec<FeatureSlug>,
}

impl ProjectState {
    /// Starts with what the store holds of a project's features; `info` is what is known of the
    /// project before anything is read.
    pub(in crate::engine) fn start(
        settings: Arc<ReconcileSettings>,
        info: Arc<ProjectInfo>,
        stored: BTreeMap<FeatureSlug, StoredFeature>,
        now: Tick,
    ) -> Self {
        let scrub = ScrubCursor::new(settings.scrub, now.monotonic);
        let mut state = Self {
            settings,
            info,
            skipped: Vec::new(),
            features: FeatureTable::default(),
            root: RootState::default(),
            mounts: Mounts::default(),
            mount_checks: MountChecks::default(),
            moved_at: None,
            probe_requested: false,
            changed_since_probe: false,
            health: WatchHealth::default(),
            poll: PollSchedule::default(),
            git: GitHold::default(),
            scrub,
            snapshots: SnapshotRetry::default(),
            refresh: Refresh::default(),
            published: Published { changed: true, ..Published::default() },
            out_of_resources: false,
            effects: EffectQueue::default(),
            starting: Some(Starting {
                stored,
                unanswered_since: Some(now.monotonic),
                ..Starting::default()
            }),
        };
        state.effects.emit(Purpose::RootProbe, |tag| Effect::ProbeRoot { tag });
        state.scan_initially();
        state
    }

    /// Returns true until the first scan is done.
    pub(in crate::engine) fn is_starting(&self) -> bool {
        self.starting.is_some()
    }

    /// Returns true if the root cannot be read, or does not respond.
    pub(in crate::engine) fn is_root_away(&self) -> bool {
        self.root.is_away()
    }

    /// Returns true if the root does not exist, or is another directory than before.
    pub(in crate::engine) fn is_root_missing(&self) -> bool {
        let away = self.root.away();
        away.is_some_and(|away| away.loss.kind == LossKind::Unavailable)
    }

    /// Returns true if readers need not wait for the first scan.
    pub(in crate::engine) fn is_started_or_late(&self) -> bool {
        self.starting.as_ref().is_none_or(|starting| starting.is_late)
    }

    /// Takes the next effect to execute.
    pub(in crate::engine) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop()
    }

    /// Records whether hints are on their way: a checkout is not over before they have arrived.
    pub(in crate::engine) fn set_hints_pending(&mut self, are_pending: bool) {
        self.changed_since_probe |= self.git.set_hints_pending(are_pending) && !are_pending;
    }

    /// Applies what happened.
    pub(in crate::engine) fn handle(&mut self, event: Event, now: Tick) {
        self.changed_since_probe |= !matches!(event, Event::RootProbed { .. } | Event::Watches(_));
        match event {
            Event::Hint { path, kind } => self.on_hint(path, kind, now),
            Event::Overflow { by_others } => self.on_overflow(by_others, now),
            Event::MountsChanged if self.root.is_away() => self.root.search_now(now.monotonic),
            Event::MountsChanged => self.on_mounts_hint(),
            Event::Watches(report) => self.on_watches(report, now),
            Event::SnapshotWritten { slug, error } => self.on_snapshot_written(slug, error, now),
            Event::TombstoneExpired { slug, path } => {
                if let Some(feature) = self.features.activate(&slug) {
                    feature.expire_tombstone(&path);
                }
            }
            Event::FileChecked { tag, slug, path, state, cost } => {
                let cost = self.read_cost(cost);
                self.on_file_checked(tag, &slug, &path, CheckedFile { state, cost }, now);
            }
            Event::FileVerified { tag, slug, path, state } => {
                self.on_file_verified(tag, &slug, &path, state, now);
            }
            Event::ExecutorReplaced => self.on_unresponsive(now),
            Event::InitialScan { tag, result } => {
                if self.effects.finish(tag).is_some() {
                    self.on_initial_scan(result, now);
                }
            }
            Event::Listed { tag, result, watched_anew, cost } => {
                if let Some(Purpose::List { slug, dir, mode }) = self.effects.finish(tag) {
                    if self.is_listing_outdated(&slug, tag.id) {
                        return self.list(&slug, dir, mode);
                    }
                    // Its metadata may have been read before it was watched. Where its files exist, a
                    // check of them follows.
                    let is_all = dir.is_none() && mode != RescanMode::POLL;
                    let lacks = |listing: &Listing| {
                        self.features.get(&slug).is_some_and(|one| one.lacks_state_files(listing))
                    };
                    if is_all && watched_anew && result.as_ref().is_ok_and(lacks) {
                        self.refresh.read_feature_soon(slug.clone(), now.monotonic);
                    }
                    self.on_listed(&slug, dir.as_ref(), mode, result, cost, now);
                }
            }
            Event::Inspected { tag, inspection } => self.on_inspection(tag, inspection, now),
            Event::MetadataRead { tag, result, cost } => {
                if self.effects.finish(tag).is_some() {
                    self.on_metadata(result, cost, now);
                }
            }
            Event::FeaturesRead { tag, result, cost } => {
                if self.effects.finish(tag).is_some() {
                    self.on_features_read(result, cost, now);
                }
            }
            Event::DossierDirWatched { tag, has_baseline } => {
                self.on_dossier_dir_watched(tag, has_baseline, now);
            }
            Event::FeatureDirChecked { tag, state } => {
                if let Some(Purpose::FeatureDir { slug }) = self.effects.finish(tag) {
                    self.on_feature_dir_checked(&slug, state, now);
                }
            }
            Event::RootProbed { tag, root, git_lock, mounts } => {
                if self.effects.finish(tag).is_some() {
                    self.on_root_probed(tag.id, &root, git_lock, mounts, now);
                }
            }
            Event::RootSearched { tag, found } => {
                if self.effects.finish(tag).is_some() && self.is_own_root(found) {
                    self.root.on_found();
                }
            }
            Event::WatcherReplaced { tag } => {
                if self.effects.finish(tag).is_some() {
                    self.health.on_watcher_replaced();
                }
            }
            Event::WatcherDropped { tag, sample } => {
                if self.effects.finish(tag).is_some() {
                    self.health.on_watcher_dropped(sample);
                    self.on_overflow(false, now);
                }
            }
            Event::WatchesRetried { tag } => {
                if self.effects.finish(tag).is_some() {
                    self.follow_retried_watches(now);
                }
            }
            Event::RemovalSampled { tag, missing } => {
                if self.effects.finish(tag).is_some() {
                    self.health.on_removal_sampled(missing, now.monotonic);
                }
            }
            Event::ProbeTouched { tag, touched } => {
                if self.effects.finish(tag).is_some() {
                    self.health.on_probe_touched(touched, now.monotonic);
                }
            }
        }
    }

    /// Returns true if a root that was searched is that of this project.
    fn is_own_root(&self, found: Option<FoundRoot>) -> bool {
        let on_root = self.features.iter().filter(|known| known.hidden.known().is_empty());
        let known = on_root.map(|known| (&known.dir.slug, known.inventory().entries()));
        // Where nothing is known, the root to which the path leads is watched instead.
        let is_new = self.features.iter().next().is_none();
        found.is_some_and(|found| {
            let is_other = is_new && found.is_linked || looks_unmounted(&found, known);
            !is_other
        })
    }

    fn on_snapshot_written(&mut self, slug: FeatureSlug, error: Option<String>, now: Tick) {
        self.published.changed |= self.snapshots.record(slug, error, now.monotonic);
    }

    /// Does what is due.
    pub(in crate::engine) fn on_deadline(&mut self, now: Tick) {
        if self.root.is_away() {
            let searching = self.effects.has(|purpose| *purpose == Purpose::RootSearch);
            if !searching && self.root.start_search_if_due(now.monotonic) {
                self.effects.emit(Purpose::RootSearch, |tag| Effect::SearchRoot { tag });
            }
            return;
        }
        if let Some(starting) = &mut self.starting {
            let late = starting.first_answer_due().is_some_and(|due| due <= now.monotonic);
            starting.is_late |= late;
            return;
        }
        self.maintain_watches(now);
        self.poll_if_due(now);
        self.refresh_if_due(now);
        let compared = self.mount_checks.take_due(now.monotonic);
        if compared.project {
            self.refresh.read_at(now.monotonic);
        }
        for slug in compared.features {
            self.list(&slug, None, RescanMode::POLL);
        }
        self.probe_root_if_needed(now);
        self.check_due_paths(now);
        self.scrub_if_due(now);
        let features = &self.features;
        for slug in self.snapshots.take_due(|slug| features.contains(slug), now.monotonic) {
            if let Some(feature) = self.features.activate(&slug) {
                feature.rewrite_snapshot_file();
            }
        }
    }

    /// Returns when there is something to do without a new event. What waits for an effect in flight
    /// is due when that completes.
    pub(in crate::engine) fn next_deadline(&self) -> Option<Duration> {
        let is_in_flight = |purpose: &Purpose| self.effects.has(|other| other == purpose);
        if self.root.is_away() {
            return self.root.next_search().filter(|_| !is_in_flight(&Purpose::RootSearch));
        }
        if let Some(starting) = &self.starting {
            return starting.first_answer_due();
        }
        let metadata = self.metadata_read();
        let features = self.features.active().filter_map(|feature| feature.next_due(metadata));
        let git = self.git.until().filter(|_| !is_in_flight(&Purpose::RootProbe));
        let others = [
            self.refresh.due().filter(|_| metadata != MetadataRead::InFlight),
            self.refresh.expire_at,
            self.health.next_due().filter(|_| !is_in_flight(&Purpose::RemovalSample)),
            self.poll.next_due(),
            self.mount_checks.next_due(),
            self.scrub.next_due(),
            self.snapshots.next_due(),
            git.filter(|_| self.waits_for_git()),
        ];
        features.chain(others.into_iter().flatten()).min()
    }

    // --- The first scan ---

    fn scan_initially(&mut self) {
        let known = self.known_features();
        self.effects.emit(Purpose::InitialScan, |tag| Effect::ScanInitially { tag, known });
    }

    /// Shows what is stored, because the first scan did not complete in time.
    fn show_stored(&mut self) {
        let known = self.known_features();
        self.effects.emit(Purpose::InitialScan, |tag| Effect::ShowStored { tag, known });
    }

    fn known_features(&self) -> BTreeMap<FeatureSlug, KnownFeature> {
        let stored = self.starting.iter().flat_map(|starting| &starting.stored);
        let known = stored.map(|(slug, stored)| {
            let known = KnownFeature {
                dir: stored_dir(slug, stored),
                has_dir: stored.dir.is_some(),
                entries: stored.entries.clone(),
                meta: stored.last_published.as_ref().and_then(|last| last.meta.clone()),
            };
            (slug.clone(), known)
        });
        known.collect()
    }

    fn on_initial_scan(
        &mut self,
        result: Result<Box<InitialScan>, Box<RootUnavailable>>,
        now: Tick,
    ) {
        let Some(Starting { mut stored, hints, rescan, .. }) = self.starting.take() else {
            return;
        };
        self.published.changed = true;
        let scan = match result {
            Ok(scan) => *scan,
            Err(unavailable) => {
                self.info = unavailable.info;
                self.keep_stored(stored, unavailable.features);
                let loss = self.root.find_loss(&unavailable.status);
                let loss = loss.unwrap_or_else(|| RootLoss::unavailable("it cannot be read"));
                return self.lose_root(loss, now);
            }
        };
        let InitialScan { metadata, mut listings, unselected, root, git_lock, mounts } = scan;
        self.mounts = mounts.unwrap_or_default();
        let Metadata { info, features, mut gone, orphans, skipped, watched_more, .. } = metadata;
        self.info = info;
        // Those on mounts below the root are looked for by themselves.
        let known = stored
            .iter()
            .filter(|(_, known)| known.mounts.as_ref().is_none_or(FilesOnMounts::is_on_root));
        let known = known.map(|(slug, known)| (slug, &known.entries));
        if looks_unmounted(&root, known) {
            self.keep_stored(stored, gone);
            return self.lose_root(RootLoss::unavailable(UNMOUNTED), now);
        }
        self.skipped = skipped;
        self.apply_ignore();
        for slug in unselected {
            stored.remove(&slug);
            self.published.forgotten.push(slug);
        }
        let timeout = self.settings.times.git_lock_timeout;
        let newest = self.effects.newest_id();
        self.git.observe(newest, git_lock, false, timeout, now.monotonic);
        // The mounts were read before the features were listed.
        self.mount_checks.note_metadata(newest);
        for (dir, inputs) in features {
            self.mount_checks.note_examined(&dir.slug, newest);
            let known = stored.remove(&dir.slug).unwrap_or_default();
            let listing = listings.remove(&dir.slug);
            self.add_feature(dir, inputs, known, listing, RescanMode::INITIAL, now);
        }
        for (slug, known) in stored {
            // It was deleted while no daemon was running, or git is about to bring it back.
            if let Some(inputs) = gone.remove(&slug) {
                self.add_missing_feature(&slug, inputs, known, now);
            }
        }
        let features = self.features.iter().count();
        self.add_orphans(orphans, now);
        self.effects.emit_untracked(Effect::Report(Report::Watching { features }));
        if watched_more {
            self.refresh.read_at(now.monotonic);
        }
        if hints.len() >= MAX_EARLY_HINTS {
            self.on_overflow(false, now);
        }
        for (path, kind) in hints {
            self.on_hint(path, kind, now);
        }
        if let Some(mode) = rescan {
            self.rescan(mode, now);
        }
        self.probe_again_if_requested();
    }

    /// Keeps what the store holds of features that cannot be read.
    fn keep_stored(
        &mut self,
        stored: BTreeMap<FeatureSlug, StoredFeature>,
        mut inputs: BTreeMap<FeatureSlug, FeatureInputs>,
    ) {
        for (slug, known) in stored {
            if let Some(inputs) = inputs.remove(&slug) {
                let dir = stored_dir(&slug, &known);
                let feature = FeatureState::from_store(dir, inputs, known, &self.settings);
                self.features.insert(feature);
            }
        }
    }

    fn add_feature(
        &mut self,
        dir: FeatureDir,
        inputs: FeatureInputs,
        stored: StoredFeature,
        listing: Option<Result<Listing, ListError>>,
        mode: RescanMode,
        now: Tick,
    ) {
        let slug = dir.slug.clone();
        let settings = &self.settings;
        let is_new = stored.dir.is_none() && stored.times.created_at.is_none();
        let mut feature =
            FeatureState::new(dir, inputs, stored, &self.mounts, settings, now.monotonic);
        if mode.debounce {
            feature.compare_initially(now.monotonic + settings.times.max_wait);
        }
        if is_new {
            feature.set_arrived_at(now.monotonic);
        }
        feature.git.until = self.git.active(now.monotonic);
        feature.set_polled(self.is_polled(&feature.dir));
        self.features.insert(feature);
        match listing {
            Some(listing) => {
                if let Some(feature) = self.features.activate(&slug) {
                    feature.begin_examination();
                }
                self.on_listed(&slug, None, mode, listing, Duration::ZERO, now);
            }
            None => self.list(&slug, None, mode),
        }
    }

    fn add_missing_feature(
        &mut self,
        slug: &FeatureSlug,
        inputs: FeatureInputs,
        stored: StoredFeature,
        now: Tick,
    ) {
        let (dir, gone_since) = (stored_dir(slug, &stored), stored.gone_since);
        let settings = &self.settings;
        let mut feature =
            FeatureState::new(dir, inputs, stored, &self.mounts, settings, now.monotonic);
        feature.set_gone_since(gone_since);
        feature.git.until = self.git.active(now.monotonic);
        self.features.insert(feature);
        if gone_since.is_some() {
            self.delete_feature(slug, now);
        } else {
            self.refresh.missing.insert(slug.clone(), now.monotonic);
            self.check_feature_dir(slug);
        }
    }

    /// Adds features of which only a shared baseline is known: they are missing.
    fn add_orphans(&mut self, orphans: Vec<(FeatureDir, FeatureInputs)>, now: Tick) {
        for (dir, inputs) in orphans {
            let slug = dir.slug.clone();
            let is_moved = self.features.iter().any(|one| one.previous_slug() == Some(&slug));
            if !self.features.contains(&slug) && !is_moved {
                let (stored, settings) = (StoredFeature::default(), &self.settings);
                let feature =
                    FeatureState::new(dir, inputs, stored, &self.mounts, settings, now.monotonic);
                self.features.insert(feature);
                self.delete_feature(&slug, now);
            }
        }
    }

    // --- Hints ---

    fn on_hint(&mut self, path: PathBuf, kind: HintKind, now: Tick) {
        if self.settings.probe_paths.contains(&path) {
            if self.health.on_probe_seen() {
                self.published.changed = true;
            }
            return self.poll.hurry(now.monotonic);
        }
        if let Some(starting) = &mut self.starting {
            if starting.hints.len() < MAX_EARLY_HINTS {
                starting.hints.push((path, kind));
            }
            return;
        }
        if self.root.is_away() {
            return;
        }
        let Some(relative) = self.relative(&path) else {
            return self.on_hint_outside(path, kind, now);
        };
        let containing = self.features.containing(&relative);
        let within = containing.iter().any(|(_, below)| below.is_some());
        let removed = kind == HintKind::Removed || kind.is_moved_to();
        let may_be_feature = self.could_contain_feature(&relative);
        let metadata = self.metadata_kind(&relative);
        let is_irrelevant = match kind {
            HintKind::Modified => metadata.is_none(),
            HintKind::CloseWrite => metadata != Some(MetadataKind::File),
            HintKind::DirCreated
            | HintKind::MovedTo
            | HintKind::MovedToModified
            | HintKind::Removed => false,
        };
        let is_elsewhere = containing.is_empty() && !may_be_feature && is_irrelevant;
        if is_elsewhere && self.features.documents_at(&relative).is_empty() {
            return;
        }
        let forget = match (within, kind) {
            (false, HintKind::CloseWrite) if !may_be_feature => Forget::No,
            // Of a directory that was modified only the attributes changed.
            (false, HintKind::Modified) | (true, HintKind::MovedTo | HintKind::MovedToModified) => {
                Forget::UnlessDirectory
            }
            (false, _) | (true, HintKind::Removed) => Forget::Yes,
            (true, _) => Forget::No,
        };
        let stat = match kind {
            HintKind::MovedTo | HintKind::MovedToModified => true,
            HintKind::Modified => !within || may_be_feature,
            // What was removed may be back, or have been at its path before.
            HintKind::Removed => within,
            HintKind::CloseWrite | HintKind::DirCreated => false,
        };
        if forget == Forget::No && !stat && !removed && !may_be_feature {
            return self.on_inspected(&relative, kind, Inspection::default(), now);
        }
        let purpose = Purpose::Inspect { relative, kind };
        self.effects.emit(purpose, |tag| Effect::Inspect { tag, path, forget, stat });
    }

    /// Handles the root itself, and directories of the user or of git.
    fn on_hint_outside(&mut self, path: PathBuf, kind: HintKind, now: Tick) {
        let dirs = &self.settings.user_dirs;
        let of_user = dirs.iter().any(|own| path.starts_with(own) || own.starts_with(&path));
        let is_root = path == self.settings.root;
        if is_root && kind == HintKind::Removed {
            self.root.on_removed();
        }
        // Of git's directory only its head and the worktrees matter.
        if of_user || is_root || path.ends_with("HEAD") || is_worktree_path(&path) {
            self.refresh_soon(now);
        }
        if of_user && kind != HintKind::CloseWrite {
            self.effects.emit_untracked(Effect::ForgetWatches { path });
        }
    }

    fn on_inspection(&mut self, tag: EffectTag, inspection: Inspection, now: Tick) {
        if let Some(Purpose::Inspect { relative, kind }) = self.effects.finish(tag) {
            self.note_inspected(&relative);
            self.on_inspected(&relative, kind, inspection, now);
        }
    }

    /// Records that something was found out about a path, in features or outside of them.
    fn note_inspected(&mut self, relative: &RelPath) {
        let newest = self.effects.newest_id();
        let containing = self.features.containing(relative).into_iter().map(|(slug, _)| slug);
        let mut is_outside = true;
        for slug in containing.chain(self.features.documents_at(relative)) {
            self.mount_checks.note_examined(&slug, newest);
            is_outside = false;
        }
        if is_outside {
            self.mount_checks.note_metadata(newest);
        }
    }

    fn on_inspected(&mut self, relative: &RelPath, kind: HintKind, found: Inspection, now: Tick) {
        let containing = self.features.containing(relative);
        let within = containing.iter().any(|(_, below)| below.is_some());
        let moves_features = self.moves_features(relative, kind, found);
        let contains_dossier_dirs = is_dossiers_home(relative);
        if kind == HintKind::DirCreated && (contains_dossier_dirs || is_dossier_dir(relative)) {
            return self.watch_dossier_dir(relative, contains_dossier_dirs);
        }
        if !within && kind == HintKind::Modified && found.file_kind == Some(HintFileKind::Directory)
        {
            return self.on_attributes_changed(relative, found.is_accessible, now);
        }
        if !within && found.forgot || within && moves_features {
            self.on_dir_replaced(relative, now);
        } else if moves_features {
            self.refresh_soon(now);
        } else if containing.is_empty() && self.is_metadata(relative, kind, found) {
            let feature = self.feature_of_baseline(relative);
            match feature.or_else(|| self.feature_of_outside_file(relative)) {
                Some(slug) => self.refresh.read_feature_soon(slug, now.monotonic),
                None => self.refresh_soon(now),
            }
        }
        for slug in self.features.documents_at(relative) {
            self.on_hint_in_feature(&slug, relative, kind, found, now);
        }
        for (slug, below) in containing {
            match below {
                Some(below) => self.on_hint_in_feature(&slug, &below, kind, found, now),
                None => self.refresh_soon(now),
            }
        }
    }

    /// Returns the present feature whose baseline is at a path.
    fn feature_of_baseline(&self, relative: &RelPath) -> Option<FeatureSlug> {
        let name = name_of_baseline(relative)?;
        let mut present = self.features.iter().filter(|feature| !feature.is_gone());
        let found = present.find(|feature| feature.dir.slug.file_name().as_bytes() == name);
        found.map(|feature| feature.dir.slug.clone())
    }

    /// Returns the present feature whose metadata depends on a file outside of it.
    fn feature_of_outside_file(&self, relative: &RelPath) -> Option<FeatureSlug> {
        let mut present = self.features.iter().filter(|feature| !feature.is_gone());
        let found = present.find(|feature| feature.depends_on_outside(relative));
        found.map(|feature| feature.dir.slug.clone())
    }

    /// Returns true if the metadata depends on what happened at a path outside of the features.
    fn is_metadata(&self, relative: &RelPath, kind: HintKind, found: Inspection) -> bool {
        match self.metadata_kind(relative) {
            Some(MetadataKind::File) => true,
            // Files at such a path are not: dossierd itself writes some.
            Some(MetadataKind::Dir) => {
                kind == HintKind::DirCreated
                    || found.was_wanted
                    || matches!(
                        found.file_kind,
                        Some(HintFileKind::Directory | HintFileKind::Other)
                    )
            }
            None => false,
        }
    }

    /// Returns true if what happened at a path may have created or removed features: a directory on
    /// the way to them is or was there, or a link. Files that are written there are irrelevant.
    fn moves_features(&self, relative: &RelPath, kind: HintKind, found: Inspection) -> bool {
        self.could_contain_feature(relative)
            && (found.was_wanted
                || self.skipped.iter().any(|skipped| skipped.name == relative.text())
                || match kind {
                    HintKind::DirCreated => true,
                    HintKind::MovedTo | HintKind::MovedToModified | HintKind::Modified => {
                        found.file_kind != Some(HintFileKind::File)
                    }
                    HintKind::CloseWrite | HintKind::Removed => false,
                })
    }

    /// Records that a directory on the way to features, or one of theirs, was created or removed:
    /// the watches below it are of what was there before.
    fn on_dir_replaced(&mut self, relative: &RelPath, now: Tick) {
        self.refresh_soon(now);
        self.relist_below(relative);
    }

    /// Handles new attributes of a directory that contains features, or is one: they may have become
    /// unreadable, or readable: then those that were not are listed when the metadata was read.
    fn on_attributes_changed(&mut self, relative: &RelPath, is_accessible: bool, now: Tick) {
        self.refresh_soon(now);
        if is_accessible {
            return;
        }
        let at_root = self.features.at_root().cloned();
        for slug in self.features.at_or_below(relative).into_iter().chain(at_root) {
            self.list(&slug, None, RescanMode::POLL);
        }
    }

    /// Watches the directory in which a feature's baseline may be created, or the one that contains
    /// those of all features, without reading the metadata again: dossierd itself creates them.
    fn watch_dossier_dir(&mut self, relative: &RelPath, contains_others: bool) {
        let path = self.absolute(relative);
        let watch = |tag| Effect::WatchDossierDir { tag, path, contains_others };
        self.effects.emit(Purpose::DossierDir, watch);
    }

    fn on_dossier_dir_watched(&mut self, tag: EffectTag, has_baseline: bool, now: Tick) {
        if self.effects.finish(tag).is_some() && has_baseline {
            self.refresh_soon(now);
        }
    }

    /// Has the features at and below a path listed when the metadata is read next.
    fn relist_below(&mut self, relative: &RelPath) {
        self.refresh.relist.extend(self.features.at_or_below(relative));
        self.refresh.relist.extend(self.features.at_root().cloned());
    }

    fn on_hint_in_feature(
        &mut self,
        slug: &FeatureSlug,
        path: &RelPath,
        kind: HintKind,
        found: Inspection,
        now: Tick,
    ) {
        let is_state_file = self.features.get(slug).is_some_and(|one| one.is_state_file(path));
        let documents = self.features.get(slug).and_then(|one| one.dir.documents.clone());
        let is_hidden =
            documents.is_none() && path.components().any(|component| component.starts_with(b"."));
        let is_artifact = !is_hidden
            && !self.settings.ignore.configured().is_match(path)
            && self.settings.ignore.default_name(path).is_none();
        match kind {
            _ if !is_state_file => {}
            // It is still being written. What is an artifact, too, is checked when it has settled, and
            // read as metadata if its content is another one.
            HintKind::Modified if is_artifact => {}
            HintKind::Modified => {
                let times = &self.settings.times;
                let (quiet, max) = (times.quiet_period, times.max_wait);
                self.refresh.read_feature_when_quiet(slug.clone(), quiet, max, now.monotonic);
            }
            _ => self.refresh.read_feature_soon(slug.clone(), now.monotonic),
        }
        if is_hidden || self.settings.ignore.configured().is_match(path) {
            return;
        }
        let removed = kind == HintKind::Removed || kind.is_moved_to();
        let is_directory = kind == HintKind::DirCreated
            || removed && found.file_kind == Some(HintFileKind::Directory);
        if is_directory {
            return self.list(slug, Some(path.clone()), RescanMode::REWATCH);
        }
        // Of a directory that may have documents, only what was below it.
        if !removed && documents.is_some_and(|set| !set.has_file(path)) {
            return;
        }
        if removed && found.forgot && self.health.on_dir_removed(now.monotonic) {
            self.drop_watcher();
        }
        if let Some(feature) = self.features.activate(slug) {
            feature.on_hint(path, kind, &self.settings, now.monotonic);
        }
    }

    fn on_overflow(&mut self, by_others: bool, now: Tick) {
        if !self.root.is_away() && self.health.on_overflow(by_others, now.monotonic) {
            self.published.changed = true;
        }
    }

    // --- Listings and checks ---

    /// Lists a directory of a feature, or all of it, watching each directory before.
    fn list(&mut self, slug: &FeatureSlug, dir: Option<RelPath>, mode: RescanMode) {
        if self.root.is_away() {
            return;
        }
        let is_there = |feature: &FeatureState| {
            !feature.is_gone() && (mode != RescanMode::POLL || !feature.is_hidden())
        };
        let is_there = self.features.get(slug).is_some_and(is_there);
        let Some(feature) = self.features.activate(slug).filter(|_| is_there) else {
            return;
        };
        feature.begin_examination();
        let (feature, rewatch) = (feature.dir.clone(), mode.rewatch);
        let purpose = Purpose::List { slug: slug.clone(), dir: dir.clone(), mode };
        self.effects.emit(purpose, |tag| Effect::ListAndWatch { tag, feature, dir, rewatch });
        self.published.changed = true;
    }

    /// Compares all features with the disk, and reads the metadata again.
    pub(in crate::engine) fn rescan(&mut self, mode: RescanMode, now: Tick) {
        if let Some(starting) = &mut self.starting {
            starting.rescan = Some(mode);
            return;
        }
        let slugs: Vec<FeatureSlug> = self.features.slugs().cloned().collect();
        for slug in slugs {
            self.list(&slug, None, mode);
        }
        if !self.root.is_away() {
            self.refresh.read_at(now.monotonic);
        }
    }

    /// Compares one feature with the disk, and reads the metadata again.
    pub(in crate::engine) fn rescan_feature(
        &mut self,
        slug: &FeatureSlug,
        mode: RescanMode,
        now: Tick,
    ) {
        if self.is_starting() {
            return self.rescan(mode, now);
        }
        self.list(slug, None, mode);
        if !self.root.is_away() {
            self.refresh.read_at(now.monotonic);
        }
    }

    /// Prepares for the answer to a request that waits for all changes before it, of a feature or of
    /// all. What events need not report is compared with the disk: returns true in that case, and
    /// nothing is known of the changes before until that is done.
    pub(in crate::engine) fn prepare_sync(
        &mut self,
        slug: Option<&FeatureSlug>,
        now: Tick,
    ) -> bool {
        self.root.search_for_client(now.monotonic);
        self.mount_checks.hurry(now.monotonic);
        let is_selected = |other: &FeatureSlug| slug.is_none_or(|slug| slug == other);
        let slugs = self.features.slugs().filter(|slug| is_selected(slug));
        let slugs: Vec<FeatureSlug> = slugs.cloned().collect();
        let is_silent = |slug: &FeatureSlug| {
            let feature = self.features.get(slug);
            self.refresh.over_limit.contains(slug)
                || feature.is_some_and(FeatureState::has_silent_changes)
        };
        let is_needed = self.polls_all().is_some()
            || !self.silent_dirs().is_empty()
            || slugs.iter().any(is_silent);
        for slug in slugs {
            if self.features.is_active(&slug)
                && let Some(feature) = self.features.activate(&slug)
            {
                feature.read_restless(now.monotonic);
            }
            if is_needed {
                self.list(&slug, None, RescanMode::POLL);
            }
        }
        if is_needed && !self.root.is_away() && !self.is_starting() {
            self.refresh.read_at(now.monotonic);
        }
        is_needed
    }

    /// Returns true if a listing is older than one of the same feature that was applied.
    fn is_listing_outdated(&mut self, slug: &FeatureSlug, listing: EffectId) -> bool {
        let Some(feature) = self.features.activate(slug) else {
            return false;
        };
        let is_outdated = feature.is_listing_outdated(listing);
        if is_outdated {
            feature.end_examination();
        }
        is_outdated
    }

    fn on_listed(
        &mut self,
        slug: &FeatureSlug,
        dir: Option<&RelPath>,
        mode: RescanMode,
        result: Result<Listing, ListError>,
        cost: Duration,
        now: Tick,
    ) {
        self.published.changed = true;
        self.mount_checks.note_examined(slug, self.effects.newest_id());
        if mode == RescanMode::POLL {
            self.poll.add_cost(cost);
        }
        if !matches!(result, Err(ListError::OutOfResources | ListError::RootReplaced)) {
            self.refresh.failed_listings.remove(slug);
        }
        let settings = Arc::clone(&self.settings);
        let mut followups = Vec::new();
        if let Some(feature) = self.features.activate(slug) {
            feature.on_listed(dir, result, mode, &settings, now, &mut followups);
        }
        self.follow_up(slug, followups, now);
    }

    fn check_due_paths(&mut self, now: Tick) {
        let mut due = Vec::new();
        self.features.for_each_active(|slug, feature| {
            let paths = feature.take_due_paths(now.monotonic);
            due.extend(paths.into_iter().map(|(path, kind)| (slug.clone(), path, kind)));
        });
        for (slug, path, kind) in due {
            self.check(&slug, &path, kind, now);
        }
    }

    /// Has a path checked; while it is being checked it is checked again afterwards.
    fn check(&mut self, slug: &FeatureSlug, path: &RelPath, kind: CheckKind, now: Tick) {
        let tag = self.effects.next_tag();
        let Some(feature) = self.features.activate(slug) else {
            return;
        };
        if !feature.work.start_check(path, kind, tag, now.monotonic) {
            return;
        }
        let known = feature.inventory().entries().get(path);
        let expected =
            known.filter(|entry| feature.is_read_right(entry)).and_then(|entry| entry.signature);
        let (feature, path, verify_only) = (feature.dir.clone(), path.clone(), false);
        let check = Effect::CheckFile { tag, feature, path, expected, verify_only };
        self.effects.emit_untracked(check);
    }

    /// Returns what a read has cost that took `time`.
    fn read_cost(&self, time: Duration) -> ReadCost {
        let others = || self.features.active().map(|one| one.work.paused_reads()).sum();
        ReadCost::new(time, others)
    }

    fn on_file_checked(
        &mut self,
        tag: EffectTag,
        slug: &FeatureSlug,
        path: &RelPath,
        checked: CheckedFile,
        now: Tick,
    ) {
        if !self.effects.is_current(tag) {
            return;
        }
        self.mount_checks.note_examined(slug, self.effects.newest_id());
        let state = &checked.state;
        self.set_out_of_resources(*state == PathState::OutOfResources);
        let newest = self.effects.newest_id();
        let settings = Arc::clone(&self.settings);
        let Some(feature) = self.features.activate(slug) else {
            return;
        };
        let Some(check) = feature.work.finish_check(path, tag.id) else {
            return;
        };
        let followups = feature.on_checked(path, check, checked, &settings, newest, now);
        self.follow_up(slug, followups, now);
    }

    /// Checks the other names of a file that was read.
    fn check_links(&mut self, slug: &FeatureSlug, path: &RelPath, file: &FileSignature, now: Tick) {
        let is_read = |other: &FeatureSlug, name: &RelPath| other == slug && name == path;
        let mut others = Vec::new();
        for feature in self.features.iter() {
            let names =
                feature.linked().names_of(file).filter(|name| !is_read(&feature.dir.slug, name));
            others.extend(names.map(|name| (feature.dir.slug.clone(), name.clone())));
        }
        for (slug, name) in others {
            self.check(&slug, &name, CheckKind::Check, now);
        }
    }

    fn follow_up(&mut self, slug: &FeatureSlug, followups: Vec<Followup>, now: Tick) {
        for followup in followups {
            match followup {
                Followup::Check(path, kind) => self.check(slug, &path, kind, now),
                Followup::List(dir) => self.list(slug, Some(dir), RescanMode::REWATCH),
                Followup::CheckLinks(path, file) => self.check_links(slug, &path, &file, now),
                Followup::RefreshMetadata => self.refresh_soon(now),
                Followup::ReadInputs => {
                    self.refresh.read_feature_soon(slug.clone(), now.monotonic);
                }
                Followup::ListWhenFound => {
                    self.refresh.relist.insert(slug.clone());
                    self.refresh_soon(now);
                }
                Followup::ProbeRoot => self.probe_root(),
                Followup::OverLimit => drop(self.refresh.over_limit.insert(slug.clone())),
                Followup::WithinLimit => drop(self.refresh.over_limit.remove(slug)),
                Followup::OutOfResources => self.set_out_of_resources(true),
                Followup::ListLater => self.list_after_failure(slug.clone(), now),
            }
        }
    }

    fn set_out_of_resources(&mut self, out_of_resources: bool) {
        let before = std::mem::replace(&mut self.out_of_resources, out_of_resources);
        if before != out_of_resources {
            self.published.changed = true;
            if out_of_resources {
                self.effects.report(Report::OutOfResources);
            }
        }
    }

    // --- Metadata and features ---

    fn refresh_soon(&mut self, now: Tick) {
        self.refresh.read_soon(now.monotonic);
    }

    /// Has metadata that changed read without a further wait: a request waits for it.
    pub(in crate::engine) fn hurry_metadata(&mut self, now: Duration) {
        self.refresh.hurry(now);
    }

    /// Lists a feature again, with the metadata, after a pause that grows with each failure.
    fn list_after_failure(&mut self, slug: FeatureSlug, now: Tick) {
        self.refresh.list_after_failure(slug, now.monotonic);
    }

    fn refresh_if_due(&mut self, now: Tick) {
        if self.effects.has(|purpose| *purpose == Purpose::Metadata) {
            return;
        }
        let Some(scope) = self.refresh.take_due(now.monotonic) else {
            return;
        };
        match scope {
            RefreshScope::All => {
                let (gone, present): (Vec<_>, Vec<_>) =
                    self.features.iter().partition(|feature| feature.is_gone());
                let dirs = |features: Vec<&FeatureState>| {
                    features.into_iter().map(|feature| feature.dir.clone()).collect()
                };
                let (gone, present) = (dirs(gone), dirs(present));
                let read = |tag| Effect::ReadMetadata { tag, gone, present };
                self.effects.emit(Purpose::Metadata, read);
            }
            RefreshScope::Features(slugs) => {
                let present = self.features.iter().filter(|feature| !feature.is_gone());
                let dirs = present.map(|feature| &feature.dir);
                let features = dirs.filter(|dir| slugs.contains(&dir.slug)).cloned().collect();
                self.effects.emit(Purpose::Metadata, |tag| Effect::ReadFeatures { tag, features });
            }
        }
    }

    pub(super) fn metadata_read(&self) -> MetadataRead {
        if self.effects.has(|purpose| *purpose == Purpose::Metadata) {
            return MetadataRead::InFlight;
        }
        self.refresh.due().map_or(MetadataRead::NotDue, MetadataRead::DueAt)
    }

    fn on_metadata(
        &mut self,
        result: Result<Box<Metadata>, MetadataError>,
        cost: Duration,
        now: Tick,
    ) {
        let Some(metadata) = self.accept_metadata(result, cost, now) else {
            return;
        };
        let Metadata { info, features, gone, orphans, skipped, hidden, unselected, watched_more } =
            *metadata;
        self.info = info;
        self.skipped = skipped;
        let relists = self.apply_ignore();
        for slug in unselected {
            self.forget_unselected(slug);
        }
        self.suspect_missing_features(&features, now);
        let deadline = now.monotonic + self.settings.times.max_wait;
        for (dir, inputs) in features {
            let slug = dir.slug.clone();
            let relist = self.refresh.relist.remove(&slug) || hidden.contains(&slug) || relists;
            let Some(feature) = self.features.activate(&slug) else {
                let stored = StoredFeature::default();
                self.add_feature(dir, inputs, stored, None, RescanMode::REWATCH, now);
                continue;
            };
            feature.release_feature_deletion();
            if !feature.is_gone() && feature.dir == dir {
                let selects_others = feature.apply_inputs(inputs, &self.settings.ignore, now);
                if relist || selects_others || feature.is_unreadable() {
                    self.list(&slug, None, RescanMode::REWATCH);
                }
                continue;
            }
            // It was restored, or its directory is another one.
            self.features.relocate(&dir, &self.mounts);
            if let Some(feature) = self.features.activate(&slug) {
                feature.on_returned(deadline);
                feature.apply_inputs(inputs, &self.settings.ignore, now);
            }
            self.list(&slug, None, RescanMode::REWATCH);
        }
        self.expire_deleted(gone, now);
        self.add_orphans(orphans, now);
        if watched_more {
            self.refresh.read_at(now.monotonic);
        }
    }

    /// Returns metadata that could be read.
    fn accept_metadata<T>(
        &mut self,
        result: Result<T, MetadataError>,
        cost: Duration,
        now: Tick,
    ) -> Option<T> {
        self.published.changed = true;
        self.refresh.on_read(cost, now.monotonic, result.is_ok());
        match result {
            Ok(metadata) => {
                self.mount_checks.note_metadata(self.effects.newest_id());
                return Some(metadata);
            }
            Err(MetadataError::OutOfResources) => {
                self.set_out_of_resources(true);
                self.refresh.read_after_failure(now.monotonic);
            }
            Err(MetadataError::Root(status)) => {
                let loss = self.root.find_loss(&status);
                let loss = loss.unwrap_or_else(|| RootLoss::unavailable("it cannot be read"));
                self.lose_root(loss, now);
            }
        }
        None
    }

    fn on_features_read(
        &mut self,
        result: Result<Box<FeaturesMetadata>, MetadataError>,
        cost: Duration,
        now: Tick,
    ) {
        let Some(metadata) = self.accept_metadata(result, cost, now) else {
            return;
        };
        let FeaturesMetadata { info, features } = *metadata;
        self.info = info;
        for (dir, inputs) in features {
            let feature = self.features.activate(&dir.slug);
            if let Some(feature) = feature.filter(|one| !one.is_gone() && one.dir == dir)
                && feature.apply_inputs(inputs, &self.settings.ignore, now)
            {
                self.list(&dir.slug, None, RescanMode::POLL);
            }
        }
    }

    /// Applies the `ignore` patterns of the project's own configuration. Returns true if they changed.
    fn apply_ignore(&mut self) -> bool {
        let changed = self.info.ignore != self.settings.ignore_patterns;
        if changed {
            self.settings = Arc::new(self.settings.with_ignore(&self.info.ignore));
        }
        changed
    }

    /// Forgets a feature whose directory is none of a feature any more, or has another slug: nothing
    /// was deleted.
    fn forget_unselected(&mut self, slug: FeatureSlug) {
        self.refresh.missing.remove(&slug);
        self.refresh.archive_searches.remove(&slug);
        self.refresh.confirmed.remove(&slug);
        self.refresh.relist.remove(&slug);
        self.refresh.failed_listings.remove(&slug);
        self.features.remove(&slug);
        self.published.forgotten.push(slug);
        self.published.changed = true;
    }

    /// Suspects features that were not found; as with a file, one may return in a moment.
    fn suspect_missing_features(&mut self, found: &[(FeatureDir, FeatureInputs)], now: Tick) {
        let is_found =
            |slug: &FeatureSlug| found.binary_search_by(|(dir, _)| dir.slug.cmp(slug)).is_ok();
        let is_expected = |feature: &&FeatureState| !feature.is_gone() && !feature.is_hidden();
        let known = self.features.iter().filter(is_expected);
        let missing: Vec<FeatureSlug> = known
            .map(|feature| &feature.dir.slug)
            .filter(|slug| !is_found(slug))
            .cloned()
            .collect();
        // What is in a feature that was missing is not known.
        let returned = self.refresh.missing.extract_if(.., |slug, _| !missing.contains(slug));
        self.refresh.relist.extend(returned.map(|(slug, _)| slug));
        let is_found = |slug: &FeatureSlug, _: &mut EffectId| !missing.contains(slug);
        for (slug, _) in self.refresh.confirmed.extract_if(.., is_found) {
            if let Some(feature) = self.features.activate(&slug) {
                feature.end_examination();
            }
        }
        for slug in missing {
            let since = *self.refresh.missing.entry(slug.clone()).or_insert(now.monotonic);
            let due = since + self.settings.times.deletion_grace;
            if due > now.monotonic {
                self.refresh.read_at(due);
            } else {
                self.check_feature_dir(&slug);
            }
        }
    }

    fn check_feature_dir(&mut self, slug: &FeatureSlug) {
        let wanted = Purpose::FeatureDir { slug: slug.clone() };
        let is_confirmed = self.refresh.confirmed.contains_key(slug);
        if is_confirmed || self.effects.has(|purpose| *purpose == wanted) {
            return;
        }
        if let Some(feature) = self.features.activate(slug) {
            feature.begin_examination();
            let feature = feature.dir.clone();
            self.effects.emit(wanted, |tag| Effect::CheckFeatureDir { tag, feature });
        }
    }

    fn on_feature_dir_checked(&mut self, slug: &FeatureSlug, state: DirState, now: Tick) {
        if state == DirState::Missing {
            self.refresh.confirmed.insert(slug.clone(), self.effects.newest_id());
            return self.probe_root();
        }
        self.refresh.missing.remove(slug);
        self.refresh.relist.insert(slug.clone());
        if let Some(feature) = self.features.activate(slug) {
            feature.end_examination();
        }
        if state == DirState::Unknown {
            self.refresh.read_after_failure(now.monotonic);
        } else {
            self.refresh_soon(now);
        }
    }

    /// Removes all files of a feature whose directory was deleted, in one set of deletions.
    fn delete_feature(&mut self, slug: &FeatureSlug, now: Tick) {
        self.refresh.missing.remove(slug);
        self.refresh.archive_searches.remove(slug);
        if let Some(feature) = self.features.activate(slug) {
            feature.on_deleted(now);
            self.refresh.expire_at = Some(now.monotonic);
        }
    }

    /// Forgets deleted features: those whose baseline was cleared, and those without one after a
    /// day.
    fn expire_deleted(&mut self, mut inputs: BTreeMap<FeatureSlug, FeatureInputs>, now: Tick) {
        let gone = self.features.iter().filter(|feature| feature.is_gone());
        let slugs: Vec<FeatureSlug> = gone.map(|feature| feature.dir.slug.clone()).collect();
        for slug in slugs {
            let Some(feature) = self.features.activate(&slug) else {
                continue;
            };
            let had_baseline = feature.has_baseline();
            let ignore = &self.settings.ignore;
            let read = inputs.remove(&slug).map(|inputs| feature.apply_inputs(inputs, ignore, now));
            let left = DELETED_FEATURE_RETENTION.saturating_sub(age(feature.gone_since(), now));
            if feature.has_baseline() {
                continue;
            }
            let expired = read.is_some() && (had_baseline || left.is_zero());
            if expired && feature.is_committed() {
                self.features.remove(&slug);
                self.refresh.relist.remove(&slug);
                self.refresh.failed_listings.remove(&slug);
                self.published.forgotten.push(slug);
                self.published.changed = true;
            } else {
                let pause = if expired || read.is_none() { EXPIRY_INTERVAL } else { left };
                let due = now.monotonic + pause.max(EXPIRY_INTERVAL);
                let expire_at = &mut self.refresh.expire_at;
                *expire_at = Some(expire_at.map_or(due, |other| other.min(due)));
            }
        }
    }

    // --- The root and git ---

    /// Has the root and git's lock probed, by an effect that begins from now on.
    pub(in crate::engine) fn probe_root(&mut self) {
        if self.root.is_away() {
            return;
        }
        if self.is_starting() || self.effects.has(|purpose| *purpose == Purpose::RootProbe) {
            self.probe_requested = true;
        } else {
            self.effects.emit(Purpose::RootProbe, |tag| Effect::ProbeRoot { tag });
        }
    }

    fn waits_for_git(&self) -> bool {
        self.features.active().any(|feature| feature.git.until.is_some())
    }

    fn probe_root_if_needed(&mut self, now: Tick) {
        self.git.advance(now.monotonic, self.effects.newest_id());
        // The result of a probe alone does not require another one.
        let is_over = self.git.until().is_some_and(|until| until <= now.monotonic);
        let is_due = self.changed_since_probe || is_over && self.waits_for_git();
        let needed = self.git.is_held()
            || self.moved_at.is_some()
            || !self.refresh.missing.is_empty()
            || self.features.active().any(FeatureState::needs_git_state);
        if is_due && needed && !self.effects.has(|purpose| *purpose == Purpose::RootProbe) {
            self.changed_since_probe = false;
            self.probe_root();
        }
    }

    /// Looks for git's lock before what was committed is evaluated.
    pub(in crate::engine) fn prepare_evaluations(&mut self) {
        let probe = self.effects.find(|purpose| *purpose == Purpose::RootProbe);
        let unchecked = self.features.active().filter_map(|one| one.git.unchecked_since).max();
        // A probe that began after the commit is enough.
        if unchecked.is_some_and(|since| probe.is_none_or(|probe| probe <= since)) {
            self.probe_root();
        }
    }

    fn on_root_probed(
        &mut self,
        probe: EffectId,
        root: &RootStatus,
        git_lock: Option<GitLock>,
        mounts: Option<Mounts>,
        now: Tick,
    ) {
        if let Some(starting) = &mut self.starting {
            starting.unanswered_since = None;
            return;
        }
        if let Some(loss) = self.root.find_loss(root) {
            return self.lose_root(loss, now);
        }
        // What is mounted is taken for the same, as long as it cannot be found out.
        let is_known = mounts.is_some();
        let mounts = mounts.unwrap_or_else(|| self.mounts.clone());
        let moved_at = self.moved_at.filter(|at| *at < probe);
        if mounts != self.mounts || moved_at.is_some() {
            self.on_mounts_changed(mounts, now);
        } else if is_known {
            self.mount_checks.on_same_mounts(probe);
        }
        if moved_at.is_some_and(|at| !self.effects.is_any_in_flight_until(at)) {
            self.moved_at = None;
        }
        // What git did is not known before it is checked.
        let busy = self.features.active().any(FeatureState::is_being_checked);
        let timeout = self.settings.times.git_lock_timeout;
        self.git.observe(probe, git_lock, busy, timeout, now.monotonic);
        let hold = self.git.active(now.monotonic);
        let mut is_released = false;
        self.features.for_each_active(|_, feature| {
            feature.set_git_hold(hold, now.monotonic);
            feature.on_root_probed(probe, now);
            is_released |= hold.is_none() && feature.release_feature_deletion();
        });
        if is_released {
            self.refresh.read_at(now.monotonic);
        }
        let decided = self.refresh.confirmed.extract_if(.., |_, newest| *newest < probe);
        let decided: Vec<FeatureSlug> = decided.map(|(slug, _)| slug).collect();
        for slug in decided {
            let Some(feature) = self.features.activate(&slug) else {
                continue;
            };
            feature.end_examination();
            if let Some(why) = feature.why_hidden() {
                feature.on_hidden(why);
                self.refresh.missing.remove(&slug);
                continue;
            }
            if hold.is_some() {
                feature.hold_feature_deletion();
                continue;
            }
            self.delete_or_archive(slug, now);
        }
        self.probe_again_if_requested();
    }

    /// Removes a feature whose directory is missing, unless it was moved to an archive.
    fn delete_or_archive(&mut self, slug: FeatureSlug, now: Tick) {
        let missing_since = self.refresh.missing.get(&slug).copied().unwrap_or(now.monotonic);
        let waits = now.monotonic < missing_since + ARCHIVE_TIMEOUT;
        match self.features.find_archive(&slug, missing_since, waits) {
            ArchiveSearch::Pending => self.refresh.search_archive_later(&slug, now.monotonic),
            ArchiveSearch::NotFound => self.delete_feature(&slug, now),
            ArchiveSearch::Found(archived) => {
                // Nothing was deleted: it is the archived feature now.
                self.forget_unselected(slug.clone());
                if let Some(feature) = self.features.activate(&archived) {
                    feature.set_previous_slug(slug);
                }
                // Its baseline is that of its former name.
                self.refresh.read_feature_soon(archived, now.monotonic);
            }
        }
    }

    /// Probes the root because something was mounted, or a directory above the root was moved.
    fn on_mounts_hint(&mut self) {
        self.moved_at = Some(self.effects.newest_id());
        self.probe_root();
    }

    /// Records that something was mounted or unmounted since the last probe. What earlier effects found
    /// missing may have been hidden, so it is examined again.
    fn on_mounts_changed(&mut self, mounts: Mounts, now: Tick) {
        let points: Vec<RelPath> = self.mounts.differences(&mounts).cloned().collect();
        let points: Vec<RelPath> =
            points.into_iter().filter(|point| self.is_concerned_by(point)).collect();
        self.mounts = mounts;
        let newest = self.effects.newest_id();
        let mut again = Vec::new();
        self.features.for_each_active(|slug, feature| {
            let missing = feature.on_other_mounts(newest).into_iter();
            again.extend(missing.map(|path| (slug.clone(), path)));
        });
        for (slug, path) in again {
            self.check(&slug, &path, CheckKind::Check, now);
        }
        for slug in std::mem::take(&mut self.refresh.confirmed).into_keys() {
            if let Some(feature) = self.features.activate(&slug) {
                feature.end_examination();
            }
            self.check_feature_dir(&slug);
        }
        if points.is_empty() {
            return self.mount_checks.on_other_mounts(now.monotonic);
        }
        self.published.changed = true;
        let dirs = self.features.iter().map(|feature| feature.dir.clone());
        let is_concerned =
            |dir: &FeatureDir| points.iter().any(|point| is_around(point, dir.path.as_ref()));
        let concerned: Vec<FeatureDir> = dirs.filter(is_concerned).collect();
        for dir in concerned {
            let polled = self.is_polled(&dir);
            if let Some(feature) = self.features.activate(&dir.slug) {
                feature.set_mounts(&self.mounts, &points, newest);
                feature.set_polled(polled);
            }
        }
        // The watches are of what was seen before, and everything is compared.
        self.mount_checks.on_all_compared();
        self.replace_watcher(now);
    }

    /// Returns true if features or metadata are, or could be, at a mount point or below it.
    fn is_concerned_by(&self, point: &RelPath) -> bool {
        !self.features.containing(point).is_empty()
            || !self.features.at_or_below(point).is_empty()
            || self.could_contain_feature(point)
            || self.metadata_kind(point).is_some()
    }

    fn probe_again_if_requested(&mut self) {
        if std::mem::take(&mut self.probe_requested) {
            self.probe_root();
        }
    }

    /// Records that the root cannot be read: what was under way is worthless.
    fn lose_root(&mut self, mut loss: RootLoss, now: Tick) {
        let root = escape_bytes(self.settings.root.as_os_str().as_bytes()).into_owned();
        loss.error = format!("cannot read {root}: {}", loss.error);
        let is_unresponsive = loss.kind == LossKind::Unresponsive;
        self.effects.start_epoch();
        self.effects.report(Report::RootLost { error: loss.error.clone() });
        self.effects.emit_untracked(Effect::LeaveRoot);
        self.root.on_lost(loss, now.monotonic);
        self.refresh = Refresh::default();
        self.probe_requested = false;
        self.scrub.abandon();
        self.poll = PollSchedule::default();
        self.mount_checks = MountChecks::default();
        self.moved_at = None;
        self.published.changed = true;
        let slugs: Vec<FeatureSlug> = self.features.slugs().cloned().collect();
        for slug in slugs {
            if let Some(feature) = self.features.activate(&slug) {
                let why = "the project's root cannot be read".to_owned();
                feature.on_unreadable(if is_unresponsive {
                    UnknownReason::Unresponsive(why)
                } else {
                    UnknownReason::Unreadable(why)
                });
            }
        }
    }

    // --- Watches ---

    fn on_watches(&mut self, report: WatchReport, now: Tick) {
        let unresponsive = report.unresponsive && !self.health.report().unresponsive;
        let refused_before = self.health.report().refused.clone();
        if !self.health.on_report(report) {
            return;
        }
        self.published.changed = true;
        if unresponsive && !self.health.has_lost_events() {
            self.effects.report(Report::WatcherUnresponsive);
            self.drop_watcher();
        }
        let changes_refused = self.health.report().refused != refused_before;
        self.follow_retried_watches(now);
        if changes_refused {
            let features = self.features.iter();
            let changed: Vec<(FeatureSlug, bool)> = features
                .filter(|feature| self.is_polled(&feature.dir) != feature.visibility.polled)
                .map(|feature| (feature.dir.slug.clone(), !feature.visibility.polled))
                .collect();
            for (slug, polled) in changed {
                if let Some(feature) = self.features.activate(&slug) {
                    feature.set_polled(polled);
                }
            }
        }
    }

    /// Lists what is watched now that was refused before: watched first, then listed. Also where
    /// nothing was at a path when it was requested again.
    fn follow_retried_watches(&mut self, now: Tick) {
        let is_in_flight = self.effects.has(|purpose| *purpose == Purpose::RetryWatches);
        let Some(before) = self.health.take_retry_outcome(is_in_flight) else {
            return;
        };
        let WatchReport { watched, total, .. } = *self.health.report();
        if watched > before.watched {
            self.effects.report(Report::WatchesRecovered { watched, total });
        }
        self.rescan(RescanMode::POLL, now);
    }

    fn drop_watcher(&mut self) {
        if !self.effects.has(|purpose| *purpose == Purpose::DropWatcher) {
            self.effects.emit(Purpose::DropWatcher, |tag| Effect::DropWatcher { tag });
        }
    }

    fn maintain_watches(&mut self, now: Tick) {
        if self.is_compared(None) && self.health.on_compared() {
            self.published.changed = true;
        }
        let sampling = self.effects.has(|purpose| *purpose == Purpose::RemovalSample);
        if !sampling {
            match self.health.rescan_step(now.monotonic) {
                RescanStep::Nothing => {}
                RescanStep::Sample(dirs) => {
                    let sample = |tag| Effect::SampleRemoval { tag, dirs };
                    self.effects.emit(Purpose::RemovalSample, sample);
                }
                RescanStep::Rescan { rescans } => {
                    self.effects.report(Report::Rescanning { rescans });
                    self.replace_watcher(now);
                }
            }
        }
        let probing = self.effects.has(|purpose| *purpose == Purpose::EventProbe);
        if self.health.needs_probe() && !probing {
            self.touch_event_probe();
        }
        if self.health.give_up_probe(now.monotonic) {
            self.effects.report(Report::NoEvents);
            self.published.changed = true;
        }
        let is_retrying = self.effects.has(|purpose| {
            matches!(purpose, Purpose::RetryWatches | Purpose::ReplaceWatcher | Purpose::EventProbe)
        });
        match self.health.retry_step(is_retrying, now.monotonic) {
            RetryStep::Nothing => return,
            RetryStep::TouchProbe => self.touch_event_probe(),
            RetryStep::ReplaceWatcher => self.replace_watcher(now),
            RetryStep::RetryWatches => {
                self.effects.emit(Purpose::RetryWatches, |tag| Effect::RetryWatches { tag });
            }
        }
        self.published.changed = true;
    }

    fn touch_event_probe(&mut self) {
        self.health.on_probe_started();
        self.effects.emit(Purpose::EventProbe, |tag| Effect::TouchEventProbe { tag });
    }

    /// Watches everything with a new watcher and compares everything with the disk.
    fn replace_watcher(&mut self, now: Tick) {
        self.effects.emit(Purpose::ReplaceWatcher, |tag| Effect::ReplaceWatcher { tag });
        self.rescan(RescanMode::REWATCH, now);
    }

    // --- Polling ---

    pub(super) fn polls_all(&self) -> Option<String> {
        self.health.polls_all(self.info.remote)
    }

    fn is_polled(&self, dir: &FeatureDir) -> bool {
        let mut remote = self.remote_mounts();
        if remote.any(|point| is_around(point, dir.path.as_ref())) {
            return true;
        }
        let path = self.feature_path(dir);
        let refused = &self.health.report().refused;
        // They are sorted and none is below another, so only two can be above or below the path.
        let next = refused.partition_point(|refused| *refused < path);
        let is_above = |index: usize| refused.get(index).is_some_and(|one| path.starts_with(one));
        let is_below = refused.get(next).is_some_and(|refused| refused.starts_with(&path));
        is_below || next.checked_sub(1).is_some_and(is_above)
    }

    /// Returns the mount points of file systems whose files can change without an event.
    pub(super) fn remote_mounts(&self) -> impl Iterator<Item = &RelPath> {
        let remote = self.mounts.points.iter().filter(|(_, mount)| mount.remote.is_some());
        remote.map(|(point, _)| point).filter(|point| self.is_concerned_by(point))
    }

    /// Returns the directories that are not watched, or whose watches need not report every change.
    fn silent_dirs(&self) -> Vec<PathBuf> {
        let refused = self.health.report().refused.iter().cloned();
        refused.chain(self.remote_mounts().map(|point| self.absolute(point))).collect()
    }

    fn poll_if_due(&mut self, now: Tick) {
        let is_poll =
            |purpose: &Purpose| matches!(purpose, Purpose::List { mode: RescanMode::POLL, .. });
        if self.poll.is_running() && !self.effects.has(is_poll) {
            self.poll.finish(now.monotonic);
        }
        let all = self.polls_all().is_some();
        let refused = !self.silent_dirs().is_empty();
        let needed = all || refused || !self.refresh.over_limit.is_empty();
        let busy = needed && !self.is_compared(None);
        if !self.poll.start_if_due(needed, busy, now.monotonic) {
            return;
        }
        if all {
            return self.rescan(RescanMode::POLL, now);
        }
        self.poll_refused(now);
        for slug in std::mem::take(&mut self.refresh.over_limit) {
            self.list(&slug, None, RescanMode::POLL);
        }
    }

    /// Lists the directories that are not watched.
    fn poll_refused(&mut self, now: Tick) {
        let mut listings: Vec<(FeatureSlug, Option<RelPath>)> = Vec::new();
        for refused in self.silent_dirs() {
            let Some(relative) = self.relative(&refused) else {
                // The root itself, or a directory of metadata that is not below it.
                self.refresh.read_at(now.monotonic);
                if refused == self.settings.root {
                    listings.extend(self.features.slugs().map(|slug| (slug.clone(), None)));
                }
                continue;
            };
            let containing = self.features.containing(&relative);
            if containing.is_empty() || self.settings.patterns.could_contain_feature(&relative) {
                // It contains metadata, or features.
                self.refresh.read_at(now.monotonic);
            }
            listings.extend(containing.into_iter().filter(|(_, below)| below.is_some()));
            let below = self.features.at_or_below(&relative).into_iter();
            listings.extend(below.map(|slug| (slug, None)));
        }
        for (slug, dir) in listings {
            self.list(&slug, dir, RescanMode::POLL);
        }
    }

    // --- Scrub ---

    fn scrub_if_due(&mut self, now: Tick) {
        let features = &self.features;
        let files = || features.iter().map(|feature| feature.inventory().entries().len()).sum();
        let count = self.scrub.start_if_due(files, now.monotonic);
        for _ in 0..count {
            let next = self.features.file_after(self.scrub.position());
            let Some((slug, path)) = next.or_else(|| self.features.file_after(None)) else {
                break;
            };
            self.scrub.advance_to((slug.clone(), path.clone()));
            let Some(feature) = self.features.get(&slug) else {
                break;
            };
            let (tag, feature) = (self.effects.next_tag(), feature.dir.clone());
            let (expected, verify_only) = (None, true);
            let check = Effect::CheckFile { tag, feature, path, expected, verify_only };
            self.effects.emit_untracked(check);
        }
    }

    fn on_file_verified(
        &mut self,
        tag: EffectTag,
        slug: &FeatureSlug,
        path: &RelPath,
        state: PathState,
        now: Tick,
    ) {
        if !self.effects.is_current(tag) {
            return;
        }
        self.scrub.finish_one();
        let was_active = self.features.is_active(slug);
        let known = self.features.get(slug).and_then(|known| known.inventory().entries().get(path));
        let same = known.is_some_and(
            |known| matches!(&state, PathState::Read(seen) if seen.state == known.artifact.state),
        );
        if known.is_none() || same && !was_active {
            return;
        }
        let Some(feature) = self.features.activate(slug) else {
            return;
        };
        if feature.on_verified(path, state, now) {
            self.scrub.on_detected();
            self.published.changed = true;
            let (feature, path) = (slug.clone(), path.clone());
            self.effects.report(Report::UndetectedChange { feature, path });
        }
    }

    // --- Timeouts ---

    /// Returns true if an effect of the present epoch has not completed.
    pub(in crate::engine) fn is_under_way(&self, id: EffectId) -> bool {
        self.effects.is_in_flight(id)
            || self.features.active().any(|feature| feature.work.path_of_check(id).is_some())
    }

    /// Records that the file system does not respond: what is under way will not complete.
    fn on_unresponsive(&mut self, now: Tick) {
        if self.is_starting() {
            self.effects.start_epoch();
            self.show_stored();
        } else if self.root.is_away() {
            self.effects.start_epoch();
            self.effects.emit_untracked(Effect::LeaveRoot);
            self.root.on_search_timed_out(now.monotonic);
            self.published.changed = true;
        } else {
            self.lose_root(RootLoss::unresponsive(), now);
        }
    }

    // --- Quiescence ---

    /// Returns true if nothing is under way or due for a feature, or for all; lost events, and what
    /// waits while git has its lock, are left out.
    pub(in crate::engine) fn is_compared(&self, slug: Option<&FeatureSlug>) -> bool {
        self.is_reconciled(slug, FeatureState::is_settled)
    }

    fn is_reconciled(
        &self,
        slug: Option<&FeatureSlug>,
        is_done: impl Fn(&FeatureState) -> bool,
    ) -> bool {
        let selected = |other: &FeatureSlug| slug.is_none_or(|slug| slug == other);
        let blocks = |purpose: &Purpose| match purpose {
            Purpose::List { slug, .. } | Purpose::FeatureDir { slug } => selected(slug),
            Purpose::InitialScan
            | Purpose::Inspect { .. }
            | Purpose::Metadata
            | Purpose::DossierDir
            | Purpose::RootProbe
            | Purpose::ReplaceWatcher
            | Purpose::DropWatcher
            | Purpose::RetryWatches => true,
            Purpose::RootSearch | Purpose::RemovalSample | Purpose::EventProbe => false,
        };
        self.starting.is_none()
            && self.refresh.due().is_none()
            && !self.mount_checks.is_waiting(slug)
            && !self.effects.has(blocks)
            && self.features.active().filter(|feature| selected(&feature.dir.slug)).all(|feature| {
                is_done(feature) && (self.git.is_locked() || !feature.waits_for_git())
            })
    }

    /// Returns how far a sync request for a feature, or for all, is. While the store cannot be written,
    /// it is enough that changes are seen.
    pub(in crate::engine) fn sync_progress(
        &self,
        slug: Option<&FeatureSlug>,
        Awaited { goal, since }: Awaited,
        store_works: bool,
    ) -> SyncProgress {
        if self.is_root_away() {
            return SyncProgress::RootAway;
        }
        let is_reached = if store_works {
            self.is_reconciled(slug, |feature| feature.is_settled_since(since))
        } else {
            self.is_reconciled(slug, |feature| feature.is_examined_since(since))
        };
        let is_lost = goal == SyncGoal::Quiescent && store_works && self.health.has_lost_events();
        let is_reached = is_reached && !is_lost;
        if is_reached { SyncProgress::Reached } else { SyncProgress::Pending }
    }

    /// Returns the newest effect so far.
    pub(in crate::engine) fn newest_effect(&self) -> EffectId {
        self.effects.newest_id()
    }

    /// Returns true if all changes before are seen and committed, of a feature or of all.
    pub(in crate::engine) fn is_quiescent(&self, slug: Option<&FeatureSlug>) -> bool {
        !self.health.has_lost_events() && self.is_compared(slug)
    }

    /// Returns true if nothing at all is left to do.
    pub(in crate::engine) fn is_at_rest(&self) -> bool {
        self.is_quiescent(None) && self.features.active().all(FeatureState::is_at_rest)
    }

    // --- Paths ---

    /// Returns true if a directory at a path is a feature or can contain one.
    fn could_contain_feature(&self, path: &RelPath) -> bool {
        let (settings, info) = (&self.settings, &self.info);
        settings.patterns.could_contain_feature(path) || info.patterns.could_contain_feature(path)
    }

    /// Returns the part of an absolute path below the root.
    fn relative(&self, path: &Path) -> Option<RelPath> {
        let below = path.strip_prefix(&self.settings.root).ok()?;
        RelPath::new(below.as_os_str().as_bytes()).ok()
    }

    fn absolute(&self, path: &RelPath) -> PathBuf {
        self.settings.root.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
    }

    fn feature_path(&self, dir: &FeatureDir) -> PathBuf {
        dir.path.as_ref().map_or_else(|| self.settings.root.clone(), |path| self.absolute(path))
    }

    /// Returns what metadata a path outside of the features may hold.
    fn metadata_kind(&self, path: &RelPath) -> Option<MetadataKind> {
        let outside = || {
            let mut files = self.info.outside_files.iter();
            files.find_map(|file| {
                let is_file = (file == path).then_some(MetadataKind::File);
                is_file.or_else(|| file.is_below(path).then_some(MetadataKind::Dir))
            })
        };
        let of_layouts = || {
            let paths = &self.info.layout_paths;
            let file = paths.has_file(path).then_some(MetadataKind::File);
            file.or_else(|| paths.has_dir(path).then_some(MetadataKind::Dir))
        };
        MetadataKind::of(path).or_else(outside).or_else(of_layouts)
    }
}

/// Returns the directory of a stored feature, or one derived from its slug if none is stored.
fn stored_dir(slug: &FeatureSlug, stored: &StoredFeature) -> FeatureDir {
    let path = || RelPath::new(slug.as_str().as_bytes()).ok();
    stored.dir.clone().unwrap_or_else(|| FeatureDir::new(slug.clone(), path()))
}

/// Returns how long ago something was by the wall clock; zero if the clock was set back.
fn age(since: Option<Timestamp>, now: Tick) -> Duration {
    let passed = since.map_or(0, |since| now.wall.as_millis() - since.as_millis());
    Duration::from_millis(u64::try_from(passed).unwrap_or_default())
}

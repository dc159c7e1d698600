//! What must be true of every history. Each check compares what the engine did with what happened on
//! the modelled disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::disk::{Disk, Missing, Node};
use super::history::{At, root, slug};
use super::io::{Seen, feature_inputs, present, text};
use super::store::Store;
use crate::core::artifact::{
    Absence, ArtifactRef, ArtifactState, ErrorReason, Observation, RequiredStatus,
};
use crate::core::digest::Digest;
use crate::core::event::{ArtifactIndexed, ArtifactMissing, Payload};
use crate::core::feature::FeatureWatchState;
use crate::core::inventory::{Inventory, InventoryEntry};
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::sorted_chunks::SortedChunks;
use crate::core::time::Timestamp;
use crate::engine::read_model::{FeatureView, WatchState};
use crate::engine::reconcile::effect::{Effect, EffectId};
use crate::engine::reconcile::project::ProjectState;
use crate::engine::reconcile::project_view::ProjectSummary;
use crate::engine::reconcile::sync::SyncId;

/// Debounce times of the simulated projects.
const QUIET_PERIOD: Duration = Duration::from_millis(50);
const MAX_WAIT: Duration = Duration::from_millis(500);
const GIT_TIMEOUT: Duration = Duration::from_secs(2);
/// An older lock of git is ignored.
const MAX_LOCK_AGE: Duration = Duration::from_secs(10);
/// Checks of one path, or listings of one directory, that a quiet project may cause.
const MAX_QUIET_EXAMINATIONS: usize = 2;

/// A path below a feature.
type FeaturePath = (FeatureSlug, RelPath);

/// Why a history is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation(pub(super) String);

impl Violation {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// The state of a path as readers see it: a hash, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Truth {
    Present(Digest),
    Absent(ErrorReason),
}

type Truths = BTreeMap<RelPath, Truth>;

/// What a `sync=true` request may be answered with: the disk at the request and after it.
pub(super) struct SyncWindow {
    pub(super) id: SyncId,
    pub(super) project: usize,
    disks: Vec<BTreeMap<FeatureSlug, Truths>>,
    /// Git had a lock meanwhile, or the clock was set, so that a deletion may wait.
    is_exempt: bool,
}

/// What was observed and announced of one path.
#[derive(Debug, Default)]
struct PathRecord {
    /// What the journal reports.
    announced: Option<Announced>,
    /// The first observation of each content, by its number.
    first_seen: BTreeMap<[u8; 32], u64>,
    /// When each content was last seen.
    last_seen: BTreeMap<[u8; 32], Duration>,
    /// The last observation of something there.
    present_at: u64,
    /// When nothing was seen there, since the last event.
    missing_at: Vec<u64>,
    /// The last time that a directory was seen there: no file can be.
    directory_at: Option<u64>,
    /// Position of the observation that the last event is based on.
    announced_at: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Announced {
    /// The payload, without its kind of change.
    Indexed(String),
    Missing(ErrorReason, Option<String>),
}

/// Writes to a file that is not closed, as far as they raised an event.
#[derive(Debug, Default)]
struct WriteBurst {
    writes: Vec<Duration>,
}

/// Files that a mount hid for a while.
#[derive(Debug)]
struct Hidden {
    /// The last observations before it, and of its time.
    since: u64,
    until: Option<u64>,
    paths: BTreeSet<FeaturePath>,
}

impl Hidden {
    /// Returns true if it hid a path at an observation.
    fn hides(&self, path: &FeaturePath, at: u64) -> bool {
        at > self.since && self.until.is_none_or(|until| at <= until) && self.paths.contains(path)
    }
}

/// What is known of a project.
#[derive(Debug, Default)]
struct ProjectRecord {
    paths: BTreeMap<FeaturePath, PathRecord>,
    feature_missing_at: BTreeMap<FeatureSlug, Vec<u64>>,
    /// Keys of missing artifacts, and whether the journal reports that they block.
    missing: BTreeMap<(FeatureSlug, String), bool>,
    last_snapshots: BTreeMap<FeatureSlug, String>,
    permitting_probe: Option<u64>,
    git_locked_at: Option<Duration>,
    bursts: BTreeMap<PathBuf, WriteBurst>,
    /// What mounts below the root hid.
    hidden: Vec<Hidden>,
    checks: BTreeMap<FeaturePath, usize>,
    listings: BTreeMap<(FeatureSlug, Option<RelPath>), usize>,
    metadata_reads: usize,
}

/// All checks of one history.
pub(super) struct Checks {
    projects: Vec<ProjectRecord>,
    pub(super) windows: Vec<SyncWindow>,
    pub(super) snapshot_files: BTreeMap<(usize, FeatureSlug), Uuid>,
    /// The rows of each feature that readers may see: the ones that they saw last, and later ones.
    committed: BTreeMap<(usize, FeatureSlug), Vec<SortedChunks<InventoryEntry>>>,
    /// Number of observations so far.
    observations: u64,
    /// Events were held or lost, or effects failed: rules about time hold from then on only.
    disturbed_at: Duration,
}

impl Checks {
    pub(super) fn new(projects: usize) -> Self {
        Self {
            projects: (0..projects).map(|_| ProjectRecord::default()).collect(),
            windows: Vec::new(),
            snapshot_files: BTreeMap::new(),
            committed: BTreeMap::new(),
            observations: 0,
            disturbed_at: Duration::ZERO,
        }
    }

    // --- What happened ---

    pub(super) fn on_restart(&mut self, project: usize, store: &Store, now: Duration) {
        self.disturbed_at = now;
        // Readers begin with what is stored.
        self.committed.retain(|(other, _), _| *other != project);
        for (slug, row) in store.rows(project) {
            self.committed.insert((project, slug), vec![row.entries]);
        }
        self.projects[project].permitting_probe = None;
    }

    pub(super) fn on_disturbed(&mut self, now: Duration) {
        self.disturbed_at = now;
    }

    pub(super) fn on_clock_set(&mut self, now: Duration) {
        self.disturbed_at = now;
        self.windows.iter_mut().for_each(|window| window.is_exempt = true);
    }

    pub(super) fn on_git(&mut self, project: usize, locked: bool, now: Duration) {
        let at = &mut self.projects[project].git_locked_at;
        *at = locked.then(|| at.unwrap_or(now));
        let windows = self.windows.iter_mut().filter(|window| window.project == project);
        windows.for_each(|window| window.is_exempt = true);
    }

    pub(super) fn on_write(&mut self, at: &At, closes: bool, is_watched: bool, now: Duration) {
        let burst = self.projects[at.0].bursts.entry(at.path()).or_default();
        if closes || !is_watched {
            burst.writes.clear();
        }
        if !closes && is_watched {
            burst.writes.push(now);
        }
    }

    /// Forgets bursts: the files are at other paths.
    pub(super) fn on_rename(&mut self, now: Duration) {
        self.disturbed_at = now;
    }

    /// Records what a mount below the root is about to hide.
    pub(super) fn on_mount_below(&mut self, project: usize, dir: &Path, disk: &Disk) {
        let truths = all_truths(disk, project);
        let paths = truths
            .into_iter()
            .flat_map(|(slug, truths)| truths.into_keys().map(move |path| (slug.clone(), path)));
        let is_hidden = |(slug, path): &FeaturePath| {
            feature_dir(project, slug).join(text(path)).starts_with(dir)
        };
        let paths = paths.filter(is_hidden).collect();
        let hidden = Hidden { since: self.observations, until: None, paths };
        self.projects[project].hidden.push(hidden);
    }

    pub(super) fn on_unmount_below(&mut self, project: usize) {
        let hidden = self.projects[project].hidden.iter_mut();
        hidden.for_each(|one| one.until = one.until.or(Some(self.observations)));
    }

    pub(super) fn on_disk_changed(&mut self, disk: &Disk) {
        for window in &mut self.windows {
            // Nothing can be found out about what is hidden.
            let mut hidden = self.projects[window.project].hidden.iter();
            window.is_exempt |= hidden.any(|hidden| hidden.until.is_none());
            window.disks.push(all_truths(disk, window.project));
            // Nothing can be found out about a feature that cannot be read.
            let path = feature_dir(window.project, &slug("a"));
            window.is_exempt |= matches!(disk.list(&path), Err(Missing::Denied(_)));
        }
    }

    pub(super) fn on_effect(&mut self, project: usize, effect: &Effect) {
        let record = &mut self.projects[project];
        match effect {
            Effect::CheckFile { feature, path, .. } => {
                let key = (feature.slug.clone(), path.clone());
                *record.checks.entry(key).or_default() += 1;
            }
            Effect::ListAndWatch { feature, dir, .. } => {
                let key = (feature.slug.clone(), dir.clone());
                *record.listings.entry(key).or_default() += 1;
            }
            Effect::ReadMetadata { .. } | Effect::ReadFeatures { .. } => record.metadata_reads += 1,
            _ => {}
        }
    }

    pub(super) fn on_seen(&mut self, project: usize, seen: Vec<(EffectId, Seen)>, now: Duration) {
        for (_, seen) in seen {
            self.observations += 1;
            let number = self.observations;
            let record = &mut self.projects[project];
            match seen {
                Seen::Missing(slug, path) => {
                    record.paths.entry((slug, path)).or_default().missing_at.push(number);
                }
                Seen::Directory(slug, path) => {
                    record.paths.entry((slug, path)).or_default().directory_at = Some(number);
                }
                Seen::Present(slug, path, state) => {
                    let path = record.paths.entry((slug, path)).or_default();
                    path.present_at = number;
                    if let Some(ArtifactState::Present { hash, .. }) = state {
                        path.first_seen.entry(*hash.as_bytes()).or_insert(number);
                        path.last_seen.insert(*hash.as_bytes(), now);
                    }
                }
                Seen::FeatureMissing(slug) => {
                    record.feature_missing_at.entry(slug).or_default().push(number);
                }
                Seen::Root { present, git_lock } => {
                    let is_held = record.git_locked_at.is_some_and(|at| now < at + GIT_TIMEOUT)
                        && git_lock.is_some_and(|lock| lock.age < MAX_LOCK_AGE);
                    if present && !is_held {
                        record.permitting_probe = Some(number);
                    }
                }
            }
        }
    }

    pub(super) fn on_forgotten(&mut self, project: usize, slug: &FeatureSlug) {
        let record = &mut self.projects[project];
        record.paths.retain(|(other, _), _| other != slug);
        record.missing.retain(|(other, _), _| other != slug);
        record.last_snapshots.remove(slug);
    }

    // --- Events ---

    /// Checks an event that is committed.
    pub(super) fn on_event(
        &mut self,
        project: usize,
        payload: &Payload,
        now: Duration,
    ) -> Result<(), Violation> {
        match payload {
            Payload::ArtifactIndexed(event) => self.on_indexed(project, event),
            Payload::ArtifactMissing(event) => self.on_missing(project, event),
            Payload::SnapshotComputed(event) => {
                let mut same = event.clone();
                same.snapshot_id.clear();
                let text = format!("{same:?}");
                let last = &mut self.projects[project].last_snapshots;
                if last.insert(event.feature_slug.clone(), text.clone()).as_ref() == Some(&text) {
                    return Err(Violation::new(format!("a snapshot is announced twice: {text}")));
                }
                Ok(())
            }
            Payload::ParityDriftDetected(event) => {
                Err(Violation::new(format!("drift without a baseline at {now:?}: {event:?}")))
            }
        }
    }

    fn on_indexed(&mut self, project: usize, event: &ArtifactIndexed) -> Result<(), Violation> {
        let disturbed_at = self.disturbed_at;
        let record = &mut self.projects[project];
        record.missing.remove(&(event.feature_slug.clone(), event.artifact_key.clone()));
        let key = (event.feature_slug.clone(), event.relative_path.clone());
        let full = root(project)
            .join("kitty-specs")
            .join(event.feature_slug.to_string())
            .join(text(&event.relative_path));
        let path = record.paths.entry(key).or_default();
        let same = ArtifactIndexed { previous_artifact_key: None, ..event.clone() };
        let hash = *event.content_hash_sha256.as_bytes();
        let announced =
            Announced::Indexed(format!("{:?}", ArtifactIndexed { change: CHANGE, ..same }));
        let before = path.announced.replace(announced);
        if before == path.announced {
            return Err(Violation::new(format!("an event without a change: {event:?}")));
        }
        let seen = path.first_seen.get(&hash).copied().zip(path.last_seen.get(&hash).copied());
        let Some((number, seen_at)) = seen else {
            return Err(Violation::new(format!("content that was never read: {event:?}")));
        };
        path.announced_at = number;
        path.missing_at.retain(|at| *at > number);
        let was_indexed = matches!(before, Some(Announced::Indexed(_)));
        if let (true, Some(burst)) = (was_indexed, record.bursts.get(&full)) {
            let writes: Vec<Duration> =
                burst.writes.iter().copied().filter(|at| *at < seen_at).collect();
            if let (Some(first), Some(last)) = (writes.first(), writes.last())
                && *first > disturbed_at
                && seen_at < *last + QUIET_PERIOD
                && seen_at < *first + MAX_WAIT
            {
                let text = format!("a file is announced half-written: {event:?}");
                return Err(Violation::new(text));
            }
        }
        Ok(())
    }

    fn on_missing(&mut self, project: usize, event: &ArtifactMissing) -> Result<(), Violation> {
        let record = &mut self.projects[project];
        let key = (event.feature_slug.clone(), event.artifact_key.clone());
        record.missing.insert(key, event.blocking);
        // An absent spec has no path.
        let Some(path) = &event.relative_path else {
            return Ok(());
        };
        let key = (event.feature_slug.clone(), path.clone());
        let of_feature = record.feature_missing_at.get(&event.feature_slug);
        let probe = record.permitting_probe;
        let path = record.paths.entry(key.clone()).or_default();
        let announced = Announced::Missing(event.reason_code, event.reason_detail.clone());
        let before = path.announced.replace(announced);
        // That an unreadable directory can be read again has no event of its own.
        let was_readable =
            event.reason_code == ErrorReason::Unreadable && path.directory_at.is_some();
        if before == path.announced && !was_readable {
            return Err(Violation::new(format!("an event without a change: {event:?}")));
        }
        let is_directory = path.directory_at.is_some_and(|at| at > path.announced_at);
        if event.reason_code == ErrorReason::DeletedAfterScan && !is_directory {
            // Some observation that nothing is there, and a probe after it.
            let missing_at = path.missing_at.iter().chain(of_feature.into_iter().flatten());
            // What is hidden is not missing, unless another file was seen at its path since.
            let is_hidden = |at: u64| {
                let mut hidden = record.hidden.iter().filter(|hidden| hidden.hides(&key, at));
                hidden.any(|hidden| path.present_at <= hidden.since)
            };
            let mut missing_at = missing_at.filter(|at| !is_hidden(**at));
            let is_proven =
                |at: &u64| *at > path.announced_at && probe.is_some_and(|probe| *at < probe);
            if !missing_at.any(is_proven) {
                let text = format!(
                    "a deletion without a check and a probe after it ({:?}, {of_feature:?}, \
                     {probe:?}): {event:?}",
                    path.missing_at
                );
                return Err(Violation::new(text));
            }
        }
        Ok(())
    }

    // --- What readers see ---

    /// Records the rows of a feature after a commit.
    pub(super) fn on_committed(&mut self, project: usize, slug: &FeatureSlug, store: &Store) {
        let entries = store.row(project, slug).map(|row| row.entries.clone());
        let committed = self.committed.entry((project, slug.clone())).or_default();
        committed.push(entries.unwrap_or_default());
    }

    /// Records what readers see while the store fails: they see it until the next commit.
    pub(super) fn on_published_degraded(&mut self, project: usize, features: &[Arc<FeatureView>]) {
        for view in features {
            let committed = self.committed.entry((project, view.slug().clone())).or_default();
            committed.push(view.entries.clone());
        }
    }

    /// Checks that readers see what is committed, and no more, and never go back.
    pub(super) fn check_published(
        &mut self,
        project: usize,
        features: &[Arc<FeatureView>],
    ) -> Result<(), Violation> {
        // Nothing of a feature is committed before its first scan is complete.
        for view in features.iter().filter(|view| view.indexed) {
            let committed = self.committed.entry((project, view.slug().clone())).or_default();
            let published = states(&view.entries);
            let position = committed.iter().rposition(|rows| states(rows) == published);
            match position {
                Some(position) => drop(committed.drain(..position)),
                // Before its first commit a feature is empty.
                None if published.is_empty() => {}
                None => {
                    let (slug, rows) = (view.slug(), committed.last().map(states));
                    let text = format!(
                        "{slug} is published before it is committed: {published:?}, {rows:?}"
                    );
                    return Err(Violation::new(text));
                }
            }
        }
        Ok(())
    }

    /// Checks that nothing is presented as known while the root is away.
    pub(super) fn check_root_away(
        project: usize,
        features: &[Arc<FeatureView>],
    ) -> Result<(), Violation> {
        let is_unknown = |view: &Arc<FeatureView>| {
            matches!(
                view.watch,
                FeatureWatchState::Unreadable
                    | FeatureWatchState::Unresponsive
                    | FeatureWatchState::Gone
            )
        };
        match features.iter().find(|view| !is_unknown(view)) {
            Some(view) => {
                let (slug, watch) = (view.slug(), view.watch);
                let text = format!("{slug} is {watch:?} while root {project} is away");
                Err(Violation::new(text))
            }
            None => Ok(()),
        }
    }

    /// Checks that an answer is not older than its request.
    pub(super) fn check_answer(
        window: &SyncWindow,
        status: &ProjectSummary,
    ) -> Result<(), Violation> {
        if window.is_exempt
            || !matches!(
                status.watch.state,
                WatchState::Live | WatchState::Degraded | WatchState::Polling
            )
        {
            return Ok(());
        }
        let views = by_slug(&status.features);
        let slug = slug("a");
        let Some(view) = views.get(&slug) else {
            return if window.disks.iter().any(|disk| !disk.contains_key(&slug)) {
                Ok(())
            } else {
                Err(Violation::new("an answer without a feature that exists"))
            };
        };
        if matches!(view.watch, FeatureWatchState::Unreadable | FeatureWatchState::Unavailable) {
            return Ok(());
        }
        let published = view_truths(view);
        let nothing = Truths::new();
        let disks: Vec<&Truths> =
            window.disks.iter().map(|disk| disk.get(&slug).unwrap_or(&nothing)).collect();
        let paths: BTreeSet<&RelPath> =
            disks.iter().flat_map(|disk| disk.keys()).chain(published.keys()).collect();
        for path in paths {
            let answer = published.get(path);
            if !disks.iter().any(|disk| disk.get(path) == answer) {
                let text = format!(
                    "an answer is older than its request: {} is {answer:?}, was {:?}",
                    path.text(),
                    disks.iter().map(|disk| disk.get(path)).collect::<Vec<_>>()
                );
                return Err(Violation::new(text));
            }
        }
        Ok(())
    }

    // --- At the end ---

    /// Checks that the state equals a fresh scan, and so does what the journal adds up to.
    pub(super) fn check_final(
        &self,
        index: usize,
        state: &ProjectState,
        status: &ProjectSummary,
        disk: &Disk,
        store: &Store,
    ) -> Result<(), Violation> {
        if is_root_away(status) {
            // An empty directory is taken for the mount point of what is not mounted.
            if disk.list(&root(index)).is_ok_and(|entries| entries.is_empty()) {
                return Ok(());
            }
            return Err(Violation::new(format!("root {index} is still away: {:?}", status.watch)));
        }
        let truths = all_truths(disk, index);
        let views = by_slug(&status.features);
        for (slug, truth) in &truths {
            // What was only on a mount that left stays known.
            if let Some(view) = views.get(slug)
                && view.watch == FeatureWatchState::Unavailable
            {
                check_unavailable(slug, truth, view)?;
                continue;
            }
            let Some(view) = views.get(slug) else {
                return Err(Violation::new(format!(
                    "feature {slug} of project {index} is unknown"
                )));
            };
            self.check_feature(index, slug, truth, view, disk, store)?;
        }
        for (slug, view) in views {
            if !truths.contains_key(slug)
                && view.watch != FeatureWatchState::Unavailable
                && (view.watch != FeatureWatchState::Gone || !view.entries.is_empty())
            {
                let text = format!("feature {slug} of project {index} is shown, but deleted");
                return Err(Violation::new(text));
            }
        }
        for (slug, view) in by_slug(&status.features) {
            let stored = store.row(index, slug).and_then(|row| row.gone_since);
            if view.watch == FeatureWatchState::Gone && stored.is_none() {
                return Err(Violation::new(format!("when {slug} was deleted is not stored")));
            }
        }
        // What is polled is examined every two seconds.
        if status.watch.state == WatchState::Live && !state.is_at_rest() {
            return Err(Violation::new(format!("project {index} does not come to rest")));
        }
        Ok(())
    }

    fn check_feature(
        &self,
        index: usize,
        slug: &FeatureSlug,
        truth: &Truths,
        view: &FeatureView,
        disk: &Disk,
        store: &Store,
    ) -> Result<(), Violation> {
        let path = feature_dir(index, slug);
        if disk.list(&path).is_err() {
            return if view.watch == FeatureWatchState::Unreadable {
                Ok(())
            } else {
                Err(Violation::new(format!("{slug} cannot be read and is {:?}", view.watch)))
            };
        }
        if !view.indexed
            || matches!(view.watch, FeatureWatchState::Gone | FeatureWatchState::Unreadable)
        {
            return Err(Violation::new(format!("{slug} can be read and is {:?}", view.watch)));
        }
        let published = view_truths(view);
        if published != *truth {
            let text = format!("{slug} of project {index} is {published:?}, on disk {truth:?}");
            return Err(Violation::new(text));
        }
        let stored: BTreeMap<RelPath, Truth> = store
            .row(index, slug)
            .into_iter()
            .flat_map(|row| row.entries.iter())
            .map(|entry| (entry.artifact.relative_path.clone(), truth_of(&entry.artifact.state)))
            .collect();
        if stored != *truth {
            let text = format!("rows of {slug} are {stored:?}, on disk {truth:?}");
            return Err(Violation::new(text));
        }
        self.check_folded(index, slug, truth)?;
        self.check_blocking(index, view)?;
        check_evaluation(slug, truth, view, disk, &path)?;
        let file = self.snapshot_files.get(&(index, slug.clone()));
        if file != Some(&view.snapshot_id) {
            return Err(Violation::new(format!("the snapshot file of {slug} is {file:?}")));
        }
        Ok(())
    }

    fn check_folded(
        &self,
        index: usize,
        slug: &FeatureSlug,
        truth: &Truths,
    ) -> Result<(), Violation> {
        let of_feature =
            self.projects[index].paths.iter().filter(|((feature, _), _)| feature == slug);
        for ((_, path), record) in of_feature {
            let is_folded = matches!(record.announced, Some(Announced::Indexed(_)));
            let is_present = matches!(truth.get(path), Some(Truth::Present(_)));
            if is_folded != is_present {
                let text = format!(
                    "the journal reports {:?} of {} in {slug}, on disk {:?}",
                    record.announced,
                    path.text(),
                    truth.get(path)
                );
                return Err(Violation::new(text));
            }
        }
        Ok(())
    }

    /// Checks that the journal reports each absent required spec as blocking.
    fn check_blocking(&self, index: usize, view: &FeatureView) -> Result<(), Violation> {
        let missing = &self.projects[index].missing;
        let is_reported = |spec: &ArtifactRef| {
            let key = (view.slug().clone(), spec.artifact_key.to_string());
            missing.get(&key) == Some(&true)
        };
        let required = view.absent.iter().filter(|spec| is_required(spec));
        match required.map(AsRef::as_ref).find(|spec| !is_reported(spec)) {
            Some(spec) => {
                let (slug, key) = (view.slug(), &spec.artifact_key);
                let text = format!("{key} blocks {slug}, which no event reports: {missing:?}");
                Err(Violation::new(text))
            }
            None => Ok(()),
        }
    }

    pub(super) fn start_quiet_time(&mut self) {
        for project in &mut self.projects {
            project.checks.clear();
            project.listings.clear();
            project.metadata_reads = 0;
        }
    }

    /// Returns the largest number of checks of one path, listings of one directory, or reads of the
    /// metadata of a project, since the quiet time began.
    pub(super) fn max_attempts(&self) -> usize {
        let of_project = |record: &ProjectRecord| {
            let counts = record.checks.values().chain(record.listings.values());
            counts.copied().max().unwrap_or_default().max(record.metadata_reads)
        };
        self.projects.iter().map(of_project).max().unwrap_or_default()
    }

    /// Checks that nothing is examined again and again while nothing changes.
    pub(super) fn check_quiet_time(
        &self,
        index: usize,
        status: &ProjectSummary,
    ) -> Result<(), Violation> {
        // What is polled is examined every two seconds.
        if status.watch.state != WatchState::Live {
            return Ok(());
        }
        let record = &self.projects[index];
        if record.metadata_reads > MAX_QUIET_EXAMINATIONS {
            let count = record.metadata_reads;
            return Err(Violation::new(format!("metadata is read {count} times for nothing")));
        }
        let checks = record.checks.iter().map(|(key, count)| (format!("{key:?}"), *count));
        let listings = record.listings.iter().map(|(key, count)| (format!("{key:?}"), *count));
        for (what, count) in checks.chain(listings) {
            if count > MAX_QUIET_EXAMINATIONS {
                return Err(Violation::new(format!(
                    "{what} is examined {count} times for nothing"
                )));
            }
        }
        Ok(())
    }
}

impl SyncWindow {
    pub(super) fn open(id: SyncId, project: usize, is_git_locked: bool, disk: &Disk) -> Self {
        // Where no events arrive, a cookie proves nothing.
        let is_exempt = disk.silent[project] || is_git_locked;
        Self { id, project, disks: vec![all_truths(disk, project)], is_exempt }
    }
}

/// Checks a feature of which something is hidden: all that is on the disk is shown, and nothing else is
/// present.
fn check_unavailable(
    slug: &FeatureSlug,
    truth: &Truths,
    view: &FeatureView,
) -> Result<(), Violation> {
    let published = view_truths(view);
    if !truth.is_empty() && published == *truth {
        return Err(Violation::new(format!("{slug} is unavailable, but nothing of it is hidden")));
    }
    let is_right = |path: &RelPath| match (published.get(path), truth.get(path)) {
        (Some(Truth::Absent(ErrorReason::Unreadable)), None) => true,
        (shown, on_disk) => shown == on_disk,
    };
    match published.keys().chain(truth.keys()).find(|path| !is_right(path)) {
        None => Ok(()),
        Some(path) => {
            let text =
                format!("{} of {slug}, which is unavailable, is not what it is", path.text());
            Err(Violation::new(text))
        }
    }
}

fn check_evaluation(
    slug: &FeatureSlug,
    truth: &Truths,
    view: &FeatureView,
    disk: &Disk,
    path: &Path,
) -> Result<(), Violation> {
    let Some(evaluation) = &view.evaluation else {
        return Err(Violation::new(format!("{slug} is not evaluated")));
    };
    let observations = truth.iter().map(|(path, truth)| Observation {
        path: path.clone(),
        size_bytes: 0,
        state: match truth {
            Truth::Present(hash) => ArtifactState::Present { hash: *hash, static_hash: None },
            Truth::Absent(reason) => {
                ArtifactState::Absent(Absence { reason: *reason, detail: None })
            }
        },
        wp_id: None,
        signature: None,
        racy: false,
        is_linked: false,
    });
    let inputs = feature_inputs(disk, path, slug);
    let mut fresh =
        Inventory::from_observations(inputs.context, observations.collect(), Timestamp::default());
    let same = fresh.tree_hash() == evaluation.tree_hash_sha256
        && fresh.parity_hash() == evaluation.parity_hash_sha256
        && fresh.completeness() == evaluation.completeness
        && fresh.counts() == evaluation.counts
        && fresh.missing_required() == evaluation.missing_required;
    if same {
        return Ok(());
    }
    let (completeness, counts) = (fresh.completeness(), fresh.counts());
    Err(Violation::new(format!(
        "{slug} is evaluated as {evaluation:?}, a scan gives {completeness:?}, {counts:?}"
    )))
}

fn is_required(artifact: &ArtifactRef) -> bool {
    artifact.required_status == RequiredStatus::Required
}

fn states(entries: &SortedChunks<InventoryEntry>) -> BTreeMap<&RelPath, &ArtifactState> {
    entries.iter().map(|entry| (&entry.artifact.relative_path, &entry.artifact.state)).collect()
}

fn view_truths(view: &FeatureView) -> Truths {
    let entries = view.entries.iter();
    entries
        .map(|entry| (entry.artifact.relative_path.clone(), truth_of(&entry.artifact.state)))
        .collect()
}

fn truth_of(state: &ArtifactState) -> Truth {
    match state {
        ArtifactState::Present { hash, .. } => Truth::Present(*hash),
        ArtifactState::Absent(absence) => Truth::Absent(absence.reason),
    }
}

pub(super) fn is_root_away(status: &ProjectSummary) -> bool {
    matches!(
        status.watch.state,
        WatchState::RootUnavailable | WatchState::Unreadable | WatchState::Unresponsive
    )
}

/// The published features of a project by name.
fn by_slug(features: &[Arc<FeatureView>]) -> BTreeMap<&FeatureSlug, &Arc<FeatureView>> {
    features.iter().map(|view| (view.slug(), view)).collect()
}

fn feature_dir(project: usize, slug: &FeatureSlug) -> PathBuf {
    root(project).join("kitty-specs").join(slug.to_string())
}

/// Scans all features of a project.
fn all_truths(disk: &Disk, project: usize) -> BTreeMap<FeatureSlug, Truths> {
    let found = disk.list(&root(project).join("kitty-specs")).unwrap_or_default();
    let dirs = found.into_iter().filter(|(_, node)| matches!(node, Node::Dir(_)));
    let features = dirs.map(|(name, _)| {
        let slug = slug(&name);
        let mut truths = Truths::new();
        scan(disk, &feature_dir(project, &slug), None, &mut truths);
        (slug, truths)
    });
    features.collect()
}

fn scan(disk: &Disk, base: &Path, dir: Option<&RelPath>, truths: &mut Truths) {
    let path = dir.map_or_else(|| base.to_owned(), |dir| base.join(text(dir)));
    let entries = match disk.list(&path) {
        Ok(entries) => entries,
        Err(Missing::NotFound) => return,
        Err(Missing::Denied(_)) => {
            if let Some(dir) = dir {
                truths.insert(dir.clone(), Truth::Absent(ErrorReason::Unreadable));
            }
            return;
        }
    };
    for (name, node) in entries {
        let child = match dir {
            Some(dir) => dir.join(name.as_bytes()),
            None => RelPath::new(name.as_bytes()),
        };
        let child = child.expect("a valid path");
        match node {
            Node::Dir(_) => scan(disk, base, Some(&child), truths),
            Node::Symlink => {
                truths.insert(child, Truth::Absent(ErrorReason::Unreadable));
            }
            Node::File(file) => {
                truths.insert(child, truth_of(&present(file.token)));
            }
        }
    }
}

/// Replaces the kind of change when payloads are compared.
const CHANGE: crate::core::event::Change = crate::core::event::Change::Added;

//! Refreshes a project's metadata: which features exist, their inputs, and the directories to watch
//! for changes of both. Reading the files is done in `crate::project`, on the engine thread.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::ahead::Ahead;
use super::compare::{RESOURCE_RETRY_INTERVAL, is_at_or_below, is_not_a_directory};
use super::{Counting, LiveProject, Now, Setup};
use crate::core::feature_context::UnknownReason;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::time::Timestamp;
use crate::core::transition::RemovalReason;
use crate::engine::feature::{LiveFeature, Stored};
use crate::engine::pool::Pool;
use crate::project::{FeatureDir, Project, ReadError};
use crate::scan::is_resource_exhausted;
use crate::watch::HintKind;

/// How long a deleted feature without a baseline stays in the status.
const DELETED_FEATURE_RETENTION: Duration = Duration::from_hours(24);
/// Time to the next check whether the deletion of a feature is committed, so that it can be
/// removed.
const EXPIRY_RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl LiveProject {
    /// Returns true if a path outside of the features can change their metadata.
    pub(super) fn is_metadata_path(&self, path: &RelPath) -> bool {
        let first = path.components().next().unwrap_or_default();
        // Files written by dossierd: only baselines are metadata.
        if path.as_bytes().starts_with(b".kittify/dossiers/") {
            return path.file_name() == b"parity-baseline.json" || path.components().count() < 4;
        }
        first == b".kittify"
            || matches!(path.as_bytes(), b".git" | b".git/HEAD")
            || self
                .project
                .run_dirs()
                .any(|run| is_at_or_below(&run, path) || is_at_or_below(path, &run))
    }

    /// Returns true if a hint can add or remove features: it concerns a directory or symbolic link,
    /// now or before, that matches a prefix of a feature pattern. Regular files there are
    /// irrelevant.
    pub(super) fn affects_feature_set(
        &self,
        path: &Path,
        relative: &RelPath,
        what: HintKind,
    ) -> bool {
        let is_file = || path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        self.patterns.could_contain_feature(relative)
            && (self.watching.is_wanted(path)
                || self.skipped.iter().any(|skipped| skipped.name == relative.text())
                || match what {
                    HintKind::DirCreated => true,
                    HintKind::MovedTo | HintKind::Modified => !is_file(),
                    HintKind::CloseWrite | HintKind::Removed => false,
                })
    }

    /// Reads all metadata again and finds features that were added or removed.
    pub(super) fn refresh(&mut self, pool: &Pool, now: Now) {
        self.changed = true;
        if !self.confirm_root(now) {
            return;
        }
        match open(&self.setup) {
            Ok(mut project) => {
                project.inherit_last_valid(&self.project);
                self.project = Arc::new(project);
            }
            Err(error) => return self.on_refresh_failed(&error, now),
        }
        let mut has_new_watch = self.watch_metadata_dirs();
        let (dirs, skipped) = match self.project.discover() {
            Ok(found) => (found.features, found.skipped),
            Err(ReadError::Io(error)) => return self.on_refresh_failed(&error, now),
            Err(error) => return self.on_refresh_failed(&io::Error::other(error), now),
        };
        self.skipped = skipped;
        let missing: Vec<FeatureSlug> = self
            .features
            .keys()
            .filter(|slug| !dirs.iter().any(|dir| dir.slug == **slug))
            .cloned()
            .collect();
        self.missing.retain(|slug, _| missing.contains(slug));
        for slug in missing {
            // As for a file, the deletion is recorded after a grace period.
            let since = *self.missing.entry(slug.clone()).or_insert(now.elapsed);
            let due = since + self.setup.times.deletion_grace;
            if due > now.elapsed {
                self.refresh_due = Some(due);
            } else if self.git_hold_until(now).is_some() {
                if let Some(feature) = self.activate(&slug) {
                    feature.feature_deletion_held = true;
                }
            } else {
                self.mark_deleted(&slug, now);
            }
        }
        for dir in dirs {
            self.active.insert(dir.slug.clone());
            if let Some(feature) = self.features.get_mut(&dir.slug) {
                feature.feature_deletion_held = false;
            }
            match self.features.get_mut(&dir.slug) {
                Some(feature)
                    if feature.listing_blocker != Some(UnknownReason::Deleted)
                        && feature.dir == dir =>
                {
                    let inputs = self.project.read_feature_inputs(&dir);
                    feature.set_inputs(inputs, now.at, now.elapsed);
                    let was_unreadable =
                        matches!(feature.listing_blocker, Some(UnknownReason::Unreadable(_)));
                    if self.recompare.remove(&dir.slug) || was_unreadable {
                        self.compare(&dir.slug, None, Counting::Rewatch, pool, now);
                    }
                }
                Some(feature) => {
                    // The feature was restored, or has another path.
                    self.recompare.remove(&dir.slug);
                    self.places.take(&feature.dir);
                    self.places.put(&dir);
                    feature.set_dir(dir.clone());
                    feature.set_listing_blocker(None);
                    feature.gone_since = None;
                    feature.set_inputs(self.project.read_feature_inputs(&dir), now.at, now.elapsed);
                    // Publish it when its scan is complete, like a new feature.
                    feature.indexed = false;
                    feature.initial_scan_deadline = now.elapsed + self.setup.times.max_wait;
                    self.compare(&dir.slug, None, Counting::Rewatch, pool, now);
                }
                None => {
                    self.add_feature(dir, Stored::default(), None, Counting::Rewatch, pool, now);
                }
            }
        }
        self.expire_deleted(now);
        has_new_watch |= self.watch_metadata_dirs();
        if has_new_watch {
            self.refresh_due = Some(now.elapsed);
        }
        self.findings = self.project.manifest_diagnostics();
    }

    pub(super) fn add_feature(
        &mut self,
        dir: FeatureDir,
        stored: Stored,
        ahead: Option<Ahead>,
        counting: Counting,
        pool: &Pool,
        now: Now,
    ) {
        let ahead = ahead.unwrap_or_else(|| Ahead {
            inputs: self.project.read_feature_inputs(&dir),
            listing: None,
        });
        let Ahead { inputs, listing } = ahead;
        let slug = dir.slug.clone();
        let times = self.setup.times;
        let mut feature = Box::new(LiveFeature::new(dir, inputs, stored, times, now.elapsed));
        if counting == Counting::Rewatch {
            feature.initial_scan_deadline = now.elapsed + self.setup.times.max_wait;
        }
        feature.git_hold_until = self.git_hold_until(now);
        self.places.put(&feature.dir);
        self.features.insert(slug.clone(), feature);
        match listing {
            Some(listing) => self.apply_listing(&slug, None, listing, counting, pool, now),
            None => self.compare(&slug, None, counting, pool, now),
        }
    }

    /// Removes stored features that were not discovered although their directory exists or may
    /// exist: the configuration does not select them any more, so they are not reported as deleted.
    pub(super) fn drop_unconfigured(
        &mut self,
        stored: &mut BTreeMap<FeatureSlug, Stored>,
        found: &[FeatureDir],
    ) {
        let exists = |dir: &FeatureDir| {
            !self.project.open_feature(dir).is_err_and(|error| is_not_a_directory(&error))
        };
        let is_found =
            |slug: &FeatureSlug| found.binary_search_by(|dir| dir.slug.cmp(slug)).is_ok();
        let unconfigured = stored.extract_if(.., |slug, known| {
            !is_found(slug) && known.dir.as_ref().is_some_and(exists)
        });
        self.removed_features.extend(unconfigured.map(|(slug, _)| slug));
    }

    /// Reads the baselines of deleted features. Removes those whose baseline was cleared, and those
    /// without one after [`DELETED_FEATURE_RETENTION`]; see `docs/specification.md#gone-features`.
    pub(super) fn expire_deleted(&mut self, now: Now) {
        self.expire_at = None;
        let deleted = self
            .features
            .values()
            .filter(|feature| feature.listing_blocker == Some(UnknownReason::Deleted));
        let slugs: Vec<FeatureSlug> = deleted.map(|feature| feature.dir.slug.clone()).collect();
        for slug in slugs {
            let Some(feature) = self.features.get_mut(&slug) else {
                continue;
            };
            let had_baseline = feature.has_baseline();
            feature.set_inputs(self.project.read_feature_inputs(&feature.dir), now.at, now.elapsed);
            let left = DELETED_FEATURE_RETENTION.saturating_sub(age(feature.gone_since, now));
            if feature.has_baseline() {
                self.active.insert(slug);
            } else if (had_baseline || left.is_zero()) && feature.has_committed_paths() {
                self.places.take(&feature.dir);
                self.features.remove(&slug);
                self.active.remove(&slug);
                self.removed_features.push(slug);
                self.changed = true;
            } else {
                self.active.insert(slug);
                let due = now.elapsed + left.max(EXPIRY_RETRY_INTERVAL);
                self.expire_at = Some(self.expire_at.map_or(due, |other| other.min(due)));
            }
        }
    }

    /// Marks a feature and all its files as deleted. The feature stays in the status until it
    /// expires.
    pub(super) fn mark_deleted(&mut self, slug: &FeatureSlug, now: Now) {
        let Some(feature) = self.features.get_mut(slug) else {
            return;
        };
        self.active.insert(slug.clone());
        feature.feature_deletion_held = false;
        if feature.listing_blocker == Some(UnknownReason::Deleted) {
            return;
        }
        for path in feature.paths_below(None) {
            feature.settle.remove(&path);
            feature.remove(&path, RemovalReason::Deleted, now.elapsed);
        }
        // Checks in flight may still find files: repeat them, and they find none.
        feature.in_flight.invalidate_all();
        feature.set_listing_blocker(Some(UnknownReason::Deleted));
        feature.gone_since.get_or_insert(now.at);
        self.expire_at = Some(now.elapsed);
    }

    /// Handles a failed refresh: retries if resources ran out, otherwise marks the root as missing.
    fn on_refresh_failed(&mut self, error: &io::Error, now: Now) {
        if is_resource_exhausted(error) {
            self.refresh_due = Some(now.elapsed + RESOURCE_RETRY_INTERVAL);
        } else {
            self.mark_root_away(error, now);
        }
    }

    /// Watches the existing directories that contain metadata. Returns true if one is newly
    /// watched: what was read from it before may have changed since.
    pub(super) fn watch_metadata_dirs(&mut self) -> bool {
        let dirs = self
            .project
            .metadata_dirs()
            .into_iter()
            .chain(self.setup.user_missions.as_deref().map(user_mission_dirs).unwrap_or_default())
            .chain([self.setup.cookies.clone()])
            .filter(|dir| dir.is_dir());
        self.watching.watch_missing(dirs)
    }

    /// Watches all directories of stored files in one call to the watcher.
    pub(super) fn watch_stored(
        &mut self,
        dirs: &[FeatureDir],
        stored: &BTreeMap<FeatureSlug, Stored>,
    ) {
        let mut paths = HashSet::new();
        for dir in dirs {
            let base = self.project.feature_path(dir);
            for entry in stored.get(&dir.slug).into_iter().flat_map(|known| known.entries.iter()) {
                let path = entry.artifact.relative_path.as_bytes();
                let mut end = path.len();
                while let Some(slash) = path[..end].iter().rposition(|byte| *byte == b'/') {
                    let parent = base.join(std::ffi::OsStr::from_bytes(&path[..slash]));
                    if !paths.insert(parent) {
                        break;
                    }
                    end = slash;
                }
            }
            paths.insert(base);
        }
        paths.retain(|path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()));
        self.watching.watch_missing(paths);
    }
}

/// Returns the time since `since` by the wall clock; zero if that is unknown or in the future.
fn age(since: Option<Timestamp>, now: Now) -> Duration {
    let passed = since.map_or(0, |since| now.at.as_millis() - since.as_millis());
    Duration::from_millis(u64::try_from(passed).unwrap_or_default())
}

/// Returns the directories of the user's missions, or the nearest existing parent directory.
pub(super) fn user_mission_dirs(missions: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(missions) else {
        return missions
            .ancestors()
            .find(|dir| dir.is_dir())
            .map(Path::to_owned)
            .into_iter()
            .collect();
    };
    let mission_dirs = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let parent = missions.parent().map(Path::to_owned);
    mission_dirs.chain([missions.to_owned()]).chain(parent).collect()
}

/// Opens the project and reads its metadata.
pub(super) fn open(setup: &Setup) -> std::io::Result<Project> {
    let missions = setup.user_missions.as_deref();
    Project::open(&setup.root, setup.settings.clone(), &setup.machine, missions)
}

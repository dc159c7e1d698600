//! Handles hints about paths and the results of path checks.
//!
//! A hint only starts a check: what changed is decided by what is on the disk then.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use super::compare::{
    RESOURCE_RETRY_INTERVAL, enqueue_check, is_at_or_below, mark_dir_unreadable, suspect_deletion,
};
use super::{Counting, LiveProject, META, Now, REFRESH_DELAY};
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::transition::RemovalReason;
use crate::engine::feature::Flight;
use crate::engine::pool::{Done, Pool};
use crate::scan::PathState;
use crate::watch::HintKind;

/// Delay of the second read of a file that changed while it was read, or so shortly before that a
/// later change may have the same time stamp.
const VERIFY_DELAY: Duration = Duration::from_millis(50);

/// Status and log message while checks fail for lack of resources.
pub(super) const OUT_OF_RESOURCES: &str =
    "out of file descriptors or memory; will retry (raise `ulimit -n`)";

impl LiveProject {
    /// Handles a hint about an absolute path. Returns true if it was a sync cookie.
    pub(in crate::engine) fn on_hint(
        &mut self,
        path: &Path,
        what: HintKind,
        pool: &Pool,
        now: Now,
    ) -> bool {
        if path.starts_with(&self.setup.cookies) {
            return true;
        }
        if path == self.root.probe {
            self.changed |= self.care.on_probe_event(now);
            return false;
        }
        if self.root.away.is_some() {
            return false;
        }
        let Some(relative) = self.relative(path) else {
            // The root itself, a directory of user missions, or git's directory, of which only
            // `HEAD` is relevant.
            let is_user_mission = self
                .setup
                .user_missions
                .as_ref()
                .is_some_and(|dir| path.starts_with(dir) || dir.starts_with(path));
            if is_user_mission && what != HintKind::CloseWrite {
                self.watching.forget(path);
            }
            self.root.replaced |= path == self.setup.root && what == HintKind::Removed;
            if is_user_mission || path == self.setup.root || path.ends_with("HEAD") {
                self.refresh_due.get_or_insert(now.elapsed + REFRESH_DELAY);
            }
            return false;
        };
        let containing = self.places.containing(&relative);
        let is_within = containing.iter().any(|(_, below)| below.is_some());
        let affects_set = self.affects_feature_set(path, &relative, what);
        if !is_within && self.watching.forget(path) || is_within && affects_set {
            self.on_dir_replaced(&relative, now);
        } else if affects_set || containing.is_empty() && self.is_metadata_path(&relative) {
            self.refresh_due.get_or_insert(now.elapsed + REFRESH_DELAY);
        }
        for (slug, below) in containing {
            match below {
                Some(below) => self.hint_in_feature(&slug, &below, what, pool, now),
                None => {
                    self.refresh_due.get_or_insert(now.elapsed + REFRESH_DELAY);
                }
            }
        }
        false
    }

    /// Returns a path relative to the root, if it is below it.
    pub(super) fn relative(&self, path: &Path) -> Option<RelPath> {
        let below = path.strip_prefix(&self.setup.root).ok()?;
        RelPath::new(below.as_os_str().as_bytes()).ok()
    }

    /// Handles a directory above or of a feature that was created, moved or removed: the watches
    /// below its path belong to the previous directory, so the features are listed again.
    fn on_dir_replaced(&mut self, relative: &RelPath, now: Now) {
        self.refresh_due.get_or_insert(now.elapsed + REFRESH_DELAY);
        for feature in self.features.values() {
            let dir = feature.dir.path.as_ref();
            if dir.is_none_or(|path| is_at_or_below(path, relative)) {
                self.recompare.insert(feature.dir.slug.clone());
            }
        }
    }

    fn hint_in_feature(
        &mut self,
        slug: &FeatureSlug,
        path: &RelPath,
        what: HintKind,
        pool: &Pool,
        now: Now,
    ) {
        if path.components().any(|component| component.starts_with(b"."))
            || self.ignore.is_match(path)
        {
            return;
        }
        if path.as_bytes() == META {
            self.refresh_due.get_or_insert(now.elapsed + REFRESH_DELAY);
        }
        let is_dir = match what {
            HintKind::DirCreated => true,
            HintKind::MovedTo => self.is_dir_at(slug, path),
            HintKind::CloseWrite | HintKind::Modified | HintKind::Removed => false,
        };
        if is_dir {
            return self.compare(slug, Some(path), Counting::Rewatch, pool, now);
        }
        // A path that was moved here and is missing by now: the previous directory of that name was
        // removed, too.
        let was_removed = matches!(what, HintKind::Removed | HintKind::MovedTo);
        if was_removed
            && let Some(dir) = self.absolute(slug, Some(path))
            && self.watching.forget(&dir)
        {
            self.on_dir_removed(now);
        }
        let Some(feature) = self.activate(slug) else {
            return;
        };
        if was_removed {
            for below in feature.paths_below(Some(path)) {
                suspect_deletion(feature, below, now);
            }
        }
        if what != HintKind::Removed {
            feature.suspected_deletions.remove(path);
        } else if feature.contains(path) {
            feature.suspected_deletions.insert(path.clone(), now.elapsed);
        }
        let indexed = feature.contains(path);
        feature.settle.on_hint(path, what, indexed, now.elapsed);
    }

    fn is_dir_at(&self, slug: &FeatureSlug, path: &RelPath) -> bool {
        self.absolute(slug, Some(path))
            .and_then(|path| path.symlink_metadata().ok())
            .is_some_and(|metadata| metadata.is_dir())
    }

    /// Returns the absolute path of a feature, or of a path in it.
    pub(super) fn absolute(&self, slug: &FeatureSlug, path: Option<&RelPath>) -> Option<PathBuf> {
        let feature = self.project.feature_path(&self.features.get(slug)?.dir);
        Some(match path {
            Some(path) => feature.join(std::ffi::OsStr::from_bytes(path.as_bytes())),
            None => feature,
        })
    }

    /// Sets whether the last check failed for lack of resources.
    pub(super) fn set_out_of_resources(&mut self, out_of_resources: bool) {
        if std::mem::replace(&mut self.out_of_resources, out_of_resources) != out_of_resources {
            self.changed = true;
            if out_of_resources {
                warn!("{OUT_OF_RESOURCES}");
            }
        }
    }

    /// Handles the result of a path check.
    pub(in crate::engine) fn on_file_result(&mut self, done: Done, pool: &Pool, now: Now) {
        if done.verify_only {
            return self.on_scrub_result(done, now);
        }
        let Done { slug, path, look, .. } = done;
        let (slug, path) = (&slug, &path);
        self.set_out_of_resources(look == PathState::OutOfResources);
        let root_is_missing = look == PathState::Missing && !self.confirm_root(now);
        let Some(feature) = self.features.get_mut(slug) else {
            return;
        };
        self.active.insert(slug.clone());
        // Results of checks that were in flight when the root was removed are ignored.
        let Some(flight) = feature.in_flight.finish(path).filter(|_| !root_is_missing) else {
            return;
        };
        if flight == Flight::CheckAgain {
            enqueue_check(feature, &self.setup, &self.project, path, Flight::Check, pool);
        }
        let is_conclusive =
            matches!(look, PathState::Unchanged | PathState::Read(_) | PathState::Missing);
        if is_conclusive && flight != Flight::Verify {
            feature.set_scanned_at(now.at);
        }
        match look {
            PathState::Unchanged => {
                feature.suspected_deletions.remove(path);
                feature.held_deletions.remove(path);
            }
            PathState::Read(seen) => {
                feature.suspected_deletions.remove(path);
                feature.held_deletions.remove(path);
                if seen.racy {
                    feature.verifications.insert((now.elapsed + VERIFY_DELAY, path.clone()));
                }
                if !feature.contains(path) && feature.count_entries(1, &self.setup.limits) {
                    self.over_limit.insert(slug.clone());
                }
                feature.set(seen, now.at, now.elapsed);
                // A file has no entries below it.
                for below in feature.paths_below(Some(path)) {
                    suspect_deletion(feature, below, now);
                }
                if path.as_bytes() == META {
                    self.refresh_due.get_or_insert(now.elapsed + REFRESH_DELAY);
                }
            }
            PathState::Missing if !feature.contains(path) => {}
            PathState::Missing if !feature.indexed && feature.git_hold_until.is_none() => {
                feature.remove(path, RemovalReason::Deleted, now.elapsed);
            }
            PathState::Missing => match feature.suspected_deletions.get(path) {
                Some(since) if *since + self.setup.times.deletion_grace <= now.elapsed => {
                    if feature.git_hold_until.is_some() {
                        feature.held_deletions.insert(path.clone());
                    } else {
                        feature.remove(path, RemovalReason::Deleted, now.elapsed);
                    }
                }
                // This check belongs to an earlier hint; the deletion is too recent.
                Some(since) => {
                    feature.settle.schedule_at(path, *since + self.setup.times.deletion_grace);
                }
                None => suspect_deletion(feature, path.clone(), now),
            },
            PathState::Unstable => feature.settle.schedule_at(path, now.elapsed + VERIFY_DELAY),
            PathState::OutOfResources => {
                feature.settle.schedule_at(path, now.elapsed + RESOURCE_RETRY_INTERVAL);
            }
            PathState::ParentUnreadable(dir, reason) => {
                mark_dir_unreadable(feature, &dir, &reason, now);
            }
            PathState::Dir => {
                // An entry of that path was a file; the directory's files are found by listing it.
                feature.on_dir_found(path, now.elapsed);
                self.compare(slug, Some(path), Counting::Rewatch, pool, now);
            }
            PathState::TooLarge => {}
        }
    }
}

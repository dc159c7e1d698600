//! Lists directories of a feature, compares the listing with the inventory, and submits path
//! checks.
//!
//! A listing is read here, on the engine thread; files are hashed in `pool`.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::{Counting, LiveProject, Now, Setup};
use crate::core::artifact::{Absence, ArtifactState, ErrorReason, Observation};
use crate::core::feature_context::UnknownReason;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::pattern::PatternSet;
use crate::core::transition::RemovalReason;
use crate::engine::feature::{Flight, LiveFeature};
use crate::engine::pool::{Job, Pool};
use crate::project::Project;
use crate::scan::{Listing, is_resource_exhausted, list_tree};
use crate::watch::HintKind;

/// Time to the next attempt after the process was out of file descriptors or memory.
pub(super) const RESOURCE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl LiveProject {
    /// Compares a directory of a feature, or all of it, with the disk. Each directory is watched
    /// before it is listed, so that no entry created in between is missed.
    pub(in crate::engine) fn compare(
        &mut self,
        slug: &FeatureSlug,
        subdir: Option<&RelPath>,
        counting: Counting,
        pool: &Pool,
        now: Now,
    ) {
        let Some(base) = self.absolute(slug, None).filter(|_| self.root.away.is_none()) else {
            return;
        };
        let Some(feature) = self.features.get(slug) else {
            return;
        };
        let dir = &feature.dir;
        let opened = match subdir {
            None => self.project.open_feature(dir),
            Some(subdir) => self.project.open_feature_subdir(dir, subdir),
        };
        let watching = &mut self.watching;
        let listing = opened.and_then(|opened| {
            list_tree(opened, subdir, &self.setup.limits, &self.ignore, |entered| {
                let path = match entered {
                    Some(path) => base.join(std::ffi::OsStr::from_bytes(path.as_bytes())),
                    None => base.clone(),
                };
                if counting == Counting::Rewatch || !watching.is_watched(&path) {
                    watching.watch(path);
                }
            })
        });
        self.apply_listing(slug, subdir, listing, counting, pool, now);
    }

    /// Compares a directory of a feature, or all of it, with its listing.
    pub(super) fn apply_listing(
        &mut self,
        slug: &FeatureSlug,
        subdir: Option<&RelPath>,
        listing: io::Result<Listing>,
        counting: Counting,
        pool: &Pool,
        now: Now,
    ) {
        let Some(feature) = self.features.get_mut(slug) else {
            return;
        };
        self.active.insert(slug.clone());
        self.changed = true;
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) => return self.on_listing_error(slug, subdir, &error, now),
        };
        feature.set_scanned_at(now.at);
        if let Some(subdir) = subdir {
            feature.on_dir_found(subdir, now.elapsed);
        }
        if subdir.is_none() {
            if listing.limit_exceeded.is_some() {
                self.over_limit.insert(slug.clone());
            } else {
                self.over_limit.remove(slug);
            }
            feature.set_listing_blocker(listing.limit_exceeded.map(UnknownReason::from));
            feature.entries = listing.entries;
        } else {
            if let Some(limit) = listing.limit_exceeded {
                self.over_limit.insert(slug.clone());
                feature.set_listing_blocker(Some(limit.into()));
            }
            // One more for the directory itself.
            if feature.count_entries(listing.entries + 1, &self.setup.limits) {
                self.over_limit.insert(slug.clone());
            }
        }
        for dir in &listing.unreadable {
            mark_dir_unreadable(feature, &dir.path, &dir.reason, now);
        }
        for file in listing.files.iter().flatten() {
            let known = feature.inventory.entries().get(&file.path);
            let is_unchanged = known.is_some_and(|entry| {
                !entry.racy && entry.signature.is_some() && entry.signature == file.signature
            });
            // A pending path is checked when it has settled, however often it is listed meanwhile.
            if !is_unchanged && !feature.settle.is_pending(&file.path) {
                let indexed = known.is_some();
                match counting {
                    Counting::Initial => {
                        enqueue_check(
                            feature,
                            &self.setup,
                            &self.project,
                            &file.path,
                            Flight::Check,
                            pool,
                        );
                    }
                    Counting::Rewatch | Counting::Poll => {
                        feature.settle.on_hint(
                            &file.path,
                            HintKind::CloseWrite,
                            indexed,
                            now.elapsed,
                        );
                    }
                }
            }
        }
        let unreadable = listing.unreadable.iter().map(|dir| &dir.path);
        let listed =
            listing.files.iter().flatten().map(|file| &file.path).chain(unreadable).collect();
        for path in feature.paths_without(subdir, &listed) {
            match counting {
                // The file may still exist, but an ignored path is not checked.
                _ if is_ignored(&self.ignore, &path) => {
                    feature.settle.remove(&path);
                    feature.remove(&path, RemovalReason::Ignored, now.elapsed);
                }
                Counting::Initial
                    if feature.git_hold_until.is_none() && feature.is_present(&path) =>
                {
                    feature.remove(&path, RemovalReason::Deleted, now.elapsed);
                }
                _ if feature.settle.is_pending(&path) => {}
                _ => suspect_deletion(feature, path, now),
            }
        }
    }

    /// Handles a directory of a feature, or a feature, that cannot be listed.
    fn on_listing_error(
        &mut self,
        slug: &FeatureSlug,
        subdir: Option<&RelPath>,
        error: &io::Error,
        now: Now,
    ) {
        if is_resource_exhausted(error) {
            // Reset first, so that each failure is logged.
            self.out_of_resources = false;
            self.set_out_of_resources(true);
            self.recompare.insert(slug.clone());
            self.refresh_due.get_or_insert(now.elapsed + RESOURCE_RETRY_INTERVAL);
            return;
        }
        let Some(feature) = self.features.get_mut(slug) else {
            return;
        };
        match subdir {
            Some(subdir) if is_not_a_directory(error) => {
                for below in feature.paths_below(Some(subdir)) {
                    suspect_deletion(feature, below, now);
                }
                let indexed = feature.contains(subdir);
                feature.settle.on_hint(subdir, HintKind::CloseWrite, indexed, now.elapsed);
            }
            // A missing feature is found by the next refresh.
            None if is_not_a_directory(error) => {}
            Some(subdir) => mark_dir_unreadable(feature, subdir, &error.to_string(), now),
            None => {
                let reason = UnknownReason::Unreadable(error.to_string());
                feature.set_listing_blocker(Some(reason));
            }
        }
    }

    /// Rescans a feature and schedules a refresh of the metadata.
    pub(in crate::engine) fn compare_one(
        &mut self,
        slug: &FeatureSlug,
        counting: Counting,
        pool: &Pool,
        now: Now,
    ) {
        if self.root.away.is_none() {
            self.compare(slug, None, counting, pool, now);
            self.refresh_due = Some(now.elapsed);
        }
    }

    /// Rescans all features and schedules a refresh of the metadata.
    pub(in crate::engine) fn compare_all(&mut self, counting: Counting, pool: &Pool, now: Now) {
        if self.root.away.is_some() {
            return;
        }
        let slugs: Vec<FeatureSlug> = self.features.keys().cloned().collect();
        for slug in slugs {
            self.compare(&slug, None, counting, pool, now);
        }
        self.refresh_due = Some(now.elapsed);
    }
}

/// Returns true if the configuration ignores a path or one of its parent directories.
fn is_ignored(ignore: &PatternSet, path: &RelPath) -> bool {
    let ends = path.as_bytes().iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let parents = ends.filter_map(|(end, _)| RelPath::new(&path.as_bytes()[..end]).ok());
    !ignore.is_empty()
        && (ignore.is_match(path) || parents.into_iter().any(|parent| ignore.is_match(&parent)))
}

/// Returns true if opening a directory failed because none exists at its path.
pub(in crate::engine) fn is_not_a_directory(error: &std::io::Error) -> bool {
    let missing = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::STALE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| missing.contains(&error))
}

pub(super) fn is_at_or_below(path: &RelPath, dir: &RelPath) -> bool {
    let rest = path.as_bytes().strip_prefix(dir.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Submits a check of a path. If one is in flight, another follows when it has finished.
pub(super) fn enqueue_check(
    feature: &mut LiveFeature,
    setup: &Setup,
    project: &Arc<Project>,
    path: &RelPath,
    flight: Flight,
    pool: &Pool,
) {
    if !feature.in_flight.start(path, flight) {
        return;
    }
    let known = feature.inventory.entries().get(path);
    let known = known.filter(|entry| !entry.racy).and_then(|entry| entry.signature);
    pool.submit(Job {
        id: setup.id,
        project: Arc::clone(project),
        feature: feature.dir.clone(),
        path: path.clone(),
        known,
        limits: setup.limits,
        verify_only: false,
    });
}

/// Records that an indexed path was found missing. It is checked again before it is recorded as
/// deleted.
pub(super) fn suspect_deletion(feature: &mut LiveFeature, path: RelPath, now: Now) {
    feature.settle.on_hint(&path, HintKind::Removed, true, now.elapsed);
    feature.suspected_deletions.insert(path, now.elapsed);
}

/// Records a directory that cannot be read: it becomes one entry, and those below it are removed.
pub(super) fn mark_dir_unreadable(
    feature: &mut LiveFeature,
    dir: &RelPath,
    reason: &str,
    now: Now,
) {
    for path in feature.paths_below(Some(dir)) {
        feature.settle.remove(&path);
        feature.remove(&path, RemovalReason::ParentUnreadable, now.elapsed);
    }
    let fault = Absence { reason: ErrorReason::Unreadable, detail: Some(reason.into()) };
    let seen = Observation {
        path: dir.clone(),
        size_bytes: 0,
        state: ArtifactState::Absent(fault),
        wp_id: None,
        signature: None,
        racy: false,
    };
    feature.set(seen, now.at, now.elapsed);
    feature.unreadable_dirs.insert(dir.clone());
}

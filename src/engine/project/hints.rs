//! What a hint about a path leads to, and what a look at one came to.

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

/// A file written so shortly before it was read that another write may look the same is read again
/// after this; one that changes while it is read, too.
const VERIFY_DELAY: Duration = Duration::from_millis(50);

/// What is said then.
pub(super) const OUT_OF_RESOURCES: &str = "the process has no descriptor or memory left to look at files; later again (raise `ulimit -n`)";

impl LiveProject {
    /// Takes a hint about an absolute path. Says whether it was a cookie.
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
            self.care.on_probe_event(now);
            return false;
        }
        if self.root.away.is_some() {
            return false;
        }
        let Some(relative) = self.relative(path) else {
            // The root itself, or a directory of the user or of git, of which only the head matters.
            let is_user_mission = self
                .setup
                .user_missions
                .as_ref()
                .is_some_and(|own| path.starts_with(own) || own.starts_with(path));
            if is_user_mission && what != HintKind::CloseWrite {
                self.watching.forget(path);
            }
            self.root.replaced |= path == self.setup.root && what == HintKind::Removed;
            if is_user_mission || path == self.setup.root || path.ends_with("HEAD") {
                self.refresh_due.get_or_insert(now.elapsed + REFRESH_DELAY);
            }
            return false;
        };
        let places = self.places.containing(&relative);
        let within = places.iter().any(|(_, below)| below.is_some());
        let moves = self.affects_feature_set(path, &relative, what);
        if !within && self.watching.forget(path) || within && moves {
            self.on_dir_replaced(&relative, now);
        } else if moves || places.is_empty() && self.is_metadata_path(&relative) {
            self.refresh_due.get_or_insert(now.elapsed + REFRESH_DELAY);
        }
        for (slug, below) in places {
            match below {
                Some(below) => self.hint_in_feature(&slug, &below, what, pool, now),
                None => {
                    self.refresh_due.get_or_insert(now.elapsed + REFRESH_DELAY);
                }
            }
        }
        false
    }

    /// A path below the root, from there.
    pub(super) fn relative(&self, path: &Path) -> Option<RelPath> {
        let below = path.strip_prefix(&self.setup.root).ok()?;
        RelPath::new(below.as_os_str().as_bytes()).ok()
    }

    /// Takes that a directory on the way to features, or one of theirs, came or went: the watches below
    /// that name are of what lay there before.
    fn on_dir_replaced(&mut self, relative: &RelPath, now: Now) {
        self.refresh_due.get_or_insert(now.elapsed + REFRESH_DELAY);
        for feature in self.features.values() {
            let below = feature.dir.path.as_ref().is_none_or(|path| is_at_or_below(path, relative));
            if below {
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
        // What arrived and is gone again by now may have gone twice: first went what lay there.
        let went = matches!(what, HintKind::Removed | HintKind::MovedTo);
        if went
            && let Some(folder) = self.absolute(slug, Some(path))
            && self.watching.forget(&folder)
        {
            self.on_dir_removed(now);
        }
        let Some(feature) = self.activate(slug) else {
            return;
        };
        if went {
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

    pub(super) fn absolute(&self, slug: &FeatureSlug, path: Option<&RelPath>) -> Option<PathBuf> {
        let feature = self.project.feature_path(&self.features.get(slug)?.dir);
        Some(match path {
            Some(path) => feature.join(std::ffi::OsStr::from_bytes(path.as_bytes())),
            None => feature,
        })
    }

    /// Takes whether the process lacked what it needs to look.
    pub(super) fn set_out_of_resources(&mut self, out_of_resources: bool) {
        if std::mem::replace(&mut self.out_of_resources, out_of_resources) != out_of_resources {
            self.changed = true;
            if out_of_resources {
                warn!("{OUT_OF_RESOURCES}");
            }
        }
    }

    /// Takes what a look at a path came to.
    pub(in crate::engine) fn on_file_result(&mut self, done: Done, pool: &Pool, now: Now) {
        if done.verify_only {
            return self.on_scrub_result(done, now);
        }
        let Done { slug, path, look, .. } = done;
        let (slug, path) = (&slug, &path);
        self.set_out_of_resources(look == PathState::OutOfResources);
        let gone = look == PathState::Missing && !self.confirm_root(now);
        let Some(feature) = self.features.get_mut(slug) else {
            return;
        };
        self.active.insert(slug.clone());
        // What was under way when the root went away counts no more.
        let Some(flight) = feature.in_flight.finish(path).filter(|_| !gone) else {
            return;
        };
        if flight == Flight::CheckAgain {
            enqueue_check(feature, &self.setup, &self.project, path, Flight::Check, pool);
        }
        let looked = matches!(look, PathState::Unchanged | PathState::Read(_) | PathState::Missing);
        if looked && flight != Flight::Verify {
            feature.compared(now.at);
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
                // Where a file is, nothing can be below.
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
                // It was there but now: this look was for an earlier hint.
                Some(since) => {
                    feature.settle.schedule_at(path, *since + self.setup.times.deletion_grace)
                }
                None => suspect_deletion(feature, path.clone(), now),
            },
            PathState::Unstable => feature.settle.schedule_at(path, now.elapsed + VERIFY_DELAY),
            PathState::OutOfResources => {
                feature.settle.schedule_at(path, now.elapsed + RESOURCE_RETRY_INTERVAL)
            }
            PathState::ParentUnreadable(folder, why) => {
                mark_dir_unreadable(feature, &folder, &why, now)
            }
            PathState::Dir => {
                // What was there as a file is not; what is in the directory comes by comparing.
                feature.on_dir_found(path, now.elapsed);
                self.compare(slug, Some(path), Counting::Rewatch, pool, now);
            }
            PathState::TooLarge => {}
        }
    }
}

//! Checks whether a project's root is present.
//!
//! A root that is removed, unmounted or unreadable deletes nothing: the features stay as they are,
//! with unknown completeness. When the root is back, the project restarts from the stored state, as
//! after a restart of the daemon.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tracing::warn;

use super::{LiveProject, Now, open};
use crate::core::inventory::InventoryEntry;
use crate::core::path::{FeatureSlug, RelPath, escape_bytes};
use crate::core::sorted_chunks::SortedChunks;
use crate::engine::feature::{LiveFeature, Stored};
use crate::project::{FeatureDir, Project, RootCheck};

/// How often it is checked whether a missing root is back.
const ROOT_PROBE_INTERVAL: Duration = Duration::from_millis(250);
/// Delay of the first of these checks, because the root may have been replaced already.
const ROOT_PROBE_DELAY: Duration = Duration::from_millis(50);

/// State of the root.
#[derive(Debug)]
pub(super) struct Root {
    /// Set while the root is missing.
    pub(super) away: Option<Away>,
    /// True if the directory was removed or moved, even if another has its path now.
    pub(super) replaced: bool,
    /// True if the root is back and the project has to restart.
    pub(super) is_back: bool,
    /// The iteration in which the root was last found present.
    checked_at: Option<Duration>,
    /// Path of the probe file.
    pub(super) probe: PathBuf,
}

/// A missing root.
#[derive(Debug)]
pub(super) struct Away {
    pub(super) reason: String,
    /// True if the root exists and cannot be read.
    pub(super) unreadable: bool,
    /// Time of the next check.
    pub(super) probe_at: Duration,
}

impl Root {
    pub(super) fn new(probe: PathBuf) -> Self {
        Self { away: None, replaced: false, is_back: false, checked_at: None, probe }
    }
}

impl LiveProject {
    /// Returns true if the project has to restart because its root is back, or is another
    /// directory.
    pub(in crate::engine) fn needs_restart(&self) -> bool {
        self.root.is_back
    }

    /// Checks the root after a mount, an unmount, or a move of one of its parent directories.
    pub(in crate::engine) fn mounts_changed(&mut self, now: Now) {
        match &mut self.root.away {
            Some(away) => away.probe_at = now.elapsed,
            None => self.check_root(now),
        }
    }

    /// Checks that the root is present and the same directory; otherwise marks it as missing.
    pub(in crate::engine) fn check_root(&mut self, now: Now) {
        self.confirm_root(now);
    }

    /// Marks the root as missing and drops all pending work.
    pub(super) fn mark_root_away(&mut self, error: &io::Error, now: Now) {
        let root = escape_bytes(self.setup.root.as_os_str().as_bytes()).into_owned();
        let reason = format!("cannot read {root}: {error}");
        let unreadable = error.kind() == io::ErrorKind::PermissionDenied;
        warn!(root, %error, "project root unavailable; keeping its last known state");
        self.root.away =
            Some(Away { reason, unreadable, probe_at: now.elapsed + ROOT_PROBE_DELAY });
        self.changed = true;
        self.refresh_due = None;
        self.missing.clear();
        self.recompare.clear();
        self.watching.replace_watcher();
        self.watching.watch_missing([self.setup.cookies.clone()]);
        self.project.close_root_fd();
        for (slug, feature) in &mut self.features {
            feature.mark_unreadable("the project's root cannot be read");
            feature.indexed = true;
            self.active.insert(slug.clone());
        }
    }

    /// Checks from time to time whether the root is back.
    pub(super) fn probe_root(&mut self, now: Now) {
        let Some(away) = self.root.away.as_mut().filter(|away| away.probe_at <= now.elapsed) else {
            return;
        };
        away.probe_at = now.elapsed + ROOT_PROBE_INTERVAL;
        let found = open(&self.setup).and_then(|project| {
            let dirs = project.discover().map_err(io::Error::other)?.features;
            // Another file system may be mounted there.
            let known = self.features.iter().map(|(slug, known)| (slug, known.inventory.entries()));
            Ok(!looks_unmounted(&project, &dirs, known))
        });
        self.root.is_back = found.unwrap_or(false);
    }

    /// Checks the root before a missing file is recorded as deleted. Returns true if the root is
    /// present; otherwise it has been marked as missing.
    pub(super) fn confirm_root(&mut self, now: Now) -> bool {
        if self.root.away.is_some() {
            return false;
        }
        if self.root.checked_at == Some(now.elapsed) {
            return true;
        }
        match self.project.check_root() {
            Ok(RootCheck::Same) if !self.root.replaced => {
                self.root.checked_at = Some(now.elapsed);
                true
            }
            Ok(_) => {
                // inotify still watches the previous directory.
                self.mark_root_away(&io::Error::other("it was replaced by another directory"), now);
                false
            }
            Err(error) => {
                self.mark_root_away(&error, now);
                false
            }
        }
    }

    /// Starts with a missing root: the features have their stored state.
    pub(super) fn start_without_root(
        &mut self,
        stored: BTreeMap<FeatureSlug, Stored>,
        error: &io::Error,
        now: Now,
    ) {
        for (slug, known) in stored {
            let dir = stored_or_default_dir(&slug, &known);
            let inputs = self.project.read_feature_inputs(&dir);
            let feature = LiveFeature::from_stored_unreadable(dir, inputs, known, self.setup.times);
            self.places.put(&feature.dir);
            self.features.insert(slug, Box::new(feature));
        }
        self.mark_root_away(error, now);
    }
}

/// Message about a root for which [`looks_unmounted`] returns true.
pub(super) const UNMOUNTED: &str = "it is empty or on another file system and contains none of \
                                    the known features; mount the file system, or remove the \
                                    project and add it again";

/// Returns true if the root is probably the mount point of a file system that is not mounted: none
/// of the known features exists, and the root is empty or on another device than the indexed files.
pub(super) fn looks_unmounted<'a>(
    project: &Project,
    dirs: &[FeatureDir],
    known: impl Iterator<Item = (&'a FeatureSlug, &'a SortedChunks<InventoryEntry>)> + Clone,
) -> bool {
    let exists = |slug: &FeatureSlug| dirs.iter().any(|dir| dir.slug == *slug);
    if known.clone().any(|(slug, _)| exists(slug)) {
        return false;
    }
    let entries = known.flat_map(|(_, entries)| entries.iter());
    let mut signatures = entries.filter_map(|entry| entry.signature).peekable();
    signatures.peek().is_some()
        && (project.is_root_empty()
            || signatures.all(|signature| signature.device != project.root_device()))
}

/// Returns the stored directory of a feature, or one derived from its slug if none is stored.
pub(super) fn stored_or_default_dir(slug: &FeatureSlug, known: &Stored) -> FeatureDir {
    let path = || RelPath::new(slug.as_str().as_bytes()).ok();
    known.dir.clone().unwrap_or_else(|| FeatureDir { slug: slug.clone(), path: path() })
}

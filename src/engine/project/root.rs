//! A project's root: there, or waited for.
//!
//! A root that vanishes, is unmounted or cannot be read deletes nothing: what was known of its
//! features stands, as unknown. When it is there again the project begins anew from what the store
//! holds, as after a restart.

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

/// How often it is asked whether the root is there again.
const ROOT_PROBE_INTERVAL: Duration = Duration::from_millis(250);
/// The first time: another may lie there already.
const ROOT_PROBE_DELAY: Duration = Duration::from_millis(50);

/// What is known of the root.
#[derive(Debug)]
pub(super) struct Root {
    /// Where it is not there.
    pub(super) away: Option<Away>,
    /// Whether the directory itself was removed or moved, whatever lies at its path now.
    pub(super) replaced: bool,
    /// Whether it is there again, and the project is to begin anew.
    pub(super) is_back: bool,
    /// Whether it was found to be there in this turn.
    checked: Option<Duration>,
    /// A file that is made to hear of it.
    pub(super) probe: PathBuf,
}

/// Why the root is away.
#[derive(Debug)]
pub(super) struct Away {
    pub(super) why: String,
    /// Whether something is there that cannot be read.
    pub(super) unreadable: bool,
    pub(super) probe_at: Duration,
}

impl Root {
    pub(super) fn new(probe: PathBuf) -> Self {
        Self { away: None, replaced: false, is_back: false, checked: None, probe }
    }
}

impl LiveProject {
    /// Whether the project is to begin anew: its root was away and is there, or is another one.
    pub(in crate::engine) fn needs_restart(&self) -> bool {
        self.root.is_back
    }

    /// Takes that something was mounted or unmounted, or a directory above was moved: the root may be
    /// away, or back.
    pub(in crate::engine) fn mounts_changed(&mut self, now: Now) {
        match &mut self.root.away {
            Some(away) => away.probe_at = now.elapsed,
            None => self.check_root(now),
        }
    }

    /// Leaves a root that is not there, or is another, whether or not anything told of it.
    pub(in crate::engine) fn check_root(&mut self, now: Now) {
        self.confirm_root(now);
    }

    /// Takes that the root cannot be seen. Nothing that was under way counts any more.
    pub(super) fn mark_root_away(&mut self, error: &io::Error, now: Now) {
        let root = escape_bytes(self.setup.root.as_os_str().as_bytes()).into_owned();
        let why = format!("cannot read {root}: {error}");
        let unreadable = error.kind() == io::ErrorKind::PermissionDenied;
        warn!(root, %error, "the project cannot be seen; what was known of it stands");
        self.root.away = Some(Away { why, unreadable, probe_at: now.elapsed + ROOT_PROBE_DELAY });
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

    /// Asks now and then whether the root is there again.
    pub(super) fn probe_root(&mut self, now: Now) {
        let Some(away) = self.root.away.as_mut().filter(|away| away.probe_at <= now.elapsed) else {
            return;
        };
        away.probe_at = now.elapsed + ROOT_PROBE_INTERVAL;
        let found = open(&self.setup).and_then(|project| {
            let dirs = project.discover().map_err(io::Error::other)?.features;
            // What is mounted there for now may be something else.
            let known = self.features.iter().map(|(slug, known)| (slug, known.inventory.entries()));
            Ok(!looks_unmounted(&project, &dirs, known))
        });
        self.root.is_back = found.unwrap_or(false);
    }

    /// Looks at the root before what is missing below it counts. Says whether it is there; if not,
    /// it has been left.
    pub(super) fn confirm_root(&mut self, now: Now) -> bool {
        if self.root.away.is_some() {
            return false;
        }
        if self.root.checked == Some(now.elapsed) {
            return true;
        }
        match self.project.check_root() {
            Ok(RootCheck::Same) if !self.root.replaced => {
                self.root.checked = Some(now.elapsed);
                true
            }
            Ok(_) => {
                // Watches of what lay there before are of no use.
                self.mark_root_away(&io::Error::other("another folder lies there now"), now);
                false
            }
            Err(error) => {
                self.mark_root_away(&error, now);
                false
            }
        }
    }

    /// Begins with a root that cannot be seen: of the features is known what was stored.
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

/// What is said of a root for which [`lies_elsewhere`] holds.
pub(super) const UNMOUNTED: &str = "it is empty or on another file system, with none of the known \
                                    features; if that is meant, remove the project and add it again";

/// Whether this is not where the project was indexed: nothing of that is there, and the root is
/// empty or on another device, as when its file system is not mounted.
pub(super) fn looks_unmounted<'a>(
    project: &Project,
    dirs: &[FeatureDir],
    known: impl Iterator<Item = (&'a FeatureSlug, &'a SortedChunks<InventoryEntry>)> + Clone,
) -> bool {
    let is_there = |slug: &FeatureSlug| dirs.iter().any(|dir| dir.slug == *slug);
    if known.clone().any(|(slug, _)| is_there(slug)) {
        return false;
    }
    let entries = known.flat_map(|(_, entries)| entries.iter());
    let mut signatures = entries.filter_map(|entry| entry.signature).peekable();
    signatures.peek().is_some()
        && (project.is_root_empty()
            || signatures.all(|signature| signature.device != project.root_device()))
}

/// The directory of a feature that is not to be found: where it was, or one that stands for that.
pub(super) fn stored_or_default_dir(slug: &FeatureSlug, known: &Stored) -> FeatureDir {
    let path = || RelPath::new(slug.as_str().as_bytes()).ok();
    known.dir.clone().unwrap_or_else(|| FeatureDir { slug: slug.clone(), path: path() })
}

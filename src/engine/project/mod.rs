//! State of one watched project: its watcher, its features and its metadata, and what each
//! iteration of the event loop does with them. Committing and publishing is done in `run`.

mod ahead;
mod attend;
mod compare;
mod git;
mod hints;
mod places;
mod root;
mod scrub;
mod show;
mod steer;
mod unwritten;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::feature::{LiveFeature, Stored};
use super::inbox::ProjectId;
use super::pool::Pool;
use super::view::ProjectView;
use crate::core::diagnostics::SkippedDir;
use crate::core::path::FeatureSlug;
use crate::core::pattern::PatternSet;
use crate::core::time::Timestamp;
use crate::project::{FeaturePatterns, Machine, ManifestDiagnostics, Project, ProjectSettings};
use crate::scan::{ScanLimits, remote_fs_name};
use crate::watch::DebounceTimes;
use attend::Care;
use compare::enqueue_check;
pub(super) use compare::is_not_a_directory;
use places::Places;
use root::{Root, UNMOUNTED, looks_unmounted, stored_or_default_dir};
use scrub::Scrub;
use steer::open;
use unwritten::Unwritten;
use watching::{MakeBackend, Watching};

/// Delay from a hint about metadata to its refresh; hints in between share the refresh.
const REFRESH_DELAY: Duration = Duration::from_millis(20);
/// The metadata file of a feature.
const META: &[u8] = b"meta.json";

/// The time of an iteration; both clocks are read once at its start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Time since the engine started, by the monotonic clock.
    pub(super) elapsed: Duration,
    /// The wall clock.
    pub(super) at: Timestamp,
}

/// Settings of a watched project; a change restarts the project.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) id: ProjectId,
    pub(super) root: PathBuf,
    pub(super) settings: ProjectSettings,
    pub(super) machine: Machine,
    pub(super) user_missions: Option<PathBuf>,
    pub(super) limits: ScanLimits,
    pub(super) times: DebounceTimes,
    /// Time in which the scrub reads all files once; `None` disables it.
    pub(super) scrub: Option<Duration>,
    /// Directory for sync cookies, watched by the same inotify instance.
    pub(super) cookies: PathBuf,
}

/// A watched project.
pub(super) struct LiveProject {
    pub(super) setup: Setup,
    pub(super) project: Arc<Project>,
    /// Boxed, because the nodes of a B-tree are half empty and a feature is large.
    features: BTreeMap<FeatureSlug, Box<LiveFeature>>,
    /// Index of their directories.
    places: Places,
    /// Features with pending work or an unpublished change. The cost of an iteration depends on
    /// these, not on the number of all features.
    active: BTreeSet<FeatureSlug>,
    /// The view that was published last.
    published: Option<Arc<ProjectView>>,
    /// True if something other than a feature changed since then.
    changed: bool,
    watching: Watching,
    root: Root,
    care: Care,
    scrub: Scrub,
    unwritten: Unwritten,
    ignore: PatternSet,
    /// Patterns of paths that can be features.
    patterns: FeaturePatterns,
    /// An error in the settings.
    fault: Option<String>,
    /// Features that the next commit removes from the store.
    pub(super) removed_features: Vec<FeatureSlug>,
    /// Features that exceed a scan limit, or may exceed it; only a listing counts the entries.
    over_limit: BTreeSet<FeatureSlug>,
    /// True if the last check failed because the process was out of file descriptors or memory.
    out_of_resources: bool,
    skipped: Vec<SkippedDir>,
    findings: ManifestDiagnostics,
    pub(super) refresh_due: Option<Duration>,
    /// Features to list at the next refresh because their directories were replaced.
    recompare: BTreeSet<FeatureSlug>,
    /// Features whose directory was found missing, and since when.
    missing: BTreeMap<FeatureSlug, Duration>,
    /// When to check whether deleted features can be removed.
    expire_at: Option<Duration>,
    /// End of the git hold; it may have passed.
    git: Option<Duration>,
    /// Name of the root's file system if its files can be changed without an inotify event.
    remote: Option<&'static str>,
}

/// How the differences found by a listing are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// Recorded at once, because the project was not watched before.
    Initial,
    /// Debounced; all watches are renewed, because events were lost.
    Rewatch,
    /// Debounced; existing watches are kept, because no event was lost.
    Poll,
}

impl LiveProject {
    /// Opens, watches and scans a project; `stored` are its features in the store. If the root
    /// cannot be opened, the project waits for it.
    pub(super) fn start(
        setup: Setup,
        make: MakeBackend,
        stored: BTreeMap<FeatureSlug, Stored>,
        pool: &Pool,
        now: Now,
    ) -> Self {
        let (ignore, fault) = match PatternSet::new(&setup.settings.ignore) {
            Ok(ignore) => (ignore, None),
            Err(error) => {
                (PatternSet::default(), Some(format!("cannot use the `ignore` patterns: {error}")))
            }
        };
        let opened = open(&setup);
        let absent = || Project::unavailable(&setup.root, setup.settings.clone(), &setup.machine);
        let (project, open_error) = match opened {
            Ok(project) => (project, None),
            Err(error) => (absent(), Some(error)),
        };
        let probe = project.probe_path();
        let mut live = Self {
            project: Arc::new(project),
            features: BTreeMap::new(),
            places: Places::default(),
            active: BTreeSet::new(),
            published: None,
            changed: true,
            watching: Watching::new(make),
            root: Root::new(probe),
            care: Care::default(),
            scrub: Scrub::new(setup.scrub, now.elapsed),
            unwritten: Unwritten::default(),
            ignore,
            patterns: FeaturePatterns::new(&setup.settings.feature_patterns()),
            fault,
            over_limit: BTreeSet::new(),
            removed_features: Vec::new(),
            out_of_resources: false,
            skipped: Vec::new(),
            findings: ManifestDiagnostics::default(),
            refresh_due: None,
            recompare: BTreeSet::new(),
            missing: BTreeMap::new(),
            expire_at: None,
            git: None,
            remote: None,
            setup,
        };
        match open_error {
            Some(error) => live.start_without_root(stored, &error, now),
            None => live.apply_initial_scan(stored, pool, now),
        }
        live
    }

    /// Watches the metadata and runs the initial scan of all features.
    fn apply_initial_scan(
        &mut self,
        mut stored: BTreeMap<FeatureSlug, Stored>,
        pool: &Pool,
        now: Now,
    ) {
        self.remote = remote_fs_name(&self.setup.root).unwrap_or_default();
        if self.watch_metadata_dirs()
            && let Ok(project) = open(&self.setup)
        {
            self.project = Arc::new(project);
        }
        let (dirs, skipped) = match self.project.discover() {
            Ok(found) => (found.features, found.skipped),
            Err(error) => return self.start_without_root(stored, &io::Error::other(error), now),
        };
        let known = stored.iter().map(|(slug, known)| (slug, &known.entries));
        if looks_unmounted(&self.project, &dirs, known) {
            return self.start_without_root(stored, &io::Error::other(UNMOUNTED), now);
        }
        self.drop_unconfigured(&mut stored, &dirs);
        self.watch_stored(&dirs, &stored);
        self.skipped = skipped;
        self.set_git_hold(false, now);
        let ahead = self.initial_scan().run(&dirs, &stored);
        for (dir, ahead) in dirs.into_iter().zip(ahead) {
            let known = stored.remove(&dir.slug).unwrap_or_default();
            self.add_feature(dir, known, ahead, Counting::Initial, pool, now);
        }
        for (slug, known) in stored {
            // It was deleted while no daemon ran, or git is about to restore it.
            let gone_since = known.gone_since;
            let dir = stored_or_default_dir(&slug, &known);
            self.add_feature(dir.clone(), known, None, Counting::Initial, pool, now);
            if let Some(feature) = self.features.get_mut(&dir.slug) {
                feature.gone_since = gone_since;
            }
            if self.git_hold_until(now).is_none() {
                self.mark_deleted(&dir.slug, now);
            } else {
                self.refresh_due = Some(now.elapsed);
            }
        }
        if self.watch_metadata_dirs() {
            self.refresh_due = Some(now.elapsed);
        }
        self.findings = self.project.manifest_diagnostics();
    }

    /// Does what is due: checks of the root and the watches, the metadata refresh, path checks, the
    /// scrub.
    pub(super) fn turn(&mut self, pool: &Pool, now: Now) {
        if self.root.away.is_some() {
            return self.probe_root(now);
        }
        self.maintain_watches(pool, now);
        if self.refresh_due.is_some_and(|due| due <= now.elapsed) {
            self.refresh_due = None;
            self.refresh(pool, now);
        }
        if self.expire_at.is_some_and(|due| due <= now.elapsed) {
            self.expire_deleted(now);
        }
        self.update_git_hold(now);
        for slug in &self.active {
            let Some(feature) = self.features.get_mut(slug) else {
                continue;
            };
            for (path, flight) in feature.take_due_paths(now.elapsed) {
                enqueue_check(feature, &self.setup, &self.project, &path, flight, pool);
            }
        }
        self.scrub_next(pool, now);
        self.retry_snapshots(now);
        self.check_watcher_timeout(now);
    }

    /// Returns when the project needs attention without a new hint.
    pub(super) fn next_due(&self) -> Option<Duration> {
        if let Some(away) = &self.root.away {
            return Some(away.probe_at);
        }
        let features = self.active().filter_map(LiveFeature::next_due);
        let git = self.git_due();
        let others = [
            self.refresh_due,
            self.expire_at,
            self.care.next_due(),
            self.scrub.next_due(),
            self.unwritten.next_due(),
            git,
        ];
        features.chain(others.into_iter().flatten()).min()
    }

    /// Returns true if one feature or all have settled; ignores events that were lost.
    pub(super) fn is_rescanned(&self, slug: Option<&FeatureSlug>) -> bool {
        let is_selected =
            |feature: &&LiveFeature| slug.is_none_or(|slug| *slug == feature.dir.slug);
        self.refresh_due.is_none() && self.active().filter(is_selected).all(LiveFeature::is_settled)
    }

    /// Returns true if one feature or all have no path pending or in flight; ignores what could not
    /// be committed.
    pub(super) fn is_checked(&self, slug: Option<&FeatureSlug>) -> bool {
        let is_selected =
            |feature: &&LiveFeature| slug.is_none_or(|slug| *slug == feature.dir.slug);
        self.refresh_due.is_none() && self.active().filter(is_selected).all(LiveFeature::is_checked)
    }

    /// Returns true if one feature or all have settled and no lost event needs a rescan.
    pub(super) fn is_settled(&self, slug: Option<&FeatureSlug>) -> bool {
        !self.care.is_rescan_due() && self.is_rescanned(slug)
    }

    /// Returns true if nothing is pending.
    pub(super) fn is_idle(&self) -> bool {
        self.is_settled(None) && self.active().all(LiveFeature::is_idle)
    }

    /// Returns the active features.
    fn active(&self) -> impl Iterator<Item = &LiveFeature> {
        self.active.iter().filter_map(|slug| self.features.get(slug)).map(Box::as_ref)
    }

    /// Returns a feature and marks it as active.
    pub(super) fn activate(&mut self, slug: &FeatureSlug) -> Option<&mut LiveFeature> {
        let feature = self.features.get_mut(slug)?;
        self.active.insert(slug.clone());
        Some(feature)
    }

    /// Calls `act` with each active feature.
    pub(super) fn for_each_active(&mut self, mut act: impl FnMut(&FeatureSlug, &mut LiveFeature)) {
        for slug in &self.active {
            if let Some(feature) = self.features.get_mut(slug) {
                act(slug, feature);
            }
        }
    }

    /// Returns the number of features.
    pub(super) fn feature_count(&self) -> usize {
        self.features.len()
    }
}

//! One project while it is watched: its watcher, its features, and what a hint about a path of it
//! leads to.

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

/// Hints about steering files are gathered for this long before these are read again.
const REFRESH_DELAY: Duration = Duration::from_millis(20);
/// The file of a feature that steers it.
const META: &[u8] = b"meta.json";

/// What the engine's clocks say, taken once per turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Since the engine started; never goes back.
    pub(super) elapsed: Duration,
    /// The wall clock.
    pub(super) at: Timestamp,
}

/// What is fixed of a project while it is watched.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) id: ProjectId,
    pub(super) root: PathBuf,
    pub(super) settings: ProjectSettings,
    pub(super) machine: Machine,
    pub(super) user_missions: Option<PathBuf>,
    pub(super) limits: ScanLimits,
    pub(super) times: DebounceTimes,
    /// How long one reading of everything in the background may take; `None` not to do that.
    pub(super) scrub: Option<Duration>,
    /// Directory for cookie files, watched on the same kernel queue.
    pub(super) cookies: PathBuf,
}

/// A project that is watched.
pub(super) struct LiveProject {
    pub(super) setup: Setup,
    pub(super) project: Arc<Project>,
    /// Boxed: a map's nodes are half empty, and a feature is large.
    features: BTreeMap<FeatureSlug, Box<LiveFeature>>,
    /// Where they lie.
    places: Places,
    /// The features that have something to do or to show: a turn costs what these do, however many
    /// others there are.
    active: BTreeSet<FeatureSlug>,
    /// What was shown last.
    published: Option<Arc<ProjectView>>,
    /// Whether something else than features is to be shown anew.
    changed: bool,
    watching: Watching,
    root: Root,
    care: Care,
    scrub: Scrub,
    unwritten: Unwritten,
    ignore: PatternSet,
    /// Where features may come to lie.
    patterns: FeaturePatterns,
    /// What is wrong beside what is not watched.
    fault: Option<String>,
    /// Features that are to be forgotten by the store.
    pub(super) removed_features: Vec<FeatureSlug>,
    /// Features that are beyond a budget, or may be: how many entries there are only listing tells.
    over_limit: BTreeSet<FeatureSlug>,
    /// Whether the process had no descriptor left when something was last looked at.
    out_of_resources: bool,
    skipped: Vec<SkippedDir>,
    findings: ManifestDiagnostics,
    pub(super) refresh_due: Option<Duration>,
    /// Features to compare when what steers is next read: their directories were replaced.
    recompare: BTreeSet<FeatureSlug>,
    /// Features whose directory was seen to be missing, and since when.
    missing: BTreeMap<FeatureSlug, Duration>,
    /// When features that are gone may be done with.
    expire_at: Option<Duration>,
    /// Until when git has the work tree, which may have passed.
    git: Option<Duration>,
    /// What kind of file system the root is on, where its files can be changed from elsewhere.
    remote: Option<&'static str>,
}

/// Whether differences found by a comparison count at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// They do: nobody was looking, so there is nothing to wait for.
    Initial,
    /// They settle first.
    Rewatch,
    /// They settle first, and what is watched stays watched as it is: nothing was lost.
    Poll,
}

impl LiveProject {
    /// Opens and watches a project; `stored` is what is known of its features. One whose root cannot
    /// be opened is waited for.
    pub(super) fn start(
        setup: Setup,
        make: MakeBackend,
        stored: BTreeMap<FeatureSlug, Stored>,
        pool: &Pool,
        now: Now,
    ) -> Self {
        let (ignore, fault) = match PatternSet::new(&setup.settings.ignore) {
            Ok(ignore) => (ignore, None),
            Err(error) => (
                PatternSet::default(),
                Some(format!("the `ignore` patterns are not used: {error}")),
            ),
        };
        let opened = open(&setup);
        let absent = || Project::unavailable(&setup.root, setup.settings.clone(), &setup.machine);
        let (project, refused) = match opened {
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
        match refused {
            Some(error) => live.start_without_root(stored, &error, now),
            None => live.apply_initial_scan(stored, pool, now),
        }
        live
    }

    /// Watches what steers, and looks at all features.
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
            // It went away while no one looked, or git is about to bring it back.
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

    /// Looks after the root and the watches, at the paths that count by now, and reads what steers
    /// if that is due.
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

    /// When something is to be done without a new hint.
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

    /// Whether nothing waits, of one feature or of all; lost events aside.
    pub(super) fn is_rescanned(&self, slug: Option<&FeatureSlug>) -> bool {
        let meant = |feature: &&LiveFeature| slug.is_none_or(|slug| *slug == feature.dir.slug);
        self.refresh_due.is_none() && self.active().filter(meant).all(LiveFeature::is_settled)
    }

    /// Whether nothing waits to be looked at, of one feature or of all; what the disk does not take
    /// aside.
    pub(super) fn is_checked(&self, slug: Option<&FeatureSlug>) -> bool {
        let meant = |feature: &&LiveFeature| slug.is_none_or(|slug| *slug == feature.dir.slug);
        self.refresh_due.is_none() && self.active().filter(meant).all(LiveFeature::is_checked)
    }

    /// The same, and no event was lost that nothing has made up for yet.
    pub(super) fn is_settled(&self, slug: Option<&FeatureSlug>) -> bool {
        !self.care.is_rescan_due() && self.is_rescanned(slug)
    }

    /// Whether nothing at all is left to do.
    pub(super) fn is_idle(&self) -> bool {
        self.is_settled(None) && self.active().all(LiveFeature::is_idle)
    }

    /// The features that have something to do.
    fn active(&self) -> impl Iterator<Item = &LiveFeature> {
        self.active.iter().filter_map(|slug| self.features.get(slug)).map(Box::as_ref)
    }

    /// A feature that has something to do from now on.
    pub(super) fn activate(&mut self, slug: &FeatureSlug) -> Option<&mut LiveFeature> {
        let feature = self.features.get_mut(slug)?;
        self.active.insert(slug.clone());
        Some(feature)
    }

    /// Calls `act` with each feature that has something to do.
    pub(super) fn for_each_active(&mut self, mut act: impl FnMut(&FeatureSlug, &mut LiveFeature)) {
        for slug in &self.active {
            if let Some(feature) = self.features.get_mut(slug) {
                act(slug, feature);
            }
        }
    }

    /// Number of features.
    pub(super) fn feature_count(&self) -> usize {
        self.features.len()
    }
}

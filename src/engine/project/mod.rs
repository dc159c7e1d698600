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
use crate::core::diagnostics::{FileError, SkippedDir};
use crate::core::path::FeatureSlug;
use crate::core::pattern::PatternSet;
use crate::core::time::Timestamp;
use crate::project::{FeaturePatterns, Machine, Project, ProjectSettings};
use crate::scan::ScanLimits;
use crate::scan::remote_fs::remote_fs_name;
use crate::watch::DebounceTimes;
use attend::Care;
use compare::fly;
pub(super) use compare::is_no_folder;
use places::Places;
use root::{ELSEWHERE, Root, dir_of_gone, lies_elsewhere};
use scrub::Scrub;
use steer::open;
use unwritten::Unwritten;
use watching::{MakeBackend, Watching};

/// Hints about steering files are gathered for this long before these are read again.
const REFRESH_PAUSE: Duration = Duration::from_millis(20);
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
    awake: BTreeSet<FeatureSlug>,
    /// What was shown last.
    shown: Option<Arc<ProjectView>>,
    /// Whether something else than features is to be shown anew.
    changed: bool,
    watching: Watching,
    root: Root,
    care: Care,
    scrub: Scrub,
    unwritten: Unwritten,
    ignore: PatternSet,
    /// Where features may come to lie.
    ways: FeaturePatterns,
    /// What is wrong beside what is not watched.
    fault: Option<String>,
    /// Features that are to be forgotten by the store.
    pub(super) forgotten: Vec<FeatureSlug>,
    /// Features that are beyond a budget, or may be: how many entries there are only listing tells.
    budget: BTreeSet<FeatureSlug>,
    /// Whether the process had no descriptor left when something was last looked at.
    starved: bool,
    skipped: Vec<SkippedDir>,
    findings: (Vec<FileError>, Vec<String>),
    pub(super) refresh_due: Option<Duration>,
    /// Features to compare when what steers is next read: their directories were replaced.
    recompare: BTreeSet<FeatureSlug>,
    /// Features whose directory was seen to be missing, and since when.
    missing: BTreeMap<FeatureSlug, Duration>,
    /// When features that are gone may be done with.
    forget_at: Option<Duration>,
    /// Until when git has the work tree, which may have passed.
    git: Option<Duration>,
    /// What kind of file system the root is on, where its files can be changed from elsewhere.
    remote: Option<&'static str>,
}

/// Whether differences found by a comparison count at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// They do: nobody was looking, so there is nothing to wait for.
    AtOnce,
    /// They settle first.
    Settled,
    /// They settle first, and what is watched stays watched as it is: nothing was lost.
    Polled,
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
            awake: BTreeSet::new(),
            shown: None,
            changed: true,
            watching: Watching::new(make),
            root: Root::new(probe),
            care: Care::default(),
            scrub: Scrub::new(setup.scrub, now.elapsed),
            unwritten: Unwritten::default(),
            ignore,
            ways: FeaturePatterns::new(&setup.settings.feature_patterns()),
            fault,
            budget: BTreeSet::new(),
            forgotten: Vec::new(),
            starved: false,
            skipped: Vec::new(),
            findings: (Vec::new(), Vec::new()),
            refresh_due: None,
            recompare: BTreeSet::new(),
            missing: BTreeMap::new(),
            forget_at: None,
            git: None,
            remote: None,
            setup,
        };
        match refused {
            Some(error) => live.wait_with(stored, &error, now),
            None => live.settle_in(stored, pool, now),
        }
        live
    }

    /// Watches what steers, and looks at all features.
    fn settle_in(&mut self, mut stored: BTreeMap<FeatureSlug, Stored>, pool: &Pool, now: Now) {
        self.remote = remote_fs_name(&self.setup.root);
        if self.watch_steering()
            && let Ok(project) = open(&self.setup)
        {
            self.project = Arc::new(project);
        }
        let (dirs, skipped) = match self.project.discover() {
            Ok(found) => found,
            Err(error) => return self.wait_with(stored, &io::Error::other(error), now),
        };
        let known = stored.iter().map(|(slug, known)| (slug, &known.entries));
        if lies_elsewhere(&self.project, &dirs, known) {
            return self.wait_with(stored, &io::Error::other(ELSEWHERE), now);
        }
        self.forget_not_meant(&mut stored, &dirs);
        self.watch_stored(&dirs, &stored);
        self.skipped = skipped;
        self.note_git(false, now);
        let ahead = self.eyes().look_at_all(&dirs, &stored);
        for (dir, ahead) in dirs.into_iter().zip(ahead) {
            let known = stored.remove(&dir.slug).unwrap_or_default();
            self.add_feature(dir, known, ahead, Counting::AtOnce, pool, now);
        }
        for (slug, known) in stored {
            // It went away while no one looked, or git is about to bring it back.
            let gone_since = known.gone_since;
            let dir = dir_of_gone(&slug, &known);
            self.add_feature(dir.clone(), known, None, Counting::AtOnce, pool, now);
            if let Some(feature) = self.features.get_mut(&dir.slug) {
                feature.gone_since = gone_since;
            }
            if self.hold(now).is_none() {
                self.lose_feature(&dir.slug, now);
            } else {
                self.refresh_due = Some(now.elapsed);
            }
        }
        if self.watch_steering() {
            self.refresh_due = Some(now.elapsed);
        }
        self.findings = self.project.manifest_diagnostics();
    }

    /// Looks after the root and the watches, at the paths that count by now, and reads what steers
    /// if that is due.
    pub(super) fn turn(&mut self, pool: &Pool, now: Now) {
        if self.root.away.is_some() {
            return self.look_for_root(now);
        }
        self.attend(pool, now);
        if self.refresh_due.is_some_and(|due| due <= now.elapsed) {
            self.refresh_due = None;
            self.refresh(pool, now);
        }
        if self.forget_at.is_some_and(|due| due <= now.elapsed) {
            self.forget_gone(now);
        }
        self.look_at_git(now);
        for slug in &self.awake {
            let Some(feature) = self.features.get_mut(slug) else {
                continue;
            };
            for (path, flight) in feature.take_due_paths(now.elapsed) {
                fly(feature, &self.setup, &self.project, &path, flight, pool);
            }
        }
        self.scrub_some(pool, now);
        self.project_again(now);
        self.notice_stuck(now);
    }

    /// When something is to be done without a new hint.
    pub(super) fn next_due(&self) -> Option<Duration> {
        if let Some(away) = &self.root.away {
            return Some(away.look_at);
        }
        let features = self.awake().filter_map(LiveFeature::next_due);
        let git = self.git_due();
        let others = [
            self.refresh_due,
            self.forget_at,
            self.care.next_due(),
            self.scrub.next_due(),
            self.unwritten.next_due(),
            git,
        ];
        features.chain(others.into_iter().flatten()).min()
    }

    /// Whether nothing waits, of one feature or of all; lost events aside.
    pub(super) fn is_compared(&self, slug: Option<&FeatureSlug>) -> bool {
        let meant = |feature: &&LiveFeature| slug.is_none_or(|slug| *slug == feature.dir.slug);
        self.refresh_due.is_none() && self.awake().filter(meant).all(LiveFeature::is_settled)
    }

    /// Whether nothing waits to be looked at, of one feature or of all; what the disk does not take
    /// aside.
    pub(super) fn is_looked_at(&self, slug: Option<&FeatureSlug>) -> bool {
        let meant = |feature: &&LiveFeature| slug.is_none_or(|slug| *slug == feature.dir.slug);
        self.refresh_due.is_none() && self.awake().filter(meant).all(LiveFeature::is_looked_at)
    }

    /// The same, and no event was lost that nothing has made up for yet.
    pub(super) fn is_settled(&self, slug: Option<&FeatureSlug>) -> bool {
        !self.care.has_lost() && self.is_compared(slug)
    }

    /// Whether nothing at all is left to do.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_settled(None) && self.awake().all(LiveFeature::is_at_rest)
    }

    /// The features that have something to do.
    fn awake(&self) -> impl Iterator<Item = &LiveFeature> {
        self.awake.iter().filter_map(|slug| self.features.get(slug)).map(Box::as_ref)
    }

    /// A feature that has something to do from now on.
    pub(super) fn wake(&mut self, slug: &FeatureSlug) -> Option<&mut LiveFeature> {
        let feature = self.features.get_mut(slug)?;
        self.awake.insert(slug.clone());
        Some(feature)
    }

    /// Calls `act` with each feature that has something to do.
    pub(super) fn each_awake(&mut self, mut act: impl FnMut(&FeatureSlug, &mut LiveFeature)) {
        for slug in &self.awake {
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

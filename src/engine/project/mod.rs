//! One project while it is watched: its watcher, its features, and what a hint about a path of it
//! leads to.

mod compare;
mod steer;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::feature::{LiveFeature, Stored};
use super::inbox::ProjectId;
use super::pool::Pool;
use super::view::{FeatureView, ProjectView};
use crate::core::findings::{FileError, Skipped};
use crate::core::path::{FeatureSlug, RelPath, escape_bytes};
use crate::core::pattern::PatternSet;
use crate::core::time::Timestamp;
use crate::core::transition::Gone;
use crate::project::{FeatureDir, Machine, Project, Settings};
use crate::scan::{Limits, Look};
use crate::watch::{Backend, SettleTimes, What};
use compare::{fly, hide, is_at_or_below, vanish};
use steer::open;

/// Hints about steering files are gathered for this long before these are read again.
const REFRESH_PAUSE: Duration = Duration::from_millis(20);
/// A file written so shortly before it was read that another write may look the same is read again
/// after this; one that changes while it is read, too.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
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
    pub(super) settings: Settings,
    pub(super) machine: Machine,
    pub(super) user_missions: Option<PathBuf>,
    pub(super) limits: Limits,
    pub(super) times: SettleTimes,
    /// Folder for cookie files, watched on the same kernel queue.
    pub(super) cookies: PathBuf,
}

/// A project that is watched.
pub(super) struct LiveProject {
    pub(super) setup: Setup,
    pub(super) project: Arc<Project>,
    features: BTreeMap<FeatureSlug, LiveFeature>,
    /// The features that have something to do or to show: a turn costs what these do, however many
    /// others there are.
    awake: BTreeSet<FeatureSlug>,
    /// What was shown last.
    shown: Option<Arc<ProjectView>>,
    /// Whether something else than features is to be shown anew.
    changed: bool,
    backend: Box<dyn Backend>,
    ignore: PatternSet,
    watched: HashSet<PathBuf>,
    unwatched: Option<String>,
    skipped: Vec<Skipped>,
    findings: (Vec<FileError>, Vec<String>),
    pub(super) refresh_due: Option<Duration>,
    /// Features to compare when what steers is next read: their folders were replaced.
    recompare: BTreeSet<FeatureSlug>,
    /// Features whose folder was seen to be missing, and since when.
    missing: BTreeMap<FeatureSlug, Duration>,
}

/// Whether differences found by a comparison count at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// They do: nobody was looking, so there is nothing to wait for.
    AtOnce,
    /// They settle first.
    Settled,
}

impl LiveProject {
    /// Opens and watches a project; `stored` gives what is known of a feature.
    ///
    /// # Errors
    /// When the root cannot be opened, or its `ignore` patterns not compiled.
    pub(super) fn start(
        setup: Setup,
        backend: Box<dyn Backend>,
        mut stored: BTreeMap<FeatureSlug, Stored>,
        pool: &Pool,
        now: Now,
    ) -> Result<Self, String> {
        let ignore = PatternSet::new(&setup.settings.ignore)?;
        let project = open(&setup).map_err(|error| error.to_string())?;
        let mut live = Self {
            project: Arc::new(project),
            features: BTreeMap::new(),
            awake: BTreeSet::new(),
            shown: None,
            changed: true,
            backend,
            ignore,
            watched: HashSet::new(),
            unwatched: None,
            skipped: Vec::new(),
            findings: (Vec::new(), Vec::new()),
            refresh_due: None,
            recompare: BTreeSet::new(),
            missing: BTreeMap::new(),
            setup,
        };
        if live.watch_steering() {
            live.project = Arc::new(open(&live.setup).map_err(|error| error.to_string())?);
        }
        live.watch_stored(&stored);
        let (dirs, skipped) = live.discover();
        live.skipped = skipped;
        for dir in dirs {
            let known = stored.remove(&dir.slug).unwrap_or_default();
            live.add_feature(dir, known, Counting::AtOnce, pool, now);
        }
        for (slug, known) in stored {
            // It went away while no one looked.
            let dir = FeatureDir { path: RelPath::new(slug.as_str().as_bytes()).ok(), slug };
            live.add_feature(dir.clone(), known, Counting::AtOnce, pool, now);
            live.lose_feature(&dir.slug, now);
        }
        if live.watch_steering() {
            live.refresh_due = Some(now.elapsed);
        }
        live.findings = live.project.manifest_findings();
        Ok(live)
    }

    /// Takes a hint about an absolute path. Says whether it was a cookie.
    pub(super) fn hint(&mut self, path: &Path, what: What, pool: &Pool, now: Now) -> bool {
        if path.starts_with(&self.setup.cookies) {
            return true;
        }
        let relative = path.strip_prefix(&self.setup.root).ok();
        let relative = relative.and_then(|path| RelPath::new(path.as_os_str().as_bytes()).ok());
        let Some(relative) = relative else {
            // The root itself, or a folder of the user or of git, of which only the head matters.
            let of_user = self
                .setup
                .user_missions
                .as_ref()
                .is_some_and(|own| path.starts_with(own) || own.starts_with(path));
            if of_user && what != What::Closed {
                self.watched.retain(|watched| !watched.starts_with(path));
            }
            if of_user || path == self.setup.root || path.ends_with("HEAD") {
                self.refresh_due.get_or_insert(now.elapsed + REFRESH_PAUSE);
            }
            return false;
        };
        let place = self.feature_of(&relative);
        if what != What::Closed && !matches!(place, Some((_, Some(_)))) {
            self.replaced(path, &relative, now);
        }
        match place {
            Some((slug, Some(below))) => self.hint_in_feature(&slug, &below, what, pool, now),
            Some((_, None)) => {
                self.refresh_due.get_or_insert(now.elapsed + REFRESH_PAUSE);
            }
            None if self.steers(&relative) => {
                self.refresh_due.get_or_insert(now.elapsed + REFRESH_PAUSE);
            }
            None => {}
        }
        false
    }

    /// Takes that a watched folder outside of the features, or one of theirs, came or went: the
    /// watches below that name are of what lay there before.
    fn replaced(&mut self, path: &Path, relative: &RelPath, now: Now) {
        if !self.watched.contains(path) {
            return;
        }
        self.watched.retain(|watched| !watched.starts_with(path));
        self.refresh_due.get_or_insert(now.elapsed + REFRESH_PAUSE);
        for feature in self.features.values() {
            let below = feature.dir.path.as_ref().is_none_or(|path| is_at_or_below(path, relative));
            if below {
                self.recompare.insert(feature.dir.slug.clone());
            }
        }
    }

    /// The feature that a path below the root is in, and the path below that feature.
    fn feature_of(&self, path: &RelPath) -> Option<(FeatureSlug, Option<RelPath>)> {
        self.features.values().find_map(|feature| {
            let Some(folder) = &feature.dir.path else {
                return Some((feature.dir.slug.clone(), Some(path.clone())));
            };
            let rest = path.as_bytes().strip_prefix(folder.as_bytes())?;
            match rest.split_first() {
                None => Some((feature.dir.slug.clone(), None)),
                Some((b'/', below)) => {
                    Some((feature.dir.slug.clone(), Some(RelPath::new(below).ok()?)))
                }
                Some(_) => None,
            }
        })
    }

    fn hint_in_feature(
        &mut self,
        slug: &FeatureSlug,
        path: &RelPath,
        what: What,
        pool: &Pool,
        now: Now,
    ) {
        if path.components().any(|component| component.starts_with(b"."))
            || self.ignore.is_match(path)
        {
            return;
        }
        if path.as_bytes() == META {
            self.refresh_due.get_or_insert(now.elapsed + REFRESH_PAUSE);
        }
        let is_folder = match what {
            What::Folder => true,
            What::Arrived => self.is_folder(slug, path),
            What::Closed | What::Touched | What::Removed => false,
        };
        if is_folder {
            return self.compare(slug, Some(path), Counting::Settled, pool, now);
        }
        let Some(feature) = self.wake(slug) else {
            return;
        };
        match what {
            What::Removed => {
                for below in feature.paths_below(Some(path)) {
                    vanish(feature, below, now);
                }
                if feature.knows(path) {
                    feature.vanishing.insert(path.clone(), now.elapsed);
                }
            }
            What::Arrived | What::Closed | What::Touched | What::Folder => {
                feature.vanishing.remove(path);
            }
        }
        let indexed = feature.knows(path);
        feature.settle.hint(path, what, indexed, now.elapsed);
    }

    fn is_folder(&self, slug: &FeatureSlug, path: &RelPath) -> bool {
        self.absolute(slug, Some(path))
            .and_then(|path| path.symlink_metadata().ok())
            .is_some_and(|metadata| metadata.is_dir())
    }

    fn absolute(&self, slug: &FeatureSlug, path: Option<&RelPath>) -> Option<PathBuf> {
        let feature = self.project.feature_path(&self.features.get(slug)?.dir);
        Some(match path {
            Some(path) => feature.join(std::ffi::OsStr::from_bytes(path.as_bytes())),
            None => feature,
        })
    }

    /// Looks at the paths that count by now, and reads what steers if that is due.
    pub(super) fn turn(&mut self, pool: &Pool, now: Now) {
        if self.refresh_due.is_some_and(|due| due <= now.elapsed) {
            self.refresh_due = None;
            self.refresh(pool, now);
        }
        for slug in &self.awake {
            let Some(feature) = self.features.get_mut(slug) else {
                continue;
            };
            for path in feature.take_due_paths(now.elapsed) {
                fly(feature, &self.setup, &self.project, &path, pool);
            }
        }
    }

    /// Takes what a look at a path came to.
    pub(super) fn landed(
        &mut self,
        slug: &FeatureSlug,
        path: &RelPath,
        look: Look,
        pool: &Pool,
        now: Now,
    ) {
        let Some(feature) = self.features.get_mut(slug) else {
            return;
        };
        self.awake.insert(slug.clone());
        let again = feature.flying.remove(path).unwrap_or_default();
        if again {
            fly(feature, &self.setup, &self.project, path, pool);
        }
        match look {
            Look::Unchanged => {
                feature.vanishing.remove(path);
            }
            Look::Seen(seen) => {
                feature.vanishing.remove(path);
                if seen.racy {
                    feature.rechecks.insert((now.elapsed + LOOK_AGAIN, path.clone()));
                }
                feature.set(seen, now.at, now.elapsed);
                // Where a file is, nothing can be below.
                for below in feature.paths_below(Some(path)) {
                    vanish(feature, below, now);
                }
                if path.as_bytes() == META {
                    self.refresh_due.get_or_insert(now.elapsed + REFRESH_PAUSE);
                }
            }
            Look::Gone if !feature.knows(path) => {}
            Look::Gone if !feature.indexed => {
                feature.remove(path, Gone::Deleted, now.elapsed);
            }
            Look::Gone => match feature.vanishing.get(path) {
                Some(since) if *since + self.setup.times.vanish <= now.elapsed => {
                    feature.remove(path, Gone::Deleted, now.elapsed);
                }
                // It was there but now: this look was for an earlier hint.
                Some(since) => feature.settle.again(path, *since + self.setup.times.vanish),
                None => vanish(feature, path.clone(), now),
            },
            Look::Restless => feature.settle.again(path, now.elapsed + LOOK_AGAIN),
            Look::Hidden(folder, why) => hide(feature, &folder, &why, now),
            Look::Folder => {
                // What was there as a file is not; what is in the folder comes by comparing.
                feature.remove(path, Gone::Deleted, now.elapsed);
                self.compare(slug, Some(path), Counting::Settled, pool, now);
            }
            Look::Large => {}
        }
    }

    /// When something is to be done without a new hint.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let features = self.awake().filter_map(LiveFeature::next_due);
        features.chain(self.refresh_due).min()
    }

    /// Whether nothing waits, of one feature or of all.
    pub(super) fn is_settled(&self, slug: Option<&FeatureSlug>) -> bool {
        let meant = |feature: &&LiveFeature| slug.is_none_or(|slug| *slug == feature.dir.slug);
        self.refresh_due.is_none() && self.awake().filter(meant).all(LiveFeature::is_settled)
    }

    /// Whether nothing at all is left to do.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_settled(None) && self.awake().all(LiveFeature::is_at_rest)
    }

    /// The features that have something to do.
    fn awake(&self) -> impl Iterator<Item = &LiveFeature> {
        self.awake.iter().filter_map(|slug| self.features.get(slug))
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

    /// The present picture, the same as before where nothing changed; features with nothing left to
    /// do sleep from then on. `news` is called with each that was shown anew.
    pub(super) fn view(
        &mut self,
        at: Timestamp,
        mut news: impl FnMut(&Arc<Project>, &LiveFeature, &Arc<FeatureView>),
    ) -> Arc<ProjectView> {
        let name = self.project.name.clone();
        let mut changed = std::mem::take(&mut self.changed);
        let shown = self.shown.take();
        let mut features = shown.as_ref().map(|shown| shown.features.clone()).unwrap_or_default();
        for slug in &self.awake {
            let Some(feature) = self.features.get_mut(slug) else {
                continue;
            };
            let view = feature.view(&name, at);
            match features.binary_search_by(|known| known.slug().cmp(slug)) {
                Ok(place) if Arc::ptr_eq(&features[place], &view) => continue,
                Ok(place) => features[place] = Arc::clone(&view),
                Err(place) => features.insert(place, Arc::clone(&view)),
            }
            changed = true;
            news(&self.project, feature, &view);
        }
        let ready = self.awake().all(|feature| feature.indexed);
        self.awake.retain(|slug| {
            self.features.get(slug).is_some_and(|feature| !feature.is_at_rest() || !feature.indexed)
        });
        let view = match shown {
            Some(shown) if !changed && shown.ready == ready => shown,
            _ => Arc::new(ProjectView {
                root: escape_bytes(self.setup.root.as_os_str().as_bytes()).into_owned(),
                root_id: self.project.root_id.clone(),
                project_uuid: self.project.project_uuid.clone(),
                node_id: self.project.node_id.clone(),
                errors: self.project.errors.iter().chain(&self.findings.0).cloned().collect(),
                warnings: self.findings.1.clone(),
                skipped: self.skipped.clone(),
                watched: self.watched.len() as u64,
                unwatched: self.unwatched.clone(),
                ready,
                features,
                name,
            }),
        };
        self.shown = Some(Arc::clone(&view));
        view
    }
}

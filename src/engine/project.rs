//! One project while it is watched: its watcher, its features, and what a hint about a path of it
//! leads to.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::feature::{LiveFeature, Stored};
use super::inbox::ProjectId;
use super::pool::{Job, Pool};
use super::view::{FeatureView, ProjectView};
use crate::core::artifact::{ErrorReason, Fault, Observation, State};
use crate::core::dossier::Doubt;
use crate::core::findings::{FileError, Skipped};
use crate::core::path::{FeatureSlug, RelPath, escape_bytes};
use crate::core::pattern::PatternSet;
use crate::core::time::Timestamp;
use crate::core::transition::Gone;
use crate::project::{FeatureDir, Machine, Project, Settings};
use crate::scan::{Limits, Look, list};
use crate::watch::{Backend, SettleTimes, WatchError, What};

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

    /// Whether a path outside of the features can change what is known of them.
    fn steers(&self, path: &RelPath) -> bool {
        let first = path.components().next().unwrap_or_default();
        // Our own files: only baselines matter, and what we write ourselves reads as it was.
        if path.as_bytes().starts_with(b".kittify/dossiers/") {
            return path.file_name() == b"parity-baseline.json" || path.components().count() < 4;
        }
        first == b".kittify"
            || matches!(path.as_bytes(), b".git" | b".git/HEAD")
            || self
                .project
                .run_folders()
                .any(|run| is_at_or_below(&run, path) || is_at_or_below(path, &run))
            || self.setup.settings.feature_patterns().iter().any(|pattern| {
                pattern.literal_components() == 0
                    || pattern.as_str().as_bytes().split(|byte| *byte == b'/').next() == Some(first)
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

    /// Compares a folder of a feature, or all of it, with the disk, watching each folder before it
    /// is listed.
    pub(super) fn compare(
        &mut self,
        slug: &FeatureSlug,
        folder: Option<&RelPath>,
        counting: Counting,
        pool: &Pool,
        now: Now,
    ) {
        let Some(base) = self.absolute(slug, None) else {
            return;
        };
        let Some(feature) = self.features.get_mut(slug) else {
            return;
        };
        self.awake.insert(slug.clone());
        self.changed = true;
        let dir = &feature.dir;
        let opened = match (folder, &dir.path) {
            (None, _) => self.project.open_feature(dir),
            (Some(folder), _) => self.project.open_folder_of(dir, folder),
        };
        let (backend, watched, unwatched) =
            (&mut self.backend, &mut self.watched, &mut self.unwatched);
        let listing = opened.and_then(|opened| {
            list(opened, folder, &self.setup.limits, &self.ignore, |entered| {
                let path = match entered {
                    Some(path) => base.join(std::ffi::OsStr::from_bytes(path.as_bytes())),
                    None => base.clone(),
                };
                if counting == Counting::Settled || !watched.contains(&path) {
                    match backend.watch(&path) {
                        Ok(()) => {
                            watched.insert(path);
                        }
                        Err(WatchError::Gone(_)) => {}
                        Err(error) => *unwatched = Some(error.to_string()),
                    }
                }
            })
        });
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) if is_no_folder(&error) => {
                if let Some(folder) = folder {
                    for below in feature.paths_below(Some(folder)) {
                        vanish(feature, below, now);
                    }
                    let indexed = feature.knows(folder);
                    feature.settle.hint(folder, What::Closed, indexed, now.elapsed);
                }
                return;
            }
            Err(error) => {
                match folder {
                    Some(folder) => hide(feature, folder, &error.to_string(), now),
                    None => {
                        let inputs = self.project.inputs(&feature.dir);
                        let doubt = Some(Doubt::Unreadable(error.to_string()));
                        feature.take_unseen(doubt, inputs, now.at, now.elapsed);
                    }
                }
                return;
            }
        };
        feature.compared(now.at);
        if let Some(folder) = folder {
            // What was there as a file is not any more.
            feature.remove(folder, Gone::Deleted, now.elapsed);
        }
        if folder.is_none() {
            let doubt = listing.over_budget.map(Doubt::OverBudget);
            if doubt != feature.unseen {
                let inputs = self.project.inputs(&feature.dir);
                feature.take_unseen(doubt, inputs, now.at, now.elapsed);
            }
        }
        for (path, why) in &listing.unreadable {
            hide(feature, path, why, now);
        }
        let mut listed = HashSet::with_capacity(listing.files.len());
        for file in listing.files {
            let known = feature.inventory.entries().get(&file.path);
            let same = known.is_some_and(|entry| {
                !entry.racy && entry.signature.is_some() && entry.signature == file.signature
            });
            if !same {
                let indexed = known.is_some();
                match counting {
                    Counting::AtOnce => fly(feature, &self.setup, &self.project, &file.path, pool),
                    Counting::Settled => {
                        feature.settle.hint(&file.path, What::Closed, indexed, now.elapsed);
                    }
                }
            }
            listed.insert(file.path);
        }
        let hidden: Vec<&RelPath> = listing.unreadable.iter().map(|(path, _)| path).collect();
        for path in feature.paths_below(folder) {
            if listed.contains(&path) || hidden.contains(&&path) {
                continue;
            }
            match counting {
                Counting::AtOnce => feature.remove(&path, Gone::Deleted, now.elapsed),
                Counting::Settled => vanish(feature, path, now),
            }
        }
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

    /// Compares everything with the disk.
    pub(super) fn compare_all(&mut self, counting: Counting, pool: &Pool, now: Now) {
        let slugs: Vec<FeatureSlug> = self.features.keys().cloned().collect();
        for slug in slugs {
            self.compare(&slug, None, counting, pool, now);
        }
        self.refresh_due = Some(now.elapsed);
    }

    /// Goes on with a new watcher, after the old one lost events: everything is watched anew and
    /// compared.
    pub(super) fn rewatch(&mut self, backend: Box<dyn Backend>, pool: &Pool, now: Now) {
        self.backend = backend;
        self.watched.clear();
        self.unwatched = None;
        self.watch_steering();
        self.compare_all(Counting::Settled, pool, now);
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

    /// Reads again all that steers, and finds features that came or went.
    fn refresh(&mut self, pool: &Pool, now: Now) {
        self.changed = true;
        match open(&self.setup) {
            Ok(project) => self.project = Arc::new(project),
            Err(error) => {
                self.unwatched = Some(format!("the project cannot be read: {error}"));
                return;
            }
        }
        let mut is_new = self.watch_steering();
        let (dirs, skipped) = self.discover();
        self.skipped = skipped;
        let gone: Vec<FeatureSlug> = self
            .features
            .keys()
            .filter(|slug| !dirs.iter().any(|dir| dir.slug == **slug))
            .cloned()
            .collect();
        self.missing.retain(|slug, _| gone.contains(slug));
        for slug in gone {
            // As with a file: it may come back in a moment.
            let since = *self.missing.entry(slug.clone()).or_insert(now.elapsed);
            let due = since + self.setup.times.vanish;
            if due <= now.elapsed {
                self.lose_feature(&slug, now);
            } else {
                self.refresh_due = Some(due);
            }
        }
        for dir in dirs {
            self.awake.insert(dir.slug.clone());
            match self.features.get_mut(&dir.slug) {
                Some(feature) if feature.unseen != Some(Doubt::Gone) && feature.dir == dir => {
                    let inputs = self.project.inputs(&dir);
                    feature.take_inputs(inputs, now.at, now.elapsed);
                    if self.recompare.remove(&dir.slug) {
                        self.compare(&dir.slug, None, Counting::Settled, pool, now);
                    }
                }
                Some(feature) => {
                    // It came back, or lies elsewhere now.
                    self.recompare.remove(&dir.slug);
                    feature.dir = dir.clone();
                    let inputs = self.project.inputs(&dir);
                    feature.take_unseen(None, inputs, now.at, now.elapsed);
                    self.compare(&dir.slug, None, Counting::Settled, pool, now);
                }
                None => self.add_feature(dir, Stored::default(), Counting::Settled, pool, now),
            }
        }
        is_new |= self.watch_steering();
        if is_new {
            self.refresh_due = Some(now.elapsed);
        }
        self.findings = self.project.manifest_findings();
    }

    fn add_feature(
        &mut self,
        dir: FeatureDir,
        stored: Stored,
        counting: Counting,
        pool: &Pool,
        now: Now,
    ) {
        let inputs = self.project.inputs(&dir);
        let slug = dir.slug.clone();
        let mut feature = LiveFeature::new(dir, inputs, stored, self.setup.times, now.elapsed);
        if counting == Counting::Settled {
            feature.first_by = now.elapsed + self.setup.times.max;
        }
        self.features.insert(slug.clone(), feature);
        self.compare(&slug, None, counting, pool, now);
    }

    /// One set of deletions; the feature stays, as gone.
    fn lose_feature(&mut self, slug: &FeatureSlug, now: Now) {
        let Some(feature) = self.features.get_mut(slug) else {
            return;
        };
        self.awake.insert(slug.clone());
        if feature.unseen == Some(Doubt::Gone) {
            return;
        }
        for path in feature.paths_below(None) {
            feature.settle.forget(&path);
            feature.remove(&path, Gone::Deleted, now.elapsed);
        }
        // What is being read of it now is read again, and found to be gone.
        feature.flying.values_mut().for_each(|again| *again = true);
        let inputs = self.project.inputs(&feature.dir);
        feature.take_unseen(Some(Doubt::Gone), inputs, now.at, now.elapsed);
    }

    fn discover(&mut self) -> (Vec<FeatureDir>, Vec<Skipped>) {
        match self.project.discover() {
            Ok(found) => found,
            Err(error) => {
                self.unwatched = Some(format!("cannot look for features: {error}"));
                let known = self.features.values().map(|feature| feature.dir.clone()).collect();
                (known, self.skipped.clone())
            }
        }
    }

    /// Watches the folders whose files steer, those that are there. Says whether one is new: what
    /// was read of it before it was watched may have changed since.
    fn watch_steering(&mut self) -> bool {
        let before = self.watched.len();
        let folders: Vec<PathBuf> = self
            .project
            .steering_folders()
            .into_iter()
            .chain(self.setup.user_missions.as_deref().map(of_user).unwrap_or_default())
            .chain([self.setup.cookies.clone()])
            .filter(|folder| !self.watched.contains(folder) && folder.is_dir())
            .collect();
        self.watch_new(folders);
        self.watched.len() > before
    }

    /// Watches folders that are not watched, in one go: each by itself is a way to the watcher's
    /// thread and back.
    fn watch_new(&mut self, folders: Vec<PathBuf>) {
        if folders.is_empty() {
            return;
        }
        match self.backend.watch_all(folders.clone()) {
            Ok(count) if count == folders.len() => self.watched.extend(folders),
            // Some are gone, and may come back: which, only asking for each tells.
            Ok(_) => folders.into_iter().for_each(|folder| match self.backend.watch(&folder) {
                Ok(()) => {
                    self.watched.insert(folder);
                }
                Err(WatchError::Gone(_)) => {}
                Err(error) => self.unwatched = Some(error.to_string()),
            }),
            Err(error) => self.unwatched = Some(error.to_string()),
        }
    }

    /// Watches every folder that had files when last seen, in one go.
    fn watch_stored(&mut self, stored: &BTreeMap<FeatureSlug, Stored>) {
        let (dirs, _) = self.discover();
        let mut folders = HashSet::new();
        for dir in dirs {
            let base = self.project.feature_path(&dir);
            for entry in
                stored.get(&dir.slug).map(|known| known.entries.as_slice()).unwrap_or_default()
            {
                let path = entry.artifact.relative_path.as_bytes();
                let mut end = path.len();
                while let Some(slash) = path[..end].iter().rposition(|byte| *byte == b'/') {
                    let folder = base.join(std::ffi::OsStr::from_bytes(&path[..slash]));
                    if !folders.insert(folder) {
                        break;
                    }
                    end = slash;
                }
            }
            folders.insert(base);
        }
        folders.retain(|folder| folder.symlink_metadata().is_ok_and(|found| found.is_dir()));
        self.watch_new(
            folders.into_iter().filter(|folder| !self.watched.contains(folder)).collect(),
        );
    }
}

/// Whether there is no folder where one was to be opened, but nothing or something else.
fn is_no_folder(error: &std::io::Error) -> bool {
    let none = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| none.contains(&error))
}

fn is_at_or_below(path: &RelPath, folder: &RelPath) -> bool {
    let rest = path.as_bytes().strip_prefix(folder.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The folders of the user's own missions, or the nearest one in which they may appear.
fn of_user(missions: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(missions) else {
        return missions
            .ancestors()
            .find(|folder| folder.is_dir())
            .map(Path::to_owned)
            .into_iter()
            .collect();
    };
    let kinds = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let above = missions.parent().map(Path::to_owned);
    kinds.chain([missions.to_owned()]).chain(above).collect()
}

fn open(setup: &Setup) -> std::io::Result<Project> {
    let missions = setup.user_missions.as_deref();
    Project::open(&setup.root, setup.settings.clone(), &setup.machine, missions)
}

/// Sends a path to be looked at; one that is being looked at is looked at once more afterwards.
fn fly(
    feature: &mut LiveFeature,
    setup: &Setup,
    project: &Arc<Project>,
    path: &RelPath,
    pool: &Pool,
) {
    if let Some(again) = feature.flying.get_mut(path) {
        *again = true;
        return;
    }
    let known = feature.inventory.entries().get(path);
    let known = known.filter(|entry| !entry.racy).and_then(|entry| entry.signature);
    feature.flying.insert(path.clone(), false);
    pool.look(Job {
        id: setup.id,
        project: Arc::clone(project),
        feature: feature.dir.clone(),
        path: path.clone(),
        known,
        limits: setup.limits,
    });
}

/// Takes that an indexed path seems to be gone: it is looked at once more before that counts.
fn vanish(feature: &mut LiveFeature, path: RelPath, now: Now) {
    feature.settle.hint(&path, What::Removed, true, now.elapsed);
    feature.vanishing.insert(path, now.elapsed);
}

/// A folder that cannot be read is one entry; what is indexed below it is not known any more.
fn hide(feature: &mut LiveFeature, folder: &RelPath, why: &str, now: Now) {
    for path in feature.paths_below(Some(folder)) {
        feature.settle.forget(&path);
        feature.remove(&path, Gone::Hidden, now.elapsed);
    }
    let fault = Fault { reason: ErrorReason::Unreadable, detail: Some(why.into()) };
    let seen = Observation {
        path: folder.clone(),
        size_bytes: 0,
        state: State::Absent(fault),
        wp_id: None,
        signature: None,
        racy: false,
    };
    feature.set(seen, now.at, now.elapsed);
}

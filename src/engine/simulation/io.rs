//! Executes the effects of one project on the modelled disk, in steps: other things can happen
//! between the watch and the listing of a directory, and before a result is delivered.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::disk::{Disk, Inode, Missing, Node, SharedDisk};
use crate::core::artifact::{Absence, ArtifactState, ErrorReason, FileSignature, Observation};
use crate::core::baseline::{BaselineFile, BaselineScope};
use crate::core::current_step::{CurrentStep, StepInputs, StepSource};
use crate::core::digest::Digest;
use crate::core::feature::FeatureMetadata;
use crate::core::feature_context::{FeatureContext, UnknownReason};
use crate::core::identity::BaselineKey;
use crate::core::manifest::{
    Mission, MissionEdition, MissionType, find_embedded_mission, parse_manifest,
};
use crate::core::mounts::Mounts;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::pattern::PatternSet;
use crate::core::sync::lock;
use crate::engine::io::watch_set::{MakeWatcher, WatchSet};
use crate::engine::reconcile::effect::{Effect, EffectId, EffectTag, Forget, KnownFeature};
use crate::engine::reconcile::event::{
    DirState, Event, FeaturesMetadata, FoundRoot, GitLock, HintFileKind, InitialScan, Inspection,
    ListError, Metadata, MetadataError, ProjectInfo, RootStatus, RootUnavailable, WatchReport,
};
use crate::engine::reconcile::planted::{Bug, is_planted};
use crate::project::{FeatureDir, FeatureInputs, StateFiles};
use crate::scan::{ListedFile, Listing, PathState, UnreadableDir};

/// A file that was changed less than this before it is read may change again without that showing
/// in its signature.
const RACY_WINDOW_NS: i64 = 20_000_000;
const DENIED: &str = "permission denied";

/// An effect that is being executed.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) effect: Effect,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    New,
    Listing(ListingStage),
    Scanning(ScanningStage),
}

/// A listing between two directories, or between the watch of one and its listing.
#[derive(Debug)]
struct ListingStage {
    /// Directories that were not there to be watched.
    unwatched: Vec<PathBuf>,
    dirs: VecDeque<Option<RelPath>>,
    /// The feature's directory was not watched before, or its watch was renewed.
    watched_anew: bool,
    /// The first of `dirs` is watched, or with a planted bug listed.
    is_half_done: bool,
    listing: Listing,
}

/// A first scan between its metadata and its listings.
#[derive(Debug)]
struct ScanningStage {
    metadata: Metadata,
    unselected: Vec<FeatureSlug>,
    git_lock: Option<GitLock>,
    mounts: Mounts,
}

/// The outcome of one step.
pub(super) enum Step {
    /// There is more to do.
    Continue(Running),
    Finished(Option<Event>),
}

/// What an effect saw on the disk, for the checks of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Missing(FeatureSlug, RelPath),
    /// With the state if the file was read.
    Present(FeatureSlug, RelPath, Option<ArtifactState>),
    /// A directory is at the path.
    Directory(FeatureSlug, RelPath),
    FeatureMissing(FeatureSlug),
    Root {
        present: bool,
        git_lock: Option<GitLock>,
    },
}

/// The system side of one project.
pub(super) struct ModelIo {
    pub(super) root: PathBuf,
    cookies: PathBuf,
    disk: SharedDisk,
    watches: WatchSet,
    reported: WatchReport,
    /// The root that was opened.
    opened: Option<Inode>,
    /// Its descriptor is closed, so it is opened again by its path.
    is_closed: bool,
    /// When git took its lock, by the disk's clock.
    pub(super) git_lock_ns: Option<i64>,
    pub(super) info: Arc<ProjectInfo>,
    /// What effects saw since this was taken.
    pub(super) seen: Vec<(EffectId, Seen)>,
}

impl ModelIo {
    pub(super) fn new(
        index: usize,
        root: PathBuf,
        cookies: PathBuf,
        disk: &SharedDisk,
        make_watcher: Arc<MakeWatcher>,
    ) -> Self {
        let name = format!("p{index}");
        let info =
            ProjectInfo { name: name.as_str().into(), root_id: name, ..ProjectInfo::default() };
        Self {
            root,
            cookies,
            disk: Arc::clone(disk),
            watches: WatchSet::new(make_watcher),
            reported: WatchReport::default(),
            opened: None,
            is_closed: false,
            git_lock_ns: None,
            info: Arc::new(info),
            seen: Vec::new(),
        }
    }

    pub(super) fn end_iteration(&mut self) {
        self.watches.end_iteration();
    }

    /// Returns true if the project watches a directory.
    pub(super) fn watches(&self, dir: &Path) -> bool {
        self.watches.is_watched(dir)
    }

    /// Returns an event if the watches changed since the last call.
    pub(super) fn take_watch_report(&mut self) -> Option<Event> {
        let report = self.watches.report();
        (report != self.reported).then(|| {
            self.reported = report.clone();
            Event::Watches(report)
        })
    }

    /// Executes the next step of an effect.
    pub(super) fn step(&mut self, running: Running) -> Step {
        let Running { effect, stage } = running;
        let event = match (&effect, stage) {
            (Effect::ListAndWatch { tag, feature, dir, rewatch }, stage) => {
                let stage = match stage {
                    Stage::Listing(stage) => stage,
                    _ => match self.open_dir(feature, dir.as_ref()) {
                        Ok(()) => ListingStage::new(dir.clone()),
                        Err(error) => {
                            let result = Err(self.listing_failed(tag.id, &error, feature));
                            let event = Event::Listed {
                                tag: *tag,
                                result,
                                watched_anew: true,
                                cost: Duration::ZERO,
                            };
                            return Step::Finished(Some(event));
                        }
                    },
                };
                match self.list_step(feature, dir.as_ref(), *rewatch, stage, tag.id) {
                    Ok(stage) if stage.dirs.is_empty() => {
                        let (result, watched_anew) = (Ok(stage.listing), stage.watched_anew);
                        Event::Listed { tag: *tag, result, watched_anew, cost: Duration::ZERO }
                    }
                    Ok(stage) => {
                        return Step::Continue(Running { effect, stage: Stage::Listing(stage) });
                    }
                    Err(error) => {
                        let result = Err(self.listing_failed(tag.id, &error, feature));
                        Event::Listed {
                            tag: *tag,
                            result,
                            watched_anew: true,
                            cost: Duration::ZERO,
                        }
                    }
                }
            }
            (Effect::ScanInitially { known, .. }, Stage::New) => match self.begin_scan(known) {
                Ok(stage) => {
                    return Step::Continue(Running { effect, stage: Stage::Scanning(stage) });
                }
                Err(unavailable) => {
                    Event::InitialScan { tag: tag(&effect), result: Err(unavailable) }
                }
            },
            (Effect::ScanInitially { tag, .. }, Stage::Scanning(stage)) => {
                Event::InitialScan { tag: *tag, result: Ok(self.finish_scan(stage)) }
            }
            _ => return Step::Finished(self.execute(effect)),
        };
        Step::Finished(Some(event))
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each effect")]
    fn execute(&mut self, effect: Effect) -> Option<Event> {
        Some(match effect {
            Effect::ShowStored { tag, known } => {
                let features = known.iter().map(|(slug, one)| {
                    (slug.clone(), feature_inputs(&lock(&self.disk), Path::new(""), &one.dir.slug))
                });
                let features = features.collect();
                let (status, info) = (RootStatus::Unresponsive, Arc::clone(&self.info));
                let unavailable = RootUnavailable { status, info, features };
                Event::InitialScan { tag, result: Err(Box::new(unavailable)) }
            }
            Effect::CheckFile { tag, feature, path, expected, verify_only } => {
                let state = self.check(&feature, &path, expected.as_ref());
                self.record_check(tag, &feature.slug, &path, &state);
                let slug = feature.slug;
                if verify_only {
                    Event::FileVerified { tag, slug, path, state }
                } else {
                    let cost = match &state {
                        PathState::Read(seen) => Duration::from_micros(seen.size_bytes),
                        _ => Duration::ZERO,
                    };
                    Event::FileChecked { tag, slug, path, state, cost }
                }
            }
            Effect::CheckFeatureDir { tag, feature } => {
                let state = match self.open_dir(&feature, None) {
                    Ok(()) => DirState::Present,
                    Err(OpenError::Missing(Missing::NotFound)) => {
                        self.seen.push((tag.id, Seen::FeatureMissing(feature.slug)));
                        DirState::Missing
                    }
                    Err(_) => DirState::Unknown,
                };
                Event::FeatureDirChecked { tag, state }
            }
            Effect::Inspect { tag, path, forget, stat } => {
                Event::Inspected { tag, inspection: self.inspect(&path, forget, stat) }
            }
            Effect::ForgetWatches { path } => {
                self.watches.forget(&path);
                return None;
            }
            Effect::ReadMetadata { tag, gone, .. } => {
                let result = self.read_metadata(&gone).map(Box::new);
                Event::MetadataRead { tag, result, cost: Duration::ZERO }
            }
            Effect::ReadFeatures { tag, features } => {
                let result = self.read_features(features).map(Box::new);
                Event::FeaturesRead { tag, result, cost: Duration::ZERO }
            }
            Effect::ProbeRoot { tag } => {
                let (root, git_lock) = (self.probe_root(), self.git_lock());
                let present = root == RootStatus::Present;
                self.seen.push((tag.id, Seen::Root { present, git_lock }));
                let mounts = Some(lock(&self.disk).mounts_below(&self.root));
                Event::RootProbed { tag, root, git_lock, mounts }
            }
            Effect::SearchRoot { tag } => {
                let is_dir = lock(&self.disk).is_dir(&self.root);
                Event::RootSearched { tag, found: is_dir.then(|| self.found_root()) }
            }
            Effect::LeaveRoot => {
                self.is_closed = true;
                self.watches.replace_watcher();
                self.watches.watch_missing([self.cookies.clone()]);
                return None;
            }
            Effect::CloseRoot => {
                self.is_closed = true;
                return None;
            }
            Effect::ReplaceWatcher { tag } => {
                self.watches.replace_watcher();
                self.watch_metadata_dirs();
                Event::WatcherReplaced { tag }
            }
            Effect::DropWatcher { tag } => {
                Event::WatcherDropped { tag, sample: self.watches.drop_watcher() }
            }
            Effect::RetryWatches { tag } => {
                self.watches.retry();
                Event::WatchesRetried { tag }
            }
            Effect::SampleRemoval { tag, dirs } => {
                let disk = lock(&self.disk);
                let missing = dirs.iter().filter(|dir| !disk.is_dir(dir)).count();
                Event::RemovalSampled { tag, missing }
            }
            Effect::WatchDossierDir { tag, path, contains_others: _ } => {
                self.watches.watch_missing([path.clone()]);
                let has_baseline =
                    lock(&self.disk).node(&path.join("parity-baseline.json")).is_ok();
                Event::DossierDirWatched { tag, has_baseline }
            }
            Effect::TouchEventProbe { tag } => {
                let path = self.root.join("probe");
                let touched = self.watches.is_watched(&self.root);
                if touched {
                    let mut disk = lock(&self.disk);
                    disk.write(&path, 0, true, false);
                    disk.remove(&path);
                }
                Event::ProbeTouched { tag, touched }
            }
            Effect::Report(_) | Effect::ListAndWatch { .. } | Effect::ScanInitially { .. } => {
                return None;
            }
        })
    }

    /// Returns the event of an effect that fails because descriptors are short, or `None` for one
    /// that cannot.
    pub(super) fn fail(effect: &Effect) -> Option<Event> {
        Some(match effect {
            Effect::CheckFile { tag, feature, path, verify_only: false, .. } => {
                Event::FileChecked {
                    tag: *tag,
                    slug: feature.slug.clone(),
                    path: path.clone(),
                    state: PathState::OutOfResources,
                    cost: Duration::ZERO,
                }
            }
            Effect::ListAndWatch { tag, .. } => Event::Listed {
                tag: *tag,
                result: Err(ListError::OutOfResources),
                watched_anew: true,
                cost: Duration::ZERO,
            },
            Effect::ReadMetadata { tag, .. } => {
                let result = Err(MetadataError::OutOfResources);
                Event::MetadataRead { tag: *tag, result, cost: Duration::ZERO }
            }
            Effect::ReadFeatures { tag, .. } => {
                let result = Err(MetadataError::OutOfResources);
                Event::FeaturesRead { tag: *tag, result, cost: Duration::ZERO }
            }
            Effect::CheckFeatureDir { tag, .. } => {
                Event::FeatureDirChecked { tag: *tag, state: DirState::Unknown }
            }
            _ => return None,
        })
    }

    // --- Files ---

    /// Returns the path from which features are opened.
    fn open_root(&mut self) -> Result<PathBuf, OpenError> {
        let opened = self.opened.ok_or(OpenError::Stale)?;
        if self.is_closed && lock(&self.disk).find(&self.root) != Ok(opened) {
            return Err(OpenError::Stale);
        }
        self.is_closed = false;
        Ok(PathBuf::from(format!("/@{opened}")))
    }

    fn check(
        &mut self,
        feature: &FeatureDir,
        path: &RelPath,
        expected: Option<&FileSignature>,
    ) -> PathState {
        let Ok(root) = self.open_root() else {
            return PathState::RootReplaced;
        };
        let disk = lock(&self.disk);
        let base = feature_path(&root, feature);
        let full = base.join(text(path));
        let node = match disk.node(&full) {
            Ok(node) => node,
            Err(Missing::NotFound) if !disk.is_dir(&base) => {
                return PathState::FeatureUnavailable;
            }
            Err(Missing::NotFound) => return PathState::Missing,
            Err(Missing::Denied(dir)) => {
                return match dir.strip_prefix(&base).ok().and_then(rel) {
                    Some(dir) => PathState::ParentUnreadable(dir, DENIED.to_owned()),
                    None => PathState::FeatureUnavailable,
                };
            }
        };
        match node {
            Node::Dir(dir) => PathState::Dir { accessible: dir.readable },
            Node::Symlink => PathState::Read(absent(path, "symbolic link")),
            Node::File(file) => {
                let signature = disk.signature(&full);
                let same = match (signature, expected) {
                    (Some(now), Some(known)) if is_planted(Bug::TrustEqualMtime) => {
                        now.size == known.size && now.modified_ns == known.modified_ns
                    }
                    (now, known) => known.is_some() && now.as_ref() == known,
                };
                if same {
                    return PathState::Unchanged;
                }
                let newest = signature.map_or(0, |one| one.modified_ns.max(one.changed_ns));
                PathState::Read(Observation {
                    path: path.clone(),
                    size_bytes: file.size,
                    state: present(file.token),
                    wp_id: None,
                    signature,
                    racy: disk.clock_ns - newest < RACY_WINDOW_NS,
                    is_linked: false,
                })
            }
        }
    }

    fn record_check(
        &mut self,
        tag: EffectTag,
        slug: &FeatureSlug,
        path: &RelPath,
        found: &PathState,
    ) {
        let (slug, path) = (slug.clone(), path.clone());
        let seen = match found {
            PathState::Missing => Seen::Missing(slug, path),
            PathState::Dir { .. } => Seen::Directory(slug, path),
            PathState::Read(read) => Seen::Present(slug, path, Some(read.state.clone())),
            PathState::Unchanged => Seen::Present(slug, path, None),
            // The directory is there.
            PathState::ParentUnreadable(dir, _) => Seen::Present(slug, dir.clone(), None),
            _ => return,
        };
        self.seen.push((tag.id, seen));
    }

    fn open_dir(&mut self, feature: &FeatureDir, dir: Option<&RelPath>) -> Result<(), OpenError> {
        let path = dir_path(&self.open_root()?, feature, dir);
        Ok(lock(&self.disk).list(&path).map(|_| ())?)
    }

    /// Returns why a directory cannot be listed, and notes the one that cannot be read: it is there.
    fn listing_failed(
        &mut self,
        id: EffectId,
        error: &OpenError,
        feature: &FeatureDir,
    ) -> ListError {
        let error = Self::list_error(error, feature);
        if let ListError::Unreadable { dir: Some(dir), .. } = &error {
            self.seen.push((id, Seen::Present(feature.slug.clone(), dir.clone(), None)));
        }
        error
    }

    fn list_error(error: &OpenError, feature: &FeatureDir) -> ListError {
        match error {
            OpenError::Stale => ListError::RootReplaced,
            OpenError::Missing(Missing::NotFound) => ListError::NotADirectory,
            OpenError::Missing(Missing::Denied(path)) => {
                // Below the descriptor of the root and the feature's directory.
                let below = path.components().skip(2);
                let depth = feature.path.as_ref().map_or(0, |path| path.components().count());
                let dir: PathBuf = below.skip(depth).collect();
                ListError::Unreadable { dir: rel(&dir), error: DENIED.to_owned() }
            }
        }
    }

    fn list_step(
        &mut self,
        feature: &FeatureDir,
        top: Option<&RelPath>,
        rewatch: bool,
        mut stage: ListingStage,
        id: EffectId,
    ) -> Result<ListingStage, OpenError> {
        let Some(dir) = stage.dirs.front().cloned() else {
            return Ok(stage);
        };
        let path = dir_path(&self.root, feature, dir.as_ref());
        let lists_now = stage.is_half_done != is_planted(Bug::ListBeforeWatch);
        if !lists_now && (rewatch || !self.watches.is_watched(&path)) {
            stage.watched_anew |= dir.is_none();
            self.watches.watch(path.clone());
            if !self.watches.is_wanted(&path) {
                stage.unwatched.push(path);
            }
        }
        if lists_now {
            let opened = dir_path(&self.open_root()?, feature, dir.as_ref());
            let listed = self.list_dir(dir.as_ref(), &opened, &mut stage);
            if let (Ok(()), Some(dir)) = (&listed, &dir) {
                self.seen.push((id, Seen::Directory(feature.slug.clone(), dir.clone())));
            }
            match listed {
                Err(error) if dir.as_ref() == top => return Err(error.into()),
                Err(Missing::NotFound) | Ok(()) => {}
                Err(Missing::Denied(_)) => {
                    if let Some(path) = dir {
                        self.seen
                            .push((id, Seen::Present(feature.slug.clone(), path.clone(), None)));
                        let reason = DENIED.to_owned();
                        stage.listing.unreadable.push(UnreadableDir { path, reason });
                    }
                }
            }
        }
        if stage.is_half_done {
            stage.dirs.pop_front();
        }
        stage.is_half_done = !stage.is_half_done;
        if stage.dirs.is_empty() && self.is_watch_missing(&stage.unwatched) {
            return Err(OpenError::Stale);
        }
        Ok(stage)
    }

    fn is_watch_missing(&self, unwatched: &[PathBuf]) -> bool {
        let is_present = |path: &PathBuf| lock(&self.disk).is_dir(path);
        !unwatched.is_empty()
            && (self.probe_root() != RootStatus::Present || unwatched.iter().any(is_present))
    }

    fn list_dir(
        &self,
        dir: Option<&RelPath>,
        path: &Path,
        stage: &mut ListingStage,
    ) -> Result<(), Missing> {
        let disk = lock(&self.disk);
        let mut files = Vec::new();
        for (name, node) in disk.list(path)? {
            if name.starts_with('.') {
                continue;
            }
            let child = match dir {
                Some(dir) => dir.join(name.as_bytes()).ok(),
                None => RelPath::new(name.as_bytes()).ok(),
            };
            let Some(child) = child else {
                continue;
            };
            stage.listing.entries += 1;
            match node {
                Node::Dir(_) => stage.dirs.push_back(Some(child)),
                _ => files.push(ListedFile {
                    path: child,
                    signature: disk.signature(&path.join(&name)),
                    is_linked: false,
                }),
            }
        }
        stage.listing.files.push(files);
        Ok(())
    }

    fn inspect(&mut self, path: &Path, forget: Forget, stat: bool) -> Inspection {
        let was_wanted = self.watches.is_wanted(path);
        let file_kind = stat.then(|| match lock(&self.disk).node(path) {
            Ok(Node::File(_)) => HintFileKind::File,
            Ok(Node::Dir(_)) => HintFileKind::Directory,
            Err(Missing::NotFound) => HintFileKind::Missing,
            _ => HintFileKind::Other,
        });
        let is_accessible =
            stat && matches!(lock(&self.disk).node(path), Ok(Node::Dir(dir)) if dir.readable);
        let is_forgotten = match forget {
            Forget::No => false,
            Forget::UnlessDirectory if file_kind == Some(HintFileKind::Directory) => false,
            Forget::Yes | Forget::UnlessDirectory => self.watches.forget(path),
        };
        Inspection { was_wanted, forgot: is_forgotten, file_kind, is_accessible }
    }

    // --- Metadata and the root ---

    fn watch_metadata_dirs(&mut self) -> bool {
        let dirs = [self.root.clone(), self.root.join("kitty-specs"), self.cookies.clone()];
        let dirs: Vec<PathBuf> = {
            let disk = lock(&self.disk);
            dirs.into_iter().filter(|dir| disk.is_dir(dir)).collect()
        };
        self.watches.watch_missing(dirs)
    }

    fn discover(&mut self) -> Vec<FeatureDir> {
        let root = self.open_root().unwrap_or_else(|_| self.root.clone());
        let disk = lock(&self.disk);
        let found = disk.list(&root.join("kitty-specs")).unwrap_or_default();
        let dirs = found.into_iter().filter(|(_, node)| matches!(node, Node::Dir(_)));
        let features = dirs.filter_map(|(name, _)| {
            let path = RelPath::new(format!("kitty-specs/{name}").into_bytes()).ok()?;
            Some(FeatureDir::new(FeatureSlug::new(name.as_bytes())?, Some(path)))
        });
        features.collect()
    }

    fn inputs(&mut self, dir: &FeatureDir) -> FeatureInputs {
        let root = self.open_root().unwrap_or_else(|_| self.root.clone());
        feature_inputs(&lock(&self.disk), &feature_path(&root, dir), &dir.slug)
    }

    fn begin_scan(
        &mut self,
        known: &BTreeMap<FeatureSlug, KnownFeature>,
    ) -> Result<ScanningStage, Box<RootUnavailable>> {
        self.watches.replace_watcher();
        let root = lock(&self.disk).find(&self.root);
        let Ok(root) = root else {
            let features = known.iter().map(|(slug, one)| (slug.clone(), self.inputs(&one.dir)));
            let features = features.collect();
            let info = Arc::clone(&self.info);
            return Err(Box::new(RootUnavailable { status: unavailable(), info, features }));
        };
        self.opened = Some(root);
        self.is_closed = false;
        self.watch_metadata_dirs();
        let mounts = lock(&self.disk).mounts_below(&self.root);
        let features = self.discover();
        let git_lock = self.git_lock();
        let is_found = |slug: &FeatureSlug| features.iter().any(|dir| dir.slug == *slug);
        let mut gone = BTreeMap::new();
        let mut unselected = Vec::new();
        for (slug, known) in known.iter().filter(|(slug, _)| !is_found(slug)) {
            let missing = Err(OpenError::Missing(Missing::NotFound));
            if known.has_dir && self.open_dir(&known.dir, None) != missing {
                unselected.push(slug.clone());
            } else {
                gone.insert(slug.clone(), self.inputs(&known.dir));
            }
        }
        let mut known_dirs: HashSet<PathBuf> = HashSet::new();
        for dir in &features {
            let base = feature_path(&self.root, dir);
            let entries = known.get(&dir.slug).into_iter().flat_map(|known| known.entries.iter());
            for entry in entries {
                let path = PathBuf::from(text(&entry.artifact.relative_path));
                let above = path.ancestors().skip(1).filter(|above| *above != Path::new(""));
                let above = above.map(|above| base.join(above));
                known_dirs.extend(above.filter(|above| lock(&self.disk).is_dir(above)));
            }
            known_dirs.insert(base);
        }
        let mut known_dirs: Vec<PathBuf> = known_dirs.into_iter().collect();
        known_dirs.sort();
        self.watches.watch_missing(known_dirs);
        let features = features.into_iter().map(|dir| {
            let inputs = self.inputs(&dir);
            (dir, inputs)
        });
        let features = features.collect();
        let metadata = Metadata {
            info: Arc::clone(&self.info),
            features,
            gone,
            orphans: Vec::new(),
            skipped: Vec::new(),
            hidden: BTreeSet::new(),
            unselected: Vec::new(),
            watched_more: false,
        };
        Ok(ScanningStage { metadata, unselected, git_lock, mounts })
    }

    fn finish_scan(&mut self, stage: ScanningStage) -> Box<InitialScan> {
        let ScanningStage { mut metadata, unselected, git_lock, mounts } = stage;
        let root = self.open_root().unwrap_or_else(|_| self.root.clone());
        let mut listings = BTreeMap::new();
        for (dir, _) in &metadata.features {
            // Only directories that are watched are listed here.
            let mut stage = ListingStage::new(None);
            let mut result = Ok(());
            let mut all_watched = true;
            while let Some(next) = stage.dirs.pop_front() {
                let path = dir_path(&self.root, dir, next.as_ref());
                all_watched &= self.watches.is_watched(&path);
                let opened = dir_path(&root, dir, next.as_ref());
                match self.list_dir(next.as_ref(), &opened, &mut stage) {
                    Err(error) if next.is_none() => result = Err(OpenError::from(error)),
                    Err(Missing::Denied(_)) => {
                        if let Some(path) = next {
                            let reason = DENIED.to_owned();
                            stage.listing.unreadable.push(UnreadableDir { path, reason });
                        }
                    }
                    Err(Missing::NotFound) | Ok(()) => {}
                }
            }
            if all_watched {
                let result =
                    result.map(|()| stage.listing).map_err(|error| Self::list_error(&error, dir));
                listings.insert(dir.slug.clone(), result);
            }
        }
        metadata.watched_more = self.watch_metadata_dirs();
        let (root, mounts) = (self.found_root(), Some(mounts));
        Box::new(InitialScan { metadata, listings, unselected, root, git_lock, mounts })
    }

    fn read_metadata(&mut self, gone: &[FeatureDir]) -> Result<Metadata, MetadataError> {
        match self.probe_root() {
            RootStatus::Present => {}
            status => return Err(MetadataError::Root(status)),
        }
        let mut watched_more = self.watch_metadata_dirs();
        let features: Vec<(FeatureDir, FeatureInputs)> = self
            .discover()
            .into_iter()
            .map(|dir| {
                let inputs = self.inputs(&dir);
                (dir, inputs)
            })
            .collect();
        let is_found = |slug: &FeatureSlug| features.iter().any(|(dir, _)| dir.slug == *slug);
        let gone = gone.iter().filter(|dir| !is_found(&dir.slug));
        let gone = gone.map(|dir| (dir.slug.clone(), self.inputs(dir))).collect();
        watched_more |= self.watch_metadata_dirs();
        let info = Arc::clone(&self.info);
        let (skipped, hidden) = (Vec::new(), BTreeSet::new());
        let unselected = Vec::new();
        let orphans = Vec::new();
        Ok(Metadata { info, features, gone, orphans, skipped, hidden, unselected, watched_more })
    }

    fn read_features(&mut self, dirs: Vec<FeatureDir>) -> Result<FeaturesMetadata, MetadataError> {
        match self.probe_root() {
            RootStatus::Present => {}
            status => return Err(MetadataError::Root(status)),
        }
        let mut features = Vec::new();
        for dir in dirs {
            let inputs = self.inputs(&dir);
            features.push((dir, inputs));
        }
        Ok(FeaturesMetadata { info: Arc::clone(&self.info), features })
    }

    fn probe_root(&self) -> RootStatus {
        match lock(&self.disk).find(&self.root) {
            Err(_) => unavailable(),
            Ok(found) if Some(found) == self.opened => RootStatus::Present,
            Ok(_) => RootStatus::Replaced,
        }
    }

    fn git_lock(&self) -> Option<GitLock> {
        let taken_ns = self.git_lock_ns?;
        let age = lock(&self.disk).clock_ns - taken_ns;
        Some(GitLock {
            age: Duration::from_nanos(u64::try_from(age).unwrap_or_default()),
            stamp_ns: i128::from(taken_ns),
        })
    }

    fn found_root(&mut self) -> FoundRoot {
        let features = self.discover().into_iter().map(|dir| dir.slug).collect();
        let disk = lock(&self.disk);
        let is_empty = disk.list(&self.root).is_ok_and(|entries| entries.is_empty());
        FoundRoot { features, is_empty, is_linked: false, device: disk.device(&self.root) }
    }
}

/// Why a directory cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OpenError {
    Missing(Missing),
    /// Another directory is at the root's path.
    Stale,
}

impl From<Missing> for OpenError {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing)
    }
}

fn feature_path(root: &Path, feature: &FeatureDir) -> PathBuf {
    feature.path.as_ref().map_or_else(|| root.to_owned(), |path| root.join(text(path)))
}

fn dir_path(root: &Path, feature: &FeatureDir, dir: Option<&RelPath>) -> PathBuf {
    let base = feature_path(root, feature);
    dir.map_or_else(|| base.clone(), |dir| base.join(text(dir)))
}

impl ListingStage {
    fn new(top: Option<RelPath>) -> Self {
        Self {
            watched_anew: false,
            unwatched: Vec::new(),
            dirs: VecDeque::from([top]),
            is_half_done: false,
            listing: Listing::default(),
        }
    }
}

impl Running {
    pub(super) fn new(effect: Effect) -> Self {
        Self { effect, stage: Stage::New }
    }
}

fn tag(effect: &Effect) -> EffectTag {
    effect.tag().expect("an effect with a completion")
}

/// Reads a feature's metadata: `meta.json` selects the step, and every fourth content of
/// it cannot be parsed.
pub(super) fn feature_inputs(disk: &Disk, path: &Path, slug: &FeatureSlug) -> FeatureInputs {
    let meta = match disk.node(&path.join("meta.json")) {
        Ok(Node::File(file)) => Some(file.token),
        _ => None,
    };
    let unknown_reason = meta.filter(|token| token % 4 == 3).map(|_| UnknownReason::UnreadableMeta);
    let step = meta.and_then(|token| match token % 4 {
        1 => Some("specify".into()),
        2 => Some("implement".into()),
        _ => None,
    });
    let key = BaselineKey {
        project_uuid: String::new(),
        node_id: String::new(),
        feature_slug: slug.to_string(),
        target_branch: String::new(),
        mission_key: String::new(),
        manifest_version: String::new(),
    };
    FeatureInputs {
        context: FeatureContext {
            state_files: PatternSet::default(),
            feature_slug: slug.clone(),
            feature_dir: path.to_owned(),
            mission_type: MissionType::new("software-dev").expect("a mission type"),
            mission_run_id: String::new(),
            mission: Some(Arc::clone(&MISSION)),
            named_step: step.map(|step| (step, StepSource::Runtime)),
            step_inputs: StepInputs::default(),
            step: CurrentStep::default(),
            unknown_reason,
        },
        metadata: FeatureMetadata {
            step_error: None,
            step_unreadable: false,
            meta_error: None,
            last_valid_meta: None,
            progress: None,
            progress_error: None,
            baseline_scope: BaselineScope::Local,
            churn: Arc::default(),
            dir: None,
            baseline_foreign: false,
            former_slug: None,
            baseline_key: key,
            baseline: BaselineFile::Absent,
        },
        state_files: StateFiles::of_file(
            RelPath::new(&b"meta.json"[..]).unwrap(),
            meta.map(|token| Digest::of(&token.to_le_bytes())),
        ),
    }
}

/// Returns the state of a file with this content.
pub(super) fn present(token: u64) -> ArtifactState {
    ArtifactState::Present { hash: Digest::of(&token.to_le_bytes()), static_hash: None }
}

fn absent(path: &RelPath, detail: &str) -> Observation {
    let absence = Absence { reason: ErrorReason::Unreadable, detail: Some(detail.into()) };
    Observation {
        path: path.clone(),
        size_bytes: 0,
        state: ArtifactState::Absent(absence),
        wp_id: None,
        signature: None,
        racy: false,
        is_linked: false,
    }
}

fn unavailable() -> RootStatus {
    RootStatus::Unavailable { error: "not found".to_owned(), unreadable: false }
}

pub(super) fn text(path: &RelPath) -> &str {
    std::str::from_utf8(path.as_bytes()).expect("paths of the model are ASCII")
}

fn rel(path: &Path) -> Option<RelPath> {
    RelPath::new(path.as_os_str().as_bytes()).ok()
}

static MISSION: LazyLock<Arc<Mission>> = LazyLock::new(|| {
    let embedded =
        find_embedded_mission("software-dev", MissionEdition::First).expect("a built-in mission");
    let manifest = parse_manifest(embedded.manifest.as_bytes()).expect("a valid manifest");
    Arc::new(Mission::new(manifest, &[]).expect("a valid mission"))
});

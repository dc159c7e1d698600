//! Executes the effects of one project: all system calls that reconciliation needs, except those of
//! file checks (`file_checks`). It decides nothing.
//!
//! Effects run on the threads of `call_pool`, one after the other in the order in which they were
//! emitted.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use tracing::{debug, info, warn};

use super::initial_scan::{InitialFeature, InitialLister};
use super::watch_set::{MakeWatcher, WatchSet};
use crate::core::mounts::Mounts;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::progress::begin_step;
use crate::engine::ids::ProjectId;
use crate::engine::reconcile::effect::{Effect, Forget, KnownFeature, Report};
use crate::engine::reconcile::event::{
    DirState, Event, FeaturesMetadata, FoundRoot, GitLock, HintFileKind, InitialScan, Inspection,
    ListError, Metadata, MetadataError, ProjectInfo, RootStatus, RootUnavailable, WatchReport,
};
use crate::engine::reconcile::settings::ReconcileSettings;
use crate::project::{
    BASELINE_FILES, Discovery, FeatureDir, FeatureInputs, Machine, ManifestDiagnostics, Project,
    ProjectSettings, ReadError, RootCheck,
};
use crate::scan::{
    FileSelection, Listing, MountTable, is_not_a_directory, is_resource_exhausted, is_stale,
    list_tree, remote_fs_name,
};
use crate::watch::{AncestorWatcher, Share};

/// What a project's effects are executed with.
#[derive(Clone)]
pub(in crate::engine) struct ProjectContext {
    pub(in crate::engine) id: ProjectId,
    pub(in crate::engine) settings: Arc<ReconcileSettings>,
    pub(in crate::engine) project_settings: ProjectSettings,
    pub(in crate::engine) machine: Machine,
    /// git's directory of the worktree that the root must be in, since only a file of the main one names the root.
    pub(in crate::engine) worktree: Option<PathBuf>,
    /// Directory of the project's cookie files, watched on the same kernel queue.
    pub(in crate::engine) cookies: PathBuf,
    pub(in crate::engine) make_watcher: Arc<MakeWatcher>,
    /// `None` if the system has none.
    pub(in crate::engine) mount_table: Option<Arc<MountTable>>,
    /// `None` if inotify refused it. Then a root that was moved together with a parent directory is
    /// noticed only when a client requests the project.
    pub(in crate::engine) ancestors: Option<AncestorWatcher>,
}

/// The system side of a watched project.
pub(in crate::engine) struct ProjectIo {
    context: ProjectContext,
    settings: Arc<ReconcileSettings>,
    project: Arc<Project>,
    /// The kind of the root's file system if it is one that other machines can change.
    remote: Option<&'static str>,
    watches: WatchSet,
    /// The last report of the watches; only one that differs becomes an event.
    reported: WatchReport,
    /// The iteration of the event loop whose effects are executed.
    iteration: u64,
}

impl ProjectIo {
    pub(in crate::engine) fn new(context: ProjectContext) -> Self {
        let settings = Arc::clone(&context.settings);
        let project = Project::unavailable(
            &settings.root,
            context.project_settings.clone(),
            &context.machine,
        );
        Self {
            settings,
            project: Arc::new(project),
            remote: None,
            watches: WatchSet::new(Arc::clone(&context.make_watcher)),
            reported: WatchReport::default(),
            iteration: 0,
            context,
        }
    }

    /// Returns the project with the metadata that was read last.
    pub(in crate::engine) fn project(&self) -> &Arc<Project> {
        &self.project
    }

    /// Begins the effects of an iteration of the event loop, unless it has begun: each has its own timeout
    /// for calls to the watcher.
    pub(in crate::engine) fn begin_iteration(&mut self, iteration: u64) {
        if std::mem::replace(&mut self.iteration, iteration) != iteration {
            self.watches.end_iteration();
        }
    }

    /// Returns a report of the watches if they changed since the last one.
    pub(in crate::engine) fn take_watch_report(&mut self) -> Option<Event> {
        if !self.watches.take_changed() {
            return None;
        }
        let report = self.watches.report();
        (report != self.reported).then(|| {
            self.reported = report.clone();
            Event::Watches(report)
        })
    }

    /// Executes an effect. Returns its completion, if it has one.
    pub(in crate::engine) fn execute(&mut self, effect: Effect) -> Option<Event> {
        Some(match effect {
            // `file_checks` does that, in parallel.
            Effect::CheckFile { .. } => return None,
            Effect::ForgetWatches { path } => {
                self.watches.forget(&path);
                return None;
            }
            Effect::LeaveRoot => {
                self.watches.replace_watcher();
                self.watches.watch_missing([self.context.cookies.clone()]);
                self.project.close_root_fd();
                return None;
            }
            Effect::CloseRoot => {
                self.project.close_root_fd();
                return None;
            }
            Effect::Report(report) => {
                log_report(&self.settings.root, &report);
                return None;
            }
            Effect::ScanInitially { tag, known } => {
                let result = self.scan_initially(&known);
                self.watch_ancestors();
                Event::InitialScan { tag, result }
            }
            Effect::ShowStored { tag, known } => {
                let unavailable = self.unavailable(RootStatus::Unresponsive, &known);
                Event::InitialScan { tag, result: Err(Box::new(unavailable)) }
            }
            Effect::CheckFeatureDir { tag, feature } => {
                Event::FeatureDirChecked { tag, state: self.check_feature_dir(&feature) }
            }
            Effect::ListAndWatch { tag, feature, dir, rewatch } => {
                let begun = Instant::now();
                let base = self.project.feature_path(&feature);
                let watched_anew = rewatch || !self.watches.is_watched(&base);
                let result = self.list_and_watch(&feature, dir.as_ref(), rewatch);
                let result =
                    result.map_err(|error| self.list_error(&error, &feature, dir.as_ref()));
                Event::Listed { tag, result, watched_anew, cost: begun.elapsed() }
            }
            Effect::Inspect { tag, path, forget, stat } => {
                Event::Inspected { tag, inspection: self.inspect(&path, forget, stat) }
            }
            Effect::ReadMetadata { tag, gone, present } => {
                let begun = Instant::now();
                let result = self.read_metadata(&gone, &present).map(Box::new);
                Event::MetadataRead { tag, result, cost: begun.elapsed() }
            }
            Effect::ReadFeatures { tag, features } => {
                let begun = Instant::now();
                let result = self.read_features(features).map(Box::new);
                Event::FeaturesRead { tag, result, cost: begun.elapsed() }
            }
            Effect::ProbeRoot { tag } => Event::RootProbed {
                tag,
                root: self.probe_root(),
                git_lock: find_git_lock(&self.project),
                mounts: self.mounts_below(),
            },
            Effect::SearchRoot { tag } => {
                Event::RootSearched { tag, found: self.search_root().ok() }
            }
            Effect::ReplaceWatcher { tag } => {
                self.watches.replace_watcher();
                self.watch_metadata_dirs();
                self.watch_dossier_dirs();
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
                let is_missing = |dir: &&PathBuf| {
                    begin_step();
                    dir.symlink_metadata().is_err()
                };
                let missing = dirs.iter().filter(is_missing).count();
                Event::RemovalSampled { tag, missing }
            }
            Effect::WatchDossierDir { tag, path, contains_others } => {
                self.watches.watch_missing([path.clone()]);
                let has_baseline = if contains_others {
                    self.watch_dossier_dirs()
                } else {
                    has_baseline_file(&path)
                };
                Event::DossierDirWatched { tag, has_baseline }
            }
            Effect::TouchEventProbe { tag } => {
                let watched = self.watches.is_watched(&self.project.probe_dir());
                let touched = watched && self.project.touch_probe().is_ok();
                Event::ProbeTouched { tag, touched }
            }
        })
    }

    // --- The first scan ---

    /// Opens and watches the project, and lists its features. If the root cannot be opened, returns
    /// what is known of the features without reading a file.
    fn scan_initially(
        &mut self,
        known: &BTreeMap<FeatureSlug, KnownFeature>,
    ) -> Result<Box<InitialScan>, Box<RootUnavailable>> {
        self.remote = remote_fs_name(&self.settings.root).unwrap_or_default();
        let mounts = self.mounts_below();
        self.watches.set_share(self.remote.map_or(Share::Shared, |_| Share::Own));
        // An earlier scan that did not complete may have watched what was there then.
        self.watches.replace_watcher();
        self.project = match self.open() {
            Ok(project) => Arc::new(project),
            Err(error) => return Err(Box::new(self.unavailable(unavailable(&error), known))),
        };
        // What was read before its directory was watched may have changed since.
        if self.watch_metadata_dirs()
            && let Ok(project) = self.open()
        {
            self.project = Arc::new(project);
        }
        self.remember_metas(known);
        let mut discovery = match self.project.discover() {
            Ok(found) => found,
            Err(error) => {
                let status = unavailable(&io::Error::other(error));
                return Err(Box::new(self.unavailable(status, known)));
            }
        };
        let hidden = discovery.keep_hidden(known.values().map(|known| &known.dir));
        // What recognised them may have been deleted while no daemon ran.
        let present: Vec<FeatureDir> =
            known.values().filter(|known| known.has_dir).map(|known| known.dir.clone()).collect();
        self.keep_existing(&mut discovery, &present);
        let Discovery { features: dirs, skipped, .. } = discovery;
        // Before the baselines are read.
        self.watch_dossier_dirs();
        let git_lock = find_git_lock(&self.project);
        let is_found = |slug: &FeatureSlug| dirs.binary_search_by(|dir| dir.slug.cmp(slug)).is_ok();
        let (unselected, gone): (Vec<_>, Vec<_>) = known
            .iter()
            .filter(|(slug, _)| !is_found(slug))
            .partition(|(_, known)| known.has_dir && self.may_exist(&known.dir));
        self.watch_known_dirs(&dirs, known);
        let lister = InitialLister {
            project: &self.project,
            limits: &self.settings.limits,
            ignore: self.project.ignore_rules().configured(),
            watched: self.watches.watched_dirs(),
        };
        let scanned = lister.run(&dirs, known);
        let mut features = Vec::with_capacity(dirs.len());
        let mut listings = BTreeMap::new();
        for (dir, InitialFeature { inputs, listing }) in dirs.into_iter().zip(scanned) {
            if let Some(listing) = listing {
                let listing = listing.map_err(|error| self.list_error(&error, &dir, None));
                listings.insert(dir.slug.clone(), listing);
            }
            features.push((dir, inputs));
        }
        let gone = gone
            .into_iter()
            .map(|(slug, known)| (slug.clone(), self.project.read_gone_feature_inputs(&known.dir)));
        let gone: BTreeMap<FeatureSlug, FeatureInputs> = gone.collect();
        let orphans = self.read_orphans(features.iter().map(|(dir, _)| dir), &gone);
        let unselected = unselected.into_iter().map(|(slug, _)| slug.clone()).collect();
        let root = Self::found_root(&self.project, features.iter().map(|(dir, _)| &dir.slug));
        let watched_more = self.watch_dossier_dirs() | self.watch_metadata_dirs();
        let info = Arc::new(self.info());
        if self.project.take_exhausted() {
            // What is stored is kept, and the root is tried again soon.
            let error = io::Error::from(Errno::MFILE);
            return Err(Box::new(self.unavailable(unavailable(&error), known)));
        }
        let metadata = Metadata {
            info,
            features,
            gone,
            orphans,
            skipped,
            hidden,
            unselected: Vec::new(),
            watched_more,
        };
        Ok(Box::new(InitialScan { metadata, listings, unselected, root, git_lock, mounts }))
    }

    /// Returns what is mounted below the root, if that can be found out.
    fn mounts_below(&self) -> Option<Mounts> {
        let table = self.context.mount_table.as_ref()?;
        match table.below(&self.settings.root) {
            Ok(mounts) => Some(mounts),
            Err(error) => {
                debug!(%error, "cannot read the mount table");
                None
            }
        }
    }

    /// Watches the directories above the root: after the project, which needs the inotify watches
    /// more if few are left.
    fn watch_ancestors(&self) {
        let (id, root) = (self.context.id.as_usize(), &self.settings.root);
        let ancestors = self.context.ancestors.as_ref();
        if let Some(Err(error)) = ancestors.map(|ancestors| ancestors.watch(id, root)) {
            debug!(root = %root.display(), %error, "cannot watch all parent directories");
        }
    }

    fn unavailable(
        &self,
        status: RootStatus,
        known: &BTreeMap<FeatureSlug, KnownFeature>,
    ) -> RootUnavailable {
        self.remember_metas(known);
        let inputs = known
            .iter()
            .map(|(slug, known)| (slug.clone(), self.project.read_feature_inputs(&known.dir)));
        RootUnavailable { status, info: Arc::new(self.info()), features: inputs.collect() }
    }

    fn remember_metas(&self, known: &BTreeMap<FeatureSlug, KnownFeature>) {
        for (slug, known) in known {
            if let Some(meta) = &known.meta {
                self.project.set_last_valid_meta(slug, meta.clone());
            }
        }
    }

    fn check_feature_dir(&self, dir: &FeatureDir) -> DirState {
        match self.project.open_feature(dir) {
            Ok(_) => DirState::Present,
            Err(error) if is_not_a_directory(&error) => DirState::Missing,
            Err(_) => DirState::Unknown,
        }
    }

    fn may_exist(&self, dir: &FeatureDir) -> bool {
        self.check_feature_dir(dir) != DirState::Missing
    }

    /// Watches every directory that contained files when it was last indexed, in one call to the
    /// watcher thread.
    fn watch_known_dirs(
        &mut self,
        dirs: &[FeatureDir],
        known: &BTreeMap<FeatureSlug, KnownFeature>,
    ) {
        let mut paths = HashSet::new();
        for dir in dirs {
            let base = self.project.feature_path(dir);
            for entry in known.get(&dir.slug).into_iter().flat_map(|known| known.entries.iter()) {
                let path = entry.artifact.relative_path.as_bytes();
                let mut end = path.len();
                while let Some(slash) = path[..end].iter().rposition(|byte| *byte == b'/') {
                    if !paths.insert(base.join(OsStr::from_bytes(&path[..slash]))) {
                        break;
                    }
                    end = slash;
                }
            }
            paths.insert(base);
        }
        paths.retain(|path| {
            begin_step();
            path.symlink_metadata().is_ok_and(|found| found.is_dir())
        });
        self.watches.watch_missing(paths);
    }

    // --- Listings and hints ---

    /// Lists a directory of a feature, or all of it. Each directory is watched before it is listed,
    /// so that no entry created in between is missed.
    fn list_and_watch(
        &mut self,
        feature: &FeatureDir,
        dir: Option<&RelPath>,
        rewatch: bool,
    ) -> io::Result<Listing> {
        let base = self.project.feature_path(feature);
        let opened = match dir {
            None => self.project.open_feature(feature),
            Some(dir) => self.project.open_feature_subdir(feature, dir),
        };
        let (watches, settings) = (&mut self.watches, &self.settings);
        let mut unwatched = Vec::new();
        let ignore = self.project.ignore_rules().configured();
        let selection = FileSelection { ignore, documents: feature.documents.as_deref() };
        let listing = list_tree(opened?, dir, &settings.limits, selection, |entered| {
            let path = match entered {
                Some(path) => base.join(OsStr::from_bytes(path.as_bytes())),
                None => base.clone(),
            };
            if rewatch || !watches.is_watched(&path) {
                watches.watch(path.clone());
                if !watches.is_wanted(&path) {
                    unwatched.push(path);
                }
            }
        })?;
        if self.is_watch_missing(&unwatched) {
            return Err(Errno::STALE.into());
        }
        Ok(listing)
    }

    /// Returns true if directories that could not be watched, because nothing was at their paths, may
    /// have been listed all the same: through the descriptor of a root that is hidden by a mount,
    /// or because they were created in between.
    fn is_watch_missing(&self, unwatched: &[PathBuf]) -> bool {
        let is_present = |path: &PathBuf| path.symlink_metadata().is_ok_and(|found| found.is_dir());
        !unwatched.is_empty()
            && (self.probe_root() != RootStatus::Present || unwatched.iter().any(is_present))
    }

    /// Returns what an error of a listing means for the directory.
    fn list_error(
        &self,
        error: &io::Error,
        feature: &FeatureDir,
        dir: Option<&RelPath>,
    ) -> ListError {
        if is_not_a_directory(error) {
            ListError::NotADirectory
        } else if is_resource_exhausted(error) {
            ListError::OutOfResources
        } else if is_stale(error) {
            ListError::RootReplaced
        } else {
            let dir = dir.and_then(|dir| self.find_unreadable_dir(feature, dir));
            ListError::Unreadable { dir, error: error.to_string() }
        }
    }

    /// Returns the first directory on the way to `dir` that cannot be entered, or `dir` itself;
    /// `None` if it is the feature's own.
    fn find_unreadable_dir(&self, feature: &FeatureDir, dir: &RelPath) -> Option<RelPath> {
        self.project.open_feature(feature).ok()?;
        let ends = dir.as_bytes().iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let above = ends.filter_map(|(end, _)| RelPath::new(&dir.as_bytes()[..end]).ok());
        above
            .into_iter()
            .find(|above| self.project.open_feature_subdir(feature, above).is_err())
            .or_else(|| Some(dir.clone()))
    }

    /// Stats a path and forgets its watches, both as far as that is requested.
    fn inspect(&mut self, path: &Path, forget: Forget, stat: bool) -> Inspection {
        let was_wanted = self.watches.is_wanted(path);
        let file_kind = stat.then(|| match path.symlink_metadata() {
            Ok(found) if found.is_file() => HintFileKind::File,
            Ok(found) if found.is_dir() => HintFileKind::Directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => HintFileKind::Missing,
            _ => HintFileKind::Other,
        });
        let is_dir = file_kind == Some(HintFileKind::Directory);
        let (access, flags) = (Access::READ_OK | Access::EXEC_OK, AtFlags::EACCESS);
        let is_accessible = is_dir && accessat(CWD, path, access, flags).is_ok();
        let is_forgotten = match forget {
            Forget::No => false,
            Forget::UnlessDirectory if is_dir => false,
            Forget::Yes | Forget::UnlessDirectory => self.watches.forget(path),
        };
        Inspection { was_wanted, forgot: is_forgotten, file_kind, is_accessible }
    }

    // --- Metadata and the root ---

    /// Reads the project's metadata files and finds its features, if the root is present, and
    /// watches the directories of the metadata.
    ///
    /// What cannot be opened because the process lacks file descriptors or memory is neither absent nor
    /// broken: then nothing that was read counts.
    fn read_metadata(
        &mut self,
        gone: &[FeatureDir],
        present: &[FeatureDir],
    ) -> Result<Metadata, MetadataError> {
        let former = Arc::clone(&self.project);
        let result = self.read_all_metadata(gone, present);
        if self.project.take_exhausted() || matches!(result, Err(MetadataError::OutOfResources)) {
            self.project = former;
            return Err(MetadataError::OutOfResources);
        }
        result
    }

    fn read_all_metadata(
        &mut self,
        gone: &[FeatureDir],
        present: &[FeatureDir],
    ) -> Result<Metadata, MetadataError> {
        match self.probe_root() {
            RootStatus::Present => {}
            status => return Err(MetadataError::Root(status)),
        }
        // What is watched before it is read is not read again for that.
        self.watch_metadata_dirs();
        let mut project = self.open().map_err(|error| metadata_error(&error))?;
        project.inherit_last_valid(&self.project);
        self.project = Arc::new(project);
        // Baselines are read below, after their directories were watched.
        self.watch_dossier_dirs();
        let mut watched_more = self.watch_metadata_dirs();
        let mut discovery = self.project.discover().map_err(|error| match error {
            ReadError::Io(error) => metadata_error(&error),
            error => metadata_error(&io::Error::other(error)),
        })?;
        let hidden = discovery.keep_hidden(present.iter());
        let unselected = self.keep_existing(&mut discovery, present);
        let Discovery { features: dirs, skipped, .. } = discovery;
        let read = |dir: FeatureDir| {
            let inputs = self.project.read_feature_inputs(&dir);
            (dir, inputs)
        };
        let features: Vec<(FeatureDir, FeatureInputs)> = dirs.into_iter().map(read).collect();
        let is_found =
            |dir: &&FeatureDir| features.binary_search_by(|(found, _)| found.slug.cmp(&dir.slug));
        let gone = gone.iter().filter(|dir| is_found(dir).is_err());
        let gone = gone.map(|dir| (dir.slug.clone(), self.project.read_gone_feature_inputs(dir)));
        let gone: BTreeMap<FeatureSlug, FeatureInputs> = gone.collect();
        let orphans = self.read_orphans(features.iter().map(|(dir, _)| dir), &gone);
        watched_more |= self.watch_dossier_dirs() | self.watch_metadata_dirs();
        let info = Arc::new(self.info());
        Ok(Metadata { info, features, gone, orphans, skipped, hidden, unselected, watched_more })
    }

    /// Reads what is known of the features that only have a shared baseline.
    fn read_orphans<'f>(
        &self,
        found: impl Iterator<Item = &'f FeatureDir>,
        gone: &BTreeMap<FeatureSlug, FeatureInputs>,
    ) -> Vec<(FeatureDir, FeatureInputs)> {
        let missing = self.project.missing_shared_features(found).into_iter();
        let orphans = missing.filter(|slug| !gone.contains_key(slug)).map(|slug| {
            let dir = self.project.expected_dir(slug);
            let inputs = self.project.read_gone_feature_inputs(&dir);
            (dir, inputs)
        });
        orphans.collect()
    }

    /// Adds those of the `present` features that were not found though their directory is there: what
    /// recognised them may have been deleted. Returns those whose directory is none of a feature any
    /// more, or has another slug.
    fn keep_existing(&self, discovery: &mut Discovery, present: &[FeatureDir]) -> Vec<FeatureSlug> {
        let mut unselected = Vec::new();
        let found: BTreeSet<&FeatureSlug> =
            discovery.features.iter().map(|dir| &dir.slug).collect();
        let missing: Vec<&FeatureDir> =
            present.iter().filter(|dir| !found.contains(&dir.slug)).collect();
        for dir in missing {
            match self.project.open_feature(dir) {
                Err(_) => {}
                Ok(_) => match self.project.select(dir) {
                    Some(dir) => discovery.features.push(dir),
                    None => unselected.push(dir.slug.clone()),
                },
            }
        }
        discovery.features.sort_by(|one, other| one.slug.cmp(&other.slug));
        unselected
    }

    /// Reads the metadata files of some features, if the root is present.
    fn read_features(&mut self, dirs: Vec<FeatureDir>) -> Result<FeaturesMetadata, MetadataError> {
        match self.probe_root() {
            RootStatus::Present => {}
            status => return Err(MetadataError::Root(status)),
        }
        let project = Arc::clone(&self.project);
        let read = |dir: FeatureDir| {
            let inputs = project.read_feature_inputs(&dir);
            (dir, inputs)
        };
        let outside = project.outside_state_files();
        let mut features: Vec<(FeatureDir, FeatureInputs)> =
            dirs.iter().cloned().map(read).collect();
        // What was read outside of the features before its directory was watched may have changed since.
        if project.outside_state_files() != outside && self.watch_metadata_dirs() {
            features = dirs.into_iter().map(read).collect();
        }
        let info = Arc::new(self.info());
        if self.project.take_exhausted() {
            return Err(MetadataError::OutOfResources);
        }
        Ok(FeaturesMetadata { info, features })
    }

    fn open(&self) -> io::Result<Project> {
        let missions = self.settings.user_dirs.first().map(PathBuf::as_path);
        let settings = self.context.project_settings.clone();
        let project =
            Project::open(&self.settings.root, settings, &self.context.machine, missions)?;
        match &self.context.worktree {
            Some(git_dir) if !project.is_in_worktree(git_dir) => {
                let text = format!("it is not the worktree of {}", git_dir.display());
                Err(io::Error::new(io::ErrorKind::NotFound, text))
            }
            _ => Ok(project),
        }
    }

    pub(in crate::engine) fn info(&self) -> ProjectInfo {
        let project = &self.project;
        let ManifestDiagnostics { errors, warnings } = project.manifest_diagnostics();
        ProjectInfo {
            name: Arc::clone(&project.name),
            root_id: project.root_id.clone(),
            project_uuid: project.project_uuid.clone(),
            node_id: project.node_id.clone(),
            outside_files: project.outside_state_files(),
            ignore: project.settings.ignore.clone(),
            patterns: project.compiled_feature_patterns(),
            layout_paths: project.watched_paths(),
            errors: project.errors.iter().cloned().chain(errors).collect(),
            warnings: warnings.into_iter().chain(project.worktree_warning()).collect(),
            worktrees: project.worktrees().map(|found| found.followed.clone()),
            remote: self.remote,
        }
    }

    fn probe_root(&self) -> RootStatus {
        match self.project.check_root() {
            Ok(RootCheck::Same) => RootStatus::Present,
            Ok(RootCheck::Replaced | RootCheck::OtherDevice) => RootStatus::Replaced,
            Err(error) => unavailable(&error),
        }
    }

    fn search_root(&self) -> io::Result<FoundRoot> {
        let project = self.open()?;
        let found = project.discover().map_err(io::Error::other)?;
        if project.take_exhausted() {
            return Err(Errno::MFILE.into());
        }
        let root = &self.settings.root;
        let is_linked = root.canonicalize().is_ok_and(|canonical| canonical != *root);
        let found = Self::found_root(&project, found.features.iter().map(|dir| &dir.slug));
        Ok(FoundRoot { is_linked, ..found })
    }

    fn found_root<'a>(
        project: &Project,
        features: impl Iterator<Item = &'a FeatureSlug>,
    ) -> FoundRoot {
        FoundRoot {
            features: features.cloned().collect(),
            is_empty: project.is_root_empty(),
            is_linked: false,
            device: project.root_device(),
        }
    }

    /// Watches the directories in which baselines may be. dossierd itself creates one for each
    /// feature. Returns true if there is a baseline in one that is newly watched.
    fn watch_dossier_dirs(&mut self) -> bool {
        let dirs = self.project.dossier_dirs().into_iter();
        let new: Vec<PathBuf> = dirs.filter(|dir| !self.watches.is_watched(dir)).collect();
        self.watches.watch_missing(new.clone());
        new.iter().any(|dir| {
            begin_step();
            has_baseline_file(dir)
        })
    }

    /// Watches the existing directories that contain metadata files. Returns true if at least one
    /// is newly watched.
    fn watch_metadata_dirs(&mut self) -> bool {
        let of_user = &self.settings.user_dirs;
        let dirs = self
            .project
            .metadata_dirs()
            .into_iter()
            .chain(of_user.iter().flat_map(|dir| watched_user_dirs(dir)))
            .chain([self.context.cookies.clone()])
            .filter(|dir| {
                begin_step();
                dir.is_dir()
            });
        self.watches.watch_missing(dirs)
    }
}

/// Returns true if there is a baseline in the directory of a feature's own files.
fn has_baseline_file(dir: &Path) -> bool {
    BASELINE_FILES.iter().any(|file| dir.join(file).symlink_metadata().is_ok())
}

/// Returns the directories of the user's own missions, or layouts, or the nearest existing directory
/// in which they may be created.
fn watched_user_dirs(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        let nearest = dir.ancestors().find(|dir| dir.is_dir());
        return nearest.map(Path::to_owned).into_iter().collect();
    };
    let kinds = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let above = dir.parent().map(Path::to_owned);
    kinds.chain([dir.to_owned()]).chain(above).collect()
}

fn find_git_lock(project: &Project) -> Option<GitLock> {
    let taken_at = project.git_locked_at()?;
    let stamp = taken_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some(GitLock {
        age: SystemTime::now().duration_since(taken_at).unwrap_or_default(),
        stamp_ns: i128::try_from(stamp.as_nanos()).unwrap_or_default(),
    })
}

fn unavailable(error: &io::Error) -> RootStatus {
    let unreadable = error.kind() == io::ErrorKind::PermissionDenied;
    RootStatus::Unavailable { error: error.to_string(), unreadable }
}

fn metadata_error(error: &io::Error) -> MetadataError {
    if is_resource_exhausted(error) {
        MetadataError::OutOfResources
    } else {
        MetadataError::Root(unavailable(error))
    }
}

/// Logs a report of the reconciler.
pub(in crate::engine) fn log_report(root: &Path, report: &Report) {
    let root = root.display();
    match report {
        Report::Watching { features } => info!(%root, features, "watching project"),
        Report::Rescanning { rescans } => {
            warn!(%root, rescans, "inotify events were lost (queue overflow or watcher restart); rescanning project");
        }
        Report::NoEvents => warn!(%root, "file system delivers no inotify events; polling"),
        Report::WatcherUnresponsive => {
            warn!(%root, "file watcher timed out; replacing it and rescanning");
        }
        Report::WatchesRecovered { watched, total } => {
            info!(%root, watched, total, "inotify accepts more watches again");
        }
        Report::OutOfResources => {
            warn!(%root, "out of file descriptors or memory; will retry (raise `ulimit -n`)");
        }
        Report::RootLost { error } => {
            warn!(%root, error, "project root unavailable; keeping its last known state");
        }
        Report::UndetectedChange { feature, path } => {
            let path = path.text();
            warn!(%root, %feature, %path, "scrub found a changed file that raised no inotify event");
        }
    }
}

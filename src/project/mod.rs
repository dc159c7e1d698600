//! Reads the files of a project other than artifacts: identity, `meta.json`, step, branch,
//! manifests, baselines; discovers its features.
//!
//! Most of these files belong to other programs and are only read, each up to a maximum size,
//! relative to the root's descriptor and without following links. dossierd writes only below
//! `.kittify/dossiers` and `.dossierd`, and artifacts that a person restores.

mod baseline;
mod baseline_log;
mod branch;
mod coordination;
mod discover;
mod dossiers_dir;
mod feature_dir;
mod feature_files;
mod feature_patterns;
mod git;
mod identity;
mod inputs;
mod layouts;
mod locate;
mod meta;
mod metadata_dirs;
mod mission_sources;
mod missions;
mod project_config;
mod root_dir;
mod settings;
mod snapshot_file;
mod staged;
mod step;
mod worktrees;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use uuid::Uuid;

use crate::core::artifact::DevIno;
use crate::core::baseline::{Baseline, BaselineScope};
use crate::core::diagnostics::FileError;
use crate::core::digest::Digest;
use crate::core::feature::MetaFields;
use crate::core::identity as ids;
use crate::core::ignore::IgnoreRules;
use crate::core::inventory::InventoryEntry;
use crate::core::layout::feature_rules::{SearchRule, former_slugs};
use crate::core::layout::recognition::AppliedLayout;
use crate::core::layout::{FeatureKind, Layout, ProgressPlace};
use crate::core::manifest::MissionEdition;
use crate::core::path::{FeatureSlug, RelPath, escape_bytes};
use crate::core::pattern::Pattern;
use crate::core::snapshot::MissionDossierSnapshot;

pub use baseline::BASELINE_FILES;
pub use baseline::SHARED_DIR as SHARED_BASELINES_DIR;
pub use baseline_log::ReplacedBaseline;
pub use discover::Discovery;
pub use dossiers_dir::WriteError;
pub use feature_dir::FeatureDir;
pub use feature_files::StateFiles;
pub use feature_patterns::FeaturePatterns;
pub use git::{GitError, changed_since, ignored_by_git};
pub use identity::Machine;
pub use inputs::FeatureInputs;
pub use layouts::{LayoutPaths, LayoutSource};
pub use locate::{LocateError, Located, Locator, LoneFeature};
pub use metadata_dirs::{MetadataKind, is_dossier_dir, is_dossiers_home, name_of_baseline};
pub use missions::ManifestDiagnostics;
pub use missions::user_layouts_dir;
pub use project_config::WorktreeHandling;
pub use root_dir::ReadError;
pub use settings::{ConfiguredFeatures, ProjectSettings};
pub use snapshot_file::{SnapshotDirs, SnapshotWrite};
pub use worktrees::{Worktree, Worktrees, is_worktree_path};

use dossiers_dir::DossiersHome;
use layouts::{KnownLayouts, RootLayouts};
use meta::MetaCache;
use mission_sources::MissionSources;
use missions::Missions;
use project_config::{CONFIG_FILE, ProjectFile, ProjectSection, config_text};
use root_dir::RootDir;
use snapshot_file::ParentDirs;
use staged::StagedCache;
use step::{FeatureRuns, STATE_FILE};
use worktrees::MAX_WORKTREES;

/// Name of the file that is created and removed to test whether its events are delivered.
const PROBE_FILE: &str = ".dossierd-probe";

/// An open project, with the metadata that was read when it was opened.
#[derive(Debug)]
pub struct Project {
    /// Canonical absolute path of the root.
    pub root: PathBuf,
    /// Last component of the root.
    pub name: Arc<str>,
    /// Identity of this root on this machine.
    pub root_id: String,
    /// Identity of the project.
    pub project_uuid: String,
    /// Identity of machine and user.
    pub node_id: String,
    /// Settings of the project in the configuration.
    pub settings: ProjectSettings,
    /// Project files that cannot be used.
    pub errors: Vec<FileError>,
    root_dir: RootDir,
    /// True if `.kittify/config.yaml` cannot be used.
    identity_invalid: bool,
    branch: String,
    /// git's directory of the work tree.
    git_dir: Option<PathBuf>,
    /// `None` if it is not known which there are.
    worktrees: Option<Worktrees>,
    runs: FeatureRuns,
    metas: MetaCache,
    staged: StagedCache,
    missions: Missions,
    layouts: RootLayouts,
    /// The configuration that the project itself has.
    file: ProjectFile,
    /// True if `.dossierd/config.yaml` cannot be used.
    file_invalid: bool,
    /// What is ignored in the features; without the patterns if they are too large together.
    ignore: IgnoreRules,
    /// Which directories above those of snapshot files existed.
    parent_dirs: ParentDirs,
}

/// A shared baseline that was written.
#[derive(Debug)]
pub struct SharedBaseline {
    /// Its content, without what git ignores.
    pub baseline: Baseline,
    /// The files that were written.
    pub written: Vec<PathBuf>,
}

/// What is at the path of a project's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootCheck {
    /// The directory that was opened.
    Same,
    /// Another directory on the same file system.
    Replaced,
    /// A directory on another file system.
    OtherDevice,
}

/// Returns the paths of the files that [`Project::touch_probe`] may create in the project at `root`.
#[must_use]
pub fn probe_paths(root: &Path) -> [PathBuf; 2] {
    DossiersHome::ALL.map(|home| root.join(home.dir()).join(PROBE_FILE))
}

impl Project {
    /// Opens the project at `root`, which must be canonical.
    ///
    /// # Errors
    /// If the root cannot be opened as a directory. Files in it that cannot be used are in
    /// [`Project::errors`].
    pub fn open(
        root: &Path,
        settings: ProjectSettings,
        machine: &Machine,
        user_missions: Option<&Path>,
    ) -> io::Result<Self> {
        let root_dir = RootDir::open(root)?;
        Ok(Self::from_root_dir(root_dir, root, settings, machine, user_missions))
    }

    /// Creates a project whose root cannot be opened: it has a name and derived identities, and no
    /// features.
    #[must_use]
    pub fn unavailable(root: &Path, settings: ProjectSettings, machine: &Machine) -> Self {
        Self::from_root_dir(RootDir::unavailable(root), root, settings, machine, None)
    }

    fn from_root_dir(
        root_dir: RootDir,
        root: &Path,
        settings: ProjectSettings,
        machine: &Machine,
        user_missions: Option<&Path>,
    ) -> Self {
        let mut errors = Vec::new();
        let configured = identity::read(&root_dir).unwrap_or_else(|error| {
            errors.push(error);
            identity::ProjectIdentity::default()
        });
        let identity_invalid = !errors.is_empty();
        let is_unavailable = root_dir.is_unavailable();
        let read = if is_unavailable { Ok(None) } else { project_config::read(&root_dir) };
        let file_invalid = read.is_err();
        let file = read.unwrap_or_else(|error| {
            errors.push(error);
            let uuid = project_config::find_uuid(&root_dir);
            Some(ProjectFile { project: ProjectSection { uuid, name: None }, ..Default::default() })
        });
        let file = file.unwrap_or_default();
        let known = KnownLayouts::load(&root_dir, user_missions.map(user_layouts_dir).as_deref());
        let missions = Missions::new(user_missions, MissionSources::read(&root_dir, root));
        let mut layouts = RootLayouts::find(&root_dir, known, &settings, &file);
        layouts.mission_files = missions.pack_files();
        errors.extend(layouts.errors.iter().cloned());
        let settings = with_file(settings, &file);
        let root_bytes = root.as_os_str().as_bytes();
        let name = root.file_name().map_or("/".into(), |name| escape_bytes(name.as_bytes()));
        let is_available = !root_dir.is_unavailable();
        let git_dir = is_available.then(|| branch::find_git_dir(&root_dir, root)).flatten();
        let worktrees = match (&git_dir, file.worktrees) {
            _ if !is_available => None,
            (Some(git_dir), WorktreeHandling::Follow) => {
                let is_followed = |top: &Path| match missions.edition() {
                    MissionEdition::First => true,
                    MissionEdition::SpecKitty3 => !coordination::is_worktree(root, top),
                };
                worktrees::find(&root_dir, root, git_dir, is_followed).ok()
            }
            _ => Some(Worktrees::default()),
        };
        Self {
            root: root.to_owned(),
            name: name.into(),
            root_id: ids::root_id(&machine.id, root_bytes),
            project_uuid: file
                .project
                .uuid
                .clone()
                .or(configured.uuid)
                .unwrap_or_else(|| ids::derived_project_uuid(&machine.id, root_bytes)),
            node_id: configured.node_id.unwrap_or_else(|| machine.node_id()),
            errors,
            identity_invalid,
            branch: branch::current_branch(&root_dir, git_dir.as_deref()),
            git_dir,
            worktrees,
            runs: FeatureRuns::read(&root_dir, root),
            metas: MetaCache::default(),
            staged: StagedCache::default(),
            parent_dirs: ParentDirs::find(&root_dir, home_of(&layouts, missions.edition())),
            missions,
            layouts,
            file,
            file_invalid,
            ignore: rules_of(&settings),
            settings,
            root_dir,
        }
    }

    /// Replaces invalid manifests, `meta.json` files and an invalid identity by the last valid ones of
    /// `previous`.
    pub fn inherit_last_valid(&mut self, previous: &Self) {
        if self.worktrees.is_none() || self.file_invalid {
            self.worktrees.clone_from(&previous.worktrees);
        }
        self.missions.inherit_last_valid(&previous.missions);
        self.metas.inherit_last_valid(&previous.metas);
        if self.file_invalid {
            self.project_uuid.clone_from(&previous.project_uuid);
            self.file.clone_from(&previous.file);
            self.settings.clone_from(&previous.settings);
            self.ignore = rules_of(&self.settings);
        }
        let mut known = std::mem::take(&mut self.layouts.known);
        known.inherit_last_valid(&previous.layouts.known);
        self.layouts = RootLayouts::find(&self.root_dir, known, &self.settings, &self.file);
        self.layouts.mission_files = self.missions.pack_files();
        // What recognised the root was deleted: its features are still there, or are being deleted.
        let recognises_nothing = self.layouts.applied.is_empty() && self.layouts.rules.is_empty();
        if recognises_nothing && !previous.layouts.applied.is_empty() {
            self.layouts = previous.layouts.clone();
        }
        if !self.parent_dirs.is_of(self.home()) {
            self.parent_dirs = ParentDirs::find(&self.root_dir, self.home());
        }
        if self.identity_invalid {
            self.project_uuid.clone_from(&previous.project_uuid);
            self.node_id.clone_from(&previous.node_id);
        }
    }

    /// Closes the root's descriptor until it is needed again, so that its file system can be
    /// unmounted. Reopening it fails if another directory is at the path by then.
    pub fn close_root_fd(&self) {
        self.root_dir.close_fd();
    }

    /// Returns false if [`Project::close_root_fd`] has nothing to close. Does not wait.
    #[must_use]
    pub fn holds_root_fd(&self) -> bool {
        self.root_dir.holds_fd()
    }

    /// Returns true if the process lacked file descriptors or memory since the last call: what was read
    /// of the project meanwhile may be wrong.
    pub fn take_exhausted(&self) -> bool {
        self.root_dir.take_exhausted()
    }

    /// Compares the directory at the root's path with the one that was opened.
    ///
    /// # Errors
    /// If stat of the path fails.
    pub fn check_root(&self) -> io::Result<RootCheck> {
        let metadata = std::fs::symlink_metadata(&self.root)?;
        let current = DevIno { device: metadata.dev(), inode: metadata.ino() };
        let opened = self.root_dir.dev_ino();
        Ok(if current == opened {
            RootCheck::Same
        } else if current.device == opened.device {
            RootCheck::Replaced
        } else {
            RootCheck::OtherDevice
        })
    }

    /// Returns true if the root contains no entries, like the mount point of a file system that is
    /// not mounted.
    #[must_use]
    pub fn is_root_empty(&self) -> bool {
        self.root_dir.list(None).is_ok_and(|entries| entries.is_empty())
    }

    /// Returns the device of the root's file system.
    #[must_use]
    pub fn root_device(&self) -> u64 {
        self.root_dir.dev_ino().device
    }

    /// Returns when git locked the work tree of the project; `None` if it is not locked.
    #[must_use]
    pub fn git_locked_at(&self) -> Option<SystemTime> {
        let lock = self.git_dir.as_ref()?.join("index.lock");
        std::fs::symlink_metadata(lock).ok()?.modified().ok()
    }

    /// Discovers the features.
    ///
    /// # Errors
    /// If a directory above a possible feature cannot be listed for another reason than its permissions.
    pub fn discover(&self) -> Result<Discovery, ReadError> {
        discover::discover(&self.root_dir, &self.layouts.rules, &self.layouts.documents)
    }

    /// Returns a known feature as it is selected now, provided that its directory exists; `None` if that
    /// is none of a feature with the same slug any more.
    #[must_use]
    pub fn select(&self, feature: &FeatureDir) -> Option<FeatureDir> {
        if feature.is_documents() {
            let mut known = self.layouts.documents.iter();
            let (_, set) = known.find(|(slug, _)| *slug == feature.slug)?;
            let documents = Some(Arc::clone(set));
            return Some(FeatureDir { documents, ..FeatureDir::new(feature.slug.clone(), None) });
        }
        let is_selected = feature.path.as_ref().is_none_or(|path| {
            let rule = self.layouts.rule_for(&self.root_dir, path);
            rule.is_some_and(|rule| rule.slug(path).is_ok_and(|slug| slug == feature.slug))
        });
        is_selected.then(|| feature.clone())
    }

    /// Opens a feature's directory.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open_feature(&self, feature: &FeatureDir) -> io::Result<OwnedFd> {
        self.root_dir.open_dir(feature.path.as_ref())
    }

    /// Opens a directory below a feature's directory.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open_feature_subdir(
        &self,
        feature: &FeatureDir,
        subdir: &RelPath,
    ) -> io::Result<OwnedFd> {
        let path = feature.join(subdir.as_bytes()).map_err(io::Error::other)?;
        self.root_dir.open_dir(Some(&path))
    }

    /// Returns the directories, as far as they exist, where a change can affect the project's
    /// metadata: the root, the parents of features, and the directories of manifests, runs,
    /// git's `HEAD`, and the one that contains [`Project::dossier_dirs`].
    #[must_use]
    pub fn metadata_dirs(&self) -> Vec<PathBuf> {
        metadata_dirs::metadata_dirs(
            &self.root,
            &self.root_dir,
            self.feature_patterns(),
            self.layouts.watched_paths(),
            self.state_dirs(),
            self.git_dir.as_deref().map(|dir| (dir, self.file.worktrees)),
        )
    }

    /// Returns the worktrees that are followed; `None` if it is not known which there are.
    #[must_use]
    pub fn worktrees(&self) -> Option<&Worktrees> {
        self.worktrees.as_ref()
    }

    /// Returns true if the root is in the worktree with this git directory: its `.git` leads there.
    #[must_use]
    pub fn is_in_worktree(&self, git_dir: &Path) -> bool {
        let own = self.git_dir.as_ref().and_then(|own| own.canonicalize().ok());
        own.is_some() && own == git_dir.canonicalize().ok()
    }

    /// Returns a warning if not all worktrees are followed.
    #[must_use]
    pub fn worktree_warning(&self) -> Option<String> {
        let omitted = self.worktrees.as_ref()?.omitted;
        (omitted > 0).then(|| {
            format!(
                "{omitted} worktrees are not followed, since at most {MAX_WORKTREES} are; \
                 `dossierd project add PATH` adds one"
            )
        })
    }

    /// Returns the patterns of the directories that are features.
    pub fn feature_patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.layouts.rules.iter().map(|rule| &rule.include)
    }

    /// Returns them compiled.
    #[must_use]
    pub fn compiled_feature_patterns(&self) -> Arc<FeaturePatterns> {
        Arc::clone(self.layouts.patterns())
    }

    /// Returns the paths outside of features on which the layouts of the root depend.
    #[must_use]
    pub fn watched_paths(&self) -> Arc<LayoutPaths> {
        Arc::clone(self.layouts.watched_paths())
    }

    /// Returns the layouts that apply to the root.
    #[must_use]
    pub fn applied_layouts(&self) -> &[AppliedLayout] {
        &self.layouts.applied
    }

    /// Returns all layouts that the root may have.
    #[must_use]
    pub fn known_layouts(&self) -> &[Arc<Layout>] {
        &self.layouts.known.layouts
    }

    /// Returns where the file of a layout is.
    #[must_use]
    pub fn layout_source(&self, name: &str) -> LayoutSource {
        self.layouts.known.source(name)
    }

    /// Writes `.dossierd/config.yaml` with these layouts; returns its path. A file that exists is not
    /// replaced.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write_config_file(
        &self,
        layouts: &[String],
        shares_baselines: bool,
    ) -> Result<PathBuf, WriteError> {
        let path = self.root.join(CONFIG_FILE);
        if dossiers_dir::rel_path(CONFIG_FILE).is_some_and(|file| self.root_dir.exists(&file)) {
            let exists = io::Error::new(io::ErrorKind::AlreadyExists, "it exists; edit it");
            return Err(WriteError::write(path, exists));
        }
        // Another program may have given the project an identity that is none of this file.
        let is_uuid = Uuid::parse_str(&self.project_uuid).is_ok();
        let uuid = is_uuid.then_some(self.project_uuid.as_str());
        let text = config_text(uuid, layouts, shares_baselines);
        dossiers_dir::replace(&self.root_dir, &self.root, CONFIG_FILE, text.as_bytes())?;
        Ok(path)
    }

    /// Returns what is ignored in the features.
    #[must_use]
    pub fn ignore_rules(&self) -> &IgnoreRules {
        &self.ignore
    }

    fn home(&self) -> DossiersHome {
        home_of(&self.layouts, self.missions.edition())
    }

    /// Returns the absolute paths of the directories in which baselines may be.
    #[must_use]
    pub fn dossier_dirs(&self) -> Vec<PathBuf> {
        metadata_dirs::dossier_dirs(&self.root, &self.root_dir)
    }

    /// Returns the directories outside of features that have files on which one feature depends: those
    /// of the runs in `feature-runs.json` that are below the root, and those in the worktrees in which
    /// missions are coordinated. They may not exist.
    fn state_dirs(&self) -> impl Iterator<Item = RelPath> {
        self.runs.run_dirs(&self.root).chain(self.metas.status_dirs())
    }

    /// Returns these files.
    #[must_use]
    pub fn outside_state_files(&self) -> Vec<RelPath> {
        let of_runs = self.runs.run_dirs(&self.root).filter_map(|dir| dir.join(STATE_FILE).ok());
        let rules = self.layouts.known.layouts.iter().flat_map(|layout| &layout.progress);
        let rules = rules.filter(|rule| rule.place == ProgressPlace::Coordination);
        let files: Vec<&Pattern> = rules.flat_map(|rule| &rule.files).collect();
        let dirs = self.metas.status_dirs().into_iter();
        let of_status = dirs.flat_map(|dir| {
            files.iter().filter_map(move |file| dir.join(file.path().as_bytes()).ok())
        });
        of_runs.chain(of_status.collect::<Vec<_>>()).collect()
    }

    /// Returns the absolute path of a feature's directory.
    #[must_use]
    pub fn feature_path(&self, feature: &FeatureDir) -> PathBuf {
        feature.absolute_path(&self.root)
    }

    /// Returns the directories of missions below the root, in order of precedence.
    #[must_use]
    pub fn mission_dirs(&self) -> Vec<String> {
        self.missions.project_dirs()
    }

    /// Loads the manifests of the project's own layers and returns their errors and warnings, with
    /// those of the manifests that its features use.
    #[must_use]
    pub fn manifest_diagnostics(&self) -> ManifestDiagnostics {
        self.missions.load_project_missions(&self.root_dir);
        let mut diagnostics = self.missions.diagnostics();
        diagnostics.warnings.extend(self.missions.inert_manifests(&self.root_dir));
        diagnostics
    }

    /// Records what a feature's `meta.json` contained when it was valid last, in an earlier run.
    pub fn set_last_valid_meta(&self, slug: &FeatureSlug, fields: MetaFields) {
        self.metas.set_last_valid(slug.clone(), fields);
    }

    /// Returns the errors of the `meta.json` files that were read and are invalid. Those that could
    /// not be read are not among them.
    #[must_use]
    pub fn meta_errors(&self) -> Vec<FileError> {
        self.metas.errors()
    }

    /// Returns the paths of the files among `entries`, those of a feature, whose content is staged in
    /// git's index, as far as its stat data show that; none without git. Returns `None` if that cannot
    /// be found out.
    #[must_use]
    pub fn staged_files<'e>(
        &self,
        feature: &FeatureDir,
        entries: impl IntoIterator<Item = &'e InventoryEntry>,
    ) -> Option<HashSet<RelPath>> {
        if self.root_dir.is_unavailable() {
            return None;
        }
        let Some(git_dir) = &self.git_dir else {
            return Some(HashSet::new());
        };
        let index = self.staged.load(&git_dir.join("index"), &feature.slug, || {
            let work_tree = branch::find_work_tree(&self.root_dir, &self.root)?;
            let dir = self.feature_path(feature);
            Some(dir.strip_prefix(work_tree).ok()?.as_os_str().as_bytes().to_owned())
        })?;
        let is_staged = |entry: &&InventoryEntry| {
            let path = &entry.artifact.relative_path;
            !entry.racy && entry.signature.is_some_and(|seen| index.is_unchanged(path, &seen))
        };
        let staged = entries.into_iter().filter(is_staged);
        Some(staged.map(|entry| entry.artifact.relative_path.clone()).collect())
    }

    /// Writes a file of a feature durably, with all of its content at once, without following a link.
    /// Creates missing directories, also that of the feature. `mode` is 0 if its permissions are not
    /// known.
    ///
    /// # Errors
    /// [`RestoreFileError`]; nothing is changed then, but directories may have been created.
    pub fn restore_file(
        &self,
        feature: &FeatureDir,
        path: &RelPath,
        bytes: &[u8],
        mode: u32,
        on_present: OnPresentFile,
    ) -> Result<(), RestoreFileError> {
        let path = feature.join(path.as_bytes()).map_err(io::Error::other)?;
        match on_present {
            OnPresentFile::Refuse => match self.root_dir.create_file(&path, bytes, mode) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    Err(RestoreFileError::Present)
                }
                created => Ok(created?),
            },
            OnPresentFile::Replace(hash) => {
                let is_expected = |found: &[u8]| Digest::of(found) == hash;
                if self.root_dir.exchange_file(&path, bytes, mode, is_expected)? {
                    Ok(())
                } else {
                    Err(RestoreFileError::Changed)
                }
            }
        }
    }

    /// Returns true if there is an entry at the path of a feature's baseline.
    #[must_use]
    pub fn has_baseline(&self, slug: &FeatureSlug) -> bool {
        baseline::exists(&self.root_dir, slug)
    }

    /// Writes a feature's baseline durably.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write_baseline(&self, slug: &FeatureSlug, bytes: &[u8]) -> Result<(), WriteError> {
        let (root_dir, root, home) = (&self.root_dir, &self.root, self.home());
        baseline_log::keep(root_dir, root, home, BaselineScope::Local, slug)?;
        baseline::write(root_dir, root, home, slug, bytes)?;
        self.clear_former_baselines(slug, BaselineScope::Local)
    }

    /// Removes the baselines of an archived feature's former slugs: it has one of its own now.
    fn clear_former_baselines(
        &self,
        slug: &FeatureSlug,
        scope: BaselineScope,
    ) -> Result<(), WriteError> {
        self.former_slugs(slug).try_for_each(|former| self.clear_baseline(&former, scope).map(drop))
    }

    /// Writes a feature's shared baseline durably, which a team commits, without what git ignores; and
    /// the project's own configuration where there is none. `feature_dir` is the feature's directory.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write_shared_baseline(
        &self,
        slug: &FeatureSlug,
        feature_dir: &Path,
        baseline: Baseline,
    ) -> Result<SharedBaseline, WriteError> {
        let paths = baseline.artifacts.iter().flatten().map(|one| &one.relative_path);
        let absolute = |path: &RelPath| feature_dir.join(OsStr::from_bytes(path.as_bytes()));
        let by_path: HashMap<PathBuf, RelPath> =
            paths.map(|path| (absolute(path), path.clone())).collect();
        let all: Vec<PathBuf> = by_path.keys().cloned().collect();
        let ignored = ignored_by_git(&self.root, &all);
        let ignored = ignored.iter().filter_map(|path| by_path.get(path).cloned()).collect();
        let baseline = baseline.into_shared(&ignored, git::head_commit(&self.root));
        let mut written = Vec::new();
        if !dossiers_dir::rel_path(CONFIG_FILE).is_some_and(|file| self.root_dir.exists(&file)) {
            written.push(self.write_config_file(&[], false)?);
        }
        let path = baseline::shared_path(slug);
        let unusable = |source: serde_json::Error| {
            WriteError::write(self.root.join(&path), io::Error::other(source))
        };
        let text = baseline.to_shared_text().map_err(unusable)?;
        let (scope, home) = (BaselineScope::Shared, self.home());
        baseline_log::keep(&self.root_dir, &self.root, home, scope, slug)?;
        dossiers_dir::replace(&self.root_dir, &self.root, &path, text.as_bytes())?;
        self.clear_former_baselines(slug, scope)?;
        written.push(self.root.join(path));
        Ok(SharedBaseline { baseline, written })
    }

    /// Returns the baselines of a feature that were replaced, the newest first.
    #[must_use]
    pub fn replaced_baselines(&self, slug: &FeatureSlug) -> Vec<ReplacedBaseline> {
        baseline_log::list(&self.root_dir, self.home(), slug)
    }

    /// Puts the baseline of a scope back that was replaced last. Returns false if there is none.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn restore_baseline(
        &self,
        slug: &FeatureSlug,
        scope: BaselineScope,
    ) -> Result<bool, WriteError> {
        baseline_log::restore(&self.root_dir, &self.root, self.home(), scope, slug)
    }

    /// Returns for whom the baseline of a feature counts, or would.
    #[must_use]
    pub fn baseline_scope(&self, slug: &FeatureSlug) -> BaselineScope {
        baseline::read_counting(&self.root_dir, self.home(), self.file.baselines, slug).1
    }

    /// Returns true if a feature is archived.
    #[must_use]
    pub fn is_archived(&self, feature: &FeatureDir) -> bool {
        let rule =
            feature.path.as_ref().and_then(|path| self.layouts.rule_for(&self.root_dir, path));
        rule.is_some_and(|rule| rule.kind == FeatureKind::Archived)
    }

    /// Returns true if an archived feature may have a baseline that was accepted before it was moved.
    #[must_use]
    pub fn may_have_former_baseline(&self, feature: &FeatureDir) -> bool {
        let shared = dossiers_dir::rel_path(baseline::SHARED_DIR);
        shared.is_some_and(|dir| self.root_dir.is_dir(&dir))
            || self.former_slugs(&feature.slug).any(|former| self.has_baseline(&former))
    }

    /// Returns the slugs that an archived feature may have had before, of which no feature is left.
    fn former_slugs(&self, slug: &FeatureSlug) -> impl Iterator<Item = FeatureSlug> {
        former_slugs(slug).into_iter().filter(|slug| !self.has_feature_dir(slug))
    }

    /// Returns true if the directory of a feature that is not archived exists, as far as its name shows
    /// where it is.
    fn has_feature_dir(&self, slug: &FeatureSlug) -> bool {
        self.possible_paths(slug).any(|path| self.root_dir.is_dir(&path))
    }

    /// Returns where the directory of a feature that is not archived may be, by the rules that end
    /// with `/*`.
    fn possible_paths(&self, slug: &FeatureSlug) -> impl Iterator<Item = RelPath> {
        let name = slug.as_str().rsplit('/').next().unwrap_or_default();
        let rules = self.layouts.rules.iter().filter(|rule| rule.kind == FeatureKind::Active);
        let paths = rules.filter_map(move |rule| {
            let above = rule.include.as_str().strip_suffix("/*")?;
            Some((rule, dossiers_dir::rel_path(&format!("{above}/{name}"))?))
        });
        let is_of_slug = |rule: &SearchRule, path: &RelPath| {
            rule.is_match(path) && rule.slug(path).is_ok_and(|found| found == *slug)
        };
        paths.filter(move |(rule, path)| is_of_slug(rule, path)).map(|(_, path)| path)
    }

    /// Returns a feature that does not exist, and where it probably would be.
    #[must_use]
    pub fn expected_dir(&self, slug: FeatureSlug) -> FeatureDir {
        if let Some((_, set)) = self.layouts.documents.iter().find(|(known, _)| *known == slug) {
            let documents = Some(Arc::clone(set));
            return FeatureDir { documents, ..FeatureDir::new(slug, None) };
        }
        let path = self.possible_paths(&slug).next();
        let path = path.or_else(|| dossiers_dir::rel_path(slug.as_str()));
        FeatureDir::new(slug, path)
    }

    /// Returns the features that have a shared baseline and are not among `found`, nor archived ones
    /// of these.
    #[must_use]
    pub fn missing_shared_features<'f>(
        &self,
        found: impl Iterator<Item = &'f FeatureDir>,
    ) -> Vec<FeatureSlug> {
        let mut slugs = baseline::shared_slugs(&self.root_dir);
        if slugs.is_empty() {
            return slugs;
        }
        let known = |dir: &FeatureDir| {
            let former = self.is_archived(dir).then(|| self.former_slugs(&dir.slug));
            former.into_iter().flatten().chain([dir.slug.clone()]).collect::<Vec<_>>()
        };
        let found: HashSet<FeatureSlug> = found.flat_map(known).collect();
        let is_found = |slug: &FeatureSlug| found.contains(slug);
        slugs.retain(|slug| !is_found(slug));
        slugs
    }

    /// Writes a feature's snapshot file, which can be made again. A directory that was removed while the
    /// project is watched is not created again: `dirs` are those of the project.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write_snapshot(
        &self,
        feature: &FeatureDir,
        bytes: &[u8],
        dirs: &SnapshotDirs,
    ) -> Result<SnapshotWrite, WriteError> {
        let (root_dir, slug) = (&self.root_dir, &feature.slug);
        let is_there = || self.open_feature(feature).is_ok();
        snapshot_file::write(root_dir, slug, bytes, self.parent_dirs, dirs, is_there).map_err(
            |source| {
                let path = snapshot_file::file_path(self.home(), slug);
                WriteError::write(self.root.join(path), source)
            },
        )
    }

    /// Returns true if the snapshot file of the feature is equal to `snapshot` except for
    /// `computed_at`, and notes the directory in `dirs`.
    #[must_use]
    pub fn is_snapshot_current(
        &self,
        snapshot: &MissionDossierSnapshot,
        dirs: &SnapshotDirs,
    ) -> bool {
        let is_current = snapshot_file::matches_on_disk(&self.root_dir, self.home(), snapshot);
        if is_current {
            dirs.note(&self.root_dir, self.home(), &snapshot.feature_slug);
        }
        is_current
    }

    /// Returns the directory in which [`Project::touch_probe`] creates a file.
    #[must_use]
    pub fn probe_dir(&self) -> PathBuf {
        self.root.join(self.home().dir())
    }

    /// Creates and removes the file of [`probe_paths`] in [`Project::probe_dir`], which causes events
    /// there.
    ///
    /// # Errors
    /// If the directory does not exist or is not writable.
    pub fn touch_probe(&self) -> io::Result<()> {
        let path = format!("{}/{PROBE_FILE}", self.home().dir());
        self.root_dir.touch_and_remove(&RelPath::new(path.as_bytes()).map_err(io::Error::other)?)
    }

    /// Removes a feature's baseline of a scope, which [`Project::restore_baseline`] puts back. Returns
    /// true if there was one.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn clear_baseline(
        &self,
        slug: &FeatureSlug,
        scope: BaselineScope,
    ) -> Result<bool, WriteError> {
        let (root_dir, root, home) = (&self.root_dir, &self.root, self.home());
        baseline_log::keep(root_dir, root, home, scope, slug)?;
        match scope {
            BaselineScope::Local => baseline::clear(root_dir, root, home, slug),
            BaselineScope::Shared => baseline::clear_shared(root_dir, root, slug),
        }
    }
}

/// What happens to a file that is present where one is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPresentFile {
    /// It stays, and nothing is restored.
    Refuse,
    /// It is replaced, if its content has this hash.
    Replace(Digest),
}

/// A file could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFileError {
    /// There is an entry at its path.
    #[error("there is a file, link or directory at its path that is not an artifact; move it away")]
    Present,
    /// The file that was to be replaced changed meanwhile.
    #[error("the file changed meanwhile; retry")]
    Changed,
    /// The error of the operating system.
    #[error("cannot write the file: {0}")]
    Io(#[from] io::Error),
}

/// Returns where dossierd keeps its files in a root with these layouts.
fn home_of(layouts: &RootLayouts, edition: MissionEdition) -> DossiersHome {
    match (layouts.has_spec_kitty(), edition) {
        (true, MissionEdition::First) => DossiersHome::Kittify,
        (true, MissionEdition::SpecKitty3) => DossiersHome::Kittify3,
        (false, _) => DossiersHome::Dossierd,
    }
}

/// Returns what is ignored in the features of a project; without the patterns if they are too large
/// together.
fn rules_of(settings: &ProjectSettings) -> IgnoreRules {
    let without = || IgnoreRules::without_patterns(settings.ignore_defaults);
    settings.ignore_rules().unwrap_or_else(|_| without())
}

/// Returns the settings with those of the project's own file where the user's have none.
fn with_file(settings: ProjectSettings, file: &ProjectFile) -> ProjectSettings {
    let mut step = file.step.clone();
    step.extend(settings.step);
    let ignore = if settings.ignore.is_empty() { file.ignore.clone() } else { settings.ignore };
    ProjectSettings { step, ignore, ..settings }
}

#[cfg(test)]
mod tests;

//! Every file below a project's root that is no artifact: identity, `meta.json`, step, branch,
//! manifest layers, where features are, and their baselines.
//!
//! These files belong to others and are only read, each with a cap on its size, beneath the root's
//! own descriptor and never through a link. What dossierd writes is below `.kittify/dossiers/`.

mod baseline;
mod branch;
mod discover;
mod dossiers_dir;
mod feature_dir;
mod feature_patterns;
mod identity;
mod inputs;
mod locate;
mod meta;
mod metadata_dirs;
mod missions;
mod root_dir;
mod settings;
mod snapshot_file;
mod step;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::core::diagnostics::FileError;
use crate::core::identity as ids;
use crate::core::path::{FeatureSlug, RelPath, escape_bytes};
use crate::core::snapshot::MissionDossierSnapshot;

pub use discover::Discovery;
pub use dossiers_dir::WriteError;
pub use feature_dir::FeatureDir;
pub use feature_patterns::FeaturePatterns;
pub use identity::Machine;
pub use inputs::FeatureInputs;
pub use locate::{LocateError, Located, locate};
pub use missions::ManifestDiagnostics;
pub use root_dir::ReadError;
pub use settings::ProjectSettings;

use missions::Missions;
use root_dir::{DevIno, RootDir};
use step::FeatureRuns;

/// What is made and taken away again to hear of it.
const PROBE_FILE: &str = ".kittify/dossiers/.dossierd-probe";

/// A project, opened.
#[derive(Debug)]
pub struct Project {
    /// Canonical absolute root.
    pub root: PathBuf,
    /// Last component of the root.
    pub name: Arc<str>,
    /// Identity of this root on this machine.
    pub root_id: String,
    /// Identity of the project.
    pub project_uuid: String,
    /// Identity of machine and user.
    pub node_id: String,
    /// What the configuration says of it.
    pub settings: ProjectSettings,
    /// Project files that cannot be used.
    pub errors: Vec<FileError>,
    root_dir: RootDir,
    /// Whether the file with the project's identity cannot be used.
    identity_invalid: bool,
    branch: String,
    /// Git's directory of the work tree.
    git_dir: Option<PathBuf>,
    runs: FeatureRuns,
    missions: Missions,
}

/// What lies where a project's root was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootCheck {
    /// The root.
    Same,
    /// Another directory of the same file system.
    Replaced,
    /// A directory of another file system.
    OtherDevice,
}

impl Project {
    /// Opens the project at `root`, which must be canonical.
    ///
    /// # Errors
    /// When the root cannot be opened as a directory. Files in it that cannot be used are in
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

    /// The project at a root that cannot be opened: its name and derived identity, and nothing in
    /// it.
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
        let root_bytes = root.as_os_str().as_bytes();
        let name = root.file_name().map_or("/".into(), |name| escape_bytes(name.as_bytes()));
        let git_dir = branch::find_git_dir(root);
        Self {
            root: root.to_owned(),
            name: name.into(),
            root_id: ids::root_id(&machine.id, root_bytes),
            project_uuid: configured
                .uuid
                .unwrap_or_else(|| ids::derived_project_uuid(&machine.id, root_bytes)),
            node_id: configured.node_id.unwrap_or_else(|| machine.node_id()),
            settings,
            errors,
            identity_invalid,
            branch: branch::current_branch(git_dir.as_deref()),
            git_dir,
            runs: FeatureRuns::read(&root_dir, root),
            missions: Missions::new(user_missions),
            root_dir,
        }
    }

    /// Takes over what was good of the project as it was read last, where it is broken now:
    /// manifests, and its identity.
    pub fn inherit_last_valid(&mut self, previous: &Self) {
        self.missions.inherit_last_valid(&previous.missions);
        if self.identity_invalid {
            self.project_uuid.clone_from(&previous.project_uuid);
            self.node_id.clone_from(&previous.node_id);
        }
    }

    /// Lets go of the root's descriptor until it is needed again, so that its file system can be
    /// unmounted. Needing it again fails where another directory has taken the place.
    pub fn close_root_fd(&self) {
        self.root_dir.close_fd();
    }

    /// Whether the root at its path is the one that was opened.
    ///
    /// # Errors
    /// When nothing that can be looked at is there.
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

    /// Whether nothing at all is in the root, as in the directory under a file system that is not
    /// mounted.
    #[must_use]
    pub fn is_root_empty(&self) -> bool {
        self.root_dir.list(None).is_ok_and(|entries| entries.is_empty())
    }

    /// The device that the root is on.
    #[must_use]
    pub fn root_device(&self) -> u64 {
        self.root_dir.dev_ino().device
    }

    /// When git took the lock of the work tree that the project lies in, if it holds it.
    #[must_use]
    pub fn git_locked_at(&self) -> Option<SystemTime> {
        let lock = self.git_dir.as_ref()?.join("index.lock");
        std::fs::symlink_metadata(lock).ok()?.modified().ok()
    }

    /// Finds the features, in order of slug, and what looks like one and is none.
    ///
    /// # Errors
    /// When a directory on the way to them cannot be listed.
    pub fn discover(&self) -> Result<Discovery, ReadError> {
        discover::discover(&self.root_dir, &self.settings.feature_patterns())
    }

    /// Opens a feature's directory, for `scan`.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open_feature(&self, feature: &FeatureDir) -> io::Result<OwnedFd> {
        self.root_dir.open_dir(feature.path.as_ref())
    }

    /// Opens a directory within a feature.
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

    /// The directories in which something lies, or may come to lie, that steers the project: features,
    /// manifests, runs, baselines, git's head. Those that are there.
    #[must_use]
    pub fn metadata_dirs(&self) -> Vec<PathBuf> {
        metadata_dirs::metadata_dirs(
            &self.root,
            &self.root_dir,
            &self.settings.feature_patterns(),
            self.run_dirs(),
            self.git_dir.as_deref(),
        )
    }

    /// The directories of the runs that `feature-runs.json` names, as far as they lie below the root;
    /// they may not be there.
    pub fn run_dirs(&self) -> impl Iterator<Item = RelPath> {
        self.runs.run_dirs(&self.root)
    }

    /// Absolute path of a feature's directory.
    #[must_use]
    pub fn feature_path(&self, feature: &FeatureDir) -> PathBuf {
        feature.absolute_path(&self.root)
    }

    /// Errors and warnings of all manifests that the project holds or its features use, by file.
    #[must_use]
    pub fn manifest_diagnostics(&self) -> ManifestDiagnostics {
        self.missions.load_project_missions(&self.root_dir);
        self.missions.diagnostics()
    }

    /// Whether something stands where a feature's baseline belongs.
    #[must_use]
    pub fn has_baseline(&self, slug: &FeatureSlug) -> bool {
        baseline::exists(&self.root_dir, slug)
    }

    /// Writes a feature's baseline, durably.
    ///
    /// # Errors
    /// [`WriteError`] with the path.
    pub fn write_baseline(&self, slug: &FeatureSlug, bytes: &[u8]) -> Result<(), WriteError> {
        dossiers_dir::write(&self.root_dir, &self.root, &baseline::file_path(slug), bytes)
    }

    /// Writes a feature's snapshot file, which can be made again.
    ///
    /// # Errors
    /// [`WriteError`] with the path.
    pub fn write_snapshot(&self, slug: &FeatureSlug, bytes: &[u8]) -> Result<(), WriteError> {
        dossiers_dir::write(&self.root_dir, &self.root, &snapshot_file::file_path(slug), bytes)
    }

    /// Whether its feature's snapshot file is that snapshot, whenever it was computed.
    #[must_use]
    pub fn is_snapshot_current(&self, snapshot: &MissionDossierSnapshot) -> bool {
        snapshot_file::matches_on_disk(&self.root_dir, snapshot)
    }

    /// A file below `.kittify/dossiers` that [`Project::touch_probe`] makes.
    #[must_use]
    pub fn probe_path(&self) -> PathBuf {
        self.root.join(PROBE_FILE)
    }

    /// Makes that file and takes it away again, so that a watcher hears of it.
    ///
    /// # Errors
    /// When it cannot be made: nothing of dossierd's is there, or it may not be written.
    pub fn touch_probe(&self) -> io::Result<()> {
        self.root_dir
            .touch_and_remove(&RelPath::new(PROBE_FILE.as_bytes()).map_err(io::Error::other)?)
    }

    /// Removes a feature's baseline. Says whether there was one.
    ///
    /// # Errors
    /// [`WriteError`] with the path.
    pub fn clear_baseline(&self, slug: &FeatureSlug) -> Result<bool, WriteError> {
        baseline::clear(&self.root_dir, &self.root, slug)
    }
}

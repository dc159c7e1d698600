//! Writes files below the directory of a project that dossierd keeps its own files in:
//! `.kittify/dossiers` or `.dossierd/dossiers` (`docs/specification.md#project-files`).

use std::io;
use std::path::{Path, PathBuf};

use crate::core::path::{FeatureSlug, RelPath};
use crate::project::root_dir::RootDir;

/// Name of a baseline file.
pub(super) const PARITY_BASELINE_FILE: &str = "parity-baseline.json";
/// Name of it where another program has baselines of that name.
pub(super) const OWN_BASELINE_FILE: &str = "dossierd-baseline.json";

/// Where dossierd writes in a project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum DossiersHome {
    /// `.kittify/dossiers`: where spec-kitty applies, or no layout does.
    #[default]
    Kittify,
    /// The same place in a project of spec-kitty 3.1 or newer, which writes baselines of its own there.
    Kittify3,
    /// `.dossierd/dossiers`: where other layouts apply.
    Dossierd,
}

impl DossiersHome {
    /// One for each place.
    pub(super) const ALL: [Self; 2] = [Self::Kittify, Self::Dossierd];

    /// Returns the directory.
    pub(super) const fn dir(self) -> &'static str {
        match self {
            Self::Kittify | Self::Kittify3 => ".kittify/dossiers",
            Self::Dossierd => ".dossierd/dossiers",
        }
    }

    /// Returns the directory above it.
    pub(super) const fn parent(self) -> &'static str {
        match self {
            Self::Kittify | Self::Kittify3 => ".kittify",
            Self::Dossierd => ".dossierd",
        }
    }

    /// Returns the other one, where an earlier version, or an earlier layout, may have left files.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Kittify | Self::Kittify3 => Self::Dossierd,
            Self::Dossierd => Self::Kittify,
        }
    }

    /// Returns the name of the baseline file in the directory of its feature.
    pub(super) const fn baseline_file(self) -> &'static str {
        match self {
            Self::Kittify | Self::Dossierd => PARITY_BASELINE_FILE,
            Self::Kittify3 => OWN_BASELINE_FILE,
        }
    }

    /// Returns the directory of a feature's files.
    pub(super) fn feature_dir(self, slug: &FeatureSlug) -> String {
        format!("{}/{}", self.dir(), slug.file_name())
    }
}

/// Content of the `.gitignore` in it.
pub(super) const GITIGNORE: &[u8] = b"*\n";

/// A file that dossierd keeps in a project cannot be written or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}", path = path.display())]
pub struct WriteError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl WriteError {
    /// Creates the error of a failed write.
    pub(super) fn write(path: PathBuf, source: io::Error) -> Self {
        Self { action: "write", path, source }
    }

    /// Creates the error of a file that is to be kept, and cannot be read.
    pub(super) fn keep(path: PathBuf, source: io::Error) -> Self {
        Self { action: "keep", path, source }
    }

    /// Creates the error of a failed removal.
    pub(super) fn remove(path: PathBuf, source: io::Error) -> Self {
        Self { action: "remove", path, source }
    }
}

/// Writes a file below the directory of `home` atomically and durably. Creates the directory if necessary, with a
/// `.gitignore` that excludes it from git.
pub(super) fn write(
    root_dir: &RootDir,
    root: &Path,
    home: DossiersHome,
    name: &str,
    bytes: &[u8],
) -> Result<(), WriteError> {
    let dir = home.dir();
    if !rel_path(dir).is_some_and(|path| root_dir.is_dir(&path)) {
        replace(root_dir, root, &format!("{dir}/.gitignore"), GITIGNORE)?;
    }
    replace(root_dir, root, name, bytes)
}

pub(super) fn replace(
    root_dir: &RootDir,
    root: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), WriteError> {
    let write_error = |source| WriteError::write(root.join(name), source);
    let path =
        RelPath::new(name.as_bytes()).map_err(|cause| write_error(io::Error::other(cause)))?;
    root_dir.replace(&path, bytes).map_err(write_error)
}

pub(super) fn rel_path(name: &str) -> Option<RelPath> {
    RelPath::new(name.as_bytes()).ok()
}

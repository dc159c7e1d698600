//! Writes files below `.kittify/dossiers`, the only directory of a project that dossierd writes to.

use std::io;
use std::path::{Path, PathBuf};

use crate::core::path::RelPath;
use crate::project::root_dir::RootDir;

/// Directory of the files that dossierd writes in a project.
pub(super) const DOSSIERS_DIR: &str = ".kittify/dossiers";

/// The directory above it.
pub(super) const KITTIFY_DIR: &str = ".kittify";

/// Content of the `.gitignore` in it.
pub(super) const GITIGNORE: &[u8] = b"*\n";

/// A file below `.kittify/dossiers` cannot be written or removed.
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

    /// Creates the error of a failed removal.
    pub(super) fn remove(path: PathBuf, source: io::Error) -> Self {
        Self { action: "remove", path, source }
    }
}

/// Writes a file below [`DOSSIERS_DIR`] atomically and durably. Creates the directory if necessary, with a
/// `.gitignore` that excludes it from git.
pub(super) fn write(
    root_dir: &RootDir,
    root: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), WriteError> {
    if !rel_path(DOSSIERS_DIR).is_some_and(|path| root_dir.is_dir(&path)) {
        replace(root_dir, root, &format!("{DOSSIERS_DIR}/.gitignore"), GITIGNORE)?;
    }
    replace(root_dir, root, name, bytes)
}

fn replace(root_dir: &RootDir, root: &Path, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
    let write_error = |source| WriteError::write(root.join(name), source);
    let path =
        RelPath::new(name.as_bytes()).map_err(|cause| write_error(io::Error::other(cause)))?;
    root_dir.replace(&path, bytes).map_err(write_error)
}

pub(super) fn rel_path(name: &str) -> Option<RelPath> {
    RelPath::new(name.as_bytes()).ok()
}

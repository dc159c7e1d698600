//! Writes below `.kittify/dossiers`, the only directory of a project that dossierd writes to.

use std::io;
use std::path::{Path, PathBuf};

use crate::core::path::RelPath;
use crate::project::root_dir::RootDir;

/// Directory of all that dossierd writes in a project.
pub(super) const DOSSIERS_DIR: &str = ".kittify/dossiers";

/// A file of ours could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}", path = path.display())]
pub struct WriteError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl WriteError {
    /// Returns the error of a file that could not be removed.
    pub(super) fn remove(path: PathBuf, source: io::Error) -> Self {
        Self { action: "remove", path, source }
    }
}

/// Writes one of the files below [`DOSSIERS_DIR`], whole or not at all. That directory is hidden from git
/// when it is made.
pub(super) fn write(
    root_dir: &RootDir,
    root: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), WriteError> {
    if !rel_path(DOSSIERS_DIR).is_some_and(|path| root_dir.is_dir(&path)) {
        replace(root_dir, root, &format!("{DOSSIERS_DIR}/.gitignore"), b"*\n")?;
    }
    replace(root_dir, root, name, bytes)
}

fn replace(root_dir: &RootDir, root: &Path, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
    let write_error = |source| WriteError { action: "write", path: root.join(name), source };
    let path =
        RelPath::new(name.as_bytes()).map_err(|cause| write_error(io::Error::other(cause)))?;
    root_dir.replace(&path, bytes).map_err(write_error)
}

pub(super) fn rel_path(name: &str) -> Option<RelPath> {
    RelPath::new(name.as_bytes()).ok()
}

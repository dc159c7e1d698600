//! What dossierd writes below a root: `.kittify/dossiers/{slug}/parity-baseline.json`. The snapshot
//! file beside it is `projected`'s.

use std::io;
use std::path::{Path, PathBuf};

use crate::core::baseline::{Baseline, BaselineFile};
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::yaml::ParseError;
use crate::project::root_dir::RootDir;

/// Directory of all that dossierd writes in a project.
pub(super) const DOSSIERS_DIR: &str = ".kittify/dossiers";
/// A million artifacts need about this much.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// A file of ours could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}", path = path.display())]
pub struct WriteError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Reads a feature's baseline.
pub(super) fn read(folder: &RootDir, slug: &FeatureSlug) -> BaselineFile {
    let Some(path) = rel_path(&file_path(slug)) else {
        return BaselineFile::Absent;
    };
    match folder.read(&path, MAX_FILE_BYTES) {
        Ok(None) => BaselineFile::Absent,
        Ok(Some(bytes)) => match Baseline::parse(&bytes) {
            Ok(baseline) => BaselineFile::Valid(Box::new(baseline)),
            Err(error) => BaselineFile::Corrupt(error),
        },
        Err(error) => BaselineFile::Corrupt(ParseError::without_position(error.to_string())),
    }
}

/// Whether something stands where a feature's baseline belongs.
pub(super) fn exists(folder: &RootDir, slug: &FeatureSlug) -> bool {
    rel_path(&file_path(slug)).is_some_and(|path| folder.exists(&path))
}

/// Writes one of the files below [`DOSSIERS_DIR`], whole or not at all. That directory is hidden from git
/// when it is made.
pub(super) fn write(
    folder: &RootDir,
    root: &Path,
    name: &str,
    text: &[u8],
) -> Result<(), WriteError> {
    if !rel_path(DOSSIERS_DIR).is_some_and(|path| folder.is_dir(&path)) {
        replace(folder, root, &format!("{DOSSIERS_DIR}/.gitignore"), b"*\n")?;
    }
    replace(folder, root, name, text)
}

/// Removes a feature's baseline.
pub(super) fn clear(folder: &RootDir, root: &Path, slug: &FeatureSlug) -> Result<bool, WriteError> {
    let name = file_path(slug);
    let Some(path) = rel_path(&name) else {
        return Ok(false);
    };
    folder.remove(&path).map_err(|source| WriteError {
        action: "remove",
        path: root.join(name),
        source,
    })
}

fn replace(folder: &RootDir, root: &Path, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
    let error = |source| WriteError { action: "write", path: root.join(name), source };
    let path = RelPath::new(name.as_bytes()).map_err(|cause| error(io::Error::other(cause)))?;
    folder.replace(&path, bytes).map_err(error)
}

pub(super) fn file_path(slug: &FeatureSlug) -> String {
    format!("{DOSSIERS_DIR}/{slug}/parity-baseline.json")
}

pub(super) fn rel_path(name: &str) -> Option<RelPath> {
    RelPath::new(name.as_bytes()).ok()
}

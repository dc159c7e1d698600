//! What dossierd writes below a root: `.kittify/dossiers/{slug}/parity-baseline.json`. The snapshot
//! file beside it is `projected`'s.

use std::io;
use std::path::{Path, PathBuf};

use super::beneath::Folder;
use crate::core::baseline::{Baseline, BaselineFile};
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::yaml::TextError;

/// Folder of all that dossierd writes in a project.
pub(super) const DOSSIERS: &str = ".kittify/dossiers";
/// A million artifacts need about this much.
const MAX: u64 = 512 << 20;

/// A file of ours could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}", path = path.display())]
pub struct WriteError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Reads a feature's baseline.
pub(super) fn read(folder: &Folder, slug: &FeatureSlug) -> BaselineFile {
    let Some(path) = relative(&name(slug)) else {
        return BaselineFile::Absent;
    };
    match folder.read(&path, MAX) {
        Ok(None) => BaselineFile::Absent,
        Ok(Some(bytes)) => match Baseline::parse(&bytes) {
            Ok(baseline) => BaselineFile::Sound(Box::new(baseline)),
            Err(error) => BaselineFile::Corrupt(error),
        },
        Err(error) => BaselineFile::Corrupt(TextError::whole(error.to_string())),
    }
}

/// Whether something stands where a feature's baseline belongs.
pub(super) fn exists(folder: &Folder, slug: &FeatureSlug) -> bool {
    relative(&name(slug)).is_some_and(|path| folder.exists(&path))
}

/// Writes one of the files below [`DOSSIERS`], whole or not at all. That folder is hidden from git
/// when it is made.
pub(super) fn write(
    folder: &Folder,
    root: &Path,
    name: &str,
    text: &[u8],
) -> Result<(), WriteError> {
    if !relative(DOSSIERS).is_some_and(|path| folder.has_folder(&path)) {
        replace(folder, root, &format!("{DOSSIERS}/.gitignore"), b"*\n")?;
    }
    replace(folder, root, name, text)
}

/// Removes a feature's baseline.
pub(super) fn clear(folder: &Folder, root: &Path, slug: &FeatureSlug) -> Result<bool, WriteError> {
    let name = name(slug);
    let Some(path) = relative(&name) else {
        return Ok(false);
    };
    folder.remove(&path).map_err(|source| WriteError {
        action: "remove",
        path: root.join(name),
        source,
    })
}

fn replace(folder: &Folder, root: &Path, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
    let error = |source| WriteError { action: "write", path: root.join(name), source };
    let path = RelPath::new(name.as_bytes()).map_err(|cause| error(io::Error::other(cause)))?;
    folder.replace(&path, bytes).map_err(error)
}

pub(super) fn name(slug: &FeatureSlug) -> String {
    format!("{DOSSIERS}/{slug}/parity-baseline.json")
}

pub(super) fn relative(name: &str) -> Option<RelPath> {
    RelPath::new(name.as_bytes()).ok()
}

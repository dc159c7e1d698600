//! Reads and removes a feature's baseline file, `parity-baseline.json` in its directory of the
//! project's own files (`docs/specification.md#project-files`). A file that is in the other place is
//! read where there is none in the right one, and moved when a baseline is accepted.

use std::path::Path;

use crate::core::baseline::{Baseline, BaselineFile};
use crate::core::path::FeatureSlug;
use crate::core::yaml::ParseError;
use crate::project::dossiers_dir::{self, DossiersHome, WriteError, rel_path};
use crate::project::root_dir::RootDir;

/// Name of the file, in the directory of its feature.
pub const BASELINE_FILE: &str = "parity-baseline.json";
/// Maximum size of the file; one with a million artifacts is about this large. Larger files are
/// corrupt baselines.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// Reads a feature's baseline.
pub(super) fn read(root_dir: &RootDir, home: DossiersHome, slug: &FeatureSlug) -> BaselineFile {
    match read_in(root_dir, home, slug) {
        BaselineFile::Absent => read_in(root_dir, home.other(), slug),
        found => found,
    }
}

fn read_in(root_dir: &RootDir, home: DossiersHome, slug: &FeatureSlug) -> BaselineFile {
    let Some(path) = rel_path(&file_path(home, slug)) else {
        return BaselineFile::Absent;
    };
    match root_dir.read(&path, MAX_FILE_BYTES) {
        Ok(None) => BaselineFile::Absent,
        Ok(Some(bytes)) => match Baseline::parse(&bytes) {
            Ok(baseline) => BaselineFile::Valid(Box::new(baseline)),
            Err(error) => BaselineFile::Corrupt(error),
        },
        Err(error) => BaselineFile::Corrupt(ParseError::without_position(error.to_string())),
    }
}

/// Returns true if there is an entry at one of the paths of a feature's baseline.
pub(super) fn exists(root_dir: &RootDir, slug: &FeatureSlug) -> bool {
    DossiersHome::ALL
        .into_iter()
        .any(|home| rel_path(&file_path(home, slug)).is_some_and(|path| root_dir.exists(&path)))
}

/// Writes a feature's baseline durably, and removes one in the other place.
pub(super) fn write(
    root_dir: &RootDir,
    root: &Path,
    home: DossiersHome,
    slug: &FeatureSlug,
    bytes: &[u8],
) -> Result<(), WriteError> {
    dossiers_dir::write(root_dir, root, home, &file_path(home, slug), bytes)?;
    remove_in(root_dir, root, home.other(), slug).map(drop)
}

/// Removes a feature's baseline. Returns true if there was one.
pub(super) fn clear(
    root_dir: &RootDir,
    root: &Path,
    slug: &FeatureSlug,
) -> Result<bool, WriteError> {
    let removed = DossiersHome::ALL.map(|home| remove_in(root_dir, root, home, slug));
    let [one, other] = removed;
    Ok(one? | other?)
}

fn remove_in(
    root_dir: &RootDir,
    root: &Path,
    home: DossiersHome,
    slug: &FeatureSlug,
) -> Result<bool, WriteError> {
    let name = file_path(home, slug);
    let Some(path) = rel_path(&name) else {
        return Ok(false);
    };
    root_dir.remove(&path).map_err(|source| WriteError::remove(root.join(name), source))
}

pub(super) fn file_path(home: DossiersHome, slug: &FeatureSlug) -> String {
    format!("{}/{BASELINE_FILE}", home.feature_dir(slug))
}

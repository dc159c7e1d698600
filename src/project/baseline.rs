//! Reads and removes a feature's baseline file, `.kittify/dossiers/{slug}/parity-baseline.json`
//! (`docs/specification.md#project-files`).

use std::path::Path;

use crate::core::baseline::{Baseline, BaselineFile};
use crate::core::path::FeatureSlug;
use crate::core::yaml::ParseError;
use crate::project::dossiers_dir::{DOSSIERS_DIR, WriteError, rel_path};
use crate::project::root_dir::RootDir;

/// Maximum size of the file; one with a million artifacts is about this large. Larger files are
/// corrupt baselines.
/// Name of the file, in the directory of its feature below `.kittify/dossiers`.
pub const BASELINE_FILE: &str = "parity-baseline.json";
const MAX_FILE_BYTES: u64 = 512 << 20;

/// Reads a feature's baseline.
pub(super) fn read(root_dir: &RootDir, slug: &FeatureSlug) -> BaselineFile {
    let Some(path) = rel_path(&file_path(slug)) else {
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

/// Returns true if there is an entry at the path of a feature's baseline.
pub(super) fn exists(root_dir: &RootDir, slug: &FeatureSlug) -> bool {
    rel_path(&file_path(slug)).is_some_and(|path| root_dir.exists(&path))
}

/// Removes a feature's baseline. Returns true if there was one.
pub(super) fn clear(
    root_dir: &RootDir,
    root: &Path,
    slug: &FeatureSlug,
) -> Result<bool, WriteError> {
    let name = file_path(slug);
    let Some(path) = rel_path(&name) else {
        return Ok(false);
    };
    root_dir.remove(&path).map_err(|source| WriteError::remove(root.join(name), source))
}

pub(super) fn file_path(slug: &FeatureSlug) -> String {
    format!("{DOSSIERS_DIR}/{slug}/{BASELINE_FILE}")
}

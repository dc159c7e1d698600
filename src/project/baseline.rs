//! Reads and removes a feature's baseline file, `parity-baseline.json` in its directory of the
//! project's own files (`docs/specification.md#project-files`). A file that is in the other place is
//! read where there is none in the right one, and moved when a baseline is accepted.

use std::path::Path;

use crate::core::baseline::{Baseline, BaselineFile, BaselineScope};
use crate::core::path::FeatureSlug;
use crate::core::yaml::ParseError;
use crate::project::dossiers_dir::{
    self, DossiersHome, OWN_BASELINE_FILE, PARITY_BASELINE_FILE, WriteError, rel_path,
};
use crate::project::root_dir::RootDir;

/// Names of the file, in the directory of its feature.
pub const BASELINE_FILES: [&str; 2] = [PARITY_BASELINE_FILE, OWN_BASELINE_FILE];
/// Maximum size of the file; one with a million artifacts is about this large. Larger files are
/// corrupt baselines.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// Directory of the baselines that a team commits.
pub const SHARED_DIR: &str = ".dossierd/baselines";

/// Reads the baseline of a feature that counts, and for whom it does: a shared one where there is one,
/// or where `scope` is shared; else that of this machine.
pub(super) fn read_counting(
    root_dir: &RootDir,
    home: DossiersHome,
    scope: BaselineScope,
    slug: &FeatureSlug,
) -> (BaselineFile, BaselineScope) {
    match read_file(root_dir, &shared_path(slug)) {
        BaselineFile::Absent if scope == BaselineScope::Local => {
            (read(root_dir, home, slug), BaselineScope::Local)
        }
        found => (found, BaselineScope::Shared),
    }
}

/// Returns the path of a feature's shared baseline below the root.
pub(super) fn shared_path(slug: &FeatureSlug) -> String {
    format!("{SHARED_DIR}/{}.json", slug.file_name())
}

/// Returns the slugs of the features that have a shared baseline, valid or not.
pub(super) fn shared_slugs(root_dir: &RootDir) -> Vec<FeatureSlug> {
    let Some(dir) = rel_path(SHARED_DIR) else {
        return Vec::new();
    };
    let entries = root_dir.list(Some(&dir)).unwrap_or_default();
    let slugs = entries.iter().filter_map(|entry| {
        let stem = entry.name.strip_suffix(b".json")?;
        let path = dir.join(&entry.name).ok()?;
        // The file inside names the slug; where it names another one, the name of the file does.
        let inside = match read_file(root_dir, &path.text()) {
            BaselineFile::Valid(baseline) => {
                FeatureSlug::new(baseline.baseline_key.feature_slug.as_bytes())
            }
            BaselineFile::Absent | BaselineFile::Corrupt(_) => None,
        };
        let named = inside.into_iter().chain(FeatureSlug::of_file_name(stem));
        named.into_iter().find(|slug| shared_path(slug).as_bytes() == path.as_bytes())
    });
    slugs.collect()
}

/// Returns the path of the file of a feature's baseline of a scope, if there is one.
pub(super) fn existing_path(
    root_dir: &RootDir,
    home: DossiersHome,
    scope: BaselineScope,
    slug: &FeatureSlug,
) -> Option<String> {
    let paths = match scope {
        BaselineScope::Local => vec![file_path(home, slug), file_path(home.other(), slug)],
        BaselineScope::Shared => vec![shared_path(slug)],
    };
    let exists = |path: &String| rel_path(path).is_some_and(|path| root_dir.exists(&path));
    paths.into_iter().find(exists)
}

/// Reads a feature's baseline of this machine.
pub(super) fn read(root_dir: &RootDir, home: DossiersHome, slug: &FeatureSlug) -> BaselineFile {
    match read_in(root_dir, home, slug) {
        BaselineFile::Absent => {}
        found => return found,
    }
    if home == DossiersHome::Kittify3
        && let found @ BaselineFile::Valid(_) = read_in(root_dir, DossiersHome::Kittify, slug)
    {
        return found;
    }
    read_in(root_dir, home.other(), slug)
}

/// Returns true if another program has a baseline of a feature, in a format of its own: it is neither
/// read nor written.
pub(super) fn has_foreign(root_dir: &RootDir, home: DossiersHome, slug: &FeatureSlug) -> bool {
    home == DossiersHome::Kittify3
        && matches!(read_in(root_dir, DossiersHome::Kittify, slug), BaselineFile::Corrupt(_))
}

fn read_in(root_dir: &RootDir, home: DossiersHome, slug: &FeatureSlug) -> BaselineFile {
    read_file(root_dir, &file_path(home, slug))
}

fn read_file(root_dir: &RootDir, path: &str) -> BaselineFile {
    let Some(path) = rel_path(path) else {
        return BaselineFile::Absent;
    };
    let error = match root_dir.read(&path, MAX_FILE_BYTES) {
        Ok(None) => return BaselineFile::Absent,
        Ok(Some(bytes)) => match parse_file(&bytes) {
            BaselineFile::Corrupt(error) => error.to_string(),
            parsed => return parsed,
        },
        Err(error) => format!(" {error}"),
    };
    BaselineFile::Corrupt(ParseError::without_position(format!("{}:{error}", path.text())))
}

/// Parses the content of a baseline file.
pub(super) fn parse_file(bytes: &[u8]) -> BaselineFile {
    match Baseline::parse(bytes) {
        Ok(baseline) => BaselineFile::Valid(Box::new(baseline)),
        Err(error) => BaselineFile::Corrupt(error),
    }
}

/// Returns true if there is an entry at one of the paths of a feature's baseline.
pub(super) fn exists(root_dir: &RootDir, slug: &FeatureSlug) -> bool {
    let homes = [DossiersHome::Kittify, DossiersHome::Kittify3, DossiersHome::Dossierd];
    let local = homes.into_iter().map(|home| file_path(home, slug));
    let mut paths = local.chain([shared_path(slug)]);
    paths.any(|path| rel_path(&path).is_some_and(|path| root_dir.exists(&path)))
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

/// Removes a feature's shared baseline. Returns true if there was one.
pub(super) fn clear_shared(
    root_dir: &RootDir,
    root: &Path,
    slug: &FeatureSlug,
) -> Result<bool, WriteError> {
    remove_file(root_dir, root, &shared_path(slug))
}

/// Removes a feature's baseline of this machine. Returns true if there was one.
pub(super) fn clear(
    root_dir: &RootDir,
    root: &Path,
    home: DossiersHome,
    slug: &FeatureSlug,
) -> Result<bool, WriteError> {
    let removed = [home, home.other()].map(|home| remove_in(root_dir, root, home, slug));
    let [one, other] = removed;
    Ok(one? | other?)
}

fn remove_in(
    root_dir: &RootDir,
    root: &Path,
    home: DossiersHome,
    slug: &FeatureSlug,
) -> Result<bool, WriteError> {
    remove_file(root_dir, root, &file_path(home, slug))
}

fn remove_file(root_dir: &RootDir, root: &Path, name: &str) -> Result<bool, WriteError> {
    let Some(path) = rel_path(name) else {
        return Ok(false);
    };
    root_dir.remove(&path).map_err(|source| WriteError::remove(root.join(name), source))
}

pub(super) fn file_path(home: DossiersHome, slug: &FeatureSlug) -> String {
    format!("{}/{}", home.feature_dir(slug), home.baseline_file())
}

//! Keeps the baselines that were replaced, so that an acceptance can be undone
//! (`docs/specification.md#accepting`).

use std::path::Path;

use super::baseline::{file_path, parse_file, shared_path};
use crate::core::baseline::{BaselineFile, BaselineScope};
use crate::core::path::{FeatureSlug, RelPath};
use crate::project::dossiers_dir::{self, DossiersHome, WriteError, rel_path};
use crate::project::root_dir::RootDir;

/// Directory of the replaced baselines, in that of the feature.
const REPLACED_DIR: &str = "replaced-baselines";
/// Number of replaced baselines that are kept; the oldest are dropped.
const MAX_KEPT: usize = 16;
const MAX_FILE_BYTES: u64 = 512 << 20;

/// A baseline that was replaced.
#[derive(Debug)]
pub struct ReplacedBaseline {
    /// For whom it counted.
    pub scope: BaselineScope,
    /// Its content.
    pub baseline: BaselineFile,
    /// Number of the replacement, from 1.
    number: u32,
    path: RelPath,
}

/// Returns the path of the baseline of a scope.
fn current_path(home: DossiersHome, scope: BaselineScope, slug: &FeatureSlug) -> String {
    match scope {
        BaselineScope::Local => file_path(home, slug),
        BaselineScope::Shared => shared_path(slug),
    }
}

/// Keeps the baseline of a scope, if there is one, before it is replaced.
pub(super) fn keep(
    root_dir: &RootDir,
    root: &Path,
    home: DossiersHome,
    scope: BaselineScope,
    slug: &FeatureSlug,
) -> Result<(), WriteError> {
    let path = rel_path(&current_path(home, scope, slug));
    let bytes = path.and_then(|path| root_dir.read(&path, MAX_FILE_BYTES).ok().flatten());
    let Some(bytes) = bytes else {
        return Ok(());
    };
    let kept = list(root_dir, home, slug);
    let number = kept.first().map_or(1, |newest| newest.number + 1);
    let name = format!("{}/{REPLACED_DIR}/{number:06}-{scope}.json", home.feature_dir(slug));
    dossiers_dir::write(root_dir, root, home, &name, &bytes)?;
    for old in kept.iter().skip(MAX_KEPT - 1) {
        // One that stays is dropped after the next replacement.
        let _ = root_dir.remove(&old.path);
    }
    Ok(())
}

/// Returns the baselines that were replaced, the newest first.
pub(super) fn list(
    root_dir: &RootDir,
    home: DossiersHome,
    slug: &FeatureSlug,
) -> Vec<ReplacedBaseline> {
    let Some(dir) = rel_path(&format!("{}/{REPLACED_DIR}", home.feature_dir(slug))) else {
        return Vec::new();
    };
    let entries = root_dir.list(Some(&dir)).unwrap_or_default();
    let kept = entries.iter().rev().filter_map(|entry| {
        let name = std::str::from_utf8(&entry.name).ok()?.strip_suffix(".json")?;
        let (number, scope) = name.split_once('-')?;
        let scope = match scope {
            "local" => BaselineScope::Local,
            "shared" => BaselineScope::Shared,
            _ => return None,
        };
        let path = dir.join(&entry.name).ok()?;
        let bytes = root_dir.read(&path, MAX_FILE_BYTES).ok()??;
        let baseline = parse_file(&bytes);
        Some(ReplacedBaseline { scope, baseline, number: number.parse().ok()?, path })
    });
    kept.collect()
}

/// Puts the newest replaced baseline of a scope back. Returns false if there is none.
pub(super) fn restore(
    root_dir: &RootDir,
    root: &Path,
    home: DossiersHome,
    scope: BaselineScope,
    slug: &FeatureSlug,
) -> Result<bool, WriteError> {
    let kept = list(root_dir, home, slug);
    let Some(newest) = kept.iter().find(|one| one.scope == scope) else {
        return Ok(false);
    };
    let path = current_path(home, scope, slug);
    let bytes = root_dir.read(&newest.path, MAX_FILE_BYTES);
    let bytes = bytes.ok().flatten().unwrap_or_default();
    dossiers_dir::replace(root_dir, root, &path, &bytes)?;
    let removed = root_dir.remove(&newest.path);
    removed.map_err(|source| WriteError::remove(root.join(path), source))?;
    Ok(true)
}

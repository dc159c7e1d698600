//! Keeps the baselines that were replaced or cleared, so that this can be undone
//! (`docs/specification.md#accepting`).

use std::io;
use std::path::Path;

use super::baseline::{existing_path, file_path, parse_file, shared_path};
use crate::core::baseline::{BaselineFile, BaselineScope};
use crate::core::path::{FeatureSlug, RelPath};
use crate::project::dossiers_dir::{self, DossiersHome, WriteError, rel_path};
use crate::project::root_dir::{ReadError, RootDir};

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
}

/// The file of a baseline that was replaced.
#[derive(Debug, PartialEq, Eq)]
struct KeptFile {
    /// Number of the replacement, from 1.
    number: u32,
    scope: BaselineScope,
    path: RelPath,
}

/// Keeps the baseline of a scope, if there is one, before it is replaced or removed.
///
/// # Errors
/// If it cannot be read or copied: then it must not be replaced.
pub(super) fn keep(
    root_dir: &RootDir,
    root: &Path,
    home: DossiersHome,
    scope: BaselineScope,
    slug: &FeatureSlug,
) -> Result<(), WriteError> {
    let Some(path) = existing_path(root_dir, home, scope, slug) else {
        return Ok(());
    };
    let bytes = match rel_path(&path).map(|file| root_dir.read(&file, MAX_FILE_BYTES)).transpose() {
        Err(ReadError::Io(cause)) => return Err(WriteError::keep(root.join(&path), cause)),
        // Neither an irregular file nor one that is too large is a baseline.
        Ok(None | Some(None)) | Err(_) => return Ok(()),
        Ok(Some(Some(bytes))) => bytes,
    };
    let kept = kept_files(root_dir, home, slug);
    let number = kept.first().map_or(1, |newest| newest.number.saturating_add(1));
    let name = format!("{}/{REPLACED_DIR}/{number:06}-{scope}.json", home.feature_dir(slug));
    dossiers_dir::write(root_dir, root, home, &name, &bytes)?;
    for old in kept.iter().skip(MAX_KEPT - 1) {
        // One that stays is dropped after the next replacement.
        let _ = root_dir.remove(&old.path);
    }
    Ok(())
}

/// Returns the baselines that were replaced, the newest first, as far as they can be read.
pub(super) fn list(
    root_dir: &RootDir,
    home: DossiersHome,
    slug: &FeatureSlug,
) -> Vec<ReplacedBaseline> {
    let kept = kept_files(root_dir, home, slug).into_iter().take(MAX_KEPT);
    let read = kept.filter_map(|file| {
        let bytes = root_dir.read(&file.path, MAX_FILE_BYTES).ok()??;
        Some(ReplacedBaseline { scope: file.scope, baseline: parse_file(&bytes) })
    });
    read.collect()
}

/// Puts the newest replaced baseline of a scope back. Returns false if there is none.
pub(super) fn restore(
    root_dir: &RootDir,
    root: &Path,
    home: DossiersHome,
    scope: BaselineScope,
    slug: &FeatureSlug,
) -> Result<bool, WriteError> {
    let kept = kept_files(root_dir, home, slug);
    let Some(newest) = kept.iter().find(|one| one.scope == scope) else {
        return Ok(false);
    };
    let shown = newest.path.text().into_owned();
    let read = root_dir.read(&newest.path, MAX_FILE_BYTES).map_err(io::Error::other);
    let bytes = read.and_then(|bytes| bytes.ok_or_else(|| io::ErrorKind::NotFound.into()));
    let bytes = bytes.map_err(|cause| WriteError::keep(root.join(&shown), cause))?;
    let path = match scope {
        BaselineScope::Local => file_path(home, slug),
        BaselineScope::Shared => shared_path(slug),
    };
    dossiers_dir::replace(root_dir, root, &path, &bytes)?;
    let removed = root_dir.remove(&newest.path);
    removed.map_err(|source| WriteError::remove(root.join(shown), source))?;
    Ok(true)
}

/// Returns the files of replaced baselines, the newest first.
fn kept_files(root_dir: &RootDir, home: DossiersHome, slug: &FeatureSlug) -> Vec<KeptFile> {
    let Some(dir) = rel_path(&format!("{}/{REPLACED_DIR}", home.feature_dir(slug))) else {
        return Vec::new();
    };
    let entries = root_dir.list(Some(&dir)).unwrap_or_default();
    let mut kept: Vec<KeptFile> =
        entries.iter().filter_map(|entry| parse_name(&dir, &entry.name)).collect();
    kept.sort_unstable_by_key(|file| std::cmp::Reverse(file.number));
    kept
}

/// Parses the name of the file of a replaced baseline, `<number>-<scope>.json`.
fn parse_name(dir: &RelPath, name: &[u8]) -> Option<KeptFile> {
    let (number, scope) = std::str::from_utf8(name).ok()?.strip_suffix(".json")?.split_once('-')?;
    let scope = match scope {
        "local" => BaselineScope::Local,
        "shared" => BaselineScope::Shared,
        _ => return None,
    };
    Some(KeptFile { number: number.parse().ok()?, scope, path: dir.join(name).ok()? })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HOME: DossiersHome = DossiersHome::Kittify;
    const SCOPE: BaselineScope = BaselineScope::Local;

    struct Fixture {
        dir: tempfile::TempDir,
        root_dir: RootDir,
        slug: FeatureSlug,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root_dir = RootDir::open(dir.path()).unwrap();
            Self { dir, root_dir, slug: FeatureSlug::new(b"a").unwrap() }
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn keep(&self) -> Result<(), WriteError> {
            keep(&self.root_dir, self.dir.path(), HOME, SCOPE, &self.slug)
        }

        fn restore(&self) -> Result<bool, WriteError> {
            restore(&self.root_dir, self.dir.path(), HOME, SCOPE, &self.slug)
        }

        fn numbers(&self) -> Vec<u32> {
            let kept = kept_files(&self.root_dir, HOME, &self.slug);
            kept.iter().map(|file| file.number).collect()
        }
    }

    #[test]
    fn replaced_baselines_are_kept_wherever_they_are_and_the_oldest_dropped() {
        let fixture = Fixture::new();
        fixture.keep().unwrap();
        assert_eq!(fixture.numbers(), [0_u32; 0], "there is none");
        fixture.write(".dossierd/dossiers/a/parity-baseline.json", "in the other place");
        fixture.keep().unwrap();
        assert_eq!(fixture.numbers(), [1]);
        fixture.write(".kittify/dossiers/a/parity-baseline.json", "new");
        for _ in 0..MAX_KEPT + 3 {
            fixture.keep().unwrap();
        }
        let numbers = fixture.numbers();
        assert_eq!((numbers.len(), numbers[0]), (MAX_KEPT, 20));
    }

    #[test]
    fn names_that_lie_break_nothing() {
        let fixture = Fixture::new();
        let dir = ".kittify/dossiers/a/replaced-baselines";
        for name in ["4294967295-local.json", "x-local.json", "7-global.json", "2-local.json"] {
            fixture.write(&format!("{dir}/{name}"), "kept");
        }
        assert_eq!(fixture.numbers(), [u32::MAX, 2]);
        fixture.write(".kittify/dossiers/a/parity-baseline.json", "new");
        fixture.keep().unwrap();
        assert!(fixture.restore().unwrap());
    }

    #[test]
    fn a_replaced_baseline_that_cannot_be_read_replaces_nothing() {
        let fixture = Fixture::new();
        let current = ".kittify/dossiers/a/parity-baseline.json";
        fixture.write(current, "current");
        let kept =
            fixture.dir.path().join(".kittify/dossiers/a/replaced-baselines/000001-local.json");
        fs::create_dir_all(&kept).unwrap();
        let error = fixture.restore().unwrap_err().to_string();
        assert!(error.ends_with("replaced-baselines/000001-local.json"), "{error}");
        assert_eq!(fs::read_to_string(fixture.dir.path().join(current)).unwrap(), "current");
        fs::remove_file(fixture.dir.path().join(current)).unwrap();
        fs::create_dir(fixture.dir.path().join(current)).unwrap();
        fixture.keep().unwrap();
        assert_eq!(fixture.numbers(), [1], "a directory is not a baseline");
    }
}

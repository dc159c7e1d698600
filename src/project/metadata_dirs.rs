//! Which files and directories outside of features are metadata, and which directories must be
//! watched to see their changes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::core::path::{FeatureSlug, RelPath};
use crate::core::pattern::Pattern;
use crate::project::baseline::BASELINE_FILE;
use crate::project::discover;
use crate::project::dossiers_dir::DOSSIERS_DIR;
use crate::project::root_dir::RootDir;

/// Directories that are watched themselves, and directories that are watched with their immediate
/// subdirectories.
const WATCHED_DIRS: [&str; 4] =
    [".kittify", ".kittify/overrides", ".kittify/runtime", DOSSIERS_DIR];
const WATCHED_WITH_SUBDIRS: [&str; 3] = [MISSION_DIRS[0], MISSION_DIRS[1], ".kittify/runtime/runs"];
/// Directories with one for each mission.
const MISSION_DIRS: [&str; 2] = [".kittify/overrides/missions", ".kittify/missions"];

const METADATA_FILES: [&[u8]; 4] =
    [b".kittify/config.yaml", b".kittify/runtime/feature-runs.json", b".git", b".git/HEAD"];
const MISSION_FILES: [&[u8]; 3] =
    [b"expected-artifacts.yaml", b"mission.yaml", b"mission-runtime.yaml"];

/// What a path outside of features holds, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataKind {
    /// A file that is read.
    File,
    /// A directory that may contain such files.
    Dir,
}

impl MetadataKind {
    /// Returns the kind of a path below the root; `None` for a path that no metadata depends on.
    #[must_use]
    pub fn of(path: &RelPath) -> Option<Self> {
        let components: Vec<&[u8]> = path.components().collect();
        let parent = components[..components.len() - 1].join(&b'/');
        let grandparent = components[..components.len().saturating_sub(2)].join(&b'/');
        let is = |names: &[&str], dir: &[u8]| names.iter().any(|name| name.as_bytes() == dir);
        let is_file = METADATA_FILES.contains(&path.as_bytes())
            || is(&MISSION_DIRS, &grandparent) && MISSION_FILES.contains(&path.file_name())
            || grandparent == DOSSIERS_DIR.as_bytes()
                && path.file_name() == BASELINE_FILE.as_bytes();
        let is_dir = is(&WATCHED_DIRS, path.as_bytes())
            || is(&WATCHED_WITH_SUBDIRS, path.as_bytes())
            || is(&WATCHED_WITH_SUBDIRS, &parent)
            || is_dossier_dir(path);
        match (is_file, is_dir) {
            (true, _) => Some(Self::File),
            (false, true) => Some(Self::Dir),
            (false, false) => None,
        }
    }
}

/// Returns true for the directory of a feature's baseline.
#[must_use]
pub fn is_dossier_dir(path: &RelPath) -> bool {
    let name = path
        .as_bytes()
        .strip_prefix(DOSSIERS_DIR.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"/"));
    name.is_some_and(|name| !name.contains(&b'/'))
}

/// Returns the feature whose baseline is at a path.
#[must_use]
pub fn slug_of_baseline(path: &RelPath) -> Option<FeatureSlug> {
    let mut components = path.components();
    let (name, slug) = (components.next_back()?, components.next_back()?);
    let is_dossier = components.eq(DOSSIERS_DIR.as_bytes().split(|byte| *byte == b'/'));
    FeatureSlug::new(slug).filter(|_| is_dossier && name == BASELINE_FILE.as_bytes())
}

/// Returns the absolute paths of the directories of baselines.
pub(super) fn dossier_dirs(root: &Path, root_dir: &RootDir) -> Vec<PathBuf> {
    let Ok(parent) = RelPath::new(DOSSIERS_DIR.as_bytes()) else {
        return Vec::new();
    };
    let entries = root_dir.list(Some(&parent)).unwrap_or_default().into_iter();
    let dirs = entries.filter(|entry| entry.kind == FileType::Directory);
    dirs.map(|dir| root.join(DOSSIERS_DIR).join(OsStr::from_bytes(&dir.name))).collect()
}

/// Returns the absolute paths of the metadata directories that exist, without those of
/// [`dossier_dirs`].
pub(super) fn metadata_dirs(
    root: &Path,
    root_dir: &RootDir,
    patterns: &[Pattern],
    run_dirs: impl Iterator<Item = RelPath>,
    git_dir: Option<&Path>,
) -> Vec<PathBuf> {
    let mut relative: Vec<RelPath> = Vec::new();
    // The directory of a run that has not started is created later, in one of its parents.
    for run_dir in run_dirs {
        let components: Vec<&[u8]> = run_dir.components().collect();
        for length in 1..=components.len() {
            relative.extend(RelPath::new(components[..length].join(&b'/')).ok());
        }
    }
    relative.extend(discover::traversed_dirs(root_dir, patterns));
    relative.extend(WATCHED_DIRS.iter().filter_map(|name| RelPath::new(name.as_bytes()).ok()));
    for name in WATCHED_WITH_SUBDIRS {
        let Ok(parent) = RelPath::new(name.as_bytes()) else {
            continue;
        };
        for entry in root_dir.list(Some(&parent)).unwrap_or_default() {
            if entry.kind == FileType::Directory {
                relative.extend(parent.join(&entry.name).ok());
            }
        }
        relative.push(parent);
    }
    relative.sort_unstable();
    relative.dedup();
    let absolute = relative
        .into_iter()
        .filter(|path| root_dir.is_dir(path))
        .map(|path| root.join(OsStr::from_bytes(path.as_bytes())));
    [root.to_owned()].into_iter().chain(absolute).chain(git_dir.map(Path::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_are_read_and_their_directories_are_metadata() {
        use MetadataKind::{Dir, File};
        for (path, kind) in [
            (".kittify", Some(Dir)),
            (".kittify/config.yaml", Some(File)),
            (".kittify/log", None),
            (".kittify/overrides/missions/own", Some(Dir)),
            (".kittify/missions/own/expected-artifacts.yaml", Some(File)),
            (".kittify/missions/own/notes.md", None),
            (".kittify/runtime/feature-runs.json", Some(File)),
            (".kittify/runtime/session.log", None),
            (".kittify/runtime/runs/1", Some(Dir)),
            (".kittify/runtime/runs/1/output.log", None),
            (".kittify/dossiers/001-x", Some(Dir)),
            (".kittify/dossiers/001-x/parity-baseline.json", Some(File)),
            (".kittify/dossiers/001-x/snapshot-latest.json", None),
            (".git/HEAD", Some(File)),
            ("src/main.rs", None),
        ] {
            let relative = RelPath::new(path.as_bytes()).unwrap();
            assert_eq!(MetadataKind::of(&relative), kind, "{path}");
            assert_eq!(is_dossier_dir(&relative), path == ".kittify/dossiers/001-x", "{path}");
            let is_baseline = path.ends_with("/parity-baseline.json");
            let slug = slug_of_baseline(&relative);
            assert_eq!(slug.as_ref().map(FeatureSlug::as_str), is_baseline.then_some("001-x"));
        }
    }
}

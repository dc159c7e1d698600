//! Which files and directories outside of features are metadata, and which directories must be
//! watched to see their changes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::core::path::RelPath;
use crate::core::pattern::Pattern;
use crate::project::baseline::{BASELINE_FILES, SHARED_DIR};
use crate::project::discover;
use crate::project::dossiers_dir::DossiersHome;
use crate::project::layouts::{LayoutPaths, PROJECT_LAYOUTS_DIR};
use crate::project::missions::{SCHEMA_FILE, SCHEMAS_DIR};
use crate::project::project_config::WorktreeHandling;
use crate::project::root_dir::RootDir;
use crate::project::worktrees;

/// Directories that are watched themselves, and directories that are watched with their immediate
/// subdirectories.
const WATCHED_DIRS: [&str; 7] = [
    ".kittify",
    ".kittify/overrides",
    ".kittify/runtime",
    ".dossierd",
    SHARED_DIR,
    DossiersHome::Kittify.dir(),
    DossiersHome::Dossierd.dir(),
];
const WATCHED_WITH_SUBDIRS: [&str; 6] = [
    MISSION_DIRS[0],
    MISSION_DIRS[1],
    MISSION_DIRS[2],
    PROJECT_LAYOUTS_DIR,
    SCHEMAS_DIR,
    ".kittify/runtime/runs",
];
/// Directories with one for each mission, or layout.
const MISSION_DIRS: [&str; 5] = [
    ".kittify/overrides/missions",
    ".kittify/missions",
    ".dossierd/missions",
    PROJECT_LAYOUTS_DIR,
    SCHEMAS_DIR,
];

/// Most directories that are watched because they may become features.
const MAX_POSSIBLE_DIRS: usize = 4096;

const METADATA_FILES: [&[u8]; 6] = [
    b".kittify/metadata.yaml",
    b".kittify/config.yaml",
    b".dossierd/config.yaml",
    b".kittify/runtime/feature-runs.json",
    b".git",
    b".git/HEAD",
];
const MISSION_FILES: [&[u8]; 5] = [
    b"expected-artifacts.yaml",
    b"mission.yaml",
    b"mission-runtime.yaml",
    b"layout.yaml",
    SCHEMA_FILE.as_bytes(),
];

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
            || worktrees::is_gitdir_file(path)
            || parent == SHARED_DIR.as_bytes() && path.file_name().ends_with(b".json")
            || is(&DossiersHome::ALL.map(DossiersHome::dir), &grandparent)
                && is(&BASELINE_FILES, path.file_name());
        let is_dir = is(&WATCHED_DIRS, path.as_bytes())
            || is(&WATCHED_WITH_SUBDIRS, path.as_bytes())
            || is(&WATCHED_WITH_SUBDIRS, &parent)
            || worktrees::is_metadata(path)
            || is_dossier_dir(path);
        match (is_file, is_dir) {
            (true, _) => Some(Self::File),
            (false, true) => Some(Self::Dir),
            (false, false) => None,
        }
    }
}

/// Returns true for the directory that contains those of [`is_dossier_dir`].
#[must_use]
pub fn is_dossiers_home(path: &RelPath) -> bool {
    DossiersHome::ALL.iter().any(|home| home.dir().as_bytes() == path.as_bytes())
}

/// Returns true for the directory of a feature's baseline.
#[must_use]
pub fn is_dossier_dir(path: &RelPath) -> bool {
    dossier_name(path.as_bytes()).is_some()
}

/// Returns the file name of the feature whose baseline is at a path.
#[must_use]
pub fn name_of_baseline(path: &RelPath) -> Option<&[u8]> {
    let mut dirs = BASELINE_FILES
        .iter()
        .filter_map(|file| path.as_bytes().strip_suffix(file.as_bytes())?.strip_suffix(b"/"));
    dirs.find_map(dossier_name)
}

/// Returns the name of the directory of a feature's baseline.
fn dossier_name(path: &[u8]) -> Option<&[u8]> {
    let name = DossiersHome::ALL.into_iter().find_map(|home| {
        path.strip_prefix(home.dir().as_bytes()).and_then(|rest| rest.strip_prefix(b"/"))
    })?;
    (!name.is_empty() && !name.contains(&b'/')).then_some(name)
}

/// Returns the absolute paths of the directories of baselines.
pub(super) fn dossier_dirs(root: &Path, root_dir: &RootDir) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for home in DossiersHome::ALL.map(DossiersHome::dir) {
        let parent = RelPath::new(home.as_bytes()).ok();
        let entries = parent.map(|parent| root_dir.list(Some(&parent)).unwrap_or_default());
        let entries = entries.into_iter().flatten();
        let dirs = entries.filter(|entry| entry.kind == FileType::Directory);
        found.extend(dirs.map(|dir| root.join(home).join(OsStr::from_bytes(&dir.name))));
    }
    found
}

/// Returns the absolute paths of the metadata directories that exist, without those of
/// [`dossier_dirs`].
pub(super) fn metadata_dirs<'p>(
    root: &Path,
    root_dir: &RootDir,
    patterns: impl Iterator<Item = &'p Pattern>,
    layout_paths: &LayoutPaths,
    state_dirs: impl Iterator<Item = RelPath>,
    git_dir: Option<(&Path, WorktreeHandling)>,
) -> Vec<PathBuf> {
    let mut relative: Vec<RelPath> = Vec::new();
    // The directory of a run that has not started, or a worktree, is created later, in one of its
    // parents.
    for dir in state_dirs {
        let components: Vec<&[u8]> = dir.components().collect();
        for length in 1..=components.len() {
            relative.extend(RelPath::new(components[..length].join(&b'/')).ok());
        }
    }
    relative.extend(discover::traversed_dirs(root_dir, patterns));
    relative.extend(layout_paths.literal_dirs().cloned());
    // A file in one of them makes it a feature, or the root one of another layout.
    let possible = discover::traversed_dirs(root_dir, layout_paths.wildcard_files());
    relative.extend(possible.into_iter().take(MAX_POSSIBLE_DIRS));
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
    let mut dirs: Vec<PathBuf> = [root.to_owned()].into_iter().chain(absolute).collect();
    if let Some((git_dir, worktrees)) = git_dir {
        dirs.push(git_dir.to_owned());
        if worktrees == WorktreeHandling::Follow {
            dirs.extend(worktrees::watched_dirs(git_dir));
        }
    }
    dirs
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
            (".dossierd/dossiers/001-x", Some(Dir)),
            (".dossierd/dossiers/001-x/parity-baseline.json", Some(File)),
            (".dossierd/config.yaml", Some(File)),
            (".dossierd/layouts/own", Some(Dir)),
            (".dossierd/layouts/own/layout.yaml", Some(File)),
            (".dossierd/missions/own/mission.yaml", Some(File)),
            ("openspec/schemas", Some(Dir)),
            ("openspec/schemas/own/schema.yaml", Some(File)),
            (".git/HEAD", Some(File)),
            (".git/worktrees/a", Some(Dir)),
            (".git/worktrees/a/gitdir", Some(File)),
            (".git/worktrees/a/index", None),
            ("src/main.rs", None),
        ] {
            let relative = RelPath::new(path.as_bytes()).unwrap();
            assert_eq!(MetadataKind::of(&relative), kind, "{path}");
            assert_eq!(is_dossier_dir(&relative), path.ends_with("/dossiers/001-x"), "{path}");
            let is_baseline = path.ends_with("/parity-baseline.json");
            let name = name_of_baseline(&relative);
            assert_eq!(name, is_baseline.then_some(&b"001-x"[..]), "{path}");
        }
    }
}

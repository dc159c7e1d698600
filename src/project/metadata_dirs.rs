//! The directories in which files lie that steer a project: what a watcher watches beside features.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::core::path::RelPath;
use crate::core::pattern::Pattern;
use crate::project::discover;
use crate::project::root_dir::RootDir;

/// Directories watched by themselves, and directories whose directories are watched too.
const WATCHED_DIRS: [&str; 3] = [".kittify", ".kittify/overrides", ".kittify/runtime"];
const WATCHED_WITH_SUBDIRS: [&str; 4] = [
    ".kittify/overrides/missions",
    ".kittify/missions",
    ".kittify/runtime/runs",
    ".kittify/dossiers",
];

/// The steering directories that are there.
pub(super) fn metadata_dirs(
    root: &Path,
    folder: &RootDir,
    patterns: &[Pattern],
    runs: impl Iterator<Item = RelPath>,
    git: Option<&Path>,
) -> Vec<PathBuf> {
    let mut relative: Vec<RelPath> = Vec::new();
    // A run may not have begun: its directory will appear in one above.
    for run in runs {
        let parts: Vec<&[u8]> = run.components().collect();
        for length in 1..=parts.len() {
            relative.extend(RelPath::new(parts[..length].join(&b'/')).ok());
        }
    }
    relative.extend(discover::traversed_dirs(folder, patterns));
    relative.extend(WATCHED_DIRS.iter().filter_map(|name| RelPath::new(name.as_bytes()).ok()));
    for name in WATCHED_WITH_SUBDIRS {
        let Ok(parent) = RelPath::new(name.as_bytes()) else {
            continue;
        };
        for entry in folder.list(Some(&parent)).unwrap_or_default() {
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
        .filter(|path| folder.is_dir(path))
        .map(|path| root.join(std::ffi::OsStr::from_bytes(path.as_bytes())));
    [root.to_owned()].into_iter().chain(absolute).chain(git.map(Path::to_owned)).collect()
}

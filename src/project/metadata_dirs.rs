//! Lists the directories outside of features that contain metadata files and must be watched.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::core::path::RelPath;
use crate::core::pattern::Pattern;
use crate::project::discover;
use crate::project::root_dir::RootDir;

/// Directories that are watched themselves, and directories that are watched with their immediate
/// subdirectories.
const WATCHED_DIRS: [&str; 3] = [".kittify", ".kittify/overrides", ".kittify/runtime"];
const WATCHED_WITH_SUBDIRS: [&str; 4] = [
    ".kittify/overrides/missions",
    ".kittify/missions",
    ".kittify/runtime/runs",
    ".kittify/dossiers",
];

/// Returns the absolute paths of the metadata directories that exist.
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
        .map(|path| root.join(std::ffi::OsStr::from_bytes(path.as_bytes())));
    [root.to_owned()].into_iter().chain(absolute).chain(git_dir.map(Path::to_owned)).collect()
}

//! Which directories to watch to notice a change of a file: its directory or the nearest existing
//! ancestor, and the directory of the target where the path contains symbolic links.

use std::path::{Path, PathBuf};

/// The directories to watch for a file, and the paths that are part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WatchedPaths {
    /// The directories to watch.
    dirs: Vec<PathBuf>,
    /// The file, by each of its real paths.
    paths: Vec<PathBuf>,
}

impl WatchedPaths {
    /// Resolves the path of a file as the file system is now.
    pub(crate) fn resolve(file: &Path) -> Self {
        let mut paths = Self::default();
        for dir in file.ancestors().skip(1) {
            if let (Ok(real), Ok(rest)) = (dir.canonicalize(), file.strip_prefix(dir)) {
                paths.add(real.join(rest), real);
                break;
            }
        }
        if let Ok(target) = file.canonicalize()
            && let Some(dir) = target.parent()
        {
            let dir = dir.to_owned();
            paths.add(target, dir);
        }
        paths
    }

    /// Adds a real path and its directory, and the parent of that, which reports the removal of the
    /// directory.
    fn add(&mut self, path: PathBuf, dir: PathBuf) {
        let parent = dir.parent().map(Path::to_owned);
        for dir in [Some(dir), parent].into_iter().flatten() {
            if !self.dirs.contains(&dir) {
                self.dirs.push(dir);
            }
        }
        if !self.paths.contains(&path) {
            self.paths.push(path);
        }
    }

    /// Returns the directories to watch.
    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        self.dirs.clone()
    }

    /// Returns true if a change at `path` may concern the file: `path` is the file or one of its
    /// ancestors.
    pub(crate) fn is_affected_by(&self, path: &Path) -> bool {
        self.paths.iter().any(|own| own.starts_with(path))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn resolve_returns_the_nearest_existing_directory_and_the_link_target() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let file = base.join("config/dossierd/config.yaml");
        let paths = WatchedPaths::resolve(&file);
        assert_eq!(paths.dirs()[0], base);
        assert!(paths.is_affected_by(&base.join("config")) && paths.is_affected_by(&file));
        assert!(!paths.is_affected_by(&base.join("other")));

        fs::create_dir_all(base.join("dotfiles")).unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(base.join("dotfiles/c.yaml"), "").unwrap();
        symlink(base.join("dotfiles/c.yaml"), &file).unwrap();
        let paths = WatchedPaths::resolve(&file);
        assert!(paths.dirs().contains(&base.join("config/dossierd")));
        assert!(paths.dirs().contains(&base.join("dotfiles")));
        assert!(paths.is_affected_by(&base.join("dotfiles/c.yaml")));
        assert!(!paths.is_affected_by(&base.join("config/dossierd/missions")));
    }
}

//! Where a file lies whose changes are to be seen: its directory, or the nearest that is there, and
//! behind links the real one.

use std::path::{Path, PathBuf};

/// The real paths at which something may happen to the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WatchedPaths {
    dirs: Vec<PathBuf>,
    paths: Vec<PathBuf>,
}

impl WatchedPaths {
    /// As it is now.
    pub(crate) fn resolve(file: &Path) -> Self {
        let mut place = Self::default();
        for folder in file.ancestors().skip(1) {
            if let (Ok(real), Ok(rest)) = (folder.canonicalize(), file.strip_prefix(folder)) {
                place.add(real.join(rest), real);
                break;
            }
        }
        if let Ok(target) = file.canonicalize()
            && let Some(folder) = target.parent()
        {
            let folder = folder.to_owned();
            place.add(target, folder);
        }
        place
    }

    /// The directory's own end is seen from its parent.
    fn add(&mut self, path: PathBuf, folder: PathBuf) {
        let above = folder.parent().map(Path::to_owned);
        for folder in [Some(folder), above].into_iter().flatten() {
            if !self.dirs.contains(&folder) {
                self.dirs.push(folder);
            }
        }
        if !self.paths.contains(&path) {
            self.paths.push(path);
        }
    }

    /// What is to be watched.
    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        self.dirs.clone()
    }

    /// Whether what happened at `path` may be about the file: it, or a directory on the way to it.
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
    fn the_nearest_folder_that_is_there_and_the_one_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let file = base.join("config/dossierd/config.yaml");
        let place = WatchedPaths::resolve(&file);
        assert_eq!(place.dirs()[0], base);
        assert!(place.is_affected_by(&base.join("config")) && place.is_affected_by(&file));
        assert!(!place.is_affected_by(&base.join("other")));

        fs::create_dir_all(base.join("dotfiles")).unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(base.join("dotfiles/c.yaml"), "").unwrap();
        symlink(base.join("dotfiles/c.yaml"), &file).unwrap();
        let place = WatchedPaths::resolve(&file);
        assert!(place.dirs().contains(&base.join("config/dossierd")));
        assert!(place.dirs().contains(&base.join("dotfiles")));
        assert!(place.is_affected_by(&base.join("dotfiles/c.yaml")));
        assert!(!place.is_affected_by(&base.join("config/dossierd/missions")));
    }
}

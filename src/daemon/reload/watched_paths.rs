//! Which directories to watch to notice that another file is at a path: its directory or the nearest existing
//! ancestor, and the directories of symbolic links on the way and of their targets.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Maximum number of symbolic links in a path, as in the kernel (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

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
        paths.add_links(file);
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

    /// Resolves what decides where paths lead: symbolic links, and components that do not exist.
    pub(crate) fn of_links<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut all = Self::default();
        paths.into_iter().for_each(|path| all.add_links(path));
        all
    }

    fn add_links(&mut self, path: &Path) {
        let names = |path: &Path| -> VecDeque<OsString> {
            let names = path.components().filter(|part| !matches!(part, Component::RootDir));
            names.map(|name| name.as_os_str().to_owned()).collect()
        };
        let (mut rest, mut at, mut links) = (names(path), PathBuf::from("/"), 0);
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            match next.symlink_metadata() {
                Ok(found) if found.is_symlink() && links < MAX_LINKS => {
                    links += 1;
                    let target = next.read_link().unwrap_or_default();
                    self.add(next, at.clone());
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    for name in names(&target).into_iter().rev() {
                        rest.push_front(name);
                    }
                }
                Ok(_) => at = next,
                Err(_) => return self.add(next, at),
            }
        }
    }

    /// Returns true if there is nothing to watch.
    pub(crate) fn is_empty(&self) -> bool {
        self.dirs.is_empty()
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

    #[test]
    fn links_on_the_way_and_missing_components_decide_where_a_path_leads() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("releases/v2/app")).unwrap();
        fs::create_dir_all(base.join("plain/app")).unwrap();
        symlink("releases/latest", base.join("current")).unwrap();
        symlink("../releases/v2", base.join("releases/latest")).unwrap();
        symlink(base.join("loop"), base.join("loop")).unwrap();
        let links = |path: &str| WatchedPaths::of_links([&*base.join(path)]);
        assert!(links("plain/app").is_empty());
        let chain = links("current/app");
        for link in ["current", "releases/latest"] {
            assert!(chain.is_affected_by(&base.join(link)), "{link} {chain:?}");
        }
        assert!(!chain.is_affected_by(&base.join("releases/v2")));
        assert!(chain.dirs().contains(&base) && chain.dirs().contains(&base.join("releases")));
        let missing = links("plain/none/app");
        assert!(missing.is_affected_by(&base.join("plain/none")));
        assert!(missing.dirs().contains(&base.join("plain")));
        assert!(links("loop/app").is_affected_by(&base.join("loop")));
    }
}

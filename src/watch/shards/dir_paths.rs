//! The paths of watched directories, by the directory's identity. One that is mounted in a second place (`mount
//! --bind`) has several, and inotify has one watch for all of them.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::watch::DirIdentity;

#[derive(Default)]
pub(super) struct DirPaths {
    /// One path of each directory.
    first: HashMap<DirIdentity, Arc<Path>>,
    /// The other paths of those that have several.
    others: HashMap<DirIdentity, BTreeSet<Arc<Path>>>,
}

impl DirPaths {
    pub(super) fn insert(&mut self, identity: DirIdentity, path: Arc<Path>) {
        let first = self.first.entry(identity).or_insert_with(|| Arc::clone(&path));
        if *first != path {
            self.others.entry(identity).or_default().insert(path);
        }
    }

    pub(super) fn remove(&mut self, identity: DirIdentity, path: &Path) {
        let is_first = self.first.get(&identity).is_some_and(|first| **first == *path);
        let next = self.others.get_mut(&identity).and_then(|others| {
            if is_first {
                return others.pop_first();
            }
            others.remove(path);
            None
        });
        if let Some(next) = next {
            self.first.insert(identity, next);
        } else if is_first {
            self.first.remove(&identity);
        }
        if self.others.get(&identity).is_some_and(BTreeSet::is_empty) {
            self.others.remove(&identity);
        }
    }

    /// Returns the paths of a directory.
    pub(super) fn of(&self, identity: DirIdentity) -> impl Iterator<Item = &Arc<Path>> {
        let others = self.others.get(&identity).into_iter().flatten();
        self.first.get(&identity).into_iter().chain(others)
    }

    /// Returns true if no directory has several paths.
    pub(super) fn are_unique(&self) -> bool {
        self.others.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_of_a_directory_is_known_until_it_is_removed() {
        let (one, two) = ((1, 1), (1, 2));
        let names = |paths: &DirPaths, identity| {
            let names = paths.of(identity).map(|path| path.to_str().unwrap().to_owned());
            names.collect::<Vec<_>>().concat()
        };
        let mut paths = DirPaths::default();
        for (identity, path) in [(one, "a"), (two, "x"), (one, "b"), (one, "a"), (one, "c")] {
            paths.insert(identity, Arc::from(Path::new(path)));
        }
        assert_eq!((names(&paths, one), names(&paths, two)), ("abc".to_owned(), "x".to_owned()));
        for (path, left, are_unique) in
            [("a", "bc", false), ("z", "bc", false), ("c", "b", true), ("b", "", true)]
        {
            paths.remove(one, Path::new(path));
            assert_eq!((names(&paths, one).as_str(), paths.are_unique()), (left, are_unique));
        }
        assert_eq!(names(&paths, two), "x");
    }
}

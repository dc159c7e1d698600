//! The files of a feature that have other names (hard links). A write by another name raises no event for the
//! one that is watched.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::artifact::FileSignature;
use crate::core::path::RelPath;

/// Device and inode.
type FileId = (u64, u64);

/// Known names, by path and by file.
#[derive(Debug, Default)]
pub(super) struct LinkedFiles {
    files: BTreeMap<RelPath, FileId>,
    names: BTreeMap<FileId, BTreeSet<RelPath>>,
}

impl LinkedFiles {
    /// Records which file is at a path; `None` if it has no other name.
    pub(super) fn set(&mut self, path: &RelPath, file: Option<&FileSignature>) {
        let id = file.map(id);
        if self.files.get(path).copied() == id {
            return;
        }
        self.remove(path);
        if let Some(id) = id {
            self.files.insert(path.clone(), id);
            self.names.entry(id).or_default().insert(path.clone());
        }
    }

    pub(super) fn remove(&mut self, path: &RelPath) {
        if let Some(id) = self.files.remove(path)
            && let Some(names) = self.names.get_mut(&id)
        {
            names.remove(path);
            if names.is_empty() {
                self.names.remove(&id);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the known names of a file.
    pub(super) fn names_of(&self, file: &FileSignature) -> impl Iterator<Item = &RelPath> {
        self.names.get(&id(file)).into_iter().flatten()
    }
}

fn id(file: &FileSignature) -> FileId {
    (file.device, file.inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_one_file_until_they_are_removed() {
        let path = |text: &str| RelPath::new(text.as_bytes()).unwrap();
        let file =
            |inode| FileSignature { size: 1, modified_ns: 2, changed_ns: 3, inode, device: 4 };
        let mut linked = LinkedFiles::default();
        for (name, inode) in [("a", 1), ("b", 1), ("c", 2), ("c", 2)] {
            linked.set(&path(name), Some(&file(inode)));
        }
        let names = |linked: &LinkedFiles, inode| -> Vec<String> {
            linked.names_of(&file(inode)).map(|name| name.text().into_owned()).collect()
        };
        assert_eq!(
            (names(&linked, 1), names(&linked, 2)),
            (vec!["a".into(), "b".into()], vec!["c".into()])
        );
        linked.set(&path("b"), Some(&file(2)));
        linked.set(&path("c"), None);
        assert_eq!((names(&linked, 1), names(&linked, 2)), (vec!["a".into()], vec!["b".into()]));
        linked.remove(&path("a"));
        linked.remove(&path("b"));
        assert!(linked.is_empty() && linked.names.is_empty());
    }
}

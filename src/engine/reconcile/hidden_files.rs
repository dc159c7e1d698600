//! The files of a feature that a mount hides, or whose file system is not mounted. They are not deleted: nothing
//! is known of them until they can be seen again.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::mounts::MountPoints;
use crate::core::path::RelPath;

/// What mounts hide of a feature. Paths are relative to the root of the project.
#[derive(Debug, Default)]
pub(super) struct HiddenFiles {
    /// The mount points around the feature when nothing of it was hidden.
    known: MountPoints,
    /// Those at present.
    present: MountPoints,
    /// Files that were found on mounts that are not known.
    found: BTreeMap<RelPath, FoundFile>,
    hidden: BTreeSet<RelPath>,
    /// All of the feature was listed since the present mounts are known.
    is_listed: bool,
}

/// A file that was found on a mount that is not known.
#[derive(Debug)]
struct FoundFile {
    /// The mounts of that time.
    mounts: MountPoints,
    /// Its mount went since. What is mounted there later may be another file system.
    is_mount_gone: bool,
    /// There was a file at its path before, which the mount hid.
    hides_file: bool,
}

/// Why nothing is at the path of a known file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Disappearance {
    Deleted,
    /// A mount hides it, or its file system is not mounted.
    Hidden(String),
    /// It was on a file system that was mounted for a while.
    Unmounted,
}

impl HiddenFiles {
    /// Starts with the mount points that are known, and those at present.
    pub(super) fn new(known: MountPoints, present: MountPoints) -> Self {
        Self { known, present, ..Self::default() }
    }

    /// Records what is mounted now.
    pub(super) fn set_present(&mut self, present: MountPoints) {
        if self.present != present {
            for (path, found) in &mut self.found {
                found.is_mount_gone |= !found.mounts.agree_on(&present, path);
            }
            self.present = present;
            self.is_listed = false;
        }
    }

    /// Records that all of the feature was listed; what is missing is being checked.
    pub(super) fn on_listed(&mut self) {
        self.is_listed = true;
    }

    /// The mount points around the feature when nothing of it was hidden.
    pub(super) fn known(&self) -> &MountPoints {
        &self.known
    }

    /// Returns true if mounts make no difference.
    pub(super) fn is_idle(&self) -> bool {
        self.known == self.present && self.found.is_empty() && self.hidden.is_empty()
    }

    /// Returns one of the files that are hidden, and why.
    pub(super) fn first_hidden(&self) -> Option<(&RelPath, String)> {
        let path = self.hidden.first()?;
        Some((path, self.present.why_hidden(&self.known, path)))
    }

    /// Returns why nothing is at the path of a known file, if that is so.
    pub(super) fn explain(&self, path: &RelPath) -> Disappearance {
        let is_known = self.known.agree_on(&self.present, path);
        match self.found.get(path) {
            Some(found) if !found.is_mount_gone => Disappearance::Deleted,
            Some(found) if is_known || !found.hides_file => Disappearance::Unmounted,
            None if is_known => Disappearance::Deleted,
            _ => Disappearance::Hidden(self.present.why_hidden(&self.known, path)),
        }
    }

    /// Records that something was found at a path, and whether a file was known there before.
    pub(super) fn on_found(&mut self, path: &RelPath, was_known: bool) {
        let was_hidden = self.hidden.remove(path);
        if self.known.agree_on(&self.present, path) {
            self.found.remove(path);
            return;
        }
        let before = self.found.get(path).map(|before| before.hides_file);
        let hides_file = was_hidden || before.unwrap_or(was_known);
        let mounts = self.present.clone();
        self.found.insert(path.clone(), FoundFile { mounts, is_mount_gone: false, hides_file });
    }

    /// Records that a known file is hidden.
    pub(super) fn on_hidden(&mut self, path: RelPath) {
        self.found.remove(&path);
        self.hidden.insert(path);
    }

    pub(super) fn on_removed(&mut self, path: &RelPath) {
        self.hidden.remove(path);
        self.found.remove(path);
    }

    /// Takes what is mounted at present for known, if all of the feature is seen; call it only when nothing is
    /// being checked. Returns true if that is a change.
    pub(super) fn accept_present(&mut self) -> bool {
        let accepts = self.is_listed && self.known != self.present && self.hidden.is_empty();
        if accepts {
            self.known = self.present.clone();
            self.found = BTreeMap::new();
        }
        accepts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::mounts::{Mount, Mounts};

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn points(points: &[&str]) -> MountPoints {
        let mount = Mount { depth: 1, remote: None };
        let points = points.iter().map(|point| (path(point), mount)).collect();
        Mounts { points, changes: 0 }.around(None)
    }

    #[test]
    fn files_are_hidden_until_they_are_seen_again() {
        let mut files = HiddenFiles::new(points(&[]), points(&[]));
        let (old, new, other) = (path("a/c/old"), path("a/c/new"), path("a/spec.md"));
        assert_eq!(files.explain(&old), Disappearance::Deleted);
        files.set_present(points(&["a/c"]));
        let hidden = |why: &str| Disappearance::Hidden(why.to_owned());
        assert_eq!(files.explain(&old), hidden("hidden by the mount at a/c"));
        assert_eq!(files.explain(&other), Disappearance::Deleted);
        files.on_found(&old, true);
        files.on_hidden(old.clone());
        assert_eq!(files.explain(&old), hidden("hidden by the mount at a/c"));
        files.on_found(&new, false);
        files.on_listed();
        assert_eq!(files.explain(&new), Disappearance::Deleted);
        let first = files.first_hidden();
        assert_eq!(first, Some((&old, "hidden by the mount at a/c".to_owned())));
        assert!(!files.accept_present());
        files.set_present(points(&[]));
        assert_eq!(files.explain(&old), Disappearance::Deleted);
        assert_eq!(files.explain(&new), Disappearance::Unmounted);
        files.on_found(&old, true);
        files.on_removed(&new);
        assert!(files.first_hidden().is_none() && !files.accept_present() && files.is_idle());
    }

    #[test]
    fn what_is_mounted_at_the_same_place_later_is_another_file_system() {
        let mut files = HiddenFiles::new(points(&[]), points(&["a"]));
        let (old, new) = (path("a/old"), path("a/new"));
        files.on_found(&old, true);
        files.on_found(&new, false);
        assert_eq!(files.explain(&old), Disappearance::Deleted, "it was, on this mount");
        files.set_present(points(&[]));
        files.set_present(points(&["a"]));
        let hidden = Disappearance::Hidden("hidden by the mount at a".to_owned());
        assert_eq!(files.explain(&old), hidden);
        assert_eq!(files.explain(&new), Disappearance::Unmounted);
        files.on_found(&new, true);
        assert_eq!(files.explain(&new), Disappearance::Deleted);
    }

    #[test]
    fn mounts_that_hide_nothing_are_accepted() {
        let mut files = HiddenFiles::new(points(&[]), points(&["a"]));
        let spec = path("a/spec.md");
        files.on_found(&spec, true);
        assert!(!files.accept_present(), "not all of it was listed");
        files.on_listed();
        assert!(files.accept_present() && !files.accept_present() && files.is_idle());
        assert_eq!(files.known(), &points(&["a"]));
        files.set_present(points(&[]));
        assert_eq!(files.explain(&spec), Disappearance::Hidden("a is not mounted".to_owned()));
    }
}

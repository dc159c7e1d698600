//! The files of a feature that a mount hides, or whose file system is not mounted. They are not deleted: nothing
//! is known of them until they can be seen again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::mounts::{MountPoint, MountPoints, StoredMount};
use super::path::RelPath;

/// What mounts hide of a feature. Paths are relative to the root of the project.
#[derive(Debug, Default)]
pub struct HiddenFiles {
    files: FilesOnMounts,
    /// The mount points around the feature at present.
    present: MountPoints,
    /// All of the feature was listed since the present mounts are known.
    is_listed: bool,
    /// The store does not have `files` as they are.
    is_unstored: bool,
}

/// On which mounts the files of a feature were seen, as stored with them: a restart may find other mounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesOnMounts {
    /// The mount points around the feature when nothing of it was hidden.
    known: MountPoints,
    /// Files that were found on mounts that are not known.
    found: BTreeMap<RelPath, FoundFile>,
    hidden: BTreeSet<RelPath>,
}

/// A file that was found on a mount that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FoundFile {
    /// The mount that held it; `None` is the file system of the root.
    mount: Option<(RelPath, MountPoint)>,
    /// Its mount went since. What is mounted there later may be another file system.
    is_mount_gone: bool,
    /// There was a file at its path before, which the mount hid.
    hides_file: bool,
}

/// Why nothing is at the path of a known file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disappearance {
    /// It was deleted.
    Deleted,
    /// A mount hides it, or its file system is not mounted.
    Hidden(String),
    /// It was on a file system that was mounted for a while.
    Unmounted,
}

impl HiddenFiles {
    /// Begins with nothing hidden by the present mounts.
    #[must_use]
    pub fn new(present: MountPoints) -> Self {
        let files = FilesOnMounts { known: present.clone(), ..FilesOnMounts::default() };
        Self { files, present, is_listed: false, is_unstored: true }
    }

    /// Continues with what was stored.
    #[must_use]
    pub fn restored(files: FilesOnMounts, present: MountPoints) -> Self {
        let mut restored = Self { files, present, ..Self::default() };
        restored.note_gone_mounts(&[]);
        restored
    }

    /// Records what is mounted now, and the mount points where that is something else than before.
    pub fn set_present(&mut self, present: MountPoints, changed: &[RelPath]) {
        if self.present != present || !changed.is_empty() {
            self.present = present;
            self.is_listed = false;
            self.note_gone_mounts(changed);
        }
    }

    fn note_gone_mounts(&mut self, changed: &[RelPath]) {
        for (path, found) in &mut self.files.found {
            let is_changed = found.mount.as_ref().is_some_and(|(at, _)| changed.contains(at));
            let is_other =
                is_changed || !is_same(found.mount.as_ref(), self.present.mount_of(path));
            self.is_unstored |= is_other && !found.is_mount_gone;
            found.is_mount_gone |= is_other;
        }
    }

    /// Records that all of the feature was listed; what is missing is being checked.
    pub fn on_listed(&mut self) {
        self.is_listed = true;
    }

    /// Records that something that was missing in the listing was not checked.
    pub fn on_unchecked(&mut self) {
        self.is_listed = false;
    }

    /// The mount points around the feature when nothing of it was hidden.
    #[must_use]
    pub fn known(&self) -> &MountPoints {
        &self.files.known
    }

    /// Returns what must be stored with the files, if that is not what is stored.
    #[must_use]
    pub fn unstored(&self) -> Option<&FilesOnMounts> {
        self.is_unstored.then_some(&self.files)
    }

    /// Records that what [`HiddenFiles::unstored`] returned is stored.
    pub fn on_stored(&mut self) {
        self.is_unstored = false;
    }

    /// Returns true if mounts make no difference.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let FilesOnMounts { known, found, hidden } = &self.files;
        *known == self.present && found.is_empty() && hidden.is_empty()
    }

    /// Returns one of the files that are hidden, and why.
    #[must_use]
    pub fn first_hidden(&self) -> Option<(&RelPath, String)> {
        let path = self.files.hidden.first()?;
        Some((path, self.present.why_hidden(&self.files.known, path)))
    }

    /// Returns why nothing is at the path of a known file, if that is so.
    #[must_use]
    pub fn explain(&self, path: &RelPath) -> Disappearance {
        let is_known = self.files.known.agree_on(&self.present, path);
        match self.files.found.get(path) {
            Some(found) if !found.is_mount_gone => Disappearance::Deleted,
            Some(found) if is_known || !found.hides_file => Disappearance::Unmounted,
            None if is_known => Disappearance::Deleted,
            _ => Disappearance::Hidden(self.present.why_hidden(&self.files.known, path)),
        }
    }

    /// Records that something was found at a path, and whether a file was known there before.
    pub fn on_found(&mut self, path: &RelPath, was_known: bool) {
        let was_hidden = self.files.hidden.remove(path);
        let before = self.files.found.get(path);
        let found = (!self.files.known.agree_on(&self.present, path)).then(|| FoundFile {
            mount: self.present.mount_of(path),
            is_mount_gone: false,
            hides_file: was_hidden || before.map_or(was_known, |before| before.hides_file),
        });
        self.is_unstored |= was_hidden || before != found.as_ref();
        match found {
            Some(found) => self.files.found.insert(path.clone(), found),
            None => self.files.found.remove(path),
        };
    }

    /// Records that a known file is hidden.
    pub fn on_hidden(&mut self, path: RelPath) {
        self.is_unstored |= self.files.found.remove(&path).is_some();
        self.is_unstored |= self.files.hidden.insert(path);
    }

    /// Records that a file is not known any more.
    pub fn on_removed(&mut self, path: &RelPath) {
        self.is_unstored |= self.files.hidden.remove(path);
        self.is_unstored |= self.files.found.remove(path).is_some();
    }

    /// Takes what is mounted at present for known, if all of the feature is seen; call it only when nothing is
    /// being checked. Returns true if that is a change.
    pub fn accept_present(&mut self) -> bool {
        let is_known = self.files.known == self.present;
        let accepts = self.is_listed && !is_known && self.files.hidden.is_empty();
        if accepts {
            self.files.known = self.present.clone();
            self.files.found = BTreeMap::new();
            self.is_unstored = true;
        }
        accepts
    }
}

/// Returns true if two mounts are the same; `None` is that of the root.
fn is_same(one: Option<&(RelPath, MountPoint)>, other: Option<(RelPath, MountPoint)>) -> bool {
    match (one, other) {
        (Some((at, one)), Some((of, other))) => *at == of && one.agrees_with(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// The mount of a file that was found, whether that went since, and whether it hides a file.
type StoredFound = (Option<(String, StoredMount)>, bool, bool);

/// The stored form. Paths are in the form of [`RelPath::text`].
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredFiles {
    Current {
        known: BTreeMap<String, StoredMount>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        found: BTreeMap<String, StoredFound>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hidden: Vec<String>,
    },
    /// Only what is known: of version 0.1.0.
    Known(BTreeMap<String, StoredMount>),
}

impl FilesOnMounts {
    /// Returns true if no mount was known.
    #[must_use]
    pub fn is_on_root(&self) -> bool {
        self.known.is_empty()
    }

    /// Returns the stored form; [`FilesOnMounts::parse`] reads it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let found = self.found.iter().map(|(path, found)| {
            let mount = found.mount.as_ref();
            let mount = mount.map(|(at, mount)| (at.text().into_owned(), (*mount).into()));
            (path.text().into_owned(), (mount, found.is_mount_gone, found.hides_file))
        });
        let stored = StoredFiles::Current {
            known: self.known.to_stored(),
            found: found.collect(),
            hidden: self.hidden.iter().map(|path| path.text().into_owned()).collect(),
        };
        serde_json::json!(stored).to_string()
    }

    /// Reads what [`FilesOnMounts::to_text`] returned; `None` if it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (known, found, hidden) = match serde_json::from_str(text).ok()? {
            StoredFiles::Current { known, found, hidden } => (known, found, hidden),
            StoredFiles::Known(known) => (known, BTreeMap::new(), Vec::new()),
        };
        let path = |text: &str| RelPath::from_text(text).ok();
        let found = found.iter().map(|(at, (mount, is_mount_gone, hides_file))| {
            let mount = match mount {
                Some((point, stored)) => Some((path(point)?, (*stored).into())),
                None => None,
            };
            let (is_mount_gone, hides_file) = (*is_mount_gone, *hides_file);
            Some((path(at)?, FoundFile { mount, is_mount_gone, hides_file }))
        });
        Some(Self {
            known: MountPoints::from_stored(&known)?,
            found: found.collect::<Option<_>>()?,
            hidden: hidden.iter().map(|at| path(at)).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::mounts::{Mount, Mounts};
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn points(points: &[&str]) -> MountPoints {
        let mount = Mount { depth: 1, ..Mount::default() };
        let points = points.iter().map(|point| (path(point), mount)).collect();
        Mounts { points, ..Mounts::default() }.around(None)
    }

    fn known(known: &[&str], present: &[&str]) -> HiddenFiles {
        let files = FilesOnMounts { known: points(known), ..FilesOnMounts::default() };
        HiddenFiles::restored(files, points(present))
    }

    #[test]
    fn files_are_hidden_until_they_are_seen_again() {
        let mut files = HiddenFiles::new(points(&[]));
        let (old, new, other) = (path("a/c/old"), path("a/c/new"), path("a/spec.md"));
        assert_eq!(files.explain(&old), Disappearance::Deleted);
        files.set_present(points(&["a/c"]), &[]);
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
        files.set_present(points(&[]), &[]);
        assert_eq!(files.explain(&old), Disappearance::Deleted);
        assert_eq!(files.explain(&new), Disappearance::Unmounted);
        files.on_found(&old, true);
        files.on_removed(&new);
        assert!(files.first_hidden().is_none() && !files.accept_present() && files.is_idle());
    }

    #[test]
    fn what_is_mounted_at_the_same_place_later_is_another_file_system() {
        let mut files = known(&[], &["a"]);
        let (old, new) = (path("a/old"), path("a/new"));
        files.on_found(&old, true);
        files.on_found(&new, false);
        assert_eq!(files.explain(&old), Disappearance::Deleted, "it was, on this mount");
        files.set_present(points(&[]), &[]);
        files.set_present(points(&["a"]), &[]);
        let hidden = Disappearance::Hidden("hidden by the mount at a".to_owned());
        assert_eq!(files.explain(&old), hidden);
        assert_eq!(files.explain(&new), Disappearance::Unmounted);
        files.on_found(&new, true);
        assert_eq!(files.explain(&new), Disappearance::Deleted);
        // Unmounted and mounted again before the mount table was read.
        files.set_present(points(&["a"]), &[path("a")]);
        assert_eq!(files.explain(&new), Disappearance::Unmounted);
    }

    #[test]
    fn mounts_that_hide_nothing_are_accepted() {
        let mut files = known(&[], &["a"]);
        let spec = path("a/spec.md");
        files.on_found(&spec, true);
        assert!(!files.accept_present(), "not all of it was listed");
        files.on_listed();
        assert!(files.accept_present() && !files.accept_present() && files.is_idle());
        assert_eq!(files.known(), &points(&["a"]));
        files.set_present(points(&[]), &[]);
        assert_eq!(files.explain(&spec), Disappearance::Hidden("a is not mounted".to_owned()));
    }

    /// Returns what a restart continues with.
    fn restarted(files: &mut HiddenFiles, present: &[&str]) -> HiddenFiles {
        files.on_stored();
        assert_eq!(files.unstored(), None);
        let stored = FilesOnMounts::parse(&files.files.to_text()).unwrap();
        HiddenFiles::restored(stored, points(present))
    }

    #[test]
    fn a_restart_knows_on_which_mount_each_file_was() {
        let mut files = known(&[], &["a"]);
        let (old, both, new, own) = (path("a/old"), path("a/\u{e4}"), path("a/new"), path("b"));
        files.on_hidden(old.clone());
        files.on_found(&both, true);
        files.on_found(&new, false);
        files.on_found(&own, true);
        let why = |at: &str| Disappearance::Hidden(format!("hidden by the mount at {at}"));
        let gone = Disappearance::Unmounted;
        for (present, explanations) in [
            (&[][..], [Disappearance::Deleted, gone.clone(), gone.clone(), Disappearance::Deleted]),
            (
                &["a"],
                [why("a"), Disappearance::Deleted, Disappearance::Deleted, Disappearance::Deleted],
            ),
            (&["a", "b"], [why("a"), Disappearance::Deleted, Disappearance::Deleted, why("b")]),
        ] {
            let restarted = restarted(&mut files, present);
            let explained = [&old, &both, &new, &own].map(|path| restarted.explain(path));
            assert_eq!(explained, explanations, "{present:?}");
            assert_eq!(restarted.unstored().is_some(), present.is_empty(), "the mount went");
        }
        let mut restarted = restarted(&mut files, &[]);
        restarted.on_found(&both, true);
        restarted.on_found(&old, true);
        restarted.on_removed(&new);
        assert!(restarted.unstored().is_some() && restarted.is_idle());
    }

    #[test]
    fn another_file_system_in_place_of_a_mount_is_noticed_after_a_restart() {
        let on_device = |device| {
            let points = [(path("a"), Mount { depth: 1, device, ..Mount::default() })].into();
            let boot = Some(uuid::Uuid::from_u128(1));
            Mounts { points, boot, ..Mounts::default() }.around(None)
        };
        let mut files = HiddenFiles::new(points(&[]));
        files.set_present(on_device(1), &[]);
        let file = path("a/new");
        files.on_found(&file, false);
        let text = files.unstored().unwrap().to_text();
        for (device, expected) in [(1, Disappearance::Deleted), (2, Disappearance::Unmounted)] {
            let stored = FilesOnMounts::parse(&text).unwrap();
            let restarted = HiddenFiles::restored(stored, on_device(device));
            assert_eq!(restarted.explain(&file), expected, "{device}");
        }
    }

    #[test]
    fn only_changes_are_stored_again() {
        let mut files = HiddenFiles::new(points(&["a"]));
        assert!(files.unstored().is_some(), "it is new");
        files.on_stored();
        let spec = path("a/spec.md");
        files.on_found(&spec, true);
        files.on_removed(&path("a/other"));
        files.set_present(points(&[]), &[]);
        assert_eq!(files.unstored(), None);
        let changes: [fn(&mut HiddenFiles, &RelPath); 3] = [
            |files, spec| files.on_found(spec, true),
            |files, spec| files.on_hidden(spec.clone()),
            |files, spec| files.on_removed(spec),
        ];
        for change in changes {
            change(&mut files, &spec);
            assert!(files.unstored().is_some());
            files.on_stored();
            change(&mut files, &spec);
            assert_eq!(files.unstored(), None, "the same again");
        }
        files.on_listed();
        assert!(files.accept_present() && files.unstored().is_some());
    }

    #[test]
    fn what_an_older_version_stored_is_what_was_known() {
        let stored = FilesOnMounts::parse(r#"{"a":1,"known":2}"#).unwrap();
        let known = [("a", 1), ("known", 2)];
        let known = known.map(|(at, depth)| (at.to_owned(), StoredMount::Depth(depth)));
        assert_eq!(stored.known.to_stored(), known.into());
        assert!(!stored.is_on_root() && stored.hidden.is_empty() && stored.found.is_empty());
        assert_eq!(FilesOnMounts::parse("specs"), None);
    }
}

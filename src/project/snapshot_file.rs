//! Writes a feature's snapshot file, `snapshot-latest.json` in its directory of the project's own
//! files, and compares it with a snapshot.
//!
//! The file can be recomputed at any time, and is not written again if it is current. A directory, or a
//! file, that was removed while the project is watched may be part of a tree that is being removed: writing
//! to it would make the removal fail, or bring files back.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write};
use std::sync::Mutex;

use rustix::io::Errno;

use crate::core::artifact::DevIno;
use crate::core::path::FeatureSlug;
use crate::core::snapshot::MissionDossierSnapshot;
use crate::core::sync::lock;
use crate::project::dossiers_dir::{DossiersHome, GITIGNORE, rel_path};
use crate::project::root_dir::{RootDir, create_new, remove_from, replace_existing};

/// Name of the file, in the directory of its feature.
const SNAPSHOT_FILE: &str = "snapshot-latest.json";

/// Upper bound for the bytes of a snapshot's JSON from `computed_at` to the end.
const TAIL_BYTES: u64 = 256;

/// What is known of the directories of a project's snapshot files while it is watched.
#[derive(Debug, Default)]
pub struct SnapshotDirs(Mutex<KnownDirs>);

/// The directories that existed once.
#[derive(Debug, Default)]
struct KnownDirs {
    parents: ParentDirs,
    features: HashMap<FeatureSlug, KnownDir>,
}

/// Which of the directories above those of the features exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ParentDirs {
    home: DossiersHome,
    top: bool,
    dossiers: bool,
}

/// The directory of a feature's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KnownDir {
    id: DevIno,
    /// The file was missing at the last attempt.
    was_missing: bool,
}

impl ParentDirs {
    /// Returns true if they are those of `home`.
    pub(super) fn is_of(self, home: DossiersHome) -> bool {
        self.home == home
    }
}

/// What became of a snapshot file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotWrite {
    /// It was written.
    Done,
    /// It was not written, because its directory, or the feature, was removed.
    Removed,
    /// It was removed, perhaps with what is around it: if the directory exists in a second, it can be
    /// written.
    Postponed,
}

/// What to do about a file that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Create,
    CreateDirs,
    Postpone,
    Leave,
}

/// Decides what to do about a missing file by what was known of its directories, and what is there: `dir`
/// is its own.
fn action(
    known: ParentDirs,
    known_dir: Option<KnownDir>,
    parents: ParentDirs,
    dir: Option<DevIno>,
) -> Action {
    let is_same = known_dir.is_some_and(|known| Some(known.id) == dir);
    let was_missing = known_dir.is_some_and(|known| known.was_missing);
    let lost_parent = known.top && !parents.top || known.dossiers && !parents.dossiers;
    match dir {
        Some(_) if is_same && !was_missing => Action::Postpone,
        Some(_) => Action::Create,
        None if known_dir.is_some() || lost_parent => Action::Leave,
        None => Action::CreateDirs,
    }
}

// The lock is not held during calls to the file system, which may not return.
impl SnapshotDirs {
    /// Notes that a feature's file is in its directory.
    pub(super) fn note(&self, root_dir: &RootDir, home: DossiersHome, slug: &FeatureSlug) {
        let path = rel_path(&home.feature_dir(slug));
        if let Some(Ok(Some((_, id)))) = path.map(|path| root_dir.find_dir(&path)) {
            self.set(home, slug, KnownDir { id, was_missing: false });
        }
    }

    /// Returns what is known, after `existed` was noted.
    fn get(&self, slug: &FeatureSlug, existed: ParentDirs) -> (ParentDirs, Option<KnownDir>) {
        let mut known = lock(&self.0);
        if known.parents.home != existed.home {
            // Another layout applies: nothing is known of the other place.
            *known = KnownDirs::default();
            known.parents.home = existed.home;
        }
        known.parents.top |= existed.top;
        known.parents.dossiers |= existed.dossiers;
        (known.parents, known.features.get(slug).copied())
    }

    /// Notes the directory of a feature, which exists.
    fn set(&self, home: DossiersHome, slug: &FeatureSlug, dir: KnownDir) {
        let mut known = lock(&self.0);
        known.parents = ParentDirs { home, top: true, dossiers: true };
        known.features.insert(slug.clone(), dir);
    }

    fn forget(&self, slug: &FeatureSlug) {
        lock(&self.0).features.remove(slug);
    }
}

impl ParentDirs {
    /// Returns which of them exist.
    pub(super) fn find(root_dir: &RootDir, home: DossiersHome) -> Self {
        let exists = |name| rel_path(name).is_some_and(|path| root_dir.is_dir(&path));
        Self { home, top: exists(home.parent()), dossiers: exists(home.dir()) }
    }
}

/// Writes the file of a feature. `existed` are the directories that existed when the project's metadata was
/// read; `is_feature_there` checks the feature's directory.
///
/// # Errors
/// Those of the operating system.
pub(super) fn write(
    root_dir: &RootDir,
    slug: &FeatureSlug,
    bytes: &[u8],
    existed: ParentDirs,
    known: &SnapshotDirs,
    is_feature_there: impl Fn() -> bool,
) -> io::Result<SnapshotWrite> {
    if !is_feature_there() {
        // Where it returns, its directory may be created again.
        known.forget(slug);
        return Ok(SnapshotWrite::Removed);
    }
    let (known_parents, known_dir) = known.get(slug, existed);
    let home = existed.home;
    let dir_path = rel_path(&home.feature_dir(slug)).ok_or(Errno::INVAL)?;
    let mut dir = root_dir.find_dir(&dir_path)?;
    if let Some((dir, id)) = &dir {
        match replace_existing(dir, SNAPSHOT_FILE, bytes) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
            result => {
                known.set(home, slug, KnownDir { id: *id, was_missing: false });
                return result.map(|()| SnapshotWrite::Done);
            }
        }
    }
    let id = dir.as_ref().map(|(_, id)| *id);
    let parents = ParentDirs::find(root_dir, home);
    let action = action(known_parents, known_dir, parents, id);
    match (action, known_dir) {
        (Action::Leave, _) => return Ok(SnapshotWrite::Removed),
        (Action::Postpone, Some(known_dir)) => {
            known.set(home, slug, KnownDir { was_missing: true, ..known_dir });
            return Ok(SnapshotWrite::Postponed);
        }
        (Action::CreateDirs, _) => {
            create_dirs(root_dir, parents)?;
            root_dir.create_dir(&dir_path)?;
            dir = root_dir.find_dir(&dir_path)?;
        }
        (Action::Create | Action::Postpone, _) => {}
    }
    let Some((dir, id)) = dir else {
        return Ok(SnapshotWrite::Removed);
    };
    known.set(home, slug, KnownDir { id, was_missing: false });
    create_new(&dir, SNAPSHOT_FILE, bytes)?;
    if action == Action::CreateDirs && !is_feature_there() {
        // It was removed meanwhile, perhaps with all of the project.
        remove_from(&dir, SNAPSHOT_FILE)?;
        root_dir.remove_dir(&dir_path)?;
        return Ok(SnapshotWrite::Removed);
    }
    Ok(SnapshotWrite::Done)
}

/// Creates the directories above those of the features, with a `.gitignore` that excludes them from git.
fn create_dirs(root_dir: &RootDir, parents: ParentDirs) -> io::Result<()> {
    let create = |name: &str| root_dir.create_dir(&rel_path(name).ok_or(Errno::INVAL)?);
    let home = parents.home;
    if !parents.top {
        create(home.parent())?;
    }
    if !parents.dossiers && create(home.dir())? {
        let path = rel_path(home.dir()).ok_or(Errno::INVAL)?;
        if let Some((dir, _)) = root_dir.find_dir(&path)? {
            create_new(&dir, ".gitignore", GITIGNORE)?;
        }
    }
    Ok(())
}

/// Returns true if the file is equal to `snapshot` except for `computed_at`.
pub(super) fn matches_on_disk(
    root_dir: &RootDir,
    home: DossiersHome,
    snapshot: &MissionDossierSnapshot,
) -> bool {
    let path = rel_path(&file_path(home, &snapshot.feature_slug));
    let file = path.and_then(|path| root_dir.open_file(&path));
    file.is_some_and(|file| file_matches(file, snapshot).is_ok_and(|matches| matches))
}

fn file_matches(mut file: File, snapshot: &MissionDossierSnapshot) -> io::Result<bool> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    (&file).take(TAIL_BYTES).read_to_end(&mut tail)?;
    let Some(computed_at) = MissionDossierSnapshot::parse_computed_at(&tail) else {
        return Ok(false);
    };
    file.rewind()?;
    let mut comparing = ComparingWriter(BufReader::new(file));
    serde_json::to_writer(
        &mut comparing,
        &MissionDossierSnapshot { computed_at, ..snapshot.clone() },
    )?;
    comparing.write_all(b"\n")?;
    Ok(comparing.0.fill_buf()?.is_empty())
}

/// Fails at the first byte that differs from the file. Comparing while writing avoids holding a
/// large file in memory.
struct ComparingWriter(BufReader<File>);

impl Write for ComparingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let on_disk = self.0.fill_buf()?;
        let length = on_disk.len().min(bytes.len());
        if length == 0 || on_disk[..length] != bytes[..length] {
            return Err(io::Error::other("the file differs from the snapshot"));
        }
        self.0.consume(length);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn file_path(home: DossiersHome, slug: &FeatureSlug) -> String {
    format!("{}/{SNAPSHOT_FILE}", home.feature_dir(slug))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parents(top: bool, dossiers: bool) -> ParentDirs {
        ParentDirs { top, dossiers, ..ParentDirs::default() }
    }

    #[test]
    fn what_was_removed_is_not_created_again() {
        let id = |inode| DevIno { device: 1, inode };
        let known = |inode, was_missing| Some(KnownDir { id: id(inode), was_missing });
        let (none, all) = (parents(false, false), parents(true, true));
        for (known_parents, known_dir, found, dir, expected) in [
            // A project that had no directory, and one that had the first.
            (none, None, none, None, Action::CreateDirs),
            (parents(true, false), None, parents(true, false), None, Action::CreateDirs),
            (all, None, all, None, Action::CreateDirs),
            // A directory of another program, or of a baseline.
            (all, None, all, Some(id(1)), Action::Create),
            // Directories that were removed.
            (all, known(1, false), all, None, Action::Leave),
            (all, None, parents(true, false), None, Action::Leave),
            (parents(true, false), None, none, None, Action::Leave),
            (all, known(1, false), none, None, Action::Leave),
            // Another directory in its place.
            (all, known(1, false), all, Some(id(2)), Action::Create),
            // Only the file was removed, or its directory is about to be.
            (all, known(1, false), all, Some(id(1)), Action::Postpone),
            (all, known(1, true), all, Some(id(1)), Action::Create),
        ] {
            let found = action(known_parents, known_dir, found, dir);
            assert_eq!(found, expected, "{known_parents:?} {known_dir:?} {dir:?}");
        }
    }

    #[test]
    fn files_are_written_to_directories_that_were_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root_dir = RootDir::open(dir.path()).unwrap();
        let slug = FeatureSlug::new(b"001-x").unwrap();
        let dirs = SnapshotDirs::default();
        let write = |text: &str, is_there: bool| {
            let existed = ParentDirs::default();
            super::write(&root_dir, &slug, text.as_bytes(), existed, &dirs, || is_there).unwrap()
        };
        let home = dir.path().join(".kittify/dossiers");
        let file = home.join("001-x/snapshot-latest.json");
        let read = || std::fs::read_to_string(&file).ok();
        assert_eq!(write("0", false), SnapshotWrite::Removed);
        assert!(!dir.path().join(".kittify").exists());
        for text in ["1", "2"] {
            assert_eq!(write(text, true), SnapshotWrite::Done);
            assert_eq!(read().as_deref(), Some(text));
            assert_eq!(std::fs::read_dir(home.join("001-x")).unwrap().count(), 1);
        }
        assert_eq!(std::fs::read(home.join(".gitignore")).unwrap(), GITIGNORE);

        std::fs::remove_file(&file).unwrap();
        assert_eq!(write("3", true), SnapshotWrite::Postponed);
        assert_eq!(std::fs::read_dir(home.join("001-x")).unwrap().count(), 0);
        assert_eq!(write("3", true), SnapshotWrite::Done);
        assert_eq!(read().as_deref(), Some("3"));

        for removed in ["001-x", "", ".."] {
            std::fs::remove_dir_all(home.join(removed)).unwrap();
            assert_eq!(write("4", true), SnapshotWrite::Removed);
            assert!(!home.join(removed).exists());
            // A person creates it again.
            std::fs::create_dir_all(home.join("001-x")).unwrap();
            std::fs::write(&file, "other").unwrap();
            assert_eq!(write("5", true), SnapshotWrite::Done);
            assert_eq!(read().as_deref(), Some("5"));
        }
    }

    #[test]
    fn feature_that_is_removed_during_the_first_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root_dir = RootDir::open(dir.path()).unwrap();
        let slug = FeatureSlug::new(b"001-x").unwrap();
        let calls = std::cell::Cell::new(0);
        let is_there = || calls.replace(calls.get() + 1) == 0;
        let (existed, dirs) = (ParentDirs::default(), SnapshotDirs::default());
        let written = write(&root_dir, &slug, b"x", existed, &dirs, is_there).unwrap();
        assert_eq!(written, SnapshotWrite::Removed);
        assert!(!dir.path().join(".kittify/dossiers/001-x").exists());
    }
}

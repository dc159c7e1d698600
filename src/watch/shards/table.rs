//! Who uses a shard: its roots, the directories that each watches, and who receives an event.
//!
//! Without disk, clock and threads. Directories that several roots watch are rare: the git
//! directory of a repository with several roots in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Included, Unbounded};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dir_paths::DirPaths;
use crate::watch::{DirIdentity, HintSink};

/// Maximum number of roots of a shard.
const MAX_ROOTS: usize = 16;

/// A root that uses a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UserId(pub(super) u64);

/// The roots of a shard and their watches.
#[derive(Default)]
pub(super) struct ShardTable {
    users: BTreeMap<UserId, User>,
    dirs: BTreeMap<Arc<Path>, WatchedDir>,
    /// The paths of the watched directories.
    paths: DirPaths,
    /// Directories that no root watches any more, but maybe the kernel, as those that a mount hides: they
    /// are to be unwatched.
    left: BTreeSet<Arc<Path>>,
    /// It has lost events or does not respond, so no root may join.
    is_retired: bool,
    /// Its last root is leaving, so no root may join.
    is_ending: bool,
}

struct User {
    root: PathBuf,
    sink: HintSink,
    /// Number of hints since [`ShardTable::forget_hint_counts`].
    hints: u64,
    watches: usize,
    /// It gets the events that were queued when it left, and no others.
    is_leaving: bool,
}

#[derive(Default)]
struct WatchedDir {
    identity: Option<DirIdentity>,
    /// How often its watch was renewed.
    generation: u64,
    /// A root that had requested the newest watch has found that the directory was removed.
    is_stale: bool,
    /// The kernel has reported its removal, so its watch has ended.
    has_ended: bool,
    /// The roots that watch it, with the generation when each requested it last.
    users: BTreeMap<UserId, u64>,
}

/// What to do about a directory that a root wants to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Watch it; if another root has its watch, that one stays.
    Watch,
    /// Remove its watch and watch it again, because another directory may be at its path.
    Renew,
    /// Another root watches the same directory at another path. Events would have one of both paths.
    OtherPath,
}

/// What a root has lost with a directory that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Forgotten {
    /// Number of its watches.
    pub(super) watches: usize,
    /// The kernel may still watch some of the directories, and no root does.
    pub(super) is_any_left: bool,
}

impl ShardTable {
    /// Returns true if `root` may join. Roots that contain each other do not share, so that only
    /// directories outside of roots are watched for several of them.
    pub(super) fn accepts(&self, root: &Path) -> bool {
        let mut active = self.active_users();
        !(self.is_retired || self.is_ending)
            && self.active_users().count() < MAX_ROOTS
            && !active.any(|(_, user)| root.starts_with(&user.root) || user.root.starts_with(root))
    }

    pub(super) fn join(&mut self, id: UserId, root: &Path, sink: HintSink) {
        let root = root.to_owned();
        let user = User { root, sink, hints: 0, watches: 0, is_leaving: false };
        self.users.insert(id, user);
    }

    /// Records that a root wants to watch `dir`, whose identity is known unless it cannot be read.
    /// `was_watched` is true if the root has watched it before, maybe another one at the path.
    pub(super) fn request(
        &mut self,
        id: UserId,
        dir: &Path,
        identity: Option<DirIdentity>,
        was_watched: bool,
    ) -> Request {
        let known = self.dirs.get_key_value(dir).map(|(path, _)| Arc::clone(path));
        let path = known.unwrap_or_else(|| Arc::from(dir));
        let active: BTreeSet<UserId> = self.active_users().map(|(id, _)| id).collect();
        if self.is_watched_by_others(id, &active, identity, &path) {
            return Request::OtherPath;
        }
        let is_left = self.left.remove(&path);
        let watched = self.dirs.entry(Arc::clone(&path)).or_default();
        let others = watched.users.iter().filter(|(other, _)| **other != id);
        let mut others = others.filter(|(other, _)| active.contains(*other)).peekable();
        let is_shared = others.peek().is_some();
        let is_newest = watched.users.get(&id) == Some(&watched.generation);
        let request = if is_shared {
            // The newest watch was placed after the last request of this root, or this root is new.
            let has_newest = others.any(|(_, generation)| *generation == watched.generation);
            let is_current = !(was_watched && is_newest) && has_newest && !watched.is_stale;
            if is_current { Request::Watch } else { Request::Renew }
        } else if was_watched || !watched.users.is_empty() || watched.is_stale || is_left {
            Request::Renew
        } else {
            Request::Watch
        };
        if request == Request::Renew {
            watched.generation += 1;
            watched.is_stale = false;
        }
        if watched.users.insert(id, watched.generation).is_none()
            && let Some(user) = self.users.get_mut(&id)
        {
            user.watches += 1;
        }
        let former = std::mem::replace(&mut watched.identity, identity);
        if let Some(former) = former.filter(|_| former != identity) {
            self.paths.remove(former, &path);
        }
        if let Some(identity) = identity {
            self.paths.insert(identity, path);
        }
        request
    }

    /// Returns true if another root watches the directory at another path.
    fn is_watched_by_others(
        &self,
        id: UserId,
        active: &BTreeSet<UserId>,
        identity: Option<DirIdentity>,
        path: &Path,
    ) -> bool {
        let paths = identity.into_iter().flat_map(|identity| self.paths.of(identity));
        let dirs = paths.filter(|other| ***other != *path).filter_map(|other| self.dirs.get(other));
        dirs.flat_map(|dir| dir.users.keys()).any(|user| *user != id && active.contains(user))
    }

    /// Records that the kernel watches directories, after the events of their paths until now.
    pub(super) fn on_watched<'a>(&mut self, dirs: impl Iterator<Item = &'a Path>) {
        for dir in dirs {
            if let Some(watched) = self.dirs.get_mut(dir) {
                watched.has_ended = false;
            }
        }
    }

    /// Records that the kernel has reported the removal of a path, and so has ended the watches of
    /// directories there and below.
    pub(super) fn on_removed(&mut self, path: &Path) {
        let below = self.dirs.range_mut::<Path, _>((Included(path), Unbounded));
        for (_, watched) in below.take_while(|(dir, _)| dir.starts_with(path)) {
            watched.has_ended = true;
        }
        let left = self.left.range::<Path, _>((Included(path), Unbounded));
        let left: Vec<Arc<Path>> =
            left.take_while(|dir| dir.starts_with(path)).map(Arc::clone).collect();
        for dir in left {
            self.left.remove(&dir);
        }
    }

    /// Removes the directories that are to be unwatched, and returns them.
    pub(super) fn take_left(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.left).iter().map(|dir| dir.to_path_buf()).collect()
    }

    /// Records that a root does not watch a directory.
    pub(super) fn withdraw(&mut self, id: UserId, dir: &Path) {
        let Some(watched) = self.dirs.get_mut(dir) else {
            return;
        };
        if watched.users.remove(&id).is_none() {
            return;
        }
        if let Some(user) = self.users.get_mut(&id) {
            user.watches -= 1;
        }
        if watched.users.is_empty()
            && let Some(watched) = self.dirs.remove(dir)
            && let Some(identity) = watched.identity
        {
            self.paths.remove(identity, dir);
        }
    }

    /// Records that a root has learned that a directory was removed, with all below it: none if `identity`,
    /// that of the directory at the path now, shows that it has been watched since.
    pub(super) fn forget(
        &mut self,
        id: UserId,
        dir: &Path,
        identity: Option<DirIdentity>,
    ) -> Forgotten {
        let is_present = identity.is_some()
            && self.dirs.get(dir).is_some_and(|watched| watched.identity == identity);
        let below = self.dirs.range_mut::<Path, _>((Included(dir), Unbounded));
        let below = below.take_while(|(path, _)| path.starts_with(dir));
        let mut own = Vec::new();
        for (path, watched) in below {
            if let Some(generation) = watched.users.get(&id) {
                watched.is_stale |= *generation == watched.generation;
                own.push(Arc::clone(path));
            }
        }
        let mut forgotten = Forgotten::default();
        if is_present {
            return forgotten;
        }
        for path in own {
            let has_ended = self.dirs.get(&path).is_none_or(|watched| watched.has_ended);
            self.withdraw(id, &path);
            forgotten.watches += 1;
            let ends = self.is_retired || self.is_ending;
            if !(has_ended || ends || self.dirs.contains_key(&path)) {
                self.left.insert(path);
                forgotten.is_any_left = true;
            }
        }
        forgotten
    }

    /// Returns the sinks of the other roots that watch a directory.
    pub(super) fn others(&self, id: UserId, dir: &Path) -> Vec<HintSink> {
        let ids = self.dirs.get(dir).into_iter().flat_map(|dir| dir.users.keys());
        let users = ids.filter(|other| **other != id).filter_map(|other| self.users.get(other));
        users.map(|user| Arc::clone(&user.sink)).collect()
    }

    /// Returns the sinks of the roots that watch a path or the directory that contains it.
    pub(super) fn receivers(&mut self, path: &Path) -> Vec<HintSink> {
        let own = self.dirs.get(path).into_iter().flat_map(|dir| dir.users.keys());
        let above = path.parent().and_then(|parent| self.dirs.get(parent));
        let above = above.into_iter().flat_map(|dir| dir.users.keys());
        let mut ids: Vec<UserId> = own.chain(above).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let mut sinks = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(user) = self.users.get_mut(&id) {
                user.hints += 1;
                sinks.push(Arc::clone(&user.sink));
            }
        }
        sinks
    }

    /// Returns the other paths of what is at a path: those of a watched directory, or of an entry of one.
    pub(super) fn other_paths(&self, path: &Path) -> Vec<PathBuf> {
        if self.paths.are_unique() {
            return Vec::new();
        }
        let of_dir = |dir: &Path| {
            let identity = self.dirs.get(dir).and_then(|watched| watched.identity);
            let paths = identity.into_iter().flat_map(|identity| self.paths.of(identity));
            paths.filter(|other| ***other != *dir).map(Arc::clone).collect::<Vec<_>>()
        };
        let own = of_dir(path).into_iter().map(|other| other.to_path_buf());
        let above = path.parent().zip(path.file_name()).into_iter();
        let above =
            above.flat_map(|(dir, name)| of_dir(dir).into_iter().map(move |dir| dir.join(name)));
        own.chain(above).collect()
    }

    /// Returns the sinks of all roots, those with the most hints last.
    pub(super) fn all_sinks(&self) -> Vec<HintSink> {
        let mut users: Vec<&User> = self.users.values().collect();
        users.sort_by_key(|user| user.hints);
        users.into_iter().map(|user| Arc::clone(&user.sink)).collect()
    }

    /// Returns the root with the most hints.
    pub(super) fn noisiest_root(&self) -> Option<PathBuf> {
        self.active_users().max_by_key(|(_, user)| user.hints).map(|(_, user)| user.root.clone())
    }

    pub(super) fn forget_hint_counts(&mut self) {
        for user in self.users.values_mut() {
            user.hints = 0;
        }
    }

    /// Lets no root join any more. Returns false if none could before.
    pub(super) fn retire(&mut self) -> bool {
        !std::mem::replace(&mut self.is_retired, true)
    }

    /// Returns true if events of it were lost, which all its roots know.
    pub(super) fn is_retired(&self) -> bool {
        self.is_retired
    }

    /// Lets no root join any more, and keeps the watches: they end with the watcher.
    pub(super) fn end(&mut self) {
        self.is_ending = true;
    }

    /// Records that a root leaves once the events that are queued now are passed on.
    pub(super) fn begin_leave(&mut self, id: UserId) {
        if let Some(user) = self.users.get_mut(&id) {
            user.is_leaving = true;
        }
    }

    /// Removes a root that has left. Returns the directories that no other one watches; none if the
    /// shard ends.
    pub(super) fn finish_leave(&mut self, id: UserId) -> Vec<PathBuf> {
        let own = self.dirs_of(id);
        for dir in &own {
            self.withdraw(id, dir);
        }
        self.users.remove(&id);
        if self.is_retired || self.is_ending {
            return Vec::new();
        }
        own.into_iter().filter(|dir| !self.dirs.contains_key(dir.as_path())).collect()
    }

    /// Returns the directories that a root watches.
    pub(super) fn dirs_of(&self, id: UserId) -> Vec<PathBuf> {
        let own = self.dirs.iter().filter(|(_, dir)| dir.users.contains_key(&id));
        own.map(|(path, _)| path.to_path_buf()).collect()
    }

    /// Returns how many directories a root watches.
    pub(super) fn watches_of(&self, id: UserId) -> usize {
        self.users.get(&id).map_or(0, |user| user.watches)
    }

    /// Returns how many directories are watched.
    pub(super) fn watches(&self) -> usize {
        self.dirs.len()
    }

    /// Returns how many roots use the shard.
    pub(super) fn roots(&self) -> usize {
        self.active_users().count()
    }

    fn active_users(&self) -> impl Iterator<Item = (UserId, &User)> {
        self.users.iter().filter(|(_, user)| !user.is_leaving).map(|(id, user)| (*id, user))
    }
}

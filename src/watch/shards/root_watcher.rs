//! The part of a shard that one root uses.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tracing::debug;

use super::pool::{NOISY_TIME, Shard, ShardPool, Share};
use super::table::{Request, UserId};
use crate::core::sync::lock;
use crate::watch::{Hint, HintSink, RefusedDir, WatchError};

/// Watches the directories of one root.
///
/// Callers must watch a directory *before* they list it, so that no entry created in between is
/// missed.
pub struct RootWatcher {
    pool: ShardPool,
    shard: Arc<Shard>,
    id: UserId,
    root: PathBuf,
    sink: HintSink,
    /// It has an instance of its own, or none was left when it should have got one.
    stays: bool,
    /// Number of directories that were removed since a time.
    removed: usize,
    since: Instant,
}

impl RootWatcher {
    /// Returns a watcher for `root`, which watches nothing yet and sends its hints to `sink`.
    ///
    /// # Errors
    /// [`WatchError::InstanceLimit`] if as many instances are used as are allowed; those of the
    /// watcher.
    pub fn join(
        pool: &ShardPool,
        root: &Path,
        share: Share,
        sink: HintSink,
    ) -> Result<Self, WatchError> {
        let (joined, id) = pool.assign(root, share, Arc::clone(&sink))?;
        let (pool, root, since) = (pool.clone(), root.to_owned(), Instant::now());
        let stays = !joined.is_open();
        Ok(Self { pool, shard: joined, id, root, sink, stays, removed: 0, since })
    }

    /// Watches one directory. `was_watched` is true if a directory at this path was watched before,
    /// which may have been another one; its watch is then removed first.
    ///
    /// # Errors
    /// [`WatchError`].
    pub fn watch(&mut self, dir: &Path, was_watched: bool) -> Result<(), WatchError> {
        let request = self.request(dir, was_watched, &mut BTreeSet::new())?;
        let is_renewal = request == Request::Renew;
        let result = self.shard.watcher.watch(dir, is_renewal);
        match &result {
            Ok(()) => {
                let mut table = lock(&self.shard.table);
                table.on_watched(std::iter::once(dir));
                // Events between the two watches are lost for the others.
                let others = if is_renewal { table.others(self.id, dir) } else { Vec::new() };
                drop(table);
                for sink in others {
                    sink(Hint::Overflow);
                }
            }
            Err(error) => self.on_refused(dir, error),
        }
        self.move_if_large();
        result
    }

    /// Watches several directories that are not watched yet, and returns those that are refused. At
    /// the limit of watches the remaining ones are not tried.
    pub fn watch_all(&mut self, dirs: Vec<PathBuf>) -> Vec<RefusedDir> {
        let mut refused = Vec::new();
        let mut new = Vec::with_capacity(dirs.len());
        let mut real_dirs = BTreeSet::new();
        for path in dirs {
            match self.request(&path, false, &mut real_dirs) {
                Ok(Request::Watch) => new.push(path),
                Ok(_) => refused
                    .extend(self.watch(&path, true).err().map(|error| RefusedDir { path, error })),
                Err(error) => refused.push(RefusedDir { path, error }),
            }
        }
        let failed = self.shard.watcher.watch_all(new.clone());
        lock(&self.shard.table).on_watched(new.iter().map(PathBuf::as_path));
        for RefusedDir { path, error } in &failed {
            self.on_refused(path, error);
        }
        refused.extend(failed);
        self.move_if_large();
        refused
    }

    /// Forgets a directory that was removed, and those below it, whose watches inotify removes by
    /// itself.
    pub fn forget(&mut self, dir: &Path) {
        if self.since.elapsed() > NOISY_TIME {
            (self.removed, self.since) = (0, Instant::now());
        }
        let identity = self.shard.watcher.identity(dir);
        let forgotten = lock(&self.shard.table).forget(self.id, dir, identity);
        if forgotten.is_any_left {
            let table = Arc::clone(&self.shard.table);
            self.shard.watcher.leave(Box::new(move || lock(&table).take_left()));
        }
        self.removed += forgotten.watches;
        if self.removed > self.pool.limits().max_removed_dirs {
            self.removed = 0;
            self.pool.mark_noisy(&self.root);
            self.move_to_own();
        }
    }

    /// Has all roots of the instance use others: it responds too slowly.
    pub fn give_up(self) {
        self.shard.retire();
    }

    /// Returns how many directories the instance watches for all its roots.
    #[must_use]
    pub fn instance_watches(&self) -> usize {
        lock(&self.shard.table).watches()
    }

    fn request(
        &mut self,
        dir: &Path,
        was_watched: bool,
        real_dirs: &mut BTreeSet<PathBuf>,
    ) -> Result<Request, WatchError> {
        if self.leads_through_link(dir, real_dirs) {
            lock(&self.shard.table).withdraw(self.id, dir);
            return Err(WatchError::NotFound(dir.to_owned()));
        }
        let identity = self.shard.watcher.identity(dir);
        let mut request = lock(&self.shard.table).request(self.id, dir, identity, was_watched);
        if request == Request::OtherPath {
            self.pool.mark_noisy(&self.root);
            if !self.move_to_own() {
                return Err(WatchError::InstanceLimit);
            }
            request = lock(&self.shard.table).request(self.id, dir, identity, was_watched);
        }
        Ok(request)
    }

    /// Returns true if a link is at the path of a directory above `dir` and below the root. The events of what
    /// that leads to would have a path that does not exist; if it is watched by its own path as well, those with
    /// that one would not come: inotify has one watch for each directory. `real_dirs` are those that were found;
    /// more are added.
    fn leads_through_link(&self, dir: &Path, real_dirs: &mut BTreeSet<PathBuf>) -> bool {
        let above = dir.ancestors().skip(1);
        let below_root = above.take_while(|dir| **dir != *self.root && dir.starts_with(&self.root));
        for dir in below_root {
            if real_dirs.contains(dir) {
                return false;
            }
            if self.shard.watcher.is_not_dir(dir) {
                return true;
            }
            real_dirs.insert(dir.to_owned());
        }
        false
    }

    fn on_refused(&self, dir: &Path, error: &WatchError) {
        lock(&self.shard.table).withdraw(self.id, dir);
        if matches!(error, WatchError::Unresponsive) {
            self.shard.retire();
        }
    }

    fn move_if_large(&mut self) {
        let max = self.pool.limits().max_shared_watches;
        if !self.stays && lock(&self.shard.table).watches_of(self.id) > max {
            self.pool.mark_noisy(&self.root);
            self.move_to_own();
        }
    }

    /// Moves to an instance of its own, if it is not there yet and there is one left. No event is
    /// lost, because all directories are watched there before they are unwatched here.
    fn move_to_own(&mut self) -> bool {
        if self.stays {
            return !self.shard.is_open();
        }
        self.stays = true;
        if self.pool.close_if_alone(&self.shard) {
            return true;
        }
        let dirs = lock(&self.shard.table).dirs_of(self.id);
        let own = Self::join(&self.pool, &self.root, Share::Own, Arc::clone(&self.sink));
        let mut own = match own {
            Ok(own) => own,
            Err(error) => {
                debug!(root = %self.root.display(), %error, "the root shares a file watcher");
                return false;
            }
        };
        let refused = own.watch_all(dirs);
        // Those that are gone are reported by events.
        if refused.iter().any(|refused| !matches!(refused.error, WatchError::NotFound(_))) {
            return false;
        }
        std::mem::swap(&mut self.shard, &mut own.shard);
        std::mem::swap(&mut self.id, &mut own.id);
        true
    }
}

impl Drop for RootWatcher {
    fn drop(&mut self) {
        self.pool.leave(&self.shard, self.id);
    }
}

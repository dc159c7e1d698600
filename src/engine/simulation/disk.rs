//! A modelled disk: a tree of inodes with kernel time stamps, rights and mounts, and the inotify
//! queues of its watchers. It behaves as Linux does where the engine depends on it.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::history::root;
use crate::core::artifact::FileSignature;
use crate::core::mounts::{Mount, Mounts};
use crate::core::path::RelPath;
use crate::core::sync::lock;
use crate::watch::{DirIdentity, Hint, HintKind, HintSink, RefusedDir, WatchError, Watcher};

/// Resolution of the kernel's time stamps.
const STAMP_NS: i64 = 4_000_000;
/// Maximum number of events in a queue.
const QUEUE_CAPACITY: usize = 512;

/// Directory of the cookies, on a file system that delivers events.
pub(super) const COOKIES: &str = "/cookies";

pub(super) type Inode = u64;
pub(super) type SharedDisk = Arc<Mutex<Disk>>;

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
    Symlink,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct FileNode {
    /// Identifies the content: no two writes have the same.
    pub(super) token: u64,
    pub(super) size: u64,
    modified_ns: i64,
    changed_ns: i64,
}

#[derive(Debug, Clone)]
pub(super) struct DirNode {
    children: BTreeMap<String, Inode>,
    pub(super) readable: bool,
    pub(super) device: u64,
}

/// An inotify event in a queue.
#[derive(Debug, Clone)]
struct QueuedEvent {
    path: PathBuf,
    kind: HintKind,
    /// The directory at the path was removed or moved away: the watcher forgets it, and what is
    /// below it, when it reads this.
    is_removed_dir: bool,
}

/// An inotify instance, with the table of paths that `notify` keeps.
struct Instance {
    sink: HintSink,
    /// Roots that leave, once what is queued is sent: each returns the directories to unwatch.
    leaves: Vec<Box<dyn FnOnce() -> Vec<PathBuf> + Send>>,
    /// The paths of each watched inode; events have the last one.
    by_inode: BTreeMap<Inode, Vec<PathBuf>>,
    by_path: BTreeMap<PathBuf, Inode>,
    queue: VecDeque<QueuedEvent>,
    overflowed: bool,
}

/// The disk, and the kernel's side of watching it.
pub(super) struct Disk {
    nodes: BTreeMap<Inode, Node>,
    next_inode: Inode,
    next_token: u64,
    /// The wall clock.
    pub(super) clock_ns: i64,
    /// Added to the time stamps, which are multiples of the clock's tick otherwise.
    stamp_offset_ns: i64,
    instances: BTreeMap<usize, Instance>,
    next_instance: usize,
    /// Maximum number of watches of an instance.
    pub(super) watch_limit: usize,
    /// Projects on a file system that delivers no events.
    pub(super) silent: Vec<bool>,
    /// Number of changes so far.
    pub(super) version: u64,
    /// What is mounted, with the number of file systems at each mount point.
    mounts: BTreeMap<PathBuf, Mount>,
    /// Number of mounts and unmounts so far.
    mount_changes: u64,
}

const TOP: Inode = 1;

impl Disk {
    pub(super) fn new(projects: usize, clock_ns: i64) -> Self {
        let top = DirNode { children: BTreeMap::new(), readable: true, device: 1 };
        Self {
            nodes: BTreeMap::from([(TOP, Node::Dir(top))]),
            next_inode: TOP + 1,
            next_token: 1,
            clock_ns,
            stamp_offset_ns: 0,
            instances: BTreeMap::new(),
            next_instance: 0,
            watch_limit: usize::MAX,
            silent: vec![false; projects],
            version: 0,
            mounts: BTreeMap::new(),
            mount_changes: 0,
        }
    }

    // --- Reading ---

    /// Returns the inode at a path. Every directory above it must be readable.
    pub(super) fn find(&self, path: &Path) -> Result<Inode, Missing> {
        let mut inode = TOP;
        let mut at = PathBuf::from("/");
        for name in names(path) {
            // A path may begin at an inode, as it does below an open descriptor.
            if let Some(opened) = name.strip_prefix('@').and_then(|number| number.parse().ok()) {
                inode = opened;
                at.push(name);
                continue;
            }
            match self.nodes.get(&inode) {
                Some(Node::Dir(dir)) if !dir.readable => return Err(Missing::Denied(at)),
                Some(Node::Dir(dir)) => {
                    inode = *dir.children.get(name).ok_or(Missing::NotFound)?;
                }
                _ => return Err(Missing::NotFound),
            }
            at.push(name);
        }
        Ok(inode)
    }

    pub(super) fn node(&self, path: &Path) -> Result<&Node, Missing> {
        let inode = self.find(path)?;
        self.nodes.get(&inode).ok_or(Missing::NotFound)
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        matches!(self.node(path), Ok(Node::Dir(_)))
    }

    /// Lists a directory.
    pub(super) fn list(&self, path: &Path) -> Result<Vec<(String, &Node)>, Missing> {
        match self.node(path)? {
            Node::Dir(dir) if !dir.readable => Err(Missing::Denied(path.to_owned())),
            Node::Dir(dir) => {
                let children = dir.children.iter();
                Ok(children.map(|(name, inode)| (name.clone(), &self.nodes[inode])).collect())
            }
            _ => Err(Missing::NotFound),
        }
    }

    pub(super) fn signature(&self, path: &Path) -> Option<FileSignature> {
        let inode = self.find(path).ok()?;
        match self.nodes.get(&inode)? {
            Node::File(file) => Some(FileSignature {
                size: file.size,
                modified_ns: file.modified_ns,
                changed_ns: file.changed_ns,
                inode,
                device: 1,
            }),
            _ => None,
        }
    }

    // --- Changing ---

    fn stamp(&self) -> i64 {
        self.clock_ns - self.clock_ns.rem_euclid(STAMP_NS) + self.stamp_offset_ns
    }

    /// Sets the wall clock. Ticks after that have other nanoseconds than those before.
    pub(super) fn set_clock(&mut self, by_ns: i64) {
        self.clock_ns += by_ns;
        self.stamp_offset_ns += 1;
    }

    fn add_node(&mut self, node: Node) -> Inode {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.nodes.insert(inode, node);
        inode
    }

    fn parent(&mut self, path: &Path) -> Option<(Inode, String)> {
        let name = path.file_name()?.to_str()?.to_owned();
        let parent = self.find(path.parent()?).ok()?;
        matches!(self.nodes.get(&parent), Some(Node::Dir(_))).then_some((parent, name))
    }

    fn link(&mut self, parent: Inode, name: &str, inode: Inode) {
        if let Some(Node::Dir(dir)) = self.nodes.get_mut(&parent) {
            dir.children.insert(name.to_owned(), inode);
        }
        self.version += 1;
    }

    fn unlink(&mut self, parent: Inode, name: &str) -> Option<Inode> {
        self.version += 1;
        match self.nodes.get_mut(&parent) {
            Some(Node::Dir(dir)) => dir.children.remove(name),
            _ => None,
        }
    }

    /// Creates a directory and those above it.
    pub(super) fn create_dir(&mut self, path: &Path) {
        // Below a directory that may not be entered nothing can be created either.
        if !matches!(self.find(path), Err(Missing::NotFound)) {
            return;
        }
        if let Some(above) = path.parent() {
            self.create_dir(above);
        }
        if let Some((parent, name)) = self.parent(path) {
            let device = self.device_of(parent);
            let dir = DirNode { children: BTreeMap::new(), readable: true, device };
            let inode = self.add_node(Node::Dir(dir));
            self.link(parent, &name, inode);
            self.notify(parent, &name, HintKind::DirCreated, false);
        }
    }

    fn device_of(&self, inode: Inode) -> u64 {
        match self.nodes.get(&inode) {
            Some(Node::Dir(dir)) => dir.device,
            _ => 1,
        }
    }

    /// Writes a file, which is created if it does not exist. `keeps_mtime` sets its modification
    /// time back after the write, as some tools do.
    pub(super) fn write(&mut self, path: &Path, size: u64, closes: bool, keeps_mtime: bool) {
        if let Some(above) = path.parent() {
            self.create_dir(above);
        }
        let Some((parent, name)) = self.parent(path) else {
            return;
        };
        let (token, stamp) = (self.next_token, self.stamp());
        let file = FileNode { token, size, modified_ns: stamp, changed_ns: stamp };
        match self.child(parent, &name) {
            None => {
                let inode = self.add_node(Node::File(file));
                self.link(parent, &name, inode);
            }
            Some(inode) => match self.nodes.get_mut(&inode) {
                Some(Node::File(old)) => {
                    let modified_ns = if keeps_mtime { old.modified_ns } else { stamp };
                    *old = FileNode { modified_ns, ..file };
                    self.version += 1;
                }
                _ => return,
            },
        }
        self.next_token += 1;
        self.notify(parent, &name, HintKind::Modified, false);
        if closes {
            self.notify(parent, &name, HintKind::CloseWrite, false);
        }
    }

    /// Closes a file that was written to.
    pub(super) fn close(&mut self, path: &Path) {
        if let Some((parent, name)) = self.parent(path)
            && matches!(self.node(path), Ok(Node::File(_)))
        {
            self.notify(parent, &name, HintKind::CloseWrite, false);
        }
    }

    /// Renames a new file to `path`, as editors do.
    pub(super) fn replace(&mut self, path: &Path, size: u64) {
        let Some((parent, name)) = self.parent(path) else {
            return;
        };
        if self.is_dir(path) {
            return;
        }
        let (token, stamp) = (self.next_token, self.stamp());
        self.next_token += 1;
        let file = FileNode { token, size, modified_ns: stamp, changed_ns: stamp };
        let inode = self.add_node(Node::File(file));
        self.unlink(parent, &name);
        self.link(parent, &name, inode);
        self.notify(parent, &name, HintKind::MovedTo, false);
    }

    pub(super) fn symlink(&mut self, path: &Path) {
        if !matches!(self.find(path), Err(Missing::NotFound)) {
            return;
        }
        if let Some((parent, name)) = self.parent(path) {
            let inode = self.add_node(Node::Symlink);
            self.link(parent, &name, inode);
            self.notify(parent, &name, HintKind::Modified, false);
        }
    }

    /// Removes a path and all below it, one after the other.
    pub(super) fn remove(&mut self, path: &Path) {
        if let Ok(children) = self.list(path) {
            let names: Vec<String> = children.into_iter().map(|(name, _)| name).collect();
            for name in names {
                self.remove(&path.join(name));
            }
        }
        let Some((parent, name)) = self.parent(path) else {
            return;
        };
        let Some(inode) = self.child(parent, &name) else {
            return;
        };
        if let Some(Node::Dir(dir)) = self.nodes.get(&inode)
            && (!dir.children.is_empty() || self.mounts.contains_key(path))
        {
            return;
        }
        let is_dir = matches!(self.nodes.get(&inode), Some(Node::Dir(_)));
        self.unlink(parent, &name);
        self.nodes.remove(&inode);
        if is_dir {
            self.remove_watch(inode);
        }
        self.notify(parent, &name, HintKind::Removed, is_dir);
    }

    /// Renames a path; a file at the destination is replaced.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        // With what is mounted below, the mount points would be others.
        let is_mounted = self.mounts.keys().any(|point| point.starts_with(from));
        if to.starts_with(from) || self.is_dir(to) || is_mounted {
            return;
        }
        let (Some((old_parent, old_name)), Some((parent, name))) =
            (self.parent(from), self.parent(to))
        else {
            return;
        };
        let Some(inode) = self.child(old_parent, &old_name) else {
            return;
        };
        let is_dir = matches!(self.nodes.get(&inode), Some(Node::Dir(_)));
        if is_dir && self.child(parent, &name).is_some() {
            return;
        }
        let stamp = self.stamp();
        if let Some(Node::File(file)) = self.nodes.get_mut(&inode) {
            file.changed_ns = stamp;
        }
        self.unlink(old_parent, &old_name);
        if let Some(replaced) = self.unlink(parent, &name) {
            self.nodes.remove(&replaced);
        }
        self.link(parent, &name, inode);
        self.notify(old_parent, &old_name, HintKind::Removed, is_dir);
        self.notify(parent, &name, HintKind::MovedTo, false);
    }

    /// Grants or denies access to a directory.
    pub(super) fn set_readable(&mut self, path: &Path, readable: bool) {
        let Some((parent, name)) = self.parent(path) else {
            return;
        };
        let Some(inode) = self.child(parent, &name) else {
            return;
        };
        if let Some(Node::Dir(dir)) = self.nodes.get_mut(&inode) {
            dir.readable = readable;
            self.version += 1;
            self.notify(parent, &name, HintKind::Modified, false);
            self.notify_self(inode, HintKind::Modified, false);
        }
    }

    /// Puts another file system with nothing in it over a directory. Returns what was there.
    pub(super) fn mount_over(&mut self, path: &Path) -> Option<Inode> {
        let (parent, name) = self.parent(path)?;
        let hidden = self.unlink(parent, &name)?;
        let dir = DirNode { children: BTreeMap::new(), readable: true, device: 2 };
        let inode = self.add_node(Node::Dir(dir));
        self.link(parent, &name, inode);
        self.mount_changes += 1;
        let mount = self.mounts.entry(path.to_owned()).or_default();
        mount.depth += 1;
        (mount.id, mount.device) = (self.mount_changes, self.mount_changes);
        Some(hidden)
    }

    /// Returns what is mounted below a root.
    pub(super) fn mounts_below(&self, root: &Path) -> Mounts {
        let points = self.mounts.iter().filter_map(|(point, mount)| {
            let below = point.strip_prefix(root).ok()?.to_str()?;
            Some((RelPath::new(below.as_bytes()).ok()?, *mount))
        });
        Mounts { points: points.collect(), changes: self.mount_changes, boot: Some(Uuid::nil()) }
    }

    /// Shows again what was mounted over. The kernel removes the watches of what was mounted, with
    /// an event for each; what is shown again raises none.
    pub(super) fn unmount(&mut self, path: &Path, hidden: Inode) {
        let Some((parent, name)) = self.parent(path) else {
            return;
        };
        if let Some(mounted) = self.unlink(parent, &name) {
            self.remove_watches_below(mounted);
        }
        self.link(parent, &name, hidden);
        self.mounts.remove(path);
        self.mount_changes += 1;
    }

    fn remove_watches_below(&mut self, inode: Inode) {
        if let Some(Node::Dir(dir)) = self.nodes.get(&inode) {
            for child in dir.children.clone().into_values() {
                self.remove_watches_below(child);
            }
        }
        self.remove_watch(inode);
    }

    /// Removes the watches of a directory that is removed, after an event about itself.
    fn remove_watch(&mut self, inode: Inode) {
        self.notify_self(inode, HintKind::Removed, true);
        for instance in self.instances.values_mut() {
            instance.by_inode.remove(&inode);
        }
    }

    fn child(&self, parent: Inode, name: &str) -> Option<Inode> {
        match self.nodes.get(&parent) {
            Some(Node::Dir(dir)) => dir.children.get(name).copied(),
            _ => None,
        }
    }

    pub(super) fn device(&self, path: &Path) -> u64 {
        self.find(path).map_or(0, |inode| self.device_of(inode))
    }

    // --- Events ---

    /// Queues an event of an entry for every watcher of its directory.
    fn notify(&mut self, parent: Inode, name: &str, kind: HintKind, is_removed_dir: bool) {
        for instance in self.instances.values_mut() {
            if let Some(dir) = instance.by_inode.get(&parent).and_then(|paths| paths.last()) {
                let path = dir.join(name);
                push(instance, &self.silent, QueuedEvent { path, kind, is_removed_dir });
            }
        }
    }

    /// Queues an event of a watched directory itself.
    fn notify_self(&mut self, inode: Inode, kind: HintKind, is_removed_dir: bool) {
        for instance in self.instances.values_mut() {
            let path = instance.by_inode.get(&inode).and_then(|paths| paths.last());
            if let Some(path) = path.cloned() {
                push(instance, &self.silent, QueuedEvent { path, kind, is_removed_dir });
            }
        }
    }

    /// Loses what is queued in the instances that watch directories below `root`, as an overflow
    /// does.
    pub(super) fn overflow(&mut self, root: &Path) {
        for instance in self.instances.values_mut() {
            if instance.by_path.keys().any(|path| path.starts_with(root)) {
                instance.queue.clear();
                instance.overflowed = true;
            }
        }
    }

    /// Sends the events that are queued. The watchers forget the directories that they report as
    /// removed.
    pub(super) fn send_events(&mut self) {
        for instance in self.instances.values_mut() {
            instance.send_events();
        }
    }

    /// Returns true if changes in a directory of a project raise events.
    pub(super) fn is_watched(&self, project: usize, dir: &Path) -> bool {
        let Ok(dir) = self.find(dir) else {
            return false;
        };
        let mut instances = self.instances.values();
        !self.silent[project] && instances.any(|one| one.by_inode.contains_key(&dir))
    }

    pub(super) fn has_events(&self) -> bool {
        let mut instances = self.instances.values();
        instances.any(|one| !one.queue.is_empty() || one.overflowed || !one.leaves.is_empty())
    }

    fn watch(&mut self, id: usize, path: &Path) -> Result<(), WatchError> {
        let limit = self.watch_limit;
        let inode = match self.find(path) {
            Ok(inode) => inode,
            Err(Missing::NotFound) => return Err(WatchError::NotFound(path.to_owned())),
            Err(Missing::Denied(_)) => return Err(denied(path)),
        };
        match self.nodes.get(&inode) {
            Some(Node::Dir(dir)) if dir.readable => {}
            Some(Node::Dir(_)) => return Err(denied(path)),
            _ => return Err(WatchError::NotFound(path.to_owned())),
        }
        let Some(instance) = self.instances.get_mut(&id) else {
            return Err(WatchError::Unresponsive);
        };
        if instance.by_path.len() >= limit && !instance.by_inode.contains_key(&inode) {
            return Err(WatchError::WatchLimit(path.to_owned()));
        }
        // A path in the table is not watched again, even if another directory is there now.
        if !instance.by_path.contains_key(path) {
            instance.by_path.insert(path.to_owned(), inode);
            instance.by_inode.entry(inode).or_default().push(path.to_owned());
        }
        Ok(())
    }
}

impl Instance {
    /// Sends what is queued, and lets those leave that wanted to before.
    fn send_events(&mut self) {
        if std::mem::take(&mut self.overflowed) {
            (self.sink)(Hint::Overflow);
        }
        for event in std::mem::take(&mut self.queue) {
            if event.is_removed_dir {
                self.forget(&event.path);
            }
            (self.sink)(Hint::At(event.path, event.kind));
        }
        for leave in std::mem::take(&mut self.leaves) {
            for path in leave() {
                self.unwatch(&path);
            }
        }
    }

    /// Forgets the directories at and below a path, with the kernel's watches of those that have no
    /// other path.
    fn forget(&mut self, path: &Path) {
        let below = |other: &Path| other.starts_with(path);
        let gone: Vec<PathBuf> =
            self.by_path.keys().filter(|other| below(other)).cloned().collect();
        for path in gone {
            self.unwatch(&path);
        }
    }

    fn unwatch(&mut self, path: &Path) {
        let Some(inode) = self.by_path.remove(path) else {
            return;
        };
        if let Some(paths) = self.by_inode.get_mut(&inode) {
            paths.retain(|other| other != path);
            if paths.is_empty() {
                self.by_inode.remove(&inode);
            }
        }
    }
}

/// Why there is nothing at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    NotFound,
    /// This directory cannot be entered.
    Denied(PathBuf),
}

fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.to_str().unwrap_or_default().split('/').filter(|name| !name.is_empty())
}

fn denied(path: &Path) -> WatchError {
    WatchError::Other { path: path.to_owned(), source: "permission denied".into() }
}

fn push(instance: &mut Instance, silent: &[bool], event: QueuedEvent) {
    let mut silent = silent.iter().enumerate().filter(|(_, is_silent)| **is_silent);
    let is_silent = silent.any(|(project, _)| event.path.starts_with(root(project)));
    if instance.overflowed || is_silent {
        return;
    }
    if instance.queue.len() >= QUEUE_CAPACITY {
        instance.overflowed = true;
        return;
    }
    instance.queue.push_back(event);
}

/// A watcher of the modelled kernel.
pub(super) struct ModelWatcher {
    disk: SharedDisk,
    id: usize,
}

impl ModelWatcher {
    pub(super) fn new(disk: &SharedDisk, sink: HintSink) -> Self {
        let mut kernel = lock(disk);
        let id = kernel.next_instance;
        kernel.next_instance += 1;
        let instance = Instance {
            sink,
            leaves: Vec::new(),
            by_inode: BTreeMap::new(),
            by_path: BTreeMap::new(),
            queue: VecDeque::new(),
            overflowed: false,
        };
        kernel.instances.insert(id, instance);
        Self { disk: Arc::clone(disk), id }
    }

    /// Calls are made one after the other: those that wanted to leave before have left.
    fn end_leaves(&self) {
        if let Some(instance) = lock(&self.disk).instances.get_mut(&self.id)
            && !instance.leaves.is_empty()
        {
            instance.send_events();
        }
    }
}

impl Drop for ModelWatcher {
    fn drop(&mut self) {
        self.end_leaves();
        lock(&self.disk).instances.remove(&self.id);
    }
}

impl Watcher for ModelWatcher {
    fn watch(&self, dir: &Path, renew: bool) -> Result<(), WatchError> {
        self.end_leaves();
        let mut kernel = lock(&self.disk);
        if renew && let Some(instance) = kernel.instances.get_mut(&self.id) {
            instance.unwatch(dir);
        }
        kernel.watch(self.id, dir)
    }

    fn watch_all(&self, dirs: Vec<PathBuf>) -> Vec<RefusedDir> {
        self.end_leaves();
        let mut kernel = lock(&self.disk);
        let watch = |path: PathBuf| {
            let error = kernel.watch(self.id, &path).err()?;
            Some(RefusedDir { path, error })
        };
        dirs.into_iter().filter_map(watch).collect()
    }

    fn leave(&self, unused: Box<dyn FnOnce() -> Vec<PathBuf> + Send>) {
        if let Some(instance) = lock(&self.disk).instances.get_mut(&self.id) {
            instance.leaves.push(unused);
        }
    }

    fn identity(&self, dir: &Path) -> Option<DirIdentity> {
        let kernel = lock(&self.disk);
        let inode = kernel.find(dir).ok()?;
        Some((kernel.device_of(inode), inode))
    }

    fn is_not_dir(&self, path: &Path) -> bool {
        lock(&self.disk).node(path).is_ok_and(|node| !matches!(node, Node::Dir(_)))
    }
}

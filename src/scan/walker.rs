//! Scans features on several threads, which share one stack of tasks.
//!
//! A task is a directory to list or a group of files to read. The walk is depth-first: the files of
//! a directory are pushed above its subdirectories, and its descriptor is closed as soon as its
//! tasks are done, so that few descriptors are open, however wide the tree is.
//!
//! The stack is bounded by `max_entries` of the features in progress. A feature is started only
//! when the stack is empty.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

use crate::core::artifact::Observation;
use crate::core::churn::ChurnRules;
use crate::core::content::StaticHash;
use crate::core::file_kind::FileKind;
use crate::core::ignore::IgnoreRules;
use crate::core::layout::DocumentSet;
use crate::core::path::RelPath;
use crate::core::sync::lock;
use crate::scan::entry::{EntryKind, entry_kind, open_dir, read_entry};
use crate::scan::hash::{ReadOptions, ReadResult};
use crate::scan::limits::{LimitExceeded, ScanLimits};
use crate::scan::list::is_wanted;

/// Files of one task: few enough to spread the work, enough to lock the queue rarely.
const FILES_PER_TASK: usize = 32;
const READ_BUFFER_BYTES: usize = 128 << 10;
const LIST_BUFFER_BYTES: usize = 32 << 10;

/// Options of a scan.
#[derive(Debug)]
pub struct ScanOptions {
    /// Limits of each feature.
    pub limits: ScanLimits,
    /// What is skipped.
    pub ignore: IgnoreRules,
    /// Number of threads, including the calling one.
    pub threads: usize,
}

/// A feature directory to scan.
#[derive(Debug)]
pub struct OpenedFeature {
    /// Its descriptor.
    pub descriptor: OwnedFd,
    /// The files that are read, of the documents of a project; all but hidden ones without it.
    pub documents: Option<Arc<DocumentSet>>,
    /// Whether the static part of files is hashed.
    pub static_part: StaticHash,
    /// What is bookkeeping in them by the layout.
    pub churn: Arc<ChurnRules>,
}

/// The result of scanning one feature directory.
#[derive(Debug, Default)]
pub struct FeatureScan {
    /// The artifacts, in no order.
    pub observations: Vec<Observation>,
    /// Files that were not read because their names are ignored by default; exceptions are read by
    /// [`read_path`](crate::scan::read_path).
    pub ignored_by_default: Vec<RelPath>,
    /// The first limit that was exceeded; artifacts are then missing.
    pub limit_exceeded: Option<LimitExceeded>,
    /// Why the feature directory could not be listed.
    pub unreadable: Option<String>,
}

/// Counters that are updated during a scan.
#[derive(Debug, Default)]
pub struct Progress {
    /// Artifacts read.
    pub files: AtomicU64,
    /// Bytes read.
    pub bytes: AtomicU64,
}

/// The scan of one feature.
struct FeatureWalk {
    index: usize,
    static_part: StaticHash,
    churn: Arc<ChurnRules>,
    documents: Option<Arc<DocumentSet>>,
    entries: AtomicU64,
    state: Mutex<WalkState>,
}

struct WalkState {
    scanned: FeatureScan,
    /// Tasks that were pushed or started and are not finished.
    open_tasks: usize,
}

impl FeatureWalk {
    fn record(&self, observations: Vec<Observation>) {
        lock(&self.state).scanned.observations.extend(observations);
    }

    /// Records the first limit that was exceeded. Such a feature is not evaluated, so its other
    /// entries need not be listed.
    fn record_limit_exceeded(&self, limit: LimitExceeded) {
        lock(&self.state).scanned.limit_exceeded.get_or_insert(limit);
    }
}

/// An open directory of a feature.
struct OpenDir {
    descriptor: OwnedFd,
    /// Path below the feature with a trailing `/`; empty for the feature directory.
    prefix: Vec<u8>,
    depth: usize,
}

/// An entry of a directory.
#[derive(Clone)]
struct DirItem {
    name: CString,
    kind: EntryKind,
}

enum Task {
    /// List this subdirectory of this directory.
    List(Arc<FeatureWalk>, Arc<OpenDir>, CString),
    /// Read these entries of this directory.
    Read(Arc<FeatureWalk>, Arc<OpenDir>, Vec<DirItem>),
}

struct TaskQueue {
    stack: Vec<Task>,
    next_feature: usize,
    /// Threads that run a task and may push more.
    busy: usize,
}

struct Walker<'a, O, D> {
    count: usize,
    open: &'a O,
    done: &'a D,
    options: &'a ScanOptions,
    progress: &'a Progress,
    queue: Mutex<TaskQueue>,
    queue_changed: Condvar,
}

/// The buffers of one thread.
struct ThreadBuffers {
    read: Vec<u8>,
    list: Vec<MaybeUninit<u8>>,
}

/// Scans `count` feature directories. `open` opens the directory with an index below `count`;
/// `done` receives its result, once per feature, on any thread and in any order.
pub fn scan(
    count: usize,
    open: impl Fn(usize) -> io::Result<OpenedFeature> + Sync,
    options: &ScanOptions,
    progress: &Progress,
    done: impl Fn(usize, FeatureScan) + Sync,
) {
    let queue = TaskQueue { stack: Vec::new(), next_feature: 0, busy: 0 };
    let walker = Walker {
        count,
        open: &open,
        done: &done,
        options,
        progress,
        queue: queue.into(),
        queue_changed: Condvar::new(),
    };
    std::thread::scope(|scope| {
        for number in 1..options.threads.max(1) {
            // Without this helper the scan is slower; the calling thread works too.
            let _ = std::thread::Builder::new()
                .name(format!("scan-{number}"))
                .spawn_scoped(scope, || walker.work());
        }
        walker.work();
    });
}

/// Marks a thread as idle when its task ends, also by a panic; otherwise the other threads would
/// wait forever for it to push tasks.
struct BusyGuard<'a> {
    queue: &'a Mutex<TaskQueue>,
    queue_changed: &'a Condvar,
    count: usize,
}

impl Drop for BusyGuard<'_> {
    fn drop(&mut self) {
        let mut queue = lock(self.queue);
        queue.busy -= 1;
        if queue.busy == 0 && queue.stack.is_empty() && queue.next_feature == self.count {
            self.queue_changed.notify_all();
        }
    }
}

enum NextWork {
    Task(Task),
    Feature(usize),
}

impl<O, D> Walker<'_, O, D>
where
    O: Fn(usize) -> io::Result<OpenedFeature> + Sync,
    D: Fn(usize, FeatureScan) + Sync,
{
    fn work(&self) {
        let mut buffers = ThreadBuffers {
            read: vec![0; READ_BUFFER_BYTES],
            list: vec![MaybeUninit::uninit(); LIST_BUFFER_BYTES],
        };
        while let Some(next) = self.next_work() {
            let _busy = BusyGuard {
                queue: &self.queue,
                queue_changed: &self.queue_changed,
                count: self.count,
            };
            match next {
                NextWork::Feature(index) => self.start_feature(index, &mut buffers),
                NextWork::Task(Task::List(feature, parent, name)) => {
                    self.list(&feature, &parent, &name, &mut buffers);
                    drop(parent);
                    self.finish_task(&feature);
                }
                NextWork::Task(Task::Read(feature, dir, items)) => {
                    self.read(&feature, &dir, &items, &mut buffers);
                    drop(dir);
                    self.finish_task(&feature);
                }
            }
        }
    }

    /// Returns the top task of the stack, or the next feature if the stack is empty. Waits while
    /// other threads may push; returns `None` when all work is done.
    fn next_work(&self) -> Option<NextWork> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(task) = queue.stack.pop() {
                queue.busy += 1;
                return Some(NextWork::Task(task));
            }
            if queue.next_feature < self.count {
                queue.busy += 1;
                queue.next_feature += 1;
                return Some(NextWork::Feature(queue.next_feature - 1));
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self.queue_changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn push(&self, feature: &FeatureWalk, tasks: impl Iterator<Item = Task>) {
        let mut queue = lock(&self.queue);
        let before = queue.stack.len();
        queue.stack.extend(tasks);
        let pushed = queue.stack.len() - before;
        // No thread can pop a task before it is counted, since the queue is locked.
        lock(&feature.state).open_tasks += pushed;
        match pushed {
            0 => {}
            1 => self.queue_changed.notify_one(),
            _ => self.queue_changed.notify_all(),
        }
    }

    fn start_feature(&self, index: usize, buffers: &mut ThreadBuffers) {
        let opened = (self.open)(index);
        let static_part = opened.as_ref().map_or(StaticHash::Skip, |opened| opened.static_part);
        let churn = opened.as_ref().map(|opened| Arc::clone(&opened.churn)).unwrap_or_default();
        let documents = opened.as_ref().ok().and_then(|opened| opened.documents.clone());
        let state = WalkState { scanned: FeatureScan::default(), open_tasks: 1 };
        let entries = AtomicU64::new(0);
        let state = state.into();
        let feature =
            Arc::new(FeatureWalk { index, static_part, churn, documents, entries, state });
        let result = opened.and_then(|OpenedFeature { descriptor, .. }| {
            let dir = OpenDir { descriptor, prefix: Vec::new(), depth: 0 };
            self.list_open(&feature, &Arc::new(dir), buffers)
        });
        if let Err(error) = result {
            lock(&feature.state).scanned.unreadable = Some(error.to_string());
        }
        self.finish_task(&feature);
    }

    fn list(
        &self,
        feature: &Arc<FeatureWalk>,
        parent: &OpenDir,
        name: &CStr,
        buffers: &mut ThreadBuffers,
    ) {
        let depth = parent.depth + 1;
        if depth > self.options.limits.max_depth {
            feature.record_limit_exceeded(self.options.limits.too_deep());
            return;
        }
        let result = open_dir(parent.descriptor.as_fd(), name).map_err(io::Error::from).and_then(
            |descriptor| {
                let prefix = [&parent.prefix, name.to_bytes(), b"/"].concat();
                self.list_open(feature, &Arc::new(OpenDir { descriptor, prefix, depth }), buffers)
            },
        );
        let Err(error) = result else {
            return;
        };
        match Errno::from_io_error(&error) {
            // It was deleted after its parent was listed.
            Some(Errno::NOENT) => {}
            // It was replaced by something other than a directory.
            Some(Errno::NOTDIR | Errno::LOOP) => {
                if let Ok(kind) = entry_kind(parent.descriptor.as_fd(), name) {
                    let item = DirItem { name: name.to_owned(), kind };
                    self.read(feature, parent, &[item], buffers);
                }
            }
            _ => {
                let result = ReadResult::unreadable(error.to_string(), 0);
                let path = entry_path(parent, name);
                feature
                    .record(path.map(|path| result.into_observation(path)).into_iter().collect());
            }
        }
    }

    /// Lists an open directory, pushes tasks for its entries, and reads the last files itself.
    ///
    /// # Errors
    /// If listing fails; then nothing was pushed, and the directory counts as one unreadable entry.
    fn list_open(
        &self,
        feature: &Arc<FeatureWalk>,
        dir: &Arc<OpenDir>,
        buffers: &mut ThreadBuffers,
    ) -> io::Result<()> {
        let mut subdirs = Vec::new();
        let mut files = Vec::new();
        let mut raw_entries = RawDir::new(&dir.descriptor, &mut buffers.list);
        while let Some(entry) = raw_entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            let path = feature.documents.as_ref().and_then(|_| entry_path(dir, name));
            let is_passed_over = match (&feature.documents, &path) {
                (None, _) => name.to_bytes().starts_with(b"."),
                (Some(set), Some(path)) => !set.has_file(path) && !set.may_be_below(path),
                (Some(_), None) => true,
            };
            if is_passed_over {
                continue;
            }
            if feature.entries.fetch_add(1, Relaxed) >= self.options.limits.max_entries {
                feature.record_limit_exceeded(self.options.limits.too_many());
                break;
            }
            if self.is_ignored(dir, name) {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match entry_kind(dir.descriptor.as_fd(), name) {
                    Ok(kind) => kind,
                    // It was deleted, or its directory cannot be entered; reading it reports the
                    // error.
                    Err(_) => EntryKind::File,
                },
                known => known.into(),
            };
            let is_dir = matches!(kind, EntryKind::Dir);
            if let Some((set, path)) = feature.documents.as_ref().zip(path.as_ref())
                && !is_wanted(set, path, is_dir)
            {
                continue;
            }
            match kind {
                EntryKind::Dir => subdirs.push(name.to_owned()),
                _ => files.push(DirItem { name: name.to_owned(), kind }),
            }
        }
        let list_task = |name| Task::List(Arc::clone(feature), Arc::clone(dir), name);
        let read_task =
            |files: &[_]| Task::Read(Arc::clone(feature), Arc::clone(dir), files.to_vec());
        let own_items = files.split_off(files.len().saturating_sub(FILES_PER_TASK));
        self.push(
            feature,
            subdirs.into_iter().map(list_task).chain(files.chunks(FILES_PER_TASK).map(read_task)),
        );
        self.read(feature, dir, &own_items, buffers);
        Ok(())
    }

    fn read(
        &self,
        feature: &FeatureWalk,
        dir: &OpenDir,
        items: &[DirItem],
        buffers: &mut ThreadBuffers,
    ) {
        let mut observations = Vec::with_capacity(items.len());
        let mut ignored = Vec::new();
        for DirItem { name, kind } in items {
            let Some(path) = entry_path(dir, name) else {
                continue;
            };
            if self.options.ignore.default_name(&path).is_some() {
                ignored.push(path);
                continue;
            }
            let churn = feature.churn.of_file(&path);
            let options = ReadOptions {
                kind: FileKind::from_path(&path),
                churn: churn.as_ref(),
                static_part: feature.static_part,
                limits: &self.options.limits,
                max_retried_bytes: u64::MAX,
            };
            let descriptor = dir.descriptor.as_fd();
            let Some(result) = read_entry(descriptor, name, *kind, options, &mut buffers.read)
            else {
                continue;
            };
            self.progress.files.fetch_add(1, Relaxed);
            self.progress.bytes.fetch_add(result.size, Relaxed);
            observations.push(result.into_observation(path));
        }
        feature.record(observations);
        if !ignored.is_empty() {
            lock(&feature.state).scanned.ignored_by_default.append(&mut ignored);
        }
    }

    fn is_ignored(&self, dir: &OpenDir, name: &CStr) -> bool {
        let configured = self.options.ignore.configured();
        !configured.is_empty()
            && entry_path(dir, name).is_some_and(|path| configured.is_match(&path))
    }

    fn finish_task(&self, feature: &FeatureWalk) {
        let mut state = lock(&feature.state);
        state.open_tasks -= 1;
        if state.open_tasks == 0 {
            let scanned = std::mem::take(&mut state.scanned);
            drop(state);
            (self.done)(feature.index, scanned);
        }
    }
}

fn entry_path(dir: &OpenDir, name: &CStr) -> Option<RelPath> {
    RelPath::new([&dir.prefix, name.to_bytes()].concat()).ok()
}

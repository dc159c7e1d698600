//! The stack of tasks and the threads that take them.
//!
//! A task is a folder to list or some files of one folder to read. A folder's files go on top of
//! its folders, so its descriptor is closed before the next level is begun. The stack is bounded
//! by the entries budget of the features in flight, and features are begun one at a time, when
//! nothing else is left to take.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

use super::entry::{EntryKind, kind_of, open_folder, read_entry};
use super::hash::{How, Reading};
use super::{Opened, Options, Progress, Scanned};
use crate::core::artifact::Observation;
use crate::core::content::{Kind, StaticPart};
use crate::core::path::RelPath;

/// Files of one task: few enough to share the work, enough to make the lock rare.
const FILES_PER_TASK: usize = 32;
const READ_BUFFER: usize = 128 << 10;
const LIST_BUFFER: usize = 32 << 10;

/// One feature while it is scanned.
struct Feature {
    place: usize,
    static_part: StaticPart,
    entries: AtomicU64,
    found: Mutex<Found>,
}

struct Found {
    scanned: Scanned,
    /// Tasks not yet finished.
    open_tasks: usize,
}

impl Feature {
    fn record(&self, observations: Vec<Observation>) {
        lock(&self.found).scanned.observations.extend(observations);
    }

    /// A feature beyond a budget is not judged, so what is still on the stack may stay unread;
    /// only the first reason is kept.
    fn over_budget(&self, why: String) {
        lock(&self.found).scanned.over_budget.get_or_insert(why);
    }
}

/// An open folder of a feature.
struct Folder {
    descriptor: OwnedFd,
    /// Path bytes below the feature with a `/` at the end; empty for the feature itself.
    prefix: Vec<u8>,
    depth: usize,
}

enum Task {
    /// List this folder of that parent.
    List(Arc<Feature>, Arc<Folder>, CString),
    /// Read these entries of that folder.
    Read(Arc<Feature>, Arc<Folder>, Vec<(CString, EntryKind)>),
}

struct Queue {
    stack: Vec<Task>,
    next_feature: usize,
    /// Threads that may still push.
    busy: usize,
}

struct Shared<'a, O, D> {
    count: usize,
    open: &'a O,
    done: &'a D,
    options: &'a Options,
    progress: &'a Progress,
    queue: Mutex<Queue>,
    pushed: Condvar,
}

/// The buffers of one thread.
struct Buffers {
    read: Vec<u8>,
    list: Vec<MaybeUninit<u8>>,
}

pub(super) fn run<O, D>(count: usize, open: &O, options: &Options, progress: &Progress, done: &D)
where
    O: Fn(usize) -> io::Result<Opened> + Sync,
    D: Fn(usize, Scanned) + Sync,
{
    let queue = Queue { stack: Vec::new(), next_feature: 0, busy: 0 };
    let shared = Shared {
        count,
        open,
        done,
        options,
        progress,
        queue: queue.into(),
        pushed: Condvar::new(),
    };
    std::thread::scope(|scope| {
        for _ in 1..options.threads.max(1) {
            scope.spawn(|| shared.work());
        }
        shared.work();
    });
}

/// Says that a thread has finished what it took, also when it panics: else the others would wait
/// for what it never pushes.
struct Busy<'a> {
    queue: &'a Mutex<Queue>,
    ended: &'a Condvar,
    count: usize,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut queue = lock(self.queue);
        queue.busy -= 1;
        if queue.busy == 0 && queue.stack.is_empty() && queue.next_feature == self.count {
            self.ended.notify_all();
        }
    }
}

enum Next {
    Task(Task),
    Feature(usize),
}

impl<O, D> Shared<'_, O, D>
where
    O: Fn(usize) -> io::Result<Opened> + Sync,
    D: Fn(usize, Scanned) + Sync,
{
    fn work(&self) {
        let mut buffers =
            Buffers { read: vec![0; READ_BUFFER], list: vec![MaybeUninit::uninit(); LIST_BUFFER] };
        while let Some(next) = self.take() {
            let _busy = Busy { queue: &self.queue, ended: &self.pushed, count: self.count };
            match next {
                Next::Feature(place) => self.begin(place, &mut buffers),
                Next::Task(Task::List(feature, parent, name)) => {
                    self.list(&feature, &parent, &name, &mut buffers);
                    drop(parent);
                    self.finish_task(&feature);
                }
                Next::Task(Task::Read(feature, folder, entries)) => {
                    self.read(&feature, &folder, &entries, &mut buffers);
                    drop(folder);
                    self.finish_task(&feature);
                }
            }
        }
    }

    /// The top of the stack, else a new feature; waits while others may still push.
    fn take(&self) -> Option<Next> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(task) = queue.stack.pop() {
                queue.busy += 1;
                return Some(Next::Task(task));
            }
            if queue.next_feature < self.count {
                queue.busy += 1;
                queue.next_feature += 1;
                return Some(Next::Feature(queue.next_feature - 1));
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self.pushed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn push(&self, feature: &Feature, tasks: impl Iterator<Item = Task>) {
        let mut queue = lock(&self.queue);
        let before = queue.stack.len();
        queue.stack.extend(tasks);
        let pushed = queue.stack.len() - before;
        // While the queue is locked no one can finish one of these tasks before it is counted.
        lock(&feature.found).open_tasks += pushed;
        match pushed {
            0 => {}
            1 => self.pushed.notify_one(),
            _ => self.pushed.notify_all(),
        }
    }

    fn begin(&self, place: usize, buffers: &mut Buffers) {
        let opened = (self.open)(place);
        let static_part = opened.as_ref().map_or(StaticPart::Skip, |opened| opened.static_part);
        let found = Found { scanned: Scanned::default(), open_tasks: 1 };
        let entries = AtomicU64::new(0);
        let feature = Arc::new(Feature { place, static_part, entries, found: found.into() });
        let listed = opened.and_then(|Opened { descriptor, .. }| {
            let folder = Folder { descriptor, prefix: Vec::new(), depth: 0 };
            self.list_open(&feature, &Arc::new(folder), buffers)
        });
        if let Err(error) = listed {
            lock(&feature.found).scanned.unreadable = Some(error.to_string());
        }
        self.finish_task(&feature);
    }

    fn list(&self, feature: &Arc<Feature>, parent: &Folder, name: &CStr, buffers: &mut Buffers) {
        let depth = parent.depth + 1;
        if depth > self.options.limits.depth {
            feature.over_budget(format!("deeper than {} folders", self.options.limits.depth));
            return;
        }
        let result = open_folder(parent.descriptor.as_fd(), name)
            .map_err(io::Error::from)
            .and_then(|descriptor| {
                let prefix = [&parent.prefix, name.to_bytes(), b"/"].concat();
                self.list_open(feature, &Arc::new(Folder { descriptor, prefix, depth }), buffers)
            });
        let Err(error) = result else {
            return;
        };
        match Errno::from_io_error(&error) {
            // It went away since its parent was listed.
            Some(Errno::NOENT) => {}
            // It is no folder any more.
            Some(Errno::NOTDIR | Errno::LOOP) => {
                if let Ok(kind) = kind_of(parent.descriptor.as_fd(), name) {
                    let entry = [(name.to_owned(), kind)];
                    self.read(feature, parent, &entry, buffers);
                }
            }
            _ => {
                let reading = Reading::unreadable(error.to_string(), 0);
                let path = path_of(parent, name);
                feature.record(path.map(|path| observation(path, reading)).into_iter().collect());
            }
        }
    }

    /// Lists an open folder and pushes what it holds. Nothing is pushed when listing fails: then
    /// the folder is one unreadable entry.
    fn list_open(
        &self,
        feature: &Arc<Feature>,
        folder: &Arc<Folder>,
        buffers: &mut Buffers,
    ) -> io::Result<()> {
        let mut folders = Vec::new();
        let mut files = Vec::new();
        let mut entries = RawDir::new(&folder.descriptor, &mut buffers.list);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            if feature.entries.fetch_add(1, Relaxed) >= self.options.limits.entries {
                feature.over_budget(format!("more than {} entries", self.options.limits.entries));
                break;
            }
            if self.is_ignored(folder, name) {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match kind_of(folder.descriptor.as_fd(), name) {
                    Ok(kind) => kind,
                    // Gone again, or its folder can be listed and not entered: reading it tells.
                    Err(_) => EntryKind::File,
                },
                known => known.into(),
            };
            match kind {
                EntryKind::Folder => folders.push(name.to_owned()),
                _ => files.push((name.to_owned(), kind)),
            }
        }
        let list = |name| Task::List(Arc::clone(feature), Arc::clone(folder), name);
        let read =
            |files: &[_]| Task::Read(Arc::clone(feature), Arc::clone(folder), files.to_vec());
        let own = files.split_off(files.len().saturating_sub(FILES_PER_TASK));
        self.push(
            feature,
            folders.into_iter().map(list).chain(files.chunks(FILES_PER_TASK).map(read)),
        );
        self.read(feature, folder, &own, buffers);
        Ok(())
    }

    fn read(
        &self,
        feature: &Feature,
        folder: &Folder,
        entries: &[(CString, EntryKind)],
        buffers: &mut Buffers,
    ) {
        let mut observations = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            let Some(path) = path_of(folder, name) else {
                continue;
            };
            let how = How {
                kind: Kind::of(&path),
                static_part: feature.static_part,
                limits: &self.options.limits,
            };
            let descriptor = folder.descriptor.as_fd();
            let Some(reading) = read_entry(descriptor, name, *entry, how, &mut buffers.read) else {
                continue;
            };
            self.progress.files.fetch_add(1, Relaxed);
            self.progress.bytes.fetch_add(reading.size, Relaxed);
            observations.push(observation(path, reading));
        }
        feature.record(observations);
    }

    fn is_ignored(&self, folder: &Folder, name: &CStr) -> bool {
        !self.options.ignore.is_empty()
            && path_of(folder, name).is_some_and(|path| self.options.ignore.is_match(&path))
    }

    fn finish_task(&self, feature: &Feature) {
        let mut found = lock(&feature.found);
        found.open_tasks -= 1;
        if found.open_tasks == 0 {
            let scanned = std::mem::take(&mut found.scanned);
            drop(found);
            (self.done)(feature.place, scanned);
        }
    }
}

fn path_of(folder: &Folder, name: &CStr) -> Option<RelPath> {
    RelPath::new([&folder.prefix, name.to_bytes()].concat()).ok()
}

fn observation(path: RelPath, reading: Reading) -> Observation {
    Observation {
        path,
        size_bytes: reading.size,
        state: reading.state,
        wp_id: reading.wp_id,
        signature: reading.signature,
        racy: reading.racy,
    }
}

/// A panic of one thread is passed on by the scope; until then the others' data are sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The threads that read files for the engine, which itself never waits for one.
//!
//! As many as there are cores look at small files; one more reads large ones, so that a file of
//! gigabytes delays nothing else, and another what is only read to be sure of it. The queue is bounded
//! by what the engine has in flight, which is at most one look per path.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::process::setpriority_process;

use super::inbox::{Inbox, ProjectId};
use super::project::is_not_a_directory;
use crate::core::artifact::FileSignature;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::sync::lock;
use crate::project::{FeatureDir, Project};
use crate::scan::{PathState, ReadLimit, ScanLimits, check_path, is_resource_exhausted};

/// Files up to this size are read on the fast lane.
const MAX_FAST_FILE_BYTES: u64 = 8 << 20;
const FAST_BUFFER_BYTES: usize = 128 << 10;
const SLOW_BUFFER_BYTES: usize = 1 << 20;

/// A path to look at.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: ProjectId,
    pub(super) project: Arc<Project>,
    pub(super) feature: FeatureDir,
    pub(super) path: RelPath,
    /// What it was last read under; `None` to read it whatever it is now.
    pub(super) known: Option<FileSignature>,
    pub(super) limits: ScanLimits,
    /// Whether it is only read to be sure of what is known: no one waits for that.
    pub(super) verify_only: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) id: ProjectId,
    pub(super) slug: FeatureSlug,
    pub(super) path: RelPath,
    pub(super) look: PathState,
    /// Whether it was only read to be sure.
    pub(super) verify_only: bool,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: Mutex<(VecDeque<Job>, bool)>,
    wake: Condvar,
}

/// The pool.
#[derive(Debug)]
pub(super) struct Pool {
    fast: Arc<Queue>,
    slow: Arc<Queue>,
    idle: Arc<Queue>,
}

impl Pool {
    /// Starts the threads, whose results go to `inbox`.
    pub(super) fn start(inbox: &Arc<Inbox>) -> Self {
        let [fast, slow, idle] = [(); 3].map(|()| Arc::new(Queue::default()));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores {
            let (inbox, fast, slow) = (Arc::clone(inbox), Arc::clone(&fast), Arc::clone(&slow));
            std::thread::spawn(move || {
                work(
                    &inbox,
                    &fast,
                    ReadLimit::UpTo(MAX_FAST_FILE_BYTES),
                    FAST_BUFFER_BYTES,
                    Some(&slow),
                );
            });
        }
        let (for_slow, queue) = (Arc::clone(inbox), Arc::clone(&slow));
        std::thread::spawn(move || {
            work(&for_slow, &queue, ReadLimit::Unlimited, SLOW_BUFFER_BYTES, None)
        });
        let (for_idle, queue) = (Arc::clone(inbox), Arc::clone(&idle));
        std::thread::spawn(move || {
            // Of this thread only, as Linux has it; where that fails it is no worse than others.
            let _ = setpriority_process(None, 19);
            work(&for_idle, &queue, ReadLimit::Unlimited, FAST_BUFFER_BYTES, None);
        });
        Self { fast, slow, idle }
    }

    /// Looks at a path; what is only read to be sure, when nothing else wants the processor.
    pub(super) fn submit(&self, job: Job) {
        if job.verify_only { self.idle.push(job) } else { self.fast.push(job) }
    }

    /// Ends the threads, each when it has read the file that it is at. No one waits for that, as it
    /// may be one of gigabytes; what is not begun is left.
    pub(super) fn stop(self) {
        self.fast.end();
        self.slow.end();
        self.idle.end();
    }
}

impl Queue {
    fn push(&self, job: Job) {
        lock(&self.jobs).0.push_back(job);
        self.wake.notify_one();
    }

    fn end(&self) {
        lock(&self.jobs).1 = true;
        self.wake.notify_all();
    }

    /// The next job; when there is none yet, `read` is let go of, and the queue's own room.
    fn pop(&self, read: &mut Vec<u8>) -> Option<Job> {
        let mut jobs = lock(&self.jobs);
        loop {
            if jobs.1 {
                return None;
            }
            if let Some(job) = jobs.0.pop_front() {
                return Some(job);
            }
            *read = Vec::new();
            jobs.0.shrink_to_fit();
            jobs = self.wake.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn work(inbox: &Inbox, queue: &Queue, lane: ReadLimit, buffer: usize, slow: Option<&Queue>) {
    // Made when a file comes, and let go of when none is left: idle threads hold no memory.
    let mut read = Vec::new();
    while let Some(job) = queue.pop(&mut read) {
        read.resize(buffer, 0);
        let look = match job.project.open_feature(&job.feature) {
            Ok(folder) => {
                check_path(folder, &job.path, job.known.as_ref(), lane, &job.limits, &mut read)
            }
            Err(error) if is_resource_exhausted(&error) => PathState::OutOfResources,
            // The project notices that its feature is gone; its files are.
            Err(error) if is_not_a_directory(&error) => PathState::Missing,
            // It notices that it cannot be read, too; then what is known stands.
            Err(_) => PathState::Unchanged,
        };
        match (look, slow) {
            (PathState::TooLarge, Some(slow)) => slow.push(job),
            (look, _) => {
                let (slug, verify_only) = (job.feature.slug, job.verify_only);
                inbox.done(Done { id: job.id, slug, path: job.path, look, verify_only });
            }
        }
    }
}

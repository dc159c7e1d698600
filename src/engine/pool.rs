//! Threads that check files for the engine: they stat a path and hash it if it changed.
//!
//! One thread per core reads files up to [`MAX_FAST_FILE_BYTES`]; one thread reads larger files, so
//! that a file of gigabytes delays no other; one thread with the lowest priority reads for the
//! scrub. The queues have no limit of their own: the engine has no more than one check per path
//! and one portion of the scrub in flight.
//!
//! Directory listings and metadata are not read here but on the engine thread.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rustix::process::setpriority_process;

use super::inbox::{Inbox, ProjectId};
use super::project::is_not_a_directory;
use crate::core::artifact::FileSignature;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::sync::lock;
use crate::project::{FeatureDir, Project};
use crate::scan::{PathState, ReadLimit, ScanLimits, check_path, is_resource_exhausted};

/// Largest file, in bytes, that the fast threads read; larger files go to the slow thread.
const MAX_FAST_FILE_BYTES: u64 = 8 << 20;
/// Size of the read buffer of the fast threads and of the scrub thread.
const FAST_BUFFER_BYTES: usize = 128 << 10;
/// Size of the read buffer of the slow thread.
const SLOW_BUFFER_BYTES: usize = 1 << 20;

/// A path to check.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: ProjectId,
    pub(super) project: Arc<Project>,
    pub(super) feature: FeatureDir,
    pub(super) path: RelPath,
    /// Signature at the last read. The file is not read if it still matches; `None` forces a read.
    pub(super) known: Option<FileSignature>,
    pub(super) limits: ScanLimits,
    /// True if the read only verifies known content; no client waits for it.
    pub(super) verify_only: bool,
}

/// The result of a check.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) id: ProjectId,
    pub(super) slug: FeatureSlug,
    pub(super) path: RelPath,
    pub(super) look: PathState,
    /// True if the read only verified known content.
    pub(super) verify_only: bool,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    is_stopped: bool,
}

/// Handles of the queues; the threads end when [`Pool::stop`] is called.
#[derive(Debug)]
pub(super) struct Pool {
    fast: Arc<Queue>,
    slow: Arc<Queue>,
    idle: Arc<Queue>,
}

impl Pool {
    /// Starts the threads. They send their results to `inbox`.
    ///
    /// # Errors
    /// The system refuses to create a thread.
    pub(super) fn start(inbox: &Arc<Inbox>) -> io::Result<Self> {
        let [fast, slow, idle] = [(); 3].map(|()| Arc::new(Queue::default()));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for number in 0..cores {
            let (inbox, fast, slow) = (Arc::clone(inbox), Arc::clone(&fast), Arc::clone(&slow));
            spawn(&format!("hash-{number}"), move || {
                let limit = ReadLimit::UpTo(MAX_FAST_FILE_BYTES);
                work(&inbox, &fast, limit, FAST_BUFFER_BYTES, Some(&slow));
            })?;
        }
        let (slow_inbox, slow_queue) = (Arc::clone(inbox), Arc::clone(&slow));
        spawn("hash-slow", move || {
            work(&slow_inbox, &slow_queue, ReadLimit::Unlimited, SLOW_BUFFER_BYTES, None);
        })?;
        let (idle_inbox, idle_queue) = (Arc::clone(inbox), Arc::clone(&idle));
        spawn("hash-idle", move || {
            // On Linux the priority belongs to the calling thread. Without it the scrub only
            // competes with the other threads for the processor.
            let _ = setpriority_process(None, 19);
            work(&idle_inbox, &idle_queue, ReadLimit::Unlimited, FAST_BUFFER_BYTES, None);
        })?;
        Ok(Self { fast, slow, idle })
    }

    /// Queues a check. One that only verifies runs with the lowest priority.
    pub(super) fn submit(&self, job: Job) {
        if job.verify_only { self.idle.push(job) } else { self.fast.push(job) }
    }

    /// Ends the threads and drops queued jobs.
    ///
    /// Does not wait: each thread first finishes the file it reads, which may have gigabytes.
    pub(super) fn stop(self) {
        self.fast.stop();
        self.slow.stop();
        self.idle.stop();
    }
}

impl Queue {
    fn push(&self, job: Job) {
        lock(&self.state).jobs.push_back(job);
        self.wake.notify_one();
    }

    fn stop(&self) {
        lock(&self.state).is_stopped = true;
        self.wake.notify_all();
    }

    /// Waits for the next job; returns `None` after [`Queue::stop`].
    ///
    /// Before it waits it frees `buffer` and the capacity of the queue, so idle threads hold no
    /// memory.
    fn pop(&self, buffer: &mut Vec<u8>) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            if state.is_stopped {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            *buffer = Vec::new();
            state.jobs.shrink_to_fit();
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(work)
}

/// Runs the jobs of `queue` until it is stopped. Files above `limit` are passed on to `slow`.
fn work(inbox: &Inbox, queue: &Queue, limit: ReadLimit, buffer_bytes: usize, slow: Option<&Queue>) {
    let mut buffer = Vec::new();
    while let Some(job) = queue.pop(&mut buffer) {
        buffer.resize(buffer_bytes, 0);
        let look = match job.project.open_feature(&job.feature) {
            Ok(dir) => {
                check_path(dir, &job.path, job.known.as_ref(), limit, &job.limits, &mut buffer)
            }
            Err(error) if is_resource_exhausted(&error) => PathState::OutOfResources,
            // The engine finds out by itself that the feature was removed; its files are missing.
            Err(error) if is_not_a_directory(&error) => PathState::Missing,
            // The same for a feature that cannot be read; its known files then stay as they are.
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

//! Threads that check files for the engine: they stat a path and hash it if it changed.
//!
//! One thread per core reads files up to [`MAX_FAST_FILE_BYTES`]; one thread reads larger files, so
//! that a file of gigabytes delays no other; one thread with the lowest priority reads for the
//! scrub. The queues have no limit of their own: the engine has no more than one check per path and
//! one portion of the scrub in flight.
//!
//! Directory listings and metadata are not read here but on the engine thread.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rustix::process::setpriority_process;

use crate::core::sync::lock;
use crate::engine::messages::{FileJob, FileResult};
use crate::scan::{
    PathState, ReadLimit, check_path, is_not_a_directory, is_resource_exhausted, is_stale,
};

/// Largest file, in bytes, that the fast threads read; larger files go to the slow thread.
const MAX_FAST_FILE_BYTES: u64 = 8 << 20;
/// Size of the read buffer of the fast threads and of the scrub thread.
const FAST_BUFFER_BYTES: usize = 128 << 10;
/// Size of the read buffer of the slow thread.
const SLOW_BUFFER_BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    jobs: VecDeque<FileJob>,
    is_stopped: bool,
}

/// Handles of the queues; the threads end when [`HashPool::stop`] is called.
#[derive(Debug)]
pub(in crate::engine) struct HashPool {
    fast: Arc<Queue>,
    slow: Arc<Queue>,
    idle: Arc<Queue>,
}

impl HashPool {
    /// Starts the threads. They call `report` with each result.
    ///
    /// # Errors
    /// The system refuses to create a thread.
    pub(in crate::engine) fn start(
        report: impl Fn(FileResult) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let [fast, slow, idle] = [(); 3].map(|()| Arc::new(Queue::default()));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for number in 0..cores {
            let (report, fast, slow) = (report.clone(), Arc::clone(&fast), Arc::clone(&slow));
            spawn(&format!("hash-{number}"), move || {
                let limit = ReadLimit::UpTo(MAX_FAST_FILE_BYTES);
                work(&report, &fast, limit, FAST_BUFFER_BYTES, Some(&slow));
            })?;
        }
        let (slow_report, slow_queue) = (report.clone(), Arc::clone(&slow));
        spawn("hash-slow", move || {
            work(&slow_report, &slow_queue, ReadLimit::Unlimited, SLOW_BUFFER_BYTES, None);
        })?;
        let idle_queue = Arc::clone(&idle);
        spawn("hash-idle", move || {
            // On Linux the priority belongs to the calling thread. Without it the scrub only
            // competes with the other threads for the processor.
            let _ = setpriority_process(None, 19);
            work(&report, &idle_queue, ReadLimit::Unlimited, FAST_BUFFER_BYTES, None);
        })?;
        Ok(Self { fast, slow, idle })
    }

    /// Queues a check. One that only verifies runs with the lowest priority.
    pub(in crate::engine) fn submit(&self, job: FileJob) {
        if job.verify_only { self.idle.push(job) } else { self.fast.push(job) }
    }

    /// Ends the threads and drops queued jobs.
    ///
    /// Does not wait: each thread first finishes the file it reads, which may have gigabytes.
    pub(in crate::engine) fn stop(self) {
        self.fast.stop();
        self.slow.stop();
        self.idle.stop();
    }
}

impl Queue {
    fn push(&self, job: FileJob) {
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
    fn pop(&self, buffer: &mut Vec<u8>) -> Option<FileJob> {
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
fn work(
    report: &impl Fn(FileResult),
    queue: &Queue,
    limit: ReadLimit,
    buffer_bytes: usize,
    slow: Option<&Queue>,
) {
    let mut buffer = Vec::new();
    while let Some(job) = queue.pop(&mut buffer) {
        buffer.resize(buffer_bytes, 0);
        let expected = job.expected.as_ref();
        let state = match job.project.open_feature(&job.feature) {
            Ok(dir) => check_path(dir, &job.path, expected, limit, &job.limits, &mut buffer),
            Err(error) if is_resource_exhausted(&error) => PathState::OutOfResources,
            Err(error) if is_stale(&error) => PathState::RootReplaced,
            // The engine finds out by itself that the feature was removed; its files are missing.
            Err(error) if is_not_a_directory(&error) => PathState::Missing,
            // The same for a feature that cannot be read; its known files then stay as they are.
            Err(_) => PathState::Unchanged,
        };
        match (state, slow) {
            (PathState::TooLarge, Some(slow)) => slow.push(job),
            (state, _) => {
                let FileJob { id, tag, feature, path, verify_only, .. } = job;
                report(FileResult { id, tag, slug: feature.slug, path, state, verify_only });
            }
        }
    }
}

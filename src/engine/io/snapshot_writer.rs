//! Decides when `snapshot-latest.json` files are written, which the threads of `call_pool` do.
//!
//! Each feature's file is written at most once per [`WRITE_INTERVAL`]; the newest snapshot wins.
//! The files can be rebuilt at any time, so a failed write is reported to the project and retried
//! there; it never stops the engine.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::warn;

use super::call_pool::{CallPool, Lane};
use crate::core::path::FeatureSlug;
use crate::core::sync::lock;
use crate::engine::ids::ProjectId;
use crate::engine::messages::{SnapshotJob, SnapshotWritten};
use crate::project::WriteError;

/// Minimum time between two writes of the same file.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// Handle of the thread.
#[derive(Debug)]
pub(in crate::engine) struct SnapshotWriter {
    jobs: mpsc::Sender<SnapshotJob>,
    thread: JoinHandle<()>,
}

/// A snapshot file could not be written.
#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error("cannot serialize the snapshot: {0}")]
    Serialize(#[from] serde_json::Error),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl SnapshotWriter {
    /// Starts the thread that decides when a file is written; `pool` writes it. Failures, and the first
    /// success after one, are reported to the engine.
    ///
    /// # Errors
    /// The system refuses to create a thread.
    pub(in crate::engine) fn start(
        pool: CallPool,
        report: impl Fn(SnapshotWritten) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (jobs, received) = mpsc::channel();
        let files = Arc::new(Files { report: Box::new(report), failed: Mutex::default() });
        let thread = std::thread::Builder::new()
            .name("snapshots".to_owned())
            .spawn(move || run(&received, &pool, &files))?;
        Ok(Self { jobs, thread })
    }

    /// Queues a snapshot.
    pub(in crate::engine) fn write(&self, job: SnapshotJob) {
        // Cannot fail: the thread runs until this sender is dropped.
        let _ = self.jobs.send(job);
    }

    /// Passes the queued snapshots to the pool and ends the thread.
    pub(in crate::engine) fn stop(self) {
        drop(self.jobs);
        let _ = self.thread.join();
    }
}

/// The feature whose file is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Target {
    id: ProjectId,
    slug: FeatureSlug,
}

impl Target {
    fn of(job: &SnapshotJob) -> Self {
        Self { id: job.id, slug: job.view.slug().clone() }
    }
}

fn run(received: &mpsc::Receiver<SnapshotJob>, pool: &CallPool, files: &Arc<Files>) {
    let mut pending: HashMap<Target, SnapshotJob> = HashMap::new();
    let mut written_at: HashMap<Target, Instant> = HashMap::new();
    loop {
        #[cfg(debug_assertions)]
        crate::engine::failpoint::panic_if_requested();
        let now = Instant::now();
        // What is older does not affect when a file may be written.
        written_at.retain(|_, at| now.duration_since(*at) < WRITE_INTERVAL);
        let is_due = |target: &&Target| !written_at.contains_key(*target);
        let ready: Vec<Target> = pending.keys().filter(is_due).cloned().collect();
        for target in ready {
            if let Some(job) = pending.remove(&target) {
                submit(pool, files, job);
                written_at.insert(target, now);
            }
        }
        let due = |target: &Target| written_at.get(target).map(|at| *at + WRITE_INTERVAL);
        let job = match pending.keys().filter_map(due).min() {
            Some(next) => received.recv_timeout(next.saturating_duration_since(now)),
            None => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match job {
            Ok(job) => {
                pending.insert(Target::of(&job), job);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for job in pending.into_values() {
        submit(pool, files, job);
    }
}

fn submit(pool: &CallPool, files: &Arc<Files>, job: SnapshotJob) {
    let (id, files) = (job.id, Arc::clone(files));
    pool.submit(Lane::Snapshot, id, None, Box::new(move |_| files.write(&job)));
}

/// What is known of the files.
struct Files {
    report: Box<dyn Fn(SnapshotWritten) + Send + Sync>,
    /// Those that could not be written.
    failed: Mutex<HashSet<Target>>,
}

impl Files {
    fn write(&self, job: &SnapshotJob) {
        let target = Target::of(job);
        let error = write(job).err().map(|error| error.to_string());
        job.project.close_root_fd();
        let failed_before = match &error {
            Some(_) => !lock(&self.failed).insert(target.clone()),
            None => lock(&self.failed).remove(&target),
        };
        if let Some(error) = error.as_ref().filter(|_| !failed_before) {
            warn!(feature = %target.slug, error, "cannot write the snapshot file");
        }
        if error.is_some() || failed_before {
            let Target { id, slug } = target;
            (self.report)(SnapshotWritten { id, slug, error });
        }
    }
}

/// Writes a snapshot unless the file already contains it.
fn write(job: &SnapshotJob) -> Result<(), SnapshotError> {
    // Not cached in the view: possibly no client ever requests it.
    let feature = job.view.make_feature();
    if job.project.is_snapshot_current(&feature.snapshot) {
        return Ok(());
    }
    let mut text = serde_json::to_vec(&*feature.snapshot)?;
    text.push(b'\n');
    Ok(job.project.write_snapshot(job.view.slug(), &text)?)
}

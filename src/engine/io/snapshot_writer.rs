//! Writes `snapshot-latest.json` files on its own thread.
//!
//! Each feature's file is written at most once per [`WRITE_INTERVAL`]; the newest snapshot wins.
//! The files can be rebuilt at any time, so a failed write is reported to the project and retried
//! there; it never stops the engine.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::core::path::FeatureSlug;
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
    /// Starts the thread. It reports failures, and the first success after one, to the engine.
    ///
    /// # Errors
    /// The system refuses to create a thread.
    pub(in crate::engine) fn start(
        report: impl Fn(SnapshotWritten) + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, received) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("snapshots".to_owned())
            .spawn(move || run(&received, &report))?;
        Ok(Self { jobs, thread })
    }

    /// Queues a snapshot.
    pub(in crate::engine) fn write(&self, job: SnapshotJob) {
        // Cannot fail: the thread runs until this sender is dropped.
        let _ = self.jobs.send(job);
    }

    /// Writes the queued snapshots and ends the thread.
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

fn run(received: &mpsc::Receiver<SnapshotJob>, report: &impl Fn(SnapshotWritten)) {
    let mut pending: HashMap<Target, SnapshotJob> = HashMap::new();
    let mut written_at: HashMap<Target, Instant> = HashMap::new();
    let mut failed: HashSet<Target> = HashSet::new();
    let due = |written_at: &HashMap<Target, Instant>, target: &Target, now: Instant| {
        written_at.get(target).map_or(now, |at| *at + WRITE_INTERVAL)
    };
    loop {
        let now = Instant::now();
        let is_due = |target: &&Target| due(&written_at, target, now) <= now;
        let ready: Vec<Target> = pending.keys().filter(is_due).cloned().collect();
        for target in ready {
            let Some(job) = pending.remove(&target) else {
                continue;
            };
            let fault = write(&job).err().map(|error| error.to_string());
            job.project.close_root_fd();
            let failed_before = if fault.is_some() {
                !failed.insert(target.clone())
            } else {
                failed.remove(&target)
            };
            if let Some(error) = fault.as_ref().filter(|_| !failed_before) {
                warn!(feature = %target.slug, error, "cannot write the snapshot file");
            }
            if fault.is_some() || failed_before {
                let Target { id, slug } = target.clone();
                report(SnapshotWritten { id, slug, error: fault });
            }
            written_at.insert(target, Instant::now());
        }
        let next = pending.keys().map(|target| due(&written_at, target, now)).min();
        let job = match next {
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
    for job in pending.values() {
        if let Err(error) = write(job) {
            warn!(feature = %job.view.slug(), %error, "cannot write the snapshot file");
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

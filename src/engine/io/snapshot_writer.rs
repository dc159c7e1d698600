//! Decides when `snapshot-latest.json` files are written, which the threads of `call_pool` do.
//!
//! Each feature's file is written at most once a second, and only when its state has not changed for a
//! moment (`snapshot_schedule`): a tree that is edited and then removed is gone by then. The newest snapshot
//! wins. The files can be rebuilt at any time, so a failed write is reported to the project and retried
//! there; it never stops the engine.

use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use tracing::warn;

use super::call_pool::{CallPool, Lane};
use super::snapshot_schedule::SnapshotSchedule;
use crate::core::path::FeatureSlug;
use crate::core::sync::lock;
use crate::engine::ids::ProjectId;
use crate::engine::messages::{SnapshotJob, SnapshotWritten};
use crate::project::{SnapshotWrite, WriteError};

/// Handle of the thread.
#[derive(Debug)]
pub(in crate::engine) struct SnapshotWriter {
    messages: mpsc::Sender<Message>,
    thread: JoinHandle<()>,
}

/// A message to the thread.
enum Message {
    Write(SnapshotJob),
    /// A file was missing where it had been written: it is written after a pause, if no newer one is.
    Postponed(SnapshotJob),
    Stop,
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
        let (messages, received) = mpsc::channel();
        let files = Arc::new(Files {
            report: Box::new(report),
            failed: Mutex::default(),
            messages: messages.clone(),
        });
        let thread = std::thread::Builder::new()
            .name("snapshots".to_owned())
            .spawn(move || run(&received, &pool, &files))?;
        Ok(Self { messages, thread })
    }

    /// Queues a snapshot.
    pub(in crate::engine) fn write(&self, job: SnapshotJob) {
        // Cannot fail: the thread runs until it is stopped.
        let _ = self.messages.send(Message::Write(job));
    }

    /// Passes the queued snapshots to the pool and ends the thread.
    pub(in crate::engine) fn stop(self) {
        let _ = self.messages.send(Message::Stop);
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

fn run(received: &mpsc::Receiver<Message>, pool: &CallPool, files: &Arc<Files>) {
    let mut schedule = SnapshotSchedule::default();
    loop {
        #[cfg(debug_assertions)]
        crate::engine::failpoint::panic_if_requested();
        for job in schedule.take_due(Instant::now()) {
            submit(pool, files, job);
        }
        let message = match schedule.next_due() {
            Some(due) => received.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match message {
            Ok(Message::Write(job)) => schedule.add(Target::of(&job), job, Instant::now()),
            Ok(Message::Postponed(job)) => {
                schedule.postpone(Target::of(&job), job, Instant::now());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for job in schedule.into_jobs() {
        submit(pool, files, job);
    }
}

fn submit(pool: &CallPool, files: &Arc<Files>, job: SnapshotJob) {
    let (id, files) = (job.id, Arc::clone(files));
    pool.submit(Lane::Snapshot, id, None, Box::new(move |_| files.write(job)));
}

/// What is known of the files.
struct Files {
    report: Box<dyn Fn(SnapshotWritten) + Send + Sync>,
    /// Those that could not be written.
    failed: Mutex<HashSet<Target>>,
    messages: mpsc::Sender<Message>,
}

impl Files {
    fn write(&self, job: SnapshotJob) {
        let target = Target::of(&job);
        let written = write(&job);
        job.project.close_root_fd();
        if let Ok(SnapshotWrite::Postponed) = written {
            // Cannot be received only after the thread has ended, when the file is not needed.
            let _ = self.messages.send(Message::Postponed(job));
            return;
        }
        let error = written.err().map(|error| error.to_string());
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
fn write(job: &SnapshotJob) -> Result<SnapshotWrite, SnapshotError> {
    // Not cached in the view: possibly no client ever requests it.
    let feature = job.view.make_feature();
    if job.project.is_snapshot_current(&feature.snapshot, &job.dirs) {
        return Ok(SnapshotWrite::Done);
    }
    let mut text = serde_json::to_vec(&*feature.snapshot)?;
    text.push(b'\n');
    Ok(job.project.write_snapshot(&job.view.dir, &text, &job.dirs)?)
}

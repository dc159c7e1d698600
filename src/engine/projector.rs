//! Writes `snapshot-latest.json` files: what can be made again at any time.
//!
//! One thread, at most one write a second per feature, the newest wins. It owns nothing; a failure
//! is a fault of the project, which is told of it, never one of the engine.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::warn;

use super::inbox::{Inbox, Projected};
use super::view::FeatureView;
use crate::core::path::FeatureSlug;
use crate::project::Project;

const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// A snapshot to write.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) project: Arc<Project>,
    pub(super) view: Arc<FeatureView>,
}

/// The projector's thread.
#[derive(Debug)]
pub(super) struct Projector {
    jobs: mpsc::Sender<Page>,
    thread: JoinHandle<()>,
}

impl Projector {
    pub(super) fn start(engine: Arc<Inbox>) -> Self {
        let (jobs, inbox) = mpsc::channel();
        Self { jobs, thread: std::thread::spawn(move || run(&inbox, &engine)) }
    }

    pub(super) fn write(&self, job: Page) {
        // The thread ends only after this sender is gone.
        let _ = self.jobs.send(job);
    }

    /// Writes what is left, and ends.
    pub(super) fn stop(self) {
        drop(self.jobs);
        let _ = self.thread.join();
    }
}

type Place = (String, FeatureSlug);

fn run(inbox: &mpsc::Receiver<Page>, engine: &Inbox) {
    let mut pending: HashMap<Place, Page> = HashMap::new();
    let mut written: HashMap<Place, Instant> = HashMap::new();
    let mut failed: HashSet<Place> = HashSet::new();
    loop {
        let now = Instant::now();
        let ready: Vec<Place> =
            pending.keys().filter(|target| due(&written, target, now) <= now).cloned().collect();
        for target in ready {
            if let Some(job) = pending.remove(&target) {
                let fault = write(&job).err();
                job.project.close_root_fd();
                let failed_before = if fault.is_some() {
                    !failed.insert(target.clone())
                } else {
                    failed.remove(&target)
                };
                if let Some(why) = fault.as_ref().filter(|_| !failed_before) {
                    warn!(feature = %target.1, why, "the snapshot file cannot be written");
                }
                if fault.is_some() || failed_before {
                    let (root_id, slug) = target.clone();
                    engine.projected(Projected { root_id, slug, fault });
                }
                written.insert(target, Instant::now());
            }
        }
        let next = pending.keys().map(|target| due(&written, target, now)).min();
        let received = match next {
            Some(next) => inbox.recv_timeout(next.saturating_duration_since(now)),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(job) => {
                let target = (job.project.root_id.clone(), job.view.slug().clone());
                pending.insert(target, job);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for job in pending.values() {
        if let Err(why) = write(job) {
            warn!(feature = %job.view.slug(), why, "the snapshot file cannot be written");
        }
    }
}

fn due(written: &HashMap<Place, Instant>, target: &Place, now: Instant) -> Instant {
    written.get(target).map_or(now, |at| *at + WRITE_INTERVAL)
}

/// Writes a snapshot unless the file has it, or says why that cannot be.
fn write(job: &Page) -> Result<(), String> {
    // Not kept in the view: no one may ever ask for it.
    let feature = job.view.make_feature();
    if job.project.is_snapshot_current(&feature.snapshot) {
        return Ok(());
    }
    let mut text = serde_json::to_vec(&*feature.snapshot).map_err(|error| error.to_string())?;
    text.push(b'\n');
    job.project.write_snapshot(job.view.slug(), &text).map_err(|error| error.to_string())
}

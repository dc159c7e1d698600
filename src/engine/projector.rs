//! Writes `snapshot-latest.json` files on its own thread.
//!
//! Each feature's file is written at most once per [`WRITE_INTERVAL`]; the newest snapshot wins.
//! The files can be rebuilt at any time, so a failed write is reported to the project and retried
//! there; it never stops the engine.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::warn;

use super::inbox::{Inbox, Projected};
use super::view::FeatureView;
use crate::core::path::FeatureSlug;
use crate::project::{Project, WriteError};

/// Minimum time between two writes of the same file.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// A snapshot to write.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) project: Arc<Project>,
    pub(super) view: Arc<FeatureView>,
}

/// Handle of the thread.
#[derive(Debug)]
pub(super) struct Projector {
    pages: mpsc::Sender<Page>,
    thread: JoinHandle<()>,
}

/// A snapshot file could not be written.
#[derive(Debug, thiserror::Error)]
enum ProjectionError {
    #[error("cannot serialize the snapshot: {0}")]
    Serialize(#[from] serde_json::Error),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Projector {
    /// Starts the thread. It reports failures, and the first success after one, to the engine.
    ///
    /// # Errors
    /// The system refuses to create a thread.
    pub(super) fn start(engine: Arc<Inbox>) -> io::Result<Self> {
        let (pages, received) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("snapshots".to_owned())
            .spawn(move || run(&received, &engine))?;
        Ok(Self { pages, thread })
    }

    /// Queues a snapshot.
    pub(super) fn write(&self, page: Page) {
        // Cannot fail: the thread runs until this sender is dropped.
        let _ = self.pages.send(page);
    }

    /// Writes the queued snapshots and ends the thread.
    pub(super) fn stop(self) {
        drop(self.pages);
        let _ = self.thread.join();
    }
}

/// The feature whose file is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Target {
    root_id: String,
    slug: FeatureSlug,
}

impl Target {
    fn of(page: &Page) -> Self {
        Self { root_id: page.project.root_id.clone(), slug: page.view.slug().clone() }
    }
}

fn run(received: &mpsc::Receiver<Page>, engine: &Inbox) {
    let mut pending: HashMap<Target, Page> = HashMap::new();
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
            let Some(page) = pending.remove(&target) else {
                continue;
            };
            let error = write(&page).err().map(|error| error.to_string());
            page.project.close_root_fd();
            let failed_before = if error.is_some() {
                !failed.insert(target.clone())
            } else {
                failed.remove(&target)
            };
            if let Some(error) = error.as_ref().filter(|_| !failed_before) {
                warn!(feature = %target.slug, error, "cannot write the snapshot file");
            }
            if error.is_some() || failed_before {
                let Target { root_id, slug } = target.clone();
                engine.projected(Projected { root_id, slug, error });
            }
            written_at.insert(target, Instant::now());
        }
        let next = pending.keys().map(|target| due(&written_at, target, now)).min();
        let page = match next {
            Some(next) => received.recv_timeout(next.saturating_duration_since(now)),
            None => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match page {
            Ok(page) => {
                pending.insert(Target::of(&page), page);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for page in pending.values() {
        if let Err(error) = write(page) {
            warn!(feature = %page.view.slug(), %error, "cannot write the snapshot file");
        }
    }
}

/// Writes a snapshot unless the file already contains it.
fn write(page: &Page) -> Result<(), ProjectionError> {
    // Not cached in the view: possibly no client ever requests it.
    let feature = page.view.make_feature();
    if page.project.is_snapshot_current(&feature.snapshot) {
        return Ok(());
    }
    let mut text = serde_json::to_vec(&*feature.snapshot)?;
    text.push(b'\n');
    Ok(page.project.write_snapshot(page.view.slug(), &text)?)
}

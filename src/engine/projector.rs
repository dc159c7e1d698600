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

const PAUSE: Duration = Duration::from_secs(1);

/// A snapshot to write.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) project: Arc<Project>,
    pub(super) view: Arc<FeatureView>,
}

/// The projector's thread.
#[derive(Debug)]
pub(super) struct Projector {
    pages: mpsc::Sender<Page>,
    thread: JoinHandle<()>,
}

impl Projector {
    pub(super) fn start(engine: Arc<Inbox>) -> Self {
        let (pages, inbox) = mpsc::channel();
        Self { pages, thread: std::thread::spawn(move || run(&inbox, &engine)) }
    }

    pub(super) fn write(&self, page: Page) {
        // The thread ends only after this sender is gone.
        let _ = self.pages.send(page);
    }

    /// Writes what is left, and ends.
    pub(super) fn stop(self) {
        drop(self.pages);
        let _ = self.thread.join();
    }
}

type Place = (String, FeatureSlug);

fn run(inbox: &mpsc::Receiver<Page>, engine: &Inbox) {
    let mut waiting: HashMap<Place, Page> = HashMap::new();
    let mut written: HashMap<Place, Instant> = HashMap::new();
    let mut failed: HashSet<Place> = HashSet::new();
    loop {
        let now = Instant::now();
        let ready: Vec<Place> =
            waiting.keys().filter(|place| due(&written, place, now) <= now).cloned().collect();
        for place in ready {
            if let Some(page) = waiting.remove(&place) {
                let fault = write(&page).err();
                page.project.close_root_fd();
                let failed_before = if fault.is_some() {
                    !failed.insert(place.clone())
                } else {
                    failed.remove(&place)
                };
                if let Some(why) = fault.as_ref().filter(|_| !failed_before) {
                    warn!(feature = %place.1, why, "the snapshot file cannot be written");
                }
                if fault.is_some() || failed_before {
                    let (root_id, slug) = place.clone();
                    engine.projected(Projected { root_id, slug, fault });
                }
                written.insert(place, Instant::now());
            }
        }
        let next = waiting.keys().map(|place| due(&written, place, now)).min();
        let received = match next {
            Some(next) => inbox.recv_timeout(next.saturating_duration_since(now)),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(page) => {
                let place = (page.project.root_id.clone(), page.view.slug().clone());
                waiting.insert(place, page);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for page in waiting.values() {
        if let Err(why) = write(page) {
            warn!(feature = %page.view.slug(), why, "the snapshot file cannot be written");
        }
    }
}

fn due(written: &HashMap<Place, Instant>, place: &Place, now: Instant) -> Instant {
    written.get(place).map_or(now, |at| *at + PAUSE)
}

/// Writes a snapshot unless the file has it, or says why that cannot be.
fn write(page: &Page) -> Result<(), String> {
    // Not kept in the view: no one may ever ask for it.
    let feature = page.view.make_feature();
    if page.project.is_snapshot_current(&feature.snapshot) {
        return Ok(());
    }
    let mut text = serde_json::to_vec(&*feature.snapshot).map_err(|error| error.to_string())?;
    text.push(b'\n');
    page.project.write_snapshot(page.view.slug(), &text).map_err(|error| error.to_string())
}

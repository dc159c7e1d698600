//! Writes `snapshot-latest.json` files: what can be made again at any time.
//!
//! One thread, at most one write a second per feature, the newest wins. It owns nothing; a failure
//! is a fault of the project and is logged, never one of the engine.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
    pub(super) fn start() -> Self {
        let (pages, inbox) = mpsc::channel();
        Self { pages, thread: std::thread::spawn(move || run(&inbox)) }
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

fn run(inbox: &mpsc::Receiver<Page>) {
    let mut waiting: HashMap<Place, Page> = HashMap::new();
    let mut written: HashMap<Place, Instant> = HashMap::new();
    loop {
        let now = Instant::now();
        let ready: Vec<Place> =
            waiting.keys().filter(|place| due(&written, place, now) <= now).cloned().collect();
        for place in ready {
            if let Some(page) = waiting.remove(&place) {
                write(&page);
                page.project.release();
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
    waiting.values().for_each(write);
}

fn due(written: &HashMap<Place, Instant>, place: &Place, now: Instant) -> Instant {
    written.get(place).map_or(now, |at| *at + PAUSE)
}

fn write(page: &Page) {
    let slug = page.view.slug();
    // Not kept in the view: no one may ever ask for it.
    let feature = page.view.make_feature();
    if page.project.has_snapshot(&feature.snapshot) {
        return;
    }
    let mut text = match serde_json::to_vec(&*feature.snapshot) {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(feature = %slug, %error, "a snapshot cannot be written as JSON");
            return;
        }
    };
    text.push(b'\n');
    if let Err(error) = page.project.write_snapshot(slug, &text) {
        tracing::warn!(feature = %slug, %error, "the snapshot file cannot be written");
    }
}

//! The scrub: rereads all files slowly, to find changes that raise no inotify event and keep the
//! time stamps, such as writes through a memory mapping or corruption of the disk.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::{LiveProject, Now};
use crate::core::path::{FeatureSlug, RelPath};
use crate::engine::pool::{Done, Job, Pool};
use crate::scan::PathState;

/// Time between two portions of a scrub, at most. Portions let an idle daemon wake seldom.
const MAX_SCRUB_STEP: Duration = Duration::from_mins(1);

/// State of the scrub.
#[derive(Debug)]
pub(super) struct Scrub {
    /// Time in which all files are read once; `None` disables the scrub.
    period: Option<Duration>,
    next_at: Duration,
    /// The last file that was submitted.
    position: Option<Position>,
    /// Number of files of the current portion in flight; the next portion waits for them.
    in_flight: usize,
    /// Number of files found changed without an event.
    pub(super) detected: u64,
}

impl Scrub {
    pub(super) fn new(period: Option<Duration>, now: Duration) -> Self {
        let step = period.unwrap_or_default().min(MAX_SCRUB_STEP);
        Self { period, next_at: now + step, position: None, in_flight: 0, detected: 0 }
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.period.map(|_| self.next_at)
    }
}

/// A file in the order of feature and path.
#[derive(Debug)]
struct Position {
    slug: FeatureSlug,
    path: RelPath,
}

impl LiveProject {
    /// Submits the next portion if it is due.
    pub(super) fn scrub_next(&mut self, pool: &Pool, now: Now) {
        let Some(period) = self.scrub.period.filter(|_| self.scrub.next_at <= now.elapsed) else {
            return;
        };
        let step = period.min(MAX_SCRUB_STEP);
        self.scrub.next_at = now.elapsed + step;
        if self.scrub.in_flight > 0 {
            return;
        }
        let files: usize =
            self.features.values().map(|feature| feature.inventory.entries().len()).sum();
        let share = step.as_secs_f64() / period.as_secs_f64().max(f64::EPSILON);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the number of files is between 0 and all of them"
        )]
        let count = ((files as f64 * share).ceil() as usize).min(files);
        let mut position = self.scrub.position.take();
        for _ in 0..count {
            position = self.after(position.as_ref()).or_else(|| self.after(None));
            let Some(Position { slug, path }) = &position else {
                break;
            };
            self.scrub_one(slug, path.clone(), pool);
        }
        self.scrub.position = position;
    }

    /// Returns the file after `position`, or the first file.
    fn after(&self, position: Option<&Position>) -> Option<Position> {
        let Some(Position { slug, path }) = position else {
            return self.first_from(self.features.keys().next()?);
        };
        let path_of =
            |entry: &crate::core::inventory::InventoryEntry| entry.artifact.relative_path.clone();
        let next = self.features.get(slug).and_then(|feature| {
            feature.inventory.entries().range_from(path).map(path_of).find(|next| next > path)
        });
        match next {
            Some(next) => Some(Position { slug: slug.clone(), path: next }),
            None => {
                let after = (std::ops::Bound::Excluded(slug), std::ops::Bound::Unbounded);
                let next = self.features.range::<FeatureSlug, _>(after).next()?.0;
                self.first_from(next)
            }
        }
    }

    fn first_from(&self, slug: &FeatureSlug) -> Option<Position> {
        self.features.range(slug.clone()..).find_map(|(slug, feature)| {
            let first = feature.inventory.entries().iter().next()?;
            let path = first.artifact.relative_path.clone();
            Some(Position { slug: slug.clone(), path })
        })
    }

    fn scrub_one(&mut self, slug: &FeatureSlug, path: RelPath, pool: &Pool) {
        let Some(feature) = self.features.get(slug) else {
            return;
        };
        self.scrub.in_flight += 1;
        pool.submit(Job {
            id: self.setup.id,
            project: Arc::clone(&self.project),
            feature: feature.dir.clone(),
            path,
            known: None,
            limits: self.setup.limits,
            verify_only: true,
        });
    }

    /// Handles the result of a scrub read. A difference under the same signature is recorded at
    /// once, because no event will follow; any other difference is checked as after a hint.
    pub(super) fn on_scrub_result(&mut self, done: Done, now: Now) {
        self.scrub.in_flight = self.scrub.in_flight.saturating_sub(1);
        let root_is_missing = self.root.away.is_some();
        let Some(feature) = self.features.get_mut(&done.slug).filter(|_| !root_is_missing) else {
            return;
        };
        let Some(known) = feature.inventory.entries().get(&done.path) else {
            return;
        };
        match done.look {
            PathState::Read(seen) if seen.state == known.artifact.state => {}
            PathState::Read(seen) if feature.is_undetected_change(&seen) => {
                feature.set(seen, now.at, now.elapsed);
                self.active.insert(done.slug.clone());
                self.report_undetected_change(&done.slug, &done.path);
            }
            // The file is being written, or the process is out of resources: the next scrub reads
            // it.
            PathState::Unstable | PathState::OutOfResources => {}
            _ => {
                feature.settle.schedule_at(&done.path, now.elapsed);
                self.active.insert(done.slug);
            }
        }
    }

    /// Counts and logs a file that changed under the same signature.
    fn report_undetected_change(&mut self, slug: &FeatureSlug, path: &RelPath) {
        self.scrub.detected += 1;
        self.changed = true;
        let path = path.text();
        warn!(feature = %slug, %path, "scrub found a changed file that raised no inotify event");
    }
}

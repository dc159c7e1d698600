//! Reading everything again, slowly: what neither an event nor a file's times tell, as a write
//! through a mapping or a disk that forgot, is found at last.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::{LiveProject, Now};
use crate::core::path::{FeatureSlug, RelPath};
use crate::engine::pool::{Done, Job, Pool};
use crate::scan::PathState;

/// Files are read in portions, so that an idle daemon wakes seldom.
const MAX_SCRUB_STEP: Duration = Duration::from_mins(1);

/// Where the reading is.
#[derive(Debug)]
pub(super) struct Scrub {
    /// How long reading everything takes.
    period: Option<Duration>,
    next: Duration,
    /// The last file that was read.
    place: Option<(FeatureSlug, RelPath)>,
    /// How many of the portion are not read yet: the next one waits for them.
    under_way: usize,
    /// Files that were found to be other than what was known, though nothing told.
    pub(super) caught: u64,
}

impl Scrub {
    pub(super) fn new(period: Option<Duration>, now: Duration) -> Self {
        let step = period.unwrap_or_default().min(MAX_SCRUB_STEP);
        Self { period, next: now + step, place: None, under_way: 0, caught: 0 }
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.period.map(|_| self.next)
    }
}

impl LiveProject {
    /// Sends the next portion to be read.
    pub(super) fn scrub_next(&mut self, pool: &Pool, now: Now) {
        let Some(period) = self.scrub.period.filter(|_| self.scrub.next <= now.elapsed) else {
            return;
        };
        let step = period.min(MAX_SCRUB_STEP);
        self.scrub.next = now.elapsed + step;
        if self.scrub.under_way > 0 {
            return;
        }
        let files: usize =
            self.features.values().map(|feature| feature.inventory.entries().len()).sum();
        let share = step.as_secs_f64() / period.as_secs_f64().max(f64::EPSILON);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of files, between 0 and all of them"
        )]
        let count = ((files as f64 * share).ceil() as usize).min(files);
        let mut place = self.scrub.place.take();
        for _ in 0..count {
            place = self.after(place.as_ref()).or_else(|| self.after(None));
            let Some((slug, path)) = &place else {
                break;
            };
            self.scrub_one(slug, path.clone(), pool);
        }
        self.scrub.place = place;
    }

    /// The file that comes after one, in order of feature and path.
    fn after(&self, place: Option<&(FeatureSlug, RelPath)>) -> Option<(FeatureSlug, RelPath)> {
        let Some((slug, path)) = place else {
            return self.first_from(self.features.keys().next()?);
        };
        let path_of =
            |entry: &crate::core::inventory::InventoryEntry| entry.artifact.relative_path.clone();
        let next = self.features.get(slug).and_then(|feature| {
            feature.inventory.entries().range_from(path).map(path_of).find(|next| next > path)
        });
        match next {
            Some(next) => Some((slug.clone(), next)),
            None => {
                let after = (std::ops::Bound::Excluded(slug), std::ops::Bound::Unbounded);
                let next = self.features.range::<FeatureSlug, _>(after).next()?.0;
                self.first_from(next)
            }
        }
    }

    fn first_from(&self, slug: &FeatureSlug) -> Option<(FeatureSlug, RelPath)> {
        self.features.range(slug.clone()..).find_map(|(slug, feature)| {
            let first = feature.inventory.entries().iter().next()?;
            Some((slug.clone(), first.artifact.relative_path.clone()))
        })
    }

    fn scrub_one(&mut self, slug: &FeatureSlug, path: RelPath, pool: &Pool) {
        let Some(feature) = self.features.get(slug) else {
            return;
        };
        self.scrub.under_way += 1;
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

    /// Takes what a file is that was read again. What differs under the same signature no event
    /// will tell; all else is looked at as if one had.
    pub(super) fn on_scrub_result(&mut self, done: Done, now: Now) {
        self.scrub.under_way = self.scrub.under_way.saturating_sub(1);
        let away = self.root.away.is_some();
        let Some(feature) = self.features.get_mut(&done.slug).filter(|_| !away) else {
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
            // It is being written, or there was nothing left to read it with.
            PathState::Unstable | PathState::OutOfResources => {}
            _ => {
                feature.settle.schedule_at(&done.path, now.elapsed);
                self.active.insert(done.slug);
            }
        }
    }

    /// Takes note of a file that is other than what was known under the same signature.
    fn report_undetected_change(&mut self, slug: &FeatureSlug, path: &RelPath) {
        self.scrub.caught += 1;
        self.changed = true;
        let path = path.text();
        warn!(feature = %slug, %path, "reading again found a change that nothing had told of");
    }
}

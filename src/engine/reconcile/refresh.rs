//! When a project's metadata is read again, and how much of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::effect::EffectId;
use super::feature::OUT_OF_RESOURCES_PAUSE;
use crate::core::backoff::Backoff;
use crate::core::path::FeatureSlug;

/// Delay between a change of metadata and reading it, in which other changes join.
const READ_DELAY: Duration = Duration::from_millis(20);
/// After a read, hints wait this many times as long as it took, so that files that change all the
/// time do not keep a processor busy.
const PAUSE_PER_COST: u32 = 10;
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Pauses after failures.
const RETRY_PAUSE_MIN: Duration = OUT_OF_RESOURCES_PAUSE;
const RETRY_PAUSE_MAX: Duration = Duration::from_mins(1);

/// Pauses while an archived feature is not indexed.
const ARCHIVE_PAUSE_MIN: Duration = Duration::from_millis(20);
const ARCHIVE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A file that is being written.
#[derive(Debug, Clone, Copy)]
struct Unsettled {
    /// When it is read, unless it is written again before.
    due: Duration,
    /// When it is read in any case.
    deadline: Duration,
}

/// When the metadata is read again, and what is done then.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    due: Option<Duration>,
    /// All of it is due, not just that of [`Refresh::features`].
    is_all_due: bool,
    features: BTreeSet<FeatureSlug>,
    /// Features of which a file that is not an artifact is being written.
    unsettled: BTreeMap<FeatureSlug, Unsettled>,
    /// Until when hints do not have it read again, because that takes long.
    rest_until: Duration,
    /// Since it was last read.
    backoff: Backoff,
    /// Features that could not be listed, since they were last listed.
    pub(super) failed_listings: BTreeMap<FeatureSlug, Backoff>,
    /// Features that are listed as well: their directories were replaced, or could not be listed.
    pub(super) relist: BTreeSet<FeatureSlug>,
    /// Features that were not found, and since when.
    pub(super) missing: BTreeMap<FeatureSlug, Duration>,
    /// Missing features that may have been moved to archived ones whose files are not known yet.
    pub(super) archive_searches: BTreeMap<FeatureSlug, Backoff>,
    /// Features whose directory is missing, with the newest effect at that time: a probe of the
    /// root that began later decides.
    pub(super) confirmed: BTreeMap<FeatureSlug, EffectId>,
    /// Features that have, or may have, more entries than the limit: only a listing counts them.
    pub(super) over_limit: BTreeSet<FeatureSlug>,
    /// When deleted features may be forgotten.
    pub(super) expire_at: Option<Duration>,
}

/// What is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RefreshScope {
    /// All metadata; features are looked for as well.
    All,
    /// The files of these features.
    Features(BTreeSet<FeatureSlug>),
}

impl Refresh {
    /// Has all metadata read soon.
    pub(super) fn read_soon(&mut self, now: Duration) {
        self.is_all_due = true;
        self.due.get_or_insert((now + READ_DELAY).max(self.rest_until));
    }

    /// Has the metadata of a feature read soon.
    pub(super) fn read_feature_soon(&mut self, slug: FeatureSlug, now: Duration) {
        self.unsettled.remove(&slug);
        self.features.insert(slug);
        self.due.get_or_insert((now + READ_DELAY).max(self.rest_until));
    }

    /// Has the metadata of a feature read when no file of it was written for `quiet`, but no later than
    /// after `max`.
    pub(super) fn read_feature_when_quiet(
        &mut self,
        slug: FeatureSlug,
        quiet: Duration,
        max: Duration,
        now: Duration,
    ) {
        let first = Unsettled { due: now + quiet, deadline: now + max };
        let unsettled = self.unsettled.entry(slug).or_insert(first);
        unsettled.due = (now + quiet).min(unsettled.deadline);
    }

    /// Has all metadata read at `due`, or earlier if something is due before.
    pub(super) fn read_at(&mut self, due: Duration) {
        self.is_all_due = true;
        self.due = Some(self.due.map_or(due, |other| other.min(due)));
    }

    /// Has all metadata read after a pause that grows with each failure.
    pub(super) fn read_after_failure(&mut self, now: Duration) {
        self.is_all_due = true;
        let pause = self.backoff.next_pause(RETRY_PAUSE_MIN, RETRY_PAUSE_MAX);
        self.due.get_or_insert(now + pause);
    }

    /// Lists a feature again, with the metadata, after a pause that grows with each failure.
    pub(super) fn list_after_failure(&mut self, slug: FeatureSlug, now: Duration) {
        self.is_all_due = true;
        let backoff = self.failed_listings.entry(slug.clone()).or_default();
        let pause = backoff.next_pause(RETRY_PAUSE_MIN, RETRY_PAUSE_MAX);
        self.relist.insert(slug);
        self.due.get_or_insert(now + pause);
    }

    /// Has a missing feature looked for again, after a pause that grows, among archived ones whose
    /// files are known by then.
    pub(super) fn search_archive_later(&mut self, slug: &FeatureSlug, now: Duration) {
        let backoff = self.archive_searches.entry(slug.clone()).or_default();
        let pause = backoff.next_pause(ARCHIVE_PAUSE_MIN, ARCHIVE_PAUSE_MAX);
        self.read_at(now + pause);
    }

    /// Has metadata that changed read without a further wait: a request waits for it.
    pub(super) fn hurry(&mut self, now: Duration) {
        self.rest_until = now;
        if let Some(due) = &mut self.due
            && self.backoff.attempts() == 0
        {
            *due = (*due).min(now + READ_DELAY);
        }
    }

    /// Records that metadata was read, or could not be.
    pub(super) fn on_read(&mut self, cost: Duration, now: Duration, is_success: bool) {
        self.rest_until = now + cost.saturating_mul(PAUSE_PER_COST).min(PAUSE_MAX);
        if is_success {
            self.backoff = Backoff::default();
        }
    }

    pub(super) fn due(&self) -> Option<Duration> {
        let unsettled = self.unsettled.values().map(|unsettled| unsettled.due);
        unsettled.chain(self.due).min()
    }

    /// Returns what is to be read now.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<RefreshScope> {
        if self.expire_at.take_if(|due| *due <= now).is_some() {
            self.read_at(now);
        }
        let settled = self.unsettled.extract_if(.., |_, unsettled| unsettled.due <= now);
        let settled: Vec<FeatureSlug> = settled.map(|(slug, _)| slug).collect();
        if !settled.is_empty() {
            self.features.extend(settled);
            self.due = Some(self.due.map_or(now, |due| due.min(now)));
        }
        self.due.take_if(|due| *due <= now)?;
        let features = std::mem::take(&mut self.features);
        let is_all = std::mem::take(&mut self.is_all_due);
        Some(if is_all { RefreshScope::All } else { RefreshScope::Features(features) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn slug(name: &str) -> FeatureSlug {
        FeatureSlug::new(name.as_bytes()).unwrap()
    }

    #[test]
    fn changes_of_features_are_read_alone_and_together_with_all() {
        let mut refresh = Refresh::default();
        refresh.read_feature_soon(slug("a"), ms(0));
        refresh.read_feature_soon(slug("b"), ms(5));
        assert_eq!((refresh.due(), refresh.take_due(ms(19))), (Some(ms(20)), None));
        let both = BTreeSet::from([slug("a"), slug("b")]);
        assert_eq!(refresh.take_due(ms(20)), Some(RefreshScope::Features(both)));
        refresh.read_feature_soon(slug("a"), ms(20));
        refresh.read_soon(ms(30));
        assert_eq!(refresh.take_due(ms(40)), Some(RefreshScope::All));
        assert_eq!(refresh.take_due(ms(99)), None);
        refresh.expire_at = Some(ms(100));
        assert_eq!(refresh.take_due(ms(100)), Some(RefreshScope::All));
    }

    #[test]
    fn a_file_that_is_being_written_is_read_when_it_is_quiet() {
        let mut refresh = Refresh::default();
        let write = |refresh: &mut Refresh, at: u64| {
            refresh.read_feature_when_quiet(slug("a"), ms(200), ms(500), ms(at));
        };
        write(&mut refresh, 0);
        assert_eq!((refresh.due(), refresh.take_due(ms(199))), (Some(ms(200)), None));
        write(&mut refresh, 199);
        assert_eq!((refresh.due(), refresh.take_due(ms(398))), (Some(ms(399)), None));
        write(&mut refresh, 398);
        assert_eq!(refresh.due(), Some(ms(500)), "it is written all the time");
        let only_a = Some(RefreshScope::Features(BTreeSet::from([slug("a")])));
        assert_eq!(refresh.take_due(ms(500)), only_a);
        assert_eq!(refresh.due(), None);
        write(&mut refresh, 600);
        refresh.read_feature_soon(slug("a"), ms(610));
        assert_eq!(refresh.due(), Some(ms(630)), "it was closed");
        assert_eq!(refresh.take_due(ms(630)), only_a);
        assert_eq!(refresh.take_due(ms(5_000)), None);
    }

    #[test]
    fn pauses_of_the_search_for_a_moved_feature_grow() {
        let mut refresh = Refresh::default();
        let (mut now, mut pauses) = (ms(0), Vec::new());
        for _ in 0..10 {
            refresh.search_archive_later(&slug("a"), now);
            let due = refresh.due().unwrap();
            pauses.push(due.saturating_sub(now).as_millis());
            now = due;
            refresh.take_due(now);
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000]);
    }

    #[test]
    fn pauses_grow_with_the_cost_and_with_failures() {
        let mut refresh = Refresh::default();
        refresh.on_read(ms(10), ms(1_000), true);
        refresh.read_soon(ms(1_000));
        assert_eq!(refresh.due(), Some(ms(1_100)));
        refresh.hurry(ms(1_010));
        assert_eq!(refresh.due(), Some(ms(1_030)), "a request waits for it");
        refresh.take_due(ms(1_030));
        let mut now = ms(2_000);
        for pause in [RETRY_PAUSE_MIN, 2 * RETRY_PAUSE_MIN, 4 * RETRY_PAUSE_MIN] {
            refresh.on_read(ms(0), now, false);
            refresh.read_after_failure(now);
            assert_eq!(refresh.due(), Some(now + pause));
            refresh.hurry(now);
            now += pause;
            assert_eq!(refresh.take_due(now), Some(RefreshScope::All));
        }
    }
}

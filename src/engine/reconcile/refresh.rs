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

/// When the metadata is read again, and what is done then.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    due: Option<Duration>,
    /// All of it is due, not just that of [`Refresh::features`].
    is_all_due: bool,
    features: BTreeSet<FeatureSlug>,
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
        self.features.insert(slug);
        self.due.get_or_insert((now + READ_DELAY).max(self.rest_until));
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
        self.due
    }

    /// Returns what is to be read now.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<RefreshScope> {
        if self.expire_at.take_if(|due| *due <= now).is_some() {
            self.read_at(now);
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

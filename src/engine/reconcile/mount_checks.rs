//! Which features are compared with the disk because something may have been mounted for a moment: what was found
//! in them since the last probe of the mounts may be of another file system.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::effect::EffectId;
use crate::core::backoff::Backoff;
use crate::core::path::FeatureSlug;

/// Pauses between two comparisons: on some systems something is mounted every second.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// What is compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) features: BTreeSet<FeatureSlug>,
    /// Which features there are, and their metadata.
    pub(super) project: bool,
}

impl Compared {
    fn is_empty(&self) -> bool {
        self.features.is_empty() && !self.project
    }
}

/// What was found out, with the newest effect when it became known: a later effect began after it.
#[derive(Debug, Default)]
struct Examined {
    features: BTreeMap<FeatureSlug, EffectId>,
    project: Option<EffectId>,
}

/// What is to be compared, and when.
#[derive(Debug, Default)]
pub(super) struct MountChecks {
    /// What was found out since the mounts were last probed, with the newest effect at the time.
    examined: Examined,
    waiting: Compared,
    due: Duration,
    /// Until when the next comparison pauses, and how often that was so in a row.
    pause_until: Duration,
    pauses: Backoff,
}

impl MountChecks {
    /// Records that something was found out about a feature.
    pub(super) fn note_examined(&mut self, slug: &FeatureSlug, newest: EffectId) {
        match self.examined.features.get_mut(slug) {
            Some(known) => *known = newest,
            None => {
                self.examined.features.insert(slug.clone(), newest);
            }
        }
    }

    /// Records that the metadata was read.
    pub(super) fn note_metadata(&mut self, newest: EffectId) {
        self.examined.project = Some(newest);
    }

    /// Records that `probe` found that nothing was mounted or unmounted since the probe before. What was
    /// found out after it began is not confirmed by it.
    pub(super) fn on_same_mounts(&mut self, probe: EffectId) {
        self.examined.features.retain(|_, newest| *newest >= probe);
        self.examined.project.take_if(|newest| *newest < probe);
    }

    /// Records that something was mounted or unmounted elsewhere, or for a moment.
    pub(super) fn on_other_mounts(&mut self, now: Duration) {
        if self.waiting.is_empty() {
            self.due = now.max(self.pause_until);
        }
        let Examined { features, project } = std::mem::take(&mut self.examined);
        self.waiting.features.extend(features.into_keys());
        self.waiting.project |= project.is_some();
    }

    /// Records that everything is compared anyway.
    pub(super) fn on_all_compared(&mut self) {
        self.examined = Examined::default();
        self.waiting = Compared::default();
    }

    /// Compares what waits now, because a request waits for it.
    pub(super) fn hurry(&mut self, now: Duration) {
        self.due = self.due.min(now);
    }

    /// Returns what is to be compared now.
    pub(super) fn take_due(&mut self, now: Duration) -> Compared {
        if self.next_due().is_none_or(|due| due > now) {
            return Compared::default();
        }
        if now >= self.pause_until + PAUSE_MAX {
            self.pauses = Backoff::default();
        }
        self.pause_until = now + self.pauses.next_pause(PAUSE_MIN, PAUSE_MAX);
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        (!self.waiting.is_empty()).then_some(self.due)
    }

    /// Returns true if a feature, or any, is to be compared.
    pub(super) fn is_waiting(&self, slug: Option<&FeatureSlug>) -> bool {
        slug.map_or(!self.waiting.is_empty(), |slug| {
            self.waiting.project || self.waiting.features.contains(slug)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn comparisons_pause_longer_while_mounts_keep_changing() {
        let slug = FeatureSlug::new(b"a").unwrap();
        let mut checks = MountChecks::default();
        let mut now = ms(1_000);
        checks.on_other_mounts(now);
        assert_eq!(checks.next_due(), None, "nothing was examined");
        for pause in [500, 1_000, 2_000, 4_000] {
            checks.note_examined(&slug, EffectId(3));
            checks.on_other_mounts(now);
            assert!(checks.is_waiting(Some(&slug)) && checks.is_waiting(None));
            assert_eq!(checks.take_due(now).features.len(), 1, "{pause}");
            checks.note_examined(&slug, EffectId(3));
            checks.on_other_mounts(now);
            assert_eq!(checks.next_due(), Some(now + ms(pause)));
            assert!(checks.take_due(now).is_empty());
            now += ms(pause);
        }
        checks.hurry(ms(2_000));
        assert_eq!(checks.take_due(ms(2_000)).features.len(), 1, "a request waits");
        now += PAUSE_MAX * 2;
        checks.note_examined(&slug, EffectId(3));
        checks.on_same_mounts(EffectId(4));
        checks.on_other_mounts(now);
        assert_eq!(checks.next_due(), None, "nothing was examined since");
        checks.note_examined(&slug, EffectId(3));
        checks.on_other_mounts(now);
        assert_eq!(checks.take_due(now).features.len(), 1);
        checks.note_examined(&slug, EffectId(3));
        checks.on_other_mounts(now);
        assert_eq!(checks.next_due(), Some(now + ms(500)), "it was quiet for long");
        checks.on_all_compared();
        assert!(!checks.is_waiting(None));
        now += PAUSE_MAX * 2;
        checks.note_metadata(EffectId(3));
        checks.on_other_mounts(now);
        assert!(checks.is_waiting(Some(&slug)));
        assert_eq!(checks.take_due(now), Compared { features: BTreeSet::new(), project: true });
    }

    #[test]
    fn a_probe_confirms_only_what_was_found_out_before_it_began() {
        let slugs = [b"a", b"b"].map(|slug| FeatureSlug::new(slug).unwrap());
        let mut checks = MountChecks::default();
        checks.note_examined(&slugs[0], EffectId(6));
        checks.note_examined(&slugs[1], EffectId(7));
        checks.note_metadata(EffectId(7));
        checks.on_same_mounts(EffectId(7));
        checks.on_other_mounts(ms(0));
        let features = BTreeSet::from([slugs[1].clone()]);
        assert_eq!(checks.take_due(ms(0)), Compared { features, project: true });
    }
}

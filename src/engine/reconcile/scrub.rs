//! When each file is read again in the background, so that a change is found that neither an
//! event nor the file's times showed: a write through a mapping, or a failing disk.

use std::time::Duration;

use crate::core::path::{FeatureSlug, RelPath};

/// Longest interval between portions; files are read in portions so that an idle daemon wakes
/// seldom.
const MAX_INTERVAL: Duration = Duration::from_mins(1);

/// The position of the scrub.
#[derive(Debug)]
pub(super) struct ScrubCursor {
    /// Time in which every file is read once; `None` if scrubbing is off.
    period: Option<Duration>,
    next_at: Duration,
    /// The last file that was read.
    position: Option<(FeatureSlug, RelPath)>,
    /// Files of the portion that are not read yet: the next portion waits for them.
    in_flight: usize,
    /// Changes that only this found.
    detected_changes: u64,
}

impl ScrubCursor {
    pub(super) fn new(period: Option<Duration>, now: Duration) -> Self {
        let interval = period.unwrap_or_default().min(MAX_INTERVAL);
        Self { period, next_at: now + interval, position: None, in_flight: 0, detected_changes: 0 }
    }

    /// Returns how many of `files` are to be read now.
    pub(super) fn start_if_due(&mut self, files: impl FnOnce() -> usize, now: Duration) -> usize {
        let Some(period) = self.period.filter(|_| self.next_at <= now) else {
            return 0;
        };
        let interval = period.min(MAX_INTERVAL);
        self.next_at = now + interval;
        if self.in_flight > 0 {
            return 0;
        }
        let files = files();
        let share = interval.as_secs_f64() / period.as_secs_f64().max(f64::EPSILON);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the number of files is between 0 and all of them"
        )]
        let count = (files as f64 * share).ceil() as usize;
        count.min(files)
    }

    pub(super) fn position(&self) -> Option<&(FeatureSlug, RelPath)> {
        self.position.as_ref()
    }

    /// Records that a file is being read.
    pub(super) fn advance_to(&mut self, position: (FeatureSlug, RelPath)) {
        self.position = Some(position);
        self.in_flight += 1;
    }

    /// Records that a file was read.
    pub(super) fn finish_one(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Forgets the files that are being read: their results will not arrive.
    pub(super) fn abandon(&mut self) {
        self.in_flight = 0;
    }

    pub(super) fn on_detected(&mut self) {
        self.detected_changes += 1;
    }

    pub(super) fn detected_changes(&self) -> u64 {
        self.detected_changes
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.period.map(|_| self.next_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_minute_reads_its_share_of_the_files_and_waits_for_the_portion_before() {
        let secs = Duration::from_secs;
        let mut off = ScrubCursor::new(None, secs(0));
        assert_eq!((off.start_if_due(|| 100, secs(1_000_000)), off.next_due()), (0, None));
        let mut scrub = ScrubCursor::new(Some(secs(3600)), secs(0));
        assert_eq!(scrub.start_if_due(|| 100, secs(59)), 0);
        assert_eq!(scrub.start_if_due(|| 100, secs(60)), 2);
        let at = (FeatureSlug::new(b"a").unwrap(), RelPath::new(&b"x"[..]).unwrap());
        scrub.advance_to(at.clone());
        assert_eq!(scrub.start_if_due(|| 100, secs(120)), 0, "one is not read yet");
        scrub.finish_one();
        assert_eq!(scrub.start_if_due(|| 1, secs(180)), 1);
        assert_eq!(scrub.position(), Some(&at));
        let mut fast = ScrubCursor::new(Some(secs(1)), secs(0));
        assert_eq!(fast.start_if_due(|| 7, secs(1)), 7);
    }
}

//! Fallbacks for missing events: rescans after an overflow, retries of refused watches, polling
//! where the file system delivers no events, and a new watcher where the old one is overwhelmed.

use std::path::PathBuf;
use std::time::Duration;

use super::event::WatchReport;
use crate::core::backoff::Backoff;

/// Pause before the rescan that follows an overflow; each further one waits twice as long, so that
/// a storm costs few of them. After [`CALM_AFTER`] without an overflow it starts over.
const RESCAN_PAUSE_MIN: Duration = Duration::from_millis(50);
const RESCAN_PAUSE_MAX: Duration = Duration::from_secs(5);
const CALM_AFTER: Duration = Duration::from_secs(10);
/// `notify` scans all its watches for each removed directory and responds to nothing meanwhile. If
/// removed directories times watches exceed this within [`REMOVAL_STORM_WINDOW`], a new watcher is
/// ready sooner than the old one; it is created once no more directories are removed.
const REMOVAL_STORM_COST: u64 = 1_000_000;
const REMOVAL_STORM_WINDOW: Duration = Duration::from_secs(1);
/// Interval at which it is checked whether directories are still being removed.
const REMOVAL_SAMPLE_INTERVAL: Duration = Duration::from_millis(200);
/// Pause before refused watches are requested again; each further attempt waits twice as long.
const RETRY_PAUSE_MIN: Duration = Duration::from_secs(1);
const RETRY_PAUSE_MAX: Duration = Duration::from_mins(1);
/// Time within which the event of the probe file must arrive.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How well the project's events arrive.
#[derive(Debug, Default)]
pub(super) struct WatchHealth {
    report: WatchReport,
    /// When everything is compared with the disk because events were lost.
    rescan_due: Option<Duration>,
    rescan_running: bool,
    rescan_pauses: Backoff,
    last_rescan_at: Option<Duration>,
    rescans: u64,
    removed_dirs: RemovedDirs,
    /// Sample of a tree that is being removed.
    removal: Option<RemovalSample>,
    retry_at: Option<Duration>,
    retries: Backoff,
    /// The watches before the refused ones were requested again, until the outcome is known.
    before_retry: Option<WatchReport>,
    probe: EventProbe,
    /// The watches changed since an attempt to create the probe file began.
    probe_possible: bool,
}

/// Watched directories that were removed within the window.
#[derive(Debug, Default)]
struct RemovedDirs {
    count: u64,
    since: Duration,
}

#[derive(Debug)]
struct RemovalSample {
    dirs: Vec<PathBuf>,
    missing: usize,
}

/// Whether the file system delivers events.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum EventProbe {
    /// No directory of dossierd's own is watched yet.
    #[default]
    NotRun,
    /// A file was created; its event must arrive by then.
    Waiting(Duration),
    Confirmed,
    NoEvents,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RescanStep {
    Nothing,
    /// Find out first whether the removal of a tree continues.
    Sample(Vec<PathBuf>),
    /// Replace the watcher and compare everything with the disk.
    Rescan {
        rescans: u64,
    },
}

/// What to do about watches that are missing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RetryStep {
    Nothing,
    TouchProbe,
    ReplaceWatcher,
    RetryWatches,
}

impl WatchHealth {
    /// Records that events were lost. Returns false if a rescan is due already. Where most of them were of
    /// another project, the first rescan does not pause: it watches with other projects that are calm, too, and
    /// the noisy one is compared last.
    pub(super) fn on_overflow(&mut self, by_others: bool, now: Duration) -> bool {
        if self.rescan_due.is_some() {
            return false;
        }
        let calm = self.last_rescan_at.is_none_or(|last| now.saturating_sub(last) > CALM_AFTER);
        if calm {
            self.rescan_pauses = Backoff::default();
        }
        let pause = self.rescan_pauses.next_pause(RESCAN_PAUSE_MIN, RESCAN_PAUSE_MAX);
        self.rescan_due = Some(if calm && by_others { now } else { now + pause });
        true
    }

    /// Records that a watched directory was removed. Returns true if the watcher is to be dropped.
    pub(super) fn on_dir_removed(&mut self, now: Duration) -> bool {
        let removed = &mut self.removed_dirs;
        if now.saturating_sub(removed.since) > REMOVAL_STORM_WINDOW {
            *removed = RemovedDirs { count: 0, since: now };
        }
        removed.count += 1;
        let storm = removed.count * self.report.on_instance > REMOVAL_STORM_COST;
        if storm {
            removed.count = 0;
        }
        storm
    }

    /// Records that the watcher was dropped, with some of the directories that it watched.
    pub(super) fn on_watcher_dropped(&mut self, sample: Vec<PathBuf>) {
        self.removal = Some(RemovalSample { dirs: sample, missing: 0 });
    }

    /// Records how many of the sampled directories are missing. The removal continues only while
    /// more are missing than ever before: directories that are created and deleted delay nobody.
    pub(super) fn on_removal_sampled(&mut self, missing: usize, now: Duration) {
        let Some(sample) = &mut self.removal else {
            return;
        };
        let goes_on = missing > sample.missing;
        sample.missing = missing;
        if goes_on {
            self.rescan_due = self.rescan_due.map(|_| now + REMOVAL_SAMPLE_INTERVAL);
        } else {
            self.removal = None;
            self.rescan_due = self.rescan_due.map(|_| now);
        }
    }

    /// Returns what is to be done about lost events now.
    pub(super) fn rescan_step(&mut self, now: Duration) -> RescanStep {
        if self.rescan_due.is_none_or(|due| due > now) {
            return RescanStep::Nothing;
        }
        if let Some(sample) = &self.removal {
            return RescanStep::Sample(sample.dirs.clone());
        }
        self.rescan_due = None;
        self.last_rescan_at = Some(now);
        self.rescans += 1;
        self.rescan_running = true;
        RescanStep::Rescan { rescans: self.rescans }
    }

    /// Records that everything was compared. Returns true if that ends a rescan.
    pub(super) fn on_compared(&mut self) -> bool {
        std::mem::take(&mut self.rescan_running)
    }

    /// Returns true if events were lost and no rescan has made up for that yet.
    pub(super) fn has_lost_events(&self) -> bool {
        self.rescan_due.is_some()
    }

    /// Records the state of the watches. Returns true if it changed.
    pub(super) fn on_report(&mut self, report: WatchReport) -> bool {
        self.probe_possible = true;
        let changed = self.report != report;
        self.report = report;
        changed
    }

    /// Records that the event of the probe file arrived. Returns true if none was confirmed before.
    pub(super) fn on_probe_seen(&mut self) -> bool {
        std::mem::replace(&mut self.probe, EventProbe::Confirmed) != EventProbe::Confirmed
    }

    /// Records that an attempt to create the probe file begins.
    pub(super) fn on_probe_started(&mut self) {
        self.probe_possible = false;
    }

    /// Records whether the probe file was created.
    pub(super) fn on_probe_touched(&mut self, touched: bool, now: Duration) {
        // Where events failed before they are believed when one arrives.
        if touched && self.probe == EventProbe::NotRun {
            self.probe = EventProbe::Waiting(now + PROBE_TIMEOUT);
        }
    }

    /// Starts over with a new watcher.
    pub(super) fn on_watcher_replaced(&mut self) {
        self.probe = EventProbe::NotRun;
        self.probe_possible = true;
    }

    /// Returns true if the probe file is to be created now.
    pub(super) fn needs_probe(&self) -> bool {
        self.probe == EventProbe::NotRun && self.probe_possible
    }

    /// Returns true once if the event of the probe file did not arrive in time.
    pub(super) fn give_up_probe(&mut self, now: Duration) -> bool {
        let late = matches!(self.probe, EventProbe::Waiting(by) if by <= now);
        if late {
            self.probe = EventProbe::NoEvents;
        }
        late
    }

    /// Returns what is to be done about missing watches now. `is_retrying` is true while an earlier
    /// attempt is under way.
    pub(super) fn retry_step(&mut self, is_retrying: bool, now: Duration) -> RetryStep {
        let no_events = self.probe == EventProbe::NoEvents;
        let report = &self.report;
        if report.unavailable.is_none() && report.refusal.is_none() && !no_events {
            self.retry_at = None;
            self.retries = Backoff::default();
            return RetryStep::Nothing;
        }
        if self.retry_at.is_some_and(|due| due > now) {
            return RetryStep::Nothing;
        }
        let is_first = self.retry_at.is_none();
        self.retry_at = Some(now + self.retries.next_pause(RETRY_PAUSE_MIN, RETRY_PAUSE_MAX));
        if is_first || is_retrying {
            return RetryStep::Nothing;
        }
        if no_events {
            RetryStep::TouchProbe
        } else if self.report.unavailable.is_some() {
            RetryStep::ReplaceWatcher
        } else {
            self.before_retry = Some(self.report.clone());
            RetryStep::RetryWatches
        }
    }

    /// Returns what the watches were before the refused ones were requested again, once other
    /// directories are refused since. `is_in_flight` is true until that request has ended.
    pub(super) fn take_retry_outcome(&mut self, is_in_flight: bool) -> Option<WatchReport> {
        let refused = &self.report.refused;
        self.before_retry.take_if(|before| !is_in_flight && before.refused != *refused)
    }

    /// Returns why the whole project is polled, if it is.
    pub(super) fn polls_all(&self, remote: Option<&str>) -> Option<String> {
        if let Some(error) = &self.report.unavailable {
            return Some(error.clone());
        }
        if self.probe == EventProbe::NoEvents {
            return Some("the file system delivers no events".to_owned());
        }
        remote.map(|name| format!("on {name}, files can change without an inotify event"))
    }

    /// Returns what the status reports while everything is compared with the disk.
    pub(super) fn rescan_message(&self) -> Option<String> {
        let rescans = self.rescans + u64::from(self.rescan_due.is_some());
        let running = self.rescan_due.is_some() || self.rescan_running;
        running
            .then(|| format!("inotify events were lost; rescanning the project (rescan {rescans})"))
    }

    pub(super) fn report(&self) -> &WatchReport {
        &self.report
    }

    /// Number of rescans after an overflow or with a new watcher.
    pub(super) fn rescans(&self) -> u64 {
        self.rescans
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        let probe = match self.probe {
            EventProbe::Waiting(by) => Some(by),
            EventProbe::NotRun | EventProbe::Confirmed | EventProbe::NoEvents => None,
        };
        [self.rescan_due, self.retry_at, probe].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn rescans_back_off_while_events_are_lost_again_and_again() {
        let mut health = WatchHealth::default();
        let mut now = ms(0);
        for (calm, pause) in
            [(0, 50), (0, 100), (0, 200), (10_001, 50), (9_000, 100), (0, 200), (0, 400)]
        {
            now += ms(calm);
            assert!(health.on_overflow(false, now) && !health.on_overflow(false, now));
            assert!(health.has_lost_events());
            assert_eq!(health.rescan_step(now + ms(pause - 1)), RescanStep::Nothing);
            now += ms(pause);
            assert!(matches!(health.rescan_step(now), RescanStep::Rescan { .. }), "{pause}");
            assert!(health.rescan_message().is_some() && !health.has_lost_events());
            assert!(health.on_compared() && !health.on_compared());
            assert_eq!(health.rescan_message(), None);
        }
        assert_eq!(health.rescans(), 7);
    }

    #[test]
    fn project_is_compared_at_once_if_another_one_lost_its_events() {
        let mut health = WatchHealth::default();
        for pause in [0, 100] {
            assert!(health.on_overflow(true, ms(500)));
            assert_eq!(health.next_due(), Some(ms(500 + pause)));
            assert!(matches!(health.rescan_step(ms(600)), RescanStep::Rescan { .. }));
            health.on_compared();
        }
    }

    #[test]
    fn a_removal_storm_drops_the_watcher_until_no_more_directories_are_removed() {
        let mut health = WatchHealth::default();
        health.on_report(WatchReport { on_instance: 500_000, ..WatchReport::default() });
        assert!(!health.on_dir_removed(ms(0)) && !health.on_dir_removed(ms(1)));
        assert!(health.on_dir_removed(ms(2)));
        assert!(!health.on_dir_removed(ms(3)), "the count starts over");
        let sample = vec![PathBuf::from("/a"), "/b".into()];
        health.on_watcher_dropped(sample.clone());
        health.on_overflow(false, ms(3));
        assert_eq!(health.rescan_step(ms(53)), RescanStep::Sample(sample.clone()));
        health.on_removal_sampled(1, ms(53));
        assert_eq!(health.rescan_step(ms(53)), RescanStep::Nothing);
        assert_eq!(health.rescan_step(ms(253)), RescanStep::Sample(sample));
        health.on_removal_sampled(1, ms(253));
        assert_eq!(health.rescan_step(ms(253)), RescanStep::Rescan { rescans: 1 });
    }

    #[test]
    fn refused_watches_are_retried_with_growing_pauses() {
        let refused = || WatchReport { refusal: Some("limit".into()), ..WatchReport::default() };
        let mut health = WatchHealth::default();
        assert_eq!(health.retry_step(false, ms(0)), RetryStep::Nothing);
        health.on_report(refused());
        let mut now = ms(0);
        assert_eq!(health.retry_step(false, now), RetryStep::Nothing);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            now += ms(pause * 1_000 - 1);
            assert_eq!(health.retry_step(false, now), RetryStep::Nothing, "{pause}");
            now += ms(1);
            assert_eq!(health.retry_step(false, now), RetryStep::RetryWatches, "{pause}");
        }
        now += Duration::from_mins(1);
        assert_eq!(health.retry_step(true, now), RetryStep::Nothing, "one at a time");
        health.on_report(WatchReport { unavailable: Some("none".into()), ..refused() });
        now += Duration::from_mins(1);
        assert_eq!(health.retry_step(false, now), RetryStep::ReplaceWatcher);
        health.on_report(WatchReport::default());
        assert_eq!((health.retry_step(false, now), health.next_due()), (RetryStep::Nothing, None));
    }

    #[test]
    fn a_file_system_without_events_is_polled_until_one_arrives() {
        let mut health = WatchHealth::default();
        assert!(!health.needs_probe(), "nothing is watched yet");
        health.on_report(WatchReport::default());
        assert!(health.needs_probe());
        health.on_probe_started();
        health.on_probe_touched(false, ms(0));
        assert!(!health.needs_probe());
        for watched in 1..=2 {
            health.on_report(WatchReport { watched, ..WatchReport::default() });
            assert!(health.needs_probe());
            health.on_probe_started();
            assert!(!health.needs_probe());
        }
        health.on_report(WatchReport { watched: 3, ..WatchReport::default() });
        health.on_probe_touched(false, ms(0));
        assert!(health.needs_probe(), "the watches changed meanwhile");
        health.on_probe_touched(true, ms(0));
        assert!(!health.needs_probe() && !health.give_up_probe(ms(1_999)));
        assert_eq!(health.next_due(), Some(ms(2_000)));
        assert!(health.give_up_probe(ms(2_000)) && !health.give_up_probe(ms(2_001)));
        assert!(health.polls_all(None).is_some_and(|why| why.contains("no events")));
        assert_eq!(health.retry_step(false, ms(2_000)), RetryStep::Nothing);
        assert_eq!(health.retry_step(false, ms(3_000)), RetryStep::TouchProbe);
        health.on_probe_touched(true, ms(3_000));
        assert!(health.polls_all(None).is_some(), "until one arrives nothing changes");
        assert!(health.on_probe_seen() && !health.on_probe_seen());
        assert_eq!(health.polls_all(None), None);
        assert!(health.polls_all(Some("NFS")).is_some_and(|why| why.contains("NFS")));
    }
}

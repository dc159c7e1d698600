//! Fallbacks for incomplete file events: a rescan after an inotify queue overflow, retries of
//! refused watches, and polling where no events are delivered. The watches themselves are in
//! `watching`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{Counting, LiveProject, Now};
use crate::core::path::{FeatureSlug, RelPath};
use crate::engine::pool::Pool;

/// Delay of the rescan after the first overflow. It doubles with each further overflow, so that a
/// burst of overflows causes few rescans.
const RESCAN_BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Maximum delay of a rescan.
const RESCAN_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Time without an overflow after which the delay starts at its minimum again.
const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(10);
/// Maximum number of removed directories times watches within [`REMOVAL_STORM_WINDOW`].
///
/// `notify` scans all watches for every removed directory and is unresponsive meanwhile. Beyond
/// this number, replacing the watcher is cheaper; it is created again once the removals have
/// stopped.
const MAX_REMOVAL_STORM: u64 = 1_000_000;
const REMOVAL_STORM_WINDOW: Duration = Duration::from_secs(1);
/// How often it is checked whether the removals have stopped.
const REMOVAL_STORM_POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How often unwatched directories are polled.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Polling takes at most one part in this many of the time: slow polls are less frequent.
const POLL_SHARE: u32 = 20;
/// Delay of a poll that is due while the previous one has not settled.
const POLL_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// Delay of the first retry of refused watches; it doubles with each retry.
const WATCH_RETRY_MIN: Duration = Duration::from_secs(1);
/// Maximum delay of a retry of refused watches.
const WATCH_RETRY_MAX: Duration = Duration::from_mins(1);
/// Timeout for the event of the probe file. After it the file system is assumed to deliver no
/// events.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Health of a project's file events.
#[derive(Debug, Default)]
pub(super) struct Care {
    /// When to rescan after an overflow; `None` if no rescan is pending.
    rescan_due: Option<Duration>,
    /// True while the results of a rescan have not settled.
    rescan_running: bool,
    /// Current delay between overflow and rescan.
    backoff: Duration,
    last_rescan_at: Option<Duration>,
    /// Number of rescans after an overflow.
    pub(super) resyncs: u64,
    removals: RemovalCount,
    /// Set while there is no watcher because of a removal storm or a timeout.
    removal_sample: Option<RemovalSample>,
    poll_at: Option<Duration>,
    retry_at: Option<Duration>,
    /// Delay between retries of refused watches.
    retry_backoff: Duration,
    probe: Probe,
}

/// Number of watched directories that were removed.
#[derive(Debug, Default)]
struct RemovalCount {
    count: u64,
    since: Duration,
}

/// Directories from which it is derived whether a tree is still being removed.
#[derive(Debug)]
struct RemovalSample {
    dirs: Vec<PathBuf>,
    /// Maximum number of missing directories so far.
    missing: usize,
}

/// Whether the file system delivers events, found out by a probe file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// Not probed: no directory for the probe file is watched.
    #[default]
    NotRun,
    /// The file was created; its event must arrive by this time.
    Waiting(Duration),
    /// Events are delivered.
    Confirmed,
    /// No event arrived within [`PROBE_TIMEOUT`].
    NoEvents,
}

impl Care {
    /// Returns true if events were lost and the rescan has not started.
    pub(super) fn is_rescan_due(&self) -> bool {
        self.rescan_due.is_some()
    }

    /// Returns why the project is being rescanned; `None` if it is not.
    pub(super) fn rescan_reason(&self) -> Option<String> {
        let number = self.resyncs + u64::from(self.rescan_due.is_some());
        let is_rescanning = self.rescan_due.is_some() || self.rescan_running;
        is_rescanning
            .then(|| format!("inotify events were lost; rescanning the project (rescan {number})"))
    }

    /// Returns true if more directories of the sample are missing than at the last call.
    /// Directories that are removed and created again therefore do not delay the new watcher
    /// indefinitely.
    fn is_being_removed(&mut self) -> bool {
        let Some(RemovalSample { dirs, missing }) = &mut self.removal_sample else {
            return false;
        };
        let now_missing = dirs.iter().filter(|dir| dir.symlink_metadata().is_err()).count();
        let is_growing = now_missing > *missing;
        *missing = now_missing;
        if !is_growing {
            self.removal_sample = None;
        }
        is_growing
    }

    /// Records the event of the probe file. Returns true if none was expected any more.
    pub(super) fn on_probe_event(&mut self, now: Now) -> bool {
        let previous = std::mem::replace(&mut self.probe, Probe::Confirmed);
        self.poll_at = self.poll_at.map(|_| now.elapsed);
        previous == Probe::NoEvents
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        let probe = match self.probe {
            Probe::Waiting(deadline) => Some(deadline),
            Probe::NotRun | Probe::Confirmed | Probe::NoEvents => None,
        };
        [self.rescan_due, self.poll_at, self.retry_at, probe].into_iter().flatten().min()
    }
}

impl LiveProject {
    /// Records that events were lost and schedules a rescan.
    pub(in crate::engine) fn events_lost(&mut self, now: Now) {
        let care = &mut self.care;
        if care.rescan_due.is_some() || self.root.away.is_some() {
            return;
        }
        let is_first = care
            .last_rescan_at
            .is_none_or(|last| now.elapsed.saturating_sub(last) > BACKOFF_RESET_AFTER);
        care.backoff =
            if is_first { RESCAN_BACKOFF_MIN } else { (care.backoff * 2).min(RESCAN_BACKOFF_MAX) };
        care.rescan_due = Some(now.elapsed + care.backoff);
        self.changed = true;
    }

    /// Counts a removed watched directory; drops the watcher in a removal storm.
    pub(super) fn on_dir_removed(&mut self, now: Now) {
        let RemovalCount { count, since } = &mut self.care.removals;
        if now.elapsed.saturating_sub(*since) > REMOVAL_STORM_WINDOW {
            (*count, *since) = (0, now.elapsed);
        }
        *count += 1;
        if *count * self.watching.watched() > MAX_REMOVAL_STORM {
            *count = 0;
            self.drop_watcher(now);
        }
    }

    /// Drops a watcher that timed out; events since then may be lost.
    pub(super) fn check_watcher_timeout(&mut self, now: Now) {
        if self.watching.end_turn() && !self.care.is_rescan_due() {
            let root = self.setup.root.display();
            warn!(%root, "file watcher timed out; replacing it and rescanning");
            self.drop_watcher(now);
        }
    }

    /// Continues without a watcher until the removals have stopped and another is created.
    fn drop_watcher(&mut self, now: Now) {
        let dirs = self.watching.drop_watcher();
        self.care.removal_sample = Some(RemovalSample { dirs, missing: 0 });
        self.events_lost(now);
    }

    /// Runs the rescans, retries and polls that are due.
    pub(super) fn maintain_watches(&mut self, pool: &Pool, now: Now) {
        if self.care.rescan_running && self.is_rescanned(None) {
            self.care.rescan_running = false;
            self.changed = true;
        }
        if self.care.rescan_due.is_some_and(|due| due <= now.elapsed) {
            if self.care.is_being_removed() {
                self.care.rescan_due = Some(now.elapsed + REMOVAL_STORM_POLL_INTERVAL);
                return;
            }
            self.care.rescan_due = None;
            self.care.last_rescan_at = Some(now.elapsed);
            self.care.resyncs += 1;
            self.care.rescan_running = true;
            let rescans = self.care.resyncs;
            let root = self.setup.root.display();
            warn!(
                %root,
                rescans,
                "inotify events were lost (queue overflow or watcher restart); rescanning project"
            );
            self.rebuild_watches(pool, now);
        }
        self.probe_events(now);
        self.retry(pool, now);
        self.poll(pool, now);
    }

    /// Creates a new watcher, watches all directories and rescans them.
    fn rebuild_watches(&mut self, pool: &Pool, now: Now) {
        self.watching.replace_watcher();
        self.care.probe = Probe::NotRun;
        self.watch_metadata_dirs();
        self.compare_all(Counting::Rewatch, pool, now);
    }

    /// Creates the probe file if its directory is watched, and checks the timeout of its event.
    fn probe_events(&mut self, now: Now) {
        match self.care.probe {
            Probe::NotRun => {
                let dir = self.root.probe.parent();
                let is_watched = dir.is_some_and(|dir| self.watching.is_watched(dir));
                if is_watched && self.project.touch_probe().is_ok() {
                    self.care.probe = Probe::Waiting(now.elapsed + PROBE_TIMEOUT);
                }
            }
            Probe::Waiting(deadline) if deadline <= now.elapsed => {
                let root = self.setup.root.display();
                warn!(%root, "file system delivers no inotify events; polling");
                self.care.probe = Probe::NoEvents;
                self.changed = true;
            }
            Probe::Waiting(_) | Probe::Confirmed | Probe::NoEvents => {}
        }
    }

    /// Retries refused watches, and the probe if no events are delivered.
    fn retry(&mut self, pool: &Pool, now: Now) {
        let no_events = self.care.probe == Probe::NoEvents;
        if self.watching.unavailable_reason().is_none()
            && self.watching.refusal().is_none()
            && !no_events
        {
            self.care.retry_at = None;
            self.care.retry_backoff = WATCH_RETRY_MIN;
            return;
        }
        let backoff = self.care.retry_backoff.max(WATCH_RETRY_MIN);
        if *self.care.retry_at.get_or_insert(now.elapsed + backoff) > now.elapsed {
            return;
        }
        self.care.retry_backoff = (backoff * 2).min(WATCH_RETRY_MAX);
        self.care.retry_at = Some(now.elapsed + self.care.retry_backoff);
        if no_events {
            self.care.probe = Probe::NotRun;
            self.probe_events(now);
            if self.care.probe != Probe::NotRun {
                // Still no events, until the event of this probe arrives.
                self.care.probe = Probe::NoEvents;
            }
        } else if self.watching.unavailable_reason().is_some() {
            self.rebuild_watches(pool, now);
        } else {
            let before = self.watching.watched();
            self.watching.retry();
            if self.watching.watched() > before {
                info!(
                    root = %self.setup.root.display(),
                    watched = self.watching.watched(),
                    total = self.watching.total(),
                    "inotify accepts more watches again"
                );
                // Directories are listed after they are watched, so that no entry is missed.
                self.compare_all(Counting::Poll, pool, now);
            }
        }
        self.changed = true;
    }

    /// Returns why the whole project is polled; `None` if it is not.
    pub(super) fn poll_reason(&self) -> Option<String> {
        if let Some(reason) = self.watching.unavailable_reason() {
            return Some(reason.to_owned());
        }
        if self.care.probe == Probe::NoEvents {
            return Some("the file system delivers no events".to_owned());
        }
        self.remote.map(|name| format!("on {name}, files can change without an inotify event"))
    }

    /// Polls what is not watched, and lists features that may exceed a limit.
    fn poll(&mut self, pool: &Pool, now: Now) {
        let polls_all = self.poll_reason().is_some();
        let refused = self.watching.refused();
        let within_limits = self.over_limit.is_empty();
        if !polls_all && refused.is_empty() && within_limits && self.care.poll_at.is_none() {
            return;
        }
        for feature in self.features.values_mut() {
            let dir = self.project.feature_path(&feature.dir);
            let polled =
                refused.iter().any(|refused| refused.starts_with(&dir) || dir.starts_with(refused));
            if polled != feature.polled {
                feature.set_polled(polled);
                self.active.insert(feature.dir.slug.clone());
            }
        }
        if !polls_all && refused.is_empty() && within_limits {
            self.care.poll_at = None;
            return;
        }
        let due = *self.care.poll_at.get_or_insert(now.elapsed + POLL_INTERVAL);
        if due > now.elapsed {
            return;
        }
        if !self.is_rescanned(None) {
            self.care.poll_at = Some(now.elapsed + POLL_RETRY_INTERVAL);
            return;
        }
        let started = Instant::now();
        if polls_all {
            self.compare_all(Counting::Poll, pool, now);
        } else {
            self.poll_refused(&refused, pool, now);
            for slug in std::mem::take(&mut self.over_limit) {
                self.compare(&slug, None, Counting::Poll, pool, now);
            }
        }
        let interval = POLL_INTERVAL.max(started.elapsed() * POLL_SHARE);
        self.care.poll_at = Some(now.elapsed + interval);
    }

    fn poll_refused(&mut self, refused: &[PathBuf], pool: &Pool, now: Now) {
        let mut targets: Vec<(FeatureSlug, Option<RelPath>)> = Vec::new();
        for dir in refused {
            let relative = self.relative(dir);
            let containing =
                relative.as_ref().map(|path| self.places.containing(path)).unwrap_or_default();
            if containing.is_empty()
                || relative.is_some_and(|path| self.patterns.could_contain_feature(&path))
            {
                // It contains metadata or feature directories.
                self.refresh_due = Some(now.elapsed);
            }
            targets.extend(containing);
            for feature in self.features.values() {
                if self.project.feature_path(&feature.dir).starts_with(dir) {
                    targets.push((feature.dir.slug.clone(), None));
                }
            }
        }
        for (slug, subdir) in targets {
            self.compare(&slug, subdir.as_ref(), Counting::Poll, pool, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn dirs_removed_and_created_again_end_the_removal_storm() {
        let dir = tempfile::tempdir().unwrap();
        let dirs: Vec<PathBuf> = (0..4).map(|number| dir.path().join(number.to_string())).collect();
        for dir in &dirs {
            fs::create_dir(dir).unwrap();
        }
        let removal_sample = Some(RemovalSample { dirs: dirs.clone(), missing: 0 });
        let mut care = Care { removal_sample, ..Care::default() };
        fs::remove_dir(&dirs[0]).unwrap();
        assert!(care.is_being_removed());
        fs::create_dir(&dirs[0]).unwrap();
        assert!(!care.is_being_removed(), "fewer are missing than before");
        assert!(!care.is_being_removed());
    }
}

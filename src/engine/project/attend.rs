//! What is done where events are not all there is to know: lost ones, refused watches, file systems
//! that raise none.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{Counting, LiveProject, Now};
use crate::core::path::{FeatureSlug, RelPath};
use crate::engine::pool::Pool;

/// After lost events, the first look everywhere; each further one comes after twice the time, so
/// that a storm costs few of them. After [`CALM`] without a loss it begins anew.
const RESCAN_BACKOFF_MIN: Duration = Duration::from_millis(50);
const RESCAN_BACKOFF_MAX: Duration = Duration::from_secs(5);
const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(10);
/// A directory that goes costs the watcher a look at each of its watches, and meanwhile it neither hears
/// nor answers. When directories times watches come to more than this within [`TORN_WITHIN`], a new
/// watcher is there sooner than the old one is done: it is made when no more directories go.
const MAX_REMOVAL_STORM: u64 = 1_000_000;
const REMOVAL_STORM_WINDOW: Duration = Duration::from_secs(1);
const REMOVAL_STORM_POLL_INTERVAL: Duration = Duration::from_millis(200);
/// What is not watched is looked at this often, but for no more than a twentieth of the time.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
const POLL_SHARE: u32 = 20;
/// Where what was seen before has not settled then, it is looked again after this.
const POLL_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// Watches are asked for again after this, then after twice the time each.
const WATCH_RETRY_MIN: Duration = Duration::from_secs(1);
const WATCH_RETRY_MAX: Duration = Duration::from_mins(1);
/// An event of one's own making comes within this, or none does.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What is known of how well events come.
#[derive(Debug, Default)]
pub(super) struct Care {
    /// When to look everywhere, after events were lost.
    rescan_due: Option<Duration>,
    /// Whether that has begun and is not done.
    rescan_running: bool,
    pause: Duration,
    last: Option<Duration>,
    /// How often events were lost and everything was looked at.
    pub(super) resyncs: u64,
    /// How many watched directories went, and since when that is counted.
    removed_dirs: (u64, Duration),
    /// Directories of a tree that is being removed, and how many of them were gone.
    removal_sample: Option<(Vec<PathBuf>, usize)>,
    poll_at: Option<Duration>,
    retry_at: Option<Duration>,
    retry_pause: Duration,
    probe: Probe,
}

/// Whether the file system raises events.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// It was not tried: there is no directory of ours.
    #[default]
    NotRun,
    /// A file was made; by when that should be heard.
    Waiting(Duration),
    /// It does.
    Confirmed,
    /// It does not.
    NoEvents,
}

impl Care {
    /// Whether events were lost that nothing has made up for yet.
    pub(super) fn is_rescan_due(&self) -> bool {
        self.rescan_due.is_some()
    }

    /// Why everything is being looked at, if that is so.
    pub(super) fn rescan_reason(&self) -> Option<String> {
        let times = self.resyncs + u64::from(self.rescan_due.is_some());
        let is = self.rescan_due.is_some() || self.rescan_running;
        is.then(|| {
            format!("events were lost; everything is compared with the disk (resync {times})")
        })
    }

    /// Whether more directories went since this was asked last, after very many did. That ends, as only
    /// more than ever before count: directories that come and go keep no one waiting.
    fn is_being_removed(&mut self) -> bool {
        let Some((sample, gone)) = &mut self.removal_sample else {
            return false;
        };
        let now = sample.iter().filter(|folder| folder.symlink_metadata().is_err()).count();
        let more = now > *gone;
        *gone = now;
        if !more {
            self.removal_sample = None;
        }
        more
    }

    /// Takes that an event of our own making came.
    pub(super) fn on_probe_event(&mut self, now: Now) {
        self.probe = Probe::Confirmed;
        self.poll_at = self.poll_at.map(|_| now.elapsed);
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        let probe = match self.probe {
            Probe::Waiting(by) => Some(by),
            Probe::NotRun | Probe::Confirmed | Probe::NoEvents => None,
        };
        [self.rescan_due, self.poll_at, self.retry_at, probe].into_iter().flatten().min()
    }
}

impl LiveProject {
    /// Takes that events were lost.
    pub(in crate::engine) fn events_lost(&mut self, now: Now) {
        let care = &mut self.care;
        if care.rescan_due.is_some() || self.root.away.is_some() {
            return;
        }
        let calm =
            care.last.is_none_or(|last| now.elapsed.saturating_sub(last) > BACKOFF_RESET_AFTER);
        care.pause =
            if calm { RESCAN_BACKOFF_MIN } else { (care.pause * 2).min(RESCAN_BACKOFF_MAX) };
        care.rescan_due = Some(now.elapsed + care.pause);
        self.changed = true;
    }

    /// Takes that a watched directory went.
    pub(super) fn on_dir_removed(&mut self, now: Now) {
        let (count, since) = &mut self.care.removed_dirs;
        if now.elapsed.saturating_sub(*since) > REMOVAL_STORM_WINDOW {
            (*count, *since) = (0, now.elapsed);
        }
        *count += 1;
        if *count * self.watching.watched() > MAX_REMOVAL_STORM {
            *count = 0;
            self.drop_watcher(now);
        }
    }

    /// Takes note of a watcher that did not answer: what happened meanwhile is not known.
    pub(super) fn check_watcher_timeout(&mut self, now: Now) {
        if self.watching.end_turn() && !self.care.is_rescan_due() {
            warn!(root = %self.setup.root.display(), "the watcher does not answer");
            self.drop_watcher(now);
        }
    }

    /// Goes on without a watcher, until no more directories go and there is another.
    fn drop_watcher(&mut self, now: Now) {
        self.care.removal_sample = Some((self.watching.drop_watcher(), 0));
        self.events_lost(now);
    }

    /// Does what is due of all this.
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
            self.care.last = Some(now.elapsed);
            self.care.resyncs += 1;
            self.care.rescan_running = true;
            let resyncs = self.care.resyncs;
            warn!(root = %self.setup.root.display(), resyncs, "events were lost; resync");
            self.rebuild_watches(pool, now);
        }
        self.probe_events(now);
        self.retry(pool, now);
        self.poll(pool, now);
    }

    /// Goes on with a new watcher: everything is watched anew and compared.
    fn rebuild_watches(&mut self, pool: &Pool, now: Now) {
        self.watching.replace_watcher();
        self.care.probe = Probe::NotRun;
        self.watch_metadata_dirs();
        self.compare_all(Counting::Rewatch, pool, now);
    }

    /// Makes a file in the directory of ours, to hear of it.
    fn probe_events(&mut self, now: Now) {
        match self.care.probe {
            Probe::NotRun => {
                let folder = self.root.probe.parent();
                let ours = folder.is_some_and(|ours| self.watching.is_watched(ours));
                if ours && self.project.touch_probe().is_ok() {
                    self.care.probe = Probe::Waiting(now.elapsed + PROBE_TIMEOUT);
                }
            }
            Probe::Waiting(by) if by <= now.elapsed => {
                warn!(root = %self.setup.root.display(), "the file system raises no events");
                self.care.probe = Probe::NoEvents;
                self.changed = true;
            }
            Probe::Waiting(_) | Probe::Confirmed | Probe::NoEvents => {}
        }
    }

    /// Asks again for what the kernel refused, or for events where none came.
    fn retry(&mut self, pool: &Pool, now: Now) {
        let no_events = self.care.probe == Probe::NoEvents;
        if self.watching.unavailable_reason().is_none()
            && self.watching.refusal().is_none()
            && !no_events
        {
            self.care.retry_at = None;
            self.care.retry_pause = WATCH_RETRY_MIN;
            return;
        }
        let pause = self.care.retry_pause.max(WATCH_RETRY_MIN);
        if *self.care.retry_at.get_or_insert(now.elapsed + pause) > now.elapsed {
            return;
        }
        self.care.retry_pause = (pause * 2).min(WATCH_RETRY_MAX);
        self.care.retry_at = Some(now.elapsed + self.care.retry_pause);
        if no_events {
            self.care.probe = Probe::NotRun;
            self.probe_events(now);
            if self.care.probe != Probe::NotRun {
                // It may not be heard again: until it is, nothing changes.
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
                    "more can be watched again"
                );
                // Watched, then listed.
                self.compare_all(Counting::Poll, pool, now);
            }
        }
        self.changed = true;
    }

    /// Why all of the project is looked at again and again, if that is so.
    pub(super) fn poll_reason(&self) -> Option<String> {
        if let Some(why) = self.watching.unavailable_reason() {
            return Some(why.to_owned());
        }
        if self.care.probe == Probe::NoEvents {
            return Some("the file system raises no events".to_owned());
        }
        self.remote.map(|kind| format!("on {kind}, files can change without an event"))
    }

    /// Looks again at what is not watched.
    fn poll(&mut self, pool: &Pool, now: Now) {
        let all = self.poll_reason().is_some();
        let refused = self.watching.refused();
        let within = self.over_limit.is_empty();
        if !all && refused.is_empty() && within && self.care.poll_at.is_none() {
            return;
        }
        for feature in self.features.values_mut() {
            let folder = self.project.feature_path(&feature.dir);
            let polled = refused
                .iter()
                .any(|refused| refused.starts_with(&folder) || folder.starts_with(refused));
            if polled != feature.polled {
                feature.set_polled(polled);
                self.active.insert(feature.dir.slug.clone());
            }
        }
        if !all && refused.is_empty() && within {
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
        let begun = Instant::now();
        if all {
            self.compare_all(Counting::Poll, pool, now);
        } else {
            self.poll_refused(&refused, pool, now);
            for slug in std::mem::take(&mut self.over_limit) {
                self.compare(&slug, None, Counting::Poll, pool, now);
            }
        }
        let pause = POLL_INTERVAL.max(begun.elapsed() * POLL_SHARE);
        self.care.poll_at = Some(now.elapsed + pause);
    }

    fn poll_refused(&mut self, refused: &[std::path::PathBuf], pool: &Pool, now: Now) {
        let mut places: Vec<(FeatureSlug, Option<RelPath>)> = Vec::new();
        for folder in refused {
            let relative = self.relative(folder);
            let containing =
                relative.as_ref().map(|path| self.places.containing(path)).unwrap_or_default();
            if containing.is_empty()
                || relative.is_some_and(|path| self.patterns.could_contain_feature(&path))
            {
                // One that steers, or in which features lie.
                self.refresh_due = Some(now.elapsed);
            }
            places.extend(containing);
            for feature in self.features.values() {
                if self.project.feature_path(&feature.dir).starts_with(folder) {
                    places.push((feature.dir.slug.clone(), None));
                }
            }
        }
        for (slug, folder) in places {
            self.compare(&slug, folder.as_ref(), Counting::Poll, pool, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn folders_that_come_and_go_keep_no_one_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> =
            (0..4).map(|number| dir.path().join(number.to_string())).collect();
        for folder in &folders {
            fs::create_dir(folder).unwrap();
        }
        let removal_sample = Some((folders.clone(), 0));
        let mut care = Care { removal_sample, ..Care::default() };
        fs::remove_dir(&folders[0]).unwrap();
        assert!(care.is_being_removed());
        fs::create_dir(&folders[0]).unwrap();
        assert!(!care.is_being_removed(), "fewer are gone than before");
        assert!(!care.is_being_removed());
    }
}

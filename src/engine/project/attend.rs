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
const RESYNC_FIRST: Duration = Duration::from_millis(50);
const RESYNC_MAX: Duration = Duration::from_secs(5);
const CALM: Duration = Duration::from_secs(10);
/// A directory that goes costs the watcher a look at each of its watches, and meanwhile it neither hears
/// nor answers. When directories times watches come to more than this within [`TORN_WITHIN`], a new
/// watcher is there sooner than the old one is done: it is made when no more directories go.
const TORN_MAX: u64 = 1_000_000;
const TORN_WITHIN: Duration = Duration::from_secs(1);
const TORN_LOOK: Duration = Duration::from_millis(200);
/// What is not watched is looked at this often, but for no more than a twentieth of the time.
const POLL_PAUSE: Duration = Duration::from_secs(2);
const POLL_SHARE: u32 = 20;
/// Where what was seen before has not settled then, it is looked again after this.
const POLL_LATER: Duration = Duration::from_millis(100);
/// Watches are asked for again after this, then after twice the time each.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);
/// An event of one's own making comes within this, or none does.
const PROBE_WAIT: Duration = Duration::from_secs(2);

/// What is known of how well events come.
#[derive(Debug, Default)]
pub(super) struct Care {
    /// When to look everywhere, after events were lost.
    lost: Option<Duration>,
    /// Whether that has begun and is not done.
    comparing: bool,
    pause: Duration,
    last: Option<Duration>,
    /// How often events were lost and everything was looked at.
    pub(super) resyncs: u64,
    /// How many watched directories went, and since when that is counted.
    torn: (u64, Duration),
    /// Directories of a tree that is being removed, and how many of them were gone.
    removal: Option<(Vec<PathBuf>, usize)>,
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
    Untried,
    /// A file was made; by when that should be heard.
    Asked(Duration),
    /// It does.
    Heard,
    /// It does not.
    Deaf,
}

impl Care {
    /// Whether events were lost that nothing has made up for yet.
    pub(super) fn has_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Why everything is being looked at, if that is so.
    pub(super) fn resyncing(&self) -> Option<String> {
        let times = self.resyncs + u64::from(self.lost.is_some());
        let is = self.lost.is_some() || self.comparing;
        is.then(|| {
            format!("events were lost; everything is compared with the disk (resync {times})")
        })
    }

    /// Whether more directories went since this was asked last, after very many did. That ends, as only
    /// more than ever before count: directories that come and go keep no one waiting.
    fn is_being_removed(&mut self) -> bool {
        let Some((sample, gone)) = &mut self.removal else {
            return false;
        };
        let now = sample.iter().filter(|folder| folder.symlink_metadata().is_err()).count();
        let more = now > *gone;
        *gone = now;
        if !more {
            self.removal = None;
        }
        more
    }

    /// Takes that an event of our own making came.
    pub(super) fn heard(&mut self, now: Now) {
        self.probe = Probe::Heard;
        self.poll_at = self.poll_at.map(|_| now.elapsed);
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        let probe = match self.probe {
            Probe::Asked(by) => Some(by),
            Probe::Untried | Probe::Heard | Probe::Deaf => None,
        };
        [self.lost, self.poll_at, self.retry_at, probe].into_iter().flatten().min()
    }
}

impl LiveProject {
    /// Takes that events were lost.
    pub(in crate::engine) fn events_lost(&mut self, now: Now) {
        let care = &mut self.care;
        if care.lost.is_some() || self.root.away.is_some() {
            return;
        }
        let calm = care.last.is_none_or(|last| now.elapsed.saturating_sub(last) > CALM);
        care.pause = if calm { RESYNC_FIRST } else { (care.pause * 2).min(RESYNC_MAX) };
        care.lost = Some(now.elapsed + care.pause);
        self.changed = true;
    }

    /// Takes that a watched directory went.
    pub(super) fn folder_went(&mut self, now: Now) {
        let (count, since) = &mut self.care.torn;
        if now.elapsed.saturating_sub(*since) > TORN_WITHIN {
            (*count, *since) = (0, now.elapsed);
        }
        *count += 1;
        if *count * self.watching.watched() > TORN_MAX {
            *count = 0;
            self.let_go(now);
        }
    }

    /// Takes note of a watcher that did not answer: what happened meanwhile is not known.
    pub(super) fn notice_stuck(&mut self, now: Now) {
        if self.watching.end_turn() && !self.care.has_lost() {
            warn!(root = %self.setup.root.display(), "the watcher does not answer");
            self.let_go(now);
        }
    }

    /// Goes on without a watcher, until no more directories go and there is another.
    fn let_go(&mut self, now: Now) {
        self.care.removal = Some((self.watching.let_go(), 0));
        self.events_lost(now);
    }

    /// Does what is due of all this.
    pub(super) fn attend(&mut self, pool: &Pool, now: Now) {
        if self.care.comparing && self.is_compared(None) {
            self.care.comparing = false;
            self.changed = true;
        }
        if self.care.lost.is_some_and(|due| due <= now.elapsed) {
            if self.care.is_being_removed() {
                self.care.lost = Some(now.elapsed + TORN_LOOK);
                return;
            }
            self.care.lost = None;
            self.care.last = Some(now.elapsed);
            self.care.resyncs += 1;
            self.care.comparing = true;
            let resyncs = self.care.resyncs;
            warn!(root = %self.setup.root.display(), resyncs, "events were lost; resync");
            self.watch_anew(pool, now);
        }
        self.ask_for_events(now);
        self.retry(pool, now);
        self.poll(pool, now);
    }

    /// Goes on with a new watcher: everything is watched anew and compared.
    fn watch_anew(&mut self, pool: &Pool, now: Now) {
        self.watching.renew();
        self.care.probe = Probe::Untried;
        self.watch_steering();
        self.compare_all(Counting::Settled, pool, now);
    }

    /// Makes a file in the directory of ours, to hear of it.
    fn ask_for_events(&mut self, now: Now) {
        match self.care.probe {
            Probe::Untried => {
                let folder = self.root.probe.parent();
                let ours = folder.is_some_and(|ours| self.watching.is_watched(ours));
                if ours && self.project.touch_probe().is_ok() {
                    self.care.probe = Probe::Asked(now.elapsed + PROBE_WAIT);
                }
            }
            Probe::Asked(by) if by <= now.elapsed => {
                warn!(root = %self.setup.root.display(), "the file system raises no events");
                self.care.probe = Probe::Deaf;
                self.changed = true;
            }
            Probe::Asked(_) | Probe::Heard | Probe::Deaf => {}
        }
    }

    /// Asks again for what the kernel refused, or for events where none came.
    fn retry(&mut self, pool: &Pool, now: Now) {
        let deaf = self.care.probe == Probe::Deaf;
        if self.watching.blind().is_none() && self.watching.refusal().is_none() && !deaf {
            self.care.retry_at = None;
            self.care.retry_pause = RETRY_FIRST;
            return;
        }
        let pause = self.care.retry_pause.max(RETRY_FIRST);
        if *self.care.retry_at.get_or_insert(now.elapsed + pause) > now.elapsed {
            return;
        }
        self.care.retry_pause = (pause * 2).min(RETRY_MAX);
        self.care.retry_at = Some(now.elapsed + self.care.retry_pause);
        if deaf {
            self.care.probe = Probe::Untried;
            self.ask_for_events(now);
            if self.care.probe != Probe::Untried {
                // It may not be heard again: until it is, nothing changes.
                self.care.probe = Probe::Deaf;
            }
        } else if self.watching.blind().is_some() {
            self.watch_anew(pool, now);
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
                self.compare_all(Counting::Polled, pool, now);
            }
        }
        self.changed = true;
    }

    /// Why all of the project is looked at again and again, if that is so.
    pub(super) fn polls_all(&self) -> Option<String> {
        if let Some(why) = self.watching.blind() {
            return Some(why.to_owned());
        }
        if self.care.probe == Probe::Deaf {
            return Some("the file system raises no events".to_owned());
        }
        self.remote.map(|kind| format!("on {kind}, files can change without an event"))
    }

    /// Looks again at what is not watched.
    fn poll(&mut self, pool: &Pool, now: Now) {
        let all = self.polls_all().is_some();
        let refused = self.watching.refused();
        let within = self.budget.is_empty();
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
                self.awake.insert(feature.dir.slug.clone());
            }
        }
        if !all && refused.is_empty() && within {
            self.care.poll_at = None;
            return;
        }
        let due = *self.care.poll_at.get_or_insert(now.elapsed + POLL_PAUSE);
        if due > now.elapsed {
            return;
        }
        if !self.is_compared(None) {
            self.care.poll_at = Some(now.elapsed + POLL_LATER);
            return;
        }
        let begun = Instant::now();
        if all {
            self.compare_all(Counting::Polled, pool, now);
        } else {
            self.poll_folders(&refused, pool, now);
            for slug in std::mem::take(&mut self.budget) {
                self.compare(&slug, None, Counting::Polled, pool, now);
            }
        }
        let pause = POLL_PAUSE.max(begun.elapsed() * POLL_SHARE);
        self.care.poll_at = Some(now.elapsed + pause);
    }

    fn poll_folders(&mut self, refused: &[std::path::PathBuf], pool: &Pool, now: Now) {
        let mut places: Vec<(FeatureSlug, Option<RelPath>)> = Vec::new();
        for folder in refused {
            let relative = self.relative(folder);
            let around = relative.as_ref().map(|path| self.places.around(path)).unwrap_or_default();
            if around.is_empty()
                || relative.is_some_and(|path| self.ways.could_contain_feature(&path))
            {
                // One that steers, or in which features lie.
                self.refresh_due = Some(now.elapsed);
            }
            places.extend(around);
            for feature in self.features.values() {
                if self.project.feature_path(&feature.dir).starts_with(folder) {
                    places.push((feature.dir.slug.clone(), None));
                }
            }
        }
        for (slug, folder) in places {
            self.compare(&slug, folder.as_ref(), Counting::Polled, pool, now);
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
        let removal = Some((folders.clone(), 0));
        let mut care = Care { removal, ..Care::default() };
        fs::remove_dir(&folders[0]).unwrap();
        assert!(care.is_being_removed());
        fs::create_dir(&folders[0]).unwrap();
        assert!(!care.is_being_removed(), "fewer are gone than before");
        assert!(!care.is_being_removed());
    }
}

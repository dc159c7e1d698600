//! What is under way for the paths of one feature: debounced hints, suspected deletions, checks,
//! and deletions that wait for the root's probe or for git.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::effect::{EffectId, EffectTag};
use super::in_flight::{Check, CheckKind, InFlight};
use crate::core::backoff::Backoff;
use crate::core::path::RelPath;
use crate::watch::{DebounceTimes, Debouncer, HintKind, ReadCost};

/// Pause before a path is checked again whose result could not be trusted; each further result of
/// that kind doubles it.
const RECHECK_PAUSE_MIN: Duration = Duration::from_millis(50);
const RECHECK_PAUSE_MAX: Duration = Duration::from_mins(1);
/// Number of rechecks in a row that found the same content, after which a file is left alone. They
/// take more than six seconds, so a time stamp of two seconds' resolution has passed by then.
const MAX_SAME_RECHECKS: u32 = 7;

/// The work of one feature. All maps are trees: hash tables would keep the capacity of a burst.
#[derive(Debug)]
pub(super) struct PathWork {
    debounce: Debouncer,
    /// Paths that seem to be gone, and since when: they are checked before that counts.
    suspects: BTreeMap<RelPath, Suspicion>,
    /// Files written so shortly before they were read that another write may have gone unnoticed,
    /// by when they are read again.
    rechecks: BTreeSet<(Duration, RelPath)>,
    /// How often in a row the result for a path could not be trusted.
    untrusted: BTreeMap<RelPath, Backoff>,
    in_flight: InFlight,
    /// The last check that read a file which keeps changing, so that its path is never settled for long.
    read_last: BTreeMap<RelPath, EffectId>,
    /// Paths that a check found missing, with the newest effect at that time: a probe of the root
    /// that began later decides.
    missing: BTreeMap<RelPath, EffectId>,
    /// Paths that are missing while git rewrites the work tree: checked again afterwards.
    held: BTreeSet<RelPath>,
}

#[derive(Debug, Clone, Copy)]
struct Suspicion {
    since: Duration,
    /// Time in which the path may return.
    grace: Duration,
}

/// What a check that found nothing means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MissingResult {
    /// The path is missing since long enough: the root's probe decides.
    Confirmed,
    /// It is suspected, or checked again when its time has come.
    Suspected,
}

impl PathWork {
    pub(super) fn new(times: DebounceTimes) -> Self {
        Self {
            debounce: Debouncer::new(times),
            suspects: BTreeMap::new(),
            rechecks: BTreeSet::new(),
            untrusted: BTreeMap::new(),
            in_flight: InFlight::default(),
            read_last: BTreeMap::new(),
            missing: BTreeMap::new(),
            held: BTreeSet::new(),
        }
    }

    /// Records a hint about a path.
    pub(super) fn on_hint(
        &mut self,
        path: &RelPath,
        kind: HintKind,
        indexed: bool,
        grace: Duration,
        now: Duration,
    ) {
        self.untrusted.remove(path);
        if kind != HintKind::Removed {
            self.suspects.remove(path);
        } else if indexed {
            self.suspects.insert(path.clone(), Suspicion { since: now, grace });
        }
        self.debounce.on_hint(path, kind, indexed, now);
    }

    /// Records that an indexed path seems to be gone; it is checked after `grace`.
    pub(super) fn suspect(&mut self, path: &RelPath, grace: Duration, now: Duration) {
        self.suspects.insert(path.clone(), Suspicion { since: now, grace });
        self.debounce.schedule_at(path, now + grace);
    }

    /// Checks a path when it has been debounced as a hint would be.
    pub(super) fn debounce(
        &mut self,
        path: &RelPath,
        kind: HintKind,
        indexed: bool,
        now: Duration,
    ) {
        self.debounce.on_hint(path, kind, indexed, now);
    }

    /// Checks a path at `due`.
    pub(super) fn schedule_at(&mut self, path: &RelPath, due: Duration) {
        self.debounce.schedule_at(path, due);
    }

    /// Checks a path again whose result could not be trusted: each time after a longer pause.
    pub(super) fn schedule_retry(&mut self, path: &RelPath, at_least: Duration, now: Duration) {
        let pause = self.next_pause(path).max(at_least);
        self.debounce.schedule_at(path, now + pause);
    }

    /// Reads a file again to be sure of it, each time after a longer pause. `same` is true if that
    /// has just found the content that was known: after enough of these the file is left alone, also
    /// if its times lie in the future. Any later write raises an event.
    pub(super) fn schedule_recheck(&mut self, path: &RelPath, same: bool, now: Duration) {
        let backoff = self.untrusted.get(path).copied().unwrap_or_default();
        if !(same && backoff.attempts() >= MAX_SAME_RECHECKS) {
            let pause = self.next_pause(path);
            self.rechecks.insert((now + pause, path.clone()));
        }
    }

    fn next_pause(&mut self, path: &RelPath) -> Duration {
        let backoff = self.untrusted.entry(path.clone()).or_default();
        backoff.next_pause(RECHECK_PAUSE_MIN, RECHECK_PAUSE_MAX)
    }

    /// Records that a read of a file found new bytes: it is not read again at once.
    pub(super) fn pause_reads(&mut self, path: &RelPath, cost: ReadCost, now: Duration) {
        let pause = self.debounce.pause_reads(path, cost, now);
        if cost.is_cheap() {
            return;
        }
        // Whether the read was too early is found out by the next one.
        let early = self.rechecks.extract_if(.., |(_, other)| other == path).last();
        if let Some((at, path)) = early {
            self.rechecks.insert((at.max(now + pause), path));
        }
    }

    /// Reads a file again that changed while it was read.
    pub(super) fn retry_unstable(&mut self, path: &RelPath, cost: ReadCost, now: Duration) {
        let pause = self.debounce.pause_reads(path, cost, now);
        self.schedule_retry(path, pause, now);
    }

    /// Checks a path again that was written while it was checked: at once, or after its pause if reading it takes
    /// long. Returns true if it is to be checked at once.
    pub(super) fn read_again(&mut self, path: &RelPath, now: Duration) -> bool {
        let pause = self.debounce.costly_pause(path, now);
        if let Some(until) = pause
            && !self.debounce.is_pending(path)
        {
            self.debounce.schedule_at(path, until);
        }
        pause.is_none()
    }

    /// Returns the number of files that have changed again and wait, because reading them takes long.
    pub(super) fn paused_reads(&self) -> usize {
        self.debounce.paused()
    }

    /// Checks what waits because it keeps changing, and is read in a moment.
    pub(super) fn read_restless(&mut self, now: Duration) {
        self.debounce.end_short_pauses(now);
    }

    /// Records that the result for a path can be trusted.
    pub(super) fn on_trusted(&mut self, path: &RelPath) {
        self.untrusted.remove(path);
    }

    /// Returns the paths that are to be checked now.
    pub(super) fn take_due(&mut self, now: Duration) -> Vec<(RelPath, CheckKind)> {
        let debounced = self.debounce.take_due(now).into_iter();
        let mut due: Vec<_> = debounced.map(|path| (path, CheckKind::Check)).collect();
        while self.rechecks.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.rechecks.pop_first().map(|(_, path)| (path, CheckKind::Recheck)));
        }
        due
    }

    /// Records that a path must be checked. Returns true if the check is to start now.
    pub(super) fn start_check(
        &mut self,
        path: &RelPath,
        kind: CheckKind,
        tag: EffectTag,
        now: Duration,
    ) -> bool {
        self.in_flight.start(path, kind, tag, now)
    }

    pub(super) fn finish_check(&mut self, path: &RelPath, id: EffectId) -> Option<Check> {
        self.in_flight.finish(path, id)
    }

    pub(super) fn path_of_check(&self, id: EffectId) -> Option<&RelPath> {
        self.in_flight.path_of(id)
    }

    /// Records that a check has read a file.
    pub(super) fn note_read(&mut self, path: &RelPath, check: EffectId) {
        if self.debounce.is_restless(path) {
            self.read_last.insert(path.clone(), check);
        }
    }

    /// Records that something is at a path.
    pub(super) fn on_present(&mut self, path: &RelPath) {
        self.suspects.remove(path);
        self.missing.remove(path);
        self.held.remove(path);
    }

    /// Records that a check that began at `began` found nothing at an indexed path.
    pub(super) fn on_missing(
        &mut self,
        path: &RelPath,
        began: Duration,
        grace: Duration,
        newest: EffectId,
        now: Duration,
    ) -> MissingResult {
        match self.suspects.get(path).copied() {
            Some(Suspicion { since, grace }) if since + grace <= began => {
                self.missing.insert(path.clone(), newest);
                MissingResult::Confirmed
            }
            // It was there shortly before: this check was for an earlier hint.
            Some(Suspicion { since, grace }) => {
                self.debounce.schedule_at(path, since + grace);
                MissingResult::Suspected
            }
            None => {
                self.suspect(path, grace, now);
                MissingResult::Suspected
            }
        }
    }

    /// Returns the missing paths that a probe of the root may decide, because it began after them.
    pub(super) fn take_missing(&mut self, probe: EffectId) -> Vec<RelPath> {
        let decided = self.missing.extract_if(.., |_, newest| *newest < probe);
        decided.map(|(path, _)| path).collect()
    }

    /// Returns all missing paths: they are to be checked again.
    pub(super) fn take_all_missing(&mut self) -> Vec<RelPath> {
        std::mem::take(&mut self.missing).into_keys().collect()
    }

    /// Holds the deletion of a path while git rewrites the work tree.
    pub(super) fn hold(&mut self, path: RelPath) {
        self.held.insert(path);
    }

    /// Checks what was held, now that git is done.
    pub(super) fn release_held(&mut self, now: Duration) {
        for path in std::mem::take(&mut self.held) {
            // A file that is being written again is checked when it has settled.
            if !self.debounce.is_pending(&path) {
                self.debounce.schedule_at(&path, now);
            }
        }
    }

    /// Forgets a path that is removed from the inventory.
    pub(super) fn forget(&mut self, path: &RelPath) {
        self.suspects.remove(path);
        self.missing.remove(path);
        self.held.remove(path);
        self.untrusted.remove(path);
        self.read_last.remove(path);
    }

    /// Forgets a path, and hints about it, too.
    pub(super) fn cancel(&mut self, path: &RelPath) {
        self.debounce.remove(path);
        self.forget(path);
    }

    /// Has the selected paths checked again after the check that is under way.
    pub(super) fn check_again(&mut self, is_selected: impl Fn(&RelPath) -> bool) {
        self.in_flight.check_again(is_selected);
    }

    /// Has every path checked again after the check that is under way.
    pub(super) fn check_all_again(&mut self) {
        self.in_flight.check_all_again();
    }

    /// Frees the memory of what is done. A B-tree that was emptied entry by entry keeps its root, and there
    /// are many features.
    pub(super) fn rest(&mut self) {
        let debounce = std::mem::take(&mut self.debounce);
        self.clear();
        self.debounce = debounce.rest();
    }

    /// Forgets everything: nothing of the feature can be read now.
    pub(super) fn clear(&mut self) {
        self.debounce.clear();
        self.suspects.clear();
        self.rechecks.clear();
        self.untrusted.clear();
        self.in_flight.clear();
        self.read_last.clear();
        self.missing.clear();
        self.held.clear();
    }

    pub(super) fn is_pending(&self, path: &RelPath) -> bool {
        self.debounce.is_pending(path)
    }

    pub(super) fn is_debouncing(&self) -> bool {
        !self.debounce.is_empty()
    }

    /// Returns true if a check is under way whose result readers wait for.
    pub(super) fn is_checking(&self) -> bool {
        self.in_flight.is_blocking() || !self.missing.is_empty()
    }

    /// Returns true if a path is debounced or checked.
    pub(super) fn has_open_checks(&self) -> bool {
        self.is_debouncing() || self.in_flight.is_blocking()
    }

    pub(super) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns true if nothing is debounced or checked that readers wait for.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_debouncing() && !self.is_checking()
    }

    /// Returns true if nothing is debounced or checked but files that a check after `since` has read.
    pub(super) fn is_settled_since(&self, since: EffectId) -> bool {
        let is_read = |path: &RelPath| self.read_last.get(path).is_some_and(|last| *last > since);
        self.missing.is_empty()
            && self.debounce.pending_paths().all(is_read)
            && self.in_flight.blocking_paths().all(is_read)
    }

    /// Returns true if nothing at all is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.is_settled() && self.rechecks.is_empty() && self.in_flight.is_empty()
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        let recheck = self.rechecks.first().map(|(due, _)| *due);
        [self.debounce.next_due(), recheck].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::reconcile::effect::EffectQueue;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_deletion_needs_a_check_after_the_suspicion_and_a_probe_after_the_check() {
        let grace = ms(100);
        let path = RelPath::new(&b"spec.md"[..]).unwrap();
        let mut queue = EffectQueue::default();
        let mut work = PathWork::new(DebounceTimes::default());
        // When it was suspected, when the check began, whether that confirms.
        for (since, began, expected) in [
            (None, 500, MissingResult::Suspected),
            (Some(450), 500, MissingResult::Suspected),
            (Some(400), 500, MissingResult::Confirmed),
        ] {
            work.clear();
            if let Some(since) = since {
                work.suspect(&path, grace, ms(since));
            }
            let before = queue.next_tag().id;
            let result = work.on_missing(&path, ms(began), grace, queue.newest_id(), ms(501));
            assert_eq!(result, expected, "{since:?}");
            let confirmed = expected == MissingResult::Confirmed;
            assert_eq!(!work.missing.is_empty(), confirmed);
            assert!(work.take_missing(before).is_empty(), "a probe that began before");
            let after = queue.next_tag().id;
            assert_eq!(work.take_missing(after).len(), usize::from(confirmed));
        }
    }

    #[test]
    fn a_file_that_keeps_changing_and_takes_long_to_read_is_rechecked_after_its_pause() {
        let path = RelPath::new(&b"log.txt"[..]).unwrap();
        for (cost, due) in [(500, 50), (1_000_000, 50_000)] {
            let mut work = PathWork::new(DebounceTimes::default());
            work.schedule_recheck(&path, false, ms(0));
            work.schedule_recheck(&path, false, ms(0));
            work.pause_reads(&path, ReadCost::new(Duration::from_micros(cost), || 0), ms(0));
            assert_eq!(work.next_due(), Some(ms(due)));
        }
    }

    #[test]
    fn a_file_that_was_written_while_it_was_read_waits_as_well_if_that_takes_long() {
        let path = RelPath::new(&b"log.txt"[..]).unwrap();
        let costly = ReadCost::new(ms(1_000), || 0);
        let read_again = |kind: Option<HintKind>| {
            let mut work = PathWork::new(DebounceTimes::default());
            if let Some(kind) = kind {
                work.on_hint(&path, kind, true, ms(100), ms(0));
            }
            work.pause_reads(&path, costly, ms(0));
            (work.read_again(&path, ms(0)), work.next_due())
        };
        assert_eq!(read_again(None), (false, Some(ms(50_000))));
        assert_eq!(read_again(Some(HintKind::Modified)), (false, Some(ms(50_000))));
        assert_eq!(read_again(Some(HintKind::CloseWrite)), (false, Some(ms(0))), "it was closed");
        let mut cheap = PathWork::new(DebounceTimes::default());
        cheap.pause_reads(&path, ReadCost::new(Duration::from_micros(900), || 0), ms(0));
        assert!(cheap.read_again(&path, ms(0)) && cheap.next_due().is_none());
    }

    #[test]
    fn results_that_cannot_be_trusted_are_retried_after_growing_pauses() {
        let path = RelPath::new(&b"spec.md"[..]).unwrap();
        let mut work = PathWork::new(DebounceTimes::default());
        let mut now = ms(0);
        for pause in [50, 100, 200, 400, 800, 1_600] {
            work.schedule_recheck(&path, false, now);
            now += ms(pause);
            assert_eq!(work.next_due(), Some(now));
            assert_eq!(work.take_due(now), [(path.clone(), CheckKind::Recheck)]);
        }
        work.schedule_retry(&path, Duration::ZERO, now);
        assert_eq!(work.next_due(), Some(now + ms(3_200)));
        work.on_hint(&path, HintKind::CloseWrite, true, ms(100), now);
        assert_eq!(work.take_due(now), [(path.clone(), CheckKind::Check)], "a hint starts over");
        work.schedule_retry(&path, ms(1_000), now);
        assert_eq!(work.next_due(), Some(now + ms(1_000)));
        for _ in 0..40 {
            work.schedule_recheck(&path, false, now);
        }
        now += Duration::from_mins(1);
        assert!(work.take_due(now).len() > 1, "at most a minute");
        work.schedule_recheck(&path, true, now);
        assert_eq!(work.next_due(), None, "the same content again and again");
    }
}

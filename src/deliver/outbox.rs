//! What is to be sent next, and what follows from an answer: the rules of delivery, without network,
//! store or clock. Times are durations since some start.
//!
//! Events stand in lanes, one for each feature. Of a lane one parcel is on its way at a time, so a
//! receiver gets a feature's events in order; lanes do not wait for each other. The cursor passes
//! an event when it and all before it are settled: delivered, set aside, or dropped by retention.
//!
//! # Bounds
//! No event further than the window behind the cursor is looked at: a lane that fails lets others
//! pass so far, and then they wait for it. Nothing else grows with the journal.
//!
//! # Failures
//! An event that is not taken holds up its lane, with a backoff. A receiver that cannot be reached,
//! asks for patience, or fails at three lanes in a row, pauses everything, with a backoff of its
//! own; then one parcel at a time is tried until one is taken. A batch that fails is sent again one
//! by one, so that an event that can never be taken does not hold up those beside it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use lane::Lane;

mod answer;
mod lane;

/// Lanes that fail in a row, with nothing taken between them, before the receiver is taken to fail.
const LANES_FAILING: usize = 3;

/// Events that are looked at ahead of what is sent.
const AHEAD: usize = 1_024;

/// Bounds and paces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How far behind the cursor events are looked at.
    pub(super) window: usize,
    /// Parcels on their way, at most.
    pub(super) parcels: usize,
    /// Events of a parcel, at most.
    pub(super) batch: usize,
    /// Bytes of them, at most, unless one alone has more.
    pub(super) bytes: u64,
    /// How often an event may be refused before it is set aside.
    pub(super) refusals: u32,
    /// Events that are set aside, at most; beyond that an event that is refused waits.
    pub(super) set_aside: u64,
    pub(super) backoff: Backoff,
}

/// How a parcel fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver has it.
    Taken,
    /// It does not want it, and will not.
    Refused(Arc<str>),
    /// It could not take it now.
    Failed(Arc<str>, Option<Duration>),
    /// It can take nothing now, or could not be reached.
    Unreachable(Arc<str>, Option<Duration>),
}

/// Events to be sent in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parcel {
    pub(super) number: u64,
    /// Their numbers, in order within each lane.
    pub(super) seqs: Vec<u64>,
}

/// An event that is to be set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) seq: u64,
    pub(super) tries: u32,
    pub(super) why: Arc<str>,
}

/// What has been settled and is not noted yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) dropped: u64,
    pub(super) rejected: Vec<Rejected>,
    /// What was set aside before and is delivered.
    pub(super) redelivered: Vec<u64>,
    /// Lanes that go on once it is noted: else a kill would let what was set aside be sent after
    /// what follows it.
    pub(super) held: Vec<Arc<str>>,
}

/// An event that is not settled.
#[derive(Debug, Clone, Copy)]
struct Pending {
    emitted_ms: i64,
    bytes: u64,
}

#[derive(Debug)]
struct Flight {
    lanes: Vec<(Arc<str>, usize)>,
    /// How often the receiver had been taken to fail when it was sent.
    pauses_before: u64,
}

/// The rules' state.
#[derive(Debug)]
pub(super) struct Outbox {
    limits: Limits,
    lanes: HashMap<Arc<str>, Lane>,
    /// Lanes that may be sent from, by the number of their first event.
    ready: BTreeMap<u64, Arc<str>>,
    /// Lanes that wait, by when that ends.
    waiting: BTreeMap<(Duration, u64), Arc<str>>,
    flights: HashMap<u64, Flight>,
    parcels_made: u64,
    /// Last event that was looked at.
    scanned: u64,
    /// Events that are not settled.
    pending: BTreeMap<u64, Pending>,
    /// Those that were set aside and are tried again.
    again: BTreeSet<u64>,
    /// Those that are set aside and not to be sent when they are met.
    aside: BTreeSet<u64>,
    set_aside: u64,
    settled: Settled,
    /// Lanes that failed since something was taken.
    failing: HashSet<Arc<str>>,
    /// Pauses in a row, all there were, and until when the last one is.
    pauses: u32,
    pauses_made: u64,
    paused_until: Duration,
}

impl Outbox {
    /// Of a sink whose cursor that is.
    pub(super) fn new(limits: Limits, cursor: u64) -> Self {
        Self {
            limits,
            lanes: HashMap::new(),
            ready: BTreeMap::new(),
            waiting: BTreeMap::new(),
            flights: HashMap::new(),
            parcels_made: 0,
            scanned: cursor,
            pending: BTreeMap::new(),
            again: BTreeSet::new(),
            aside: BTreeSet::new(),
            set_aside: 0,
            settled: Settled::default(),
            failing: HashSet::new(),
            pauses: 0,
            pauses_made: 0,
            paused_until: Duration::ZERO,
        }
    }

    /// Every event up to this number is settled.
    pub(super) fn cursor(&self) -> u64 {
        self.pending.first_key_value().map_or(self.scanned, |(seq, _)| seq - 1)
    }

    /// The last event that was looked at.
    pub(super) fn scanned(&self) -> u64 {
        self.scanned
    }

    /// Events after the cursor that are settled.
    pub(super) fn ahead(&self) -> u64 {
        self.scanned - self.cursor() - self.pending.len() as u64
    }

    /// When the oldest event that is not settled was emitted.
    pub(super) fn oldest_ms(&self) -> Option<i64> {
        self.pending.first_key_value().map(|(_, event)| event.emitted_ms)
    }

    /// Events that are set aside, those included that are tried again.
    pub(super) fn set_aside(&self) -> u64 {
        self.set_aside
    }

    /// Whether something that is to be delivered has failed.
    pub(super) fn is_retrying(&self) -> bool {
        let waits = !self.pending.is_empty() || !self.again.is_empty();
        let fails = || self.pauses > 0 || !self.failing.is_empty();
        waits && (fails() || self.lanes.values().any(|lane| lane.tries > 0))
    }

    /// How many more events may be looked at.
    pub(super) fn room(&self) -> usize {
        let taken = usize::try_from(self.scanned - self.cursor()).unwrap_or(usize::MAX);
        self.limits.window.saturating_sub(taken)
    }

    /// Whether something could be sent if there were more.
    pub(super) fn is_hungry(&self, now: Duration) -> bool {
        self.wants_more()
            && now >= self.paused_until
            && self.ready.is_empty()
            && self.flights.len() < self.parcels()
    }

    /// Whether the next events are to be looked at: a few ahead of what is sent, and more where
    /// none of these can be.
    pub(super) fn wants_more(&self) -> bool {
        self.room() > 0 && (self.ready.is_empty() || self.pending.len() < AHEAD)
    }

    /// Takes the next event of the journal.
    pub(super) fn take(&mut self, seq: u64, emitted_ms: i64, bytes: u64, lane: &str) {
        self.scanned = seq;
        if self.aside.remove(&seq) {
            return;
        }
        self.pending.insert(seq, Pending { emitted_ms, bytes });
        self.put(seq, lane);
    }

    /// Takes what the store says is set aside: number, lane, and whether it is to be tried again.
    pub(super) fn put_aside<'a>(&mut self, events: impl Iterator<Item = (u64, &'a str, bool)>) {
        let mut known = BTreeSet::new();
        self.set_aside = 0;
        for (seq, lane, retry) in events {
            known.insert(seq);
            self.set_aside += 1;
            if !self.pending.contains_key(&seq) && seq > self.scanned {
                self.aside.insert(seq);
            }
            if retry && self.again.insert(seq) {
                self.put(seq, lane);
            }
        }
        let gone: Vec<u64> = self.again.difference(&known).copied().collect();
        self.forget(&gone);
    }

    /// Someone wants it tried now, whatever was to be waited for.
    pub(super) fn hurry(&mut self, now: Duration) {
        self.paused_until = self.paused_until.min(now);
        self.end_waits(now);
    }

    /// The next event that the journal has is that one: what is between is lost.
    pub(super) fn goes_on_at(&mut self, oldest: u64) {
        if self.scanned + 1 < oldest {
            let kept_aside = self.aside.range(..oldest).count() as u64;
            self.aside = self.aside.split_off(&oldest);
            self.settled.dropped += oldest - 1 - self.scanned - kept_aside;
            self.scanned = oldest - 1;
        }
    }

    /// The journal begins there now: what is before it and not delivered is lost.
    pub(super) fn begins_at(&mut self, oldest: u64) {
        self.goes_on_at(oldest);
        let lost: Vec<u64> = self.pending.range(..oldest).map(|(seq, _)| *seq).collect();
        if !lost.is_empty() {
            self.settled.dropped += self.forget(&lost);
        }
    }

    /// The next parcel to send, if there is one now.
    pub(super) fn next(&mut self, now: Duration) -> Option<Parcel> {
        while let Some(entry) = self.waiting.first_entry()
            && entry.key().0 <= now
        {
            let ((_, seq), lane) = entry.remove_entry();
            self.ready.insert(seq, lane);
        }
        if now < self.paused_until || self.flights.len() >= self.parcels() {
            return None;
        }
        let (_, first) = self.ready.first_key_value()?;
        let alone = self.lanes.get(first)?.alone > 0;
        let mut room = if alone { 1 } else { self.limits.batch };
        let mut bytes_left = self.limits.bytes;
        let (mut lanes, mut seqs, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (head, name) in &self.ready {
            let Some(lane) = self.lanes.get_mut(name) else {
                continue;
            };
            if lane.alone > 0 && !alone {
                continue;
            }
            let mut count = 0;
            for seq in lane.queue.iter().take(room) {
                // What was set aside, whose length is not known here, goes by itself.
                let bytes = self.pending.get(seq).map_or(self.limits.bytes, |event| event.bytes);
                if bytes > bytes_left && !seqs.is_empty() {
                    room = count;
                    break;
                }
                bytes_left = bytes_left.saturating_sub(bytes);
                seqs.push(*seq);
                count += 1;
            }
            if count == 0 {
                break;
            }
            lane.busy = count;
            lanes.push((Arc::clone(name), count));
            left.push(*head);
            room -= count;
            if room == 0 {
                break;
            }
        }
        for head in left {
            self.ready.remove(&head);
        }
        self.parcels_made += 1;
        let number = self.parcels_made;
        self.flights.insert(number, Flight { lanes, pauses_before: self.pauses_made });
        Some(Parcel { number, seqs })
    }

    /// When something may be sent that may not now, if nothing comes until then.
    pub(super) fn wakes_at(&self) -> Option<Duration> {
        if self.flights.len() >= self.parcels() {
            return None;
        }
        let ready = (!self.ready.is_empty()).then_some(self.paused_until);
        let waiting = self.waiting.first_key_value().map(|((due, _), _)| *due);
        ready.into_iter().chain(waiting).min().map(|due| due.max(self.paused_until))
    }

    /// What was settled since this was last asked.
    pub(super) fn settled(&mut self) -> Settled {
        std::mem::take(&mut self.settled)
    }

    /// What was settled is noted, of these lanes too.
    pub(super) fn release(&mut self, held: &[Arc<str>]) {
        for name in held {
            if let Some(lane) = self.lanes.get_mut(name) {
                lane.held = false;
            }
            self.list(name);
        }
    }

    fn parcels(&self) -> usize {
        if self.pauses > 0 { 1 } else { self.limits.parcels }
    }
}

#[cfg(test)]
mod tests;

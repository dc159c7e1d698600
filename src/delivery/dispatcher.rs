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

use crate::delivery::backoff::ExponentialBackoff;
use partition::Partition;

/// Lanes that fail in a row, with nothing taken between them, before the receiver is taken to fail.
const CIRCUIT_FAILURE_THRESHOLD: usize = 3;

/// Events that are looked at ahead of what is sent.
const MAX_READ_AHEAD: usize = 1_024;

/// Bounds and paces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DispatchLimits {
    /// How far behind the cursor events are looked at.
    pub(crate) window: usize,
    /// Parcels on their way, at most.
    pub(crate) max_in_flight: usize,
    /// Events of a parcel, at most.
    pub(crate) max_batch_events: usize,
    /// Bytes of them, at most, unless one alone has more.
    pub(crate) max_batch_bytes: u64,
    /// How often an event may be refused before it is set aside.
    pub(crate) max_rejections: u32,
    /// Events that are set aside, at most; beyond that an event that is refused waits.
    pub(crate) max_dead_letters: u64,
    pub(crate) backoff: ExponentialBackoff,
}

/// How a parcel fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The receiver has it.
    Accepted,
    /// It does not want it, and will not.
    Rejected(Arc<str>),
    /// It could not take it now.
    RetryLater(Arc<str>, Option<Duration>),
    /// It can take nothing now, or could not be reached.
    Unavailable(Arc<str>, Option<Duration>),
}

/// Events to be sent in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutgoingBatch {
    pub(crate) id: u64,
    /// Their numbers, in order within each lane.
    pub(crate) seqs: Vec<u64>,
}

/// An event that is to be set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewDeadLetter {
    pub(crate) seq: u64,
    pub(crate) attempts: u32,
    pub(crate) reason: Arc<str>,
}

/// What has been settled and is not noted yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) dropped: u64,
    pub(crate) rejected: Vec<NewDeadLetter>,
    /// What was set aside before and is delivered.
    pub(crate) redelivered: Vec<u64>,
    /// Lanes that go on once it is noted: else a kill would let what was set aside be sent after
    /// what follows it.
    pub(crate) blocked_partitions: Vec<Arc<str>>,
}

/// An event that is not settled.
#[derive(Debug, Clone, Copy)]
struct PendingEvent {
    emitted_ms: i64,
    bytes: u64,
}

#[derive(Debug)]
struct InFlightBatch {
    partitions: Vec<(Arc<str>, usize)>,
    /// How often the receiver had been taken to fail when it was sent.
    circuit_opens_before: u64,
}

/// The rules' state.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    limits: DispatchLimits,
    partitions: HashMap<Arc<str>, Partition>,
    /// Lanes that may be sent from, by the number of their first event.
    ready: BTreeMap<u64, Arc<str>>,
    /// Lanes that wait, by when that ends.
    backing_off: BTreeMap<(Duration, u64), Arc<str>>,
    in_flight: HashMap<u64, InFlightBatch>,
    batches_created: u64,
    /// Last event that was looked at.
    scanned: u64,
    /// Events that are not settled.
    pending: BTreeMap<u64, PendingEvent>,
    /// Those that were set aside and are tried again.
    redeliveries: BTreeSet<u64>,
    /// Those that are set aside and not to be sent when they are met.
    dead_letters_ahead: BTreeSet<u64>,
    dead_letter_count: u64,
    settled: Settled,
    /// Lanes that failed since something was taken.
    failing_partitions: HashSet<Arc<str>>,
    /// Pauses in a row, all there were, and until when the last one is.
    consecutive_circuit_opens: u32,
    circuit_opens: u64,
    circuit_open_until: Duration,
}

impl Dispatcher {
    /// Of a sink whose cursor that is.
    pub(crate) fn new(limits: DispatchLimits, cursor: u64) -> Self {
        Self {
            limits,
            partitions: HashMap::new(),
            ready: BTreeMap::new(),
            backing_off: BTreeMap::new(),
            in_flight: HashMap::new(),
            batches_created: 0,
            scanned: cursor,
            pending: BTreeMap::new(),
            redeliveries: BTreeSet::new(),
            dead_letters_ahead: BTreeSet::new(),
            dead_letter_count: 0,
            settled: Settled::default(),
            failing_partitions: HashSet::new(),
            consecutive_circuit_opens: 0,
            circuit_opens: 0,
            circuit_open_until: Duration::ZERO,
        }
    }

    /// Every event up to this number is settled.
    pub(crate) fn cursor(&self) -> u64 {
        self.pending.first_key_value().map_or(self.scanned, |(seq, _)| seq - 1)
    }

    /// The last event that was looked at.
    pub(crate) fn scanned(&self) -> u64 {
        self.scanned
    }

    /// Events after the cursor that are settled.
    pub(crate) fn settled_ahead(&self) -> u64 {
        self.scanned - self.cursor() - self.pending.len() as u64
    }

    /// When the oldest event that is not settled was emitted.
    pub(crate) fn oldest_pending_ms(&self) -> Option<i64> {
        self.pending.first_key_value().map(|(_, event)| event.emitted_ms)
    }

    /// Events that are set aside, those included that are tried again.
    pub(crate) fn dead_letter_count(&self) -> u64 {
        self.dead_letter_count
    }

    /// Whether something that is to be delivered has failed.
    pub(crate) fn is_retrying(&self) -> bool {
        let waits = !self.pending.is_empty() || !self.redeliveries.is_empty();
        let fails = || self.consecutive_circuit_opens > 0 || !self.failing_partitions.is_empty();
        waits && (fails() || self.partitions.values().any(|lane| lane.attempts > 0))
    }

    /// How many more events may be looked at.
    pub(crate) fn window_capacity(&self) -> usize {
        let taken = usize::try_from(self.scanned - self.cursor()).unwrap_or(usize::MAX);
        self.limits.window.saturating_sub(taken)
    }

    /// Whether something could be sent if there were more.
    pub(crate) fn has_send_capacity(&self, now: Duration) -> bool {
        self.needs_events()
            && now >= self.circuit_open_until
            && self.ready.is_empty()
            && self.in_flight.len() < self.max_in_flight()
    }

    /// Whether the next events are to be looked at: a few ahead of what is sent, and more where
    /// none of these can be.
    pub(crate) fn needs_events(&self) -> bool {
        self.window_capacity() > 0 && (self.ready.is_empty() || self.pending.len() < MAX_READ_AHEAD)
    }

    /// Takes the next event of the journal.
    pub(crate) fn push(&mut self, seq: u64, emitted_ms: i64, bytes: u64, lane: &str) {
        self.scanned = seq;
        if self.dead_letters_ahead.remove(&seq) {
            return;
        }
        self.pending.insert(seq, PendingEvent { emitted_ms, bytes });
        self.enqueue(seq, lane);
    }

    /// Takes what the store says is set aside: number, lane, and whether it is to be tried again.
    pub(crate) fn set_dead_letters<'a>(
        &mut self,
        events: impl Iterator<Item = (u64, &'a str, bool)>,
    ) {
        let mut known = BTreeSet::new();
        self.dead_letter_count = 0;
        for (seq, lane, retry) in events {
            known.insert(seq);
            self.dead_letter_count += 1;
            if !self.pending.contains_key(&seq) && seq > self.scanned {
                self.dead_letters_ahead.insert(seq);
            }
            if retry && self.redeliveries.insert(seq) {
                self.enqueue(seq, lane);
            }
        }
        let gone: Vec<u64> = self.redeliveries.difference(&known).copied().collect();
        self.remove_events(&gone);
    }

    /// Someone wants it tried now, whatever was to be waited for.
    pub(crate) fn retry_now(&mut self, now: Duration) {
        self.circuit_open_until = self.circuit_open_until.min(now);
        self.clear_backoffs(now);
    }

    /// The next event that the journal has is that one: what is between is lost.
    pub(crate) fn skip_to(&mut self, oldest: u64) {
        if self.scanned + 1 < oldest {
            let kept_aside = self.dead_letters_ahead.range(..oldest).count() as u64;
            self.dead_letters_ahead = self.dead_letters_ahead.split_off(&oldest);
            self.settled.dropped += oldest - 1 - self.scanned - kept_aside;
            self.scanned = oldest - 1;
        }
    }

    /// The journal begins there now: what is before it and not delivered is lost.
    pub(crate) fn truncate_to(&mut self, oldest: u64) {
        self.skip_to(oldest);
        let lost: Vec<u64> = self.pending.range(..oldest).map(|(seq, _)| *seq).collect();
        if !lost.is_empty() {
            self.settled.dropped += self.remove_events(&lost);
        }
    }

    /// The next parcel to send, if there is one now.
    pub(crate) fn next_batch(&mut self, now: Duration) -> Option<OutgoingBatch> {
        while let Some(entry) = self.backing_off.first_entry()
            && entry.key().0 <= now
        {
            let ((_, seq), lane) = entry.remove_entry();
            self.ready.insert(seq, lane);
        }
        if now < self.circuit_open_until || self.in_flight.len() >= self.max_in_flight() {
            return None;
        }
        let (_, first) = self.ready.first_key_value()?;
        let alone = self.partitions.get(first)?.singles_remaining > 0;
        let mut room = if alone { 1 } else { self.limits.max_batch_events };
        let mut bytes_left = self.limits.max_batch_bytes;
        let (mut lanes, mut seqs, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (head, name) in &self.ready {
            let Some(lane) = self.partitions.get_mut(name) else {
                continue;
            };
            if lane.singles_remaining > 0 && !alone {
                continue;
            }
            let mut count = 0;
            for seq in lane.queue.iter().take(room) {
                // What was set aside, whose length is not known here, goes by itself.
                let bytes =
                    self.pending.get(seq).map_or(self.limits.max_batch_bytes, |event| event.bytes);
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
            lane.in_flight = count;
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
        self.batches_created += 1;
        let number = self.batches_created;
        self.in_flight.insert(
            number,
            InFlightBatch { partitions: lanes, circuit_opens_before: self.circuit_opens },
        );
        Some(OutgoingBatch { id: number, seqs })
    }

    /// When something may be sent that may not now, if nothing comes until then.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        if self.in_flight.len() >= self.max_in_flight() {
            return None;
        }
        let ready = (!self.ready.is_empty()).then_some(self.circuit_open_until);
        let waiting = self.backing_off.first_key_value().map(|((due, _), _)| *due);
        ready.into_iter().chain(waiting).min().map(|due| due.max(self.circuit_open_until))
    }

    /// What was settled since this was last asked.
    pub(crate) fn take_settled(&mut self) -> Settled {
        std::mem::take(&mut self.settled)
    }

    /// What was settled is noted, of these lanes too.
    pub(crate) fn unblock_partitions(&mut self, held: &[Arc<str>]) {
        for name in held {
            if let Some(lane) = self.partitions.get_mut(name) {
                lane.awaiting_dead_letter_ack = false;
            }
            self.index_partition(name);
        }
    }

    fn max_in_flight(&self) -> usize {
        if self.consecutive_circuit_opens > 0 { 1 } else { self.limits.max_in_flight }
    }
}

mod outcome;
mod partition;
#[cfg(test)]
mod tests;

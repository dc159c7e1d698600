//! Decides what to send next and what a response changes. Pure: no network, store or clock; times
//! are durations since the sink was started.
//!
//! Events are queued in partitions, one for each feature. A partition has one batch in flight at a
//! time, so a receiver gets the events of a feature in order; partitions do not wait for each other.
//! The cursor passes an event when it and all before it are settled: delivered, dead-lettered, or
//! deleted by retention.
//!
//! # Bounds
//! Events are read up to a maximum distance from the cursor, the window: while one partition fails,
//! others continue up to its end, and then wait. No other state grows with the journal.
//!
//! # Failures
//! See `docs/specification.md#webhook-responses`. An event that is not accepted blocks its partition
//! and is retried with backoff. If the receiver is unreachable, unavailable, or fails for three
//! partitions in a row, the circuit opens and all delivery pauses, with a backoff of its own; then
//! one batch at a time is sent until one is accepted. An address without a receiver is tried for an hour,
//! and then not again until a person intervenes. The events of a batch that failed are sent
//! again one by one, so that one that is never accepted does not block the others.

mod circuit;
mod outcome;
mod partition;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::backoff::ExponentialBackoff;
use circuit::CircuitBreaker;
use partition::Partition;

pub(crate) use outcome::Outcome;

/// Number of partitions that fail in a row, without an accepted event in between, after which the
/// circuit opens.
const CIRCUIT_FAILURE_THRESHOLD: usize = 3;

/// Maximum number of pending events while some can be sent; further ones are read later.
const MAX_READ_AHEAD: usize = 1_024;

/// Limits of the dispatcher.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DispatchLimits {
    /// Maximum distance in events between the cursor and the last event read.
    pub(crate) max_window_events: usize,
    /// Maximum number of batches in flight while the circuit is closed.
    pub(crate) max_in_flight: usize,
    /// Maximum number of events in a batch.
    pub(crate) max_batch_events: usize,
    /// Maximum size of a batch's events in bytes; a larger event is sent alone.
    pub(crate) max_batch_bytes: u64,
    /// Number of rejections after which an event is dead-lettered.
    pub(crate) max_rejections: u32,
    /// Maximum number of dead letters; beyond it a rejected event blocks its partition.
    pub(crate) max_dead_letters: u64,
    /// Delays between attempts.
    pub(crate) backoff: ExponentialBackoff,
}

/// Events to be sent in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutgoingBatch {
    pub(crate) id: u64,
    /// Numbers of the events, in order within each partition.
    pub(crate) seqs: Vec<u64>,
}

/// An event that becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewDeadLetter {
    pub(crate) seq: u64,
    pub(crate) attempts: u32,
    /// What the receiver answered last.
    pub(crate) reason: Arc<str>,
}

/// A dead letter in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLetterEntry {
    pub(crate) seq: u64,
    /// Key of its partition.
    pub(crate) partition: String,
    /// True if it is to be sent again.
    pub(crate) retry: bool,
}

/// What was settled and is to be committed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Number of events that retention deleted before they were delivered.
    pub(crate) dropped: u64,
    /// Events that become dead letters.
    pub(crate) rejected: Vec<NewDeadLetter>,
    /// Numbers of dead letters that were delivered.
    pub(crate) redelivered: Vec<u64>,
    /// Partitions to unblock after the commit. Without the wait, a crash before the commit would
    /// have the dead letter sent again after its successors.
    pub(crate) blocked_partitions: Vec<Arc<str>>,
}

/// An event that is not settled.
#[derive(Debug, Clone, Copy)]
struct PendingEvent {
    /// Time of the event in milliseconds since 1970.
    emitted_ms: i64,
    /// Size of its envelope.
    bytes: u64,
}

#[derive(Debug)]
struct InFlightBatch {
    partitions: Vec<PartitionShare>,
    /// Number of pauses of the circuit breaker when the batch was sent.
    pauses_before: u64,
}

/// The part of a batch that is of one partition.
#[derive(Debug)]
struct PartitionShare {
    name: Arc<str>,
    /// Number of events.
    count: usize,
}

/// State of delivery.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    limits: DispatchLimits,
    partitions: HashMap<Arc<str>, Partition>,
    /// Partitions that can be sent from, by the number of their first event.
    ready: BTreeMap<u64, Arc<str>>,
    /// Partitions that wait for a retry, by its time and the number of their first event.
    backing_off: BTreeMap<(Duration, u64), Arc<str>>,
    in_flight: HashMap<u64, InFlightBatch>,
    batches_created: u64,
    /// Number of the last event read.
    scanned: u64,
    /// Events up to `scanned` that are not settled.
    pending: BTreeMap<u64, PendingEvent>,
    /// Dead letters that are sent again.
    redeliveries: BTreeSet<u64>,
    /// Dead letters after `scanned`, which are skipped when they are read.
    dead_letters_ahead: BTreeSet<u64>,
    dead_letter_count: u64,
    settled: Settled,
    /// Partitions that failed since the last accepted batch, up to the threshold.
    failing_partitions: HashSet<Arc<str>>,
    circuit: CircuitBreaker,
}

impl Dispatcher {
    /// Creates the state of a sink with this cursor.
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
            circuit: CircuitBreaker::new(),
        }
    }

    /// Returns the number up to which every event is settled.
    pub(crate) fn cursor(&self) -> u64 {
        self.pending.first_key_value().map_or(self.scanned, |(seq, _)| seq - 1)
    }

    /// Returns the number of the last event read.
    pub(crate) fn scanned(&self) -> u64 {
        self.scanned
    }

    /// Returns the number of events after the cursor that are settled.
    pub(crate) fn settled_ahead(&self) -> u64 {
        self.scanned - self.cursor() - self.pending.len() as u64
    }

    /// Returns the time of the oldest event that is not settled.
    pub(crate) fn oldest_pending_ms(&self) -> Option<i64> {
        self.pending.first_key_value().map(|(_, event)| event.emitted_ms)
    }

    /// Returns the number of dead letters, including those that are sent again.
    pub(crate) fn dead_letter_count(&self) -> u64 {
        self.dead_letter_count
    }

    /// Returns true if there is an event to deliver and the last attempt of it or another failed.
    pub(crate) fn is_retrying(&self) -> bool {
        let has_events = !self.pending.is_empty() || !self.redeliveries.is_empty();
        let is_failing = || self.circuit.is_open() || !self.failing_partitions.is_empty();
        has_events && (is_failing() || self.partitions.values().any(|part| part.attempts > 0))
    }

    /// Returns true if nothing is sent until [`Dispatcher::retry_now`], because there was no receiver at the
    /// address for an hour.
    pub(crate) fn is_refused(&self) -> bool {
        self.circuit.is_refused()
    }

    /// Returns how many more events may be read.
    pub(crate) fn window_capacity(&self) -> usize {
        let used = usize::try_from(self.scanned - self.cursor()).unwrap_or(usize::MAX);
        self.limits.max_window_events.saturating_sub(used)
    }

    /// Returns true if a further event could be sent at once.
    pub(crate) fn has_send_capacity(&self, now: Duration) -> bool {
        self.needs_events()
            && now >= self.circuit.resumes_at()
            && self.ready.is_empty()
            && self.in_flight.len() < self.max_in_flight()
    }

    /// Returns true if more events are to be read: a few ahead of what is sent, and more if no
    /// pending one can be sent.
    pub(crate) fn needs_events(&self) -> bool {
        self.window_capacity() > 0 && (self.ready.is_empty() || self.pending.len() < MAX_READ_AHEAD)
    }

    /// Adds the next event of the journal.
    pub(crate) fn push(&mut self, seq: u64, emitted_ms: i64, bytes: u64, partition: &str) {
        self.scanned = seq;
        if self.dead_letters_ahead.remove(&seq) {
            return;
        }
        self.pending.insert(seq, PendingEvent { emitted_ms, bytes });
        self.enqueue(seq, partition);
    }

    /// Replaces the known dead letters by those in the store.
    pub(crate) fn set_dead_letters(&mut self, entries: impl Iterator<Item = DeadLetterEntry>) {
        let mut known = BTreeSet::new();
        self.dead_letter_count = 0;
        for DeadLetterEntry { seq, partition, retry } in entries {
            known.insert(seq);
            self.dead_letter_count += 1;
            if !self.pending.contains_key(&seq) && seq > self.scanned {
                self.dead_letters_ahead.insert(seq);
            }
            if retry && self.redeliveries.insert(seq) {
                self.enqueue(seq, &partition);
            }
        }
        let removed: Vec<u64> = self.redeliveries.difference(&known).copied().collect();
        self.remove_events(&removed);
    }

    /// Ends all delays and the circuit's pause.
    pub(crate) fn retry_now(&mut self, now: Duration) {
        self.circuit.end_pause(now);
        self.clear_backoffs(now);
    }

    /// Records that `oldest` is the next event in the journal: those before it that were not read
    /// were deleted.
    pub(crate) fn skip_to(&mut self, oldest: u64) {
        if self.scanned + 1 < oldest {
            let dead_letters = self.dead_letters_ahead.range(..oldest).count() as u64;
            self.dead_letters_ahead = self.dead_letters_ahead.split_off(&oldest);
            self.settled.dropped += oldest - 1 - self.scanned - dead_letters;
            self.scanned = oldest - 1;
        }
    }

    /// Records that `oldest` is the first event in the journal: those before it that are neither
    /// delivered nor in flight were deleted.
    pub(crate) fn truncate_to(&mut self, oldest: u64) {
        self.skip_to(oldest);
        let deleted: Vec<u64> = self.pending.range(..oldest).map(|(seq, _)| *seq).collect();
        if !deleted.is_empty() {
            self.settled.dropped += self.remove_events(&deleted);
        }
    }

    /// Returns the next batch to send, if one can be sent now, and counts it as in flight.
    pub(crate) fn next_batch(&mut self, now: Duration) -> Option<OutgoingBatch> {
        while let Some(entry) = self.backing_off.first_entry()
            && entry.key().0 <= now
        {
            let ((_, seq), name) = entry.remove_entry();
            self.ready.insert(seq, name);
        }
        if now < self.circuit.resumes_at() || self.in_flight.len() >= self.max_in_flight() {
            return None;
        }
        let (_, first) = self.ready.first_key_value()?;
        let is_single = self.partitions.get(first)?.singles_remaining > 0;
        let mut events_left = if is_single { 1 } else { self.limits.max_batch_events };
        let mut bytes_left = self.limits.max_batch_bytes;
        let (mut shares, mut seqs, mut used_heads) = (Vec::new(), Vec::new(), Vec::new());
        for (head, name) in &self.ready {
            let Some(partition) = self.partitions.get_mut(name) else {
                continue;
            };
            if partition.singles_remaining > 0 && !is_single {
                continue;
            }
            let mut count = 0;
            for seq in partition.queue.iter().take(events_left) {
                // The size of a dead letter is not known here, so it is sent alone.
                let bytes =
                    self.pending.get(seq).map_or(self.limits.max_batch_bytes, |event| event.bytes);
                if bytes > bytes_left && !seqs.is_empty() {
                    events_left = count;
                    break;
                }
                bytes_left = bytes_left.saturating_sub(bytes);
                seqs.push(*seq);
                count += 1;
            }
            if count == 0 {
                break;
            }
            partition.in_flight = count;
            shares.push(PartitionShare { name: Arc::clone(name), count });
            used_heads.push(*head);
            events_left -= count;
            if events_left == 0 {
                break;
            }
        }
        for head in used_heads {
            self.ready.remove(&head);
        }
        self.batches_created += 1;
        let id = self.batches_created;
        let pauses_before = self.circuit.pause_count();
        self.in_flight.insert(id, InFlightBatch { partitions: shares, pauses_before });
        Some(OutgoingBatch { id, seqs })
    }

    /// Returns when the next batch can be sent if no request ends before, or `None` if a request has
    /// to end first or there is no event.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        if self.is_refused() || self.in_flight.len() >= self.max_in_flight() {
            return None;
        }
        let resumes_at = self.circuit.resumes_at();
        let ready_at = (!self.ready.is_empty()).then_some(resumes_at);
        let retry_at = self.backing_off.first_key_value().map(|((at, _), _)| *at);
        ready_at.into_iter().chain(retry_at).min().map(|at| at.max(resumes_at))
    }

    /// Returns what was settled since the last call.
    pub(crate) fn take_settled(&mut self) -> Settled {
        std::mem::take(&mut self.settled)
    }

    /// Continues partitions whose dead letters were committed.
    pub(crate) fn unblock_partitions(&mut self, names: &[Arc<str>]) {
        for name in names {
            if let Some(partition) = self.partitions.get_mut(name) {
                partition.awaiting_dead_letter_ack = false;
            }
            self.index_partition(name);
        }
    }

    fn max_in_flight(&self) -> usize {
        if self.circuit.is_open() { 1 } else { self.limits.max_in_flight }
    }

    /// Adds an event to its partition, in order, behind those in flight.
    fn enqueue(&mut self, seq: u64, name: &str) {
        let name = match self.partitions.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(name),
        };
        self.unindex_partition(&name);
        self.partitions.entry(Arc::clone(&name)).or_default().insert_sorted(seq);
        self.index_partition(&name);
    }

    /// Removes events that are not in flight. Returns how many were removed.
    fn remove_events(&mut self, seqs: &[u64]) -> u64 {
        let seqs: HashSet<u64> = seqs.iter().copied().collect();
        let names: Vec<Arc<str>> = self.partitions.keys().cloned().collect();
        let mut count = 0;
        for name in names {
            self.unindex_partition(&name);
            if let Some(partition) = self.partitions.get_mut(&name) {
                for seq in partition.remove(&seqs) {
                    count += 1;
                    self.pending.remove(&seq);
                    self.redeliveries.remove(&seq);
                }
            }
            self.index_partition(&name);
        }
        count
    }

    /// Makes all partitions that wait for a retry ready now.
    fn clear_backoffs(&mut self, now: Duration) {
        for ((_, seq), name) in std::mem::take(&mut self.backing_off) {
            if let Some(partition) = self.partitions.get_mut(&name) {
                partition.retry_at = now;
            }
            self.ready.insert(seq, name);
        }
    }

    /// Adds a partition to `ready` or `backing_off`, unless it is in flight or blocked. Removes one
    /// without events.
    fn index_partition(&mut self, name: &Arc<str>) {
        let Some(partition) = self.partitions.get(name) else {
            return;
        };
        match partition.queue.front() {
            _ if partition.in_flight > 0 || partition.awaiting_dead_letter_ack => {}
            None => {
                self.partitions.remove(name);
            }
            Some(seq) if partition.attempts == 0 => {
                self.ready.insert(*seq, Arc::clone(name));
            }
            Some(seq) => {
                self.backing_off.insert((partition.retry_at, *seq), Arc::clone(name));
            }
        }
    }

    /// Removes a partition from `ready` and `backing_off`, before its first event changes.
    fn unindex_partition(&mut self, name: &Arc<str>) {
        if let Some(partition) = self.partitions.get(name)
            && let Some(seq) = partition.queue.front()
            && partition.in_flight == 0
            && !partition.awaiting_dead_letter_ack
        {
            self.ready.remove(seq);
            self.backing_off.remove(&(partition.retry_at, *seq));
        }
    }
}

//! What a request's outcome changes: its events are settled, retried or dead-lettered, and the
//! circuit breaker opens or closes.

use std::sync::Arc;
use std::time::Duration;

use super::{CIRCUIT_FAILURE_THRESHOLD, Dispatcher, NewDeadLetter, OutgoingBatch};

/// The outcome of a request. Texts are the status of the response, or the error; durations are those
/// of `Retry-After`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The receiver accepted the events.
    Accepted,
    /// The receiver rejected the events and will do so again.
    Rejected(Arc<str>),
    /// The receiver failed to process these events.
    RetryLater(Arc<str>, Option<Duration>),
    /// The receiver processes nothing now, or cannot be reached.
    Unavailable(Arc<str>, Option<Duration>),
    /// There is no receiver at the address: for the time of a deployment, or permanently.
    NoReceiver(Arc<str>, Option<Duration>),
}

impl Dispatcher {
    /// Records the outcome of a batch. `jitter` is a random number from 0 to 1.
    pub(crate) fn on_outcome(&mut self, id: u64, outcome: &Outcome, now: Duration, jitter: f64) {
        let Some(batch) = self.in_flight.remove(&id) else {
            return;
        };
        if *outcome == Outcome::Accepted {
            self.failing_partitions.clear();
            for share in &batch.partitions {
                self.on_accepted(&share.name, share.count);
            }
            if self.circuit.on_accepted(now) {
                self.clear_backoffs(now);
            }
            return;
        }
        let has_several = batch.partitions.iter().map(|share| share.count).sum::<usize>() > 1;
        for share in &batch.partitions {
            let Some(partition) = self.partitions.get_mut(&share.name) else {
                continue;
            };
            partition.in_flight = 0;
            let is_about_events = matches!(outcome, Outcome::Rejected(_) | Outcome::RetryLater(..));
            if has_several && is_about_events {
                partition.singles_remaining = partition.singles_remaining.max(share.count);
            }
            match outcome {
                // Sent again one by one, which shows which event is rejected.
                Outcome::Rejected(_) if has_several => {}
                Outcome::Rejected(reason) => self.on_rejected(&share.name, reason, now, jitter),
                Outcome::RetryLater(_, retry_after) => {
                    partition.attempts = partition.attempts.saturating_add(1);
                    let delay = self.limits.backoff.delay(partition.attempts, jitter, *retry_after);
                    partition.retry_at = now + delay;
                }
                Outcome::Unavailable(..) | Outcome::NoReceiver(..) | Outcome::Accepted => {}
            }
            self.index_partition(&share.name);
            if self.failing_partitions.len() < CIRCUIT_FAILURE_THRESHOLD {
                self.failing_partitions.insert(Arc::clone(&share.name));
            }
        }
        if !matches!(outcome, Outcome::NoReceiver(..)) {
            self.circuit.on_receiver_found();
        }
        let is_failing = self.failing_partitions.len() >= CIRCUIT_FAILURE_THRESHOLD;
        let retry_after = match outcome {
            Outcome::Unavailable(_, retry_after) | Outcome::NoReceiver(_, retry_after) => {
                *retry_after
            }
            _ if is_failing && !has_several => None,
            _ => return,
        };
        let backoff = self.limits.backoff;
        self.circuit.on_failure(batch.pauses_before, now, |pauses| {
            backoff.delay(pauses, jitter, retry_after)
        });
        if matches!(outcome, Outcome::NoReceiver(..)) {
            self.circuit.on_no_receiver(now);
        }
    }

    /// Removes events from a batch that are neither in the journal nor dead letters any more. The
    /// rest of the batch, if any, is still to be sent.
    pub(crate) fn remove_missing(&mut self, batch: &mut OutgoingBatch, missing: &[u64]) {
        let Some(in_flight) = self.in_flight.get_mut(&batch.id) else {
            return;
        };
        let mut emptied = Vec::new();
        for share in &mut in_flight.partitions {
            let Some(partition) = self.partitions.get_mut(&share.name) else {
                continue;
            };
            let length = partition.queue.len();
            partition.queue.retain(|seq| !missing.contains(seq));
            share.count = share.count.saturating_sub(length - partition.queue.len());
            partition.in_flight = share.count;
            if share.count == 0 {
                emptied.push(Arc::clone(&share.name));
            }
        }
        in_flight.partitions.retain(|share| share.count > 0);
        if in_flight.partitions.is_empty() {
            self.in_flight.remove(&batch.id);
        }
        batch.seqs.retain(|seq| !missing.contains(seq));
        for seq in missing {
            if !self.redeliveries.remove(seq) && self.pending.remove(seq).is_some() {
                self.settled.dropped += 1;
            }
        }
        for name in emptied {
            self.index_partition(&name);
        }
    }

    fn on_accepted(&mut self, name: &Arc<str>, count: usize) {
        let Some(partition) = self.partitions.get_mut(name) else {
            return;
        };
        for seq in partition.queue.drain(..count) {
            if self.redeliveries.remove(&seq) {
                self.dead_letter_count = self.dead_letter_count.saturating_sub(1);
                self.settled.redelivered.push(seq);
            } else {
                self.pending.remove(&seq);
            }
        }
        partition.advance(count);
        self.index_partition(name);
    }

    /// Records that the first event of a partition was rejected, when it was sent alone. At the last
    /// attempt it becomes a dead letter, unless there are too many already.
    fn on_rejected(&mut self, name: &Arc<str>, reason: &Arc<str>, now: Duration, jitter: f64) {
        let Some(partition) = self.partitions.get_mut(name) else {
            return;
        };
        partition.attempts = partition.attempts.saturating_add(1);
        partition.rejections = partition.rejections.saturating_add(1);
        partition.retry_at = now + self.limits.backoff.delay(partition.attempts, jitter, None);
        let Some(seq) = partition.queue.front().copied() else {
            return;
        };
        // A redelivered event is a dead letter already and needs no further place.
        let is_redelivery = self.redeliveries.contains(&seq);
        let is_full = self.dead_letter_count >= self.limits.max_dead_letters && !is_redelivery;
        if partition.rejections < self.limits.max_rejections || is_full {
            return;
        }
        partition.queue.pop_front();
        let attempts = partition.attempts;
        partition.advance(1);
        partition.awaiting_dead_letter_ack = true;
        if !self.redeliveries.remove(&seq) {
            self.pending.remove(&seq);
            self.dead_letter_count += 1;
        }
        self.settled.rejected.push(NewDeadLetter { seq, attempts, reason: Arc::clone(reason) });
        self.settled.blocked_partitions.push(Arc::clone(name));
    }
}
